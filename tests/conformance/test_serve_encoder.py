"""Flags of the encoder behind `parapet serve`: its batches, and embeddings that outlive a process."""
import json
import signal
import sqlite3
import subprocess

import pytest
from safetensors.torch import load_file, save_file

from clip_probe import PARAPET
from harden_support import write_model
from serve_support import CLIP, Server, image, png, text, write_policy

PICTURE = png(60, 40, (20, 40, 200))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


def policy_for(folder, model):
    # torch: its answers do not depend on what else is in the batch
    return write_policy(folder, CLIP.format(model=model).replace("[clip]\n",
                                                                '[clip]\nbackend = "torch"\n'))


def lookups(server, result):
    return server.metric("parapet_embedding_lookups_total", result=result)


def computed(server):
    """Items so far, without the image and the text of the one look at readiness. They are counted a
    moment after their answers; what the cache lacks is computed."""
    def items():
        return server.metric("parapet_encoder_items_total") - 2

    server.until(lambda: items() == lookups(server, "miss"))
    return items()


def scores(server, *parts):
    decision = server.guard(*parts).json()
    assert decision["complete"], decision
    return [score["score"] for score in decision["scores"]]


def test_a_killed_server_is_not_asked_twice(tmp_path, model):
    policy, file = policy_for(tmp_path, model), tmp_path / "new folder" / "embeddings.sqlite"
    parts = text("two words"), image(PICTURE)
    with Server(policy, "--embedding-cache-file", file, "--readiness-seconds", 3600) as server:
        assert server.metric("parapet_embedding_cache_file") == 1
        before = scores(server, *parts)
        assert computed(server) > 0
        assert lookups(server, "file") == 0
        found, missed = lookups(server, "memory"), lookups(server, "miss")
        assert scores(server, *parts) == before
        assert (lookups(server, "memory"), lookups(server, "miss")) == (found + 2, missed)
        server.stop(signal.SIGKILL)
    with Server(policy, "--embedding-cache-file", file, "--readiness-seconds", 3600) as server:
        found = lookups(server, "file")
        assert scores(server, *parts) == before
        assert lookups(server, "file") == found + 2
        assert computed(server) == 0
        scores(server, text("never seen"))
        assert computed(server) == 1
        assert server.stop() == 0
    # Commands share the file, and another model believes nothing of it.
    rows = count(file)
    done = check(policy, file, "--text", "two words")
    assert done.returncode == 0 and count(file) == rows, done.stderr
    other = write_model(tmp_path / "other")
    weights = {name: tensor.clone() for name, tensor in load_file(other / "model.safetensors").items()}
    weights["text_projection.weight"] = weights["text_projection.weight"].flip(0).contiguous()
    save_file(weights, tmp_path / "weights", {"format": "pt"})
    (tmp_path / "weights").rename(other / "model.safetensors")
    (tmp_path / "policy").mkdir()
    assert check(policy_for(tmp_path / "policy", other), file, "--text", "two words").returncode == 0
    assert count(file) > rows


def check(policy, file, *flags):
    return subprocess.run([PARAPET, "guard", "check", "--policy", policy, "--embedding-cache-file",
                           file, *flags, "--json"], capture_output=True, text=True, timeout=60)


def count(file):
    with sqlite3.connect(file) as database:
        return database.execute("select count(*) from embedding").fetchone()[0]


def test_rows_of_a_wrong_length_are_not_believed(tmp_path, model):
    policy, file = policy_for(tmp_path, model), tmp_path / "e.sqlite"
    whole = check(policy, file, "--text", "two words")
    with sqlite3.connect(file) as database:
        database.execute("update embedding set value = substr(value, 1, 8)")
    again = check(policy, file, "--text", "two words")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["scores"] == json.loads(whole.stdout)["scores"]


def test_no_memory_and_no_file_computes_everything(tmp_path, model):
    with Server(policy_for(tmp_path, model), "--embedding-cache-mb", 0,
                "--readiness-seconds", 3600) as server:
        before = computed(server)
        for _ in range(3):
            scores(server, text("again"))
        assert computed(server) == before + 3
        assert lookups(server, "memory") == 0
        assert server.metric("parapet_embedding_cache_bytes") == 0
        assert server.metric("parapet_embedding_cache_file") == 0


@pytest.mark.parametrize("most", [1, 32])
def test_batches_hold_what_they_may(tmp_path, model, most):
    with Server(policy_for(tmp_path, model), "--max-batch", most, "--lanes", 1,
                "--readiness-seconds", 3600) as server:
        items, batches = computed(server), server.metric("parapet_encoder_batches_total")
        scores(server, *[text(f"text number {i}") for i in range(60)])
        assert computed(server) == items + 60
        batches = server.metric("parapet_encoder_batches_total") - batches
        assert batches == 60 if most == 1 else 2 <= batches < 60, batches
        assert server.metric("parapet_encoder_queue_depth") == 0
        assert server.metric("parapet_encoder_refused_total") == 0


SERVE, CHECK = ("serve", "--check-only"), ("guard", "check", "--text", "x")


@pytest.mark.parametrize("command,kind", [(SERVE, "text"), (SERVE, "folder"), (SERVE, "database"),
                                          (CHECK, "database")])
def test_a_file_that_cannot_be_used_is_named(tmp_path, command, kind):
    file = tmp_path / "cache"
    if kind == "text":
        file.write_text("not a database, and long enough to be seen as none " * 20)
    elif kind == "folder":
        file.mkdir()
    else:
        with sqlite3.connect(file) as database:
            database.execute("create table mine (a)")
    content = file.read_bytes() if file.is_file() else None
    done = subprocess.run([PARAPET, *command, "--policy", write_policy(tmp_path),
                           "--embedding-cache-file", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and str(file) in done.stderr, done.stderr
    assert content is None or file.read_bytes() == content


WRONG = {"--max-batch": (0, 4097), "--max-wait-ms": (-1, 1001), "--max-queue": (127, 1_000_001),
         "--lanes": (-1, 257), "--embedding-cache-mb": (-1, 1_048_577),
         "--embedding-cache-rows": (0, 1_000_000_001)}


@pytest.mark.parametrize("side", [0, 1], ids=["too small", "too large"])
def test_wrong_values_are_all_listed(tmp_path, side):
    flags = [f"{flag}={values[side]}" for flag, values in WRONG.items()]
    done = subprocess.run([PARAPET, "serve", "--policy", write_policy(tmp_path), "--check-only",
                           *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    for flag in WRONG:
        assert flag + ": must be" in done.stderr, done.stderr


def test_words_are_no_numbers(tmp_path):
    done = subprocess.run([PARAPET, "serve", "--policy", write_policy(tmp_path), "--check-only",
                           "--max-batch", "many"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--max-batch" in done.stderr


def test_guard_check_takes_the_caches_flags(tmp_path):
    done = subprocess.run([PARAPET, "guard", "check", "--policy", write_policy(tmp_path), "--text", "x",
                           "--embedding-cache-rows=0"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--embedding-cache-rows" in done.stderr
