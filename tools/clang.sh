#!/usr/bin/env bash
# Builds the tests of one room on torch, and with it the rooms it stands on, with clang and runs
# them: clang.sh JOBS. A second compiler finds what g++ lets pass.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=(parapet_core_tests parapet_formats_tests parapet_nn_tests)
tools/build.sh clang "$1" "${targets[@]}"
for target in "${targets[@]}"; do
  echo "== $target built with clang"
  "build/clang/$target" --gtest_brief=1 --gtest_filter='-*Slow.*'
done
