"""CLIP against `transformers` on random weights: embeddings, hidden states, gradients, file forms."""
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_probe import (PUBLIC, TINY, CLIPModel, CLIPTextModel, CLIPTextModelWithProjection,
                        CLIPVisionModel, CLIPVisionModelWithProjection, compare, cut, make,
                        make_inputs, reference, run_probe)

pytestmark = pytest.mark.device

SINGLE = [CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModel,
          CLIPVisionModelWithProjection]


def inputs_of(cls, config):
    inputs = make_inputs(config)
    if cls in (CLIPTextModel, CLIPTextModelWithProjection):
        del inputs["pixel_values"]
    elif cls is not CLIPModel:
        del inputs["input_ids"]
    return inputs


def rewrite(folder, change):
    """Applies `change` (dict -> dict) to a saved folder's weights."""
    file = folder / "model.safetensors"
    tensors = change(load_file(file))
    save_file({k: v.contiguous() for k, v in tensors.items()}, file, {"format": "pt"})


@pytest.fixture
def tiny(tmp_path):
    model = make(CLIPModel, TINY)
    model.save_pretrained(tmp_path / "model")
    return model, tmp_path / "model"


@pytest.mark.parametrize("act", ["quick_gelu", "gelu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("end", [98, 2])
def test_tiny_forward_and_all_gradients(tmp_path, act, end):
    config = json.loads(json.dumps(TINY))
    config["text_config"].update(hidden_act=act, eos_token_id=end)
    config["vision_config"].update(hidden_act=act)
    model = make(CLIPModel, config)
    model.save_pretrained(tmp_path / "model")
    inputs = make_inputs(config, batch=3)
    ours = run_probe(tmp_path / "model", inputs, tmp_path, "--grads", "all")
    compare(ours, reference(model, inputs, gradients=True))


def test_end_rules_differ_where_ids_lie_beyond_the_end_token(tmp_path):
    """New rule: first end token. Legacy (2): the largest id, wherever it is."""
    inputs = {"input_ids": torch.tensor([[1, 5, 50, 7, 50, 60, 50, 50]])}
    seen = {}
    for end in (50, 2):
        config = json.loads(json.dumps(TINY))
        config["text_config"]["eos_token_id"] = end
        model = make(CLIPTextModel, config)
        model.save_pretrained(tmp_path / f"end{end}")
        ours = run_probe(tmp_path / f"end{end}", inputs, tmp_path)
        compare(ours, reference(model, inputs))
        seen[end] = ours["text.embeds"]
    assert not torch.allclose(seen[50], seen[2], atol=1e-3)


@pytest.mark.parametrize("size,gradients", [("B/32", True), ("B/16", False), ("L/14", False)])
def test_public_sizes(tmp_path, size, gradients):
    model = make(CLIPModel, PUBLIC[size])
    model.save_pretrained(tmp_path / "model")
    inputs = make_inputs(PUBLIC[size], batch=2 if gradients else 1)
    ours = run_probe(tmp_path / "model", inputs, tmp_path, *(["--grads", "all"] if gradients else []))
    compare(ours, reference(model, inputs, gradients))


@pytest.mark.parametrize("size", ["L/14-336", "H/14", "bigG/14"])
def test_public_shapes_with_two_layers(tmp_path, size):
    config = cut(PUBLIC[size], 2)
    model = make(CLIPModel, config)
    model.save_pretrained(tmp_path / "model")
    inputs = make_inputs(config, batch=1)
    compare(run_probe(tmp_path / "model", inputs, tmp_path), reference(model, inputs))


@pytest.mark.slow
@pytest.mark.parametrize("size", ["L/14-336", "H/14", "bigG/14"])
def test_public_sizes_at_full_depth(tmp_path, size):
    model = make(CLIPModel, PUBLIC[size])
    model.save_pretrained(tmp_path / "model")
    inputs = make_inputs(PUBLIC[size], batch=1)
    compare(run_probe(tmp_path / "model", inputs, tmp_path), reference(model, inputs))


def cosine_error(a, b):
    return 1 - torch.cosine_similarity(a.double().flatten(), b.double().flatten(), 0).item()


def test_bf16_compute(tmp_path):
    """Gradients of biases and norms are sums over tokens that nearly cancel, so their direction in
    bf16 is partly luck: one batch may favour either side by half. Over several batches we must be
    as close to float32 as `transformers` computing in bf16."""
    config = cut(PUBLIC["B/32"], 2)
    config["text_config"].update(vocab_size=1000, bos_token_id=998, eos_token_id=999)  # fewer bytes
    model = make(CLIPModel, config)
    model.save_pretrained(tmp_path / "model")
    half = make(CLIPModel, config).to(torch.bfloat16)
    batches = 4
    errors = {}  # of ours and theirs, summed over batches
    for seed in range(batches):
        inputs = make_inputs(config, batch=3, seed=5 + seed)
        ours = run_probe(tmp_path / "model", inputs, tmp_path, "--dtype", "bf16", "--grads", "all")
        model.zero_grad()
        half.zero_grad()
        exact = reference(model, inputs, gradients=True)
        sums = [k for k, v in exact.items() if k.startswith("grad.") and v.dim() == 1]
        compare(ours, exact, cosine=0.999, difference=None,
                names=[k for k in exact if k not in sums])
        inputs["pixel_values"] = inputs["pixel_values"].bfloat16()
        peers = reference(half, inputs, gradients=True)
        for name in sums:
            if name.endswith("k_proj.bias"):
                continue  # exactly zero but for rounding
            mine, other = errors.get(name, (0, 0))
            errors[name] = (mine + cosine_error(ours[name], exact[name]) / batches,
                            other + cosine_error(peers[name], exact[name]) / batches)
    assert len(errors) > 40
    far = {k: v for k, v in errors.items() if v[0] > 1.1 * v[1] + 0.001}
    assert not far, far
    mean_ours, mean_theirs = (sum(v[i] for v in errors.values()) / len(errors) for i in (0, 1))
    assert mean_ours <= mean_theirs, (mean_ours, mean_theirs)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float64])
