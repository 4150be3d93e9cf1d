"""A real `parapet serve` in a child process, and what tests send it."""
import base64
import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time

from PIL import Image

from clip_probe import PARAPET, ROOT

TAXONOMY = ROOT / "policies/taxonomy.toml"

# Words nobody writes by accident stand for what a real policy lists.
POLICY = """
name = "serve-test"
version = "1"
taxonomy = "{taxonomy}"
[limits]
max_image_pixels = 4000000
[[rules.list]]
name = "blocked"
entries = ["qblockedq"]
category = "weapons"
action = "block"
[[rules.list]]
name = "masked"
entries = ["qmaskedq"]
category = "harassment"
action = "modify"
[[rules.list]]
name = "noted"
entries = ["qnotedq"]
category = "theft"
action = "flag"
[category.weapons]
flag = 0.9999
block = 0.99999
[category.harassment]
[category.theft]
[profile.news]
scale = 1
[profile.sharp.category.weapons]
flag = 0
{more}
"""

CLIP = """
[clip]
enabled = true
model = "{model}"
neutral = ["a photo of a table", "a photo of a street"]
[[clip.zeroshot]]
category = "weapons"
prompts = ["a photo of a sword", "a photo of a cannon"]
"""


def write_policy(folder, more="", name="policy.toml"):
    file = folder / name
    file.write_text(POLICY.format(taxonomy=TAXONOMY, more=more))
    return file


def png(width=64, height=48, color=(200, 120, 30)):
    out = io.BytesIO()
    Image.new("RGB", (width, height), color).save(out, "PNG")
    return out.getvalue()


def data_uri(data, media="image/png"):
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    @property
    def error(self):
        return self.json()["error"]


class Server:
    """Started at once; ready when the models answered, unless wait=False."""

    def __init__(self, policy, *flags, wait=True, environment=None):
        self.process = subprocess.Popen(
            [str(PARAPET), "serve", "--policy", str(policy), "--listen", "127.0.0.1:0",
             *map(str, flags)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **(environment or {})})
        self.log, self.port = [], None
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.listening.wait(60) and self.port, "".join(self.log)
        self.url = f"http://127.0.0.1:{self.port}"
        if wait:
            self.wait_ready()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"listening on http://[^ ]*:(\d+)", line)
            if found:
                self.port = int(found[1])
                self.listening.set()
        self.listening.set()

    def wait_ready(self, seconds=60):
        self.until(lambda: self.get("/readyz").status == 200, seconds)

    def until(self, good, seconds=30):
        end = time.monotonic() + seconds
        while not good():
            assert self.process.poll() is None, "".join(self.log)
            assert time.monotonic() < end, "waited too long\n" + "".join(self.log)
            time.sleep(0.02)

    def until_logged(self, text, seconds=30):
        self.until(lambda: text in "".join(self.log), seconds)

    def request(self, method, path, body=None, headers=None, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, value, headers=None, timeout=60):
        body = value if isinstance(value, (bytes, str)) else json.dumps(value)
        body = body.encode() if isinstance(body, str) else body
        return self.request("POST", path, body,
                            {"Content-Type": "application/json", **(headers or {})}, timeout)

    def guard(self, *parts, **options):
        return self.post("/v1/guard", {"parts": list(parts), **options})

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def metric(self, metric, **labels):
        """Sum of the lines that have these labels."""
        total = 0.0
        for line in self.get("/metrics").body.decode().splitlines():
            if line.startswith((metric + "{", metric + " ")) and all(
                    f'{key}="{value}"' in line for key, value in labels.items()):
                total += float(line.rsplit(" ", 1)[1])
        return total

    def stop(self, with_signal=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        code = self.process.wait(60)
        self.reader.join(10)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)
        self.reader.join(10)
        self.process.stdout.close()
        self.process.stderr.close()


def text(value):
    return {"type": "text", "text": value}


def image(data):
    return {"type": "image", "data": base64.b64encode(data).decode()}
