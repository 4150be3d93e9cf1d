#!/usr/bin/env python3
"""Runs every benchmark beside its peer and prints the ratios; `make bench`.

    .venv/bin/python bench/run.py [NAME ...]      names: see --list
    .venv/bin/python bench/run.py --out out/bench.json

Each peer script runs our program and the peer in turn in one process tree and compares medians, so
the ratio holds when a shared machine drifts; absolute times do not travel.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/release"
PEERS = ROOT / "bench/peers"


def program(name):
    for path in (BUILD / name, BUILD / "bench" / name):
        if path.exists():
            return str(path)
    sys.exit(f"{name} is not built: run `make bench`")


def benchmarks():
    python = sys.executable
    parapet = program("parapet")
    return {
        "safetensors": [python, PEERS / "safetensors_peer.py", program("safetensors_bench")],
        "images": [python, PEERS / "image_peer.py", program("image_bench")],
        "shards": [python, PEERS / "shard_peer.py", program("shard_bench")],
        "tokenizer": [python, PEERS / "tokenizer_peer.py", program("tokenizer_bench")],
        "world": [program("world_bench")],
        "retrieval": [python, PEERS / "retrieval_peer.py", program("retrieval_bench")],
        "embed-b32": [python, PEERS / "embed_peer.py", parapet, "B/32", "64"],
        "embed-l14": [python, PEERS / "embed_peer.py", parapet, "L/14", "16"],
        "openvino-b32": [python, PEERS / "openvino_peer.py", program("encoder_bench"), parapet, "B/32"],
        "openvino-l14": [python, PEERS / "openvino_peer.py", program("encoder_bench"), parapet, "L/14",
                         "3", "1,8"],
        "serve": [python, PEERS / "serve_peer.py", parapet, program("serve_bench")],
        "safe-clip-training": [python, PEERS / "safe_clip_peer.py", parapet],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="benchmarks to run; all when none is given")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--out", default="out/bench.json")
    arguments = parser.parse_args()
    known = benchmarks()
    if arguments.list:
        print("\n".join(known))
        return 0
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]}; known: {', '.join(known)}")
    results, failed = [], 0
    for name in arguments.names or known:
        print(f"== {name}", flush=True)
        start = time.time()
        done = subprocess.run([str(part) for part in known[name]], cwd=ROOT, text=True,
                              stdout=subprocess.PIPE)
        print(done.stdout.strip(), flush=True)
        failed += done.returncode != 0
        results.append({"name": name, "rc": done.returncode, "seconds": round(time.time() - start, 1),
                        "output": done.stdout.strip().splitlines()})
    cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo")
                if line.startswith("model name")), platform.processor())
    out = ROOT / arguments.out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"processor": cpu, "cores": os.cpu_count(), "results": results}, indent=1))
    print(f"written to {out}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
