#!/usr/bin/env python3
"""Checks the ladder of rooms, circles between files, and the size discipline.

A room may use only the rooms that stand above it in src/parapet/rooms.txt. Includes are read from
the sources. With --build DIR, calls are read too, from the symbols of the objects that were built
there: a function that is declared by hand shows in no include. --draw prints both graphs.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = ROOT / "src/parapet"
MAX_LINES, MAX_MEDIAN, MAX_NINTH = 700, 120, 350


class Ladder:
    """Order of the rooms, and pairs that the order alone would allow but the design forbids."""

    def __init__(self, problems):
        self.rooms, self.torch, self.forbidden = [], set(), set()
        for line in (SOURCES / "rooms.txt").read_text().splitlines():
            words = line.split("#")[0].split()
            if not words:
                continue
            self.rooms.append(words[0])
            for word in words[1:]:
                if word == "torch":
                    self.torch.add(words[0])
                elif word.startswith("not="):
                    self.forbidden |= {(words[0], other) for other in word[4:].split(",")}
                else:
                    problems.append(f"rooms.txt: unknown word '{word}' behind '{words[0]}'")

    def objection(self, room, other):
        """Why `room` may not use `other`, or nothing."""
        if other not in self.rooms:
            return f"unknown room '{other}'"
        if self.rooms.index(other) > self.rooms.index(room):
            return f"{room} must not use {other}, which is below it"
        if (room, other) in self.forbidden:
            return f"{room} must not use {other}: rooms.txt forbids it"
        return None


def source_files(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in (".h", ".cpp"))


def unit_of(path):
    """The name that a header and its source share."""
    return str(path.with_suffix(""))


def declaring_unit(source):
    """The unit whose declarations a source defines.

    x_part.cpp without a header of its own holds a part of what x.h declares; among the sources of
    one header, calls may go both ways.
    """
    path = pathlib.PurePath(source)
    words = path.stem.split("_")
    for count in range(len(words), 0, -1):
        header = path.with_name("_".join(words[:count]) + ".h")
        if (SOURCES / header).exists():
            return unit_of(header)
    return unit_of(path)


def read_includes(ladder, problems):
    """{unit: {unit it includes: place}}"""
    units = collections.defaultdict(dict)
    for path in source_files(SOURCES):
        name = path.relative_to(ROOT)
        room = path.relative_to(SOURCES).parts[0]
        if room not in ladder.rooms:
            problems.append(f"{name}: '{room}' is not a room")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            place = f"{name}:{number}"
            if re.match(r"\s*#include <(torch|ATen|c10)/", line):
                if room not in ladder.torch:
                    problems.append(f"{place}: {room} is free of torch and includes one of its headers")
                if path.suffix == ".h" and re.search(r"<(torch/(torch|all|nn)|ATen/ATen)\.h>", line):
                    problems.append(f"{place}: a header includes the whole torch header")
            match = re.match(r'\s*#include "parapet/(([a-z0-9]+)/[^"]+)"', line)
            if not match:
                continue
            other, other_room = match.groups()
            objection = ladder.objection(room, other_room)
            if objection:
                problems.append(f"{place}: {objection}")
            elif not (SOURCES / other).exists():
                problems.append(f"{place}: there is no {other}")
            else:
                units[unit_of(path.relative_to(SOURCES))].setdefault(
                    unit_of(pathlib.PurePath(other)), place)
    return units


def read_calls(build, ladder, problems):
    """{unit: {unit whose symbol it needs: symbol}} from the objects of the rooms in `build`."""
    objects = sorted(build.glob("CMakeFiles/parapet_*.dir/src/parapet/**/*.cpp.o"))
    if not objects:
        problems.append(f"{build}: no objects of the rooms; build the program first")
        return {}
    listing = subprocess.run(["nm", "-A", "-P", *objects], check=True, capture_output=True, text=True)
    defined, needed = {}, collections.defaultdict(set)
    for line in listing.stdout.splitlines():
        file, rest = line.split(": ", 1)
        symbol, kind = rest.split()[:2]
        source = file.split("/src/parapet/", 1)[1].removesuffix(".o")
        if not (SOURCES / source).exists():
            continue  # left over from a source that has moved
        unit = unit_of(pathlib.PurePath(source))
        if kind == "U":
            needed[unit].add(symbol)
        elif kind in "TDBR":  # not weak: inline functions lie in every object
            defined[symbol] = unit
    calls = collections.defaultdict(dict)
    for unit, symbols in needed.items():
        for symbol in sorted(symbols):
            other = defined.get(symbol)
            if other is None or other == unit:
                continue
            calls[unit].setdefault(other, symbol)
    for unit, others in calls.items():
        for other, symbol in others.items():
            objection = ladder.objection(unit.split("/")[0], other.split("/")[0])
            if objection:
                problems.append(f"{unit} calls {demangle(symbol)} of {other}: {objection}")
    return calls


def demangle(symbol):
    return subprocess.run(["c++filt", symbol], capture_output=True, text=True).stdout.strip() or symbol


def circles(graph):
    """Strongly connected parts of more than one node (Tarjan, without recursion)."""
    index, low, on_stack, stack, found = {}, {}, set(), [], []
    for root in sorted(graph):
        if root in index:
            continue
        work = [(root, iter(sorted(graph.get(root, ()))))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            node, following = work[-1]
            for other in following:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(sorted(graph.get(other, ())))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], index[other])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    part = []
                    while True:
                        part.append(stack.pop())
                        on_stack.remove(part[-1])
                        if part[-1] == node:
                            break
                    if len(part) > 1:
                        found.append(sorted(part))
    return found


def check_circles(graph, kind, problems):
    for part in circles(graph):
        if kind == "call" and len({declaring_unit(f"{unit}.cpp") for unit in part}) == 1:
            continue
        inside = set(part)
        arrows = [f"{a} -> {b} ({graph[a][b] if kind == 'include' else demangle(graph[a][b])})"
                  for a in part for b in graph.get(a, {}) if b in inside]
        problems.append(f"a circle of {kind}s between files:\n    " + "\n    ".join(arrows))


def check_sizes(problems):
    sizes = [(len(path.read_text().splitlines()), path.relative_to(ROOT))
             for folder in ("src", "tests", "bench") for path in source_files(ROOT / folder)]
    for lines, name in sizes:
        if lines > MAX_LINES:
            problems.append(f"{name}: {lines} lines, the limit is {MAX_LINES}: split it by subject")
    counts = sorted(lines for lines, _ in sizes)
    median, ninth = counts[len(counts) // 2], counts[int(len(counts) * 0.9)]
    print(f"{len(counts)} files, median {median} lines, nine in ten <= {ninth}")
    if median > MAX_MEDIAN:
        problems.append(f"median file is {median} lines, the limit is {MAX_MEDIAN}")
    if ninth > MAX_NINTH:
        problems.append(f"nine in ten files are <= {ninth} lines, the limit is {MAX_NINTH}")


def draw(ladder, graph, title):
    rooms = collections.defaultdict(lambda: collections.defaultdict(int))
    for unit, others in graph.items():
        for other in others:
            a, b = unit.split("/")[0], other.split("/")[0]
            if a != b:
                rooms[a][b] += 1
    print(title)
    for room in ladder.rooms:
        uses = sorted(rooms[room].items(), key=lambda item: ladder.rooms.index(item[0]))
        print(f"  {room:<11}" + ("-> " + ", ".join(f"{b} {n}" for b, n in uses) if uses else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, help="also read calls from this build folder")
    parser.add_argument("--draw", action="store_true", help="print which room uses which, and how often")
    options = parser.parse_args()
    problems = []
    ladder = Ladder(problems)
    includes = read_includes(ladder, problems)
    check_circles(includes, "include", problems)
    calls = {}
    if options.build:
        calls = read_calls(options.build, ladder, problems)
        check_circles(calls, "call", problems)
    check_sizes(problems)
    if options.draw:
        draw(ladder, includes, "includes, files to files:")
        if calls:
            draw(ladder, calls, "calls, files to files:")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
