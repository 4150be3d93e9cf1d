"""safetensors_bench beside Python's safetensors on the same 300 MB file, interleaved.

    .venv/bin/python bench/peers/safetensors_peer.py build/release/safetensors_bench [MEGABYTES]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file, save_file

REPEATS = 5


def make_file(path, megabytes):
    count = max(1, megabytes // 4)
    tensors = {f"layer.{i}.weight": torch.randn(1024, 1024) for i in range(count)}
    save_file(tensors, path, metadata={"format": "pt"})


def touch_pages(tensor):
    return tensor.view(torch.uint8).view(-1)[::4096].sum().item()


def copy_out(tensor, buffer=torch.empty(1024, 1024)):
    buffer.copy_(tensor)


def peer(path, touch):
    best = 0.0
    for _ in range(REPEATS):
        start = time.perf_counter()
        tensors = load_file(path)
        size = 0
        for tensor in tensors.values():
            touch(tensor)
            size += tensor.numel() * tensor.element_size()
        best = max(best, size / (time.perf_counter() - start) / 1e9)
    return best


def main():
    program = sys.argv[1]
    megabytes = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "bench.safetensors"
        make_file(path, megabytes)
        theirs = {"safetensors.touch_pages": 0.0, "safetensors.copy_out": 0.0}
        ours = dict(theirs)
        for _ in range(3):
            for name, touch in (("touch_pages", touch_pages), ("copy_out", copy_out)):
                key = f"safetensors.{name}"
                theirs[key] = max(theirs[key], peer(path, touch))
            out = subprocess.run([program, path, str(REPEATS)], check=True, capture_output=True)
            for line in out.stdout.splitlines():
                row = json.loads(line)
                ours[row["name"]] = max(ours[row["name"]], row["value"])
    for name, value in ours.items():
        row = {"name": name, "value": value, "unit": "GB/s", "peer": "safetensors (Python)"}
        print(json.dumps(row | {"peer_value": theirs[name], "ratio": value / theirs[name]}))


if __name__ == "__main__":
    main()
