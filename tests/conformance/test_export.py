"""`parapet export`: each layout is loaded by its real consumer, and comes back bit for bit."""
import json
import subprocess
import sys
import types

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from clip_probe import (PARAPET, TINY, CLIPModel, CLIPTextModel, CLIPTextModelWithProjection,
                        CLIPVisionModel, compare, make, make_inputs, reference)


def parapet_export(model, to, out, *flags):
    done = subprocess.run([str(x) for x in (PARAPET, "export", "--model", model, "--to", to, "--out",
                                            out, "--json", *flags)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def refused(code, *arguments):
    done = subprocess.run([str(x) for x in (PARAPET, "export", *arguments)], capture_output=True,
                          text=True)
    assert done.returncode == code, (done.returncode, done.stderr)
    return done.stderr


def variant(act="quick_gelu", end=98):
    config = json.loads(json.dumps(TINY))
    config["text_config"].update(hidden_act=act, eos_token_id=end)
    config["vision_config"].update(hidden_act=act)
    return config


@pytest.fixture
def clip(tmp_path):
    model = make(CLIPModel, variant())
    model.save_pretrained(tmp_path / "clip")
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / "clip" / name).write_text("{}" if name.endswith("json") else "#version: 0.2\n")
    return model, tmp_path / "clip"


def same_files(a, b):
    a, b = load_file(a), load_file(b)
    assert set(a) == set(b)
    for name in a:
        assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), name


# ---- diffusers -------------------------------------------------------------

def test_diffusers_text_encoder(clip, tmp_path):
    model, folder = clip
    result = parapet_export(folder, "diffusers", tmp_path / "out")
    assert (tmp_path / "out/tokenizer/merges.txt").exists()
    loaded, info = CLIPTextModel.from_pretrained(tmp_path / "out/text_encoder",
                                                 output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    inputs = {"input_ids": make_inputs(TINY)["input_ids"]}
    with torch.no_grad():
        ours = loaded(**inputs, output_hidden_states=True)
        theirs = model.text_model(**inputs, output_hidden_states=True)
    assert torch.equal(ours.last_hidden_state, theirs.last_hidden_state)
    assert torch.equal(ours.hidden_states[-2], theirs.hidden_states[-2])  # Stable Diffusion's clip skip
    assert result["tensors"] == len(loaded.state_dict())


def test_diffusers_second_encoder_of_sdxl(clip, tmp_path):
    model, folder = clip
    parapet_export(folder, "diffusers", tmp_path / "out", "--with-projection")
    loaded = CLIPTextModelWithProjection.from_pretrained(tmp_path / "out/text_encoder")
    inputs = {"input_ids": make_inputs(TINY)["input_ids"]}
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).text_embeds,
                           model.get_text_features(**inputs).pooler_output)


def test_stable_diffusion_pipeline_takes_the_folder(clip, tmp_path):
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    model, folder = clip
    unet = UNet2DConditionModel(sample_size=8, block_out_channels=(8, 8), layers_per_block=1,
                                norm_num_groups=4, cross_attention_dim=32, attention_head_dim=4,
                                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
    vae = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4)
    parapet_export(folder, "diffusers", tmp_path / "out")
    original = make(CLIPTextModel, TINY, seed=9)
    pipeline = StableDiffusionPipeline(vae, original, None, unet, DDIMScheduler(), None, None,
                                       requires_safety_checker=False)
    pipeline.save_pretrained(tmp_path / "pipeline")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "out/text_encoder" / name).rename(tmp_path / "pipeline/text_encoder" / name)
    loaded = StableDiffusionPipeline.from_pretrained(tmp_path / "pipeline", tokenizer=None,
                                                     safety_checker=None, feature_extractor=None)
    ids = make_inputs(TINY)["input_ids"]
    with torch.no_grad():
        assert torch.equal(loaded.text_encoder(ids)[0], model.text_model(ids)[0])
        assert not torch.allclose(loaded.text_encoder(ids)[0], original(ids)[0], atol=1e-2)


# ---- ComfyUI, stable-diffusion.cpp -----------------------------------------

@pytest.mark.parametrize("weights,dtype", [("keep", torch.float32), ("fp16", torch.float16),
                                           ("bf16", torch.bfloat16)])
