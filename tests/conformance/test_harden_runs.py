"""How `parapet harden safe-clip` behaves as a run: frozen references and their cache, ablations,
kill and resume, Ctrl-C, several processes, bad data."""
import io
import json
import shutil
import signal
import sqlite3
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from clip_probe import PARAPET
from device import same_numbers, same_weights
from harden_support import (changed, harden, harden_command, interrupted, metrics,
                            read_rows, run_json, run_ranks, validation, weights, write_data,
                            write_model, write_rows)

pytestmark = pytest.mark.device

PUBLISHED = ["--objective", "safe_clip"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harden")
    return write_model(folder / "model"), write_data(folder / "data")


@pytest.fixture
def copy_of_data(world, tmp_path):
    shutil.copytree(world[1], tmp_path / "data")
    return tmp_path / "data"


def lora_b(run):
    stored = load_file(run / "adapter/adapter_model.safetensors")
    return {name: tensor for name, tensor in stored.items() if "lora_B" in name}


# ---- what is trained, what is frozen ----------------------------------------

def test_only_adapted_weights_change(world, tmp_path):
    model, data = world
    before = (model / "model.safetensors").read_bytes()
    harden(model, data, tmp_path / "run", *PUBLISHED)
    assert (model / "model.safetensors").read_bytes() == before
    different = changed(load_file(model / "model.safetensors"), weights(tmp_path / "run"))
    assert different and all(any(t in name for t in (
        "k_proj.weight", "v_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight",
        "patch_embedding.weight")) for name in different), different


@pytest.mark.parametrize("towers, kept", [("text", "vision_model."), ("image", "text_model.")])
def test_one_tower(world, tmp_path, towers, kept):
    model, data = world
    harden(model, data, tmp_path / "run", "--towers", towers)
    different = changed(load_file(model / "model.safetensors"), weights(tmp_path / "run"))
    assert different and not any(name.startswith(kept) for name in different)
    still = {name for name, tensor in lora_b(tmp_path / "run").items() if not tensor.any()}
    assert still == {name for name in lora_b(tmp_path / "run") if kept in name}


def test_full_mode_trains_everything_but_the_scale(world, tmp_path):
    model, data = world
    harden(model, data, tmp_path / "run", "--mode", "full", "--max-steps", "6", *PUBLISHED)
    different = changed(load_file(model / "model.safetensors"), weights(tmp_path / "run"))
    assert "logit_scale" not in different
    assert any("layer_norm" in name for name in different) and "text_projection.weight" in different
    assert not (tmp_path / "run/adapter").exists()
    losses = [line["loss"] for line in metrics(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_accumulation_equals_a_big_batch_but_for_negatives(world, tmp_path):
    model, data = world
    for terms, values in [("cosines", "1,1,1,1,0,0,0,0"), ("all", "1,1,1,1,1,1,1,1")]:
        for name, flags in [("big", ["--batch-size", "8"]),
                            ("two", ["--batch-size", "4", "--accumulate", "2"])]:
            harden(model, data, tmp_path / (terms + name), *PUBLISHED, "--weights", values, *flags)
    big, two = metrics(tmp_path / "cosinesbig"), metrics(tmp_path / "cosinestwo")
    for a, b in zip(big, two):
        assert abs(a["loss"] - b["loss"]) < 1e-6 and abs(a["grad_norm"] - b["grad_norm"]) < 1e-5
        assert abs(a["terms"]["G_Sref"] - b["terms"]["G_Sref"]) > 1e-2  # fewer negatives
    assert max((a - b).abs().max() for a, b in zip(
        weights(tmp_path / "cosinesbig").values(), weights(tmp_path / "cosinestwo").values())) < 1e-5
    assert abs(metrics(tmp_path / "allbig")[0]["grad_norm"] -
               metrics(tmp_path / "alltwo")[0]["grad_norm"]) > 1e-3


# ---- ablations ---------------------------------------------------------------

def test_shared_reference_shows_its_signature(world, tmp_path):
    model, data = world
    for name, flags in [("frozen", []), ("shared", ["--reference", "shared"])]:
        harden(model, data, tmp_path / name, *PUBLISHED, "--lora-alpha", "8", "--max-steps", "6",
               "--lr", "1e-2", *flags)
    frozen, = validation(tmp_path / "frozen")
    shared, = validation(tmp_path / "shared")
    for term in ("text_safe", "vision_safe"):
        assert abs(shared["term." + term]) < 1e-6 < 1e-4 < frozen["term." + term]
        assert all(abs(line["terms"][term]) < 1e-6 for line in metrics(tmp_path / "shared"))
    assert abs(shared["term.S_Vref"] - shared["term.V_Sref"]) < 1e-6
    assert abs(frozen["term.S_Vref"] - frozen["term.V_Sref"]) > 1e-4
    # The drift is measured against the true original all the same.
    assert shared["cos.safe_text"] < 0.9999 and shared["cos.safe_image"] < 0.9999


def test_without_redirection_unsafe_items_stay(world, tmp_path):
    model, data = world
    for name, values in [("without", "1,0,1,0,0,0,0,0"), ("full", "1,1,1,1,0,0,0,0")]:
        harden(model, data, tmp_path / name, "--weights", values, "--order-weight", "0",
               "--lora-alpha", "8", "--max-steps", "20", "--lr", "3e-3")
    without, full = (metrics(tmp_path / name) for name in ("without", "full"))
    for term in ("text_nsfw", "vision_nsfw"):
        start = full[0]["terms"][term]
        assert start == without[0]["terms"][term]
        assert full[-1]["terms"][term] < 0.8 * start
        assert abs(without[-1]["terms"][term] - start) < 0.05 * start


# ---- the cache of the original's embeddings ----------------------------------

def read_store(folder):
    with sqlite3.connect(folder / "embeddings.sqlite") as store:
        return dict(store.execute("SELECT key, value FROM embedding").fetchall())


def test_reference_cache_follows_content(world, copy_of_data, tmp_path):
    model, _ = world
    cache = tmp_path / "cache"
    runs = iter(range(100))

    def rows(model_folder):
        harden(model_folder, copy_of_data, tmp_path / f"run{next(runs)}", "--max-steps", "1",
               "--reference-cache", cache)
        assert {file.name for file in cache.iterdir()} >= {"embeddings.sqlite"}
        return read_store(cache)

    first = rows(model)
    assert rows(model) == first
    # A copy elsewhere has the same content; the file names of pictures do not matter either.
    shutil.copytree(model, tmp_path / "model")
    lines = read_rows(copy_of_data)
    (copy_of_data / "safe_0.png").rename(copy_of_data / "renamed.png")
    write_rows(copy_of_data, [dict(lines[0], safe_image="renamed.png"), *lines[1:]])
    assert rows(tmp_path / "model") == first
    image = Image.open(copy_of_data / "unsafe_3.png")
    image.putpixel((0, 0), tuple(255 - x for x in image.getpixel((0, 0))))
    image.save(copy_of_data / "unsafe_3.png")
    second = rows(model)
    assert len(second) == len(first) + 1 and first.items() <= second.items()
    tensors = load_file(tmp_path / "model/model.safetensors")
    tensors["text_projection.weight"][0, 0] += 0.5
    save_file(tensors, tmp_path / "model/model.safetensors", {"format": "pt"})
    third = rows(tmp_path / "model")
    assert len(third) == len(second) + len(first) and second.items() <= third.items()


@pytest.mark.parametrize("towers", ["both", "text", "image"])
def test_foreign_reference_cache_is_refused(world, tmp_path, towers):
    """Also where only the references of the tower that is not trained are wrong."""
    model, data = world
    flags = ["--max-steps", "1", "--towers", towers]
    harden(model, data, tmp_path / "run", *flags)
    texts = {row[side] for row in read_rows(data) for side in ("safe_text", "unsafe_text")}
    with sqlite3.connect(tmp_path / "cache/embeddings.sqlite") as store:
        rows = store.execute("SELECT key, value FROM embedding ORDER BY id").fetchall()
        images = {(data / row[side]).read_bytes() for row in read_rows(data)
                  for side in ("safe_image", "unsafe_image")}
        assert len(rows) == len(texts) + len(images)
        by_text = embeddings_of(model, sorted(texts), tmp_path)
        for key, value in rows:
            values = np.frombuffer(value, np.float32)
            is_text = (by_text @ values).max() > 0.9999
            if towers == "both" or is_text == (towers == "image"):
                store.execute("UPDATE embedding SET value = ? WHERE key = ?",
                              ((-values).tobytes(), key))
    assert "reference-cache" in harden(model, data, tmp_path / "again", *flags, code=3)


def embeddings_of(model, texts, folder):
    (folder / "texts.txt").write_text("\n".join(texts) + "\n")
    run_json([PARAPET, "embed", "--model", model, "--texts", folder / "texts.txt", "--out",
              folder / "texts.safetensors", "--precision", "fp32"])
    return load_file(folder / "texts.safetensors")["text_embeds"].numpy()


# ---- interruption -------------------------------------------------------------

LONG = ["--max-steps", "60", "--checkpoint-every", "2", "--batch-size", "4", "--lora-dropout", "0.1",
        "--validate-every", "20"]


def test_killed_run_resumes_bit_identical(world, tmp_path):
    model, data = world
    harden(model, data, tmp_path / "whole", *LONG)
    run = tmp_path / "killed"
    code, _ = interrupted(harden_command(model, data, run, *LONG), run, signal.SIGKILL, 7)
    assert code == -signal.SIGKILL and not (run / "model").exists()
    # Without --resume a run directory that holds work is left alone.
    assert "--resume" in harden(model, data, run, *LONG, code=2)
    result = harden(model, data, run, *LONG, "--resume")
    assert result["steps"] == 60 and "resuming after step" in result["stderr"]
    assert same_weights(weights(run), weights(tmp_path / "whole"))
    losses = [[line["loss"] for line in metrics(folder)] for folder in (run, tmp_path / "whole")]
    assert same_numbers(*losses) and len(losses[0]) == 60


def test_ctrl_c_saves_and_says_so(world, tmp_path):
    model, data = world
    run = tmp_path / "run"
    flags = ["--max-steps", "100000", "--checkpoint-every", "0"]
    code, errors = interrupted(harden_command(model, data, run, *flags), run, signal.SIGINT, 3)
    assert code == 130, errors
    assert "--resume" in errors
    assert any((run / "checkpoints").iterdir())
    assert not (run / "report.json").exists()
    done = len(metrics(run))
    result = harden(model, data, run, "--max-steps", str(done + 2), "--checkpoint-every", "0",
                    "--resume")
    assert result["steps"] == done + 2 and [m["step"] for m in metrics(run)] == list(
        range(1, done + 3))


def good_loss(model, data, run, tmp_path):
    """The loss that the run's last checkpoint gives, found by going on from it at a tiny rate."""
    copy = tmp_path / "again"
    shutil.copytree(run, copy, symlinks=True)
    harden(model, data, copy, "--max-steps", "50", "--lr", "1e-9", "--checkpoint-every", "1", "--mode",
           "full", "--resume", "--no-report")
    return metrics(copy)[-1]["loss"]


@pytest.mark.parametrize("every", [1, 0])
def test_nan_stops_and_keeps_the_last_good(world, tmp_path, every):
    model, data = world
    run = tmp_path / "run"
    errors = harden(model, data, run, "--max-steps", "50", "--lr", "1e25", "--checkpoint-every", every,
                    "--mode", "full", code=4)
    assert "nan" in errors.lower() or "inf" in errors.lower()
    assert "text_safe" in errors  # the terms, to see which one it was
    assert "checkpoints/last" in errors and "(step 0)" in errors
    assert not (run / "model").exists() and not (run / "report.json").exists()
    # The checkpoint of step 1 is what failed: the last good weights are those of the start.
    assert json.loads((run / "checkpoints/last/state.json").read_text())["step"] == 0
    start = load_file(model / "model.safetensors")
    kept = load_file(run / "checkpoints/last/weights.safetensors")
    assert kept and all(torch.equal(kept[name], start[name]) for name in kept)
    assert good_loss(model, data, run, tmp_path) < 100


# ---- the report ----------------------------------------------------------------

def report_of(run):
    return json.loads((run / "report.json").read_text())


def test_the_run_directory_ends_with_a_report(world, tmp_path):
    model, data = world
    run = tmp_path / "run"
    result = harden(model, data, run, "--lr", "1e-2", "--lora-alpha", "8")
    assert result["report"] == str(run / "report.html") and result["report_split"] == "val"
    report = report_of(run)
    assert report["kind"] == "retrieval" and report["metrics"]["before.T2V.R@1"]["n"] == 4
    assert "after.Tu2VVu.old_index.unsafe_top1" in report["metrics"]
    assert report["metrics"]["after.preservation.text"]["value"] < 0.9999
    page = (run / "report.html").read_text()
    assert "<svg" in page and "text_safe" in page  # the loss curves of this run
    # The same numbers as the command that measures on its own.
    run_json([PARAPET, "eval", "retrieval", "--model", run / "model", "--baseline", model, "--data",
              data, "--split", "val", "--out", tmp_path / "eval", "--dtype", "fp32", "--threads", "1",
              "--reference-cache", tmp_path / "other"])
    assert report_of(tmp_path / "eval")["metrics"] == report["metrics"]


def test_the_report_prefers_the_test_split(world, copy_of_data, tmp_path):
    rows = read_rows(copy_of_data)
    write_rows(copy_of_data, [dict(row, split="test") if row["id"] in ("q1", "q2", "q3") else row
                              for row in rows])
    result = harden(world[0], copy_of_data, tmp_path / "run", "--max-steps", "1", "--batch-size", "4")
    assert result["report_split"] == "test"
    assert report_of(tmp_path / "run")["metrics"]["after.T2V.R@1"]["n"] == 3


def test_without_test_and_val_the_reason_is_logged(world, copy_of_data, tmp_path):
    write_rows(copy_of_data, [row for row in read_rows(copy_of_data) if row["split"] == "train"])
    result = harden(world[0], copy_of_data, tmp_path / "run", "--max-steps", "2")
    assert result["report_split"] is None
    assert "neither split" in result["stderr"]
    report = report_of(tmp_path / "run")
    assert report["kind"] == "training" and "neither split" in report["run"]["retrieval_skipped"]
    assert "<svg" in (tmp_path / "run/report.html").read_text()


def test_no_report_when_asked_for_none(world, tmp_path):
    result = harden(world[0], world[1], tmp_path / "run", "--max-steps", "1", "--no-report")
    assert "report" not in result and not (tmp_path / "run/report.json").exists()


# ---- several processes ---------------------------------------------------------

@pytest.mark.parametrize("objective", ["ordered", "shield_clip"])
def test_two_processes_equal_one_with_their_batch(world, tmp_path, objective):
    model, data = world
    flags = ["--objective", objective, "--max-steps", "6", "--validate-every", "3"]
    harden(model, data, tmp_path / "one", *flags, "--batch-size", "8")
    run_ranks(harden_command(model, data, tmp_path / "two", *flags, "--batch-size", "4",
                             "--reference-cache", tmp_path / "cache2"))
    # Rank 0 alone writes the report.
    assert report_of(tmp_path / "two")["metrics"].keys() == report_of(tmp_path / "one")["metrics"].keys()
    one, two = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert len(one) == len(two) == 6
    for a, b in zip(one, two):
        assert abs(a["loss"] - b["loss"]) <= 1e-4
        assert abs(a["grad_norm"] - b["grad_norm"]) <= 1e-3 * max(1, a["grad_norm"])
        assert all(abs(a["terms"][name] - b["terms"][name]) <= 1e-4 for name in a["terms"])
    assert one[0]["loss"] != one[-1]["loss"]
    a, b = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert max((a[name] - b[name]).abs().max() for name in a) <= 1e-4


# ---- bad data -------------------------------------------------------------------

def test_missing_image_stops_and_is_named(world, copy_of_data, tmp_path):
    (copy_of_data / "unsafe_2.png").unlink()
    errors = harden(world[0], copy_of_data, tmp_path / "run", code=3)
    assert "unsafe_2.png" in errors and "skip" in errors


def test_broken_image_stops_and_is_named(world, copy_of_data, tmp_path):
    (copy_of_data / "safe_5.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    assert "safe_5.png" in harden(world[0], copy_of_data, tmp_path / "run", code=3)


def test_bad_samples_are_skipped_and_counted(world, copy_of_data, tmp_path):
    (copy_of_data / "unsafe_2.png").unlink()
    broken = (copy_of_data / "safe_5.png").read_bytes()
    (copy_of_data / "safe_5.png").write_bytes(broken[:len(broken) // 2])
    rows = read_rows(copy_of_data)
    del rows[1]["unsafe_text"]
    write_rows(copy_of_data, rows)
    result = harden(world[0], copy_of_data, tmp_path / "run", "--on-bad-sample", "skip",
                    "--batch-size", "4")
    assert result["quadruplets"] == 5 and result["skipped"] >= 3
    reasons = [json.loads(line) for line in
               (tmp_path / "run/quarantine-train.jsonl").read_text().splitlines()]
    assert {row["id"] for row in reasons} >= {"q2", "q5"} and len(reasons) == 3
    text = json.dumps(reasons)
    assert "unsafe_2.png" in text and "safe_5.png" in text and "unsafe_text" in text
    assert "left out" in result["stderr"]


def test_empty_data_set(world, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/quadruplets.jsonl").write_text("")
    assert "quadruplets.jsonl" in harden(world[0], tmp_path / "data", tmp_path / "run", code=3)


def test_data_set_without_a_training_split(world, copy_of_data, tmp_path):
    write_rows(copy_of_data, [dict(row, split="test") for row in read_rows(copy_of_data)])
    assert "train" in harden(world[0], copy_of_data, tmp_path / "run", code=3)


def test_category_with_one_sample_warns(world, copy_of_data, tmp_path):
    rows = read_rows(copy_of_data)
    rows[3]["category"] = "weapon"
    write_rows(copy_of_data, rows)
    result = harden(world[0], copy_of_data, tmp_path / "run", "--max-steps", "1")
    assert "'weapon'" in result["stderr"] and "single" in result["stderr"]


# ---- shards ---------------------------------------------------------------------

def write_quadruplet_shards(data, folder, split, count):
    """As `parapet world build --format tar` writes them: a record beside its two pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [row for row in read_rows(data) if row["split"] == split]
    for s in range(count):
        with tarfile.open(folder / f"q-{s:03}.tar", "w") as tar:
            for row in rows[s::count]:
                for ending, content in ((".safe.png", (data / row["safe_image"]).read_bytes()),
                                        (".unsafe.png", (data / row["unsafe_image"]).read_bytes()),
                                        (".json", json.dumps(row).encode())):
                    member = tarfile.TarInfo(row["id"] + ending)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return folder


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_shards_are_streamed_and_resume_bit_identically(world, tmp_path, mode):
    model, data = world
    shards = write_quadruplet_shards(data, tmp_path / "train", "train", 2)
    val = write_quadruplet_shards(data, tmp_path / "val", "val", 1)
    flags = [*LONG, "--mode", mode, "--val-shards", val, "--shuffle-buffer", "3"]
    result = harden(model, shards, tmp_path / "whole", *flags)
    assert result["quadruplets"] >= 240 and result["report_split"] is None
    # The original validates alike, whether its references come from a table or from itself.
    harden(model, data, tmp_path / "table", *LONG, "--mode", mode, "--lr", "1e-9")
    harden(model, shards, tmp_path / "still", *flags, "--lr", "1e-9")
    for a, b in zip(validation(tmp_path / "table"), validation(tmp_path / "still")):
        assert all(abs(a[name] - b[name]) < 1e-4 for name in a), (a, b)
    run = tmp_path / "killed"
    code, _ = interrupted(harden_command(model, shards, run, *flags), run, signal.SIGKILL, 7)
    assert code == -signal.SIGKILL
    harden(model, shards, run, *flags, "--resume")
    assert same_weights(weights(run), weights(tmp_path / "whole"))


def test_what_shards_cannot_do_is_said(world, tmp_path):
    model, data = world
    shards = write_quadruplet_shards(data, tmp_path / "train", "train", 2)
    assert "--epochs" in harden(model, shards, tmp_path / "a", "--epochs", "1", code=2)
    assert "nearest" in harden(model, shards, tmp_path / "b", "--objective", "safer_clip", code=2)
    assert "--val-shards" in harden(model, data, tmp_path / "c", "--val-shards", shards, code=2)
