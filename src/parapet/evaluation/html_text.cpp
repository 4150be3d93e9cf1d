#include "parapet/evaluation/html_text.h"

#include <cmath>

#include "parapet/core/strings.h"

namespace parapet {

std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  return out;
}

bool is_cosine(std::string_view name) {
  for (const char* word : {"osine", "preservation", "redirection", "validation."})
    if (name.find(word) != std::string_view::npos) return true;
  return false;
}

std::string format_value(const Estimate& e, bool cosine) {
  if (!std::isfinite(e.value)) return "-";
  return cosine ? format_number(e.value, 3) : format_number(100 * e.value, 1) + " %";
}

std::string format_interval(const Estimate& e, bool cosine) {
  if (!std::isfinite(e.value) || !std::isfinite(e.low) || !std::isfinite(e.high) || e.low == e.high)
    return "";
  const double scale = cosine ? 1 : 100;
  const int digits = cosine ? 3 : 1;
  return format_number(scale * e.low, digits) + " \xe2\x80\x93 " +
         format_number(scale * e.high, digits);
}

}  // namespace parapet
