"""Options of `parapet train guard`: fine-tuning, augmentation, losses, refusals."""
import json
import shutil
import sqlite3

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clip_probe import PARAPET
from guard_support import embed, run, samples, train, trained, world
from harden_support import metrics, run_ranks


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


def test_two_processes_train_as_one_with_their_batch(world, tmp_path):
    """Nearly: each process takes the mean over what its own half of the batch is asked for."""
    model, data = world
    flags = ["train", "guard", "--model", model, "--data", data, "--threads", "1", "--hidden", "16",
             "--lr", "5e-3", "--checkpoint-every", "0", "--balance", "none", "--max-steps", "8",
             "--log-every", "1", "--warmup-steps", "1"]
    run(*flags, "--embedding-cache", "", "--out", tmp_path / "one", "--batch-size", "60")
    run_ranks([PARAPET, *flags, "--embedding-cache", tmp_path / "cache", "--out", tmp_path / "two",
               "--batch-size", "30"])
    one, two = ([line["loss"] for line in metrics(tmp_path / name)] for name in ("one", "two"))
    assert len(one) == len(two) == 8
    np.testing.assert_allclose(one, two, rtol=0.02)
    assert max(one) / min(one) > 1.05  # the steps differ from each other by more
    run("eval", "guard", "--model", tmp_path / "two", "--data", data, "--out", tmp_path / "eval",
        "--resamples", "100")


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


def stored(folder):
    """The embeddings of the cache by key: one file, as every command writes it."""
    assert {file.name for file in folder.iterdir()} <= {
        "embeddings.sqlite", "embeddings.sqlite-wal", "embeddings.sqlite-shm"}
    with sqlite3.connect(folder / "embeddings.sqlite") as store:
        return {key: np.frombuffer(value, np.float32)
                for key, value in store.execute("SELECT key, value FROM embedding")}


def near(rows, others):
    """Which rows are among the others."""
    return (rows @ others.T).max(axis=1) > 0.99999


def test_copies_are_changed_versions_and_computed_once(world, tmp_path):
    cache = tmp_path / "cache"
    train(*world, tmp_path / "plain", "--embedding-cache", cache, "--max-steps", "2")
    plain = stored(cache)
    rows = [row for split in ("train", "val") for row in samples(world[1], split)]
    kept = np.stack(list(plain.values()))
    for side in embed(world[0], world[1], rows, tmp_path):
        side = side.numpy()
        assert near(side[np.abs(side).sum(1) > 0], kept).all()
    flags = ["--augment-copies", "2", "--embedding-cache", cache, "--max-steps", "2"]
    said = train(*world, tmp_path / "run", *flags).stderr
    assert "came from" in said
    both = stored(cache)
    assert all(np.array_equal(both[key], value) for key, value in plain.items())
    changed = np.stack([value for key, value in both.items() if key not in plain])
    own = samples(world[1], "train")
    assert len(changed) == 2 * sum((name in row) for row in own for name in ("image", "text"))
    assert 0.2 < 1 - near(changed, kept).mean() < 1  # most pictures, some texts
    train(*world, tmp_path / "again", *flags)
    assert stored(cache).keys() == both.keys()
    name = "heads/guard_heads.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


def test_equal_content_is_kept_once(world, tmp_path):
    """Under the keys that every command gives a picture or text."""
    cache = tmp_path / "cache"
    train(*world, tmp_path / "run", "--embedding-cache", cache, "--max-steps", "2")
    before = stored(cache)
    train(*world, tmp_path / "again", "--embedding-cache", cache, "--max-steps", "2")
    assert stored(cache).keys() == before.keys()
    rows = [row for split in ("train", "val") for row in samples(world[1], split)]
    pictures = {(world[1] / row["image"]).read_bytes() for row in rows if "image" in row}
    texts = {row["text"] for row in rows if "text" in row}
    assert len(before) == len(pictures) + len(texts)  # equal content has one row


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
