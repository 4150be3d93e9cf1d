#include "parapet/nn/module.h"

namespace parapet::nn {
namespace detail {

std::string join_path(const std::string& path, std::string_view name) {
  if (path.empty()) return std::string(name);
  if (name.empty()) return path;
  return path + "." + std::string(name);
}

}  // namespace detail

}  // namespace parapet::nn