def test_checkpoint_types(tiny, tmp_path, stored):
    model, folder = tiny
    model = model.to(stored)
    model.save_pretrained(folder)
    inputs = make_inputs(TINY)
    ours = run_probe(folder, inputs, tmp_path)
    compare(ours, reference(model.float(), inputs))


def test_bf16_weights_keep_the_exact_logit_scale(tiny, tmp_path):
    model, folder = tiny
    inputs = make_inputs(TINY)
    with torch.no_grad():
        model.logit_scale.fill_(4.6052)
    model.save_pretrained(folder)
    run_probe(folder, inputs, tmp_path, "--weights", "bf16", "--save", tmp_path / "saved")
    saved = load_file(tmp_path / "saved/model.safetensors")
    assert saved["logit_scale"].item() == pytest.approx(4.6052, abs=1e-6)
    assert saved["visual_projection.weight"].dtype == torch.bfloat16
    assert json.loads((tmp_path / "saved/config.json").read_text())["dtype"] == "bfloat16"


@pytest.mark.parametrize("cls", SINGLE)
def test_single_towers(tmp_path, cls):
    model = make(cls, TINY)
    model.save_pretrained(tmp_path / "model")
    inputs = inputs_of(cls, TINY)
    compare(run_probe(tmp_path / "model", inputs, tmp_path), reference(model, inputs))


@pytest.mark.parametrize("cls,prefix", [(CLIPTextModel, "text_model."),
                                        (CLIPVisionModel, "vision_model.")])
def test_single_tower_under_version_4_names(tmp_path, cls, prefix):
    model = make(cls, TINY)
    model.save_pretrained(tmp_path / "model")
    rewrite(tmp_path / "model", lambda t: {prefix + k: v for k, v in t.items()})
    inputs = inputs_of(cls, TINY)
    compare(run_probe(tmp_path / "model", inputs, tmp_path), reference(model, inputs))
    # And saved again under the same names, which `transformers` still reads.
    run_probe(tmp_path / "model", inputs, tmp_path, "--save", tmp_path / "saved")
    assert all(k.startswith(prefix) for k in load_file(tmp_path / "saved/model.safetensors"))
    compare(reference(cls.from_pretrained(tmp_path / "saved"), inputs), reference(model, inputs),
            1 - 1e-12, 1e-12)


def test_position_ids_of_old_files_are_ignored(tiny, tmp_path):
    model, folder = tiny
    rewrite(folder, lambda t: t | {
        "text_model.embeddings.position_ids": torch.arange(16)[None],
        "vision_model.embeddings.position_ids": torch.arange(17)[None]})
    inputs = make_inputs(TINY)
    compare(run_probe(folder, inputs, tmp_path), reference(model, inputs))


