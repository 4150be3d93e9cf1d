#!/usr/bin/env bash
# Configures (when needed) and builds one preset: build.sh PRESET JOBS [TARGET...]
# Targets: parapet (the program), tests, benches, or any of ninja's; all of them when none is named.
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
  if ! cmake --fresh --preset "$preset" "-DPARAPET_TORCH=$torch" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
  fi
  echo "$key" >"$stamp"
fi
# A terminal gets ninja's own one-line progress.
if [ -t 1 ]; then
  exec ninja -C "build/$preset" -j "$jobs" "$@"
fi

# A log gets a line every few seconds (PARAPET_BUILD_LINE_S), and ninja's output when it fails.
started=$SECONDS
log=build/$preset/build.log
clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }
progress() {
  local pace=${PARAPET_BUILD_LINE_S:-10} shown="" state finished total took
  while sleep "$pace" >/dev/null 2>&1; do  # no pipe of ours outlives the build
    state=$(grep -aoE '^\[[0-9]+/[0-9]+\]' "$log" 2>/dev/null | tail -n 1 | tr -d '[]') || continue
    [ "$state" = "$shown" ] && continue
    shown=$state finished=${state%/*} total=${state#*/} took=$((SECONDS - started))
    echo "build: $finished of $total steps, about $(clock $((took * (total - finished) / (finished + 1)))) left"
  done
}
echo "build: building build/$preset with $jobs jobs"
: >"$log"
progress &
watcher=$!
trap 'kill $watcher 2>/dev/null || true' EXIT
if ! ninja -C "build/$preset" -j "$jobs" "$@" >"$log" 2>&1; then
  grep -A 30 -m 3 '^FAILED' "$log" >&2 || tail -n 30 "$log" >&2
  echo "build: failed; the whole output is in $log" >&2
  exit 1
fi
echo "build: done in $((SECONDS - started)) s"
