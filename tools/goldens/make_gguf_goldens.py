"""Writes tests/goldens/gguf: a GGUF file with a tensor of every type that Parapet reads and metadata of
every kind, and what the `gguf` package makes of the tensors. Run from the repository root."""
import pathlib

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

OUT = pathlib.Path("tests/goldens/gguf")
ROWS, COLUMNS = 3, 512
# Where each type keeps its half-precision scales in a block.
SCALES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
          Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}
# Half-precision values that are easy to get wrong: zeros, subnormals, the largest.
EDGES = np.array([0.0, -0.0, 2.0 ** -24, -2.0 ** -15, 2.0 ** -14, 65504.0, -1.0], np.float16)


def random_blocks(kind, random):
    """Any bytes are a block, apart from scales that are no number."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (ROWS * COLUMNS // elements, size), dtype=np.uint8)
    for offset in SCALES[kind]:
        scales = random.normal(0, 1, len(blocks)).astype(np.float16)
        count = min(len(EDGES), len(blocks) // 2)
        scales[:count] = np.roll(EDGES, offset)[:count]
        blocks[:, offset:offset + 2] = scales[:, None].view(np.uint8)
    return blocks.reshape(ROWS, -1)


def plain(kind, random):
    values = random.normal(0, 1, (ROWS, COLUMNS)).astype(np.float32)
    if kind == Type.F32:
        return values
    if kind == Type.F16:
        values = values.astype(np.float16)
        values.reshape(-1)[:len(EDGES)] = EDGES
        return values
    return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)


def add_metadata(writer):
    writer.add_uint8("test.u8", 255)
    writer.add_int8("test.i8", -128)
    writer.add_uint16("test.u16", 65535)
    writer.add_int16("test.i16", -32768)
    writer.add_uint32("test.u32", 2 ** 32 - 1)
    writer.add_int32("test.i32", -2 ** 31)
    writer.add_uint64("test.u64", 2 ** 64 - 1)
    writer.add_int64("test.i64", -2 ** 63)
    writer.add_float32("test.f32", 0.5)
    writer.add_float64("test.f64", 1e300)
    writer.add_bool("test.bool", True)
    writer.add_string("test.string", "naïve 🦙")
    writer.add_array("test.strings", ["a", "", "ß"])
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.25, -1.5])
    writer.add_array("test.bools", [True, False])


def main():
    random = np.random.default_rng(9)
    OUT.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(OUT / "every_type.gguf", "test")
    add_metadata(writer)
    expected = {}
    for kind in [Type.F32, Type.F16, Type.BF16, *SCALES]:
        data = random_blocks(kind, random) if kind in SCALES else plain(kind, random)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        expected[kind.name] = gguf.dequantize(data, kind).astype(np.float32).reshape(ROWS, COLUMNS)
        assert np.isfinite(expected[kind.name]).all(), kind
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, OUT / "every_type.safetensors")


if __name__ == "__main__":
    main()
