"""Writes tests/goldens/training/optimizers.safetensors: ten steps of torch.optim's plain (neither
fused nor foreach) Adam and AdamW on given gradients, and torch's gradient clipping."""
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/goldens/training"
STEPS = 10


def run(kind, start, grads):
    """Two groups: `w` with decay, `b` at half the rate without; the rate changes every step."""
    w, b = (torch.nn.Parameter(start[k].clone()) for k in "wb")
    settings = dict(betas=(0.9, 0.98), eps=1e-8, foreach=False, fused=False)
    groups = [dict(params=[w], weight_decay=0.1), dict(params=[b], weight_decay=0.0)]
    optimizer = kind(groups, lr=1.0, **settings)
    steps = {"w": [], "b": []}
    for i in range(STEPS):
        rate = 0.01 * (i + 1)
        optimizer.param_groups[0]["lr"], optimizer.param_groups[1]["lr"] = rate, 0.5 * rate
        w.grad, b.grad = grads["w"][i].clone(), grads["b"][i].clone()
        optimizer.step()
        steps["w"].append(w.detach().clone())
        steps["b"].append(b.detach().clone())
    state = optimizer.state[w]
    return {"w": torch.stack(steps["w"]), "b": torch.stack(steps["b"]),
            "w.exp_avg": state["exp_avg"], "w.exp_avg_sq": state["exp_avg_sq"]}


def main():
    torch.manual_seed(0)
    start = {"w": torch.randn(3, 4), "b": torch.randn(5)}
    grads = {"w": torch.randn(STEPS, 3, 4), "b": torch.randn(STEPS, 5)}
    out = {f"start.{k}": v for k, v in start.items()} | {f"grad.{k}": v for k, v in grads.items()}
    for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        out |= {f"{name}.{k}": v for k, v in run(kind, start, grads).items()}
    parts = [torch.nn.Parameter(torch.zeros_like(v)) for v in start.values()]
    for part, key in zip(parts, "wb"):
        part.grad = grads[key][0].clone()
    out["clip.norm"] = torch.nn.utils.clip_grad_norm_(parts, 0.5, foreach=False).reshape(1)
    out["clip.w"], out["clip.b"] = parts[0].grad, parts[1].grad
    OUT.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in out.items()}, OUT / "optimizers.safetensors")


main()