def test_single_file_has_the_published_names(clip, tmp_path, weights, dtype):
    model, folder = clip
    result = parapet_export(folder, "comfyui", tmp_path / "out", "--weights", weights)
    tensors = load_file(result["files"][0])
    # clip_l.safetensors: "text_model.…" as the hub's CLIP has them, and the projection.
    wanted = {k: v for k, v in model.state_dict().items()
              if k.startswith("text_model.") or k == "text_projection.weight"}
    assert set(tensors) == set(wanted)
    assert all(torch.equal(tensors[k], wanted[k].to(dtype)) for k in wanted)
    with safe_open(result["files"][0], "pt") as file:
        assert file.metadata()["format"] == "pt"


def test_single_file_is_named_by_its_width(tmp_path):
    for width, name in [(768, "clip_l"), (1280, "clip_g")]:
        config = json.loads(json.dumps(TINY))
        config["text_config"].update(hidden_size=width, num_attention_heads=width // 64)
        make(CLIPTextModel, config).save_pretrained(tmp_path / name)
        result = parapet_export(tmp_path / name, "comfyui", tmp_path / "out")
        assert result["files"] == [str(tmp_path / f"out/{name}.safetensors")]


def test_single_file_in_diffusers_single_file_loader(clip, tmp_path):
    from diffusers.loaders.single_file_utils import create_diffusers_clip_model_from_ldm
    model, folder = clip
    result = parapet_export(folder, "comfyui", tmp_path / "out")
    parapet_export(folder, "diffusers", tmp_path / "config")
    checkpoint = {"cond_stage_model.transformer." + k: v
                  for k, v in load_file(result["files"][0]).items() if k.startswith("text_model.")}
    loaded = create_diffusers_clip_model_from_ldm(CLIPTextModel, checkpoint,
                                                  config=str(tmp_path / "config/text_encoder"),
                                                  local_files_only=True)
    ids = make_inputs(TINY)["input_ids"]
    with torch.no_grad():
        assert torch.equal(loaded(ids)[0], model.text_model(ids)[0])


# ---- open_clip -------------------------------------------------------------

@pytest.fixture(scope="module")
def open_clip_model():
    """open_clip's own model code. Its package imports torchvision (image transforms, a ResNet norm)
    and ftfy, which are not installed; nothing of them is called here. transformers, optional, is hidden
    meanwhile, as it would take the stand-in for the real torchvision."""
    class Empty(type):
        def __getattr__(cls, name):  # InterpolationMode.BICUBIC and the like
            if name.startswith("__"):
                raise AttributeError(name)
            return name

    class Anything(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Empty(name, (), {})

    names = ["torchvision", "torchvision.transforms", "torchvision.transforms.functional",
             "torchvision.ops", "torchvision.ops.misc", "ftfy"]
    with pytest.MonkeyPatch.context() as patch:
        for name in names:
            patch.setitem(sys.modules, name, Anything(name))
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, sys.modules[name])
        patch.setitem(sys.modules, "transformers", None)
        import open_clip.model
    return open_clip.model


def load_in_open_clip(module, folder):
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    model = module.CLIP(**config)
    missing, unexpected = model.load_state_dict(load_file(folder / "open_clip_model.safetensors"),
                                                strict=True)
    assert not missing and not unexpected
    return model.eval()


@pytest.mark.parametrize("act", ["quick_gelu", "gelu", "gelu_pytorch_tanh"])
@pytest.mark.parametrize("end", [98, 2, 50])
def test_open_clip_computes_the_same(open_clip_model, tmp_path, act, end):
    config = variant(act, end)
    config["vision_config"].update(num_attention_heads=2, intermediate_size=113)  # head_width 24
    config["text_config"].update(layer_norm_eps=1e-6)
    model = make(CLIPModel, config)
    model.save_pretrained(tmp_path / "clip")
    parapet_export(tmp_path / "clip", "open_clip", tmp_path / "out")
    theirs = load_in_open_clip(open_clip_model, tmp_path / "out")
    inputs = make_inputs(config)
    expected = reference(model, inputs)
    with torch.no_grad():
        ours = {"text.embeds": theirs.encode_text(inputs["input_ids"]),
                "image.embeds": theirs.encode_image(inputs["pixel_values"])}
    compare(ours, expected, names=list(ours))
    assert theirs.logit_scale.item() == model.logit_scale.item()


def test_open_clip_there_and_back(clip, tmp_path):
    _, folder = clip
    (folder / "preprocessor_config.json").write_text(json.dumps(
        {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}))
    parapet_export(folder, "open_clip", tmp_path / "out")
    written = json.loads((tmp_path / "out/open_clip_config.json").read_text())
    assert written["model_cfg"]["quick_gelu"] is True
    assert written["preprocess_cfg"]["mean"] == [0.5, 0.4, 0.3]
    parapet_export(tmp_path / "out", "hf", tmp_path / "back")
    same_files(folder / "model.safetensors", tmp_path / "back/model.safetensors")
    assert CLIPModel.from_pretrained(tmp_path / "back").config.text_config.eos_token_id == 98


def test_open_clip_made_by_open_clip(open_clip_model, tmp_path):
    """A folder as open_clip's save_for_hf writes it becomes a Hugging Face CLIP."""
    config = {"embed_dim": 24, "quick_gelu": False,
              "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32,
                             "patch_size": 8, "mlp_ratio": 3.7},
              "text_cfg": {"context_length": 16, "vocab_size": 99, "width": 32, "heads": 2,
                           "layers": 2}}
    torch.manual_seed(3)
    model = open_clip_model.CLIP(**config).eval()
    folder = tmp_path / "made"
    folder.mkdir()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()},
              folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps(
        {"model_cfg": config, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}))
    parapet_export(folder, "hf", tmp_path / "hf")
    loaded = CLIPModel.from_pretrained(tmp_path / "hf").eval()
    inputs = make_inputs(TINY)
    with torch.no_grad():
        compare({"text": loaded.get_text_features(inputs["input_ids"]).pooler_output,
                 "image": loaded.get_image_features(inputs["pixel_values"]).pooler_output},
                {"text": model.encode_text(inputs["input_ids"]),
                 "image": model.encode_image(inputs["pixel_values"])})
    processor = json.loads((tmp_path / "hf/preprocessor_config.json").read_text())
    assert processor["image_mean"] == [0.5] * 3 and processor["crop_size"]["height"] == 32
    parapet_export(tmp_path / "hf", "open_clip", tmp_path / "again")
    same_files(folder / "open_clip_model.safetensors", tmp_path / "again/open_clip_model.safetensors")


