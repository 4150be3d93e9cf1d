#!/usr/bin/env bash
# Builds and runs the tests of the rooms without torch under a sanitizer: sanitize.sh asan|tsan JOBS
# Torch's own libraries are not instrumented, nor are the rooms on it; rooms below that use them link
# them as they are. Clang builds these trees in a third of g++'s time, and its warnings are errors.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1 jobs=$2
rooms=(core formats text metrics data guard serving)
tools/torch_rooms.sh "$jobs"
targets=()
for room in "${rooms[@]}"; do targets+=("parapet_${room}_tests"); done
tools/build.sh "$preset" "$jobs" "${targets[@]}"
export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export LSAN_OPTIONS=suppressions=tools/lsan.supp:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1
# OpenVINO's thread library loads a part of itself in a way that sanitizers refuse, unless told.
export TBB_ENABLE_SANITIZERS=1
failed=()
for target in "${targets[@]}"; do
  filter='-*Slow.*'
  # Encoders run in code that the thread sanitizer does not see: what they hand over looks like a race.
  if [ "$preset $target" = "tsan parapet_guard_tests" ]; then filter+=':ClipGuard.*'; fi
  echo "== $target under $preset"
  started=$SECONDS
  "build/$preset/$target" --gtest_brief=1 --gtest_filter="$filter" || failed+=("$target")
  echo "== took $((SECONDS - started)) s"
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "$preset: FAILED: ${failed[*]}" >&2
  exit 1
fi
echo "$preset: clean"
