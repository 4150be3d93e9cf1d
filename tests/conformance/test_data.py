"""Data sets between Parapet and Python: webdataset reads our shards, we import what it writes."""
import io
import json
import os
import pathlib
import subprocess

import numpy
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARAPET = os.environ.get("PARAPET_BINARY", str(ROOT / "build/release/parapet"))


def parapet(*arguments, check=True):
    result = subprocess.run([PARAPET, *map(str, arguments), "--json"], cwd=ROOT,
                            capture_output=True, text=True)
    if check:
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout.strip().splitlines()[-1])
    return result


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "w"
    parapet("world", "build", "--out", folder, "--quadruplets", 40, "--captions", 10, "--labels", 20,
            "--val", 5, "--test", 10, "--test-held-style", 5, "--format", "tar", "--seed", 5,
            "--languages", "en,de,zh")
    return folder


def records(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_webdataset_reads_our_shards(world):
    webdataset = pytest.importorskip("webdataset")
    data = webdataset.WebDataset(str(world / "quadruplets-000000.tar"), shardshuffle=False)
    samples = {sample["__key__"]: sample for sample in data}
    lines = records(world / "quadruplets.jsonl")
    assert set(samples) == {line["id"] for line in lines}
    for line in lines:
        sample = samples[line["id"]]
        assert json.loads(sample["json"]) == line
        safe = numpy.asarray(Image.open(io.BytesIO(sample["safe.png"])))
        unsafe = numpy.asarray(Image.open(io.BytesIO(sample["unsafe.png"])))
        assert safe.shape == unsafe.shape == (64, 64, 3)
        # At most one quadrant and the glyph's overhang differ.
        assert 20 < (safe != unsafe).any(axis=2).sum() <= 34 * 34


def test_we_import_what_webdataset_writes(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    pattern = str(tmp_path / "s-%02d.tar")
    with webdataset.ShardWriter(pattern, maxcount=3, verbose=0) as sink:
        for i in range(7):
            sink.write({"__key__": f"k{i}", "jpg": numpy.full((8, 8, 3), i * 9, numpy.uint8),
                        "txt": f"caption {i}"})
    out = tmp_path / "out"
    result = parapet("data", "import", "--from", "webdataset", "--input",
                     tmp_path / "s-{00..02}.tar", "--out", out)
    assert result["captions"] == 7
    lines = records(out / "captions.jsonl")
    assert [line["text"] for line in lines] == [f"caption {i}" for i in range(7)]


def test_same_seed_same_bytes_from_the_command(tmp_path):
    hashes = []
    for name in ("a", "b"):
        folder = tmp_path / name
        parapet("world", "build", "--out", folder, "--quadruplets", 12, "--val", 0, "--test", 5,
                "--test-held-style", 0, "--per-class", 0, "--seed", 9)
        hashes.append({str(p.relative_to(folder)): p.read_bytes()
                       for p in folder.rglob("*") if p.is_file()})
    assert hashes[0] == hashes[1]


def test_exit_codes(tmp_path):
    bad = tmp_path / "bad.json"
    bad.write_text('[{"incremental_id": 1, "safe": "a"}]')
    result = parapet("data", "import", "--from", "visu", "--input", bad, "--out", tmp_path / "o",
                     check=False)
    assert result.returncode == 3
    assert "nsfw" in result.stderr and "bad.json" in result.stderr
    result = parapet("world", "build", "--out", tmp_path / "w", "--test", 100000, check=False)
    assert result.returncode == 2
    result = parapet("world", "build", "--out", tmp_path / "w", "--languages", "xx", check=False)
    assert result.returncode == 2
    result = parapet("world", "build", "--out", tmp_path / "w", "--assets", tmp_path,
                     "--glyph-cache", tmp_path / "c", check=False)
    assert result.returncode == 3 and "make setup" in result.stderr
