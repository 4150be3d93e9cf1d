"""LLaVA against `transformers` on random weights, with CLIP and SigLIP towers over Llama and Qwen2:
logits, hidden states, loss, gradients of weights and pixels, decoding, files in both nestings."""
import functools
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration, Qwen2Config,
                          SiglipVisionConfig)

import llama_probe
from clip_probe import BUILD, noise
from llama_probe import LLAMA3, compare, fill, run

PROBE = BUILD / "parapet_llava_probe"
IMAGE = 95  # id of an image's places

VISION = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, image_size=30,
              patch_size=14)  # two by two patches, two pixels unused
TEXT = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0)
# LLaVA-1.5-7B's and a SigLIP-so400m's heads and widths per head; fewer layers, smaller pictures.
CLIP_L = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=2, num_attention_heads=16, image_size=56,
              patch_size=14)
SO400M = dict(hidden_size=1152, intermediate_size=4304, num_hidden_layers=2, num_attention_heads=16, image_size=56,
              patch_size=14)

VARIANTS = {
    "clip_llama": dict(vision_config=CLIPVisionConfig(**VISION), text_config=LlamaConfig(**TEXT)),
    "several_layers": dict(vision_config=CLIPVisionConfig(**VISION), vision_feature_layer=[-2, 1],
                           text_config=LlamaConfig(**TEXT, rope_parameters=LLAMA3)),
    "no_projector_bias": dict(vision_config=CLIPVisionConfig(**VISION), multimodal_projector_bias=False,
                              text_config=LlamaConfig(**TEXT), vision_feature_select_strategy="full",
                              projector_hidden_act="relu"),
    "siglip_qwen2": dict(vision_config=SiglipVisionConfig(**VISION), text_config=Qwen2Config(**TEXT),
                         vision_feature_select_strategy="full", vision_feature_layer=-1),
    "clip_large": dict(vision_config=CLIPVisionConfig(**CLIP_L), text_config=LlamaConfig(
        **dict(TEXT, hidden_size=256, num_attention_heads=2, num_key_value_heads=2))),
    "siglip_large": dict(vision_config=SiglipVisionConfig(**SO400M), text_config=LlamaConfig(**TEXT),
                         vision_feature_select_strategy="full"),
}
SMALL = [name for name in VARIANTS if "large" not in name]


def make(variant):
    config = LlavaConfig(image_token_index=IMAGE, **VARIANTS[variant])
    return fill(LlavaForConditionalGeneration(config).eval())


def places(model):
    vision = model.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + (vision.model_type == "clip_vision_model")
    return patches - (model.config.vision_feature_select_strategy == "default")


def make_inputs(model):
    """Two texts: one picture in the first; two in the second, one at its very start."""
    count = places(model)
    rows = [[5, 6, 7] + [IMAGE] * count + list(range(10, 14 + count)), [IMAGE] * count + [8, 9] + [IMAGE] * count
            + [20, 21, 22, 23, 24]]
    assert len(rows[0]) == len(rows[1])
    ids = torch.tensor(rows)
    size = model.config.vision_config.image_size
    labels = ids.clone()
    labels[labels == IMAGE] = -100
    return {"input_ids": ids, "pixel_values": noise((3, 3, size, size), 1.0, 77), "labels": labels}


run_probe = functools.partial(llama_probe.run_probe, program=PROBE)


def our_name(name):
    """transformers' module path -> ours, which is the checkpoint's."""
    if name.startswith("lm_head."):
        return "language_model." + name
    name = name.removeprefix("model.")
    return name.replace("language_model.", "language_model.model.", 1)


