#!/usr/bin/env bash
# The main job on the sample world: build the world, train a tiny CLIP, harden it with the default
# and the published objective, measure, write out/demo/report.html. Finished parts are kept: run it
# again after an interruption, or with FRESH=1 to start over. SEED=n for another world.
set -euo pipefail
cd "$(dirname "$0")/.."
parapet=build/release/parapet
out=${OUT:-out/demo}
seed=${SEED:-0}
[ "${FRESH:-0}" = 1 ] && rm -rf "$out"
mkdir -p "$out"
started=$(date +%s)

say() { printf '\n== %s (%d s)\n' "$1" $(($(date +%s) - started)); }

# step NAME FILE COMMAND...: runs the command unless FILE, its last product, is there.
step() {
  local name=$1 product=$2
  shift 2
  [ -e "$product" ] && { printf '== %s: done before\n' "$name"; return; }
  say "$name"
  "$@"
}

# A run that was killed goes on from its last checkpoint. Each ends with its own report.
run() {
  local folder=$1
  shift
  local resume=()
  [ -e "$folder/run.json" ] && resume=(--resume)
  "$parapet" "$@" --out "$folder" --seed "$seed" "${resume[@]}"
}

harden() {
  run "$out/$1" harden safe-clip --config "$2" --model "$out/clip/model" --data "$out/world"
}

step "sample world" "$out/world/zeroshot.json" \
  "$parapet" world build --out "$out/world" --quadruplets 8000 --captions 0 --seed $((seed + 1000))
step "tiny CLIP: image tower, then both" "$out/clip/report.json" \
  run "$out/clip" train clip --config recipes/tiny_clip.toml --report-data "$out/world"
step "hardening, default objective (ordered)" "$out/safe_clip/report.json" \
  harden safe_clip recipes/safe_clip_world.toml
step "hardening, published objective" "$out/safe_clip_published/report.json" \
  harden safe_clip_published recipes/safe_clip_world_published.toml
step "ablation: shared reference" "$out/shared_reference/report.json" \
  harden shared_reference recipes/ablations/shared_reference.toml
say "report"
"$parapet" report --compare "$out/clip,$out/safe_clip,$out/safe_clip_published,$out/shared_reference" \
  --out "$out"
say "done: open $out/report.html"
