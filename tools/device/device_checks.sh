#!/usr/bin/env bash
# Runs all checks on a device and writes results.json and results.md beside this script.
#   ./device_checks.sh [--device cuda] [--tiny] [--seconds 170] [--python python3]
# --tiny  small models and few repetitions, for trying the checks themselves (--device cpu)
# The exit status is 1 when a check failed; a goal of speed that was missed or not reached in time is
# no failure, and is said.
set -euo pipefail
cd "$(dirname "$0")"
python=python3
arguments=("$@")
for ((i = 0; i < $#; ++i)); do
  if [ "${arguments[i]}" = --python ]; then python=${arguments[i + 1]}; fi
done
libraries=$("$python" - <<'PYTHON'
import pathlib, torch
folder = pathlib.Path(torch.__file__).parent
print(":".join(map(str, [folder / "lib", *sorted(folder.parent.glob("nvidia/*/lib"))])))
PYTHON
)
export PARAPET_LIBRARIES=$libraries:$PWD/lib  # for our programs alone
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
exec "$python" checks.py "${arguments[@]}"
