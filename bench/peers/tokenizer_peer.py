"""tokenizer_bench beside Python's `tokenizers`, CLIP's vocabulary, short captions, one thread each.

    .venv/bin/python bench/peers/tokenizer_peer.py build/release/bench/tokenizer_bench

Captions are 6 to 14 English words drawn by Zipf's law from CLIP's own vocabulary. Each round runs our
program (one warm pass, one timed) and the peer's three ways in: a loop of encode(), encode_batch()
and encode_batch_fast() (no offsets), with TOKENIZERS_PARALLELISM=false. Medians of
CPU time, which other work on the machine does not stretch; the token counts must agree.
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/conformance"))

from clip_vocabulary import write_clip_files  # noqa: E402
from tokenizer_support import CLIP_VOCABULARY  # noqa: E402
from transformers import CLIPTokenizer  # noqa: E402


def captions(vocab, count):
    rng = random.Random(3)
    words = [token[:-4] for token in list(vocab)[512:20_000] if token.endswith("</w>") and token[:-4].isalpha()]
    weights = [1 / (rank + 10) for rank in range(len(words))]
    texts = []
    for drawn in (rng.choices(words, weights, k=rng.randint(6, 14)) for _ in range(count)):
        texts.append(rng.choice(["a photo of ", "", "The "]) + " ".join(drawn) + rng.choice(["", ".", "!"]))
    return texts


def timed(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench", nargs="?", default="build/release/bench/tokenizer_bench")
    parser.add_argument("--texts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_clip_files(CLIP_VOCABULARY, folder)
        reference = CLIPTokenizer.from_pretrained(folder)
        reference.save_pretrained(folder)
        peer = reference.backend_tokenizer
        texts = captions(json.loads((folder / "vocab.json").read_text()), args.texts)
        (folder / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
        ways = {
            "encode loop": lambda: [peer.encode(text).ids for text in texts],
            "encode_batch": lambda: peer.encode_batch(texts),
            "encode_batch_fast": lambda: peer.encode_batch_fast(texts),
        }
        tokens = sum(len(ids) for ids in ways["encode loop"]())  # warms the peer's cache too
        seconds = {"parapet": [], **{way: [] for way in ways}}
        for _ in range(args.rounds):
            command = [args.bench, str(folder), str(folder / "texts.jsonl"), "2"]
            ours = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            assert ours["tokens"] == tokens, "the programs do not agree on the number of tokens"
            seconds["parapet"].append(ours["seconds"][-1])
            for way, call in ways.items():
                seconds[way].append(timed(call))
    median = {way: statistics.median(values) for way, values in seconds.items()}
    for way in ways:
        row = {
            "name": f"tokenizer.clip.captions ({way})", "unit": "us/text (CPU)", "peer": "tokenizers", "texts": len(texts),
            "tokens": tokens, "value": median["parapet"] / len(texts) * 1e6, "peer_value": median[way] / len(texts) * 1e6,
            "ratio": median[way] / median["parapet"],
        }
        print(json.dumps(row))


if __name__ == "__main__":
    main()
