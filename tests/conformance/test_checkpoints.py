"""Weights in shards, both ways with `transformers`."""
import json

import torch
from safetensors.torch import load_file

from clip_probe import TINY, CLIPModel, CLIPTextModel, compare, make, make_inputs, reference, run_probe


def shards(folder):
    return sorted(path.name for path in folder.glob("model-*.safetensors"))


def test_shards_of_transformers_load(tmp_path):
    model = make(CLIPModel, TINY)
    model.save_pretrained(tmp_path / "model", max_shard_size="60KB")
    assert len(shards(tmp_path / "model")) > 2
    inputs = make_inputs(TINY)
    compare(run_probe(tmp_path / "model", inputs, tmp_path), reference(model, inputs))


def test_shards_load_in_transformers(tmp_path):
    model = make(CLIPModel, TINY)
    model.save_pretrained(tmp_path / "model")
    inputs = make_inputs(TINY)
    run_probe(tmp_path / "model", inputs, tmp_path, "--save", tmp_path / "saved", "--shard-bytes",
              "60000")
    names = shards(tmp_path / "saved")
    assert len(names) > 2 and names[0].endswith(f"-of-{len(names):05d}.safetensors")
    assert not (tmp_path / "saved/model.safetensors").exists()

    index = json.loads((tmp_path / "saved/model.safetensors.index.json").read_text())
    stored = {name: load_file(tmp_path / "saved" / name) for name in names}
    assert index["weight_map"] == {key: name for name in names for key in stored[name]}
    sizes = [tensor.nbytes for part in stored.values() for tensor in part.values()]
    assert index["metadata"]["total_size"] == sum(sizes)
    assert index["metadata"]["total_parameters"] == sum(p.numel() for p in model.parameters())
    assert all(sum(t.nbytes for t in part.values()) <= 60000 or len(part) == 1
               for part in stored.values())

    loaded, report = CLIPModel.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs = model.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in loaded.state_dict().items())


def test_the_index_is_theirs(tmp_path):
    """Field for field what `save_pretrained` writes for the same cut."""
    model = make(CLIPTextModel, TINY)
    model.save_pretrained(tmp_path / "model", max_shard_size="1GB")
    run_probe(tmp_path / "model", {"input_ids": make_inputs(TINY)["input_ids"]}, tmp_path,
              "--save", tmp_path / "saved", "--shard-bytes", "20000")
    model.save_pretrained(tmp_path / "theirs", max_shard_size=20000)
    ours = json.loads((tmp_path / "saved/model.safetensors.index.json").read_text())
    theirs = json.loads((tmp_path / "theirs/model.safetensors.index.json").read_text())
    assert set(ours) == set(theirs)
    assert set(ours["weight_map"]) == set(theirs["weight_map"])
    assert ours["metadata"] == theirs["metadata"]
