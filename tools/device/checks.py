"""The checks behind device_checks.sh: what Parapet computes and trains on a device against
transformers and against the CPU, then its speed beside transformers and peft."""
import argparse
import json
import math
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
BIN, WORLD, TINY = HERE / "bin", HERE / "world", HERE / "clip"
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


class Missed(Exception):
    """A goal of speed that was not reached."""


class Checks:
    def __init__(self, options):
        self.device, self.tiny, self.limit = options.device, options.tiny, options.seconds
        self.started = time.monotonic()
        self.results, self.figures = [], {}
        self.work = pathlib.Path(options.out or HERE / "work")
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True)
        self.env = dict(os.environ, LD_LIBRARY_PATH=os.environ["PARAPET_LIBRARIES"])
        if not (TINY / "config.json").exists():
            self.parapet("world", "clip", "--weights", HERE / "clip.safetensors", "--vocabulary",
                         HERE / "bpe_simple_vocab_16e6.txt.gz", "--out", TINY, device="cpu")

    def left(self):
        return self.limit - (time.monotonic() - self.started)

    def check(self, name, function, needs=0):
        """Runs one; it says what it saw, or raises."""
        began = time.monotonic()
        if self.left() < needs:
            self.note(name, "not reached", f"{self.left():.0f} s were left", 0)
            return
        try:
            said, verdict = function() or "", "ok"
        except Missed as missed:
            said, verdict = str(missed), "missed"
        except Exception as error:  # every other check still runs
            said, verdict = f"{type(error).__name__}: {error}", "FAILED"
        self.note(name, verdict, said, time.monotonic() - began)

    def note(self, name, verdict, said, seconds):
        self.results.append({"check": name, "verdict": verdict, "said": said,
                             "seconds": round(seconds, 1)})
        print(f"{verdict:<12}{name}  ({seconds:.1f} s)  {said}", flush=True)

    # ---- our programs

    def parapet(self, *arguments, device=None, dtype=None, code=0, seconds=90):
        command = [BIN / "parapet", *arguments, "--device", device or self.device, "--json", "--quiet"]
        if dtype:
            command += ["--dtype", dtype]
        done = subprocess.run([str(c) for c in command], text=True, capture_output=True, env=self.env,
                              timeout=max(5, min(seconds, self.left() + 20)))
        if done.returncode != code:
            raise RuntimeError(f"status {done.returncode}: {done.stderr.strip()[-600:]}")
        return json.loads(done.stdout.splitlines()[-1]) if code == 0 else done.stderr

    def lists(self):
        images, texts = self.work / "images.txt", self.work / "texts.txt"
        if not images.exists():
            rows = [json.loads(r) for r in (WORLD / "quadruplets.jsonl").read_text().splitlines()][:40]
            paths = [str(WORLD / r[k]) for r in rows for k in ("safe_image", "unsafe_image")]
            images.write_text("\n".join(paths) + "\n")
            texts.write_text("\n".join(r["unsafe_text"] for r in rows) + "\n")
        return images, texts

    def harden(self, out, *more, steps=6, device=None, dtype="fp32", model=TINY, data=WORLD,
               report=False):
        result = self.parapet(
            "harden", "safe-clip", "--model", model, "--data", data, "--out", self.work / out,
            "--batch-size", 8, "--log-every", 1, "--max-steps", steps, "--patience", 0,
            "--validate-every", 0, "--lora-dropout", 0, "--reference-cache", self.work / "cache",
            "--report" if report else "--no-report", *more, device=device, dtype=dtype)
        return result, self.losses(out)

    def losses(self, out):
        lines = (self.work / out / "metrics.jsonl").read_text().splitlines()
        return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def near(a, b, limit, what):
    worst = max(abs(x - y) / max(1e-9, abs(y)) for x, y in zip(a, b, strict=True))
    if not worst <= limit:
        raise AssertionError(f"{what}: {worst:.2e} apart, at most {limit:g} is right")
    return f"{what} {worst:.1e} apart"


