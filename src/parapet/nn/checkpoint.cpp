#include "parapet/nn/checkpoint.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"

namespace parapet::nn {
namespace {

constexpr size_t kShownProblems = 12;

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::kBool:
      return at::kBool;
    case DType::kU8:
      return at::kByte;
    case DType::kI8:
      return at::kChar;
    case DType::kI16:
      return at::kShort;
    case DType::kI32:
      return at::kInt;
    case DType::kI64:
      return at::kLong;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    case DType::kF32:
      return at::kFloat;
    case DType::kF64:
      return at::kDouble;
  }
  throw Error(ErrorKind::kInternal, "to_tensor: unknown dtype");
}

DType file_dtype(at::ScalarType type) {
  switch (type) {
    case at::kBool:
      return DType::kBool;
    case at::kByte:
      return DType::kU8;
    case at::kChar:
      return DType::kI8;
    case at::kShort:
      return DType::kI16;
    case at::kInt:
      return DType::kI32;
    case at::kLong:
      return DType::kI64;
    case at::kHalf:
      return DType::kF16;
    case at::kBFloat16:
      return DType::kBF16;
    case at::kFloat:
      return DType::kF32;
    case at::kDouble:
      return DType::kF64;
    default:
      throw Error(ErrorKind::kInternal, "to_view: type has no safetensors name");
  }
}

std::string shape_text(at::IntArrayRef shape) {
  std::vector<std::string> parts;
  for (int64_t size : shape) parts.push_back(std::to_string(size));
  return "[" + join(parts, ", ") + "]";
}

void throw_listing(const std::string& source, const std::vector<std::string>& problems) {
  const size_t count = std::min(problems.size(), kShownProblems);
  std::vector<std::string> shown(problems.begin(), problems.begin() + static_cast<long>(count));
  if (problems.size() > count)
    shown.push_back("... and " + std::to_string(problems.size() - count) + " more");
  throw DataError(source, "does not fit the model of its config.json:\n  " + join(shown, "\n  "));
}

}  // namespace

at::Tensor to_tensor(const TensorView& view) {
  const auto options = at::TensorOptions().dtype(scalar_type(view.dtype));
  const auto address = reinterpret_cast<uintptr_t>(view.data.data());
  if (address % static_cast<uintptr_t>(dtype_size(view.dtype)) != 0) {
    at::Tensor copy = at::empty(view.shape, options);
    std::memcpy(copy.data_ptr(), view.data.data(), view.data.size());
    return copy;
  }
  return at::from_blob(
      view.data.data(), view.shape, [owner = view.owner](void*) {}, options);
}

TensorView to_view(const at::Tensor& tensor) {
  auto owner = std::make_shared<at::Tensor>(tensor.detach().cpu().contiguous());
  TensorView view;
  view.dtype = file_dtype(owner->scalar_type());
  view.shape = owner->sizes().vec();
  view.data = {static_cast<std::byte*>(owner->data_ptr()), static_cast<size_t>(owner->nbytes())};
  view.owner = owner;
  return view;
}

void adopt_parameters(const ParameterWalk& walk, std::map<std::string, at::Tensor> tensors,
                      const std::string& source, const LoadOptions& options) {
  std::vector<std::string> problems, given;
  for (const auto& [name, tensor] : tensors) given.push_back(name);
  walk([&](const std::string& name, Parameter& parameter) {
    const std::string stored = options.rename ? options.rename(name) : name;
    const auto it = tensors.find(stored);
    if (it == tensors.end()) {
      // Hints cost an edit distance to every name: only for the problems that are shown.
      const std::string hint =
          problems.size() < kShownProblems ? closest_name(stored, given) : std::string();
      problems.push_back("missing '" + stored + "' " + shape_text(parameter.shape) +
                         (hint.empty() ? "" : ", the closest name is '" + hint + "'"));
      return;
    }
    const at::Tensor tensor = std::move(it->second);
    tensors.erase(it);
    if (tensor.sizes().vec() != parameter.shape)
      problems.push_back("'" + stored + "' has shape " + shape_text(tensor.sizes()) +
                         ", expected " + shape_text(parameter.shape));
    else if (!tensor.is_floating_point())
      problems.push_back("'" + stored + "' has type " +
                         std::string(dtype_name(file_dtype(tensor.scalar_type()))) +
                         ", expected a floating type");
    else
      parameter.value = tensor.to(options.device, options.dtype == at::ScalarType::Undefined
                                                      ? tensor.scalar_type()
                                                      : options.dtype);
  });
  for (const auto& [name, tensor] : tensors)
    if (!options.ignore || !options.ignore(name)) problems.push_back("unexpected '" + name + "'");
  if (!problems.empty()) throw_listing(source, problems);
}

void load_parameters(const ParameterWalk& walk, const TensorArchive& archive,
                     const LoadOptions& options) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, view] : archive.tensors()) tensors.emplace(name, to_tensor(view));
  adopt_parameters(walk, std::move(tensors), archive.path().string(), options);
}

void save_tensors(const std::filesystem::path& file, const NamedTensors& tensors,
                  std::map<std::string, std::string> metadata) {
  std::vector<std::pair<std::string, TensorView>> views;
  views.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) views.emplace_back(name, to_view(tensor));
  write_safetensors(file, views, std::move(metadata));
}

NamedTensors named_parameters(const ParameterWalk& walk) {
  NamedTensors tensors;
  walk([&](const std::string& name, Parameter& parameter) {
    tensors.emplace_back(name, parameter.value);
  });
  return tensors;
}

int64_t parameter_count(const ParameterWalk& walk) {
  int64_t count = 0;
  walk([&](const std::string&, Parameter& parameter) { count += parameter.value.numel(); });
  return count;
}

std::string parameters_hash(const ParameterWalk& walk) {
  Sha256 hash;
  walk([&](const std::string& name, Parameter& parameter) {
    const TensorView view = to_view(parameter.value);
    hash.update(name).update(shape_text(view.shape)).update(dtype_name(view.dtype));
    hash.update({reinterpret_cast<const char*>(view.data.data()), view.data.size()});
  });
  return hash.hex();
}

}  // namespace parapet::nn