def test_shards(tiny, tmp_path):
    model, _ = tiny
    model.save_pretrained(tmp_path / "shards", max_shard_size="40KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 2
    inputs = make_inputs(TINY)
    compare(run_probe(tmp_path / "shards", inputs, tmp_path), reference(model, inputs))


def test_old_config_halves_win_as_in_transformers(tiny, tmp_path):
    """Files of 2021-2023 hold text_config_dict as well; its values and defaults win."""
    model, folder = tiny
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config["text_config_dict"] = dict(config["text_config"])
    config["text_config"]["hidden_act"] = "gelu"
    config["text_config"]["num_attention_heads"] = 4
    file.write_text(json.dumps(config))
    inputs = make_inputs(TINY)
    compare(run_probe(folder, inputs, tmp_path), reference(CLIPModel.from_pretrained(folder), inputs))


def plain(config):
    """Without what says where or by which version a configuration was saved."""
    dropped = ("_name_or_path", "transformers_version")
    return {k: plain(v) if isinstance(v, dict) else v for k, v in config.items() if k not in dropped}


@pytest.mark.parametrize("cls", [CLIPModel, *SINGLE])
def test_what_we_save_loads_in_transformers(tmp_path, cls):
    model = make(cls, TINY)
    model.save_pretrained(tmp_path / "model")
    inputs = inputs_of(cls, TINY)
    run_probe(tmp_path / "model", inputs, tmp_path, "--save", tmp_path / "saved")
    loaded, info = cls.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info[k] for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert plain(loaded.config.to_dict()) == plain(cls.from_pretrained(tmp_path / "model").config.to_dict())
    compare(reference(loaded, inputs), reference(model, inputs), 1 - 1e-12, 1e-12)


# ---- bad input -------------------------------------------------------------

def refused(folder, tmp_path, *texts):
    done = run_probe(folder, make_inputs(TINY), tmp_path, check=False)
    assert done.returncode == 3, (done.returncode, done.stderr)
    for text in texts:
        assert text in done.stderr, (text, done.stderr)
    return done.stderr


def test_all_contradictions_are_listed_with_the_closest_name(tiny, tmp_path):
    _, folder = tiny

    def change(t):
        t["text_model.final_layernorm.bias"] = t.pop("text_model.final_layer_norm.bias")
        t["visual_projection.weight"] = torch.zeros(24, 47)
        t["text_projection.weight"] = t["text_projection.weight"].to(torch.int64)
        t["stranger"] = torch.zeros(3)
        del t["logit_scale"]
        return t

    rewrite(folder, change)
    refused(folder, tmp_path, str(folder), "missing 'text_model.final_layer_norm.bias' [32]",
            "closest name is 'text_model.final_layernorm.bias'",
            "'visual_projection.weight' has shape [24, 47], expected [24, 48]",
            "'text_projection.weight' has type I64", "unexpected 'stranger'",
            "missing 'logit_scale'")


def change_config(folder, *path, value):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    at = config
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    file.write_text(json.dumps(config))


@pytest.mark.parametrize("path,value,text", [
    (("text_config", "hidden_size"), "32", "hidden_size"),
    (("text_config", "hidden_size"), 0, "hidden_size"),
    (("text_config", "hidden_size"), 10**9, "hidden_size"),
    (("text_config", "num_hidden_layers"), -1, "num_hidden_layers"),
    (("text_config", "num_attention_heads"), 5, "num_attention_heads"),
    (("text_config", "vocab_size"), 10**12, "vocab_size"),
    (("text_config", "layer_norm_eps"), "x", "layer_norm_eps"),
    (("text_config", "layer_norm_eps"), -1.0, "layer_norm_eps"),
    (("text_config", "eos_token_id"), [1, 2], "eos_token_id"),
    (("text_config",), [1], "text_config"),
    (("vision_config", "patch_size"), 0, "patch_size"),
    (("vision_config", "image_size"), 10**6, "image_size"),
    (("vision_config", "image_size"), 4, "image_size"),
    (("vision_config", "num_channels"), 1, "num_channels"),
    (("vision_config", "hidden_act"), "softplus", "softplus"),
    (("vision_config", "num_hidden_layers"), 3, "missing 'vision_model.encoder.layers.2."),
    (("vision_config", "image_size"), 64, "vision_model.embeddings.position_embedding.weight"),
    (("text_config", "vocab_size"), 100, "[99, 32], expected [100, 32]"),
    (("projection_dim",), 0, "projection_dim"),
    (("model_type",), "llama", "llama"),
    (("architectures",), ["CLIPForImageClassification"], "CLIPForImageClassification"),
])
def test_bad_config(tiny, tmp_path, path, value, text):
    _, folder = tiny
    change_config(folder, *path, value=value)
    refused(folder, tmp_path, str(folder), text)


def test_pickles_are_refused_with_how_to_convert(tiny, tmp_path):
    model, folder = tiny
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    refused(folder, tmp_path, "pytorch_model.bin", "save_pretrained")


@pytest.mark.parametrize("name,content,text", [
    ("config.json", b"", "config.json"),
    ("config.json", b"{\"model_type\": ", "config.json"),
    ("config.json", b"[]", "object"),
    ("model.safetensors", b"", "model.safetensors"),
    ("model.safetensors", b"\xff" * 64, "model.safetensors"),
])
def test_broken_files(tiny, tmp_path, name, content, text):
    _, folder = tiny
    (folder / name).write_bytes(content)
    refused(folder, tmp_path, text)


def test_truncated_weights(tiny, tmp_path):
    _, folder = tiny
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(folder, tmp_path, "model.safetensors")


def test_inputs_that_do_not_fit(tiny, tmp_path):
    _, folder = tiny
    for change, text in [({"input_ids": torch.full((1, 4), 99)}, "99"),
                         ({"input_ids": torch.full((1, 4), -1)}, "-1"),
                         ({"input_ids": torch.full((1, 17), 5)}, "17"),
                         ({"pixel_values": torch.zeros(1, 3, 40, 32)}, "pixels"),
                         ({"pixel_values": torch.zeros(1, 1, 32, 32)}, "pixels")]:
        done = run_probe(folder, change, tmp_path, check=False)
        assert done.returncode == 3 and text in done.stderr, (done.returncode, done.stderr)


def test_missing_folder_and_file(tiny, tmp_path):
    _, folder = tiny
    refused(tmp_path / "none", tmp_path, "none")
    shutil.rmtree(folder)
    folder.mkdir()
    refused(folder, tmp_path, "config.json")
