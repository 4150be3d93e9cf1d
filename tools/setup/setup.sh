#!/usr/bin/env bash
# Prepares a machine for building Parapet: system packages, Python environment, npm assets.
# Every step remembers a hash of its inputs, so that a second run does nothing.
#   setup.sh [--torch DIR|wheel] [--clang]
# --torch DIR   build the C++ code against this libtorch from now on; `wheel` returns to .venv's
# --clang       also install clang, for `make asan`, `tsan`, `fuzz` and `clang`
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tools/setup
cache=.cache
mkdir -p "$cache/setup" "$cache/assets"
log=$cache/setup/log.txt
torch=""
clang=0
while [ $# -gt 0 ]; do
  case "$1" in
    --torch) torch=${2:?--torch needs a folder}; shift 2 ;;
    --clang) clang=1; shift ;;
    *) echo "setup: unknown argument '$1'" >&2; exit 2 ;;
  esac
done
exec 9>"$cache/setup/lock"
flock 9  # two `make` at once: the second waits, then finds everything done

say() { echo "setup: $*"; }
fail() { echo "setup: $1" >&2; shift; for line in "$@"; do echo "  $line" >&2; done; exit 1; }
# Runs a command with its output in the log; on failure shows the end of it and a hint.
quietly() {
  local hint=$1; shift
  "$@" >"$log" 2>&1 </dev/null && return
  tail -n 15 "$log" >&2
  fail "failed: $*" "$hint" "The whole output is in $log."
}
lines() { sed -e 's/#.*//' -e 's/[[:space:]]//g' -e '/^$/d' "$@"; }
hash_of() { cat "$@" | sha256sum | cut -d' ' -f1; }
done_before() { [ "$(cat "$cache/setup/$1" 2>/dev/null)" = "$2" ]; }
remember() { echo "$2" >"$cache/setup/$1"; }

# 1. System packages.
system_packages() {
  local wanted missing=() package installed as_root=()
  mapfile -t wanted < <(lines "$@")
  # A machine may have its own Node.js, whose package collides with Debian's npm.
  command -v node >/dev/null || wanted+=(nodejs)
  command -v npm >/dev/null || wanted+=(npm)
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: install the equivalents of ${wanted[*]} yourself"
    return
  fi
  installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' | sed -n 's/ installed$//p')
  for package in "${wanted[@]}"; do
    grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing ${#missing[@]} system packages: ${missing[*]}"
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "these system packages are missing: ${missing[*]}" \
      "Run as root, or: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  local hint="Is the network up and are Debian's package sources configured?"
  quietly "$hint" "${as_root[@]}" apt-get update -qq
  quietly "$hint" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# 2. Python environment in .venv.
find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
    if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
    then echo "$name"; return; fi
  done
  fail "no Python 3.10 or later with the venv module" "On Debian: apt-get install python3-venv"
}
python_environment() {
  local key
  key=$(hash_of "$here/requirements.txt" "$here/requirements-no-deps.txt")
  [ -x .venv/bin/python ] && done_before python "$key" && return
  if ! .venv/bin/python -c '' 2>/dev/null; then
    rm -rf .venv
    quietly "Check that python3-venv is installed." "$(find_python)" -m venv .venv
  fi
  say "installing $(lines "$here"/requirements*.txt | wc -l) Python packages into .venv" \
    "($(lines "$here/requirements.txt" | grep '^torch==')); this takes a few minutes"
  local pip=(.venv/bin/python -m pip --disable-pip-version-check --no-input)
  local hint="Is the network up and does pip reach a package index?"
  quietly "$hint" "${pip[@]}" install -q -r "$here/requirements.txt"
  quietly "$hint" "${pip[@]}" install -q --no-deps -r "$here/requirements-no-deps.txt"
  remember python "$key"
}

# With a CUDA wheel: the headers that it leaves out, for NCCL and CUDA graphs.
cuda_headers() {
  ls .venv/lib/python3*/site-packages/torch/lib/libtorch_cuda.so >/dev/null 2>&1 || return 0
  local missing=()
  mapfile -t missing < <(.venv/bin/python "$here/cuda_headers.py")
  [ ${#missing[@]} -eq 0 ] && return
  say "installing CUDA headers: ${missing[*]}"
  quietly "Is the network up and does pip reach a package index?" \
    .venv/bin/python -m pip --disable-pip-version-check --no-input install -q "${missing[@]}"
}

# 3. Emoji art and names for the sample world.
npm_assets() {
  [ -f package.json ] || return 0
  local key files=(package.json) verb=(install --no-package-lock)
  if [ -f package-lock.json ]; then files+=(package-lock.json); verb=(ci); fi
  key=$(hash_of "${files[@]}")
  [ -d node_modules ] && done_before npm "$key" && return
  say "installing npm assets"
  quietly "Is the network up and does npm reach its registry?" \
    npm "${verb[@]}" --ignore-scripts --no-audit --no-fund --loglevel=error
  remember npm "$key"
}

# 4. CLIP's published vocabulary, from the open_clip wheel.
vocabulary() {
  local from to=$cache/assets/bpe_simple_vocab_16e6.txt.gz
  [ -s "$to" ] && return
  for from in .venv/lib/python3*/site-packages/open_clip/bpe_simple_vocab_16e6.txt.gz; do
    [ -f "$from" ] || fail "the open_clip wheel has no vocabulary" "Remove .venv and run again."
    cp "$from" "$to.part" && mv "$to.part" "$to"
  done
}

# 5. Which libtorch the C++ code is built against.
choose_torch() {
  [ -n "$torch" ] || return 0
  if [ "$torch" = wheel ]; then rm -f "$cache/torch-dir"; say "using the torch wheel in .venv"; return; fi
  [ -e "$torch/lib/libtorch_cpu.so" ] ||
    fail "no libtorch in '$torch'" "Give the folder that holds include/ and lib/libtorch_cpu.so."
  (cd "$torch" && pwd) >"$cache/torch-dir"
  say "using libtorch in $(cat "$cache/torch-dir")"
}

packages=("$here/apt-packages.txt")
[ $clang -eq 1 ] && packages+=("$here/apt-packages-clang.txt")
choose_torch
system_packages "${packages[@]}"
python_environment
cuda_headers
npm_assets
vocabulary
