"""`parapet train guard` and `parapet eval guard` against numpy, PyTorch and scikit-learn: what the heads
compute, what the report says, what may not be measured on."""
import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sklearn import metrics

from guard_support import (SIDES, embed, reference_scores, run, samples, train, trained, truth,
                           world)

pytestmark = pytest.mark.device


@pytest.fixture(scope="module")
def report(world, trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("guard_eval")
    run("eval", "guard", "--model", trained, "--data", world[1], "--out", out, "--groups",
        "language", "--resamples", "200", "--threads", "1")
    return json.loads((out / "report.json").read_text())


def test_report_equals_scikit_learn(world, trained, report, tmp_path):
    rows = samples(world[1], "test")
    image, text = embed(world[0], world[1], rows, tmp_path)
    info, scores = reference_scores(trained / "heads", image, text)
    label = truth(rows)
    for side in SIDES:
        keep = label[side] >= 0
        y, p = label[side][keep], scores[side][keep]
        got = {name: report["metrics"][f"{side}.{name}"] for name in
               ("auroc", "f1", "accuracy", "precision", "recall", "recall@fpr1", "fpr@recall95")}
        assert all(value["low"] <= value["value"] <= value["high"] for value in got.values())
        assert got["auroc"]["n"] == keep.sum()
        called = p.astype(np.float32) >= info["thresholds"][f"{side}.harm"]["best_f1"] - 1e-6
        fpr, tpr, _ = metrics.roc_curve(y, p, drop_intermediate=False)
        expected = {"auroc": metrics.roc_auc_score(y, p), "f1": metrics.f1_score(y, called),
                    "accuracy": metrics.accuracy_score(y, called),
                    "precision": metrics.precision_score(y, called),
                    "recall": metrics.recall_score(y, called),
                    "recall@fpr1": tpr[fpr <= 0.01].max(), "fpr@recall95": fpr[tpr >= 0.95].min()}
        for name, value in expected.items():
            assert abs(got[name]["value"] - value) < 1e-3, (side, name)
    keep = label["joint"] >= 0
    brier = metrics.brier_score_loss(label["joint"][keep], scores["joint"][keep])
    assert abs(report["metrics"]["brier"]["value"] - brier) < 1e-5


def test_heads_learn_and_the_report_names_what_was_asked(report):
    value = {name: m["value"] for name, m in report["metrics"].items()}
    assert value["image.auroc"] > 0.9 and value["text.auroc"] > 0.9 and value["joint.auroc"] > 0.9
    assert value["ece"] < 0.15
    assert {"conformal.miss_rate", "conformal.review_share", "consistency.agreement",
            "consistency.broken_pair.recall", "contradiction.one_sided.auroc",
            "joint.macro_f1"} <= set(value)
    assert {"summary", "category", "cells", "kinds", "fairness_language", "reliability",
            "roc"} <= set(report["tables"])
    cells = {row[0] for row in report["tables"]["cells"]["rows"]}
    assert "unsafe image + safe text = unsafe" in cells
    groups = [row[0] for row in report["tables"]["fairness_language"]["rows"]]
    assert groups == ["de", "en", "largest gap"]


def test_frozen_model_is_not_written_and_runs_repeat(world, trained, tmp_path):
    assert not (trained / "model").exists()
    train(*world, tmp_path / "again")
    for name in ("guard_heads.safetensors", "guard_heads.json"):
        assert (tmp_path / "again/heads" / name).read_bytes() == (
            trained / "heads" / name).read_bytes()


def test_resume_ends_the_same(world, trained, tmp_path):
    out = tmp_path / "run"
    train(*world, tmp_path / "whole", "--schedule", "constant", "--warmup-steps", "4", "--max-steps", "40")
    train(*world, out, "--schedule", "constant", "--warmup-steps", "4", "--max-steps", "25")
    train(*world, out, "--schedule", "constant", "--warmup-steps", "4", "--max-steps", "40", "--resume")
    assert (out / "heads/guard_heads.safetensors").read_bytes() == (
        tmp_path / "whole/heads/guard_heads.safetensors").read_bytes()


def test_samples_seen_before_are_refused(world, trained, tmp_path):
    for split in ("train", "val"):
        done = run("eval", "guard", "--model", trained, "--data", world[1], "--split", split,
                   "--out", tmp_path / split, code=3)
        assert "already used to train or calibrate" in done.stderr
    # Another id does not hide the same content.
    data = tmp_path / "data"
    shutil.copytree(world[1], data)
    rows = [json.loads(line) for line in (data / "labels.jsonl").read_text().splitlines()]
    for row in rows:
        if row["split"] == "train":
            row.update(id="new-" + row["id"], split="test2")
    (data / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run("eval", "guard", "--model", trained, "--data", data, "--split", "test2", "--out",
        tmp_path / "test2", code=3)


def test_pictures_seen_with_other_texts_are_counted(world, trained, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world[1], data)
    rows = [json.loads(line) for line in (data / "labels.jsonl").read_text().splitlines()]
    known = [row["image"] for row in rows if row["split"] != "test" and "image" in row]
    borrowed = 0
    for row in rows:
        if row["split"] == "test" and "image" in row and borrowed < 7:
            row["image"], borrowed = known[borrowed * 40], borrowed + 1
    (data / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def warnings(folder):
        return run("eval", "guard", "--model", trained, "--data", folder, "--out", tmp_path / "out",
                   "--resamples", "100").stderr

    assert "7 of " in warnings(data) and "pictures were in training" in warnings(data)
    assert "pictures were in training" not in warnings(world[1])


def test_heads_of_another_model_are_refused(trained, world, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(world[0], other)
    weights = load_file(other / "model.safetensors")
    weights["visual_projection.weight"] += 1e-3
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    done = run("eval", "guard", "--model", other, "--heads", trained / "heads", "--data", world[1],
               "--out", tmp_path / "out", code=3)
    assert "is not the model these guard heads were trained on" in done.stderr


def test_report_shows_heads_on_both_and_the_held_style(world, trained, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world[1], data)
    rows = [json.loads(line) for line in (data / "labels.jsonl").read_text().splitlines()]
    test = [row for row in rows if row["split"] == "test"]
    for row in test[:75]:
        row["split"] = "test_held_style"
    (data / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def report(name, *flags):
        out = tmp_path / name
        run("eval", "guard", "--model", trained, "--data", data, "--out", out, "--resamples", "100",
            "--threads", "1", *flags)
        return json.loads((out / "report.json").read_text())

    both = report("both", "--compare", trained, "--compare-name", "hardened")
    plain, held = report("plain", "--held-split", ""), report("held", "--split", "test_held_style")
    parts = {"": plain, "hardened.": plain, "held_style.": held, "held_style.hardened.": held}
    expected = {prefix + name: value for prefix, source in parts.items()
                for name, value in source["metrics"].items()}
    assert expected == both["metrics"]
    assert both["metrics"]["joint.auroc"] != both["metrics"]["held_style.joint.auroc"]
    columns = both["tables"]["summary"]["columns"]
    assert columns == ["measure", "test", "hardened", "held_style", "held_style.hardened"]


def test_heads_without_their_sample_list_warn(world, trained, tmp_path):
    shutil.copytree(trained / "heads", tmp_path / "heads")
    (tmp_path / "heads/guard_samples.txt").unlink()
    done = run("eval", "guard", "--model", world[0], "--heads", tmp_path / "heads", "--data", world[1],
               "--out", tmp_path / "out", "--resamples", "100")
    assert "guard_samples.txt is missing" in done.stderr
