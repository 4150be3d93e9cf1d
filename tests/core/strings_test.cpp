#include "parapet/core/strings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace parapet {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Strings, SplitAndJoin) {
  EXPECT_THAT(split("a,b,,c", ','), ElementsAre("a", "b", "", "c"));
  EXPECT_THAT(split("a,", ','), ElementsAre("a", ""));
  EXPECT_THAT(split("", ','), IsEmpty());
  EXPECT_EQ(join({"a", "", "b"}, ", "), "a, , b");
  EXPECT_EQ(join({}, ","), "");
}

TEST(Strings, TrimAndLower) {
  EXPECT_EQ(trim(" \t a b\r\n"), "a b");
  EXPECT_EQ(trim(" \n "), "");
  EXPECT_EQ(to_lower_ascii("AbZ\xC3\x89"), "abz\xC3\x89");
}

TEST(Strings, ClosestName) {
  const std::vector<std::string> names = {"batch-size", "learning-rate", "max-steps"};
  EXPECT_EQ(closest_name("bach-size", names), "batch-size");
  EXPECT_EQ(closest_name("max-step", names), "max-steps");
  EXPECT_EQ(closest_name("temperature", names), "");
  EXPECT_EQ(closest_name("x", {}), "");
}

TEST(Strings, Numbers) {
  EXPECT_EQ(format_number(0.12345, 3), "0.123");
  EXPECT_EQ(format_number(1e300, 0).size(), 301u);
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1500), "1.5 KB");
  EXPECT_EQ(format_bytes(312'000), "312 KB");
  EXPECT_EQ(format_bytes(2'000'000'000'000'000), "2000 TB");
}

TEST(Strings, Base64KnownVectors) {
  // RFC 4648, section 10.
  EXPECT_EQ(base64_encode(""), "");
  EXPECT_EQ(base64_encode("f"), "Zg==");
  EXPECT_EQ(base64_encode("fo"), "Zm8=");
  EXPECT_EQ(base64_encode("foo"), "Zm9v");
  EXPECT_EQ(base64_encode("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64_encode("\xFF\xFE\xFD"), "//79");
}

}  // namespace
}  // namespace parapet