# ---- LLaVA -----------------------------------------------------------------

def small_llava(vision_config):
    from transformers.models.llama.configuration_llama import LlamaConfig
    from transformers.models.llava.configuration_llava import LlavaConfig
    from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration
    torch.manual_seed(4)
    text = LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=1,
                       num_attention_heads=2, vocab_size=64)
    return LlavaForConditionalGeneration(LlavaConfig(
        vision_config=vision_config, text_config=text, image_token_index=60,
        vision_feature_layer=-2)).eval()


def test_llava_takes_the_vision_tower(clip, tmp_path):
    model, folder = clip
    result = parapet_export(folder, "llava", tmp_path / "out")
    llava = small_llava(model.config.vision_config)
    llava.save_pretrained(tmp_path / "llava")
    tower = load_file(tmp_path / "out/llava_vision_tower.safetensors")
    assert str(tmp_path / "out/llava_vision_tower.safetensors") in result["files"]
    # In the checkpoint, the tower's tensors give way to ours; names as in published LLaVA files.
    file = tmp_path / "llava/model.safetensors"
    tensors = {k: v for k, v in load_file(file).items() if "vision_tower" not in k}
    save_file(tensors | tower, file, {"format": "pt"})
    loaded, info = type(llava).from_pretrained(tmp_path / "llava", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    pixels = make_inputs(TINY)["pixel_values"]
    with torch.no_grad():
        ours = loaded.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-2]
        theirs = model.vision_model(pixels, output_hidden_states=True).hidden_states[-2]
    assert torch.equal(ours, theirs)


