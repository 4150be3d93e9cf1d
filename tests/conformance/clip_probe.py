"""Random CLIP models in `transformers`, and Parapet's probe program run on the same inputs."""
import os
import pathlib
import subprocess

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors.torch import load_file, save_file
from transformers.models.clip.configuration_clip import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.modeling_clip import (CLIPModel, CLIPTextModel,
                                                    CLIPTextModelWithProjection, CLIPVisionModel,
                                                    CLIPVisionModelWithProjection)

from device import FLAGS

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("PARAPET_BUILD", "build/release")
PROBE = BUILD / "parapet_clip_probe"
PARAPET = BUILD / "parapet"
FP32 = (0.99999, 1e-4)  # least cosine, largest difference


def tower(width, layers, heads, mlp=None, **more):
    return dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                intermediate_size=mlp or 4 * width, **more)


def sizes(text, vision, projection, act="quick_gelu"):
    text = dict(text, projection_dim=projection, hidden_act=act)
    vision = dict(vision, projection_dim=projection, hidden_act=act)
    return dict(text_config=text, vision_config=vision, projection_dim=projection)


TINY = sizes(tower(32, 2, 2, vocab_size=99, max_position_embeddings=16, bos_token_id=97,
                   eos_token_id=98),
             tower(48, 2, 3, image_size=32, patch_size=8), 24)
TEXT_B, TEXT_L = tower(512, 12, 8), tower(768, 12, 12)
# The public models. H/14 and bigG/14 are cut to two layers per tower in the tests.
PUBLIC = {
    "B/32": sizes(TEXT_B, tower(768, 12, 12, image_size=224, patch_size=32), 512),
    "B/16": sizes(TEXT_B, tower(768, 12, 12, image_size=224, patch_size=16), 512),
    "L/14": sizes(TEXT_L, tower(1024, 24, 16, image_size=224, patch_size=14), 768),
    "L/14-336": sizes(TEXT_L, tower(1024, 24, 16, image_size=336, patch_size=14), 768),
    "H/14": sizes(tower(1024, 24, 16), tower(1280, 32, 16, image_size=224, patch_size=14), 1024,
                  "gelu"),
    "bigG/14": sizes(tower(1280, 32, 20), tower(1664, 48, 16, 8192, image_size=224, patch_size=14),
                     1280, "gelu"),
}


def cut(config, layers):
    return {key: dict(value, num_hidden_layers=layers) if isinstance(value, dict) else value
            for key, value in config.items()}


# Random values by the million are slow to draw: weights are cut from this stretch, whose prime
# length keeps rows of any width different.
_POOL = torch.randn(1_000_003, generator=torch.Generator().manual_seed(1))


