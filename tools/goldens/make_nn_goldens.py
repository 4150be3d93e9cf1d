#!/usr/bin/env python3
"""Writes tests/goldens/nn: what `transformers` and torch compute for each building block of `nn`,
gradients included. Run from the repository root with .venv/bin/python."""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import (LlamaMLP, LlamaRMSNorm, LlamaRotaryEmbedding,
                                                      apply_rotary_pos_emb, eager_attention_forward)
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLRotaryEmbedding

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/nn"
GENERATOR = torch.Generator().manual_seed(3)


def noise(*shape):
    return torch.randn(*shape, generator=GENERATOR)


def write(name, tensors):
    file = OUT / f"{name}.safetensors"
    save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, file)
    assert file.stat().st_size < 100_000, (name, file.stat().st_size)


def gradients(out, dy, leaves):
    """{"out": ..., "grad.NAME": ...} of the named leaves."""
    found = torch.autograd.grad(out, list(leaves.values()), dy)
    return {"out": out, **{f"grad.{name}": grad for name, grad in zip(leaves, found)}}


# ---- attention ---------------------------------------------------------------------------------

BATCH, HEADS, GROUPS, TOKENS, SIZE = 2, 4, 2, 6, 8


class Shape:
    """What eager_attention_forward reads of a module."""
    num_key_value_groups = HEADS // GROUPS
    training = False


def mask_of(visible, queries, keys, shift=None):
    """The additive mask, written out place by place. `visible(row, query, key)` -> bool."""
    mask = torch.zeros(BATCH, 1, queries, keys) if shift is None else shift.clone()
    for b in range(BATCH):
        for i in range(queries):
            for j in range(keys):
                if not visible(b, i, j):
                    mask[b, :, i, j] = -torch.inf
    return mask


def attention():
    lengths, starts = torch.tensor([6, 3]), torch.tensor([0, 2])
    segments = torch.tensor([[0, 0, 1, 1, 1, 2], [0, 0, 0, 0, 3, 3]])
    shift = noise(BATCH, HEADS, TOKENS, TOKENS)
    # (queries, visible, additive part); a causal query in the left padding sees itself.
    cases = {
        "full": (6, lambda b, i, j: True, None),
        "causal": (6, lambda b, i, j: j <= i, None),
        "last_queries": (2, lambda b, i, j: j <= i + 4, None),
        "offset": (3, lambda b, i, j: j <= i + 1, None),
        "lengths": (6, lambda b, i, j: j < lengths[b], None),
        "causal_lengths": (6, lambda b, i, j: j <= i and j < lengths[b], None),
        "starts": (6, lambda b, i, j: (j <= i and j >= starts[b]) or i == j, None),
        "segments": (6, lambda b, i, j: segments[b][i] == segments[b][j], None),
        "causal_segments": (6, lambda b, i, j: j <= i and segments[b][i] == segments[b][j], None),
        "additive": (6, lambda b, i, j: True, shift),
        "causal_additive_lengths": (6, lambda b, i, j: j <= i and j < lengths[b], shift),
        "one_query": (1, lambda b, i, j: True, None),
        "one_query_starts": (1, lambda b, i, j: j >= starts[b], None),
    }
    tensors = {"lengths": lengths, "starts": starts, "segments": segments, "additive": shift}
    leaves = {"q": noise(BATCH, HEADS, TOKENS, SIZE), "k": noise(BATCH, GROUPS, TOKENS, SIZE),
              "v": noise(BATCH, GROUPS, TOKENS, SIZE)}
    dy = noise(BATCH, HEADS, TOKENS, SIZE)
    tensors |= {**leaves, "dy": dy}
    for name, (queries, visible, part) in cases.items():
        now = {k: v.double().requires_grad_(True) for k, v in leaves.items()}
        mask = mask_of(visible, queries, TOKENS, part).double()
        out, _ = eager_attention_forward(Shape, now["q"][:, :, -queries:], now["k"], now["v"], mask,
                                         scaling=SIZE ** -0.5)
        # The reference rounds its weights to float32, gives [b, t, h, d].
        out = out.transpose(1, 2)
        result = gradients(out, dy[:, :, -queries:].double(), now)
        tensors |= {f"{name}.{k}": v.float() for k, v in result.items()}
    write("attention", tensors)


