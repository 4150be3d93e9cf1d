"""PDQ against the `pdqhash` wheel (the published implementation): pictures of many kinds and sizes."""
import pathlib
import subprocess

import numpy as np
import pdqhash
import pytest
from PIL import Image, ImageDraw, ImageFilter

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROBE = ROOT / "build/release/parapet_pdq_probe"


def picture(seed):
    """Overlapping shapes, sometimes blurred or noisy, at an odd size."""
    random = np.random.default_rng(seed)
    width, height = (int(v) for v in random.integers(65, 500, 2))
    image = Image.new("RGB", (width, height), tuple(int(v) for v in random.integers(0, 256, 3)))
    draw = ImageDraw.Draw(image)
    for layer in range(int(random.integers(5, 80))):
        size = 0.6 / (1 + layer * 0.1)
        x, y = random.uniform(-size / 2, 1, 2)
        w, h = size * random.uniform(0.2, 1.2, 2)
        box = [x * width, y * height, (x + w) * width, (y + h) * height]
        colour = tuple(int(v) for v in random.integers(0, 256, 3))
        (draw.ellipse if layer % 3 else draw.rectangle)(box, fill=colour)
    if seed % 4 == 1:
        image = image.filter(ImageFilter.GaussianBlur(float(random.uniform(0.5, 4))))
    if seed % 4 == 2:
        noise = random.normal(0, 12, (height, width, 3))
        image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))
    return image


def bits(text):
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pdq")
    files = []
    for seed in range(30):
        files.append(folder / f"{seed}.png")
        picture(seed).save(files[-1])
    return files


@pytest.fixture(scope="module")
def ours(pictures):
    lines = subprocess.run([PROBE, *pictures], check=True, capture_output=True, text=True).stdout
    return [line.split() for line in lines.splitlines()]


def test_hash_and_quality_agree(pictures, ours):
    distances = []
    for file, fields in zip(pictures, ours):
        expected, quality = pdqhash.compute(np.asarray(Image.open(file)))
        distances.append(int((bits(fields[0]) != expected).sum()))
        assert abs(int(fields[1]) - quality) <= 1, file
    assert max(distances) <= 10, distances
    assert np.mean(distances) <= 1, distances


def test_variants_are_the_same_eight(pictures, ours):
    for file, fields in zip(pictures[:10], ours[:10]):
        expected, _ = pdqhash.compute_dihedral(np.asarray(Image.open(file)))
        variants = [bits(text) for text in fields[2:]]
        for one in expected:
            assert min(int((v != one).sum()) for v in variants) <= 10, file