# ---- what is computed ---------------------------------------------------------

def add_embed(c):
    import peers
    import torch
    from safetensors.torch import load_file

    def embed(dtype, least):
        images, texts = c.lists()
        out = c.work / f"{dtype}.safetensors"
        c.parapet("embed", "--model", TINY, "--images", images, "--texts", texts, "--out", out,
                  "--precision", dtype, "--exact-decode")
        ours = load_file(out)
        expected = peers.embeddings(TINY, images.read_text().split(), texts.read_text().splitlines(),
                                    c.device, getattr(torch, DTYPES[dtype]))
        said = []
        for name, rows in zip(("image_embeds", "text_embeds"), expected):
            cosine = (ours[name] * rows).sum(-1).min().item()
            if not cosine >= least:
                raise AssertionError(f"{name}: least cosine {cosine:.6f}, at least {least} is right")
            said.append(f"{name} {cosine:.7f}")
        return "least cosine to transformers: " + ", ".join(said)

    c.check("embed fp32", lambda: embed("fp32", 0.99999))
    c.check("embed bf16", lambda: embed("bf16", 0.998))

    def missing():
        said = c.parapet("embed", "--model", TINY, "--texts", c.lists()[1], "--out", c.work / "x",
                         device="cuda:99", code=2)
        return said.strip().splitlines()[-1]
    c.check("a device that is not there is refused", missing)


def add_training(c):
    from safetensors.torch import load_file

    def weights(out):
        return load_file(c.work / out / "model/model.safetensors")

    def apart(a, b):
        return max((x - y).abs().max().item() for x, y in zip(a.values(), b.values(), strict=True))

    def as_cpu():
        _, there = c.harden("harden_fp32", report=True)
        _, here = c.harden("harden_cpu", device="cpu")
        return near(there, here, 2e-3, "losses of 6 steps on device and CPU")
    c.check("harden fp32, with report", as_cpu)

    def bf16():
        _, narrow = c.harden("harden_bf16", dtype="bf16")
        return near(narrow, c.losses("harden_cpu"), 0.1, "losses in bf16 and fp32")
    c.check("harden bf16", bf16)

    def resume(name, first, then):
        c.harden(name, "--checkpoint-every", 3, steps=3, device=first)
        _, losses = c.harden(name, "--checkpoint-every", 3, "--resume", steps=6, device=then)
        return near(losses, c.losses("harden_fp32"), 2e-3, "losses with and without a break")
    c.check("resume on the device", lambda: resume("resumed", c.device, c.device))
    c.check("resume on the device what the CPU began", lambda: resume("from_cpu", "cpu", c.device))
    c.check("resume on the CPU what the device began", lambda: resume("to_cpu", c.device, "cpu"))

    def objectives():
        for name in ("safe_clip", "safer_clip", "shield_clip"):
            _, losses = c.harden("objective_" + name, "--objective", name, steps=2)
            if not all(map(math.isfinite, losses)):
                raise AssertionError(f"{name}: {losses}")
    c.check("harden, the other objectives", objectives)

    def whole():
        _, losses = c.harden("whole", "--mode", "full", "--lr", "1e-5", steps=4, dtype="bf16")
        changed = apart(weights("whole"), load_file(TINY / "model.safetensors"))
        if not changed > 0:
            raise AssertionError("no weight has changed")
        return f"largest change of a weight {changed:.1e}"
    c.check("harden whole weights bf16", whole)

    def clip(dtype):
        out = c.work / f"clip_{dtype}"
        c.parapet("train", "clip", "--model", TINY, "--data", WORLD, "--out", out, "--batch-size", 16,
                  "--max-steps", 6, "--log-every", 1, "--lr", "1e-5", "--no-report", dtype=dtype)
        losses = c.losses(out.name)
        if not all(map(math.isfinite, losses)):
            raise AssertionError(str(losses))
        return "losses " + ", ".join(f"{x:.3f}" for x in losses)
    for dtype in DTYPES:
        c.check(f"train clip {dtype}", lambda: clip(dtype))

    def guard(name, *more, dtype="fp32"):
        out = c.work / name
        c.parapet("train", "guard", "--model", TINY, "--data", WORLD, "--out", out, "--max-steps", 12,
                  "--batch-size", 32, "--embedding-cache", c.work / "guard_cache", *more, dtype=dtype)
        result = c.parapet("eval", "guard", "--model", out, "--data", WORLD, "--out", out / "eval",
                           "--resamples", 100)
        return "joint AUROC {:.3f}".format(result["metrics"]["joint.auroc"]["value"])
    c.check("train guard, eval guard", lambda: guard("guard"))
    c.check("train guard finetune bf16", lambda: guard("finetune", "--mode", "finetune", dtype="bf16"))

    def retrieval():
        result = c.parapet("eval", "retrieval", "--model", c.work / "harden_fp32/model", "--baseline",
                           TINY, "--data", WORLD, "--out", c.work / "retrieval", "--resamples", 100)
        return f"{len(result['metrics'])} metrics"
    c.check("eval retrieval", retrieval)


