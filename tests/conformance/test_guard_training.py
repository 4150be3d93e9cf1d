"""`parapet train guard` and `parapet eval guard` against numpy, PyTorch, scikit-learn and
transformers: what the heads compute, what the report says, what may not change."""
import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn import metrics

from clip_probe import PARAPET
from harden_support import write_model

torch.set_num_threads(1)
SIZE = 32
SIDES = ["image", "text", "joint"]


def draw(harmful, random):
    """Noise in blocks; a harmful picture has a red quarter."""
    pixels = random.integers(60, 200, (8, 8, 3), dtype=np.uint8)
    if harmful:
        pixels[:4, :4] = [250, 10, 10]
    return Image.fromarray(pixels.repeat(SIZE // 8, 0).repeat(SIZE // 8, 1))


def write_labels(folder, counts):
    """Explicit, one-sided and safe samples; a few have one side only."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(3)
    lines = []
    for split, count in counts.items():
        for i in range(count):
            image_bad, text_bad = bool(random.random() < 0.4), bool(random.random() < 0.4)
            name = f"{split}_{i}.png"
            draw(image_bad, random).save(folder / name)
            words = random.choice(["kettle", "violin", "teapot", "lantern", "marble"], 2)
            text = f"a {words[0]} {'on fire' if text_bad else 'at home'} by a {words[1]} no {i}"
            harmful = image_bad or text_bad
            side = "both" if image_bad and text_bad else "image" if image_bad else "text"
            row = {"id": f"{split}-{i}", "image": name, "text": text, "split": split,
                   "labels": {"fire": "explicit" if harmful else "none"},
                   "attributes": {"kind": "explicit" if side == "both" and harmful else
                                  "one_sided" if harmful else "safe",
                                  "language": "de" if i % 3 == 0 else "en"}}
            if harmful:
                row["attributes"]["unsafe_side"] = side
            if i % 17 == 0:
                del row["image"]
                row["labels"]["fire"] = "explicit" if text_bad else "none"
            lines.append(json.dumps(row))
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def run(*args, code=0):
    done = subprocess.run([PARAPET, *map(str, args)], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done


QUICK = {"--threads": 1, "--embedding-cache": "", "--hidden": 16, "--batch-size": 32,
         "--epochs": 20, "--lr": 5e-3, "--checkpoint-every": 0}


def train(model, data, out, *flags, **kwargs):
    """Later flags win over the quick ones."""
    quick = [word for name, value in QUICK.items() if name not in flags for word in (name, value)]
    return run("train", "guard", "--model", model, "--data", data, "--out", out, *quick, *flags,
               **kwargs)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard")
    data = write_labels(folder / "data", {"train": 240, "val": 160, "test": 150})
    return write_model(folder / "model"), data


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("guard_run") / "run"
    train(*world, out)
    return out


@pytest.fixture(scope="module")
def report(world, trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("guard_eval")
    run("eval", "guard", "--model", trained, "--data", world[1], "--out", out, "--groups",
        "language", "--resamples", "200", "--threads", "1")
    return json.loads((out / "report.json").read_text())


def samples(data, split):
    rows = [json.loads(line) for line in (data / "labels.jsonl").read_text().splitlines()]
    return [row for row in rows if row["split"] == split]


def embed(model, data, rows, tmp, *flags):
    images = [row for row in rows if "image" in row]
    (tmp / "images.txt").write_text("".join(f"{data / row['image']}\n" for row in images))
    (tmp / "texts.txt").write_text("".join(row["text"] + "\n" for row in rows))
    run("embed", "--model", model, "--images", tmp / "images.txt", "--texts", tmp / "texts.txt",
        "--out", tmp / "e.safetensors", *flags)
    stored = load_file(tmp / "e.safetensors")
    image = torch.zeros(len(rows), stored["text_embeds"].shape[1])
    image[[i for i, row in enumerate(rows) if "image" in row]] = stored["image_embeds"]
    return image, stored["text_embeds"]


def reference_scores(folder, image, text):
    """The heads again, in PyTorch: calibrated harm and contradiction."""
    info = json.loads((folder / "guard_heads.json").read_text())
    w = load_file(folder / "guard_heads.safetensors")
    root, d = image.shape[1] ** 0.5, image.shape[1]
    features = {"image": image * root, "text": text * root,
                "joint": torch.cat([image * root, text * root, image * text * d,
                                    (image - text).abs() * root], 1)}

    def calibrated(name, logits):
        assert info["calibration"][name]["kind"] == "scaled"
        fit = info["calibration"][name]
        return torch.sigmoid(logits.double() * fit["scale"] + fit["shift"]).numpy()

    def network(name, x):
        hidden = torch.nn.functional.gelu(x @ w[f"{name}.fc1.weight"].T + w[f"{name}.fc1.bias"])
        return hidden @ w[f"{name}.fc2.weight"].T + w[f"{name}.fc2.bias"]

    count = len(info["categories"])
    logits = {side: network(side, features[side]) for side in SIDES}
    sides = torch.stack([logits["image"][:, count], logits["text"][:, count]], 1)
    explicit = logits["joint"][:, count] + torch.logsumexp(sides * w["joint.side_gain"], 1)
    implicit = network("implicit", features["joint"])[:, count]
    contradiction = logits["joint"][:, count + 1] + w["contradiction.cosine_gain"] * (
        image * text).sum(1)
    return info, {"image": calibrated("image.harm", sides[:, 0]),
                  "text": calibrated("text.harm", sides[:, 1]),
                  "joint": calibrated("joint.harm", torch.logaddexp(explicit, implicit)),
                  "contradiction": calibrated("contradiction", contradiction)}


def truth(rows):
    label = {side: np.full(len(rows), -1) for side in SIDES}
    for i, row in enumerate(rows):
        side = row["attributes"].get("unsafe_side", "")
        harmful = row["labels"]["fire"] == "explicit"
        if "image" not in row:
            label["text"][i] = harmful
            continue
        label["image"][i] = harmful and side in ("image", "both")
        label["text"][i] = harmful and side in ("text", "both")
        label["joint"][i] = harmful
    return label


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
        for folder, more in ((model, ()), (tmp_path / "int8", ("--backend", "openvino"))))
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


@pytest.mark.parametrize("adversary", ["none", "pixel-fgm"])
def test_finetune_trains_the_top_only_and_loads_in_transformers(world, tmp_path, adversary):
    from transformers import CLIPModel
    out = tmp_path / "run"
    train(*world, out, "--mode", "finetune", "--epochs", "3", "--trunk-lr", "5e-5",
          "--adversary", adversary, "--adversary-epsilon", "0.01")
    before, after = load_file(world[0] / "model.safetensors"), load_file(out / "model/model.safetensors")
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "visual_projection.weight" in changed and "logit_scale" not in changed
    assert any(".layers.1." in name for name in changed)
    assert not any(".layers.0." in name or "embedding" in name or "pre_layrnorm" in name
                   for name in changed), changed
    CLIPModel.from_pretrained(out / "model")
    info = json.loads((out / "heads/guard_heads.json").read_text())
    assert info["embedding"] == "tuned"
    run("eval", "guard", "--model", out, "--data", world[1], "--out", tmp_path / "eval",
        "--resamples", "100")
    terms = [json.loads(line)["terms"] for line in (out / "metrics.jsonl").read_text().splitlines()
             if "terms" in line]
    assert {"classification", "contrastive", "original"} <= set(terms[0])


def test_finetune_resumes_through_its_stages(world, tmp_path):
    """Four steps per epoch, a layer set free in the second epoch; the run stops in the first."""
    flags = ["--mode", "finetune", "--unfrozen-share", "1", "--unfreeze-stages", "2", "--batch-size",
             "60", "--trunk-lr", "5e-5", "--schedule", "constant", "--warmup-steps", "1", "--balance",
             "none"]
    names = ("model/model.safetensors", "heads/guard_heads.safetensors")
    train(*world, tmp_path / "whole", *flags, "--max-steps", "6")
    train(*world, tmp_path / "run", *flags, "--max-steps", "3")
    original = load_file(world[0] / "model.safetensors")

    def moved(run):
        now = load_file(run / names[0])
        return {name for name in now if not torch.equal(now[name], original[name])}

    assert moved(tmp_path / "run") and not any(".layers.0." in n for n in moved(tmp_path / "run"))
    train(*world, tmp_path / "run", *flags, "--max-steps", "6", "--resume")
    assert any(".layers.0." in name for name in moved(tmp_path / "run"))
    for name in names:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_epochs_count_samples_whatever_the_accumulation(world, tmp_path):
    for accumulate, steps in ((1, 8), (4, 2)):
        out = tmp_path / str(accumulate)
        train(*world, out, "--batch-size", "60", "--epochs", "2", "--accumulate", accumulate)
        lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert max(line["step"] for line in lines) == steps


def test_what_keeps_the_models_ability_keeps_it(world, tmp_path):
    """R13: closeness to the original, and matching pairs that still find each other."""
    data, rows = world[1], [row for row in samples(world[1], "test") if "image" in row]
    pairs = [i for i, row in enumerate(rows) if row["labels"]["fire"] == "none"]

    def measured(*weights):
        out = tmp_path / "-".join(weights)
        train(*world, out, "--mode", "finetune", "--epochs", "6", "--trunk-lr", "3e-3",
              "--contrastive-weight", weights[0], "--cosine-weight", weights[1])
        image, text = embed(out / "model", data, rows, tmp_path)
        before = embed(world[0], data, rows, tmp_path)
        kept = ((image * before[0]).sum(1).mean() + (text * before[1]).sum(1).mean()).item() / 2
        scale = load_file(world[0] / "model.safetensors")["logit_scale"].exp()
        logits = scale * image[pairs] @ text[pairs].T
        target = torch.arange(len(pairs))
        nce = (torch.nn.functional.cross_entropy(logits, target)
               + torch.nn.functional.cross_entropy(logits.T, target)).item() / 2
        return kept, nce

    free, close, contrastive = measured("0", "0"), measured("0", "20"), measured("2", "0")
    assert close[0] > free[0] + 0.02, (free, close)
    assert contrastive[1] < free[1] - 0.05, (free, contrastive)


def test_labels_without_consistency_are_named(world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world[1], data)
    rows = [json.loads(line) for line in (data / "labels.jsonl").read_text().splitlines()]
    for row in rows:
        row["attributes"].pop("kind", None)
    (data / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = train(world[0], data, tmp_path / "heads")
    assert "contradictions are not learnt" in done.stderr
    done = train(world[0], data, tmp_path / "tuned", "--mode", "finetune", "--epochs", "1")
    assert "--contrastive-weight has nothing to work on" in done.stderr


def test_calibration_samples_of_training_are_refused_before_training(world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world[1], data)
    rows = [json.loads(line) for line in (data / "labels.jsonl").read_text().splitlines()]
    copies = [dict(row, id="again-" + row["id"], split="val") for row in rows
              if row["split"] == "train"][:20]
    (data / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows + copies))
    done = train(world[0], data, tmp_path / "run", code=3)
    assert "already used to train or calibrate" in done.stderr
    assert not (tmp_path / "run/checkpoints").exists()


@pytest.mark.parametrize("flags", [
    ["--loss", "focal"], ["--calibration", "isotonic"], ["--calibration", "temperature"],
    ["--balance", "reweight", "--balance-by", "language"],
    ["--group", "language", "--score-alignment", "1", "--gradient-reversal", "0.1"],
    ["--adversary", "pgd"], ["--augment-copies", "2", "--embedding-noise", "0.1"],
    ["--hidden", "0"], ["--dropout", "0.2"]])
def test_every_option_trains_heads_that_work(world, trained, tmp_path, flags):
    train(*world, tmp_path / "run", *flags)
    # Runs repeat bit by bit, so an option without effect would give the plain run's files.
    name = "guard_heads.json" if "--calibration" in flags else "guard_heads.safetensors"
    assert (tmp_path / "run/heads" / name).read_bytes() != (trained / "heads" / name).read_bytes()
    fits = json.loads((tmp_path / "run/heads/guard_heads.json").read_text())["calibration"]
    if "isotonic" in flags:
        knots, values = fits["joint.harm"]["knots"], fits["joint.harm"]["probabilities"]
        assert (np.diff(knots) > 0).all() and (np.diff(values) >= 0).all()
    if "temperature" in flags:
        assert all(fit["shift"] == 0 and fit["scale"] != 1 for fit in fits.values())
    run("eval", "guard", "--model", tmp_path / "run", "--data", world[1], "--out",
        tmp_path / "eval", "--resamples", "100")
    got = json.loads((tmp_path / "eval/report.json").read_text())["metrics"]
    assert got["joint.auroc"]["value"] > 0.8


def test_copies_are_changed_versions_and_computed_once(world, tmp_path):
    flags = ["--augment-copies", "2", "--embedding-cache", tmp_path / "cache", "--max-steps", "2"]
    train(*world, tmp_path / "run", *flags)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()}
    shapes = {file: {name: x.shape for name, x in load_file(file).items()} for file in files}
    (copies,) = [file for file in files if shapes[file]["image"][0] == 3]  # of train alone
    rows = samples(world[1], "train")
    stored = load_file(copies)
    image, text = embed(world[0], world[1], rows, tmp_path)
    for name, plain in (("image", image), ("text", text)):
        torch.testing.assert_close(stored[name][0], plain, atol=1e-5, rtol=0)
        present = plain.abs().sum(1) > 0
        same = [(stored[name][v][present] * plain[present]).sum(1) > 0.99999 for v in (1, 2)]
        assert 0.2 < 1 - torch.stack(same).double().mean() < 1  # most pictures, some texts
        assert (stored[name][:, ~present] == 0).all()
    train(*world, tmp_path / "again", *flags)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir()} == files
    name = "heads/guard_heads.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_warnings_name_the_documents_ranges(world, tmp_path):
    done = train(*world, tmp_path / "run", "--mode", "finetune", "--epochs", "2")
    assert "--epochs is outside the recommended range 3 to 10" in done.stderr


@pytest.mark.parametrize("flags, words", [
    (["--balance", "none", "--balance-by", "language"], "--balance-by"),
    (["--score-alignment", "1"], "--group"), (["--adversary", "pixel-pgd"], "--mode finetune"),
    (["--conformal-alpha", "0.7"], "--conformal-alpha"), (["--unfrozen-share", "2"], "0..1")])
def test_bad_options_are_named(world, tmp_path, flags, words):
    done = train(*world, tmp_path / "run", *flags, code=2)
    assert words in done.stderr


def test_bad_labels_are_named(world, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(world[1], data)
    text = (data / "labels.jsonl").read_text().replace('"unsafe_side": "image"',
                                                       '"unsafe_side": "left"', 1)
    (data / "labels.jsonl").write_text(text)
    done = train(world[0], data, tmp_path / "run", code=3)
    assert "unknown unsafe_side 'left'" in done.stderr
    (data / "labels.jsonl").write_text("".join(line + "\n" for line in text.splitlines()
                                               if '"split": "val"' not in line))
    done = train(world[0], data, tmp_path / "run2", code=3)
    assert "val" in done.stderr
