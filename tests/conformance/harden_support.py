"""A tiny CLIP folder with a real tokenizer, a data set directory of noise pictures, and the commands
that train on and measure them."""
import json
import os
import pathlib
import socket
import subprocess
import time

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from device import FLAGS
from clip_probe import PARAPET, ROOT, CLIPModel, make, sizes, tower
from clip_vocabulary import write_clip_files

torch.set_num_threads(1)
VOCABULARY = ROOT / ".cache/assets/bpe_simple_vocab_16e6.txt.gz"
MEAN, STD = [0.48, 0.46, 0.41], [0.27, 0.26, 0.28]
SIZE = 32
# Width 32, two layers, 32 px: a step of eight quadruplets takes milliseconds.
TINY = sizes(tower(32, 2, 2, vocab_size=49408, max_position_embeddings=77, bos_token_id=49406,
                   eos_token_id=49407),
             tower(32, 2, 2, image_size=SIZE, patch_size=16), 16)
OBJECTS = ["apple", "lantern", "violin", "kettle", "umbrella", "bicycle", "teapot", "marble"]


def write_model(folder, config=None, size=SIZE):
    model = make(CLIPModel, config or TINY)
    model.save_pretrained(folder)
    write_clip_files(VOCABULARY, folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "do_resize": True, "size": {"shortest_edge": size}, "do_center_crop": True,
        "crop_size": {"height": size, "width": size}, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": MEAN, "image_std": STD, "do_convert_rgb": True,
        "resample": 3, "image_processor_type": "CLIPImageProcessor"}))
    return folder


def write_data(folder, train=8, val=4, size=SIZE, attributes=lambda i: {}):
    """Quadruplets whose pictures are noise in blocks, of exactly the model's size."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(7)
    rows = []
    for i in range(train + val):
        thing = OBJECTS[i % len(OBJECTS)] + (" old" if i >= len(OBJECTS) else "")
        for kind in ("safe", "unsafe"):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            pixels = pixels.repeat(size // 8, 0).repeat(size // 8, 1)
            Image.fromarray(pixels).save(folder / f"{kind}_{i}.png")
        rows.append({"id": f"q{i}", "safe_text": f"a photo of the {thing} on a table",
                     "unsafe_text": f"a photo of the {thing} on fire" + " today" * (i % 3),
                     "safe_image": f"safe_{i}.png", "unsafe_image": f"unsafe_{i}.png",
                     "category": "fire", "split": "train" if i < train else "val",
                     "attributes": attributes(i)})
    write_rows(folder, rows)
    return folder


def read_rows(folder):
    return [json.loads(line) for line in (folder / "quadruplets.jsonl").read_text().splitlines()]


def write_rows(folder, rows):
    (folder / "quadruplets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


QUICK = ["--threads", "1", "--dtype", "fp32", "--batch-size", "8", "--max-steps", "4", "--log-every",
         "1", "--optimizer", "adam", "--lr", "1e-3", "--schedule", "constant", "--clip-norm", "0",
         "--lora-r", "4", "--lora-dropout", "0", "--patience", "0", "--validate-every", "0",
         "--checkpoint-every", "0"]


def harden_command(model, data, out, *flags):
    """Later flags win over the quick ones; a flag given as (name,) is left out."""
    flags = [str(flag) for flag in flags]
    quick = [part for name, value in zip(QUICK[::2], QUICK[1::2]) if name not in flags
             for part in (name, value)]
    cache = [] if "--reference-cache" in flags else ["--reference-cache",
                                                     str(pathlib.Path(out).parent / "cache")]
    return [str(x) for x in (PARAPET, "harden", "safe-clip", "--model", model, "--data", data,
                             "--out", out)] + quick + cache + FLAGS + flags


def environment(**more):
    kept = {k: v for k, v in os.environ.items()
            if k not in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK")}
    return kept | {"OMP_NUM_THREADS": "1"} | {k: str(v) for k, v in more.items()}


def run_json(command, code=0, env=None):
    """Runs a command; the result as JSON when it is to succeed, else what it printed to stderr."""
    done = subprocess.run([str(word) for word in command] + ["--json"], capture_output=True,
                          text=True, env=env or environment(), cwd=ROOT, timeout=600)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return (json.loads(done.stdout.splitlines()[-1]) | {"stderr": done.stderr} if code == 0
            else done.stderr)


def harden(model, data, out, *flags, code=0, env=None):
    return run_json(harden_command(model, data, out, *flags), code, env)


def metrics(run):
    """The lines of training steps, without validation."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "terms" in line]