def reference(model, inputs):
    pixels = inputs["pixel_values"].clone().requires_grad_(True)
    result = model(input_ids=inputs["input_ids"], pixel_values=pixels, labels=inputs["labels"],
                   output_hidden_states=True)
    model.zero_grad()
    result.loss.backward()
    out = {"logits": result.logits, "loss": result.loss, "grad.pixel_values": pixels.grad,
           "image_features": torch.stack(list(result.image_hidden_states)).view(3, places(model), -1)}
    out |= {f"hidden_states.{i}": state for i, state in enumerate(result.hidden_states)}
    out |= {"grad." + our_name(name): p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {name: tensor.detach() for name, tensor in out.items()}


@pytest.fixture
def saved(tmp_path):
    def save(variant):
        model = make(variant)
        model.save_pretrained(tmp_path / "model")
        return model, tmp_path / "model"
    return save


@pytest.mark.parametrize("variant", VARIANTS)
def test_forward_loss_and_all_gradients(saved, tmp_path, variant):
    model, folder = saved(variant)
    inputs = make_inputs(model)
    theirs = reference(model, inputs)
    assert theirs["grad.pixel_values"].abs().max() > 0
    ours = run_probe(folder, inputs, tmp_path, "--grads")
    # A tower's key bias moves all scores of a query alike: its gradient is zero but for rounding.
    zero = {name for name in theirs if name.startswith("grad.vision_tower") and name.endswith("k_proj.bias")}
    assert zero and all(tensors[name].abs().max() < 1e-6 for tensors in (ours, theirs) for name in zero)
    compare(ours, {name: tensor for name, tensor in theirs.items() if name not in zero})
    assert set(ours) - set(theirs) == {"loss_from_states", "grad.states"}
    compare(ours, {"loss_from_states": theirs["loss"]}, close=1e-6)
    assert ours["grad.states"].abs().max() > 0


def test_recomputation_changes_no_bit(saved, tmp_path):
    model, folder = saved("clip_llama")
    inputs = make_inputs(model)
    plain = run_probe(folder, inputs, tmp_path, "--grads")
    again = run_probe(folder, inputs, tmp_path, "--grads", "--recompute")
    assert set(plain) == set(again) and all(torch.equal(plain[name], again[name]) for name in plain)


def test_greedy_decoding_reads_pictures_once(saved, tmp_path):
    model, folder = saved("clip_llama")
    model.generation_config.eos_token_id = None
    inputs = make_inputs(model)
    del inputs["labels"]
    ours = run_probe(folder, inputs, tmp_path, "--greedy", "12")
    theirs = model.generate(**inputs, attention_mask=torch.ones_like(inputs["input_ids"]), max_new_tokens=12,
                            do_sample=False, pad_token_id=0)
    assert torch.equal(ours["greedy.ids"].long(), theirs)


def renamed(folder, out, change):
    out.mkdir()
    (out / "config.json").write_text((folder / "config.json").read_text())
    save_file({change(name): tensor for name, tensor in load_file(folder / "model.safetensors").items()},
              out / "model.safetensors", metadata={"format": "pt"})
    return out


def nested(name):
    if name.startswith("language_model.lm_head."):
        return name.removeprefix("language_model.")
    return "model." + name.replace("language_model.model.", "language_model.", 1)


NESTINGS = {
    "as_saved": lambda name: name,
    "hub": lambda name: name.replace("vision_tower.", "vision_tower.vision_model.", 1),
    "nested": nested,
    "nested_hub": lambda name: nested(name).replace("vision_tower.", "vision_tower.vision_model.", 1),
}


@pytest.mark.parametrize("nesting", NESTINGS)
@pytest.mark.parametrize("variant", ["clip_llama", "siglip_qwen2"])
def test_every_nesting_loads_and_is_saved_as_it_was(saved, tmp_path, nesting, variant):
    model, folder = saved(variant)
    given = renamed(folder, tmp_path / "given", NESTINGS[nesting])
    inputs = make_inputs(model)
    theirs = {name: value for name, value in reference(model, inputs).items() if not name.startswith("grad")}
    ours = run_probe(given, inputs, tmp_path, "--save", tmp_path / "again")
    compare(ours, {name: value for name, value in theirs.items() if name != "loss"})
    stored, expected = (load_file(path / "model.safetensors") for path in (tmp_path / "again", given))
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in stored)
    again, info = LlavaForConditionalGeneration.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, theirs["logits"])


def test_saved_config_says_the_same(saved, tmp_path):
    for variant in SMALL:
        model = make(variant)
        model.save_pretrained(tmp_path / variant)
        run([PROBE, "--model", tmp_path / variant, "--save", tmp_path / (variant + "-again")])
        before = LlavaConfig.from_pretrained(tmp_path / variant).to_dict()
        after = LlavaConfig.from_pretrained(tmp_path / (variant + "-again")).to_dict()
        for config in (before, after):
            config.pop("transformers_version", None)
            config["text_config"].pop("max_window_layers", None)  # without a meaning here
        assert after == before, variant


@pytest.mark.parametrize("remove, said", [(1, "places for picture states"), (0, "image tokens (id 95)")])
def test_counts_that_differ_are_named(saved, tmp_path, remove, said):
    model, folder = saved("clip_llama")
    inputs = make_inputs(model)
    del inputs["labels"]
    if remove:
        inputs["input_ids"][0, 3] = 7
    else:
        inputs["pixel_values"] = inputs["pixel_values"][:2]
    save_file(inputs, tmp_path / "in.safetensors")
    done = run([PROBE, "--model", folder, "--inputs", tmp_path / "in.safetensors", "--out", tmp_path / "o"], check=False)
    assert done.returncode == 3 and said in done.stderr
    assert ("11 places" in done.stderr and "12 were" in done.stderr) if remove else "8 were" in done.stderr


@pytest.mark.parametrize("change, said", [
    (lambda c: c["vision_config"].update(model_type="pixtral"), "pixtral"),
    (lambda c: c.update(vision_feature_layer=-9), "vision_feature_layer"),
    (lambda c: c.update(vision_feature_select_strategy="cls"), "'cls'"),
    (lambda c: c.update(image_token_index=97), "image_token_index"),
    (lambda c: c["text_config"].update(model_type="gemma"), "gemma"),
    (lambda c: c.pop("text_config"), "text_config"),
    (lambda c: c["vision_config"].update(hidden_size=1 << 40), "hidden_size"),
])
def test_configs_that_cannot_be_computed_are_refused(saved, tmp_path, change, said):
    _, folder = saved("clip_llama")
    config = json.loads((folder / "config.json").read_text())
    change(config)
    (folder / "config.json").write_text(json.dumps(config))
    done = run([PROBE, "--model", folder], check=False)
    assert done.returncode == 3 and said in done.stderr and "config.json" in done.stderr, done.stderr
