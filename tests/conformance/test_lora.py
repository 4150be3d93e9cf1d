"""LoRA adapters against `peft`, both ways: embeddings, gradients, merge, what is refused."""
import json
import subprocess

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from clip_probe import (PROBE, TINY, CLIPModel, CLIPTextModel, compare, make, make_inputs, reference,
                        run_probe)

pytestmark = pytest.mark.device

PUBLISHED = ["k_proj", "v_proj", "out_proj", "fc1", "fc2", "patch_embedding"]  # Safe-CLIP's
EVERYTHING = PUBLISHED + ["q_proj", "visual_projection", "text_projection"]


def with_adapter(targets, seed=3, **more):
    """A tiny CLIP with an adapter whose B is not zero."""
    model = make(CLIPModel, TINY)
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, target_modules=targets, **more))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return tuned.eval()


@pytest.fixture
def base(tmp_path):
    make(CLIPModel, TINY).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def embeds(tensors):
    return {k: v for k, v in tensors.items() if k in ("text.embeds", "image.embeds")}


def far(a, b):
    return max((a[k] - b[k]).abs().max().item() for k in embeds(b)) > 1e-2


@pytest.mark.parametrize("targets", [PUBLISHED, EVERYTHING, ["text_model.encoder.layers.0.mlp.fc1"],
                                     r".*vision_model.*\.(q_proj|fc2)"])
@pytest.mark.parametrize("rslora", [False, True])
def test_adapter_of_peft_in_parapet(base, tmp_path, targets, rslora):
    tuned = with_adapter(targets, use_rslora=rslora)
    tuned.save_pretrained(tmp_path / "adapter")
    inputs = make_inputs(TINY)
    theirs = reference(tuned.get_base_model(), inputs)
    ours = run_probe(base, inputs, tmp_path, "--adapter", tmp_path / "adapter")
    compare(ours, theirs)
    merged = run_probe(base, inputs, tmp_path, "--adapter", tmp_path / "adapter", "--merge")
    compare(merged, theirs)
    plain = run_probe(base, inputs, tmp_path)
    assert far(ours, plain)
    off = run_probe(base, inputs, tmp_path, "--adapter", tmp_path / "adapter", "--lora-off")
    assert all(torch.equal(off[k], plain[k]) for k in plain)
    # Saving merges into the file and leaves the model as it is.
    saving = run_probe(base, inputs, tmp_path, "--adapter", tmp_path / "adapter", "--save",
                       tmp_path / "merged")
    assert all(torch.equal(saving[k], ours[k]) for k in ours)
    compare(run_probe(tmp_path / "merged", inputs, tmp_path), theirs)


@pytest.mark.parametrize("flags", [[], ["--rslora"]])
def test_adapter_of_parapet_in_peft(base, tmp_path, flags):
    inputs = make_inputs(TINY)
    ours = run_probe(base, inputs, tmp_path, "--add-lora", ",".join(EVERYTHING), "--save-adapter",
                     tmp_path / "adapter", "--lora-r", "3", *flags)
    tuned = PeftModel.from_pretrained(CLIPModel.from_pretrained(base), tmp_path / "adapter")
    stored = load_file(tmp_path / "adapter/adapter_model.safetensors")
    assert stored["base_model.model.vision_model.embeddings.patch_embedding.lora_A.weight"].shape == \
        (3, 3, 8, 8)
    loaded = {k.replace(".default", ""): v for k, v in tuned.state_dict().items() if "lora_" in k}
    assert set(loaded) == set(stored)
    assert all(torch.equal(loaded[k], stored[k]) for k in stored)
    compare(ours, reference(tuned.get_base_model().eval(), inputs))
    assert far(ours, run_probe(base, inputs, tmp_path))
    # Merged and saved by us, it is what peft merges.
    run_probe(base, inputs, tmp_path, "--adapter", tmp_path / "adapter", "--merge", "--save",
              tmp_path / "merged")
    merged = tuned.merge_and_unload().state_dict()
    saved = load_file(tmp_path / "merged/model.safetensors")
    assert set(saved) == set(merged)
    assert all(torch.allclose(saved[k], merged[k], rtol=0, atol=1e-6) for k in saved)


@pytest.mark.parametrize("targets", [PUBLISHED, EVERYTHING])
def test_gradients_of_the_adapter(base, tmp_path, targets):
    tuned = with_adapter(targets, use_rslora=True)
    tuned.save_pretrained(tmp_path / "adapter")
    inputs = make_inputs(TINY, batch=3)
    theirs = reference(tuned.get_base_model(), inputs, gradients=True)
    theirs = {k.replace(".default", "").replace("base_layer.", ""): v for k, v in theirs.items()}
    ours = run_probe(base, inputs, tmp_path, "--adapter", tmp_path / "adapter", "--grads", "lora")
    names = [k for k in theirs if k.startswith("grad.") and "lora_" in k] + ["grad.pixel_values"]
    layers = 2 * 2 * len([t for t in targets if t.endswith("_proj") or t.startswith("fc")])
    assert len(names) == 1 + 2 * (layers + 1 + 2 * ("text_projection" in targets))
    assert {k for k in ours if k.startswith("grad.")} == set(names)
    compare(ours, {k: theirs[k] for k in names} | {"loss": theirs["loss"]}, names=[*names, "loss"])


