"""`parapet serve` beside FastAPI servers that do the same: JSON with a VGA JPEG and a caption in,
zero-shot scores of both out, over HTTP on the same machine.

    .venv/bin/python bench/peers/serve_peer.py build/release/parapet build/release/bench/serve_bench \
        [seconds] [server,server,...]     servers: ours, openvino, transformers, transformers-fp32

openvino = FastAPI + Pillow + OpenVINO from Python on the towers NNCF quantised to int8, one process,
the compute in a thread pool with one infer request per thread; transformers = FastAPI + CLIPModel in
bf16 (which torch emulates, slowly, where the processor lacks it: transformers-fp32 is the fairer peer
there). Closed loop at 1 and 8 connections, open loop at 15 and 60 requests/s, in turn; every request's picture
and caption are new (serve_bench numbers them), so no cache helps. Also: texts only through our cache,
and resident memory.
"""

import base64
import io
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import clip_models
import numpy as np
from PIL import Image

CACHE = pathlib.Path(".cache/bench")
PROMPTS = ["a photo of a weapon", "a photo of a fire", "a photo of a bottle of alcohol",
           "a photo of a person smoking"]
NEUTRAL = ["a photo of a street", "a photo of a table", "a photo of a person"]
CATEGORIES = ["weapons", "violence", "drug_use", "illegal_activity"]  # one prompt each


def photographs(folder, count):
    """JPEGs of 640 x 480 with the detail of photographs: blurred noise over gradients."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(11)
    paths = []
    for i in range(count):
        path = folder / f"{i}.jpg"
        if not path.exists():
            coarse = Image.fromarray(random.integers(0, 256, (15, 20, 3), dtype=np.uint8))
            pixels = np.asarray(coarse.resize((640, 480), Image.BICUBIC), np.int16)
            pixels = pixels + random.normal(0, 9, (480, 640, 1)).astype(np.int16)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=88)
        paths.append(path)
    return paths


def caption(i):
    words = clip_models.WORDS
    return " ".join(words[(i * 7 + k * (k + i % 5)) % len(words)] for k in range(9)) + f" {i}"


UNIQUE = "UNIQUEUNIQUE"  # serve_bench puts a number there; as base64 it is nine bytes


def numbered(jpeg):
    """Base64 of a picture that ends in a place for the number: bytes after a JPEG's end are
    ignored."""
    return base64.b64encode(jpeg + bytes(-len(jpeg) % 3)).decode() + UNIQUE


def request_files(count):
    """One request per line for each server's API."""
    paths = photographs(CACHE / "vga", count)
    pairs, texts = CACHE / "serve-pairs.jsonl", CACHE / "serve-texts.jsonl"
    with open(pairs, "w") as out:
        for i, path in enumerate(paths):
            url = "data:image/jpeg;base64," + numbered(path.read_bytes())
            out.write(json.dumps({"input": [{"type": "text", "text": caption(i) + " " + UNIQUE},
                                            {"type": "image_url", "image_url": {"url": url}}]}) + "\n")
    with open(texts, "w") as out:
        for i in range(64):
            out.write(json.dumps({"input": caption(i)}) + "\n")
    return pairs, texts


# --- the peers' servers ---------------------------------------------------------------------------

def towers(folder, name):
    """Image and text towers as OpenVINO models, quantised by NNCF once."""
    files = CACHE / f"{name}-serve-image.xml", CACHE / f"{name}-serve-text.xml"
    if all(file.exists() for file in files):
        return files
    import nncf
    import openvino as ov
    import torch
    from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)

    class ImageTower(torch.nn.Module):
        def forward(self, pixels):
            return clip.visual_projection(clip.vision_model(pixels).pooler_output)

    class TextTower(torch.nn.Module):
        def forward(self, ids):
            return clip.text_projection(clip.text_model(ids).pooler_output)

    pictures = [Image.open(p) for p in photographs(CACHE / "vga", 32)]
    pixels = CLIPImageProcessor.from_pretrained(folder)(pictures, return_tensors="np")["pixel_values"]
    ids = AutoTokenizer.from_pretrained(folder)([caption(i) for i in range(32)], padding="max_length",
                                                max_length=77, return_tensors="np")["input_ids"]
    for file, tower, data, shape in ((files[0], ImageTower(), pixels, [-1, 3, 224, 224]),
                                     (files[1], TextTower(), ids, [-1, 77])):
        model = ov.convert_model(tower, example_input=torch.from_numpy(data[:2]), input=[shape])
        quantised = nncf.quantize(model, nncf.Dataset([row[None] for row in data]), subset_size=32,
                                  model_type=nncf.ModelType.TRANSFORMER,
                                  preset=nncf.QuantizationPreset.MIXED)
        ov.save_model(quantised, file, compress_to_fp16=False)
    return files


