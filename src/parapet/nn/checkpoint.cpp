#include "parapet/nn/checkpoint.h"

#include <ATen/ATen.h>

#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/nn/linear.h"
#include "parapet/nn/lora.h"

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

TensorDict to_tensors(const TensorArchive& archive) {
  TensorDict tensors;
  for (const auto& [name, view] : archive.tensors()) tensors.emplace(name, to_tensor(view));
  return tensors;
}

namespace {

// Takes tensors out of a checkpoint one by one and notes what does not fit.
class StrictLoad {
 public:
  StrictLoad(const TensorDict& file, const LoadOptions& options) : file_(file), options_(options) {
    tensors_ = options.map.to_model(file, unfit_);
  }

  // Undefined after noting a problem.
  at::Tensor take(const std::string& name, const std::vector<int64_t>& shape) {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      note_missing(name, shape);
      return {};
    }
    const at::Tensor tensor = std::move(it->second);
    tensors_.erase(it);
    if (!tensor.defined()) return {};  // its rule did not fit, which is noted
    if (tensor.sizes().vec() != shape) {
      const std::string from = stored(name);
      problems_.push_back(
          from + (from == quoted(name) ? " has shape " : " makes " + quoted(name) + " of shape ") +
          shape_text(tensor.sizes()) + ", expected " + shape_text(shape));
      return {};
    }
    return tensor;
  }

  at::Tensor take_floating(const std::string& name, const std::vector<int64_t>& shape) {
    at::Tensor tensor = take(name, shape);
    if (!tensor.defined() || tensor.is_floating_point()) return tensor;
    problems_.push_back(stored(name) + " has type " +
                        std::string(dtype_name(file_dtype(tensor.scalar_type()))) +
                        ", expected a floating type");
    return {};
  }

  void finish(const std::string& source) {
    problems_.insert(problems_.end(), unfit_.begin(), unfit_.end());
    for (const auto& [name, tensor] : tensors_)
      if (tensor.defined()) problems_.push_back("unexpected " + stored(name));
    if (!problems_.empty()) throw_listing(source, problems_);
  }

 private:
  static std::string quoted(const std::string& name) { return "'" + name + "'"; }
  std::string stored(const std::string& name) const {
    return quoted(join(options_.map.file_names(name), "', '"));
  }

  void note_missing(const std::string& name, const std::vector<int64_t>& shape) {
    for (const std::string& wanted : options_.map.file_names(name)) {
      if (file_.contains(wanted) || !missing_.insert(wanted).second) continue;
      // Hints cost an edit distance to every name: only for the problems that are shown.
      std::string hint;
      if (problems_.size() < kShownProblems) {
        if (given_.empty())
          for (const auto& [given, tensor] : file_) given_.push_back(given);
        hint = closest_name(wanted, given_);
      }
      problems_.push_back("missing " + quoted(wanted) +
                          (wanted == name ? " " + shape_text(shape) : " for " + quoted(name)) +
                          (hint.empty() ? "" : ", the closest name is " + quoted(hint)));
    }
  }

  const TensorDict& file_;
  const LoadOptions& options_;
  TensorDict tensors_;
  std::vector<std::string> problems_, unfit_, given_;
  std::set<std::string> missing_;
};

}  // namespace

void adopt_parameters(Module& module, const TensorDict& tensors, const std::string& source,
                      const LoadOptions& options) {
  StrictLoad load(tensors, options);
  Visitor visitor;
  visitor.parameter = [&](const std::string& name, Parameter& parameter) {
    const at::Tensor tensor = load.take_floating(name, parameter.shape);
    if (!tensor.defined()) return;
    parameter.value =
        tensor.to(options.device, options.dtype == at::ScalarType::Undefined ? tensor.scalar_type()
                                                                             : options.dtype);
  };
  visitor.buffer = [&](const std::string& name, Buffer& buffer) {
    if (!buffer.saved) return;
    const at::Tensor tensor = load.take(name, buffer.shape);
    if (tensor.defined()) buffer.value = tensor.to(options.device);
  };
  module.walk(visitor);
  load.finish(source);
}

void load_parameters(Module& module, const TensorArchive& archive, const LoadOptions& options) {
  adopt_parameters(module, to_tensors(archive), archive.path().string(), options);
}

void save_tensors(const std::filesystem::path& file, const NamedTensors& tensors,
                  std::map<std::string, std::string> metadata) {
  std::vector<std::pair<std::string, TensorView>> views;
  views.reserve(tensors.size());
  for (const auto& [name, tensor] : tensors) views.emplace_back(name, to_view(tensor));
  write_safetensors(file, views, std::move(metadata));
}

NamedTensors named_parameters(const Module& module) {
  NamedTensors tensors;
  each_parameter(module, [&](const std::string& name, const Parameter& parameter) {
    tensors.emplace_back(name, parameter.value);
  });
  return tensors;
}

NamedTensors checkpoint_tensors(const Module& module,
                                const std::function<bool(const std::string&)>& wanted) {
  NamedTensors tensors;
  TensorDict merged;
  const auto asked = [&](const std::string& name) { return !wanted || wanted(name); };
  ConstVisitor visitor;
  visitor.linear = [&](const std::string& path, const Linear& linear) {
    const std::string name = path + ".weight";
    if (linear.lora && asked(name)) merged[name] = merged_weight(linear);
  };
  visitor.parameter = [&](const std::string& name, const Parameter& parameter) {
    if (!asked(name)) return;
    const auto it = merged.find(name);
    tensors.emplace_back(name, it == merged.end() ? parameter.value : it->second);
  };
  visitor.buffer = [&](const std::string& name, const Buffer& buffer) {
    if (buffer.saved && asked(name)) tensors.emplace_back(name, buffer.value);
  };
  module.walk(visitor);
  return tensors;
}

std::string parameters_hash(const Module& module) {
  Sha256 hash;
  auto add = [&](const std::string& name, const at::Tensor& tensor) {
    const TensorView view = to_view(tensor);
    hash.update(name).update(shape_text(view.shape)).update(dtype_name(view.dtype));
    hash.update({reinterpret_cast<const char*>(view.data.data()), view.data.size()});
  };
  ConstVisitor visitor;
  visitor.parameter = [&](const std::string& name, const Parameter& parameter) {
    add(name, parameter.value);
  };
  visitor.buffer = [&](const std::string& name, const Buffer& buffer) {
    if (buffer.saved) add(name, buffer.value);
  };
  module.walk(visitor);
  return hash.hex();
}

}  // namespace parapet::nn
