"""`parapet guard check` as scripts use it: what is printed, and the exit status beside it."""
import json
import subprocess

import pytest

from clip_probe import PARAPET
from serve_support import png, write_policy


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("check"))


def check(policy, *flags):
    return subprocess.run([PARAPET, "guard", "check", "--policy", policy, *map(str, flags)],
                          capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("text,action,limit,code", [
    ("qblockedq", "block", "block", 4), ("qblockedq", "block", "flag", 4),
    ("qmaskedq", "modify", "modify", 4), ("qmaskedq", "modify", "block", 0),
    ("qnotedq", "flag", "flag", 4), ("hello", "allow", "flag", 0)])
def test_fail_on_prints_the_decision_and_then_fails(policy, text, action, limit, code):
    done = check(policy, "--text", text, "--json", "--fail-on", limit)
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["action"] == action
    assert ("--fail-on " + limit in done.stderr) == (code == 4)


def test_names_in_any_encoding(policy, tmp_path):
    """A file name that is no UTF-8, a URL whose label is cut within a letter."""
    picture = tmp_path / "p\udcff.png"
    picture.write_bytes(png())
    for image in (picture, "https://x.example/" + "é" * 40 + ".png"):
        done = check(policy, "--image", image, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["parts"][0]["label"]


def test_fail_on_over_many_items_prints_the_summary(policy, tmp_path):
    items = tmp_path / "items.jsonl"
    items.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n"
                             for i, text in enumerate(["hello", "qnotedq", "qblockedq"])))
    out = tmp_path / "out.jsonl"
    done = check(policy, "--input", items, "--out", out, "--json", "--fail-on", "block")
    assert done.returncode == 4
    assert json.loads(done.stdout)["actions"] == {"allow": 1, "block": 1, "flag": 1}
    assert [json.loads(line)["action"] for line in out.read_text().splitlines()] == [
        "allow", "flag", "block"]
    plain = check(policy, "--text", "qblockedq", "--fail-on", "block")
    assert plain.returncode == 4 and json.loads(plain.stdout)["action"] == "block"