class OpenVinoScorer:
    def __init__(self, folder, name):
        import openvino as ov
        from transformers import AutoTokenizer

        core = ov.Core()
        options = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": os.cpu_count()}
        self.image, self.text = (core.compile_model(str(file), "CPU", options)
                                 for file in towers(folder, name))
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        # The fast preprocessing a careful user writes: Pillow's resize, numpy for the rest.
        self.mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
        self.std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
        self.prompts = self.texts(PROMPTS + NEUTRAL)

    def texts(self, texts):
        ids = self.tokenizer(texts, padding="max_length", truncation=True, max_length=77,
                             return_tensors="np")["input_ids"]
        rows = np.concatenate([self.text.create_infer_request().infer({0: row[None]})[0]
                               for row in ids])
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    def picture(self, data):
        picture = Image.open(io.BytesIO(data))
        picture.draft("RGB", (448, 448))
        picture = picture.convert("RGB")
        scale = 224 / min(picture.size)
        picture = picture.resize([round(side * scale) for side in picture.size], Image.BICUBIC)
        left, top = ((side - 224) // 2 for side in picture.size)
        pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
        pixels = ((pixels - self.mean) / self.std).transpose(2, 0, 1)[None]
        row = self.image.create_infer_request().infer({0: np.ascontiguousarray(pixels)})[0]
        return row / np.linalg.norm(row, axis=-1, keepdims=True)


class TransformersScorer:
    def __init__(self, folder, dtype):
        import torch
        from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

        self.torch = torch
        self.dtype = getattr(torch, dtype)
        self.model = CLIPModel.from_pretrained(folder, dtype=self.dtype).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.processor = CLIPImageProcessor.from_pretrained(folder)
        self.prompts = self.texts(PROMPTS + NEUTRAL)

    def rows(self, values):
        return self.torch.nn.functional.normalize(values.float(), dim=-1).numpy()

    def texts(self, texts):
        with self.torch.inference_mode():
            tokens = self.tokenizer(texts, padding=True, truncation=True, max_length=77,
                                    return_tensors="pt")
            return self.rows(self.model.text_projection(self.model.text_model(**tokens).pooler_output))

    def picture(self, data):
        with self.torch.inference_mode():
            pixels = self.processor(images=Image.open(io.BytesIO(data)).convert("RGB"),
                                    return_tensors="pt")["pixel_values"].to(self.dtype)
            return self.rows(self.model.visual_projection(
                self.model.vision_model(pixels).pooler_output))


def peer_server(kind, folder, name, port):
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    scorer = {"openvino": lambda: OpenVinoScorer(folder, name),
              "transformers": lambda: TransformersScorer(folder, "bfloat16"),
              "transformers-fp32": lambda: TransformersScorer(folder, "float32")}[kind]()

    class Moderation(BaseModel):
        input: list[dict]

    app = FastAPI()

    def scores(rows):
        logits = 100 * rows @ scorer.prompts.T
        logits = np.exp(logits - logits.max(-1, keepdims=True))
        return (logits / logits.sum(-1, keepdims=True))[0, :len(PROMPTS)].tolist()

    # A plain function: FastAPI runs it in its thread pool, and compute never blocks its loop.
    @app.post("/v1/moderations")
    def moderate(request: Moderation):
        result, rows = {}, []
        for part in request.input:
            if part["type"] == "text":
                rows.append(scorer.texts([part["text"]]))
                result["text"] = scores(rows[-1])
            else:
                data = base64.b64decode(part["image_url"]["url"].split(",", 1)[1])
                rows.append(scorer.picture(data))
                result["image"] = scores(rows[-1])
        result["agreement"] = float((rows[0] @ rows[-1].T)[0, 0])
        return {"id": "x", "model": kind, "results": [result]}

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


# --- the comparison -------------------------------------------------------------------------------

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ours_policy(folder, quantised):
    policy = CACHE / "serve-policy.toml"
    zeroshot = "".join(f'[[clip.zeroshot]]\ncategory = "{category}"\nprompts = ["{prompt}"]\n'
                       for category, prompt in zip(CATEGORIES, PROMPTS))
    rules = "".join(f"[category.{category}]\nflag = 0.9\nblock = 0.98\n" for category in CATEGORIES)
    policy.write_text(
        f'name = "bench"\nversion = "1"\ntaxonomy = "{pathlib.Path("policies/taxonomy.toml").resolve()}"\n'
        f'[clip]\nenabled = true\nmodel = "{(quantised or folder).resolve()}"\n'
        f'backend = "auto"\nprecision = "{"int8" if quantised else "auto"}"\n'
        f"neutral = {json.dumps(NEUTRAL)}\n{zeroshot}{rules}")
    return policy


def start(kind, parapet, folder, name, quantised):
    port = free_port()
    if kind == "ours":
        command = [parapet, "serve", "--policy", ours_policy(folder, quantised), "--listen",
                   f"127.0.0.1:{port}", "--quiet"]
        ready = "/readyz"
    else:
        command = [sys.executable, __file__, "--serve", kind, folder, name, port]
        ready = "/openapi.json"
    process = subprocess.Popen([str(part) for part in command])
    for _ in range(1200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=5)
            return process, port
        except OSError:
            if process.poll() is not None:
                sys.exit(f"{kind}: the server ended with {process.returncode}")
            time.sleep(0.1)
    sys.exit(f"{kind}: not ready in time")


def resident_mb(process):
    pages = int(pathlib.Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def main():
    parapet, program = sys.argv[1], sys.argv[2]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 4
    kinds = sys.argv[4].split(",") if len(sys.argv) > 4 else ["ours", "openvino", "transformers-fp32",
                                                                     "transformers"]
    CACHE.mkdir(parents=True, exist_ok=True)
    name = "B32"  # as openvino_peer.py, which quantises it
    folder = clip_models.make_model("B/32", CACHE / name)
    quantised = folder.with_name(folder.name + "-int8")
    quantised = quantised if (quantised / "quantization.safetensors").exists() else None
    pairs, texts = request_files(200)
    if "openvino" in kinds:
        towers(folder, name)
    servers = {kind: start(kind, parapet, folder, name, quantised) for kind in kinds}

    def load(kind, file, connections, rate, length=seconds):
        done = subprocess.run([program, str(servers[kind][1]), "/v1/moderations", str(file),
                               str(connections), str(rate), str(length)],
                              stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    rows, report = [], {"precision": "int8" if quantised else "auto"}
    for kind in kinds:
        load(kind, pairs, 2, 0, 1)
    for label, connections, rate in (("closed, 1 connection", 1, 0), ("closed, 8 connections", 8, 0),
                                     ("open, 15 requests/s", 32, 15),
                                     ("open, 60 requests/s", 32, 60)):
        rounds = {kind: [] for kind in kinds}
        for _ in range(3):
            for kind in kinds:
                rounds[kind].append(load(kind, pairs, connections, rate))
        for kind in kinds:
            middle = {key: statistics.median(r[key] for r in rounds[kind]) for key in rounds[kind][0]}
            report[f"{label}, {kind}"] = middle
            rows.append((label, kind, middle))
    for label, kind, r in rows:
        print(f"{label:24} {kind:13} {r['per_second']:7.1f}/s  p50 {r['p50_ms']:7.1f} ms  "
              f"p99 {r['p99_ms']:7.1f} ms  errors {r['errors']:.0f}")
    if "ours" in kinds:
        cached = load("ours", texts, 8, 0)
        report["texts only, cached"] = cached
        print(f"{'texts only, cached':24} {'ours':13} {cached['per_second']:7.1f}/s  "
              f"p50 {cached['p50_ms']:7.1f} ms")
        fast = report["closed, 8 connections, ours"]["per_second"]
        for kind in kinds[1:]:
            ratio = fast / report[f"closed, 8 connections, {kind}"]["per_second"]
            report[f"ratio to {kind}"] = ratio
            print(f"ours / {kind}: {ratio:.2f} requests/s at 8 connections")
    for kind, (process, _) in servers.items():
        report[f"resident_mb, {kind}"] = resident_mb(process)
        print(f"resident memory {kind}: {resident_mb(process):.0f} MB")
        process.terminate()
        process.wait(60)
    print(json.dumps(report))


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        peer_server(sys.argv[2], pathlib.Path(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
    else:
        main()
