"""`parapet quantize` with guard heads: what int8 costs them, and the gate on it."""
import json
import re

import numpy as np
import pytest
from sklearn import metrics

from guard_support import SIDES, embed, reference_scores, run, samples, trained, world


def test_quantize_measures_what_int8_costs_the_heads(world, trained, tmp_path):
    model, data = world
    rows = samples(data, "train")[:70]
    (tmp_path / "images.txt").write_text(
        "".join(f"{data / row['image']}\n" for row in rows if "image" in row))
    (tmp_path / "texts.txt").write_text("".join(row["text"] + "\n" for row in rows))
    out = tmp_path / "int8"

    def quantize(*flags, code=0):
        return run("quantize", "--model", model, "--images", tmp_path / "images.txt", "--texts",
                   tmp_path / "texts.txt", "--samples", "32", "--held-out", "24", "--threads", "1",
                   "--out", out, *flags, "--json", code=code)

    refused = {("--heads", trained): "--labels", ("--labels", data): "--heads",
               ("--heads", trained, "--labels", data, "--max-auroc-drop", "-1"): "--max-auroc-drop"}
    for flags, word in refused.items():
        assert word in quantize(*flags, code=2).stderr
    seen = quantize("--heads", trained, "--labels", data, "--labels-split", "train", code=3)
    assert "labels" in seen.stderr or str(data) in seen.stderr
    assert not out.exists()
    # The gate does not measure what the ranges were fitted to, whatever the files are called.
    (tmp_path / "copied").mkdir()
    copies = []
    for row in [row for row in samples(data, "test") if "image" in row][:40]:
        copies.append(tmp_path / "copied" / f"{row['id'].replace('/', '_')}.img")
        copies[-1].write_bytes((data / row["image"]).read_bytes())
    (tmp_path / "copies.txt").write_text("".join(f"{copy}\n" for copy in copies))
    fitted = run("quantize", "--model", model, "--images", tmp_path / "copies.txt", "--texts",
                 tmp_path / "texts.txt", "--samples", "16", "--held-out", "8", "--threads", "1",
                 "--out", out, "--heads", trained, "--labels", data, code=2)
    assert re.search(r"[1-9]\d* pictures", fitted.stderr) and "--labels" in fitted.stderr
    assert not out.exists()

    # Captions of the sample world repeat: those that the labels hold too must not calibrate.
    measured_texts = {row["text"] for row in samples(data, "test")}
    (tmp_path / "texts.txt").write_text(
        "".join(row["text"] + "\n" for row in rows if row["text"] not in measured_texts))
    gates = json.loads(quantize("--heads", trained, "--labels", data).stdout.splitlines()[-1])["gates"]
    for side in SIDES:
        gate = gates[f"{side}.auroc_drop"]
        assert gate["passed"] and gate["limit"] == 0.002
        assert gate["value"] == pytest.approx(gate["fp32"] - gate["int8"])
        assert gate["fp32"] > 0.8
    report = json.loads((out / "report.json").read_text())
    assert report["metrics"]["joint.auroc_drop"]["value"] == pytest.approx(
        gates["joint.auroc_drop"]["value"])
    # The heads belong to the quantized folder too, and the gate's figures are what eval guard says.
    run("eval", "guard", "--model", out, "--heads", trained / "heads", "--data", data, "--out",
        tmp_path / "eval", "--backend", "openvino", "--precision", "int8", "--resamples", "100",
        "--threads", "1")
    measured = json.loads((tmp_path / "eval/report.json").read_text())["metrics"]
    for side in SIDES:
        assert measured[f"{side}.auroc"]["value"] == pytest.approx(
            gates[f"{side}.auroc_drop"]["int8"], abs=1e-3)


def test_quantize_fails_where_the_heads_lose_too_much(world, trained, tmp_path):
    """Pictures alone, called harmful by the heads' own fp32 scores, cut where int8 exchanges most:
    AUROC 1 in fp32, less in int8."""
    model, data = world
    rows = samples(data, "train")[:70]
    (tmp_path / "calibration.txt").write_text(
        "".join(f"{data / row['image']}\n" for row in rows if "image" in row))
    (tmp_path / "words.txt").write_text("".join(row["text"] + "\n" for row in rows))
    flags = ["quantize", "--model", model, "--images", tmp_path / "calibration.txt", "--texts",
             tmp_path / "words.txt", "--samples", "32", "--held-out", "24", "--threads", "1",
             "--max-kept", "0", "--json", "--out"]
    run(*flags, tmp_path / "int8")
    rows = [row for row in samples(data, "test") if "image" in row]
    exact, rounded = (
        reference_scores(trained / "heads", *embed(folder, data, rows, tmp_path, *more))[1]["image"]
        for folder, more in ((model, ("--precision", "fp32")), (tmp_path / "int8", ("--backend", "openvino"))))
    order = np.argsort(exact)
    cuts = {at: metrics.roc_auc_score(np.arange(len(order)) >= at, rounded[order])
            for at in range(10, len(order) - 10)}
    at = min(cuts, key=cuts.get)
    assert cuts[at] < 1
    harmful = set(order[at:])
    (tmp_path / "tight").mkdir()
    (tmp_path / "tight/labels.jsonl").write_text("".join(json.dumps(
        {"id": row["id"], "image": str(data / row["image"]), "split": "test",
         "labels": {"fire": "explicit" if i in harmful else "none"}}) + "\n"
        for i, row in enumerate(rows)))

    gate = ["--heads", trained, "--labels", tmp_path / "tight", "--max-auroc-drop"]
    out = tmp_path / "int8"  # ranges of an earlier run do not outlive a gate that fails
    failed = run(*flags, out, *gate, (1 - cuts[at]) / 2, code=4)
    assert "image.auroc_drop" in failed.stderr and "image.cosine" not in failed.stderr
    result = json.loads(failed.stdout.splitlines()[-1])
    drop = result["gates"]["image.auroc_drop"]
    assert not result["passed"] and not drop["passed"] and result["gates"]["image.cosine"]["passed"]
    assert drop["fp32"] == pytest.approx(1, abs=1e-4)
    assert drop["value"] == pytest.approx(1 - cuts[at], rel=0.2)
    assert not (out / "quantization.safetensors").exists()
    table = json.loads((out / "report.json").read_text())["tables"]["gates"]["rows"]
    assert ("image.auroc_drop", "no") in {(row[0], row[3]) for row in table}
    run(*flags, out, *gate, (1 - cuts[at]) * 2)
    assert (out / "quantization.safetensors").exists()
