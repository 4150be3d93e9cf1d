#include "parapet/serving/json_text.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace parapet::serving {
namespace {

std::string said(const std::string& text) {
  JsonText reading;
  reading.add_string(text);
  return reading.take();
}

TEST(JsonText, ReadsEscapesAtAnyDepth) {
  EXPECT_EQ(said(R"({"text":"i will\nhurt you"})"), "text\ni will\nhurt you");
  EXPECT_EQ(said(R"({"a":["\u0069 will","hurt \u0079ou", 7, -2, 1.50, true, null]})"),
            "a\ni will\nhurt you\n7\n-2\n1.50");
  EXPECT_EQ(said(R"("hurt\tyou")"), "hurt\tyou");
  nlohmann::json nested = "i will\nhurt you";
  for (int i = 0; i < 6; ++i) nested = nlohmann::json{{"k", nested}}.dump();
  EXPECT_EQ(said(nested.get<std::string>()), "k\nk\nk\nk\nk\nk\ni will\nhurt you");
}

// A reader may take either of two keys of one name.
TEST(JsonText, RepeatedKeysAllCount) {
  EXPECT_EQ(said(R"({"text":"hurt you","text":"fine"})"), "text\nhurt you\ntext\nfine");
}

TEST(JsonText, WhatIsNoJsonIsReadAsItStandsAndUnescaped) {
  EXPECT_EQ(said("plain"), "plain");
  EXPECT_EQ(said("C:\\dir"), "C:\\dir");
  EXPECT_EQ(said("{\"text\":\"hurt\\nyou"), "{\"text\":\"hurt\\nyou\n{\"text\":\"hurt\nyou");
  EXPECT_EQ(said("\\ud83d\\udd25 \\ud83d \\u00e9"),
            "\\ud83d\\udd25 \\ud83d \\u00e9\n\xF0\x9F\x94\xA5 \xEF\xBF\xBD \xC3\xA9");
  EXPECT_EQ(said("\\"), "\\");
  EXPECT_EQ(said("\\u12"), "\\u12");
  EXPECT_EQ(said(""), "");
}

TEST(JsonText, SchemasSayTheirNamesAndDescriptions) {
  JsonText reading;
  reading.add_schema(nlohmann::json::parse(
      R"({"type":"function","function":{"name":"post","description":"hurt\nyou","parameters":
          {"type":"object","properties":{"who":{"type":"string","enum":["x y"]}},"required":["who"]}}})"));
  EXPECT_EQ(reading.take(), "hurt\nyou\npost\nwho\nx y\nwho");
}

TEST(DecodedReading, IsThereOnlyWhereItDiffers) {
  EXPECT_EQ(decoded_reading("hello"), "");
  EXPECT_EQ(decoded_reading(R"({"a":"b"})"), "");
  EXPECT_EQ(decoded_reading("a\\b"), "");
  EXPECT_EQ(decoded_reading(R"({"a":"hurt\nyou"})"), "a\nhurt\nyou");
  EXPECT_EQ(decoded_reading(R"(Result: {"a":"hurt\nyou"})"), "Result: {\"a\":\"hurt\nyou\"}");
  EXPECT_EQ(decoded_reading("h\\u0075rt you"), "hurt you");
}

}  // namespace
}  // namespace parapet::serving
