#!/usr/bin/env bash
# The main job on the sample world: harden the tiny CLIP whose weights are shipped, train a guard,
# measure, write out/demo/report.html. FULL=1 trains the CLIP from scratch as well and adds the
# published objective, the ablation and the guard on the hardened embedding: the figures of the
# README. Finished parts are kept: run it again after an interruption, or with FRESH=1 to start over.
# SEED=n for another world (with FULL=1 another CLIP, too), OUT=folder for another place.
#   demo.sh          runs it
#   demo.sh --plan   says what would run and how long that takes, and runs nothing
set -euo pipefail
cd "$(dirname "$0")/.."
parapet=build/release/parapet
out=${OUT:-out/demo}
seed=${SEED:-0}
kind=short
[ "${FULL:-0}" = 1 ] && kind=full

# A run that was killed goes on from its last checkpoint. Each ends with its own report.
run() {
  local folder=$1
  shift
  local resume=()
  [ -e "$folder/run.json" ] && resume=(--resume)
  "$parapet" "$@" --out "$folder" --seed "$seed" "${resume[@]}"
}

# ---- the parts; each is a function that ends with its product --------------------------------

world() { "$parapet" world build --out "$out/world" --quadruplets 8000 --captions 0 --seed $((seed + 1000)); }

shipped_clip() {
  local from=assets/tiny_clip
  "$parapet" world clip --weights $from/weights.safetensors --out "$out/clip/model"
  cp $from/run.json $from/config.toml "$out/clip/"
  "$parapet" eval retrieval --model "$out/clip/model" --data "$out/world" --out "$out/clip" --seed "$seed"
}

trained_clip() {
  run "$out/clip" train clip --config recipes/tiny_clip.toml --report-data "$out/world"
}

harden() {
  local name=$1 recipe=$2
  shift 2
  run "$out/$name" harden safe-clip --config "$recipe" --model "$out/clip/model" --data "$out/world" "$@"
}
hardened() {
  # The short demo stops earlier: the unsafe items are hidden as well, the right counterpart comes
  # first a little less often.
  local shorter=()
  [ $kind = short ] && shorter=(--max-steps 350)
  harden safe_clip recipes/safe_clip_world.toml "${shorter[@]}"
}
published() { harden safe_clip_published recipes/safe_clip_world_published.toml; }
ablation() { harden shared_reference recipes/ablations/shared_reference.toml; }

labels() {
  "$parapet" world build --out "$out/labels" --quadruplets 0 --captions 0 --labels 24000 \
    --val 2000 --test 2000 --seed $((seed + 2000))
}

guard() {
  local name=$1
  shift
  run "$out/$name" train guard --config recipes/guard_world.toml --data "$out/labels" "$@"
}
guard_heads() { guard guard --model "$out/clip/model"; }
hardened_guard_heads() { guard guard_hardened --model "$out/safe_clip/model" --embedding hardened; }

measured_guard() {
  local compare=()
  [ $kind = full ] && compare=(--compare "$out/guard_hardened")
  "$parapet" eval guard --model "$out/guard" "${compare[@]}" --data "$out/labels" \
    --out "$out/guard" --seed "$seed" --resamples 300
}

# ---- the plan: part SECONDS COMMAND PRODUCT NAME ---------------------------------------------
# Seconds are those of two cores with AVX2; what the first parts really took scales the rest.

names=() seconds=() products=() commands=()
part() { seconds+=("$1") commands+=("$2") products+=("$out/$3") names+=("$4"); }

part 10 world world/zeroshot.json "sample world"
if [ $kind = short ]; then
  part 25 shipped_clip clip/report.json "tiny CLIP, trained before: written and measured"
else
  part 900 trained_clip clip/report.json "tiny CLIP from scratch: image tower, then both"
fi
part $([ $kind = short ] && echo 150 || echo 230) hardened safe_clip/report.json "hardening, default objective (ordered)"
if [ $kind = full ]; then
  part 110 published safe_clip_published/report.json "hardening, published objective"
  part 45 ablation shared_reference/report.json "ablation: shared reference"
