// One walk over what a model is made of. A module lists its parts once, under Hugging Face's names,
// so that the path to a parameter is its name in the checkpoint:
//
//   class Block : public nn::Layer {
//    public:
//     template <class Self, class Visit>
//     static void parts(Self& self, Visit&& visit) {  // Self is Block or const Block
//       visit("self_attn", self.attention_);           // another module
//       visit("mlp.fc1", self.fc1_);                   // a Linear; a name may have several parts
//       visit("layers", self.layers_);                 // a vector: "layers.0", "layers.1", ...
//     }
//   };
//
// Loading, saving, LoRA, freezing, counting and moving all use this one list.
#pragma once
#include <array>
#include <concepts>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "parapet/nn/parameter.h"

namespace parapet::nn {

class Linear;

// A block that a model repeats. With `recompute`, its forward pass keeps its input only and the
// backward pass computes the rest again (gradient checkpointing); see recompute.h.
struct Layer {
  bool recompute = false;
};

// What a walk shows. Members left empty are skipped. Names and paths are full.
template <bool kConst>
struct BasicVisitor {
  template <class T>
  using Ref = std::conditional_t<kConst, const T&, T&>;
  std::function<void(const std::string& name, Ref<Parameter>)> parameter;
  std::function<void(const std::string& name, Ref<Buffer>)> buffer;
  std::function<void(const std::string& path, Ref<Linear>)> linear;  // before its parameters
  std::function<void(const std::string& path, Ref<Layer>)> layer;    // before what is in it
};
using Visitor = BasicVisitor<false>;
using ConstVisitor = BasicVisitor<true>;

// The root of a model: what functions on whole models take. Both walks are one line,
// `nn::walk_parts("", *this, visitor)`.
class Module {
 public:
  Module() = default;
  Module(const Module&) = default;
  Module(Module&&) = default;
  Module& operator=(const Module&) = default;
  Module& operator=(Module&&) = default;
  virtual ~Module() = default;
  virtual void walk(const Visitor& visitor) = 0;
  virtual void walk(const ConstVisitor& visitor) const = 0;
};

namespace detail {

template <class T>
inline constexpr bool kIsList = false;
template <class T>
inline constexpr bool kIsList<std::vector<T>> = true;
template <class T, size_t n>
inline constexpr bool kIsList<std::array<T, n>> = true;
template <class T>
inline constexpr bool kIsOptional = false;
template <class T>
inline constexpr bool kIsOptional<std::optional<T>> = true;

std::string join_path(const std::string& path, std::string_view name);

}  // namespace detail

// Shows `node`, which stands at `path`, and everything in it. A bare tensor counts as a parameter
// of the shape it has; an empty optional as nothing.
template <class Node, bool kConst>
void walk_parts(const std::string& path, Node& node, const BasicVisitor<kConst>& visitor) {
  using T = std::remove_const_t<Node>;
  if constexpr (std::same_as<T, Parameter>) {
    if (visitor.parameter) visitor.parameter(path, node);
  } else if constexpr (std::same_as<T, Buffer>) {
    if (visitor.buffer) visitor.buffer(path, node);
  } else if constexpr (std::same_as<T, at::Tensor>) {
    if (!visitor.parameter) return;
    Parameter parameter{node, node.sizes().vec()};
    visitor.parameter(path, parameter);
    if constexpr (!kConst) node = parameter.value;
  } else if constexpr (detail::kIsList<T>) {
    for (size_t i = 0; i < node.size(); ++i)
      walk_parts(detail::join_path(path, std::to_string(i)), node[i], visitor);
  } else if constexpr (detail::kIsOptional<T>) {
    if (node) walk_parts(path, *node, visitor);
  } else {
    if constexpr (std::derived_from<T, Layer>)
      if (visitor.layer) visitor.layer(path, node);
    if constexpr (std::same_as<T, Linear>)
      if (visitor.linear) visitor.linear(path, node);
    T::parts(node, [&](std::string_view name, auto& part) {
      walk_parts(detail::join_path(path, name), part, visitor);
    });
  }
}

// Calls `use(name, parameter)` for each parameter, in the order of the checkpoint; `parameter` is
// const where the module is. The same for the other kinds.
template <class M, class Use>
void each_parameter(M& module, Use&& use) {
  BasicVisitor<std::is_const_v<M>> visitor;
  visitor.parameter = std::ref(use);
  module.walk(visitor);
}
template <class M, class Use>
void each_buffer(M& module, Use&& use) {
  BasicVisitor<std::is_const_v<M>> visitor;
  visitor.buffer = std::ref(use);
  module.walk(visitor);
}
template <class M, class Use>
void each_linear(M& module, Use&& use) {
  BasicVisitor<std::is_const_v<M>> visitor;
  visitor.linear = std::ref(use);
  module.walk(visitor);
}
template <class M, class Use>
void each_layer(M& module, Use&& use) {
  BasicVisitor<std::is_const_v<M>> visitor;
  visitor.layer = std::ref(use);
  module.walk(visitor);
}

}  // namespace parapet::nn
