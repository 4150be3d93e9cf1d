"""Writes tests/goldens/images: small encoded images, what Pillow and CLIPImageProcessor make of
them, and a safetensors file of every dtype. Pillow 13, transformers 5.23, safetensors 0.8 or later.

    .venv/bin/python tools/goldens/make_image_goldens.py
"""

import io
import json
import pathlib
import struct
import tarfile
import zlib

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from safetensors.torch import save_file
from transformers import CLIPImageProcessor

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/images"
WIDTH, HEIGHT = 23, 17


def picture(width, height, seed):
    """Soft gradients with a few hard edges: smooth enough for JPEG, sharp enough for ringing."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [
        127 + 90 * np.sin(x / width * rng.uniform(2, 7) + y / height * rng.uniform(2, 7) + c)
        for c in range(3)
    ]
    image = Image.fromarray(np.clip(np.stack(planes, -1), 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        left, top = rng.integers(0, width), rng.integers(0, height)
        size = int(rng.integers(2, max(3, width // 3)))
        fill = tuple(int(v) for v in rng.integers(0, 255, 3))
        draw.rectangle((left, top, left + size, top + size), fill=fill)
    return image


def encode(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width, height, depth, colour, rows, extra=b""):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def adam7_png(image):
    """An interlaced PNG, which Pillow reads but cannot write."""
    pixels = np.array(image)
    rows = b""
    for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                           (1, 0, 2, 2), (0, 1, 1, 2)):
        for row in pixels[y0::dy, x0::dx]:
            if len(row):
                rows += b"\0" + row.tobytes()
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def cmyk_variants(image):
    """The same data without Adobe's marker, and declared as YCCK in it."""
    data = encode(image.convert("CMYK"), "JPEG", quality=90)
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    yield "cmyk_plain.jpg", data[:at] + data[at + 16 :]
    yield "ycck.jpg", data[: at + 15] + b"\x02" + data[at + 16 :]


def oriented(value):
    exif = Image.Exif()
    exif[0x112] = value
    return exif


def cases():
    image = picture(WIDTH, HEIGHT, 0)
    other = picture(WIDTH, HEIGHT, 1)
    grey = image.convert("L")
    alpha = image.convert("RGBA")
    alpha.putalpha(grey)
    rng = np.random.default_rng(2)
    for subsampling in (0, 1, 2):
        yield f"ss{subsampling}.jpg", encode(image, "JPEG", quality=90, subsampling=subsampling)
    yield "progressive.jpg", encode(image, "JPEG", quality=90, progressive=True)
    yield "grey.jpg", encode(grey, "JPEG")
    yield "cmyk.jpg", encode(image.convert("CMYK"), "JPEG", quality=90)
    yield from cmyk_variants(image)
    yield "rgb.jpg", encode(image, "JPEG", keep_rgb=True)
    for value in range(1, 9):
        yield f"exif{value}.jpg", encode(image, "JPEG", exif=oriented(value))
    yield "exif6.png", encode(image, "PNG", exif=oriented(6))
    yield "exif8.webp", encode(image, "WEBP", exif=oriented(8), lossless=True)
    yield "rgb.png", encode(image, "PNG")
    yield "interlaced.png", adam7_png(image)
    yield "grey.png", encode(grey, "PNG")
    yield "bits1.png", encode(image.convert("1"), "PNG")
    yield "palette.png", encode(image.quantize(200), "PNG")
    yield "palette4.png", encode(image.quantize(13), "PNG", bits=4)
    yield "palette_trns.png", encode(image.quantize(50), "PNG", transparency=bytes(range(50)))
    yield "grey_trns.png", encode(grey, "PNG", transparency=3)
    yield "rgba.png", encode(alpha, "PNG")
    yield "grey_alpha.png", encode(alpha.convert("LA"), "PNG")
    for colour, samples in ((0, 1), (2, 3), (4, 2), (6, 4)):
        rows = b"".join(b"\0" + rng.bytes(9 * samples * 2) for _ in range(4))
        yield f"bits16_{colour}.png", raw_png(9, 4, 16, colour, rows)
    low = np.array([0, 1, 127, 255, 256, 300, 65535], ">u2").tobytes()
    yield "bits16_low.png", raw_png(7, 1, 16, 0, b"\0" + low)
    short = chunk(b"PLTE", rng.bytes(6))
    yield "palette_short.png", raw_png(6, 1, 8, 3, b"\0" + bytes([0, 1, 2, 3, 100, 255]), short)
    yield "lossy.webp", encode(image, "WEBP", quality=80)
    yield "lossless.webp", encode(image, "WEBP", lossless=True)
    yield "alpha.webp", encode(alpha, "WEBP", quality=80)
    yield "animated.webp", encode(alpha, "WEBP", save_all=True, append_images=[other], lossless=True)
    yield "plain.gif", encode(image, "GIF")
    yield "grey.gif", encode(grey, "GIF")
    yield "interlaced.gif", encode(image.quantize(20), "GIF", interlace=1)
    yield "sequential.gif", encode(image.quantize(20), "GIF", interlace=0)
    yield "transparent.gif", encode(image.quantize(20), "GIF", transparency=5)
    yield "animated.gif", encode(image, "GIF", save_all=True, append_images=[other])
    for name, transparency in (("frame_in_screen", None), ("transparent_frame_in_screen", 7)):
        options = {} if transparency is None else {"transparency": transparency}
        data = bytearray(encode(image.quantize(16), "GIF", **options))
        data[6] = WIDTH + 8  # the logical screen is wider than the frame
        yield name + ".gif", bytes(data)


