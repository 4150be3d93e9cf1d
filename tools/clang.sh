#!/usr/bin/env bash
# Builds the tests of one room on torch, and with it the rooms it stands on, with clang and runs
# them: clang.sh JOBS. A second compiler finds what g++ lets pass; without precompiled headers it also
# finds what a source forgot to include.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh clang "$1" parapet_nn_tests
build/clang/parapet_nn_tests --gtest_brief=1 --gtest_filter='-*Slow.*'
