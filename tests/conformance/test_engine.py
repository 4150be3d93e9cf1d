"""The OpenVINO backend and int8 through the command line: public shapes against `transformers`,
quantization with its gate."""
import json
import pathlib
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPImageProcessor, CLIPModel

from clip_probe import PARAPET, PUBLIC, ROOT, cut, make, sizes, tower
from clip_vocabulary import write_clip_files

SMALL = sizes(tower(128, 3, 2), tower(192, 3, 3, image_size=64, patch_size=16), 96)


def run(*arguments, code=0):
    done = subprocess.run([PARAPET, *map(str, arguments), "--json", "--quiet"], text=True,
                          capture_output=True)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) if code == 0 else done.stderr


def write_model(config, folder):
    make(CLIPModel, config).save_pretrained(folder)
    write_clip_files(ROOT / ".cache/assets/bpe_simple_vocab_16e6.txt.gz", folder)
    size = config["vision_config"]["image_size"]
    CLIPImageProcessor(size={"shortest_edge": size},
                       crop_size={"height": size, "width": size}).save_pretrained(folder)


def write_inputs(folder, count):
    generator = np.random.default_rng(5)
    names = []
    for i in range(count):
        coarse = generator.integers(0, 256, (5, 7, 3), np.uint8)
        names.append(f"{i}.png")
        Image.fromarray(coarse).resize((90, 70), Image.BICUBIC).save(folder / names[-1])
    (folder / "images.txt").write_text("\n".join(names) + "\n")
    words = "a photo of the red cat near two boats on blue water with old trees".split()
    (folder / "texts.txt").write_text("\n".join(
        f"{i} " + " ".join(generator.choice(words, generator.integers(2, 12)))
        for i in range(count)) + "\n")


def embed(model, folder, out, *more, code=0):
    run("embed", "--model", model, "--images", folder / "images.txt", "--texts",
        folder / "texts.txt", "--out", out, *more, code=code)
    return load_file(out)


def vnni():
    return "avx512_vnni" in pathlib.Path("/proc/cpuinfo").read_text()


def least_cosine(a, b):
    return min((a[key] * b[key]).sum(-1).min().item() for key in ("image_embeds", "text_embeds"))


@pytest.mark.parametrize("size,layers", [("B/32", 12), ("L/14", 2), ("H/14", 2)])
def test_backends_agree_at_public_shapes(tmp_path, size, layers):
    config = cut(PUBLIC[size], layers)
    write_model(config, tmp_path / "model")
    write_inputs(tmp_path, 5)
    torch_side = embed(tmp_path / "model", tmp_path, tmp_path / "t.safetensors",
                       "--precision", "fp32", "--exact-decode")
    ours = embed(tmp_path / "model", tmp_path, tmp_path / "o.safetensors",
                 "--backend", "openvino", "--precision", "fp32", "--exact-decode", "--threads", "1")
    assert least_cosine(torch_side, ours) >= 0.99999


def test_quantize_writes_a_folder_that_runs(tmp_path):
    write_model(SMALL, tmp_path / "model")
    write_inputs(tmp_path, 40)
    out = tmp_path / "int8"
    result = run("quantize", "--model", tmp_path / "model", "--images", tmp_path / "images.txt",
                 "--texts", tmp_path / "texts.txt", "--samples", "16", "--held-out", "16",
                 "--out", out)
    assert result["gates"]["image.cosine"]["value"] >= 0.995
    assert result["held_out"] == {"images": 16, "texts": 16}
    report = json.loads((out / "report.json").read_text())
    assert report["kind"] == "quantization"
    assert 0.99 < report["metrics"]["text.cosine"]["value"] < 1
    assert "<html" in (out / "report.html").read_text().lower()
    # auto takes int8 there; the folder still is an ordinary model.
    quantised = embed(out, tmp_path, tmp_path / "q.safetensors", "--backend", "openvino")
    exact = embed(out, tmp_path, tmp_path / "f.safetensors", "--precision", "fp32")
    assert 0.99 < least_cosine(quantised, exact) < 0.999999
    CLIPModel.from_pretrained(out)


# The widest heads (bigG: 104) and the longest sequences (B/16: 197) of the public sizes.
@pytest.mark.parametrize("size", ["B/16", pytest.param("H/14", marks=pytest.mark.slow),
                                  pytest.param("bigG/14", marks=pytest.mark.slow)])
def test_native_int8_at_public_shapes(tmp_path, size):
    if not vnni():
        pytest.skip("no AVX-512 VNNI")
    write_model(cut(PUBLIC[size], 2), tmp_path / "model")
    write_inputs(tmp_path, 16)
    out = tmp_path / "int8"
    result = run("quantize", "--model", tmp_path / "model", "--images", tmp_path / "images.txt",
                 "--texts", tmp_path / "texts.txt", "--samples", "8", "--held-out", "8",
                 "--max-kept", "0", "--out", out)
    assert result["gates"]["native.image.cosine"]["value"] >= 0.995
    assert result["gates"]["native.text.cosine"]["value"] >= 0.995
    exact = embed(out, tmp_path, tmp_path / "f.safetensors", "--precision", "fp32")
    graph = embed(out, tmp_path, tmp_path / "o.safetensors", "--backend", "openvino")
    native = embed(out, tmp_path, tmp_path / "n.safetensors", "--backend", "native")
    assert least_cosine(native, graph) >= 0.999
    assert least_cosine(native, exact) >= least_cosine(graph, exact) - 0.001


def test_native_says_what_it_needs(tmp_path):
    write_model(SMALL, tmp_path / "model")
    write_inputs(tmp_path, 2)
    said = run("embed", "--model", tmp_path / "model", "--images", tmp_path / "images.txt", "--out",
               tmp_path / "x.safetensors", "--backend", "native", code=2)
    assert "parapet quantize" in said


def test_failed_gate_is_exit_4_and_writes_no_ranges(tmp_path):
    write_model(SMALL, tmp_path / "model")
    write_inputs(tmp_path, 20)
    done = subprocess.run([PARAPET, "quantize", "--model", tmp_path / "model", "--images",
                           tmp_path / "images.txt", "--texts", tmp_path / "texts.txt", "--samples",
                           "10", "--held-out", "10", "--min-cosine", "1", "--out",
                           tmp_path / "int8", "--json", "--quiet"], text=True, capture_output=True)
    assert done.returncode == 4 and "image.cosine" in done.stderr
    result = json.loads(done.stdout.splitlines()[-1])  # exit 4 still comes with its result
    assert not result["passed"] and not result["gates"]["image.cosine"]["passed"]
    assert not (tmp_path / "int8/quantization.safetensors").exists()
    assert (tmp_path / "int8/report.json").exists()


def test_missing_and_stale_ranges(tmp_path):
    write_model(SMALL, tmp_path / "model")
    write_inputs(tmp_path, 16)
    arguments = ("--images", tmp_path / "images.txt", "--backend", "openvino", "--precision", "int8",
                 "--out", tmp_path / "x.safetensors")
    assert "parapet quantize" in run("embed", "--model", tmp_path / "model", *arguments, code=2)
    run("quantize", "--model", tmp_path / "model", "--images", tmp_path / "images.txt", "--texts",
        tmp_path / "texts.txt", "--samples", "8", "--held-out", "8", "--out", tmp_path / "int8")
    torch.manual_seed(9)
    model = CLIPModel.from_pretrained(tmp_path / "int8")
    model.visual_projection.weight.data.add_(0.01)
    model.save_pretrained(tmp_path / "int8")
    assert "other weights" in run("embed", "--model", tmp_path / "int8", *arguments, code=3)
