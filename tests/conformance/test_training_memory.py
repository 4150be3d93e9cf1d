"""What training says it will take, beside what the process really took; gradient checkpointing."""
import json
import subprocess
import sys

import pytest

from clip_probe import PUBLIC, ROOT, cut
from harden_support import (changed, environment, harden, harden_command, train, weights,
                            write_captions, write_data, write_model)

# What the process held before, and the estimate of what comes, within this factor of the peak.
FACTOR = 1.25


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """ViT-B/32's width and picture size with two layers a tower, and its real vocabulary."""
    folder = tmp_path_factory.mktemp("wide")
    model = write_model(folder / "model", cut(PUBLIC["B/32"], 2), size=224)
    return model, write_data(folder / "data", train=32, val=2, size=224)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    return write_model(folder / "model"), write_data(folder / "data")


# A small process in between: what a child held at most starts with its parent's size, and this one's
# is gigabytes by now.
LAUNCHER = """import resource, subprocess, sys
status = subprocess.call(sys.argv[2:])
open(sys.argv[1], "w").write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(status)"""


def peak_of(command, file):
    """The most memory a command held, and what it said as JSON."""
    done = subprocess.run([sys.executable, "-c", LAUNCHER, file, *map(str, command), "--json"],
                          capture_output=True, text=True, env=environment(), cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return int(file.read_text()) * 1024, json.loads(done.stdout.splitlines()[-1])


LEAN = ["--report=false", "--pixel-cache-mb", "0", "--max-steps", "2", "--batch-size", "32"]


@pytest.mark.parametrize("flags", [["--mode", "full"], ["--mode", "full", "--gradient-checkpointing"],
                                   ["--mode", "lora"]])
def test_the_estimate_is_near_the_peak(wide, tmp_path, flags):
    model, data = wide
    peak, result = peak_of(harden_command(model, data, tmp_path / "run", *LEAN, *flags),
                           tmp_path / "peak")
    memory = result["memory"]
    assert memory["total_bytes"] == sum(memory[f"{part}_bytes"] for part in (
        "weights", "gradients", "optimizer", "activations"))
    assert memory["fits"] and memory["free_bytes"] > 0
    # The weights are there already.
    expected = memory["resident_before_bytes"] + memory["total_bytes"] - memory["weights_bytes"]
    print(flags, "expected", expected, "peak", peak, memory)
    assert peak / FACTOR < expected < peak * FACTOR, (expected, peak, memory)
    recorded = json.loads((tmp_path / "run/run.json").read_text())["training_memory"]
    assert recorded["total_bytes"] == memory["total_bytes"]
    assert abs(recorded["peak_resident_bytes"] - peak) < 0.05 * peak


def test_it_is_said_before_the_first_step(small, tmp_path):
    model, data = small
    said = harden(model, data, tmp_path / "run")["stderr"]
    assert "training takes about" in said and "are free" in said
    captions = write_captions(tmp_path / "captions")
    assert "training takes about" in train(captions, tmp_path / "clip", "--model", model)["stderr"]


def test_one_tower_takes_less_than_both(small, tmp_path):
    model, data = small
    both, text = (harden(model, data, tmp_path / towers, "--towers", towers)["memory"]
                  for towers in ("both", "text"))
    assert 0 < text["activations_bytes"] < both["activations_bytes"]


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_gradient_checkpointing_trains_the_same_weights_in_less(small, tmp_path, mode):
    model, data = small
    flags = ["--mode", mode, "--lora-dropout", "0.2"]
    plain = harden(model, data, tmp_path / "plain", *flags)
    saved = harden(model, data, tmp_path / "saved", *flags, "--gradient-checkpointing")
    assert not changed(weights(tmp_path / "plain"), weights(tmp_path / "saved"))
    assert saved["memory"]["activations_bytes"] < plain["memory"]["activations_bytes"]
