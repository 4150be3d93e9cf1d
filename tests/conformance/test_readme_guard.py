"""The README's "Put a guard in front of your model in five minutes", word by word: its policy, its
shell lines and its Python against a real server. Only the port is another one."""
import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

from clip_probe import PARAPET, ROOT
from harden_support import write_model
from serve_support import png

PORT = "8080"


def snippets():
    """The section's code blocks by language."""
    section = (ROOT / "README.md").read_text().split("## Put a guard in front", 1)[1]
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", section.split("\n## ", 1)[0], re.M | re.S)
    found = dict(blocks)
    assert len(found) == len(blocks) and set(found) == {"toml", "sh", "python"}
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The repository's root as `make demo` leaves it, with a smaller CLIP."""
    site = tmp_path_factory.mktemp("readme")
    (site / "build/release").mkdir(parents=True)
    (site / "build/release/parapet").symlink_to(PARAPET)
    (site / "policies").symlink_to(ROOT / "policies")
    model = site / "out/demo/clip/model"
    model.mkdir(parents=True)
    write_model(model)
    (site / "photo.png").write_bytes(png())
    return site


def test_the_section_works_as_written(site):
    code, port = snippets(), free_port()
    policy = code["toml"]
    name = policy.splitlines()[0].removeprefix("# ")
    (site / name).write_text(policy)
    shell = code["sh"]
    assert f"serve --policy {name} &" in shell and f"127.0.0.1:{PORT}/" in shell
    shell = shell.replace(f":{PORT}", f":{port}").replace(
        f"serve --policy {name} &", f"serve --policy {name} --listen 127.0.0.1:{port} &")
    log = site / "log"
    with open(log, "wb") as out:
        # In a group of its own: the server stays when the shell has ended.
        process = subprocess.Popen(["bash", "-ec", shell], cwd=site, stdout=out, stderr=out,
                                   start_new_session=True)
    try:
        assert process.wait(60) == 0, log.read_text()
        printed = log.read_text()
        reply, _ = json.JSONDecoder().raw_decode(printed, printed.index('{"id"'))
        [result] = reply["results"]
        assert result["flagged"] and result["categories"]["harassment/threatening"]
        assert result["parapet"]["rules"][0]["rule"] == "threats"
        assert code["python"].count(f":{PORT}/") == 1
        done = subprocess.run([sys.executable, "-c", code["python"].replace(f":{PORT}", f":{port}")],
                              cwd=site, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        action, reason = done.stdout.strip().split(" ", 1)
        assert action in ("allow", "flag", "block") and "not scanned" not in reason
    finally:
        os.killpg(process.pid, signal.SIGTERM)
