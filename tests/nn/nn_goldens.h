// Goldens of the building blocks (tools/goldens/make_nn_goldens.py) and how they are compared.
#pragma once
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <string>

#include "parapet/formats/safetensors.h"
#include "parapet/nn/checkpoint.h"

namespace parapet::nn::test {

using Tensors = std::map<std::string, at::Tensor>;

inline Tensors golden(const std::string& name) {
  const auto file =
      std::filesystem::path(PARAPET_SOURCE_DIR) / "tests/goldens/nn" / (name + ".safetensors");
  Tensors tensors;
  const TensorArchive archive = TensorArchive::open(file);
  for (const auto& [key, view] : archive.tensors()) tensors[key] = to_tensor(view).clone();
  return tensors;
}

inline at::Tensor leaf(const at::Tensor& values) {
  return values.detach().clone().requires_grad_(true);
}

// Largest absolute difference; infinite for other shapes or an undefined tensor.
inline double apart(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined() || a.sizes() != b.sizes()) return INFINITY;
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// A matrix or vector of small values that repeats by its seed.
inline at::Tensor values(at::IntArrayRef shape, uint64_t seed) {
  auto generator = at::detail::createCPUGenerator(seed);
  return at::randn(shape, generator, at::TensorOptions().dtype(at::kFloat));
}

}  // namespace parapet::nn::test
