#!/usr/bin/env bash
# All checks of the source text: lint.sh [JOBS]. Runs every check, then fails if one did.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=()
check() {
  local name=$1
  shift
  if ! "$@"; then
    failed+=("$name")
    echo "lint: $name FAILED" >&2
  fi
}
format_check() {
  find src tests bench fuzz \( -name '*.h' -o -name '*.cpp' \) -print0 2>/dev/null |
    xargs -0 clang-format --dry-run -Werror
}
check "ladder of rooms" python3 tools/check_ladder.py --build build/release
check clang-format format_check
check "docs/commands.md" python3 tools/gen_commands.py --check
check clang-tidy python3 tools/run_tidy.py --jobs "${1:-2}"
if [ ${#failed[@]} -gt 0 ]; then
  echo "lint: FAILED: ${failed[*]}" >&2
  exit 1
fi
echo "lint: clean"