def test_bf16_compute_with_an_adapter(base, tmp_path):
    tuned = with_adapter(EVERYTHING)
    tuned.save_pretrained(tmp_path / "adapter")
    inputs = make_inputs(TINY, batch=3)
    theirs = reference(tuned.get_base_model(), inputs)
    for weights in ("fp32", "bf16"):
        ours = run_probe(base, inputs, tmp_path, "--adapter", tmp_path / "adapter", "--dtype",
                         "bf16", "--weights", weights, "--grads", "lora")
        compare(ours, theirs, cosine=0.999, difference=None, names=list(theirs))


def test_names_of_transformers_4_on_a_single_tower(tmp_path):
    """Adapters of CLIPTextModel were saved with "text_model." once, and are without it today."""
    model = make(CLIPTextModel, TINY)
    model.save_pretrained(tmp_path / "base")
    tuned = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "fc1"],
                                             init_lora_weights=False)).eval()
    tuned.save_pretrained(tmp_path / "adapter")
    inputs = {"input_ids": make_inputs(TINY)["input_ids"]}
    theirs = reference(tuned.get_base_model(), inputs)
    compare(run_probe(tmp_path / "base", inputs, tmp_path, "--adapter", tmp_path / "adapter"), theirs)
    file = tmp_path / "adapter/adapter_model.safetensors"
    save_file({k.replace("model.model.", "model.model.text_model.", 1) if "text_model" not in k else k: v
               for k, v in load_file(file).items()}, file)
    assert all("text_model." in k for k in load_file(file))
    compare(run_probe(tmp_path / "base", inputs, tmp_path, "--adapter", tmp_path / "adapter"), theirs)


@pytest.mark.parametrize("field,value", [
    ("use_dora", True), ("bias", "all"), ("fan_in_fan_out", True), ("modules_to_save", ["logit"]),
    ("rank_pattern", {"q_proj": 8}), ("alpha_pattern", {"q_proj": 8}), ("lora_bias", True),
    ("layers_to_transform", [1]), ("peft_type", "IA3"), ("r", "four"), ("r", 0), ("r", 10**9),
    ("lora_alpha", None), ("lora_dropout", 1.5), ("init_lora_weights", "pissa"),
    ("target_parameters", ["x"])])
def test_what_changes_the_result_is_refused_by_name(base, tmp_path, field, value):
    with_adapter(["q_proj"]).save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_config.json"
    config = json.loads(file.read_text())
    config[field] = value
    file.write_text(json.dumps(config))
    done = run_probe(base, make_inputs(TINY), tmp_path, "--adapter", tmp_path / "adapter", check=False)
    assert done.returncode == 3 and field in done.stderr and str(file) in done.stderr, done.stderr


def test_tensors_that_do_not_fit_are_all_listed(base, tmp_path):
    with_adapter(["q_proj"]).save_pretrained(tmp_path / "adapter")
    file = tmp_path / "adapter/adapter_model.safetensors"
    layer = "base_model.model.text_model.encoder.layers.{}.self_attn.q_proj.lora_{}.weight"
    tensors = load_file(file)
    del tensors[layer.format(0, "B")]
    tensors[layer.format(1, "A")] = torch.zeros(4, 31)
    tensors[layer.format(9, "A")] = torch.zeros(4, 32)
    save_file(tensors, file)
    done = run_probe(base, make_inputs(TINY), tmp_path, "--adapter", tmp_path / "adapter", check=False)
    assert done.returncode == 3
    for text in ["missing 'text_model.encoder.layers.0.self_attn.q_proj.lora_B.weight'",
                 "'text_model.encoder.layers.1.self_attn.q_proj.lora_A.weight' has the wrong shape",
                 "layers.9.self_attn.q_proj.lora_A.weight' fits no layer", str(file)]:
        assert text in done.stderr, (text, done.stderr)
    save_file({}, file)
    done = run_probe(base, make_inputs(TINY), tmp_path, "--adapter", tmp_path / "adapter", check=False)
    assert done.returncode == 3 and "no LoRA tensors" in done.stderr, done.stderr


def test_unknown_target_names_what_exists(base, tmp_path):
    done = subprocess.run([PROBE, "--model", base, "--add-lora", "qkv_proj", "--save-adapter",
                           tmp_path / "adapter"], capture_output=True, text=True)
    assert done.returncode == 2 and "qkv_proj" in done.stderr and "q_proj" in done.stderr
