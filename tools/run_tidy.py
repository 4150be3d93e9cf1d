#!/usr/bin/env python3
"""Runs clang-tidy over src/ with the checks of .clang-tidy; every finding is an error.

The compile commands are those of build/release without g++'s precompiled headers, which clang
cannot read: the header's source is included instead. Files that passed are remembered by content.
"""
import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache/tidy"
# Checked by default: torch's headers take clang too long.
ROOMS = ("core", "formats", "text", "metrics", "data", "guard", "serving", "cli")


def commands(build):
    """source -> arguments that clang accepts."""
    result = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        source = pathlib.Path(entry["file"])
        if ROOT / "src" not in source.parents:
            continue
        words = shlex.split(entry["command"])
        words = words[next(i for i, w in enumerate(words) if re.search(r"(c\+\+|g\+\+)[-\d]*$", w)):]
        kept, skip = [], False
        for i, word in enumerate(words):
            if skip:
                skip = False
            elif word == "-include" and words[i + 1].endswith("cmake_pch.hxx"):
                # cli names what it uses of torch itself, which is little.
                torch = "torch_pch" in words[i + 1] and source.parent.name != "cli"
                kept += ["-include", str(ROOT / f"cmake/pch/{'torch' if torch else 'light'}.h")]
                skip = True
            elif word not in ("-fpch-preprocess", "-Winvalid-pch"):
                kept.append(word)
        result[source] = kept
    return result


def content_key(source, arguments, shared):
    digest = hashlib.sha256(shared)
    digest.update(source.read_bytes())
    digest.update(" ".join(arguments).encode())
    return digest.hexdigest()


def check(source, folder):
    started = time.monotonic()
    done = subprocess.run(["clang-tidy", "-p", folder, "--quiet", source], cwd=ROOT, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    return source, done.returncode, done.stdout, time.monotonic() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--all", action="store_true", help="the rooms on torch too")
    parser.add_argument("files", nargs="*", help="only these sources")
    options = parser.parse_args()
    build = ROOT / options.build
    if not (build / "compile_commands.json").exists():
        sys.exit("tidy: build/release is not configured; run `make build` first")
    known = commands(build)
    sources = sorted(known)
    if options.files:
        wanted = {pathlib.Path(name).resolve() for name in options.files}
        sources = [s for s in sources if s in wanted]
    elif not options.all:
        sources = [s for s in sources if s.relative_to(ROOT / "src/parapet").parts[0] in ROOMS]
    shared = b"".join(p.read_bytes() for p in sorted((ROOT / "src").rglob("*.h")))
    shared += (ROOT / ".clang-tidy").read_bytes()
    keys = {s: content_key(s, known[s], shared) for s in sources}
    CACHE.mkdir(parents=True, exist_ok=True)
    due = [s for s in sources if not (CACHE / keys[s]).exists()]
    bad = 0
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, \
            concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        database = [{"directory": str(build), "file": str(s), "arguments": known[s]} for s in due]
        (pathlib.Path(folder) / "compile_commands.json").write_text(json.dumps(database))
        for source, status, output, seconds in pool.map(lambda s: check(s, folder), due):
            if status == 0:
                (CACHE / keys[source]).touch()
            else:
                bad += 1
                print(f"{source.relative_to(ROOT)} ({seconds:.0f} s)\n{output}", flush=True)
    print(f"tidy: {len(due)} of {len(sources)} files checked, {bad} with findings, "
          f"{time.monotonic() - started:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
