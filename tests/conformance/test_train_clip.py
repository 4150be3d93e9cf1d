"""How `parapet train clip` behaves as a run: kill and resume, bad samples, shards, NaN, the report."""
import io
import json
import shutil
import signal
import tarfile

import pytest
import torch
from safetensors.torch import load_file

from device import same_numbers, same_weights
from harden_support import (interrupted, metrics, run_ranks, train, train_command,
                            validation, weights, write_caption_rows, write_captions, write_data,
                            write_model)

pytestmark = pytest.mark.device


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    return write_model(folder / "model"), write_captions(folder / "data")


@pytest.fixture
def copy_of_data(world, tmp_path):
    shutil.copytree(world[1], tmp_path / "data")
    return tmp_path / "data"


def rows_of(folder):
    return [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]


def quarantine(run, name="quarantine-train.jsonl"):
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def write_shards(data, folder, count=3, split="train", suffix=".tar"):
    """The captions of a data set directory as webdataset shards of equal size."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in rows_of(data) if row["split"] == split]
    for s in range(count):
        with tarfile.open(folder / f"x-{s:03}{suffix}", "w:gz" if suffix.endswith("gz") else "w") as tar:
            for row in rows[s::count]:
                for ending, content in ((".png", (data / row["image"]).read_bytes()),
                                        (".txt", row["text"].encode())):
                    member = tarfile.TarInfo(row["id"] + ending)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


# ---- interruption -------------------------------------------------------------

LONG = ["--max-steps", "60", "--checkpoint-every", "2", "--validate-every", "20"]


def kill_and_resume(data, tmp_path, *flags):
    train(data, tmp_path / "whole", *LONG, *flags)
    run = tmp_path / "killed"
    code, _ = interrupted(train_command(data, run, *LONG, *flags), run, signal.SIGKILL, 7)
    assert code == -signal.SIGKILL and not (run / "report.json").exists()
    assert "--resume" in train(data, run, *LONG, *flags, code=2)
    result = train(data, run, *LONG, *flags, "--resume")
    assert result["steps"] == 60 and "resuming after step" in result["stderr"]
    assert same_weights(weights(run), weights(tmp_path / "whole"))
    losses = [[line["loss"] for line in metrics(folder)] for folder in (run, tmp_path / "whole")]
    assert same_numbers(*losses) and len(losses[0]) == 60
    assert losses[0][0] != losses[0][-1]


@pytest.mark.parametrize("mode", [["--mode", "full"], ["--mode", "lora", "--lora-dropout", "0.1"]])
def test_killed_run_resumes_bit_identical(world, tmp_path, mode):
    kill_and_resume(world[1], tmp_path, "--model", world[0], *mode)


def test_killed_run_on_shards_resumes_bit_identical(world, tmp_path):
    shards = write_shards(world[1], tmp_path / "shards", suffix=".tar.gz")
    kill_and_resume(shards, tmp_path, "--model", world[0], "--shuffle-buffer", "5")


@pytest.mark.parametrize("every", [1, 0])
def test_nan_keeps_the_last_good_weights(world, tmp_path, every):
    model, data = world
    run = tmp_path / "run"
    errors = train(data, run, "--model", model, "--max-steps", "50", "--lr", "1e25", "--clip-norm", "0",
                   "--checkpoint-every", every, code=4)
    assert "checkpoints/last" in errors and "(step 0)" in errors
    start, kept = (load_file(file) for file in (model / "model.safetensors",
                                                run / "checkpoints/last/weights.safetensors"))
    assert kept and all(torch.equal(kept[name], start[name]) for name in kept)
    assert not (run / "model/model.safetensors").exists() and not (run / "report.json").exists()


def test_ctrl_c_leaves_no_report(world, tmp_path):
    run = tmp_path / "run"
    code, errors = interrupted(train_command(world[1], run, "--model", world[0], "--max-steps", "100000"),
                               run, signal.SIGINT, 3)
    assert code == 130 and "--resume" in errors, errors
    assert not (run / "report.json").exists()


# ---- bad samples ----------------------------------------------------------------

def spoil(data):
    (data / "c2.png").unlink()
    whole = (data / "c5.png").read_bytes()
    (data / "c5.png").write_bytes(whole[:len(whole) // 2])
    rows = rows_of(data)
    del rows[1]["text"]
    write_caption_rows(data, rows)


def test_bad_samples_stop_and_are_named(world, copy_of_data, tmp_path):
    (copy_of_data / "c2.png").unlink()
    errors = train(copy_of_data, tmp_path / "run", "--model", world[0], code=3)
    assert "c2.png" in errors and "skip" in errors


def test_broken_image_stops_and_is_named(world, copy_of_data, tmp_path):
    (copy_of_data / "c5.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    assert "c5.png" in train(copy_of_data, tmp_path / "run", "--model", world[0], code=3)


def test_bad_samples_are_skipped_and_counted(world, copy_of_data, tmp_path):
    spoil(copy_of_data)
    run = tmp_path / "run"
    result = train(copy_of_data, run, "--model", world[0], "--on-bad-sample", "skip")
    assert result["captions"] == 9 and result["skipped"] >= 3
    reasons = quarantine(run)
    assert len(reasons) == 3 and {row["id"] for row in reasons} >= {"c2", "c5"}
    text = json.dumps(reasons)
    assert "c2.png" in text and "c5.png" in text and "'text'" in text
    assert "left out" in result["stderr"]


def test_no_training_split(world, copy_of_data, tmp_path):
    write_caption_rows(copy_of_data, [dict(row, split="test") for row in rows_of(copy_of_data)])
    assert "train" in train(copy_of_data, tmp_path / "run", "--model", world[0], code=3)
    assert "does not exist" in train(tmp_path / "none", tmp_path / "other", "--model", world[0], code=3)


# ---- shards ---------------------------------------------------------------------

def test_shards_train_and_validate(world, tmp_path):
    model, data = world
    shards = write_shards(data, tmp_path / "shards")
    val = write_shards(data, tmp_path / "val", count=1, split="val")
    result = train(shards / "x-{000..002}.tar", tmp_path / "run", "--model", model, "--val-shards", val,
                   "--max-steps", "40")
    losses = [line["loss"] for line in metrics(tmp_path / "run")]
    assert sum(losses[-5:]) < sum(losses[:5])
    assert result["captions"] >= 160 and "loss" in result["validation"]
    # The same validation as of the data set that the shards were made from.
    train(data, tmp_path / "plain", "--model", model, "--max-steps", "1", "--lr", "1e-12")
    train(shards, tmp_path / "folder", "--model", model, "--max-steps", "1", "--lr", "1e-12",
          "--val-shards", val)
    assert abs(validation(tmp_path / "plain")[0]["loss"] -
               validation(tmp_path / "folder")[0]["loss"]) < 1e-6
    inputs = json.loads((tmp_path / "run/run.json").read_text())["inputs"]
    assert "shard x-000.tar" in inputs and "val_shards" in inputs


def test_bad_samples_in_shards(world, copy_of_data, tmp_path):
    whole = (copy_of_data / "c5.png").read_bytes()
    (copy_of_data / "c5.png").write_bytes(whole[:len(whole) // 2])
    shards = write_shards(copy_of_data, tmp_path / "shards")
    assert "#c5" in train(shards, tmp_path / "stop", "--model", world[0], "--max-steps", "10", code=3)
    result = train(shards, tmp_path / "skip", "--model", world[0], "--max-steps", "10",
                   "--on-bad-sample", "skip")
    assert result["skipped"] == 1  # however often its shard came by
    assert [row["id"].split("#")[1] for row in quarantine(tmp_path / "skip")] == ["c5"]


def test_shards_without_a_good_sample_end(world, tmp_path):
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards/x.tar", "w") as tar:
        for i in range(3):
            tar.addfile(tarfile.TarInfo(f"{i}.png"), io.BytesIO())
    errors = train(tmp_path / "shards", tmp_path / "run", "--model", world[0], "--on-bad-sample", "skip",
                   code=3)
    assert "no usable sample" in errors


def test_damaged_and_missing_shards(world, tmp_path):
    shards = write_shards(world[1], tmp_path / "shards")
    whole = (shards / "x-001.tar").read_bytes()
    (shards / "x-001.tar").write_bytes(whole[:700])
    assert "x-001.tar" in train(shards, tmp_path / "run", "--model", world[0], code=3)
    assert "x-003.tar" in train(shards / "x-{000..003}.tar", tmp_path / "more", "--model", world[0],
                                code=3)


def test_flags_of_shards(world, tmp_path):
    assert "--val-shards" in train(world[1], tmp_path / "a", "--model", world[0], "--val-shards", "v.tar",
                                   code=2)
    assert "--shuffle-buffer" in train(world[1], tmp_path / "b", "--model", world[0], "--shuffle-buffer",
                                       "0", code=2)


def test_two_processes_share_the_shards(world, tmp_path):
    """Each rank reads its own shards, and both end with the same weights."""
    shards = write_shards(world[1], tmp_path / "shards", count=4)
    run_ranks(train_command(shards, tmp_path / "two", "--model", world[0], "--batch-size", "3"))
    assert len(metrics(tmp_path / "two")) == 6 and (tmp_path / "two/report.json").exists()
    state = json.loads((tmp_path / "two/checkpoints/last/state.json").read_text())
    parts = state["data"]
    assert [part["parts"] for part in parts] == [2, 2]
    assert parts[0]["random"] != parts[1]["random"]


# ---- the report -----------------------------------------------------------------

def test_report_without_quadruplets_shows_the_training(world, tmp_path):
    result = train(world[1], tmp_path / "run", "--model", world[0])
    assert result["report"] == str(tmp_path / "run/report.html") and result["report_split"] is None
    report = json.loads((tmp_path / "run/report.json").read_text())
    assert report["kind"] == "training"
    last = validation(tmp_path / "run")[-1]
    assert report["metrics"]["validation.loss"]["value"] == pytest.approx(last["loss"])
    page = (tmp_path / "run/report.html").read_text()
    assert "<svg" in page and "contrastive" in page and "Last validation" in page
    assert "quadruplets.jsonl" in result["stderr"]


def test_report_on_quadruplets_elsewhere(world, tmp_path):
    quadruplets = write_data(tmp_path / "quadruplets")
    result = train(world[1], tmp_path / "run", "--model", world[0], "--report-data", quadruplets)
    assert result["report_split"] == "val"
    metrics_found = json.loads((tmp_path / "run/report.json").read_text())["metrics"]
    assert {"before.T2V.R@1", "after.T2V.R@1"} <= metrics_found.keys()
    # A mistake there costs no training.
    rows = (quadruplets / "quadruplets.jsonl").read_text()
    (quadruplets / "quadruplets.jsonl").write_text(rows + "{\n")
    errors = train(world[1], tmp_path / "bad", "--model", world[0], "--report-data", quadruplets, code=3)
    assert "quadruplets.jsonl:13" in errors and not (tmp_path / "bad/metrics.jsonl").exists()
    result = train(world[1], tmp_path / "none", "--model", world[0], "--no-report")
    assert "report" not in result and not (tmp_path / "none/report.json").exists()