def validation(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["validation"] for line in lines if "validation" in line]


def weights(run):
    return load_file(run / "model/model.safetensors")


def changed(a, b):
    assert set(a) == set(b)
    return {name for name in a if not torch.equal(a[name], b[name])}


def run_ranks(command, count=2):
    """Starts the command once per rank; all must succeed. The rank that ended first says why, so a
    failure shows what each of them wrote."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ranks = [subprocess.Popen(
        [str(word) for word in command], cwd=ROOT, text=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, env=environment(RANK=rank, WORLD_SIZE=count, MASTER_ADDR="127.0.0.1",
                                                MASTER_PORT=port)) for rank in range(count)]
    try:
        errors = [process.communicate(timeout=300)[1] for process in ranks]
        assert [process.returncode for process in ranks] == [0] * count, "\n".join(
            f"rank {rank} wrote:\n{text}" for rank, text in enumerate(errors))
    finally:
        for process in ranks:
            process.kill()


def interrupted(command, run, how, after):
    """Starts the command and sends it a signal once `after` steps are in its metrics."""
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stderr=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if (run / "metrics.jsonl").exists() and len(metrics_so_far(run)) >= after:
                break
            time.sleep(0.002)
        assert process.poll() is None, "ended before it could be interrupted"
        process.send_signal(how)
        _, errors = process.communicate(timeout=120)
        return process.returncode, errors
    finally:
        process.kill()


def metrics_so_far(run):
    return [line for line in (run / "metrics.jsonl").read_text().split("\n")[:-1] if "terms" in line]


# ---- contrastive training ------------------------------------------------------

def write_captions(folder, train=12, val=4, size=SIZE):
    """captions.jsonl with block noise pictures and a caption each."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(11)
    rows = []
    for i in range(train + val):
        pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        pixels = pixels.repeat(size // 8, 0).repeat(size // 8, 1)
        Image.fromarray(pixels).save(folder / f"c{i}.png")
        rows.append({"id": f"c{i}", "text": f"a picture of the {OBJECTS[i % 8]} number {i}",
                     "image": f"c{i}.png", "split": "train" if i < train else "val"})
    write_caption_rows(folder, rows)
    return folder


def write_caption_rows(folder, rows):
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


TRAIN_QUICK = ["--threads", "1", "--dtype", "fp32", "--batch-size", "4", "--max-steps", "6",
               "--log-every", "1", "--lr", "1e-3", "--warmup-steps", "0", "--schedule", "constant",
               "--validate-every", "0", "--checkpoint-every", "0", "--validation-samples", "4",
               "--auxiliary", "0"]


def train_command(data, out, *flags):
    """Later flags win over the quick ones."""
    flags = [str(flag) for flag in flags]
    quick = [part for name, value in zip(TRAIN_QUICK[::2], TRAIN_QUICK[1::2]) if name not in flags
             for part in (name, value)]
    cache = ["--reference-cache", str(pathlib.Path(out).parent / "cache")]
    return [str(x) for x in (PARAPET, "train", "clip", "--data", data, "--out", out)] + quick + \
        cache + FLAGS + flags


def train(data, out, *flags, code=0, env=None):
    return run_json(train_command(data, out, *flags), code, env)
