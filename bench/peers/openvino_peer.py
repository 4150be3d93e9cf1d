"""Our int8 image tower beside OpenVINO run from Python on the same model, converted by OpenVINO and
quantised by NNCF (transformer preset): images/s at batch 1 and 32, agreement with fp32. Ours are two
backends: `native` (our kernels) and `openvino` (our graph); the ratio is that of the one which a guard
picks here.

    .venv/bin/python bench/peers/openvino_peer.py build/release/encoder_bench build/release/parapet \
        [B/32|L/14] [rounds] [batch,batch]

Both sides get their best configuration: one stream over all cores, or one per core. The sides take
turns; medians of the rounds are compared. On a busy machine images/s are noise: `processor` compares
processor time per image with one thread each, which is what one stream per core costs. Pixels are in memory, so decoding is not measured; our
side resizes nothing, folds the normalisation, and L2-normalises; the peer gets normalised floats.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import clip_models
import numpy as np
from PIL import Image

CACHE = pathlib.Path(".cache/bench")
SECONDS = 1.5  # per measurement


class Ours:
    """One encoder_bench process."""

    def __init__(self, program, folder, backend, streams, threads=0):
        self.process = subprocess.Popen([program, str(folder), backend, "int8", str(streams),
                                         str(threads)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        answer = self.process.stdout.readline()
        self.ready = bool(answer) and json.loads(answer)["ready"]
        self.calls = {}

    def rate(self, batch, what="images"):
        if (what, batch) not in self.calls:
            once = self.ask(what, batch, 3)
            self.calls[what, batch] = max(3, int(SECONDS * 1e3 / once["median_ms"]))
        return self.ask(what, batch, self.calls[what, batch])["per_second"]

    def processor_ms(self, batch):
        return self.ask("images", batch, 5)["processor_ms_per_item"]

    def ask(self, what, batch, calls):
        self.process.stdin.write(f"{what} {batch} {calls}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Peer:
    """OpenVINO's Python API on a saved model; the batch is shared out to the streams."""

    def __init__(self, path, batch, streams, threads=0):
        import openvino as ov

        core = ov.Core()
        model = core.read_model(path)
        self.part = max(1, batch // streams)
        self.parts = batch // self.part
        model.reshape([self.part, 3, 224, 224])
        self.compiled = core.compile_model(model, "CPU", {
            "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": threads or os.cpu_count()})
        self.requests = [self.compiled.create_infer_request() for _ in range(self.parts)]
        self.pixels = np.random.default_rng(0).standard_normal((self.part, 3, 224, 224), np.float32)
        self.batch = batch

    def call(self):
        for request in self.requests:
            request.start_async({0: self.pixels}, share_inputs=True)
        for request in self.requests:
            request.wait()

    def rate(self):
        self.call()
        times, end = [], time.time() + SECONDS
        while time.time() < end or len(times) < 3:
            start = time.perf_counter()
            self.call()
            times.append(time.perf_counter() - start)
        return self.batch / statistics.median(times)


    def processor_ms(self):
        times = []
        for _ in range(5):
            start = time.process_time()
            self.call()
            times.append(time.process_time() - start)
        return statistics.median(times) * 1e3 / self.batch


def pixels_of(folder, paths):
    from transformers import CLIPImageProcessor

    pictures = [Image.open(path).convert("RGB") for path in paths]
    return CLIPImageProcessor.from_pretrained(folder)(pictures, return_tensors="np")["pixel_values"]


def nncf_model(folder, name, calibration):
    """Converted and quantised once; returns (fp32 path, int8 path)."""
    fp32, int8 = CACHE / f"{name}-fp32.xml", CACHE / f"{name}-nncf.xml"
    if int8.exists():
        return fp32, int8
    import nncf
    import openvino as ov
    import torch
    from transformers import CLIPModel

    clip = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()

    class Tower(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.vision, self.project = clip.vision_model, clip.visual_projection

        def forward(self, pixels):
            return self.project(self.vision(pixels).pooler_output)

    model = ov.convert_model(Tower(), example_input=torch.randn(2, 3, 224, 224),
                             input=[("pixels", [-1, 3, 224, 224])])
    ov.save_model(model, fp32, compress_to_fp16=False)
    batches = [calibration[i:i + 1] for i in range(len(calibration))]
    quantised = nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches),
                              model_type=nncf.ModelType.TRANSFORMER,
                              preset=nncf.QuantizationPreset.MIXED)
    ov.save_model(quantised, int8, compress_to_fp16=False)
    return fp32, int8


def cosine(a, b):
    a, b = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    return float((a * b).sum(-1).mean())


def peer_agreement(fp32, int8, pixels):
    import openvino as ov

    rows = [ov.Core().compile_model(path, "CPU")(pixels)[0] for path in (fp32, int8)]
    return cosine(*rows)


