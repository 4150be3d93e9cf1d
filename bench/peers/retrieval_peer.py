"""Full-matrix nearest neighbours in numpy and torch, beside Parapet's streamed search.

    retrieval_peer.py [build/release/bench/retrieval_bench] [--queries 10000] [--gallery 100000]

Each round runs our program, numpy (matmul, argpartition, sort of the k) and torch (matmul, topk), so
that a noisy machine hits all alike; medians and ratios are printed as JSON. The peers hold the whole
queries x gallery matrix, as a plain script does; --chunk N gives them N queries at a time instead
(the faster of the two is the fairer peer).
"""
import argparse
import json
import statistics
import subprocess
import time

import numpy as np
import torch


def unit(rows, width, seed):
    x = np.random.default_rng(seed).standard_normal((rows, width), dtype=np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def with_numpy(q, g, k, chunk):
    found = []
    for i in range(0, len(q), chunk):
        scores = q[i:i + chunk] @ g.T
        part = np.argpartition(scores, -k, axis=1)[:, -k:]
        order = np.argsort(-np.take_along_axis(scores, part, 1), axis=1)
        found.append(np.take_along_axis(part, order, 1))
    return np.concatenate(found)


def with_torch(q, g, k, chunk):
    q, g = torch.from_numpy(q), torch.from_numpy(g)
    return torch.cat([(q[i:i + chunk] @ g.T).topk(k, dim=1).indices
                      for i in range(0, len(q), chunk)]).numpy()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench", nargs="?", default="build/release/bench/retrieval_bench")
    parser.add_argument("--queries", type=int, default=10000)
    parser.add_argument("--gallery", type=int, default=100000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chunk", type=int, default=0, help="queries at a time; 0 = full matrix")
    parser.add_argument("--peers", default="torch,numpy")
    args = parser.parse_args()
    chunk = args.chunk or args.queries
    q, g = unit(args.queries, args.width, 0), unit(args.gallery, args.width, 1)
    run = {"torch": with_torch, "numpy": with_numpy}
    seconds = {"parapet": []} | {peer: [] for peer in args.peers.split(",")}
    for _ in range(args.rounds):
        out = subprocess.run([args.bench, str(args.queries), str(args.gallery), str(args.width),
                              str(args.k), "1"], check=True, capture_output=True, text=True).stdout
        ours = json.loads(out.splitlines()[-1])
        seconds["parapet"].append(ours["seconds"])
        for peer in args.peers.split(","):
            start = time.perf_counter()
            run[peer](q, g, args.k, chunk)
            seconds[peer].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(json.dumps({
        "name": "retrieval", "queries": args.queries, "gallery": args.gallery,
        "width": args.width, "k": args.k, "chunk": chunk, "threads": torch.get_num_threads(),
        "seconds": medians, "parapet_peak_rss_mb": ours["peak_rss_mb"],
        "parapet_rescored_share": ours["rescored_share"],
        "ratio": {peer: medians[peer] / medians["parapet"] for peer in args.peers.split(",")},
    }))


if __name__ == "__main__":
    main()
