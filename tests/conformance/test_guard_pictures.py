"""Pictures whose content shows on one ground, or to one reader, and not to another: the guard finds
a known picture (a PDQ list needs no model) in every format and every way of hiding it. And output
files: what `--out` does to devices, links and modes."""
import io
import json
import os
import stat
import struct
import subprocess
import zlib

import numpy as np
import pdqhash
import pytest
from PIL import Image

from clip_probe import PARAPET
from serve_support import TAXONOMY

SIDE = 96


def secret():
    """Grey levels with enough detail for PDQ."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    waves = np.sin(x / 7 + np.cos(y / 11) * 3) + np.cos(x * y / 900) + (x // 24 + y // 17) % 3
    waves = (waves - waves.min()) / np.ptp(waves)
    return (waves * 255).astype(np.uint8)


def encode(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(samples, colour):
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 16, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def rgba(red, green, blue, alpha):
    shape = (SIDE, SIDE)
    planes = [np.broadcast_to(np.asarray(p, np.uint8), shape) for p in (red, green, blue, alpha)]
    return Image.fromarray(np.stack(planes, -1))


def palette(alphas):
    """White only, of the given opacities."""
    image = Image.fromarray(secret(), "L").convert("P")
    image.putpalette(bytes([255]) * 768)
    return encode(image, "PNG", transparency=bytes(alphas))


def pictures():
    s = secret()
    wide = s.astype(np.uint16)
    white16 = np.full_like(wide, 65535)
    drawn = rgba(255, 255, 255, s)
    hidden = rgba(s, s, s, 0)
    yield "plain.png", encode(Image.fromarray(s), "PNG")
    yield "drawn.png", encode(drawn, "PNG")
    yield "drawn_black.png", encode(rgba(0, 0, 0, 255 - s), "PNG")
    yield "drawn_la.png", encode(drawn.convert("LA"), "PNG")
    yield "drawn_palette.png", palette(range(256))
    yield "drawn.webp", encode(drawn, "WEBP", lossless=True, exact=True)
    yield "drawn_lossy.webp", encode(drawn, "WEBP", quality=90)
    yield "hidden.png", encode(hidden, "PNG")
    yield "hidden.webp", encode(hidden, "WEBP", lossless=True, exact=True)
    yield "drawn_rgba16.png", png16(
        np.stack([white16, white16, white16, wide * 257], -1).reshape(SIDE, -1), 6)
    yield "drawn_la16.png", png16(np.stack([white16, wide * 257], -1).reshape(SIDE, -1), 4)
    yield "grey16.png", png16(wide * 257, 0)
    yield "grey16_low.png", png16(wide, 0)
    yield "grey16_narrow.png", png16(wide * 8 + 20000, 0)


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    bits, quality = pdqhash.compute(np.repeat(secret()[..., None], 3, -1))
    assert quality >= 50
    known = "".join(f"{int(''.join(map(str, bits[i:i + 4])), 2):x}" for i in range(0, 256, 4))
    (folder / "known.csv").write_text(f"id,hash\ncase-1,{known}\n")
    (folder / "policy.toml").write_text(f"""
taxonomy = "{TAXONOMY}"
[[hash.list]]
name = "known"
kind = "pdq"
file = "known.csv"
category = "weapons"
action = "block"
[category.weapons]
""")
    return folder / "policy.toml"


def decide(policy, folder, files):
    lines = []
    for name, data in files.items():
        (folder / name).write_bytes(data)
        lines.append(json.dumps({"id": name, "image": str(folder / name)}))
    (folder / "items.jsonl").write_text("\n".join(lines) + "\n")
    out = folder / "out.jsonl"
    subprocess.run([PARAPET, "guard", "check", "--policy", policy, "--input", folder / "items.jsonl",
                    "--out", out, "--quiet"], check=True, timeout=120)
    return {d["id"]: d for d in map(json.loads, out.read_text().splitlines())}


def test_a_known_picture_is_found_however_it_is_hidden(policy, tmp_path):
    files = dict(pictures())
    decisions = decide(policy, tmp_path, files)
    missed = {name: decisions[name]["parts"] for name in files
              if decisions[name]["action"] != "block" or decisions[name]["clean"]}
    assert not missed
    views = {name: decision["rules"][0].get("view", "") for name, decision in decisions.items()}
    assert views["plain.png"] == views["grey16.png"] == views["drawn_black.png"] == ""
    assert views["drawn.png"] == views["drawn_palette.png"] == views["drawn.webp"] == "black"
    assert views["hidden.png"] == views["hidden.webp"] == "opaque"
    assert (views["grey16_low.png"], views["grey16_narrow.png"]) == ("clipped", "stretched")


def test_an_animation_is_never_clean(policy, tmp_path):
    """Only its first picture is looked at."""
    frames = [Image.fromarray(np.full((SIDE, SIDE), level, np.uint8)) for level in (10, 200)]
    files = {f"a.{kind}": encode(frames[0].convert("RGBA"), kind, save_all=True,
                                 append_images=[frames[1].convert("RGBA")])
             for kind in ("gif", "webp", "png")}
    for name, decision in decide(policy, tmp_path, files).items():
        assert not decision["clean"], name
        assert "more_frames" in {f["reason"] for f in decision["not_scanned"]}, name


@pytest.fixture(scope="module")
def check_out(policy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    (folder / "items.jsonl").write_text('{"id": "a", "text": "hello"}\n')

    def run(out, **options):
        return subprocess.run(
            [PARAPET, "guard", "check", "--policy", policy, "--input", folder / "items.jsonl",
             "--out", out, "--quiet"], capture_output=True, timeout=60, **options)
    return run


def test_out_keeps_links_and_modes(check_out, tmp_path):
    real = tmp_path / "real"
    real.write_text("old")
    real.chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("new")
    for name in ("link", "dangling"):
        assert check_out(tmp_path / name).returncode == 0
        assert (tmp_path / name).is_symlink()
    assert json.loads(real.read_text())["id"] == "a"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert json.loads((tmp_path / "new").read_text())["id"] == "a"


def test_out_never_replaces_what_is_no_file(check_out, tmp_path):
    assert check_out("/dev/null").returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    done = check_out("/dev/stdout")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[0])["id"] == "a"
    with open(tmp_path / "log", "w") as log:
        log.write("begun\n")
        log.flush()
        done = check_out(f"/dev/fd/{log.fileno()}", pass_fds=[log.fileno()])
    assert (done.returncode, (tmp_path / "log").read_text()[:8]) == (0, 'begun\n{"')
    done = check_out(tmp_path)
    assert done.returncode == 2 and b"is a folder" in done.stderr
