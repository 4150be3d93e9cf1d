"""The page at "/" in headless Chromium, driven over its debugging pipe: type, drop, check, read."""
import base64
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from serve_support import Server, png, write_policy

CHROMIUM = shutil.which("chromium")


class Browser:
    """Chromium's protocol over file descriptors 3 and 4: JSON messages that end in NUL."""

    def __init__(self, profile):
        command_read, self.commands = os.pipe()
        self.replies, reply_write = os.pipe()

        def place():  # the child wants 3 = read, 4 = write
            os.dup2(os.dup(command_read), 30)
            os.dup2(os.dup(reply_write), 31)
            os.dup2(30, 3)
            os.dup2(31, 4)

        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
             "about:blank"], preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(command_read)
        os.close(reply_write)
        self.buffer, self.number, self.session, self.problems = b"", 0, None, []
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def read(self):
        while b"\0" not in self.buffer:
            piece = os.read(self.replies, 65536)
            assert piece, "chromium went away"
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            reply = self.read()
            if reply.get("id") == self.number:
                assert "error" not in reply, reply
                return reply["result"]
            if reply.get("method") == "Runtime.exceptionThrown" or (
                    reply.get("method") == "Log.entryAdded" and
                    reply["params"]["entry"]["source"] == "security"):
                self.problems.append(reply["params"])

    def open(self, url):
        self.call("Page.navigate", url=url)
        self.run("new Promise(r => document.readyState === 'complete' ? r() : onload = r)")

    def run(self, script):
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True,
                           returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def until(self, condition):
        assert self.run("new Promise(r => { const end = Date.now() + 20000; const look = () => "
                        f"({condition}) ? r(true) : Date.now() > end ? r(false) : "
                        "setTimeout(look, 20); look(); })"), condition

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.commands)
        os.close(self.replies)


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_type_drop_check_and_read_the_decision(tmp_path):
    with Server(write_policy(tmp_path)) as server, Browser(tmp_path / "profile") as browser:
        browser.open(server.url + "/")
        browser.until("document.getElementById('state').textContent === 'ready'")
        browser.run("document.getElementById('text').value = 'this is qblockedq <b>here</b>'")
        browser.run(f"""{{
            const bytes = Uint8Array.from(atob('{base64.b64encode(png()).decode()}'),
                                          c => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], 'picture.png', {{type: 'image/png'}}));
            document.getElementById('drop').dispatchEvent(
                new DragEvent('drop', {{dataTransfer: data, bubbles: true, cancelable: true}}));
        }}""")
        browser.until("document.querySelectorAll('#drop img').length === 1")
        browser.run("document.getElementById('check').click()")
        browser.until("document.getElementById('verdict')")
        shown = browser.run("document.getElementById('result').innerText")
        assert shown.startswith("block"), shown
        for expected in ("weapons", "Rules that matched", "blocked", "picture.png", "serve-test"):
            assert expected in shown, shown
        assert browser.run("document.querySelectorAll('#result .bar').length") >= 3

        browser.run("document.getElementById('clear').click()")
        browser.run("document.getElementById('text').value = 'a quiet street'")
        browser.run("document.getElementById('check').click()")
        browser.until("(document.getElementById('verdict') || {}).className === 'allow'")

        browser.run("document.getElementById('profile').value = 'nope'")
        browser.run("document.getElementById('check').click()")
        browser.until("(document.getElementById('verdict') || {}).className === 'error'")
        assert "nope" in browser.run("document.getElementById('result').innerText")
        assert browser.problems == []


def test_page_needs_nothing_from_elsewhere(tmp_path):
    with Server(write_policy(tmp_path), wait=False) as server:
        reply = server.get("/")
        page = reply.body.decode()
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "http://" not in page and "https://" not in page and "innerHTML" not in page
