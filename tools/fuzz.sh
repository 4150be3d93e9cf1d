#!/usr/bin/env bash
# Builds every fuzz/*_fuzz.cpp with clang and runs each for a while: fuzz.sh SECONDS JOBS
# What it finds stays in build/fuzz/<name>.crash-*; the corpus grows in build/fuzz/corpus/<name>.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1 jobs=$2
names=()
for source in fuzz/*_fuzz.cpp; do names+=("$(basename "$source" .cpp)"); done
tools/torch_rooms.sh "$jobs"
tools/build.sh fuzz "$jobs" "${names[@]}"
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
failed=()
for name in "${names[@]}"; do
  corpus=build/fuzz/corpus/$name
  mkdir -p "$corpus"
  seeds "$name" | head -n 200 | while read -r file; do
    cp "$file" "$corpus/$(sha1sum "$file" | cut -c1-16)"
  done
  echo "== $name for $seconds s"
  if "build/fuzz/fuzz/$name" "$corpus" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=10 \
    -max_len=65536 -print_final_stats=0 -artifact_prefix="build/fuzz/$name." \
    >"build/fuzz/$name.log" 2>&1; then
    grep -E '^#[0-9]+.*(DONE|pulse)' "build/fuzz/$name.log" | tail -n 1
  else
    failed+=("$name")
    tail -n 40 "build/fuzz/$name.log"
  fi
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "fuzz: FAILED: ${failed[*]}" >&2
  exit 1
fi
echo "fuzz: no crash"
