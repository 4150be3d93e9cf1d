"""tests/goldens/classifier/tiny.onnx: mean colour of an NCHW image -> three logits. Made once with

    .venv/bin/python tools/goldens/make_classifier_golden.py
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/classifier"


def main():
    weights = np.array([[4, -1, 0], [0, 3, -2], [-1, 0.5, 5]], np.float32)
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["pixels"], ["pooled"]),
         helper.make_node("Flatten", ["pooled"], ["flat"]),
         helper.make_node("Gemm", ["flat", "weights", "bias"], ["logits"], transB=1)],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weights, "weights"),
         numpy_helper.from_array(np.array([0.1, 0.2, -0.3], np.float32), "bias")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    FOLDER.mkdir(parents=True, exist_ok=True)
    onnx.save(model, FOLDER / "tiny.onnx")


if __name__ == "__main__":
    main()
