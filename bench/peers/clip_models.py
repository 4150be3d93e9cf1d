"""Random-weight CLIP folders and inputs of natural size for the benchmarks."""

import json
import pathlib
import random

import numpy as np
from PIL import Image

SIZES = {
    "B/32": dict(text=dict(hidden_size=512, intermediate_size=2048, num_attention_heads=8),
                 vision=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                             num_attention_heads=12, patch_size=32), projection_dim=512),
    "L/14": dict(text=dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12),
                 vision=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
                             num_attention_heads=16, patch_size=14), projection_dim=768),
}
VOCABULARY = ".cache/assets/bpe_simple_vocab_16e6.txt.gz"
WORDS = ("a photo of the man woman dog cat on in with near street table red blue large small two "
         "riding holding sitting standing playing beach kitchen train bus pizza umbrella grass "
         "water sky building snow board bench tennis ball plate food old young white black").split()


def make_model(size, folder):
    """A CLIPModel of `size` with random weights, saved by transformers; reused when it is there."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    folder = pathlib.Path(folder)
    if (folder / "done").exists():
        return folder
    torch.manual_seed(0)
    shape = SIZES[size]
    width = shape["projection_dim"]
    config = CLIPConfig(text_config=dict(shape["text"], projection_dim=width),
                        vision_config=dict(shape["vision"], projection_dim=width),
                        projection_dim=width)
    CLIPModel(config).save_pretrained(folder)
    write_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({
        "image_processor_type": "CLIPImageProcessor", "do_resize": True, "do_center_crop": True,
        "do_rescale": True, "do_normalize": True, "do_convert_rgb": True, "resample": 3,
        "size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224},
        "rescale_factor": 1 / 255, "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711]}))
    (folder / "done").write_text("")
    return folder


def write_tokenizer(folder):
    """vocab.json and merges.txt from CLIP's published vocabulary."""
    import gzip

    lines = gzip.open(VOCABULARY, "rt", encoding="utf-8").read().split("\n")
    merges = lines[1:49152 - 256 - 2 + 1]
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols, extra = [chr(b) for b in visible], 0
    for byte in range(256):
        if byte not in visible:
            symbols.append(chr(256 + extra))
            extra += 1
    vocabulary = symbols + [s + "</w>" for s in symbols] + ["".join(m.split()) for m in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77,
         "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
         "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}))


def captions(count, seed=0):
    """8 to 14 common words: the length of COCO captions."""
    generator = random.Random(seed)
    return [" ".join(generator.choice(WORDS) for _ in range(generator.randint(8, 14)))
            for _ in range(count)]


def write_images(folder, count, size=(320, 240)):
    """JPEGs of smooth colour fields; returns their paths."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    paths = []
    for i in range(count):
        path = folder / f"{i:05d}.jpg"
        if not path.exists():
            coarse = generator.integers(0, 256, (6, 8, 3), np.uint8)
            Image.fromarray(coarse).resize(size, Image.BICUBIC).save(path, quality=90)
        paths.append(path)
    return paths
