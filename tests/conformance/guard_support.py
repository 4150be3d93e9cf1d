"""Labelled pictures and texts for guard heads, runs of `parapet train guard` on them, and what the heads
compute again in PyTorch."""
import json
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from clip_probe import PARAPET
from device import FLAGS
from harden_support import write_model

torch.set_num_threads(1)
SIZE = 32
SIDES = ["image", "text", "joint"]


def draw(harmful, random):
    """Noise in blocks; a harmful picture has a red quarter."""
    pixels = random.integers(60, 200, (8, 8, 3), dtype=np.uint8)
    if harmful:
        pixels[:4, :4] = [250, 10, 10]
    return Image.fromarray(pixels.repeat(SIZE // 8, 0).repeat(SIZE // 8, 1))


def write_labels(folder, counts):
    """Explicit, one-sided and safe samples; a few have one side only."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(3)
    lines = []
    for split, count in counts.items():
        for i in range(count):
            image_bad, text_bad = bool(random.random() < 0.4), bool(random.random() < 0.4)
            name = f"{split}_{i}.png"
            draw(image_bad, random).save(folder / name)
            words = random.choice(["kettle", "violin", "teapot", "lantern", "marble"], 2)
            text = f"a {words[0]} {'on fire' if text_bad else 'at home'} by a {words[1]} no {i}"
            harmful = image_bad or text_bad
            side = "both" if image_bad and text_bad else "image" if image_bad else "text"
            row = {"id": f"{split}-{i}", "image": name, "text": text, "split": split,
                   "labels": {"fire": "explicit" if harmful else "none"},
                   "attributes": {"kind": "explicit" if side == "both" and harmful else
                                  "one_sided" if harmful else "safe",
                                  "language": "de" if i % 3 == 0 else "en"}}
            if harmful:
                row["attributes"]["unsafe_side"] = side
            if i % 17 == 0:
                del row["image"]
                row["labels"]["fire"] = "explicit" if text_bad else "none"
            lines.append(json.dumps(row))
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def run(*args, code=0):
    done = subprocess.run([PARAPET, *map(str, args)], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done


QUICK = {"--threads": 1, "--embedding-cache": "", "--hidden": 16, "--batch-size": 32,
         "--epochs": 20, "--lr": 5e-3, "--checkpoint-every": 0}


def train(model, data, out, *flags, **kwargs):
    """Later flags win over the quick ones."""
    quick = [word for name, value in QUICK.items() if name not in flags for word in (name, value)]
    return run("train", "guard", "--model", model, "--data", data, "--out", out, *quick, *FLAGS, *flags,
               **kwargs)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guard")
    data = write_labels(folder / "data", {"train": 240, "val": 160, "test": 150})
    return write_model(folder / "model"), data


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("guard_run") / "run"
    train(*world, out)
    return out


def samples(data, split):
    rows = [json.loads(line) for line in (data / "labels.jsonl").read_text().splitlines()]
    return [row for row in rows if row["split"] == split]


def embed(model, data, rows, tmp, *flags):
    images = [row for row in rows if "image" in row]
    (tmp / "images.txt").write_text("".join(f"{data / row['image']}\n" for row in images))
    (tmp / "texts.txt").write_text("".join(row["text"] + "\n" for row in rows))
    run("embed", "--model", model, "--images", tmp / "images.txt", "--texts", tmp / "texts.txt",
        "--out", tmp / "e.safetensors", *flags)
    stored = load_file(tmp / "e.safetensors")
    image = torch.zeros(len(rows), stored["text_embeds"].shape[1])
    image[[i for i, row in enumerate(rows) if "image" in row]] = stored["image_embeds"]
    return image, stored["text_embeds"]


def reference_scores(folder, image, text):
    """The heads again, in PyTorch: calibrated harm and contradiction."""
    info = json.loads((folder / "guard_heads.json").read_text())
    w = load_file(folder / "guard_heads.safetensors")
    root, d = image.shape[1] ** 0.5, image.shape[1]
    features = {"image": image * root, "text": text * root,
                "joint": torch.cat([image * root, text * root, image * text * d,
                                    (image - text).abs() * root], 1)}

    def calibrated(name, logits):
        assert info["calibration"][name]["kind"] == "scaled"
        fit = info["calibration"][name]
        return torch.sigmoid(logits.double() * fit["scale"] + fit["shift"]).numpy()

    def network(name, x):
        hidden = torch.nn.functional.gelu(x @ w[f"{name}.fc1.weight"].T + w[f"{name}.fc1.bias"])
        return hidden @ w[f"{name}.fc2.weight"].T + w[f"{name}.fc2.bias"]

    count = len(info["categories"])
    logits = {side: network(side, features[side]) for side in SIDES}
    sides = torch.stack([logits["image"][:, count], logits["text"][:, count]], 1)
    explicit = logits["joint"][:, count] + torch.logsumexp(sides * w["joint.side_gain"], 1)
    implicit = network("implicit", features["joint"])[:, count]
    contradiction = logits["joint"][:, count + 1] + w["contradiction.cosine_gain"] * (
        image * text).sum(1)
    return info, {"image": calibrated("image.harm", sides[:, 0]),
                  "text": calibrated("text.harm", sides[:, 1]),
                  "joint": calibrated("joint.harm", torch.logaddexp(explicit, implicit)),
                  "contradiction": calibrated("contradiction", contradiction)}


def truth(rows):
    label = {side: np.full(len(rows), -1) for side in SIDES}
    for i, row in enumerate(rows):
        side = row["attributes"].get("unsafe_side", "")
        harmful = row["labels"]["fire"] == "explicit"
        if "image" not in row:
            label["text"][i] = harmful
            continue
        label["image"][i] = harmful and side in ("image", "both")
        label["text"][i] = harmful and side in ("text", "both")
        label["joint"][i] = harmful
    return label