def ours_quantised(parapet, folder, listing, texts):
    out = folder.with_name(folder.name + "-int8")
    if not (out / "quantization.safetensors").exists():
        subprocess.run([parapet, "quantize", "--model", folder, "--images", listing, "--texts", texts,
                        "--samples", "32", "--held-out", "32", "--out", out, "--quiet"], check=True)
    return out, json.loads((out / "report.json").read_text())["metrics"]


class Transformers:
    """The image tower of `transformers`, as a service would run it."""

    def __init__(self, folder, dtype):
        import torch
        from transformers import CLIPVisionModelWithProjection

        self.torch, self.dtype = torch, getattr(torch, dtype)
        self.model = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=self.dtype).eval()

    def rate(self, batch):
        pixels = self.torch.randn(batch, 3, 224, 224, dtype=self.dtype)
        times, end = [], time.time() + SECONDS
        with self.torch.inference_mode():
            self.model(pixels)
            while time.time() < end or not times:
                start = time.perf_counter()
                self.model(pixels)
                times.append(time.perf_counter() - start)
        return batch / statistics.median(times)


def beside_transformers(folder, ours, batches):
    """Our best rate over that of `transformers` in bfloat16 (emulated where the processor lacks it)
    and in float32, in turn."""
    peers = {dtype: Transformers(folder, dtype) for dtype in ("float32", "bfloat16")}
    result = {}
    for batch in batches:
        rates = {"ours": [], "float32": [], "bfloat16": []}
        for _ in range(2):
            rates["ours"].append(max(mine.rate(batch) for mine in ours.values()))
            for dtype, peer in peers.items():
                rates[dtype].append(peer.rate(batch))
        medians = {side: statistics.median(values) for side, values in rates.items()}
        result[f"batch {batch}"] = {
            **{f"transformers {d} images/s": round(medians[d], 2) for d in peers},
            **{f"ratio to {d}": round(medians["ours"] / medians[d], 2) for d in peers}}
    return result


def best(rates):
    return max(statistics.median(values) for values in rates.values())


def main():
    program, parapet = sys.argv[1:3]
    size = sys.argv[3] if len(sys.argv) > 3 else "B/32"
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 5
    batches = [int(b) for b in sys.argv[5].split(",")] if len(sys.argv) > 5 else [1, 32]
    name = size.replace("/", "")
    folder = clip_models.make_model(size, CACHE / name)
    paths = clip_models.write_images(CACHE / "images", 64)
    listing, texts = CACHE / "calibration.txt", CACHE / "calibration-texts.txt"
    listing.write_text("\n".join(str(p.resolve()) for p in paths) + "\n")
    texts.write_text("\n".join(clip_models.captions(96)) + "\n")
    pixels = pixels_of(folder, paths)
    few = 64 if size == "B/32" else 8
    fp32, int8 = nncf_model(folder, name, pixels[:few // 2])
    quantised, metrics = ours_quantised(parapet, folder, listing.resolve(), texts.resolve())
    streams = sorted({1, os.cpu_count()})
    ours = {f"openvino, {s} streams": Ours(program, quantised, "openvino", s) for s in streams}
    native = Ours(program, quantised, "native", 1)
    if native.ready:  # where the processor has AVX-512 VNNI
        ours["native"] = native
    result = {"benchmark": f"openvino {size} int8", "unit": "images/s", "threads": os.cpu_count(),
              "cosine_to_fp32": {"ours": metrics["image.cosine"]["value"],
                                 "nncf": peer_agreement(fp32, int8, pixels[few // 2:few])}}
    for batch in batches:
        peers = {s: Peer(int8, batch, s) for s in streams if batch == 1 or batch % s == 0}
        rates = {"ours": {}, "nncf": {}}
        for _ in range(rounds):
            for s, peer in peers.items():
                rates["nncf"].setdefault(f"{s} streams", []).append(peer.rate())
            for way, mine in ours.items():
                rates["ours"].setdefault(way, []).append(mine.rate(batch))
        result[f"batch {batch}"] = {
            side: {way: round(statistics.median(v), 2) for way, v in by.items()}
            for side, by in rates.items()}
        graphs = {way: v for way, v in rates["ours"].items() if way != "native"}
        result[f"batch {batch}"]["ratio"] = round(best(rates["ours"]) / best(rates["nncf"]), 3)
        result[f"batch {batch}"]["ratio of our graph"] = round(best(graphs) / best(rates["nncf"]), 3)
    result["beside transformers"] = beside_transformers(folder, ours, batches)
    for mine in ours.values():
        mine.close()
    alone = Ours(program, quantised, "native" if native.ready else "openvino", 1, 1)
    for batch in batches:
        peer, times = Peer(int8, batch, 1, 1), {"ours": [], "nncf": []}
        peer.call()
        for _ in range(rounds):
            times["nncf"].append(peer.processor_ms())
            times["ours"].append(alone.processor_ms(batch))
        cost = {side: statistics.median(values) for side, values in times.items()}
        result[f"processor, batch {batch}"] = {
            **{f"{side}_ms_per_image": round(value, 2) for side, value in cost.items()},
            "ratio": round(cost["nncf"] / cost["ours"], 3)}
    alone.close()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
