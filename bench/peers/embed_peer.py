"""`parapet embed` beside transformers on the same folder: images/s, captions/s, peak memory,
agreement. The two run in turn; medians of the rounds are compared.

    .venv/bin/python bench/peers/embed_peer.py build/release/parapet [B/32|L/14] [images] [rounds]

transformers pads captions to 77 tokens when told "max_length" (what CLIP pipelines do) and to the
longest of the batch with "longest"; both are measured.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import time

import clip_models
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel
from PIL import Image

CACHE = pathlib.Path(".cache/bench")


def ours(parapet, model, images, texts, precision, out):
    """JSON result of one process."""
    command = [parapet, "embed", "--model", str(model), "--precision", precision,
               "--json", "--quiet", "--out", str(out)]
    if images:
        command += ["--images", str(images)]
    if texts:
        command += ["--texts", str(texts)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def peak_memory(command):
    """Peak resident bytes of a command. A child starts with the peak of the process it was forked
    from, and this one holds two models: a bare interpreter stands between."""
    between = ("import os, subprocess, sys\n"
               "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
               "_, status, usage = os.wait4(child.pid, 0)\n"
               "print(usage.ru_maxrss * 1024); sys.exit(status != 0)")
    return int(subprocess.run([sys.executable, "-S", "-c", between, *map(str, command)], text=True,
                              stdout=subprocess.PIPE, check=True).stdout)


@torch.inference_mode()
def peer_images(model, processor, paths, batch):
    start, parts = time.time(), []
    for i in range(0, len(paths), batch):
        pictures = [Image.open(p).convert("RGB") for p in paths[i:i + batch]]
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"].to(model.dtype)
        parts.append(model.visual_projection(model.vision_model(pixels).pooler_output).float())
    return torch.nn.functional.normalize(torch.cat(parts), dim=-1), len(paths) / (time.time() - start)


@torch.inference_mode()
def peer_texts(model, tokenizer, texts, batch, padding):
    start, parts = time.time(), []
    for i in range(0, len(texts), batch):
        ids = tokenizer(texts[i:i + batch], padding=padding, max_length=77, truncation=True,
                        return_tensors="pt")
        parts.append(model.text_projection(model.text_model(**ids).pooler_output).float())
    return torch.nn.functional.normalize(torch.cat(parts), dim=-1), len(texts) / (time.time() - start)


def main():
    parapet = sys.argv[1]
    size = sys.argv[2] if len(sys.argv) > 2 else "B/32"
    images = int(sys.argv[3]) if len(sys.argv) > 3 else 64
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 3
    folder = clip_models.make_model(size, CACHE / size.replace("/", ""))
    paths = clip_models.write_images(CACHE / "images", images)
    listing, text_file = CACHE / "images.txt", CACHE / "texts.txt"
    listing.write_text("\n".join(str(p.resolve()) for p in paths) + "\n")
    texts = clip_models.captions(2 * images)
    text_file.write_text("\n".join(texts) + "\n")
    processor, tokenizer = CLIPImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    models = {name: CLIPModel.from_pretrained(folder, dtype=dtype).eval()
              for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))}
    rates, embeds = {}, {}
    for _ in range(rounds):
        for precision in ("bf16", "fp32"):
            out = CACHE / "embeds.safetensors"
            result = ours(parapet, folder, listing, text_file, precision, out)
            rates.setdefault(f"ours.{precision}.images", []).append(result["images"]["per_second"])
            rates.setdefault(f"ours.{precision}.texts", []).append(result["texts"]["per_second"])
            embeds[f"ours.{precision}"] = load_file(out)
            model = models[precision]
            got, rate = peer_images(model, processor, paths, 16)
            rates.setdefault(f"transformers.{precision}.images", []).append(rate)
            embeds[f"transformers.{precision}.images"] = got
            for padding in ("max_length", "longest"):
                got, rate = peer_texts(model, tokenizer, texts, 32, padding)
                rates.setdefault(f"transformers.{precision}.texts.{padding}", []).append(rate)
            embeds[f"transformers.{precision}.texts"] = got
    median = {name: statistics.median(values) for name, values in rates.items()}
    peak = peak_memory([parapet, "embed", "--model", folder, "--images", listing, "--texts", text_file,
                        "--precision", "fp32", "--quiet", "--out", CACHE / "embeds.safetensors"])
    weights = (folder / "model.safetensors").stat().st_size

    def cosine(a, b):
        return torch.nn.functional.cosine_similarity(a, b).mean().item()

    report = {"benchmark": f"embed {size}", "unit": "1/s", "threads": torch.get_num_threads(),
              "median": {name: round(value, 2) for name, value in median.items()},
              "ratio": {}, "peak_memory_mb": round(peak / 1e6), "weights_mb": round(weights / 1e6)}
    for precision in ("bf16", "fp32"):
        ours_images = median[f"ours.{precision}.images"]
        ours_texts = median[f"ours.{precision}.texts"]
        report["ratio"][f"images.{precision}"] = round(
            ours_images / median[f"transformers.{precision}.images"], 2)
        for padding in ("max_length", "longest"):
            report["ratio"][f"texts.{precision}.{padding}"] = round(
                ours_texts / median[f"transformers.{precision}.texts.{padding}"], 2)
        report[f"cosine_to_transformers_fp32.{precision}"] = {
            "images": cosine(embeds[f"ours.{precision}"]["image_embeds"],
                             embeds["transformers.fp32.images"]),
            "texts": cosine(embeds[f"ours.{precision}"]["text_embeds"],
                            embeds["transformers.fp32.texts"])}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
