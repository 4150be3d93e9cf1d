#!/usr/bin/env python3
"""Checks the ladder of rooms (a room includes only rooms above it) and the size discipline."""
import pathlib
import re
import sys

MAX_LINES = 700
root = pathlib.Path(__file__).resolve().parent.parent
problems = []
sizes = []
# Order of the rooms, and pairs that the order alone would allow but the design forbids.
ROOMS, FORBIDDEN, TORCH = [], set(), set()
for line in (root / "src/parapet/rooms.txt").read_text().splitlines():
    words = line.split("#")[0].split()
    if not words:
        continue
    ROOMS.append(words[0])
    for word in words[1:]:
        if word == "torch":
            TORCH.add(words[0])
        elif word.startswith("not="):
            FORBIDDEN |= {(words[0], other) for other in word[4:].split(",")}
        else:
            problems.append(f"rooms.txt: unknown word '{word}' behind '{words[0]}'")

for path in sorted((root / "src/parapet").rglob("*")):
    if path.suffix not in (".h", ".cpp"):
        continue
    room = path.relative_to(root / "src/parapet").parts[0]
    text = path.read_text()
    name = path.relative_to(root)
    if room not in ROOMS:
        problems.append(f"{name}: '{room}' is not a room")
        continue
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r'\s*#include "parapet/([a-z_]+)/', line)
        if not match:
            if path.suffix == ".h" and re.match(r"\s*#include <(torch/(torch|all|nn)|ATen/ATen)\.h>", line):
                problems.append(f"{name}:{number}: a header includes the whole torch header")
            continue
        other = match.group(1)
        if other not in ROOMS:
            problems.append(f"{name}:{number}: unknown room '{other}'")
        elif ROOMS.index(other) > ROOMS.index(room):
            problems.append(f"{name}:{number}: {room} must not include {other}, which is below it")
        elif (room, other) in FORBIDDEN:
            problems.append(f"{name}:{number}: {room} must not include {other}")
for folder in ("src", "tests", "bench"):
    for path in (root / folder).rglob("*"):
        if path.suffix in (".h", ".cpp"):
            sizes.append((len(path.read_text().splitlines()), path.relative_to(root)))
for lines, name in sizes:
    if lines > MAX_LINES:
        problems.append(f"{name}: {lines} lines, the limit is {MAX_LINES}: split it by subject")
counts = sorted(lines for lines, _ in sizes)
if counts:
    median, ninth = counts[len(counts) // 2], counts[int(len(counts) * 0.9)]
    print(f"{len(counts)} files, median {median} lines, nine in ten <= {ninth}")
    if median > 120:
        problems.append(f"median file is {median} lines, the limit is 120")
    if ninth > 350:
        problems.append(f"nine in ten files are <= {ninth} lines, the limit is 350")
for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
