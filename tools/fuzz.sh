#!/usr/bin/env bash
# Builds every fuzz/*_fuzz.cpp and runs each for a while, JOBS of them at once: fuzz.sh SECONDS JOBS
# They are part of the tree build/asan. What they find stays in build/fuzz/<name>.crash-* (or oom-,
# timeout-); the corpus grows in build/fuzz/corpus/<name>.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1 jobs=$2
names=()
for source in fuzz/*_fuzz.cpp; do names+=("$(basename "$source" .cpp)"); done
tools/torch_rooms.sh "$jobs"
tools/build.sh asan "$jobs" "${names[@]}"
seeds() {  # files of the tests that a fuzzer starts from
  case "$1" in
    image_fuzz | image_header_fuzz) find fuzz/seeds/image -type f ;;
    safetensors_fuzz) find tests/goldens -name '*.safetensors' -size -64k ;;
    tokenizer_fuzz) find tests/goldens -name 'tokenizer.json' -size -64k ;;
    gguf_fuzz) find tests/goldens -name '*.gguf' -size -64k ;;
    jsonl_fuzz) find tests/goldens -name '*.jsonl' -size -64k ;;
    request_fuzz) find fuzz/seeds/request -name '*.json' ;;
    base64_fuzz) find fuzz/seeds/base64 -name '*.txt' ;;
    policy_fuzz) find policies -name '*.toml' ;;
    tar_fuzz) find fuzz/seeds/tar -type f ;;
  esac
}
fuzz() {
  local name=$1 corpus=build/fuzz/corpus/$1 log=build/fuzz/$1.log file
  mkdir -p "$corpus"
  seeds "$name" | head -n 200 | while read -r file; do
    cp "$file" "$corpus/$(sha1sum "$file" | cut -c1-16)"
  done
  if "build/asan/fuzz/$name" "$corpus" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=10 \
    -max_len=65536 -print_final_stats=0 -artifact_prefix="build/fuzz/$name." >"$log" 2>&1; then
    echo "$name: $(grep -aE '^Done [0-9]+ runs' "$log" | tail -n 1)"
    rm -f "build/fuzz/$name.failed"
  else
    : >"build/fuzz/$name.failed"
    echo "$name: FAILED" >&2
    tail -n 40 "$log" >&2
  fi
}
export -f fuzz seeds
export seconds
mkdir -p build/fuzz
rm -f build/fuzz/*.failed
echo "fuzz: ${#names[@]} readers for $seconds s each, $jobs at once"
printf '%s\n' "${names[@]}" | xargs -P "$jobs" -I{} bash -c 'fuzz {}'
failed=$(find build/fuzz -name '*.failed' -printf '%f ')
if [ -n "$failed" ]; then
  echo "fuzz: FAILED: ${failed//.failed/}" >&2
  exit 1
fi
echo "fuzz: no crash"
