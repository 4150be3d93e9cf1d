"""Random Llama models in `transformers`, and Parapet's probe program run on the same inputs."""
import os
import pathlib
import subprocess

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from clip_probe import BUILD, noise

PROBE = BUILD / "parapet_llama_probe"
SFT = BUILD / "parapet_llama_sft"
CLOSE = 1e-4  # largest difference, as a share of the tensor's largest entry

TINY = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
            bos_token_id=1, eos_token_id=2, pad_token_id=0)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
# SmolLM2-135M's heads and widths; fewer layers and tokens.
SMOL = dict(vocab_size=4096, hidden_size=576, intermediate_size=1536, num_hidden_layers=2,
            num_attention_heads=9, num_key_value_heads=3, max_position_embeddings=8192,
            rms_norm_eps=1e-5, tie_word_embeddings=True,
            rope_parameters={"rope_type": "default", "rope_theta": 100000.0})

# Qwen2-0.5B's heads (14 of 64, two for keys and values) and rotary base; fewer layers and tokens.
QWEN2 = dict(model_type="qwen2", vocab_size=4096, hidden_size=896, intermediate_size=1024,
             num_hidden_layers=2, num_attention_heads=14, num_key_value_heads=2,
             max_position_embeddings=32768, tie_word_embeddings=True,
             rope_parameters={"rope_type": "default", "rope_theta": 1000000.0})


def make(config, seed=0):
    qwen2 = config.get("model_type") == "qwen2"
    model = (Qwen2ForCausalLM(Qwen2Config(**config)) if qwen2
             else LlamaForCausalLM(LlamaConfig(**config))).eval()
    return fill(model, seed)


def fill(model, seed=0):
    """Weights that make a swapped or forgotten one show: norms and biases have them too."""
    with torch.no_grad():
        for i, (name, parameter) in enumerate(model.named_parameters()):
            start = seed * 1000 + i
            if "norm" in name:
                parameter.copy_(1 + noise(parameter.shape, 0.2, start))
            elif name.endswith("bias"):
                parameter.copy_(noise(parameter.shape, 0.1, start))
            else:
                fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
                parameter.copy_(noise(parameter.shape, fan_in ** -0.5, start))
    return model


def make_inputs(config, batch=3, tokens=11, seed=5):
    """Ids, and labels of which some are not to be learned."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, config["vocab_size"], (batch, tokens), generator=generator)
    labels = ids.clone()
    for row in range(batch):
        labels[row, :2 + row] = -100
    return {"input_ids": ids, "labels": labels}


def run(command, check=True):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def run_probe(model, inputs, folder, *flags, program=PROBE):
    folder = pathlib.Path(folder)
    given, out = folder / "inputs.safetensors", folder / "outputs.safetensors"
    save_file({k: v.contiguous() for k, v in inputs.items()}, given)
    run([program, "--model", model, "--inputs", given, "--out", out, *flags])
    return load_file(out)


def reference(model, gradients=False, **inputs):
    """What the probe writes, from `transformers`."""
    result = model(output_hidden_states=True, **inputs)
    out = {"logits": result.logits}
    out |= {f"hidden_states.{i}": state for i, state in enumerate(result.hidden_states)}
    if gradients:
        model.zero_grad()
        result.loss.backward()
        out["loss"] = result.loss
        # Without a gradient: the token table, where embeddings are given.
        out |= {"grad." + name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: tensor.detach() for name, tensor in out.items()}


def compare(ours, theirs, close=CLOSE):
    """Every tensor of `theirs` is in `ours` with the same values."""
    problems = []
    for name, expected in theirs.items():
        if name not in ours:
            problems.append(f"{name} is missing")
            continue
        a, b = ours[name].double(), expected.double()
        assert a.shape == b.shape, (name, a.shape, b.shape)
        apart, scale = (a - b).abs().max().item(), b.abs().max().item()
        if not torch.isfinite(a).all() or apart > close * max(scale, 1e-6):
            problems.append(f"{name}: max difference {apart:.2e}, largest entry {scale:.2e}")
    assert not problems, "\n".join(problems[:20])
