"""transformers and peft on a device: what Parapet's figures stand beside."""
import concurrent.futures
import os
import statistics
import time

import torch
from PIL import Image
from torch.nn.functional import cosine_similarity, cross_entropy, normalize

TARGETS = ["k_proj", "v_proj", "out_proj", "fc1", "fc2", "patch_embedding"]
WEIGHTS = [.1, .1, .1, .2, .25, .25, .25, .5]


def wait(device):
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def load(folder, device, dtype):
    from transformers import CLIPModel
    return CLIPModel.from_pretrained(folder, dtype=dtype).to(device).eval()


def text_rows(model, ids):
    return normalize(model.text_projection(model.text_model(**ids).pooler_output).float(), dim=-1)


def image_rows(model, pixels):
    return normalize(model.visual_projection(model.vision_model(pixels).pooler_output).float(), dim=-1)


@torch.inference_mode()
def embeddings(folder, images, texts, device, dtype):
    """As `parapet embed` writes them."""
    from transformers import AutoTokenizer, CLIPImageProcessor
    model = load(folder, device, dtype)
    processor, tokenizer = CLIPImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    pixels = processor(images=[Image.open(p).convert("RGB") for p in images],
                       return_tensors="pt")["pixel_values"].to(device, dtype)
    ids = tokenizer(texts, padding="max_length", max_length=77, truncation=True,
                    return_tensors="pt").to(device)
    return image_rows(model, pixels).cpu(), text_rows(model, ids).cpu()


@torch.inference_mode()
def forward_with_copy(model, size, device, dtype, batch, calls):
    """Images/s of the image tower from float32 pixels in page-locked memory."""
    pixels = torch.randn(batch, 3, size, size)
    if device.startswith("cuda"):
        pixels = pixels.pin_memory()
    times = []
    for _ in range(calls):
        wait(device)
        start = time.perf_counter()
        image_rows(model, pixels.to(device, non_blocking=True).to(dtype)).cpu()
        times.append(time.perf_counter() - start)
    return batch / statistics.median(times)


@torch.inference_mode()
def embed_loop(model, processor, paths, device, dtype, batch):
    """Images/s from files: Pillow on every core ahead of the model."""
    wait(device)
    start = time.perf_counter()
    small = [paths[i:i + 16] for i in range(0, len(paths), 16)]
    rows = []
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        pending, parts = pool.map(_Prepare(processor), small), []
        for part in pending:
            parts.append(part)
            if sum(map(len, parts)) >= batch:
                rows.append(image_rows(model, torch.cat(parts).to(device, dtype)))
                parts = []
        if parts:
            rows.append(image_rows(model, torch.cat(parts).to(device, dtype)))
    torch.cat(rows).cpu()
    return len(paths) / (time.perf_counter() - start)


class _Prepare:
    """Can be sent to another process."""
    def __init__(self, processor):
        self.processor = processor

    def __call__(self, chunk):
        torch.set_num_threads(1)
        return self.processor(images=[Image.open(p).convert("RGB") for p in chunk],
                              return_tensors="pt")["pixel_values"]


def info_nce(x, y):
    logits = 100.0 * x @ y.T
    labels = torch.arange(len(x), device=x.device)
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def safe_clip(folder, rows, device, dtype, batch, steps):
    """Seconds of each step but the first. Kinder than the published trainer: everything is decoded
    and tokenized before, references are computed once, captions end at the longest of the batch."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, CLIPImageProcessor
    model = get_peft_model(load(folder, device, dtype),
                           LoraConfig(r=16, lora_alpha=1, lora_dropout=0.1, target_modules=TARGETS))
    model.train()
    clip = model.base_model.model
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-3, fused=True)
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), CLIPImageProcessor.from_pretrained(folder)
    weights = torch.tensor(WEIGHTS, device=device) / sum(WEIGHTS)

    def decoded(key):
        pixels = processor(images=[Image.open(r[key]).convert("RGB") for r in rows],
                           return_tensors="pt")["pixel_values"]
        return pixels.pin_memory() if device.startswith("cuda") else pixels

    pixels = {key: decoded(key) for key in ("safe_image", "unsafe_image")}
    ids = {key: tokenizer([r[key] for r in rows], padding="longest", max_length=77, truncation=True,
                          return_tensors="pt") for key in ("safe_text", "unsafe_text")}

    def part(tokens, at):
        return {name: value[at].to(device, non_blocking=True) for name, value in tokens.items()}

    def send(values, at):
        chosen = values[at]
        if device.startswith("cuda"):
            chosen = chosen.pin_memory()
        return chosen.to(device, non_blocking=True).to(dtype)

    with torch.no_grad(), model.disable_adapter():
        s_all = torch.cat([text_rows(clip, part(ids["safe_text"], slice(i, i + batch)))
                           for i in range(0, len(rows), batch)])
        v_all = torch.cat([image_rows(clip, send(pixels["safe_image"], slice(i, i + batch)))
                           for i in range(0, len(rows), batch)])
    times = []
    for step in range(steps):
        wait(device)
        start = time.perf_counter()
        at = torch.arange(step * batch, (step + 1) * batch) % len(rows)
        s, u = text_rows(clip, part(ids["safe_text"], at)), text_rows(clip, part(ids["unsafe_text"], at))
        v = image_rows(clip, send(pixels["safe_image"], at))
        g = image_rows(clip, send(pixels["unsafe_image"], at))
        s0, v0 = s_all[at.to(device)], v_all[at.to(device)]
        terms = torch.stack([1 - cosine_similarity(s, s0).mean(), 1 - cosine_similarity(u, s0).mean(),
                             1 - cosine_similarity(v, v0).mean(), 1 - cosine_similarity(g, v0).mean(),
                             info_nce(s, v0), info_nce(u, v0), info_nce(v, s0), info_nce(g, s0)])
        loss = (terms * weights).sum() / 8
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        wait(device)
        times.append(time.perf_counter() - start)
    return times[1:]


def peak_tflops(device, dtype, size):
    """Of a square matrix product."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    for _ in range(2):
        a @ a
    wait(device)
    start = time.perf_counter()
    for _ in range(5):
        a @ a
    wait(device)
    return 5 * 2 * size ** 3 / (time.perf_counter() - start) / 1e12
