#!/usr/bin/env bash
# The main job on the sample world: build the world, train a tiny CLIP, harden it with the default
# and the published objective, train a guard, measure, write out/demo/report.html. Finished parts are
# kept: run it again after an interruption, or with FRESH=1 to start over. SEED=n for another world.
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

guard() {
  local name=$1
  shift
  run "$out/$name" train guard --config recipes/guard_world.toml --data "$out/labels" "$@"
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
step "labelled pairs for the guard" "$out/labels/labels.jsonl" \
  "$parapet" world build --out "$out/labels" --quadruplets 0 --captions 0 --labels 24000 \
  --val 2000 --test 2000 --seed $((seed + 2000))
step "guard heads on the original model" "$out/guard/heads/guard_heads.json" \
  guard guard --model "$out/clip/model"
step "guard heads on the hardened model" "$out/guard_hardened/heads/guard_heads.json" \
  guard guard_hardened --model "$out/safe_clip/model" --embedding hardened
step "guard: measured on held combinations and the held style" "$out/guard/report.json" \
  "$parapet" eval guard --model "$out/guard" --compare "$out/guard_hardened" --data "$out/labels" \
  --out "$out/guard" --seed "$seed" --resamples 300
say "report"
runs=$out/clip,$out/safe_clip,$out/safe_clip_published,$out/shared_reference,$out/guard
"$parapet" report --compare "$runs" --out "$out"
say "done: open $out/report.html"
echo "the guard at work: $parapet serve --policy policies/sample_world.toml, then http://127.0.0.1:8080"