def test_llava_vision_folder_and_original_names(clip, tmp_path):
    model, folder = clip
    parapet_export(folder, "llava_original", tmp_path / "out")
    tensors = load_file(tmp_path / "out/llava_vision_tower.safetensors")
    prefix = "model.vision_tower.vision_tower.vision_model."
    assert {k.removeprefix(prefix) for k in tensors} == set(model.vision_model.state_dict())
    assert all(k.startswith(prefix) for k in tensors)
    tower, info = CLIPVisionModel.from_pretrained(tmp_path / "out/vision_tower",
                                                  output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    pixels = make_inputs(TINY)["pixel_values"]
    with torch.no_grad():
        assert torch.equal(tower(pixels).last_hidden_state,
                           model.vision_model(pixels).last_hidden_state)


# ---- into a LLaVA checkpoint -----------------------------------------------

def write_llava(folder, layout="transformers", seed=3, **more):
    """A tiny LLaVA as `transformers` saves it, or under the names of the hub or of LLaVA itself."""
    from transformers import LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    text = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                       num_attention_heads=2)
    torch.manual_seed(seed)
    vision = CLIPVisionConfig(**TINY["vision_config"])
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text,
                                                      image_token_index=63))
    model.to(more.pop("dtype", torch.float32)).save_pretrained(folder, **more)
    prefix = {"hub": "vision_tower.vision_model.",
              "original": "model.vision_tower.vision_tower.vision_model."}.get(layout)
    for file in folder.glob("*.safetensors") if prefix else []:
        save_file({k.replace("vision_tower.", prefix, 1) if k.startswith("vision_tower.") else k: v
                   for k, v in load_file(file).items()}, file, {"format": "pt"})
    (folder / "generation_config.json").write_text('{"max_new_tokens": 7}')
    (folder / "old.bin").write_bytes(b"pickle")
    return folder


