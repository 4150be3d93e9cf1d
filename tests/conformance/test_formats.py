"""What Parapet writes, Python's own readers read."""

import os
import pathlib
import subprocess

import pytest
import torch
from safetensors import safe_open

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/goldens/images/dtypes.safetensors"


def formats_program():
    for build in ("release", "light"):
        program = ROOT / "build" / build / "parapet_formats_tests"
        if program.exists():
            return program
    pytest.skip("parapet_formats_tests is not built")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("formats") / "model.safetensors"
    subprocess.run(
        [formats_program(), "--gtest_filter=*ForPython"],
        env=os.environ | {"PARAPET_CONFORMANCE_OUT": str(out)},
        check=True,
        cwd=ROOT,
    )
    return out


def test_python_reads_every_dtype(written):
    with safe_open(GOLDEN, "pt") as golden, safe_open(written, "pt") as ours:
        assert ours.metadata() == golden.metadata()
        assert set(ours.keys()) == set(golden.keys())
        for name in golden.keys():
            expected, got = golden.get_tensor(name), ours.get_tensor(name)
            assert got.dtype == expected.dtype and got.shape == expected.shape, name
            assert torch.equal(got, expected), name


def test_transformers_accepts_the_file(written):
    from transformers.modeling_utils import load_state_dict

    assert load_state_dict(str(written))["float32"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_webdataset_reads_the_shard(written):
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset(f"{written}.tar", shardshuffle=False))
    assert [s["__key__"] for s in samples] == ["000001", "grüße", "d" * 150 + "/000003"]
    assert samples[0]["txt"] == b"one" and samples[0]["cls"] == b"1"
    assert [s["txt"] for s in samples[1:]] == [b"two", b"three"]
