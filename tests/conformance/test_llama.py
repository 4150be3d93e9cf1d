"""Llama against `transformers` on random weights: logits, hidden states, loss, gradients, padded and
packed batches, decoding with a cache, one step of training, files in both directions."""
import json

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from llama_probe import LLAMA3, PROBE, QWEN2, SFT, SMOL, TINY, compare, make, make_inputs, reference, run, \
    run_probe, save_file

VARIANTS = {
    "untied": TINY,
    "tied": dict(TINY, tie_word_embeddings=True),
    "biases": dict(TINY, attention_bias=True, mlp_bias=True),
    "llama3": dict(TINY, rope_parameters=LLAMA3, hidden_act="gelu_pytorch_tanh"),
    "yarn": dict(TINY, rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0,
                                        "original_max_position_embeddings": 16}),
    "wide_heads": dict(TINY, head_dim=16, num_key_value_heads=1),
    "smol": SMOL,
    "qwen2": QWEN2,
    "qwen2_untied": dict(TINY, model_type="qwen2", rms_norm_eps=1e-5),
}


@pytest.fixture
def saved(tmp_path):
    def save(config):
        model = make(config)
        model.save_pretrained(tmp_path / "model")
        return model, tmp_path / "model"
    return save


@pytest.mark.parametrize("variant", VARIANTS)
def test_forward_loss_and_all_gradients(saved, tmp_path, variant):
    model, folder = saved(VARIANTS[variant])
    inputs = make_inputs(VARIANTS[variant])
    ours = run_probe(folder, inputs, tmp_path, "--grads")
    theirs = reference(model, gradients=True, **inputs)
    compare(ours, theirs)
    assert set(ours) == set(theirs)


def test_recomputation_changes_no_bit(saved, tmp_path):
    config = dict(TINY, attention_bias=True)
    _, folder = saved(config)
    inputs = make_inputs(config)
    plain = run_probe(folder, inputs, tmp_path, "--grads")
    again = run_probe(folder, inputs, tmp_path, "--grads", "--recompute")
    assert set(plain) == set(again)
    for name, tensor in plain.items():
        assert torch.equal(tensor, again[name]), name


def test_embeddings_as_input_receive_gradients(saved, tmp_path):
    model, folder = saved(TINY)
    inputs = make_inputs(TINY)
    embeds = model.get_input_embeddings()(inputs["input_ids"]).detach()
    leaf = embeds.clone().requires_grad_(True)
    theirs = reference(model, gradients=True, inputs_embeds=leaf, labels=inputs["labels"])
    theirs["grad.inputs_embeds"] = leaf.grad
    assert "grad.model.embed_tokens.weight" not in theirs  # took no part
    compare(run_probe(folder, {"inputs_embeds": embeds, "labels": inputs["labels"]}, tmp_path,
                      "--grads"), theirs)


def test_left_padded_rows_equal_single_ones(saved, tmp_path):
    model, folder = saved(TINY)
    inputs = make_inputs(TINY)
    starts = [0, 3, 7]
    inputs["starts"] = torch.tensor(starts)
    for row, start in enumerate(starts):
        inputs["input_ids"][row, :start] = 0
        inputs["labels"][row, :start + 1] = -100
    ours = run_probe(folder, inputs, tmp_path, "--grads")
    losses = []
    for row, start in enumerate(starts):
        ids = inputs["input_ids"][row:row + 1, start:]
        single = reference(model, input_ids=ids)
        compare({name: ours[name][row:row + 1, start:] for name in single}, single)
        logits, labels = single["logits"][0, :-1], inputs["labels"][row, start + 1:]
        losses.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
    assert torch.isclose(ours["loss"], torch.cat(losses).sum() / (inputs["labels"][:, 1:] >= 0).sum(),
                         rtol=1e-5)
    # Gradients too, beside transformers' own padded pass.
    attend = (torch.arange(11) >= torch.tensor(starts)[:, None]).long()
    positions = (attend.cumsum(1) - 1).clamp(min=0)
    theirs = reference(model, gradients=True, input_ids=inputs["input_ids"], labels=inputs["labels"],
                       attention_mask=attend, position_ids=positions)
    compare(ours, {name: tensor for name, tensor in theirs.items()
                   if name == "loss" or name.startswith("grad.")})


