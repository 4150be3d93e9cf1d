#!/usr/bin/env python3
"""Writes tests/goldens/clip: a very small random CLIP, a PEFT adapter for it, and what
`transformers` and `peft` compute with them. Run from the repository root with .venv/bin/python."""
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/conformance"))

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

from clip_probe import CLIPModel, make, make_inputs, reference, sizes, tower

OUT = ROOT / "tests/goldens/clip"
CONFIG = sizes(tower(16, 2, 2, 32, vocab_size=40, max_position_embeddings=12, bos_token_id=38,
                     eos_token_id=30),
               tower(24, 2, 3, 48, image_size=20, patch_size=8), 12)
GRADIENTS = ["logit_scale", "text_projection.weight", "text_model.embeddings.token_embedding.weight",
             "text_model.encoder.layers.0.self_attn.q_proj.weight",
             "text_model.encoder.layers.1.mlp.fc1.bias", "text_model.final_layer_norm.weight",
             "visual_projection.weight", "vision_model.embeddings.class_embedding",
             "vision_model.embeddings.patch_embedding.weight", "vision_model.pre_layrnorm.bias",
             "vision_model.encoder.layers.1.self_attn.v_proj.weight"]


def variant(act, end):
    config = json.loads(json.dumps(CONFIG))
    config["text_config"].update(hidden_act=act, eos_token_id=end)
    config["vision_config"].update(hidden_act=act)
    return config


def write(name, tensors):
    file = OUT / name
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, file)
    assert file.stat().st_size < 100_000, (name, file.stat().st_size)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    inputs = make_inputs(CONFIG, batch=3)
    # Beyond the end token (30) lie larger ids, where the two end-of-text rules differ.
    inputs["input_ids"][:, :8] %= 30
    inputs["input_ids"][0, 8:] = torch.tensor([5, 39, 2, 30])
    write("inputs.safetensors", inputs)
    for name, act, end in [("new", "quick_gelu", 30), ("legacy", "gelu", 2)]:
        model = make(CLIPModel, variant(act, end))
        if name == "new":
            model.save_pretrained(OUT)
        model.config.save_pretrained(OUT / "unused")
        (OUT / "unused/config.json").rename(OUT / f"config_{name}.json")
        out = reference(model, inputs, gradients=True)
        keep = {"loss", "grad.pixel_values", *("grad." + g for g in GRADIENTS)}
        write(f"expected_{name}.safetensors",
              {k: v for k, v in out.items() if not k.startswith("grad.") or k in keep})
    (OUT / "unused").rmdir()
    (OUT / "config.json").unlink()
    tuned = get_peft_model(make(CLIPModel, variant("quick_gelu", 30)),
                           LoraConfig(r=2, lora_alpha=3, use_rslora=True, target_modules=[
                               "k_proj", "fc1", "patch_embedding", "visual_projection"]))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    tuned.eval().save_pretrained(OUT / "adapter")
    (OUT / "adapter/README.md").unlink(missing_ok=True)
    out = reference(tuned.get_base_model(), inputs, gradients=True)
    write("expected_adapter.safetensors",
          {k.replace(".default", "").replace("base_layer.", ""): v for k, v in out.items()
           if k in ("text.embeds", "image.embeds", "loss") or "lora_" in k})


if __name__ == "__main__":
    main()
