#include "parapet/core/text_encoding.h"

#include <gtest/gtest.h>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "support/temp_folder.h"

#include <nlohmann/json.hpp>

namespace parapet {
namespace {

using namespace std::string_literals;

// "fenêtre 🔪\n" in every encoding that a mark can name.
std::string encoded(int width, bool big, bool mark) {
  std::string out;
  const auto put = [&](char32_t value) {
    for (int k = 0; k < width; ++k) {
      const int shift = 8 * (big ? width - 1 - k : k);
      out.push_back(static_cast<char>(value >> shift & 0xFF));
    }
  };
  if (mark) put(0xFEFF);
  for (const char32_t c : U"fenêtre 🔪\n"s) {
    if (width == 2 && c > 0xFFFF) {
      put(0xD800 + ((c - 0x10000) >> 10));
      put(0xDC00 + ((c - 0x10000) & 0x3FF));
    } else {
      put(c);
    }
  }
  return out;
}

std::string read(const std::string& bytes) {
  std::string storage;
  return std::string(utf8_text(bytes, "list.txt", storage));
}

std::string refusal(const std::string& bytes) {
  try {
    return "read as " + read(bytes);
  } catch (const DataError& error) {
    return error.what();
  }
}

TEST(TextEncoding, AByteOrderMarkSaysWhatTheBytesAre) {
  for (const int width : {2, 4})
    for (const bool big : {false, true})
      EXPECT_EQ(read(encoded(width, big, true)), "fenêtre 🔪\n") << width << big;
  EXPECT_EQ(read("\xEF\xBB\xBF"
                 "a cat\n"),
            "a cat\n");
  EXPECT_EQ(read("a cat\n"), "a cat\n");
  EXPECT_EQ(read("fenêtre 🔪 坏人 \U0010FFFF"), "fenêtre 🔪 坏人 \U0010FFFF");
  EXPECT_EQ(read(""), "");
  EXPECT_EQ(read("\xFF\xFE"), "");
}

TEST(TextEncoding, WhatIsNotUtf8IsRefusedWithItsPlace) {
  const std::string latin1 = refusal("image,text\na,une fen\xEAtre\n");
  EXPECT_NE(latin1.find("list.txt:2: is not UTF-8: byte 0xEA at offset 20"), std::string::npos)
      << latin1;
  EXPECT_NE(latin1.find("iconv"), std::string::npos) << latin1;
  for (const std::string& bad :
       {"a\x80"s, "\xC0\x80"s, "\xED\xA0\x80"s, "\xF4\x90\x80\x80"s, "\xE2\x82"s,
        "\xF5\x80\x80\x80"s, "twelve bytes \x93quoted\x94 as Windows does"s})
    EXPECT_NE(refusal(bad).find("is not UTF-8"), std::string::npos) << refusal(bad);
  for (const bool big : {false, true})
    EXPECT_NE(refusal(encoded(2, big, false)).find("UTF-16 without a byte order mark"),
              std::string::npos);
  EXPECT_NE(refusal("\xFF\xFE"
                    "a\0\n\0b"s)
                .find("list.txt:2: ends in the middle"),
            std::string::npos);
  EXPECT_NE(refusal("\xFF\xFE"
                    "\x00\xD8"
                    "a\0"s)
                .find("lone surrogate"),
            std::string::npos);
}

TEST(TextEncoding, RecordReadersMayCheckTheirOwnRecords) {
  std::string storage;
  EXPECT_EQ(marked_text("good\nb\xEA"
                        "d\n",
                        "x", storage),
            "good\nb\xEA"
            "d\n");
  EXPECT_EQ(marked_text("\xEF\xBB\xBF"
                        "b\xEA"
                        "d",
                        "x", storage),
            "b\xEA"
            "d");
}

TEST(TextEncoding, FilesAndJsonGoThroughIt) {
  const test::TempFolder folder;
  write_file_atomic(folder / "a.json",
                    "\xFF\xFE"
                    "{\0\"\0a\0\"\0:\0\x31\0}\0"s);
  EXPECT_EQ(load_json(folder / "a.json")["a"], 1);
  write_file_atomic(folder / "b.txt", "caf\xE9");
  EXPECT_THROW(read_text_file(folder / "b.txt"), DataError);
}

}  // namespace
}  // namespace parapet
