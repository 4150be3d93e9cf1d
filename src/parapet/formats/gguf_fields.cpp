// Typed access to the metadata of a GGUF file.
#include <cmath>
#include <limits>

#include "parapet/core/error.h"
#include "parapet/formats/gguf.h"

namespace parapet {
namespace {

// Each returns whether the value is of the wanted kind and fits.
bool take(const GgufValue& value, bool& out) {
  const auto* held = std::get_if<bool>(&value.value());
  if (held != nullptr) out = *held;
  return held != nullptr;
}

bool take(const GgufValue& value, int64_t& out) {
  if (const auto* held = std::get_if<int64_t>(&value.value())) {
    out = *held;
    return true;
  }
  const auto* held = std::get_if<uint64_t>(&value.value());
  if (held == nullptr || *held > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    return false;
  out = static_cast<int64_t>(*held);
  return true;
}

bool take(const GgufValue& value, double& out) {
  if (const auto* held = std::get_if<double>(&value.value())) {
    out = *held;
    return std::isfinite(out);
  }
  int64_t whole = 0;
  if (!take(value, whole)) return false;
  out = static_cast<double>(whole);
  return true;
}

bool take(const GgufValue& value, std::string& out) {
  const auto* held = std::get_if<std::string>(&value.value());
  if (held != nullptr) out = *held;
  return held != nullptr;
}

template <class T>
bool take(const GgufValue& value, std::vector<T>& out) {
  const auto* held = std::get_if<GgufValue::List>(&value.value());
  if (held == nullptr) return false;
  out.clear();
  out.reserve(held->size());
  for (const GgufValue& item : *held) {
    T one{};
    if (!take(item, one)) return false;
    out.push_back(std::move(one));
  }
  return true;
}

std::string wanted(const bool&) { return "true or false"; }
std::string wanted(const int64_t&) { return "a whole number below 2^63"; }
std::string wanted(const double&) { return "a finite number"; }
std::string wanted(const std::string&) { return "a string"; }
template <class T>
std::string wanted(const std::vector<T>&) {
  return "a list, each item " + wanted(T{});
}

}  // namespace

std::string_view GgufValue::kind() const {
  switch (value_.index()) {
    case 0:
      return "true or false";
    case 1:
    case 2:
      return "a whole number";
    case 3:
      return "a floating-point number";
    case 4:
      return "a string";
    default:
      return "a list";
  }
}

template <class T>
T GgufFile::field(const std::string& key) const {
  const auto it = metadata_.find(key);
  if (it == metadata_.end())
    throw DataError(path_.string(), "the metadata has no '" + key + "'",
                    "Convert the model to GGUF again with a current converter.");
  T value{};
  if (!take(it->second, value))
    throw DataError(path_.string(),
                    "'" + key + "' of the metadata must be " + wanted(value) + ", but is " +
                        std::string(it->second.kind()),
                    "Convert the model to GGUF again with a current converter.");
  return value;
}

template <class T>
T GgufFile::field_or(const std::string& key, T fallback) const {
  return has(key) ? field<T>(key) : fallback;
}

#define PARAPET_GGUF_FIELD(...)                                                \
  template __VA_ARGS__ GgufFile::field<__VA_ARGS__>(const std::string&) const; \
  template __VA_ARGS__ GgufFile::field_or<__VA_ARGS__>(const std::string&, __VA_ARGS__) const
PARAPET_GGUF_FIELD(bool);
PARAPET_GGUF_FIELD(int64_t);
PARAPET_GGUF_FIELD(double);
PARAPET_GGUF_FIELD(std::string);
PARAPET_GGUF_FIELD(std::vector<std::string>);
PARAPET_GGUF_FIELD(std::vector<int64_t>);
PARAPET_GGUF_FIELD(std::vector<double>);
#undef PARAPET_GGUF_FIELD

}  // namespace parapet
