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
from transformers.image_transforms import convert_to_rgb

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


def exif_block(kind, value, order="<", count=1):
    """A TIFF block whose one entry is the orientation, stored as TIFF type `kind`."""
    forms = {1: "B3x", 3: "H2x", 4: "I", 6: "b3x", 8: "h2x", 9: "i", 11: "f"}
    if kind in forms:
        stored, behind = struct.pack(order + forms[kind], value), b""
    else:
        stored = struct.pack(order + "I", 26)
        behind = struct.pack(order + {5: "II", 12: "d"}[kind], *([value, 1][: 2 if kind == 5 else 1]))
    magic = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "IHHHI", 8, 1, 0x112, kind, count)
    return magic + entry + stored + bytes(4) + behind


def xmp(value):
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{value}"/></x:xmpmeta>'.encode()


def png_text(kind, key, text):
    packed = zlib.compress(text)
    body = {b"tEXt": text, b"zTXt": b"\0" + packed, b"iTXt": bytes(4) + text}
    if kind == b"packed iTXt":
        return chunk(b"iTXt", key + b"\0\1\0\0\0" + packed)
    return chunk(kind, key + b"\0" + body[kind])


def orientation_cases(image):
    """Orientation wherever it may be stored; the pixels are small, the places are the point."""
    xmp_key = b"XML:com.adobe.xmp"
    for kind in (1, 3, 4, 5, 6, 8, 9, 11, 12):
        for order, name in (("<", "le"), (">", "be")):
            exif = b"Exif\0\0" + exif_block(kind, 6, order)
            yield f"type{kind}_{name}.jpg", encode(image, "JPEG", exif=exif)
    for value in (0, 9, 300):
        exif = b"Exif\0\0" + exif_block(3, value)
        yield f"nonsense{value}.jpg", encode(image, "JPEG", exif=exif, xmp=xmp(6))
    yield "two_values.jpg", encode(image, "JPEG", exif=b"Exif\0\0" + exif_block(3, 6, count=2))
    yield "xmp.jpg", encode(image, "JPEG", xmp=xmp(8))
    yield "xmp_element.jpg", encode(image, "JPEG", xmp=b"<tiff:Orientation>5</tiff:Orientation>")
    yield "xmp_nonsense.jpg", encode(image, "JPEG", xmp=xmp(9))
    exif = b"Exif\0\0" + exif_block(3, 3)
    yield "both.jpg", encode(image, "JPEG", exif=exif, xmp=xmp(6))
    yield "xmp.webp", encode(image, "WEBP", lossless=True, xmp=xmp(6))
    yield "both.webp", encode(image, "WEBP", lossless=True, exif=exif, xmp=xmp(6))
    profile = (b"Exif\0\0" + exif_block(3, 8)).hex().encode()
    profile = b"\nexif\n%8d\n" % (len(profile) // 2) + profile[:72] + b"\n" + profile[72:] + b"\n"
    profile_key = b"Raw profile type exif"
    chunks = {
        "exif": chunk(b"eXIf", exif_block(4, 6)),
        "exif_prefix": chunk(b"eXIf", b"Exif\0\0" + exif_block(3, 6, ">")),
        "xmp": png_text(b"iTXt", xmp_key, xmp(6)),
        "xmp_packed": png_text(b"packed iTXt", xmp_key, xmp(7)),
        "xmp_text": png_text(b"tEXt", xmp_key, xmp(5)),
        "xmp_ztxt": png_text(b"zTXt", xmp_key, xmp(2)),
        "profile": png_text(b"zTXt", profile_key, profile),
        "exif_and_xmp": chunk(b"eXIf", exif_block(3, 3)) + png_text(b"iTXt", xmp_key, xmp(6)),
        "profile_and_exif": png_text(b"tEXt", profile_key, profile) + chunk(b"eXIf", exif_block(3, 3)),
    }
    rows = b"".join(b"\0" + row.tobytes() for row in np.array(image))
    for name, data in chunks.items():
        yield name + "_before.png", raw_png(image.width, image.height, 8, 2, rows, data)
        png = raw_png(image.width, image.height, 8, 2, rows)
        yield name + "_after.png", png[:-12] + data + png[-12:]


def transparency_cases(image):
    rng = np.random.default_rng(4)
    alpha = image.convert("RGBA")
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)))
    yield "alpha_noise.png", encode(alpha, "PNG")
    yield "alpha_lossless.webp", encode(alpha, "WEBP", lossless=True, exact=True)
    yield "alpha_lossy.webp", encode(alpha, "WEBP", quality=70, alpha_quality=60)
    yield "alpha_animated.webp", encode(alpha, "WEBP", save_all=True, append_images=[image, alpha])
    yield "opaque_alpha.png", encode(image.convert("RGBA"), "PNG")
    yield "palette_one.png", encode(image.quantize(20), "PNG", transparency=3)
    yield "palette_bits1.png", raw_png(
        8, 1, 1, 3, b"\0\xa5", chunk(b"PLTE", rng.bytes(6)) + chunk(b"tRNS", b"\x40")
    )
    yield "rgb_key.png", raw_png(
        3, 1, 8, 2, b"\0" + bytes(range(9)), chunk(b"tRNS", struct.pack(">3H", 3, 4, 5))
    )
    yield "bits1_key.png", raw_png(8, 1, 1, 0, b"\0\xa5", chunk(b"tRNS", struct.pack(">H", 0)))


