#include "parapet/core/base64.h"

#include <gtest/gtest.h>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"

namespace parapet {
namespace {

std::string message_of(std::string_view text, int64_t cap = 1 << 20) {
  try {
    base64_decode(text, "image", cap);
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Base64, TestVectorsOfRfc4648) {
  EXPECT_EQ(base64_decode("", "x"), "");
  EXPECT_EQ(base64_decode("Zg==", "x"), "f");
  EXPECT_EQ(base64_decode("Zm8=", "x"), "fo");
  EXPECT_EQ(base64_decode("Zm9v", "x"), "foo");
  EXPECT_EQ(base64_decode("Zm9vYg==", "x"), "foob");
  EXPECT_EQ(base64_decode("Zm9vYmE=", "x"), "fooba");
  EXPECT_EQ(base64_decode("Zm9vYmFy", "x"), "foobar");
}

TEST(Base64, DecodesWhatItEncodes) {
  for (size_t size = 0; size < 70; ++size) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 37 + size * 11 + 200);
    std::string text = base64_encode(bytes);
    EXPECT_EQ(base64_decode(text, "x"), bytes);
    while (!text.empty() && text.back() == '=') text.pop_back();
    EXPECT_EQ(base64_decode(text, "x"), bytes) << "unpadded";
    std::string lines;
    for (size_t i = 0; i < text.size(); ++i) {
      if (i % 7 == 0) lines += "\r\n";
      lines += text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i];
    }
    EXPECT_EQ(base64_decode(lines, "x"), bytes) << "URL-safe, in lines";
  }
}

TEST(Base64, NamesTheOffsetOfAMistake) {
  EXPECT_NE(message_of("Zm9v!mFy").find("offset 4: not a base64 character"), std::string::npos);
  EXPECT_NE(message_of("Zm9vY").find("ends in the middle of a byte"), std::string::npos);
  EXPECT_NE(message_of("Zg==Zg==").find("offset 4: data after the padding"), std::string::npos);
  EXPECT_NE(message_of("Zg=").find("wrong padding"), std::string::npos);
  EXPECT_NE(message_of("Zm9v====").find("wrong padding"), std::string::npos);
  EXPECT_NE(message_of("Zh==").find("bits left over"), std::string::npos);
  EXPECT_NE(message_of(std::string("Zm\0v", 4)).find("offset 2"), std::string::npos);
}

TEST(Base64, RefusesMoreThanTheCap) {
  EXPECT_EQ(base64_decode("Zm9vYmFy", "x", 6), "foobar");
  EXPECT_NE(message_of("Zm9vYmFy", 5).find("more than 5 bytes"), std::string::npos);
  EXPECT_NE(message_of(std::string(4000, 'A'), 5).find("more than 5 bytes"), std::string::npos);
}

}  // namespace
}  // namespace parapet
