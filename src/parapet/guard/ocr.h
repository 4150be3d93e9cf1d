// Text drawn in pictures, read by tesseract.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "parapet/formats/image.h"
#include "parapet/guard/policy.h"

namespace parapet::guard {

struct OcrWord {
  size_t begin = 0, end = 0;                         // bytes of OcrText::text
  int64_t left = 0, top = 0, width = 0, height = 0;  // pixels of the picture given
  double confidence = 0;                             // 0..100
};

struct OcrText {
  std::string text;  // words joined by blanks, lines by '\n'; UTF-8
  std::vector<OcrWord> words;
  bool in_time = true;  // false: stopped at the deadline, nothing was read
};

class Ocr {
 public:
  // UsageError names a language whose data is not installed.
  explicit Ocr(const OcrOptions& options);
  ~Ocr();
  Ocr(const Ocr&) = delete;
  Ocr& operator=(const Ocr&) = delete;

  // Where no word can be read upright, the picture is also read turned by quarters; boxes are of
  // the picture as given. Thread-safe: engines are pooled, each computes on the caller's thread
  // alone. A page full of small print takes minutes: it is given up at the deadline. DataError when
  // the engine fails.
  OcrText read(const Image& image, const std::optional<Clock::time_point>& deadline = {});
  static std::string version();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parapet::guard
