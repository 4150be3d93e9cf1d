"""The shipped tiny CLIP: it is what its records say, Python loads it, and training makes it again."""
import json
import os
import pathlib
import subprocess
import tomllib

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from transformers import CLIPModel, CLIPTokenizerFast

from clip_probe import PARAPET, ROOT

SHIPPED = ROOT / "assets/tiny_clip"
CAPTIONS = ["a photo of a cat next to a tree", "a dog with a knife in front of a house", "zebra quantum"]


def parapet(*words):
    done = subprocess.run([PARAPET, *map(str, words)], cwd=ROOT, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "model"
    parapet("world", "clip", "--out", folder)
    return folder


def test_records_are_those_of_todays_recipe():
    config = tomllib.loads((SHIPPED / "config.toml").read_text())
    recipe = tomllib.loads((ROOT / "recipes/tiny_clip.toml").read_text())
    assert {name: config.get(name) for name in recipe} == recipe, "train again: see assets/tiny_clip/README.md"
    record = json.loads((SHIPPED / "run.json").read_text())
    with safe_open(SHIPPED / "weights.safetensors", "np") as weights:
        assert int(weights.metadata()["seed"]) == config["seed"] == record["seed"]


def test_is_small_and_names_no_machine():
    assert sum(file.stat().st_size for file in SHIPPED.iterdir()) < 12_000_000
    for name in ("run.json", "config.toml"):
        text = (SHIPPED / name).read_text()
        assert "/work" not in text and "/tmp" not in text and "/home" not in text


def test_transformers_loads_it_and_agrees(model, tmp_path):
    theirs = CLIPModel.from_pretrained(model).eval()
    tokens = CLIPTokenizerFast.from_pretrained(model)(CAPTIONS, padding=True, return_tensors="pt")
    (tmp_path / "texts").write_text("\n".join(CAPTIONS))
    parapet("embed", "--model", model, "--texts", tmp_path / "texts", "--backend", "torch", "--precision", "fp32",
            "--out", tmp_path / "e.safetensors")
    with torch.no_grad():
        pooled = theirs.text_model(**tokens).pooler_output
        expected = torch.nn.functional.normalize(theirs.text_projection(pooled), dim=1).numpy()
    assert np.abs(load_file(tmp_path / "e.safetensors")["text_embeds"] - expected).max() < 1e-4


def test_both_ways_give_the_same_model(model, tmp_path):
    """What was unpacked packs into the same file again, but for rounding what is already rounded."""
    parapet("world", "clip", "--pack", model, "--seed", 0, "--weights", tmp_path / "w.safetensors")
    parapet("world", "clip", "--weights", tmp_path / "w.safetensors", "--out", tmp_path / "again")
    first, second = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "again"))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        np.testing.assert_allclose(second[name], tensor, rtol=1e-5, atol=1e-6, err_msg=name)


# ---- training makes it again --------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "world"
    parapet("world", "build", "--out", folder, "--quadruplets", 8000, "--captions", 0, "--seed", 1000)
    return folder


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A run from scratch: a quarter of an hour. TINY_CLIP_RUN names one that is there already, as
    out/demo/clip after `make demo FULL=1`."""
    if "TINY_CLIP_RUN" in os.environ:
        return pathlib.Path(os.environ["TINY_CLIP_RUN"]).resolve()
    run = tmp_path_factory.mktemp("trained") / "clip"
    parapet("train", "clip", "--config", "recipes/tiny_clip.toml", "--seed", 0, "--out", run, "--report-data", world)
    return run


def figures(report):
    metrics = json.loads((report / "report.json").read_text())["metrics"]
    return {name: value for name, value in metrics.items()
            if name.startswith("before.") and value.get("low") is not None}


def embeddings(model, world, out):
    rows = [json.loads(line) for line in (world / "quadruplets.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["split"] == "test"]
    sides = ("safe", "unsafe")
    (out / "texts").write_text("\n".join(row[f"{side}_text"] for side in sides for row in rows))
    (out / "images").write_text("\n".join(str(world / row[f"{side}_image"]) for side in sides for row in rows))
    parapet("embed", "--model", model, "--texts", out / "texts", "--images", out / "images", "--backend", "torch",
            "--precision", "fp32", "--out", out / "e.safetensors")
    return load_file(out / "e.safetensors")


@pytest.mark.slow
def test_training_from_scratch_gives_the_same_figures(model, world, trained, tmp_path):
    parapet("eval", "retrieval", "--model", model, "--data", world, "--out", tmp_path / "report")
    shipped, again = figures(tmp_path / "report"), figures(trained)
    assert len(shipped) > 10 and shipped.keys() == again.keys()
    apart = {name: (value, again[name]) for name, value in shipped.items()
             if value["low"] > again[name]["high"] or again[name]["low"] > value["high"]}
    assert not apart


@pytest.mark.slow
def test_training_on_the_same_processor_gives_the_same_embeddings(model, world, trained, tmp_path):
    hardware = [json.loads((folder / "run.json").read_text())["hardware"] for folder in (SHIPPED, trained)]
    if any(hardware[0][key] != hardware[1][key] for key in ("processor", "cores", "isa")):
        pytest.skip("another kind of processor rounds differently")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    ours, theirs = embeddings(model, world, tmp_path / "a"), embeddings(trained / "model", world, tmp_path / "b")
    for side in ("text_embeds", "image_embeds"):
        assert (ours[side] * theirs[side]).sum(1).min() > 0.99, side
