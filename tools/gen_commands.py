#!/usr/bin/env python3
"""Writes docs/commands.md from the --help of every command; --check only compares."""
import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs/commands.md"
INTRO = """# Commands

<!-- Made by tools/gen_commands.py from the commands' own help; edit that, then run `make docs`. -->

`parapet <command> --flags`. Every flag may also stand in a recipe: `--config recipe.toml` reads TOML
whose keys are the flags' names, and flags given beside it win. `--print-config` prints what a command
would run with, as a recipe that loads back. A value in square brackets is the default.

| exit status | meaning |
| --- | --- |
| 0 | done |
| 1 | internal error: a bug of Parapet's or of a library below it |
| 2 | bad flags, recipe or configuration |
| 3 | bad input data; the message names the file, the offset or field, and what to do |
| 4 | a check failed, e.g. a gate |
| 130 | interrupted; training has saved a checkpoint |

Results for people go to stdout; `--json` replaces them by one machine-readable line. Log lines and
progress bars go to stderr, bars only on a terminal.
"""


def help_of(binary, *path):
    return subprocess.run([binary, *path, "--help"], check=True, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL).stdout


def document(binary):
    overview = help_of(binary)
    listing = re.search(r"^Commands\n((?:  .*\n)+)", overview, re.M).group(1)
    # A name is separated from its summary by two spaces; a deeper indent continues a summary.
    paths = [re.split(r"\s{2,}", line.strip())[0] for line in listing.splitlines()
             if re.match(r"  \S", line)]
    parts = [INTRO, "```text\n" + listing.rstrip() + "\n```"]
    common = ""
    for path in paths:
        text, _, common = help_of(binary, *path.split()).partition("\nFlags of every command\n")
        parts.append(f"## {path}\n\n```text\n{text.strip()}\n```")
    parts.append(f"## Flags of every command\n\n```text\n{common.rstrip()}\n```")
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--binary", default=ROOT / "build/release/parapet")
    options = parser.parse_args()
    text = document(options.binary)
    if not options.check:
        TARGET.write_text(text)
        return 0
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    print("docs/commands.md is not what the commands' help says: run `make docs`")
    return 1


if __name__ == "__main__":
    sys.exit(main())