def write_decode():
    expected = {}
    with tarfile.open(OUT / "cases.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in cases():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
            expected[name] = torch.from_numpy(np.array(image))
    save_file(expected, OUT / "decoded.safetensors")


def write_resize():
    rng = np.random.default_rng(3)
    tensors = {}
    sizes = [(41, 37, 20, 15), (41, 37, 31, 37), (41, 37, 41, 20), (20, 40, 33, 12), (9, 7, 40, 30),
             (64, 64, 64, 9), (40, 36, 39, 34), (3, 60, 24, 24), (1, 1, 5, 5), (60, 3, 7, 1)]
    for index, (width, height, new_width, new_height) in enumerate(sizes):
        # Black and white noise overshoots most: it shows clipping and the order of the passes.
        source = rng.integers(0, 2, (height, width, 3)).astype(np.uint8) * 255
        if index % 2:
            source = np.array(picture(width, height, index))
        image = Image.fromarray(source)
        tensors[f"{index}.in"] = torch.from_numpy(source)
        for filter_code in (0, 2, 3):
            result = image.resize((new_width, new_height), filter_code)
            tensors[f"{index}.{filter_code}"] = torch.from_numpy(np.array(result))
    save_file(tensors, OUT / "resized.safetensors")


CONFIGS = {
    "crop": {"size": {"shortest_edge": 20}, "crop_size": {"height": 20, "width": 20}},
    "ints": {"size": 12, "crop_size": 17},
    "exact": {"size": {"height": 18, "width": 22}, "do_center_crop": False, "resample": 2},
    "no_resize": {"do_resize": False, "crop_size": {"height": 19, "width": 20}},
    "nearest": {"size": {"shortest_edge": 19}, "crop_size": 16, "resample": 0},
    "half": {"size": {"shortest_edge": 12}, "crop_size": 12, "image_mean": [0.5, 0.5, 0.5],
             "image_std": [0.5, 0.5, 0.5]},
    "raw": {"size": {"shortest_edge": 16}, "crop_size": 16, "do_rescale": False,
            "do_normalize": False},
    "scaled": {"size": {"shortest_edge": 16}, "crop_size": 16, "rescale_factor": 0.0078125,
               "do_normalize": False},
}


def write_preprocessing():
    tensors, configs = {}, {}
    for name, config in CONFIGS.items():
        processor = CLIPImageProcessor(**config)
        configs[name] = json.loads(processor.to_json_string())
        for width, height in ((40, 27), (25, 61), (15, 16)):
            image = picture(width, height, width)
            tensors[f"in.{width}x{height}"] = torch.from_numpy(np.array(image))
            pixels = processor(image, return_tensors="pt")["pixel_values"][0]
            tensors[f"{name}.{width}x{height}"] = pixels.float().contiguous()
    save_file(tensors, OUT / "preprocessed.safetensors")
    (OUT / "preprocessor_configs.json").write_text(json.dumps(configs, indent=1) + "\n")


def write_dtypes():
    kinds = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64,
             torch.float16, torch.bfloat16, torch.float32, torch.float64]
    tensors = {str(kind).removeprefix("torch."): torch.arange(6).reshape(2, 3).to(kind) for kind in kinds}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "näme": torch.ones(1)}
    save_file(tensors, OUT / "dtypes.safetensors", metadata={"format": "pt", "note": "golden"})


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_decode()
    write_resize()
    write_preprocessing()
    write_dtypes()
    for file in OUT.iterdir():
        file.chmod(0o644)
