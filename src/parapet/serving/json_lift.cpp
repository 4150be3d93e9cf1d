#include "parapet/serving/json_lift.h"

#include <charconv>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>

namespace parapet::serving {
namespace {

constexpr size_t kLong = 1024;

// No client can name a token: its prefix is drawn anew in every process.
const std::string& mark() {
  static const std::string value = [] {
    std::random_device device;
    std::string text = "lifted:";
    for (int i = 0; i < 4; ++i) text += std::to_string(device()) + ":";
    return text;
  }();
  return value;
}

constexpr uint64_t repeat(uint8_t byte) { return 0x0101010101010101ull * byte; }

// True when some byte of `x`, all below 128, is zero.
bool has_zero(uint64_t x) { return ((x - repeat(1)) & ~x & repeat(0x80)) != 0; }

// Printable ASCII without a backslash: the same in JSON and outside.
bool is_plain(std::string_view text) {
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & repeat(0x80)) != 0) return false;
    const bool control = ((word - repeat(0x20)) & repeat(0x80)) != 0;
    if (control || has_zero(word ^ repeat('\\'))) return false;
  }
  for (; at < text.size(); ++at) {
    const auto c = static_cast<uint8_t>(text[at]);
    if (c < 0x20 || c >= 0x80 || c == '\\') return false;
  }
  return true;
}

}  // namespace

void LongStrings::offer(size_t open, size_t close) {
  if (close - open <= kLong || close >= text_.size()) return;
  const size_t next = text_.find_first_not_of(" \t\r\n", close + 1);
  if (next == std::string_view::npos || text_[next] == ':') return;
  const std::string_view inside = text_.substr(open + 1, close - open - 1);
  if (is_plain(inside)) strings_.push_back(inside);
}

bool LongStrings::worth_lifting() const {
  return !strings_.empty() && text_.find(mark()) == std::string_view::npos;
}

std::string LongStrings::reduced() const {
  std::string result;
  size_t at = 0;
  for (size_t i = 0; i < strings_.size(); ++i) {
    const auto begin = static_cast<size_t>(strings_[i].data() - text_.data());
    result.append(text_, at, begin - at);
    result += mark() + std::to_string(i);
    at = begin + strings_[i].size();
  }
  return result.append(text_, at);
}

// As deep as the caller's cap on nesting.
void LongStrings::restore(nlohmann::json& value) const {
  if (value.is_structured()) {
    for (auto& item : value) restore(item);
    return;
  }
  if (!value.is_string()) return;
  auto& text = value.get_ref<std::string&>();
  if (!text.starts_with(mark())) return;
  // Whoever guessed the mark gets back what was sent, not a crash.
  size_t index = 0;
  const char* const end = text.data() + text.size();
  const auto number = std::from_chars(text.data() + mark().size(), end, index);
  if (number.ec == std::errc() && number.ptr == end && index < strings_.size())
    text = strings_[index];
}

}  // namespace parapet::serving