def test_right_padded_rows_equal_single_ones(saved, tmp_path):
    model, folder = saved(TINY)
    inputs = {"input_ids": make_inputs(TINY)["input_ids"], "lengths": torch.tensor([11, 4, 1])}
    ours = run_probe(folder, inputs, tmp_path)
    for row, length in enumerate([11, 4, 1]):
        single = reference(model, input_ids=inputs["input_ids"][row:row + 1, :length])
        compare({name: ours[name][row:row + 1, :length] for name in single}, single)


def test_packed_texts_equal_single_ones(saved, tmp_path):
    """Outputs of each text, and the gradients of the loss over all of them."""
    model, folder = saved(dict(TINY, rope_parameters=LLAMA3))
    lengths = [4, 1, 6]
    ids = make_inputs(TINY, batch=1, tokens=11)["input_ids"]
    labels = ids.clone()
    begins = [sum(lengths[:i]) for i in range(3)]
    labels[0, begins] = -100  # nothing predicts a text's first token
    segments = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))[None]
    ours = run_probe(folder, {"input_ids": ids, "labels": labels, "segments": segments}, tmp_path,
                     "--grads")
    total = 0
    for begin, length in zip(begins, lengths):
        part = ids[:, begin:begin + length]
        single = reference(model, input_ids=part)
        compare({name: ours[name][:, begin:begin + length] for name in single}, single)
        if length > 1:
            total = total + model(input_ids=part, labels=part).loss * (length - 1)
    model.zero_grad()
    loss = total / (sum(lengths) - 3)
    loss.backward()
    compare(ours, {"loss": loss.detach(), **{"grad." + name: p.grad
                                             for name, p in model.named_parameters()}})


@pytest.mark.parametrize("starts", [[0, 0, 0], [0, 3, 7]])
def test_greedy_decoding_with_cache(saved, tmp_path, starts):
    model, folder = saved(dict(TINY, rope_parameters=LLAMA3, eos_token_id=None))
    ids = make_inputs(TINY)["input_ids"]
    inputs = {"input_ids": ids}
    if any(starts):
        inputs["starts"] = torch.tensor(starts)
    ours = run_probe(folder, inputs, tmp_path, "--greedy", "20")
    compare(ours, {"greedy.cached": ours["greedy.whole"]}, close=1e-5)
    attend = (torch.arange(11) >= torch.tensor(starts)[:, None]).long()
    theirs = model.generate(ids, attention_mask=attend, max_new_tokens=20, do_sample=False,
                            pad_token_id=0)
    assert torch.equal(ours["greedy.ids"].long(), theirs)


def test_bf16_compute(saved, tmp_path):
    model, folder = saved(SMOL)
    inputs = make_inputs(SMOL)
    ours = run_probe(folder, inputs, tmp_path, "--dtype", "bf16", "--grads")
    for name, expected in reference(model, gradients=True, **inputs).items():
        near = torch.cosine_similarity(ours[name].flatten(), expected.flatten(), dim=0)
        # Gradients of norms are sums over tokens that nearly cancel.
        assert near >= (0.99 if "norm" in name else 0.999), (name, near)


@pytest.mark.parametrize("variant", ["untied", "tied", "biases", "llama3", "yarn", "qwen2",
                                     "qwen2_untied"])
