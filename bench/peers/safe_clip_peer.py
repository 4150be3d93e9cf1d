"""`parapet harden safe-clip` beside transformers + peft with the same objective, adapters, batch and
optimiser, ViT-B/32 size, random weights. Steps after the first are compared by their median.

    .venv/bin/python bench/peers/safe_clip_peer.py build/release/parapet [batch] [steps] [fp32,bf16]

The peer is written as the published trainer works: captions padded to 77, the frozen reference
encodes the safe half in every step. Where the processor has no bfloat16 instructions torch emulates
them (a minute a step and more on two cores), so bfloat16 is measured in fewer steps there.
"""

import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import clip_models
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch.nn.functional import cosine_similarity, cross_entropy, normalize
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

CACHE = pathlib.Path(".cache/bench")
TARGETS = ["k_proj", "v_proj", "out_proj", "fc1", "fc2", "patch_embedding"]
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
WEIGHTS = torch.tensor([.1, .1, .1, .2, .25, .25, .25, .5])


def write_data(folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    paths = clip_models.write_images(CACHE / "images", 2 * count)
    safe, unsafe = clip_models.captions(count, 1), clip_models.captions(count, 2)
    rows = [{"id": str(i), "safe_text": safe[i], "unsafe_text": unsafe[i],
             "safe_image": str(paths[2 * i].resolve()), "unsafe_image": str(paths[2 * i + 1].resolve()),
             "category": "a", "split": "train", "attributes": {}} for i in range(count)]
    (folder / "quadruplets.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return rows


def ours(parapet, model, data, dtype, batch, steps):
    run = CACHE / "run"
    shutil.rmtree(run, ignore_errors=True)
    subprocess.run([parapet, "harden", "safe-clip", "--model", str(model), "--data", str(data),
                    "--out", str(run), "--objective", "safe_clip", "--dtype", dtype,
                    "--batch-size", str(batch), "--max-steps", str(steps), "--log-every", "1",
                    "--checkpoint-every", "0", "--patience", "0", "--validate-every", "0", "--quiet",
                    "--reference-cache", str(CACHE / "reference")], check=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = [line["seconds"] for line in lines if "loss" in line]
    return [b - a for a, b in zip(seconds, seconds[1:])]


def info_nce(x, y):
    logits = 100.0 * x @ y.T
    labels = torch.arange(len(x))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def peer(folder, rows, dtype, batch, steps):
    reference = CLIPModel.from_pretrained(folder, dtype=dtype).eval()
    model = get_peft_model(CLIPModel.from_pretrained(folder, dtype=dtype),
                           LoraConfig(r=16, lora_alpha=1, lora_dropout=0.1, target_modules=TARGETS))
    model.train()
    clip = model.base_model.model
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), CLIPImageProcessor.from_pretrained(folder)

    def text(m, values):
        ids = tokenizer(values, padding="max_length", max_length=77, truncation=True,
                        return_tensors="pt")
        return normalize(m.text_projection(m.text_model(**ids).pooler_output).float(), dim=-1)

    def image(m, values):
        pixels = processor(images=[Image.open(p).convert("RGB") for p in values],
                           return_tensors="pt")["pixel_values"].to(dtype)
        return normalize(m.visual_projection(m.vision_model(pixels).pooler_output).float(), dim=-1)

    times = []
    for step in range(steps):
        start = time.time()
        chosen = [rows[(step * batch + i) % len(rows)] for i in range(batch)]
        fields = [[r[k] for r in chosen] for k in ("safe_text", "unsafe_text", "safe_image", "unsafe_image")]
        with torch.no_grad():
            s0, v0 = text(reference, fields[0]), image(reference, fields[2])
        s, u = text(clip, fields[0]), text(clip, fields[1])
        v, g = image(clip, fields[2]), image(clip, fields[3])
        terms = torch.stack([1 - cosine_similarity(s, s0).mean(), 1 - cosine_similarity(u, s0).mean(),
                             1 - cosine_similarity(v, v0).mean(), 1 - cosine_similarity(g, v0).mean(),
                             info_nce(s, v0), info_nce(u, v0), info_nce(v, s0), info_nce(g, s0)])
        loss = (terms * WEIGHTS / WEIGHTS.sum()).sum() / 8
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.time() - start)
    return times[1:]


def main():
    parapet = sys.argv[1]
    batch = int(sys.argv[2]) if len(sys.argv) > 2 else 32
    steps = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    folder = clip_models.make_model("B/32", CACHE / "B32")
    names = sys.argv[4].split(",") if len(sys.argv) > 4 else ["fp32", "bf16"]
    native = any(word in open("/proc/cpuinfo").read() for word in ("avx512_bf16", "amx_bf16"))
    rows = write_data(CACHE / "quadruplets", 2 * batch)
    seconds = {}
    for name in names:
        ours(parapet, folder, CACHE / "quadruplets", name, batch, 1)  # fills the reference cache
        few = name == "bf16" and not native
        for _ in range(1 if few else 2):
            count = 2 if few else steps
            seconds.setdefault(f"ours.{name}", []).extend(
                ours(parapet, folder, CACHE / "quadruplets", name, batch, count))
            seconds.setdefault(f"transformers_peft.{name}", []).extend(
                peer(folder, rows, getattr(torch, DTYPES[name]), batch, count))
    rate = {name: batch / statistics.median(values) for name, values in seconds.items()}
    print(json.dumps({
        "benchmark": "Safe-CLIP training, ViT-B/32, batch %d" % batch, "unit": "quadruplets/s",
        "threads": torch.get_num_threads(), "bf16_instructions": native,
        "median": {name: round(value, 3) for name, value in rate.items()},
        "ratio": {f"{name}": round(rate[f"ours.{name}"] / rate[f"transformers_peft.{name}"], 2)
                  for name in names}}))


if __name__ == "__main__":
    main()
