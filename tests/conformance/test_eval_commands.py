"""`parapet eval retrieval`, `eval zeroshot` and `report`: what they write, and how they refuse."""
import json
import sqlite3

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from clip_probe import PARAPET
from device import FLAGS
from harden_support import SIZE, harden, read_rows, run_json, write_data, write_model, write_rows

pytestmark = pytest.mark.device

COMMON = ["--dtype", "fp32", "--threads", "1"]


def write_zeroshot(folder):
    """Two safe classes and one unsafe, three pictures each for test, one for the held style."""
    classes = [{"name": "apple", "category": "none", "unsafe": False},
               {"name": "kettle", "category": "none", "unsafe": False},
               {"name": "fire", "category": "fire", "unsafe": True},
               {"name": "sword", "category": "weapon", "unsafe": True}]
    images = []
    for c in range(4):
        for i in range(4):
            Image.new("RGB", (SIZE, SIZE), (60 * c, 80 * i % 256, 40)).save(folder / f"z{c}_{i}.png")
            images.append({"image": f"z{c}_{i}.png", "class": c,
                           "split": "test" if i < 3 else "test_held_style"})
    (folder / "zeroshot.json").write_text(json.dumps(
        {"templates": ["a photo of a {}", "{}"], "classes": classes, "images": images}))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    model, data = write_model(folder / "model"), write_data(folder / "data")
    write_rows(data, [dict(row, split="test") if row["split"] == "val" else row
                      for row in read_rows(data)])
    write_zeroshot(data)
    tensors = load_file(model / "model.safetensors")
    tuned = write_model(folder / "tuned")
    generator = torch.Generator().manual_seed(1)
    for name in ("text_projection.weight", "visual_projection.weight"):
        tensors[name] += 0.1 * torch.randn(tensors[name].shape, generator=generator)
    save_file(tensors, tuned / "model.safetensors", {"format": "pt"})
    return model, tuned, data


def evaluate(kind, out, *flags, code=0):
    return run_json([PARAPET, "eval", kind, "--out", out, "--reference-cache", out.parent / "cache",
                     *COMMON, *FLAGS, *flags], code)


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


# ---- eval retrieval -------------------------------------------------------------

