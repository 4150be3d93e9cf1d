// A second device without a card: torch's PrivateUse1, whose tensors lie in CPU memory and whose
// operations run on the CPU. Like CUDA it refuses an operation on tensors of both devices, so that
// code that forgets to move one fails here. Include it in one source of a program.
#pragma once
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

namespace parapet::test {

inline at::Device second_device() { return {at::kPrivateUse1, 0}; }

namespace second {

// CPU tensor over the memory of a fake one, which it keeps alive. An empty one may be resized.
inline at::Tensor seen_from_cpu(const at::Tensor& x) {
  if (x.numel() == 0) return at::empty_strided(x.sizes(), x.strides(), x.scalar_type());
  const auto items = static_cast<int64_t>(x.storage().nbytes()) / x.element_size();
  const at::Tensor whole = at::from_blob(
      x.storage().mutable_data(), {items}, [x](void*) {}, at::TensorOptions(x.scalar_type()));
  return whole.as_strided(x.sizes(), x.strides(), x.storage_offset());
}

inline c10::Storage storage_over(const at::Tensor& cpu) {
  void* memory = cpu.storage().mutable_data();
  auto* owner = new at::Tensor(cpu);
  return c10::Storage(c10::Storage::use_byte_size_t(), cpu.storage().nbytes(),
                      at::DataPtr(
                          memory, owner, [](void* kept) { delete static_cast<at::Tensor*>(kept); },
                          second_device()),
                      nullptr, false);
}

inline at::Tensor seen_from_device(const at::Tensor& cpu) {
  at::Tensor out = at::detail::make_tensor<c10::TensorImpl>(
      storage_over(cpu), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), cpu.dtype());
  out.unsafeGetTensorImpl()->set_sizes_and_strides(cpu.sizes(), cpu.strides(),
                                                   cpu.storage_offset());
  return out;
}

inline bool is_fake(const at::Tensor& x) { return x.defined() && x.is_privateuseone(); }

// The arguments of one call while they are those of the CPU.
class Call {
 public:
  explicit Call(const c10::OperatorHandle& op) : op_(op) {}

  c10::IValue to_cpu(const c10::IValue& value) {
    if (value.isTensor()) return swap(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& x : value.toTensorVector()) list.push_back(swap(x));
      return list;
    }
    if (value.isList() && value.toListRef().size() > 0) {  // optional tensors, as of index
      c10::List<std::optional<at::Tensor>> list;
      for (const c10::IValue& x : value.toListRef()) {
        if (!x.isNone() && !x.isTensor()) return value;
        list.push_back(x.isNone() ? std::nullopt : std::optional(swap(x.toTensor())));
      }
      return list;
    }
    if (value.isDevice() && value.toDevice().is_privateuseone()) {
      fake_ = true;
      return c10::IValue(at::Device(at::kCPU));
    }
    return value;
  }

  void refuse_mixed() const {
    // CUDA takes these indices from the CPU, and copies between devices.
    static const std::set<std::string> kMixed = {"aten::index", "aten::index_put_",
                                                 "aten::_index_put_impl_"};
    TORCH_CHECK(!fake_ || !cpu_ || kMixed.contains(op_.operator_name().name),
                "Expected all tensors to be on the same device, but ", op_.operator_name(),
                " was given some on cpu and some on second:0");
  }

  // `view`: of an argument, which it is like where inference tensors are made.
  c10::IValue to_device(const c10::IValue& value, bool view) {
    if (!fake_) return value;
    const bool normal = view && !swapped_.empty() && !swapped_.front().first.is_inference();
    std::optional<c10::InferenceMode> off;
    if (normal && c10::InferenceMode::is_enabled()) off.emplace(false);
    if (value.isTensor()) return back(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> list;
      for (const at::Tensor& x : value.toTensorVector()) list.push_back(back(x));
      return list;
    }
    return value;
  }

  // Outputs that were given empty and have grown.
  void take_new_sizes() {
    for (auto& [own, cpu] : swapped_) {
      if (own.sizes() == cpu.sizes()) continue;
      auto* impl = own.unsafeGetTensorImpl();
      impl->set_storage_keep_dtype(storage_over(cpu));
      impl->set_sizes_and_strides(cpu.sizes(), cpu.strides(), cpu.storage_offset());
    }
  }

