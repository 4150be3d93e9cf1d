#!/usr/bin/env bash
# Configures (when needed) and builds one preset: build.sh PRESET JOBS [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 jobs=$2
shift 2
# The user's own libtorch, if `make setup TORCH=` chose one; empty means the wheel in .venv.
torch=$(cat .cache/torch-dir 2>/dev/null || true)
key="$torch $(echo .venv/lib/python3*) $(sha256sum CMakePresets.json | cut -c1-16)"
stamp=build/$preset/.parapet-configured
if [ "$(cat "$stamp" 2>/dev/null)" != "$key" ] || [ ! -f "build/$preset/build.ninja" ]; then
  echo "build: configuring build/$preset"
  mkdir -p "build/$preset"
  log=build/$preset/configure.log
  if ! cmake --preset "$preset" "-DPARAPET_TORCH=$torch" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
  echo "$key" >"$stamp"
fi
# A terminal gets ninja's own one-line progress; a log gets it only when something goes wrong.
if [ -t 1 ]; then
  exec ninja -C "build/$preset" -j "$jobs" "$@"
fi
echo "build: building build/$preset with $jobs jobs"
started=$SECONDS
log=build/$preset/build.log
if ! ninja -C "build/$preset" -j "$jobs" "$@" >"$log" 2>&1; then
  grep -A 30 -m 3 '^FAILED' "$log" >&2 || tail -n 30 "$log" >&2
  echo "build: failed; the whole output is in $log" >&2
  exit 1
fi
echo "build: done in $((SECONDS - started)) s"