def noise(shape, deviation, start):
    count = torch.Size(shape).numel()
    start = start * 7919 % len(_POOL)
    values = torch.cat([_POOL[start:], _POOL[:start]])
    return values.repeat(count // len(_POOL) + 1)[:count].view(shape) * deviation


def enliven(model, seed):
    """Weights that make a swapped or forgotten one show: norms and biases have them too."""
    with torch.no_grad():
        for i, (name, parameter) in enumerate(model.named_parameters()):
            start = seed * 1000 + i
            if "norm" in name and name.endswith("weight"):
                parameter.copy_(1 + noise(parameter.shape, 0.2, start))
            elif name.endswith("bias"):
                parameter.copy_(noise(parameter.shape, 0.1, start))
            elif "logit_scale" in name:
                parameter.fill_(3.0)
            elif "token_embedding" in name or "position_embedding" in name:
                parameter.copy_(noise(parameter.shape, 0.06, start))
            else:
                fan_in = parameter[0].numel() if parameter.dim() > 1 else parameter.numel()
                parameter.copy_(noise(parameter.shape, fan_in ** -0.5, start))
    return model.eval()


def make(cls, config, seed=0):
    if cls is CLIPModel:
        built = CLIPConfig(**config)
    elif cls in (CLIPTextModel, CLIPTextModelWithProjection):
        built = CLIPTextConfig(**config["text_config"])
    else:
        built = CLIPVisionConfig(**config["vision_config"])
    with torch.device("meta"):  # the class's own initialisation would cost seconds
        model = cls(built)
    model.to_empty(device="cpu")
    for module in model.modules():
        if hasattr(module, "position_ids"):
            module.position_ids = torch.arange(module.position_ids.shape[-1])[None]
    return enliven(model, seed + 1)


def make_inputs(config, batch=2, seed=5):
    """Texts of different lengths, padded with the end token as CLIP's tokenizer does."""
    generator = torch.Generator().manual_seed(seed)
    text = dict(vocab_size=49408, max_position_embeddings=77, bos_token_id=49406,
                eos_token_id=49407) | config["text_config"]
    end = text["vocab_size"] - 1 if text["eos_token_id"] == 2 else text["eos_token_id"]
    length = text["max_position_embeddings"]
    ids = torch.full((batch, length), end)
    for row in range(batch):
        words = min(length - 2, 3 + 4 * row)
        ids[row, 0] = text["bos_token_id"]
        ids[row, 1:1 + words] = torch.randint(3, text["bos_token_id"], (words,), generator=generator)
    size = config["vision_config"]["image_size"]
    return {"input_ids": ids, "pixel_values": torch.randn(batch, 3, size, size, generator=generator)}


def run_probe(model, inputs, folder, *flags, check=True):
    """The probe's tensors, or the finished process when `check` is off."""
    folder = pathlib.Path(folder)
    given, out = folder / "inputs.safetensors", folder / "outputs.safetensors"
    save_file({k: v.contiguous() for k, v in inputs.items()}, given)
    command = [PROBE, "--model", model, "--inputs", given, "--out", out, *FLAGS, *flags]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if not check:
        return done
    assert done.returncode == 0, done.stderr
    return load_file(out)


def reference(model, inputs, gradients=False):
    """What the probe writes, from `transformers`."""
    out = {}
    with torch.no_grad():
        if hasattr(model, "text_model") or isinstance(model, CLIPTextModel):
            text = model.text_model if hasattr(model, "text_model") else model
            take(out, "text", text(input_ids=inputs["input_ids"], output_hidden_states=True))
            head = getattr(model, "text_projection", torch.nn.Identity())
            out["text.embeds"] = head(out["text.pooler_output"])
        if hasattr(model, "vision_model") or isinstance(model, CLIPVisionModel):
            vision = model.vision_model if hasattr(model, "vision_model") else model
            pixels = inputs["pixel_values"].to(model.dtype)
            take(out, "image", vision(pixel_values=pixels, output_hidden_states=True))
            head = getattr(model, "visual_projection", torch.nn.Identity())
            out["image.embeds"] = head(out["image.pooler_output"])
    if gradients:
        pixels = inputs["pixel_values"].clone().requires_grad_(True)
        loss = model(input_ids=inputs["input_ids"], pixel_values=pixels, return_loss=True).loss
        loss.backward()
        out["loss"], out["grad.pixel_values"] = loss.detach(), pixels.grad
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                out["grad." + name] = parameter.grad
    return out


def take(out, name, result):
    for i, state in enumerate(result.hidden_states):
        out[f"{name}.hidden_states.{i}"] = state
    out[f"{name}.last_hidden_state"] = result.last_hidden_state
    out[f"{name}.pooler_output"] = result.pooler_output


def compare(ours, theirs, cosine=FP32[0], difference=FP32[1], names=None):
    """Every tensor of `theirs` is in `ours`, with the same direction and values. `difference` None
    leaves the values out (bf16). Gradients whose exact value is zero have no direction."""
    problems = []
    names = sorted(theirs) if names is None else names
    for name in names:
        if name not in ours:
            problems.append(f"{name} is missing")
            continue
        a, b = ours[name].double().flatten(), theirs[name].double().flatten()
        assert a.shape == b.shape, name
        apart = (a - b).abs().max().item()
        # k_proj.bias shifts all logits of a row alike: its gradient is rounding noise.
        vanishing = b.norm() < 1e-5 * max(1.0, b.numel() ** 0.5) and name.startswith("grad.")
        near = 1.0 if vanishing else torch.nn.functional.cosine_similarity(a, b, dim=0).item()
        if near < cosine or not torch.isfinite(a).all() or (difference and apart > difference):
            problems.append(f"{name}: cosine {near:.7f}, max difference {apart:.2e}, "
                            f"norm {b.norm():.2e}")
    extra = sorted(set(ours) - set(theirs)) if names is None else []
    problems += [f"{name} is extra" for name in extra]
    assert not problems, "\n".join(problems[:20])