def test_retrieval_writes_metrics_and_page(world, tmp_path):
    model, tuned, data = world
    result = evaluate("retrieval", tmp_path / "out", "--model", tuned, "--baseline", model, "--data",
                      data)
    report = report_of(tmp_path / "out")
    assert result["metrics"] == report["metrics"] and report["kind"] == "retrieval"
    for name in ("before.T2V.R@1", "after.V2T.R@20", "after.Tu2VVu.unsafe_top1",
                 "after.Vu2TTu.old_index.R@1", "after.Tu2VVu.no_twin.R@5", "after.preservation.image",
                 "before.zeroshot.top1", "after.zeroshot.unsafe_top1"):
        value = report["metrics"][name]
        assert value["low"] <= value["value"] <= value["high"] and value["n"] >= 4, name
    assert report["metrics"]["after.preservation.text"]["value"] < 0.999
    assert {"category", "zeroshot"} <= report["tables"].keys()
    assert report["run"]["inputs"].keys() == {"model", "baseline", "data"}
    page = (tmp_path / "out/report.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "data:image/png;base64," in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_model_alone_is_before(world, tmp_path):
    model, _, data = world
    evaluate("retrieval", tmp_path / "out", "--model", model, "--data", data)
    assert all(".after." not in f".{name}" for name in report_of(tmp_path / "out")["metrics"])


def test_the_original_is_embedded_once(world, tmp_path):
    model, tuned, data = world
    arguments = ["--model", tuned, "--baseline", model, "--data", data]
    evaluate("retrieval", tmp_path / "one", *arguments)
    [file] = (tmp_path / "cache").iterdir()
    with sqlite3.connect(file) as database:
        kept = dict(database.execute("SELECT key, value FROM embedding"))
        highest = database.execute("SELECT max(id) FROM embedding").fetchone()
    assert len(kept) > 4 * 4  # quadruplets of two splits, zero-shot images, prompts
    evaluate("retrieval", tmp_path / "two", *arguments)
    with sqlite3.connect(file) as database:
        assert dict(database.execute("SELECT key, value FROM embedding")) == kept
        assert database.execute("SELECT max(id) FROM embedding").fetchone() == highest
    assert report_of(tmp_path / "one")["metrics"] == report_of(tmp_path / "two")["metrics"]
    # It is read: another content there shows.
    with sqlite3.connect(file) as database:
        database.executemany("UPDATE embedding SET value = ? WHERE key = ?",
                             [((-np.frombuffer(value, np.float32)).tobytes(), key)
                              for key, value in kept.items()])
    evaluate("retrieval", tmp_path / "three", *arguments)
    assert report_of(tmp_path / "three")["metrics"]["after.preservation.text"]["value"] < 0
    run_json([PARAPET, "eval", "retrieval", "--out", tmp_path / "four", "--reference-cache", "", *COMMON,
              *FLAGS, *arguments])
    assert report_of(tmp_path / "four")["metrics"] == report_of(tmp_path / "one")["metrics"]


def test_bad_samples_in_evaluation(world, tmp_path):
    model, _, _ = world
    data = write_data(tmp_path / "data", train=2, val=6)
    write_rows(data, [dict(row, split="test") for row in read_rows(data)])
    (data / "unsafe_2.png").unlink()
    (data / "safe_4.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    arguments = ["--model", model, "--data", data]
    errors = evaluate("retrieval", tmp_path / "stop", *arguments, code=3)
    assert "unsafe_2.png" in errors and not (tmp_path / "stop/report.json").exists()
    result = evaluate("retrieval", tmp_path / "skip", *arguments, "--on-bad-sample", "skip")
    assert result["skipped"] == 2
    assert report_of(tmp_path / "skip")["metrics"]["before.T2V.R@1"]["n"] == 6
    reasons = (tmp_path / "skip/quarantine.jsonl").read_text()
    assert "unsafe_2.png" in reasons and "safe_4.png" in reasons


def test_retrieval_refuses(world, tmp_path):
    model, tuned, data = world
    out = tmp_path / "out"
    assert "--model" in evaluate("retrieval", out, "--data", data, code=2)
    assert "--resamples" in evaluate("retrieval", out, "--model", model, "--data", data, "--resamples",
                                     "5", code=2)
    assert "--examples" in evaluate("retrieval", out, "--model", model, "--data", data, "--examples",
                                    "-1", code=2)
    assert "--baseline" in evaluate("retrieval", out, "--model", model, "--data", data, "--adapter", "a",
                                    code=2)
    errors = evaluate("retrieval", out, "--model", model, "--data", data, "--split", "nosuch", code=3)
    assert "quadruplets.jsonl" in errors and "nosuch" in errors
    assert "none" in evaluate("retrieval", out, "--model", tmp_path / "none", "--data", data, code=3)
    assert "none" in evaluate("retrieval", out, "--model", model, "--data", tmp_path / "none", code=3)
    assert not (out / "report.json").exists()


# ---- eval zeroshot --------------------------------------------------------------

def test_zeroshot(world, tmp_path):
    model, tuned, data = world
    evaluate("zeroshot", tmp_path / "out", "--model", tuned, "--baseline", model, "--data", data)
    report = report_of(tmp_path / "out")
    assert report["kind"] == "zeroshot"
    for name, n in (("before.zeroshot.top1", 6), ("after.zeroshot.unsafe_top1", 6),
                    ("held_style.after.zeroshot.top1", 2)):
        assert report["metrics"][name]["n"] == n, name
        assert 0 <= report["metrics"][name]["value"] <= 1
    rows = report["tables"]["zeroshot"]["rows"]
    assert {row[0] for row in rows} == {"(safe objects)", "fire", "weapon"}


def test_zeroshot_agrees_with_transformers(world, tmp_path):
    """Mean of normalised prompt embeddings, normalised; classes of the own side only."""
    from transformers.models.clip.modeling_clip import CLIPModel
    from transformers import AutoTokenizer, CLIPImageProcessor
    model, _, data = world
    evaluate("zeroshot", tmp_path / "out", "--model", model, "--data", data)
    world_of = json.loads((data / "zeroshot.json").read_text())
    reference = CLIPModel.from_pretrained(model).eval()
    tokenizer, processor = AutoTokenizer.from_pretrained(model), CLIPImageProcessor.from_pretrained(model)

    def unit(x):
        x = getattr(x, "pooler_output", x)
        return x / x.norm(dim=-1, keepdim=True)

    with torch.no_grad():
        prompts = torch.stack([unit(unit(reference.get_text_features(**tokenizer(
            [t.replace("{}", c["name"]) for t in world_of["templates"]], return_tensors="pt",
            padding=True))).mean(0)) for c in world_of["classes"]])
        hits = {False: [], True: []}
        for item in world_of["images"]:
            if item["split"] != "test":
                continue
            pixels = processor(Image.open(data / item["image"]), return_tensors="pt")
            unsafe = world_of["classes"][item["class"]]["unsafe"]
            own = [i for i, c in enumerate(world_of["classes"]) if c["unsafe"] == unsafe]
            best = own[int((unit(reference.get_image_features(**pixels)) @ prompts[own].T).argmax())]
            hits[unsafe].append(best == item["class"])
    metrics = report_of(tmp_path / "out")["metrics"]
    assert metrics["before.zeroshot.top1"]["value"] == pytest.approx(sum(hits[False]) / 6)
    assert metrics["before.zeroshot.unsafe_top1"]["value"] == pytest.approx(sum(hits[True]) / 6)


def test_zeroshot_refuses(world, tmp_path):
    model, _, data = world
    out = tmp_path / "out"
    assert "zeroshot.json" in evaluate("zeroshot", out, "--model", model, "--data", tmp_path, code=3)
    errors = evaluate("zeroshot", out, "--model", model, "--data", data, "--split", "nosuch",
                      "--held-split", "nosuch", code=3)
    assert "nosuch" in errors
    (tmp_path / "zeroshot.json").write_text("{}")
    assert "zeroshot.json" in evaluate("zeroshot", out, "--model", model, "--data", tmp_path, code=3)
    assert "--data" in evaluate("zeroshot", out, "--model", model, code=2)


# ---- report ---------------------------------------------------------------------

def report(*flags, code=0):
    return run_json([PARAPET, "report", *flags], code)


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory):
    model, tuned, data = world
    folder = tmp_path_factory.mktemp("runs")
    evaluate("retrieval", folder / "original", "--model", model, "--data", data)
    evaluate("retrieval", folder / "tuned", "--model", tuned, "--baseline", model, "--data", data)
    return folder


def test_report_rewrites_the_page_of_a_run(world, tmp_path):
    model, _, data = world
    run = tmp_path / "run"
    harden(model, data, run, "--max-steps", "3")
    before = (run / "report.html").read_text()
    saved = report_of(run)
    (run / "report.html").unlink()
    assert report("--run", run)["report"] == str(run / "report.html")
    assert (run / "report.html").read_text() == before and report_of(run) == saved
    # The curves come from metrics.jsonl.
    lines = (run / "metrics.jsonl").read_text().splitlines()
    (run / "metrics.jsonl").write_text("")
    report("--run", run)
    assert len((run / "report.html").read_text()) < len(before) and len(lines) >= 3


def test_compare_shows_runs_side_by_side(runs, tmp_path):
    report("--compare", f"{runs / 'original'},mine={runs / 'tuned'}", "--out", tmp_path / "out")
    compared = report_of(tmp_path / "out")
    assert compared["kind"] == "comparison"
    tuned = report_of(runs / "tuned")["metrics"]
    assert compared["metrics"]["mine.after.T2V.R@1"] == tuned["after.T2V.R@1"]
    assert "original.before.T2V.R@1" in compared["metrics"]
    assert [row[0] for row in compared["tables"]["kept"]["rows"]] == ["original (original)", "mine"]
    page = (tmp_path / "out/report.html").read_text()
    assert "mine" in page and "Unsafe first results" in page


def test_report_refuses(runs, tmp_path):
    assert "--run, --compare" in report(code=2)
    assert "--run, --compare" in report("--run", runs / "tuned", "--compare", runs / "tuned", "--out",
                                        tmp_path, code=2)
    assert "--out" in report("--compare", runs / "tuned", code=2)
    assert "report.json" in report("--run", tmp_path / "none", code=3)
    assert "report.json" in report("--compare", f"{runs / 'tuned'},{tmp_path / 'none'}", "--out",
                                   tmp_path / "out", code=3)
    broken = tmp_path / "broken"
    broken.mkdir()
    for content in ("{", "[]", '{"metrics": {}}', '{"kind": "retrieval", "metrics": []}',
                    '{"kind": "retrieval", "examples": [{"examples": [{"query": {"image": "http://x"}}]}]}'):
        (broken / "report.json").write_text(content)
        assert "report.json" in report("--run", broken, code=3), content
        assert not (broken / "report.html").exists()
