"""`parapet harden safe-clip` against PyTorch, `transformers` and `peft` reading the same files, and
its output back in both."""
import subprocess

import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from transformers import CLIPTokenizer

from clip_probe import PARAPET, PUBLIC, CLIPModel
from harden_support import (MEAN, STD, environment, harden, metrics, read_rows, write_data,
                            write_model)
from safe_clip_reference import (PUBLISHED_TARGETS, WIDE_TARGETS, harden as reference_harden)

pytestmark = pytest.mark.device


def labels(i):
    """Two of each kind of pair in eight, for shield_clip."""
    return {"text_unsafe": str(i % 4 < 2).lower(), "image_unsafe": str(i % 2 == 0).lower()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("safe_clip")
    return (write_model(folder / "model"),
            write_data(folder / "data", train=8, val=4, attributes=labels), folder)


def batch_of(model_folder, data_folder, split="train"):
    """Token ids by `transformers`, pixels by Pillow and arithmetic; safe items first."""
    rows = [row for row in read_rows(data_folder) if row["split"] == split]
    tokenizer = CLIPTokenizer.from_pretrained(model_folder)
    texts = [row["safe_text"] for row in rows] + [row["unsafe_text"] for row in rows]
    ids = tokenizer(texts, padding="max_length", max_length=77, truncation=True,
                    return_tensors="pt")["input_ids"]
    images = [row["safe_image"] for row in rows] + [row["unsafe_image"] for row in rows]
    pixels = np.stack([(np.asarray(Image.open(data_folder / name).convert("RGB")) / 255 - MEAN) / STD
                       for name in images])
    return rows, ids, torch.tensor(pixels, dtype=torch.float32).permute(0, 3, 1, 2)


@pytest.mark.parametrize("objective, targets", [
    ("safe_clip", PUBLISHED_TARGETS), ("ordered", WIDE_TARGETS), ("safer_clip", WIDE_TARGETS),
    ("shield_clip", PUBLISHED_TARGETS)])
def test_ten_steps_of_the_command(world, tmp_path, objective, targets):
    model, data, folder = world
    flags = ["--objective", objective, "--beta2", "0.999", "--reference-cache", folder / "cache",
             "--lora-targets", ",".join(targets)]
    # A learning rate this small writes the adapters as they start; A is random, from the seed.
    harden(model, data, tmp_path / "start", *flags, "--max-steps", "1", "--lr", "1e-30")
    harden(model, data, tmp_path / "run", *flags, "--max-steps", "10")
    original = CLIPModel.from_pretrained(model).eval()
    tuned = PeftModel.from_pretrained(CLIPModel.from_pretrained(model), tmp_path / "start/adapter",
                                      is_trainable=True).eval()
    rows, ids, pixels = batch_of(model, data)
    unsafe = {side + "_unsafe": [row["attributes"][side + "_unsafe"] == "true" for row in rows]
              for side in ("text", "image")}
    history, _, final, _ = reference_harden(original, tuned, ids, pixels, objective, 10, 1e-3,
                                            **unsafe)
    ours = metrics(tmp_path / "run")
    assert len(ours) == len(history) == 10
    for step, (mine, theirs) in enumerate(zip(ours, history)):
        assert set(mine["terms"]) | {"loss"} == set(theirs)
        for name, value in theirs.items():
            found = mine["loss"] if name == "loss" else mine["terms"][name]
            assert abs(found - value) <= 1e-4, (step, name, found, value)
    assert abs(history[0]["loss"] - history[-1]["loss"]) > 1e-3, "nothing was learnt"
    stored = load_file(tmp_path / "run/adapter/adapter_model.safetensors")
    for name, value in final.items():
        difference = (stored["base_model.model." + name] - value).abs().max()
        assert difference <= 1e-4, (name, difference)


def embeddings(model, ids, pixels):
    with torch.no_grad():
        text = model.get_text_features(input_ids=ids).pooler_output
        image = model.get_image_features(pixel_values=pixels).pooler_output
    return torch.nn.functional.normalize(torch.cat([text, image]), dim=-1)


def test_adapter_in_peft_equals_merged_in_transformers(world, tmp_path):
    model, data, folder = world
    harden(model, data, tmp_path / "run", "--max-steps", "6", "--lr", "1e-2", "--reference-cache",
           folder / "cache", "--lora-targets", ",".join(WIDE_TARGETS))
    base = CLIPModel.from_pretrained(model).eval()
    _, ids, pixels = batch_of(model, data)
    before = embeddings(base, ids, pixels)
    adapted = PeftModel.from_pretrained(base, tmp_path / "run/adapter").eval()
    merged, info = CLIPModel.from_pretrained(tmp_path / "run/model", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    by_peft = embeddings(adapted.get_base_model(), ids, pixels)
    by_transformers = embeddings(merged.eval(), ids, pixels)
    assert (by_peft - by_transformers).abs().max() <= 1e-5
    assert (by_peft - before).abs().max() > 1e-2
    # And our own encoder sees the same in the merged folder.
    texts = tmp_path / "texts.txt"
    rows = [row for row in read_rows(data) if row["split"] == "train"]
    texts.write_text("".join(row["safe_text"] + "\n" for row in rows))
    subprocess.run([PARAPET, "embed", "--model", tmp_path / "run/model", "--texts", texts, "--out",
                    tmp_path / "e.safetensors", "--threads", "1", "--precision", "fp32"],
                   check=True, env=environment(), capture_output=True)
    ours = load_file(tmp_path / "e.safetensors")["text_embeds"]
    assert (ours - by_transformers[:len(rows)]).abs().max() <= 1e-5


def test_base_size_from_transformers_and_back(tmp_path):
    """A folder that `transformers` saved at B/32 size goes through embed and harden, and back."""
    model = write_model(tmp_path / "model", PUBLIC["B/32"], size=224)
    data = write_data(tmp_path / "data", train=2, val=0, size=224)
    _, ids, pixels = batch_of(model, data)
    rows = read_rows(data)
    (tmp_path / "texts.txt").write_text("".join(row["safe_text"] + "\n" for row in rows))
    (tmp_path / "images.txt").write_text("".join(f"{data / row['safe_image']}\n" for row in rows))

    def embed(folder, out):
        subprocess.run([str(x) for x in (
            PARAPET, "embed", "--model", folder, "--texts", tmp_path / "texts.txt", "--images",
            tmp_path / "images.txt", "--out", out, "--precision", "fp32")], check=True,
            env=environment(), capture_output=True)
        found = load_file(out)
        return torch.cat([found["text_embeds"], found["image_embeds"]])

    def by_transformers(folder):
        loaded, info = CLIPModel.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        return embeddings(loaded.eval(), ids[:2], pixels[:2])

    before = by_transformers(model)
    assert (embed(model, tmp_path / "before.safetensors") - before).abs().max() <= 1e-4
    result = harden(model, data, tmp_path / "run", "--batch-size", "2", "--max-steps", "2")
    assert result["steps"] == 2 and result["quadruplets"] == 2
    after = by_transformers(tmp_path / "run/model")
    assert (embed(tmp_path / "run/model", tmp_path / "after.safetensors") - after).abs().max() <= 1e-4
    assert not torch.equal(before, after)
    tuned = PeftModel.from_pretrained(CLIPModel.from_pretrained(model), tmp_path / "run/adapter")
    assert (embeddings(tuned.get_base_model().eval(), ids[:2], pixels[:2]) - after).abs().max() <= 1e-4
