"""image_bench beside Pillow (and numpy for the normalisation), interleaved, one thread each,
processor time.

    .venv/bin/python bench/peers/image_peer.py build/release/image_bench

`exact` is decode + resize + crop + normalise on both sides; `scaled` is JPEG's scaled decode, for
Pillow through Image.draft with the same size rule.
"""

import io
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

ROUNDS, REPEATS = 3, 5
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def photograph(width, height):
    """Noise with the spectrum of natural images (amplitude ~ 1/f)."""
    rng = np.random.default_rng(width)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    planes = []
    for _ in range(3):
        spectrum = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
        plane = np.fft.irfft2(spectrum / frequency**1.1, (height, width))
        planes.append((plane - plane.mean()) / plane.std())
    grey = planes[0]
    pixels = np.stack([128 + 45 * (0.8 * grey + 0.4 * plane) for plane in planes], -1)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def to_pixels(image):
    width, height = image.size
    short = min(width, height)
    image = image.resize((int(224 * width / short), int(224 * height / short)), Image.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return image.crop((left, top, left + 224, top + 224))


def normalise(image):
    pixels = np.asarray(image).astype(np.float32) * np.float32(1 / 255)
    return ((pixels - MEAN) / STD).transpose(2, 0, 1).copy()


def decode(data, draft=False):
    image = Image.open(io.BytesIO(data))
    if draft:
        image.draft("RGB", (448, 448))
    return image.convert("RGB")


def pillow(data):
    image = decode(data)
    small = to_pixels(image)
    return {
        "decode": lambda: decode(data),
        "resize": lambda: to_pixels(image),
        "normalise": lambda: normalise(small),
        "exact": lambda: normalise(to_pixels(decode(data))),
        "scaled": lambda: normalise(to_pixels(decode(data, draft=True))),
    }


def milliseconds(call):
    best = 1e9
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        best = min(best, (time.process_time() - start) * 1e3)
    return best


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for width, height, kind in ((640, 480, "jpg"), (640, 480, "png"), (640, 480, "webp"),
                                    (1536, 1024, "jpg"), (4000, 3000, "jpg")):
            file = pathlib.Path(folder) / f"{width}x{height}.{kind}"
            photograph(width, height).save(file, quality=90)
            files.append(file)
        ours, theirs = {}, {}
        for _ in range(ROUNDS):
            for file in files:
                for step, call in pillow(file.read_bytes()).items():
                    key = f"image.{file.name}.{step}"
                    theirs[key] = min(theirs.get(key, 1e9), milliseconds(call))
            out = subprocess.run([program, str(REPEATS), *files], check=True, capture_output=True)
            for line in out.stdout.splitlines():
                row = json.loads(line)
                ours[row["name"]] = min(ours.get(row["name"], 1e9), row["value"])
    for name, value in ours.items():
        row = {"name": name, "value": value, "unit": "ms", "peer": "Pillow"}
        print(json.dumps(row | {"peer_value": theirs[name], "ratio": theirs[name] / value}))


if __name__ == "__main__":
    main()