 private:
  at::Tensor swap(const at::Tensor& x) {
    if (!is_fake(x)) {
      cpu_ |= x.defined() && x.dim() > 0;
      return x;
    }
    fake_ = true;
    swapped_.emplace_back(x, seen_from_cpu(x));
    return swapped_.back().second;
  }
  at::Tensor back(const at::Tensor& x) {
    if (!x.defined()) return x;
    for (const auto& [own, cpu] : swapped_)
      if (cpu.is_same(x)) return own;
    return seen_from_device(x);
  }

  const c10::OperatorHandle& op_;
  std::vector<std::pair<at::Tensor, at::Tensor>> swapped_;
  bool fake_ = false, cpu_ = false;
};

inline void fallback(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const size_t arguments = op.schema().arguments().size(), first = stack->size() - arguments;
  Call call(op);
  for (size_t i = first; i < stack->size(); ++i) (*stack)[i] = call.to_cpu((*stack)[i]);
  call.refuse_mixed();
  op.callBoxed(stack);
  call.take_new_sizes();
  for (size_t i = first; i < stack->size(); ++i) {
    const c10::AliasInfo* alias = op.schema().returns()[i - first].alias_info();
    (*stack)[i] = call.to_device((*stack)[i], alias != nullptr && !alias->isWrite());
  }
}

inline at::Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> type,
                        std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>,
                        std::optional<at::MemoryFormat> format) {
  return seen_from_device(at::empty(C10_AS_INTARRAYREF_SLOW(size),
                                    at::TensorOptions(type.value_or(at::kFloat)), format));
}

inline at::Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                                std::optional<at::ScalarType> type, std::optional<at::Layout>,
                                std::optional<at::Device>, std::optional<bool>) {
  return seen_from_device(at::empty_strided(C10_AS_INTARRAYREF_SLOW(size),
                                            C10_AS_INTARRAYREF_SLOW(stride),
                                            at::TensorOptions(type.value_or(at::kFloat))));
}

inline at::Tensor& copy_into(at::Tensor& self, const at::Tensor& from, bool) {
  const at::AutoDispatchBelowADInplaceOrView below;
  const at::Tensor to = is_fake(self) ? seen_from_cpu(self) : self;
  to.copy_(is_fake(from) ? seen_from_cpu(from) : from);
  return self;
}

inline at::Tensor copy_from(const at::Tensor& self, const at::Tensor& to, bool wait) {
  at::Tensor target = to;
  return copy_into(target, self, wait);
}

inline void record_stream(at::Tensor&, c10::Stream) {}

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  at::DeviceType type() const override { return at::kPrivateUse1; }
  at::Device exchangeDevice(at::Device) const override { return second_device(); }
  at::Device getDevice() const override { return second_device(); }
  void setDevice(at::Device) const override {}
  void uncheckedSetDevice(at::Device) const noexcept override {}
  c10::Stream getStream(at::Device d) const override {
    return c10::Stream(c10::Stream::DEFAULT, d);
  }
  c10::Stream getStreamFromGlobalPool(at::Device d, bool) const override {
    return c10::Stream(c10::Stream::UNSAFE, d, 1);
  }
  c10::Stream exchangeStream(c10::Stream s) const override {
    return c10::Stream(c10::Stream::DEFAULT, s.device());
  }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex,
              const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeStream(const c10::Stream&) const override {}
};

// What autograd asks an accelerator for.
class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override {
    return at::detail::getDefaultCPUGenerator();
  }
  c10::DeviceIndex deviceCount() const override { return 1; }
  void setCurrentDevice(c10::DeviceIndex) const override {}
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
};

inline const bool kHooks = [] {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  c10::register_privateuse1_backend("second");
  return true;
}();
inline const Guard kGuard;
inline const c10::impl::DeviceGuardImplRegistrar kRegistered(at::kPrivateUse1, &kGuard);

}  // namespace second

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&second::fallback>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &second::empty);
  library.impl("empty_strided", &second::empty_strided);
  library.impl("copy_", &second::copy_into);
  library.impl("_copy_from", &second::copy_from);
  library.impl("record_stream", &second::record_stream);
}

}  // namespace parapet::test