def parapet_into(model, llava, out):
    done = subprocess.run([str(x) for x in (PARAPET, "export", "--model", model, "--into", llava, "--out",
                                            out, "--json")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def all_tensors(folder):
    return {k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()}


@pytest.mark.parametrize("layout", ["transformers", "hub", "original"])
def test_into_llava_name_by_name(clip, tmp_path, layout):
    model, folder = clip
    llava = write_llava(tmp_path / "llava", layout)
    result = parapet_into(folder, llava, tmp_path / "out")
    before, after = all_tensors(llava), all_tensors(tmp_path / "out")
    assert set(before) == set(after)
    ours = {k.removeprefix("vision_model."): v for k, v in model.state_dict().items()
            if k.startswith("vision_model.") and not k.endswith("position_ids")}
    replaced = set()
    for name, tensor in after.items():
        if "vision_tower." in name:
            bare = name.split("vision_tower.")[-1].removeprefix("vision_model.")
            assert torch.equal(tensor, ours[bare]) and not torch.equal(tensor, before[name]), name
            replaced.add(bare)
        else:
            assert torch.equal(tensor, before[name]), name
    assert replaced == set(ours) and result["tensors"] == len(ours)
    assert (tmp_path / "out/generation_config.json").read_text() == '{"max_new_tokens": 7}'
    assert (tmp_path / "out/config.json").read_bytes() == (llava / "config.json").read_bytes()
    assert not (tmp_path / "out/old.bin").exists()


@pytest.mark.parametrize("layout", ["transformers", "hub"])
@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "60KB"}])
def test_into_llava_loads_in_transformers(clip, tmp_path, layout, shards):
    from transformers import LlavaForConditionalGeneration
    model, folder = clip
    if layout == "hub" and shards:
        pytest.skip("the index would have to be renamed too")
    llava = write_llava(tmp_path / "llava", layout, dtype=torch.bfloat16, **shards)
    assert len(list(llava.glob("*.safetensors"))) > 1 or not shards
    parapet_into(folder, llava, tmp_path / "out")
    loaded, info = LlavaForConditionalGeneration.from_pretrained(tmp_path / "out", dtype=torch.bfloat16,
                                                                 output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    pixels = make_inputs(TINY)["pixel_values"].bfloat16()
    with torch.no_grad():
        theirs = model.vision_model.bfloat16()(pixels).last_hidden_state
        assert torch.equal(loaded.model.vision_tower(pixels).last_hidden_state, theirs)
    untouched = LlavaForConditionalGeneration.from_pretrained(llava, dtype=torch.bfloat16)
    for (name, a), (_, b) in zip(loaded.named_parameters(), untouched.named_parameters()):
        assert torch.equal(a, b) == ("vision_tower" not in name), name


def test_into_llava_refuses(clip, tmp_path):
    model, folder = clip
    llava, out = write_llava(tmp_path / "llava"), tmp_path / "out"
    common = ("--model", folder, "--into", llava, "--out", out)
    assert "--to, --into" in refused(2, *common, "--to", "hf")
    assert "--weights" in refused(2, *common, "--weights", "fp16")
    assert "itself" in refused(2, "--model", folder, "--into", llava, "--out", llava)
    model.text_model.save_pretrained(tmp_path / "text")
    assert "vision tower" in refused(2, "--model", tmp_path / "text", "--into", llava, "--out", out)
    assert "vision_tower." in refused(3, "--model", folder, "--into", folder, "--out", out)
    for field, value in (("hidden_act", "gelu"), ("num_attention_heads", 2)):
        config = variant()
        config["vision_config"][field] = value
        make(CLIPModel, config).save_pretrained(tmp_path / field)
        assert field in refused(3, "--model", tmp_path / field, "--into", llava, "--out", out)
    tensors = load_file(llava / "model.safetensors")
    name = next(k for k in tensors if k.endswith("post_layernorm.weight"))
    save_file({k: v for k, v in tensors.items() if k != name}, llava / "model.safetensors",
              {"format": "pt"})
    assert "missing 'vision_tower.post_layernorm.weight'" in refused(3, *common)
    save_file(dict(tensors, **{name: torch.ones(5), "vision_tower.extra": torch.ones(2)}),
              llava / "model.safetensors", {"format": "pt"})
    errors = refused(3, *common)
    assert "is [5], expected [48]" in errors and "unexpected 'vision_tower.extra'" in errors
    assert not out.exists()


# ---- round trips, adapters, bad input --------------------------------------

@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("to,file,part", [
    ("hf", "model.safetensors", ""), ("open_clip", "open_clip_model.safetensors", ""),
    ("diffusers", "text_encoder/model.safetensors", "text_model."),
    ("comfyui", "clip_text.safetensors", "text_"),
    ("llava", "llava_vision_tower.safetensors", "vision_model."),
    ("llava_original", "llava_vision_tower.safetensors", "vision_model.")])
def test_there_and_back_is_exact(tmp_path, to, file, part, stored):
    make(CLIPModel, TINY).to(stored).save_pretrained(tmp_path / "clip")
    parapet_export(tmp_path / "clip", to, tmp_path / "out")
    parapet_export(tmp_path / "out" / file, "hf", tmp_path / "back")
    before = load_file(tmp_path / "clip/model.safetensors")
    after = load_file(tmp_path / "back/model.safetensors")
    assert set(after) == {k for k in before if k.startswith(part)}
    assert all(after[k].dtype == before[k].dtype and torch.equal(after[k], before[k]) for k in after)


def test_adapter_is_merged_first(clip, tmp_path):
    from peft import LoraConfig, get_peft_model
    model, folder = clip
    tuned = get_peft_model(model, LoraConfig(r=3, target_modules=["v_proj", "fc2"],
                                             init_lora_weights=False))
    tuned.save_pretrained(tmp_path / "adapter")
    result = parapet_export(folder, "comfyui", tmp_path / "out", "--adapter", tmp_path / "adapter")
    assert result["adapter_merged"] is True
    merged = tuned.merge_and_unload().state_dict()
    for name, tensor in load_file(result["files"][0]).items():
        assert torch.allclose(tensor, merged[name], rtol=0, atol=1e-6), name


def test_bad_input(clip, tmp_path):
    model, folder = clip
    out = tmp_path / "out"
    assert "gguf" in refused(2, "--model", folder, "--to", "gguf", "--out", out)
    assert "--out" in refused(2, "--model", folder, "--to", "hf")
    assert "--to, --into" in refused(2, "--model", folder, "--out", out)
    assert "none" in refused(3, "--model", tmp_path / "none", "--to", "hf", "--out", out)
    model.text_model.save_pretrained(tmp_path / "text")
    message = refused(2, "--model", tmp_path / "text", "--to", "llava", "--out", out)
    assert "vision tower" in message
    save_file(model.state_dict(), tmp_path / "lone.safetensors")
    assert "--config-from" in refused(3, "--model", tmp_path / "lone.safetensors", "--to", "hf",
                                      "--out", out)
    save_file({k: v for k, v in model.state_dict().items() if k.startswith("text_")},
              tmp_path / "text.safetensors")
    parapet_export(tmp_path / "text.safetensors", "hf", tmp_path / "told", "--config-from", folder)
    assert json.loads((tmp_path / "told/config.json").read_text())["architectures"] == \
        ["CLIPTextModelWithProjection"]
    # A model's own folder is not silently taken for less than its config.json says.
    (folder / "model.safetensors").write_bytes((tmp_path / "text.safetensors").read_bytes())
    assert "missing 'vision_model." in refused(3, "--model", folder, "--to", "hf", "--out", out)
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["hidden_size"] = 34
    (folder / "config.json").write_text(json.dumps(config))
    assert "expected [99, 34]" in refused(3, "--model", folder, "--to", "open_clip", "--out", out)
    assert not out.exists()