# ---- the other blocks --------------------------------------------------------------------------

def rotary():
    scalings = {
        "plain": {"rope_type": "default", "rope_theta": 10000.0},
        "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
        "llama3": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0,
                   "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 64},
        "yarn": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                 "original_max_position_embeddings": 128},
    }
    positions = torch.tensor([[0, 1, 2, 3, 4, 5], [0, 0, 7, 100, 3000, 131071]])
    axes = torch.stack([positions, positions.flip(1), positions * 2 % 91])
    leaves = {"q": noise(2, 4, 6, 16), "k": noise(2, 2, 6, 16)}
    dq, dk = noise(2, 4, 6, 16), noise(2, 2, 6, 16)
    tensors = {**leaves, "dq": dq, "dk": dk, "positions": positions, "axes": axes}
    sizes = dict(hidden_size=64, num_attention_heads=4, head_dim=16, max_position_embeddings=512)
    blocks = {name: (LlamaRotaryEmbedding(LlamaConfig(**sizes, rope_parameters=dict(scaling))),
                     positions) for name, scaling in scalings.items()}
    del sizes["head_dim"]
    sections = {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [2, 3, 3]}
    blocks["sections"] = Qwen2VLRotaryEmbedding(
        Qwen2VLTextConfig(**sizes, rope_parameters=sections)), axes
    for name, (block, places) in blocks.items():
        now = {k: v.clone().requires_grad_(True) for k, v in leaves.items()}
        cos, sin = block(now["q"], places)
        q, k = apply_rotary_pos_emb(now["q"], now["k"], cos, sin)
        ((q * dq).sum() + (k * dk).sum()).backward()
        tensors |= {f"{name}.q": q, f"{name}.k": k, f"{name}.grad.q": now["q"].grad,
                    f"{name}.grad.k": now["k"].grad, f"{name}.inverse": block.inv_freq}
    write("rotary", tensors)


def rms_norm():
    x, dy = noise(3, 5, 24) * 2, noise(3, 5, 24)
    block = LlamaRMSNorm(24, eps=1e-5)
    with torch.no_grad():
        block.weight.copy_(1 + noise(24) * 0.3)
    x.requires_grad_(True)
    result = gradients(block(x), dy, {"x": x, "weight": block.weight})
    weight = block.weight.detach().clone()
    half = block.to(torch.bfloat16)(x.detach().bfloat16())
    write("rms_norm", {"x": x, "dy": dy, "weight": weight, **result, "out.bf16": half})


def gated_mlp():
    tensors = {"x": noise(2, 5, 12), "dy": noise(2, 5, 12)}
    weights = {name: noise(*shape) * 0.3 for name, shape in {
        "gate_proj.weight": (20, 12), "gate_proj.bias": (20,), "up_proj.weight": (20, 12),
        "up_proj.bias": (20,), "down_proj.weight": (12, 20), "down_proj.bias": (12,)}.items()}
    tensors |= weights
    for act in ("silu", "gelu_pytorch_tanh", "gelu"):
        block = LlamaMLP(LlamaConfig(hidden_size=12, intermediate_size=20, num_attention_heads=2,
                                     mlp_bias=True, hidden_act=act))
        block.load_state_dict(weights)
        x = tensors["x"].clone().requires_grad_(True)
        result = gradients(block(x), tensors["dy"], {"x": x, **dict(block.named_parameters())})
        tensors |= {f"{act}.{k}": v for k, v in result.items()}
    write("gated_mlp", tensors)


def token_loss():
    hidden, weight = noise(2, 7, 12), noise(30, 12)
    labels = torch.randint(0, 30, (2, 7), generator=GENERATOR)
    labels[0, :4] = -100
    labels[1, 6] = -100
    hidden.requires_grad_(True), weight.requires_grad_(True)
    logits = hidden @ weight.T
    loss = F.cross_entropy(logits[:, :-1].reshape(-1, 30), labels[:, 1:].reshape(-1))
    result = gradients(loss, torch.ones(()), {"hidden": hidden, "weight": weight})
    write("token_loss", {"hidden": hidden, "weight": weight, "labels": labels, **result})


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    attention(), rotary(), rms_norm(), gated_mlp(), token_loss()
