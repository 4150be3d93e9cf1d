#!/usr/bin/env bash
# Builds and runs the tests of the rooms without torch under a sanitizer: sanitize.sh asan|tsan JOBS
# Torch's own libraries are not instrumented, so the rooms on it would report what is not ours.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 jobs=$2
targets=(parapet_core_tests parapet_formats_tests parapet_text_tests)
tools/build.sh "$preset" "$jobs" "${targets[@]}"
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1
failed=()
for target in "${targets[@]}"; do
  echo "== $target under $preset"
  "build/$preset/$target" --gtest_brief=1 || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "$preset: FAILED: ${failed[*]}" >&2
  exit 1
fi
echo "$preset: clean"
