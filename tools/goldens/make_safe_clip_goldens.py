#!/usr/bin/env python3
"""Writes tests/goldens/safe_clip: ten steps of every hardening objective on the golden CLIP
(tests/goldens/clip) by PyTorch, `transformers` and `peft`: loss and terms per step, gradients of the
adapters at the first step, adapters after the last. Run from the repository root with
.venv/bin/python."""
import copy
import json
import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/conformance"))

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from clip_probe import CLIPConfig, CLIPModel, make_inputs
from safe_clip_reference import PUBLISHED_TARGETS, WIDE_TARGETS, find_targets, harden

CLIP = ROOT / "tests/goldens/clip"
OUT = ROOT / "tests/goldens/safe_clip"
ROWS, STEPS, LR = 8, 10, 1e-3
# Two of each kind of pair: with one row InfoNCE is zero.
TEXT_UNSAFE = [True, True, False, False, True, False, True, False]
IMAGE_UNSAFE = [True, False, True, False, True, False, False, True]
CASES = [("safe_clip", "published"), ("safe_clip", "wide"), ("ordered", "wide"),
         ("safer_clip", "wide"), ("shield_clip", "published")]


def write(name, tensors):
    file = OUT / name
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, file)
    assert file.stat().st_size < 100_000, (name, file.stat().st_size)


def golden_clip():
    config = CLIPConfig.from_json_file(CLIP / "config_new.json")
    model = CLIPModel(config)
    missing, unexpected = model.load_state_dict(load_file(CLIP / "model.safetensors"), strict=False)
    assert not unexpected and all("position_ids" in name for name in missing), (missing, unexpected)
    return model.eval(), config


def adapted(model, targets, name):
    # LoRA's B starts at zero, which would make every gradient of A zero and hide an error in it.
    tuned = get_peft_model(copy.deepcopy(model), LoraConfig(
        r=4, lora_alpha=2, lora_dropout=0.0, target_modules=targets)).eval()
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for key, parameter in tuned.named_parameters():
            if "lora_" in key:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    tuned.save_pretrained(OUT / f"adapter_{name}")
    (OUT / f"adapter_{name}/README.md").unlink(missing_ok=True)
    file = OUT / f"adapter_{name}/adapter_config.json"
    config = json.loads(file.read_text())
    config["target_modules"].sort()  # peft writes a set, in any order
    file.write_text(json.dumps(config, indent=2) + "\n")
    return tuned


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    original, config = golden_clip()
    inputs = make_inputs({"text_config": config.text_config.to_dict(),
                          "vision_config": config.vision_config.to_dict()}, batch=2 * ROWS)
    ids, pixels = inputs["input_ids"], inputs["pixel_values"]
    ids[:, 1:-1] = torch.where(ids[:, 1:-1] == 30, 30, ids[:, 1:-1] % 30)  # one end token per text
    write("inputs.safetensors", {"input_ids": ids, "pixel_values": pixels})
    tuned = {name: adapted(original, targets, name)
             for name, targets in [("published", PUBLISHED_TARGETS), ("wide", WIDE_TARGETS)]}
    summary = {"rows": ROWS, "steps": STEPS, "lr": LR, "text_unsafe": TEXT_UNSAFE,
               "image_unsafe": IMAGE_UNSAFE, "cases": {}}
    for objective, adapter in CASES:
        history, gradients, final, ref = harden(
            original, copy.deepcopy(tuned[adapter]), ids, pixels, objective, STEPS, LR,
            text_unsafe=TEXT_UNSAFE, image_unsafe=IMAGE_UNSAFE)
        summary["cases"][f"{objective}_{adapter}"] = history
        write(f"{objective}_{adapter}.safetensors",
              {"grad." + k: v for k, v in gradients.items()} |
              {"final." + k: v for k, v in final.items()})
    summary["targets"] = find_targets(ref)._asdict()
    summary["logit_scale"] = original.logit_scale.exp().item()
    (OUT / "expected.json").write_text(json.dumps(summary, indent=1) + "\n")
    write("reference.safetensors", ref._asdict())


if __name__ == "__main__":
    main()