def corrected_cases():
    """Where Pillow is wrong: name, file, what the PNG specification says."""
    grey = np.array([[0, 200, 255, 256, 300, 0x7FFF, 0x8000, 0xFFFF]], np.uint16)
    high = np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, -1)
    rows = b"\0" + grey.astype(">u2").tobytes()
    yield "grey16.png", raw_png(8, 1, 16, 0, rows), high
    keyed = np.where((grey == 300)[..., None], 255, high).astype(np.uint8)
    key = chunk(b"tRNS", struct.pack(">H", 300))
    yield "grey16_key.png", raw_png(8, 1, 16, 0, rows, key), keyed
    rgb = np.array([[[0x102, 0x203, 0x304], [0x102, 0x203, 0x305], [0xFFFF, 0, 0x8000]]], np.uint16)
    keyed = (rgb >> 8).astype(np.uint8)
    keyed[0, 0] = 255
    key = chunk(b"tRNS", struct.pack(">3H", 0x102, 0x203, 0x304))
    yield "rgb16_key.png", raw_png(3, 1, 16, 2, b"\0" + rgb.astype(">u2").tobytes(), key), keyed
    for bits, levels, packed in ((2, [0, 1, 2, 3], b"\x1b"), (4, [5, 10], b"\x5a")):
        scale = 255 // (2**bits - 1)
        want = np.array([[[level * scale] * 3 for level in levels]], np.uint8)
        want[0, 1] = 255
        key = chunk(b"tRNS", struct.pack(">H", levels[1]))
        yield f"grey{bits}_key.png", raw_png(len(levels), 1, bits, 0, b"\0" + packed, key), want


def write_decode():
    everything = [(name, data, None) for name, data in cases()]
    image = picture(11, 7, 5)
    everything += [(name, data, None) for name, data in orientation_cases(image)]
    everything += [(name, data, None) for name, data in transparency_cases(picture(WIDTH, HEIGHT, 6))]
    everything += corrected_cases()
    expected = {}
    with tarfile.open(OUT / "cases.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data, want in everything:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
            if want is None and name in ("bits16_0.png", "bits16_low.png"):  # 16-bit grey
                samples = Image.open(io.BytesIO(data))
                want = np.repeat((np.array(samples) >> 8).astype(np.uint8)[..., None], 3, -1)
            if want is None:
                upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
                want = convert_to_rgb(upright, return_numpy=True)
            expected[name] = torch.from_numpy(np.ascontiguousarray(want))
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