fi
part 20 labels labels/labels.jsonl "labelled pairs for the guard"
part 90 guard_heads guard/heads/guard_heads.json "guard heads on the original model"
[ $kind = full ] && part 90 hardened_guard_heads guard_hardened/heads/guard_heads.json \
  "guard heads on the hardened model"
part 15 measured_guard guard/report.json "guard: measured on held combinations and the held style"

# ---- time ------------------------------------------------------------------------------------

clock() { printf '%d:%02d' $(($1 / 60)) $(($1 % 60)); }

# Seconds of the parts from number $1 on that are not done, at the speed measured so far.
expected=0 measured=0
left() {
  local i sum=0 cores
  for ((i = $1; i < ${#names[@]}; i++)); do
    [ -e "${products[i]}" ] || sum=$((sum + seconds[i]))
  done
  cores=$(nproc)
  if [ $expected -gt 0 ]; then sum=$((sum * measured / expected)); else sum=$((sum * 2 / cores)); fi
  echo "$sum"
}

undone() {
  local product count=0
  for product in "${products[@]}"; do [ -e "$product" ] || count=$((count + 1)); done
  echo "$count"
}

# The folder holds one kind of demo; the other kind's results lie beside it and come back.
choose_folder() {
  local found
  [ "${FRESH:-0}" = 1 ] && rm -rf "$out"
  if [ -d "$out" ]; then
    found=$(cat "$out/kind" 2>/dev/null || echo full)
    [ "$found" = $kind ] && return
    if [ -e "$out.$found" ]; then
      echo "demo: $out holds the $found demo, and so does $out.$found; remove one of them" >&2
      exit 2
    fi
    mv "$out" "$out.$found"
    echo "demo: the results of the $found demo are now in $out.$found"
  fi
  if [ -d "$out.$kind" ]; then mv "$out.$kind" "$out"; fi
  mkdir -p "$out"
  echo $kind >"$out/kind"
}

if [ "${1:-}" = --plan ]; then
  what="${#names[@]} parts"
  if [ "${FRESH:-0}" != 1 ] && [ "$(cat "$out/kind" 2>/dev/null)" = $kind ]; then
    what="$(undone) of ${#names[@]} parts are still to do"
    plan=$(left 0)
  else
    products=("${products[@]/#/none/}")
    plan=$(left 0)
  fi
  echo "demo: $what, about $(((plan + 59) / 60)) min on $(nproc) cores like ours, after set-up and build"
  [ $kind = short ] &&
    echo "demo: (make demo FULL=1 also trains the CLIP from scratch and makes the README's tables)"
  exit 0
fi

choose_folder
for i in "${!names[@]}"; do
  number="$((i + 1)) of ${#names[@]}"
  if [ -e "${products[i]}" ]; then
    printf '== part %s, %s: done before\n' "$number" "${names[i]}"
    continue
  fi
  now=${seconds[i]}
  [ $expected -gt 0 ] && now=$((now * measured / expected))
  printf '\n== part %s, %s: about %s, to the end about %s\n' \
    "$number" "${names[i]}" "$(clock "$now")" "$(clock "$(left "$i")")"
  started=$(date +%s)
  "${commands[i]}"
  took=$(($(date +%s) - started))
  # A part that was resumed or answered from a cache would make the rest look quick.
  expected=$((expected + seconds[i])) measured=$((measured + (took > 0 ? took : 1)))
done

printf '\n== report\n'
runs=$out/clip,$out/safe_clip
[ $kind = full ] && runs+=,$out/safe_clip_published,$out/shared_reference
"$parapet" report --compare "$runs,$out/guard" --out "$out"
printf '\n== done: open %s\n' "$out/report.html"
echo "the guard at work: $parapet serve --policy policies/sample_world.toml, then http://127.0.0.1:8080"