def test_saved_folder_loads_in_transformers_and_here(saved, tmp_path, variant):
    model, folder = saved(VARIANTS[variant])
    run([PROBE, "--model", folder, "--save", tmp_path / "again"])
    stored = load_file(tmp_path / "again/model.safetensors")
    assert ("lm_head.weight" in stored) == (variant not in ("tied", "qwen2"))
    assert set(stored) == set(load_file(folder / "model.safetensors"))
    again, info = AutoModelForCausalLM.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    inputs = {"input_ids": make_inputs(TINY)["input_ids"]}
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)
    compare(run_probe(tmp_path / "again", inputs, tmp_path), reference(model, **inputs))
    before, after = model.config.to_dict(), again.config.to_dict()
    for field in before.keys() - {"_name_or_path", "transformers_version", "architectures"}:
        assert after[field] == before[field], field


@pytest.mark.parametrize("old", [{"rope_scaling": None}, {"rope_scaling": {
    "type": "linear", "factor": 4.0}}, {"rope_scaling": LLAMA3}])
def test_configs_of_old_versions(saved, tmp_path, old):
    config = dict(TINY, rope_parameters=dict(old["rope_scaling"] or {"rope_type": "default"}))
    config["rope_parameters"].pop("type", None)
    if old["rope_scaling"] and "type" in old["rope_scaling"]:
        config["rope_parameters"]["rope_type"] = "linear"
    config["rope_parameters"]["rope_theta"] = 20000.0
    model, folder = saved(config)
    file = folder / "config.json"
    written = json.loads(file.read_text())
    del written["rope_parameters"], written["head_dim"]
    scaling = {k: v for k, v in (old["rope_scaling"] or {}).items() if k != "rope_theta"} or None
    written |= {"rope_theta": 20000.0, "rope_scaling": scaling}
    file.write_text(json.dumps(written))
    inputs = {"input_ids": make_inputs(TINY)["input_ids"]}
    compare(run_probe(folder, inputs, tmp_path), reference(model, **inputs))


@pytest.mark.parametrize("tied", [False, True])
def test_training_steps_equal_torch(saved, tmp_path, tied):
    """Two AdamW steps through our training loop; the saved folder holds torch's weights."""
    config = dict(TINY, tie_word_embeddings=tied)
    model, folder = saved(config)
    inputs = make_inputs(config)
    save_file(inputs, tmp_path / "inputs.safetensors")
    # A large eps: a step must not hang on the sign of gradients that are next to zero.
    run([SFT, "--model", folder, "--inputs", tmp_path / "inputs.safetensors", "--run", tmp_path / "run",
         "--save", tmp_path / "tuned", "--steps", "2", "--lr", "0.01", "--eps", "0.001",
         "--weight-decay", "0.1", *(["--recompute"] if tied else [])])
    decayed = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1},
                                   {"params": rest, "weight_decay": 0.0}],
                                  lr=0.01, betas=(0.9, 0.98), eps=0.001)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        model(**inputs).loss.backward()
        optimizer.step()
    tuned = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned")
    ours = dict(tuned.named_parameters())
    for name, parameter in model.named_parameters():
        assert (parameter - before[name]).abs().max() > 1e-3, name  # it did learn
        assert torch.allclose(ours[name], parameter, atol=2e-5), name
    ids = {"input_ids": inputs["input_ids"]}
    compare(run_probe(tmp_path / "tuned", ids, tmp_path), reference(tuned, **ids))
    compare(run_probe(tmp_path / "tuned", ids, tmp_path), reference(model, **ids), close=1e-3)


@pytest.mark.parametrize("change,named", [
    ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "'dynamic' is not supported"),
    ({"num_key_value_heads": 3}, "num_key_value_heads 3"),
    ({"hidden_size": 1 << 40}, "field 'hidden_size'"),
    ({"hidden_act": "squared_relu"}, "squared_relu"),
    ({"rope_parameters": {"rope_type": "llama3", "factor": 0.5}}, "factor must be 1 or more"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
    ({"attention_dropout": 0.1}, "attention_dropout"),
])
def test_configs_that_cannot_be_computed_are_refused(saved, tmp_path, change, named):
    _, folder = saved(TINY)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    done = run([PROBE, "--model", folder], check=False)
    assert done.returncode == 3
    assert named in done.stderr and "config.json" in done.stderr
