"""shard_bench beside a Pillow loop: quadruplets (two JPEGs each) a second and core, out of tar
shards, as CLIP takes them at 224 pixels. Processor time, one thread each, interleaved.

    .venv/bin/python bench/peers/shard_peer.py build/release/shard_bench

The shards hold pictures stored at the model's own size, as img2dataset resizes them (256), and
larger ones. Pillow uses its scaled decode (Image.draft) too.
"""

import io
import json
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import time

from image_peer import decode, normalise, photograph, to_pixels

ROUNDS, REPEATS, PAIRS = 3, 3, 24
SIZES = {"224": (224, 224), "256": (341, 256), "512": (683, 512), "1024": (1365, 1024)}


def make_shard(file, size):
    members = []
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(2 * PAIRS):
            out = io.BytesIO()
            # A crop of its own for each: one noise picture is dear to make.
            width, height = size
            big = make_shard.cache.setdefault(size, photograph(width + 64, height + 64))
            left = index % 8 * 8
            top = index // 8 * 8
            big.crop((left, top, left + width, top + height)).save(out, "JPEG", quality=90)
            data = out.getvalue()
            members.append(data)
            member = tarfile.TarInfo(f"{index // 2:05d}.{'un' * (index % 2)}safe.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return members


make_shard.cache = {}


def pillow(members):
    best = 1e9
    for _ in range(REPEATS):
        start = time.process_time()
        for data in members:
            normalise(to_pixels(decode(data, draft=True)))
        best = min(best, time.process_time() - start)
    return len(members) / 2 / best


def main():
    bench = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        for name, size in SIZES.items():
            shard = pathlib.Path(folder) / f"shard-{name}.tar"
            members = make_shard(shard, size)
            ours, theirs = [], []
            for _ in range(ROUNDS):
                done = subprocess.run([bench, str(REPEATS), shard], capture_output=True, text=True,
                                      check=True)
                ours.append(json.loads(done.stdout)["value"])
                theirs.append(pillow(members))
            rate, peer = max(ours), max(theirs)
            print(json.dumps({"name": f"shard.{name}", "value": rate, "unit": "quadruplets/s per core",
                              "peer": peer, "ratio": rate / peer}), flush=True)


if __name__ == "__main__":
    main()