def add_groups(c):
    def group(ranks, device):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = [subprocess.Popen(
            [BIN / "parapet_device_group", device], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(c.env, RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank),
                     MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))) for rank in range(ranks)]
        for process in processes:
            out, err = process.communicate(timeout=60)
            if process.returncode != 0 or "ok" not in out:
                raise RuntimeError(err.strip()[-400:])
    name = "NCCL" if c.device.startswith("cuda") else "Gloo"
    c.check(f"{name}, one process", lambda: group(1, c.device))
    cards = 1
    if c.device.startswith("cuda"):
        import torch
        cards = torch.cuda.device_count()
    if cards > 1 or c.device == "cpu":
        c.check(f"{name}, two processes", lambda: group(2, c.device))
    else:
        c.note(f"{name}, two processes", "not reached", "one card only", 0)


# ---- speed --------------------------------------------------------------------

class Speed:
    def __init__(self, c):
        import clip_models
        import torch
        self.c, self.torch = c, torch
        clip_models.VOCABULARY = str(HERE / "bpe_simple_vocab_16e6.txt.gz")
        if c.tiny:
            for shape in clip_models.SIZES.values():
                shape["text"]["num_hidden_layers"] = shape["vision"]["num_hidden_layers"] = 1
        self.models = clip_models

    def folder(self, size):
        return self.models.make_model(size, self.c.work / size.replace("/", ""))

    def beside(self, name, ours, theirs, unit, goal):
        ratio = ours / theirs
        self.c.figures[name] = {"ours": ours, "transformers": theirs, "ratio": ratio, "unit": unit,
                                "goal": goal}
        said = f"{ours:,.1f} beside {theirs:,.1f} {unit}: {ratio:.2f}, goal {goal}"
        if ratio < goal:
            raise Missed(said)
        return said

    def forward(self, size, batch, calls):
        import peers
        folder = self.folder(size)
        bench = subprocess.Popen([BIN / "encoder_bench", folder, "torch", "bf16", "0", "0", self.c.device],
                                 text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 env=self.c.env)
        bench.stdout.readline()
        bench.stdin.write(f"images {batch} {calls}\n")
        bench.stdin.flush()
        ours = json.loads(bench.stdout.readline())["per_second"]
        bench.stdin.close()
        bench.wait(30)
        model = peers.load(folder, self.c.device, self.torch.bfloat16)
        theirs = peers.forward_with_copy(model, 224, self.c.device, self.torch.bfloat16, batch, calls)
        return self.beside(f"forward with copy, {size} bf16, batch {batch}", ours, theirs, "images/s", 1.3)

    def embed(self, size, count):
        import peers
        from transformers import CLIPImageProcessor
        folder = self.folder(size)
        paths = self.models.write_images(self.c.work / "jpeg", count)
        listing = self.c.work / "jpeg.txt"
        listing.write_text("\n".join(map(str, paths)) + "\n")
        result = self.c.parapet("embed", "--model", folder, "--images", listing, "--out",
                                self.c.work / "speed.safetensors", "--precision", "bf16")
        model = peers.load(folder, self.c.device, self.torch.bfloat16)
        theirs = peers.embed_loop(model, CLIPImageProcessor.from_pretrained(folder), paths,
                                  self.c.device, self.torch.bfloat16, 256)
        return self.beside(f"embed from JPEG, {size} bf16", result["images"]["per_second"], theirs,
                           "images/s", 2.0)

    def quadruplets(self, count):
        folder = self.c.work / f"quadruplets{count}"
        paths = self.models.write_images(self.c.work / "jpeg", 2 * count)
        safe, unsafe = self.models.captions(count, 1), self.models.captions(count, 2)
        rows = [{"id": str(i), "safe_text": safe[i], "unsafe_text": unsafe[i],
                 "safe_image": str(paths[2 * i]), "unsafe_image": str(paths[2 * i + 1]),
                 "category": "a", "split": "train", "attributes": {}} for i in range(count)]
        folder.mkdir(exist_ok=True)
        (folder / "quadruplets.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
        return folder, rows

    def safe_clip(self, size, batch, steps):
        import peers
        folder = self.folder(size)
        data, rows = self.quadruplets(2 * batch)
        out = "speed_" + size.replace("/", "")
        self.c.parapet("harden", "safe-clip", "--model", folder, "--data", data, "--out",
                       self.c.work / out, "--objective", "safe_clip", "--batch-size", batch,
                       "--max-steps", steps, "--log-every", 1, "--checkpoint-every", 0, "--patience", 0,
                       "--validate-every", 0, "--no-report", "--reference-cache",
                       self.c.work / "cache", dtype="bf16")
        lines = [json.loads(x) for x in (self.c.work / out / "metrics.jsonl").read_text().splitlines()]
        seconds = [x["seconds"] for x in lines if "loss" in x]
        # The first epoch decodes; afterwards pixels come from memory, as the peer's do.
        times = [b - a for a, b in zip(seconds, seconds[1:])][2:]
        theirs = peers.safe_clip(folder, rows, self.c.device, self.torch.bfloat16, batch, steps)
        return self.beside(f"Safe-CLIP training, {size} bf16, batch {batch}",
                           batch / statistics.median(times), batch / statistics.median(theirs),
                           "quadruplets/s", 1.3)

    def share_of_peak(self, batch, steps):
        """Contrastive training of all weights of L/14: three passes of two operations a weight."""
        import peers
        size = "L/14"
        folder = self.folder(size)
        _, rows = self.quadruplets(batch)
        captions = self.c.work / "captions"
        captions.mkdir(exist_ok=True)
        (captions / "captions.jsonl").write_text("".join(json.dumps(
            {"id": r["id"], "text": r["safe_text"], "image": r["safe_image"], "split": "train",
             "attributes": {}}) + "\n" for r in rows))
        out = f"speed_full_{batch}"
        self.c.parapet("train", "clip", "--model", folder, "--data", captions, "--out",
                       self.c.work / out, "--batch-size", batch, "--max-steps", steps, "--log-every", 1,
                       "--checkpoint-every", 0, "--lr", "1e-6", "--no-report", dtype="bf16")
        lines = [json.loads(x) for x in (self.c.work / out / "metrics.jsonl").read_text().splitlines()]
        seconds = [x["seconds"] for x in lines if "loss" in x]
        step = statistics.median([b - a for a, b in zip(seconds, seconds[1:])][1:])
        shape = self.models.SIZES[size]
        vision, text = shape["vision"], shape["text"]
        patches, tokens = (224 // vision["patch_size"]) ** 2 + 1, 16

        def forward(width, inner, layers, rows):
            return rows * layers * (2 * (4 * width ** 2 + 2 * width * inner) + 4 * rows * width)
        flops = 3 * batch * (
            forward(vision["hidden_size"], vision["intermediate_size"], vision["num_hidden_layers"], patches)
            + forward(text["hidden_size"], text["intermediate_size"], text.get("num_hidden_layers", 12), tokens))
        peak = peers.peak_tflops(self.c.device, self.torch.bfloat16, 512 if self.c.tiny else 8192)
        share = flops / step / 1e12 / peak
        self.c.figures[f"L/14 training, batch {batch}"] = {
            "seconds": step, "tflops": flops / step / 1e12, "peak_tflops": peak, "share": share, "goal": 0.4}
        said = f"{flops / step / 1e12:.3g} of {peak:.3g} TFLOP/s: {share:.1%}, goal 40 %"
        if share < 0.4:
            raise Missed(said)
        return said


def add_speed(c):
    speed = Speed(c)
    batch, few = (4, 6) if c.tiny else (256, 12)
    c.check("forward with copy B/32", lambda: speed.forward("B/32", batch, few), needs=10)
    c.check("embed from JPEG B/32", lambda: speed.embed("B/32", 24 if c.tiny else 3000), needs=12)
    c.check("Safe-CLIP training B/32", lambda: speed.safe_clip("B/32", 4 if c.tiny else 128, 9), needs=15)
    c.check("Safe-CLIP training L/14", lambda: speed.safe_clip("L/14", 2 if c.tiny else 32, 8), needs=25)
    c.check("forward with copy L/14", lambda: speed.forward("L/14", batch, 4), needs=10)
    c.check("L/14 training of all weights", lambda: speed.share_of_peak(2 if c.tiny else 256, 5), needs=20)


# ---- around it ------------------------------------------------------------------

def machine(c):
    import torch
    built = dict(line.split("=", 1) for line in (HERE / "BUILT").read_text().split())
    here = ".".join(torch.__version__.split(".")[:2])
    if built["torch"] != here:
        sys.exit(f"device_checks: built against torch {built['torch']}, this Python has "
                 f"{torch.__version__}: build the bundle against torch {here}")
    if c.device.startswith("cuda") and built["cuda"] != "yes":
        sys.exit("device_checks: built against a CPU torch; build the bundle against a CUDA one")
    card = torch.cuda.get_device_name() if c.device.startswith("cuda") else "CPU"
    return {"card": card, "device": c.device, "torch": torch.__version__, "cores": os.cpu_count(),
            "commit": built["commit"], "tiny": c.tiny}


def write(c, info):
    (HERE / "results.json").write_text(json.dumps(
        {"machine": info, "checks": c.results, "figures": c.figures}, indent=1) + "\n")
    lines = [f"# Device checks: {info['card']}", "", ", ".join(f"{k} {v}" for k, v in info.items()), "",
             "| check | verdict | s | |", "| --- | --- | --- | --- |"]
    for row in c.results:
        said = re.sub(r"[|\n]", " ", row["said"])
        lines.append(f"| {row['check']} | {row['verdict']} | {row['seconds']} | {said} |")
    (HERE / "results.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--seconds", type=float, default=170)
    parser.add_argument("--python", help="used by device_checks.sh")
    parser.add_argument("--out", help="folder for what the checks write (default: work, beside this)")
    c = Checks(parser.parse_args())
    info = machine(c)
    for add in (add_embed, add_training, add_groups, add_speed):
        try:
            add(c)
        except ImportError as error:
            c.note(add.__name__[4:], "FAILED", f"a Python package is missing: {error}", 0)
    write(c, info)
    failed = sum(row["verdict"] == "FAILED" for row in c.results)
    print(f"{len(c.results)} checks, {failed} failed, "
          f"{sum(r['verdict'] in ('missed', 'not reached') for r in c.results)} missed or not reached, "
          f"{time.monotonic() - c.started:.0f} s; results.json, results.md", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
