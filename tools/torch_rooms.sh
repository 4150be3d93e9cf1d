#!/usr/bin/env bash
# Builds, in build/release, the libraries of the rooms on torch: torch_rooms.sh JOBS
# The sanitizers' and fuzzers' builds link these (PARAPET_TORCH_ROOMS_FROM in CMakeLists.txt).
set -euo pipefail
cd "$(dirname "$0")/.."
rooms=$(awk '/^[a-z]/ && / torch/ && $1 != "cli" {print "parapet_" $1}' src/parapet/rooms.txt)
# shellcheck disable=SC2086
exec tools/build.sh release "$1" $rooms parapet_test_models
