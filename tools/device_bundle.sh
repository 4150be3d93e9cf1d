#!/usr/bin/env bash
# Packs what checks Parapet on a machine with a GPU: the programs, the shared libraries they need
# beside torch's and the C library's, a small world, a small CLIP and the checks themselves.
#   tools/device_bundle.sh [--build build/release] [--out out/device_bundle.tar.xz]
# There: unpack it and run ./device_checks.sh, which takes less than three minutes. The machine needs
# a driver, and a Python with the torch that the build was made against (same minor version: torch's
# C++ interface changes between them), transformers, peft, Pillow, numpy and safetensors.
set -euo pipefail
cd "$(dirname "$0")/.."
build=build/release out=out/device_bundle.tar.xz
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?--build needs a folder}; shift 2 ;;
    --out) out=${2:?--out needs a file}; shift 2 ;;
    *) echo "device_bundle: unknown argument '$1'" >&2; exit 2 ;;
  esac
done
most=$((50 * 1000 * 1000))
programs=(parapet encoder_bench parapet_device_group)
for name in "${programs[@]}"; do
  program=$(find "$build" -maxdepth 2 -name "$name" -type f -perm -u+x | head -n 1)
  [ -n "$program" ] || { echo "device_bundle: $build has no $name; build parapet, encoder_bench and parapet_device_group first" >&2; exit 1; }
  paths+=("$program")
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
bundle=$folder/parapet_device
mkdir -p "$bundle/bin" "$bundle/lib"

cp "${paths[@]}" "$bundle/bin"
strip "$bundle"/bin/*
# What the machine brings itself: the C and C++ libraries, and all that lies beside torch.
torch=$(sed -n 's/^PARAPET_TORCH:PATH=//p' "$build/CMakeCache.txt")
[ -n "$torch" ] || torch=$(echo .venv/lib/python3*/site-packages/torch)
torch=$(cd "$torch" && pwd -P)
ldd "${paths[@]}" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u | while read -r library; do
  real=$(readlink -f "$library") name=$(basename "$library")
  case "$real" in "$torch"/*|"$(dirname "$torch")"/nvidia/*) continue ;; esac
  case "$name" in
    libc.so*|libm.so*|libdl.so*|librt.so*|libpthread.so*|libresolv.so*|ld-linux*|libstdc++.so*|libgcc_s.so*|libcuda.so*) continue ;;
  esac
  cp "$real" "$bundle/lib/$name"
done
# Loaded by name while it runs.
openvino=$(dirname "$(ldd "${paths[0]}" | awk '/libopenvino.so/ {print $3}')")
for plugin in libopenvino_intel_cpu_plugin.so; do
  [ -e "$openvino/$plugin" ] && echo "left out: $plugin (the checks use torch)" >"$bundle/lib/NOTES"
done
strip --strip-unneeded "$bundle"/lib/*.so* 2>/dev/null || true

parapet=${paths[0]}
"$parapet" world build --out "$bundle/world" --quadruplets 48 --captions 96 --labels 160 --val 48 \
  --test 48 --test-held-style 8 --per-class 1 --seed 7 --quiet
cp assets/tiny_clip/weights.safetensors "$bundle/clip.safetensors"  # written out there: a tenth
cp tools/device/device_checks.sh tools/device/checks.py tools/device/peers.py bench/peers/clip_models.py "$bundle"
cp .cache/assets/bpe_simple_vocab_16e6.txt.gz "$bundle"
version=$(sed -n 's/^#define TORCH_VERSION_\(MAJOR\|MINOR\) \([0-9]*\).*/\2/p' \
  "$torch/include/torch/headeronly/version.h" "$torch/include/torch/csrc/api/include/torch/version.h" 2>/dev/null | head -n 2 | paste -sd.)
cuda=no; [ -e "$torch/lib/libtorch_cuda.so" ] && cuda=yes
printf 'torch=%s\ncuda=%s\ncommit=%s\n' "$version" "$cuda" "$(git describe --always --dirty 2>/dev/null)" >"$bundle/BUILT"

mkdir -p "$(dirname "$out")"
tar -C "$folder" -cf - parapet_device | xz -3 -T0 >"$out"
size=$(stat -c %s "$out")
echo "device_bundle: $out, $((size / 1000)) kB, torch $version, CUDA: $cuda"
[ "$size" -le $most ] || { echo "device_bundle: more than $((most / 1000000)) MB" >&2; exit 1; }
