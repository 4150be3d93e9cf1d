#include "parapet/core/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

template <class F>
std::string data_message(F&& call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no DataError";
}

TEST(Json, ParseErrorsNameFileAndByte) {
  EXPECT_THAT(data_message([] { parse_json("{\"a\": }", "c.json"); }),
              AllOf(HasSubstr("c.json at byte 7"), HasSubstr("not valid JSON")));
  EXPECT_THAT(data_message([] { parse_json("", "c.json"); }), HasSubstr("c.json"));
  EXPECT_THAT(data_message([] { parse_json("\"\xFF\"", "c.json"); }), HasSubstr("c.json"));
  EXPECT_THAT(data_message([] { parse_json("[1e999]", "c.json"); }), HasSubstr("c.json"));
  EXPECT_THAT(data_message([] { parse_json("{} x", "c.json"); }), HasSubstr("c.json"));
}

TEST(Json, DeepNestingDoesNotOverflowTheStack) {
  const std::string open(1'000'000, '[');
  EXPECT_THAT(data_message([&] { parse_json(open, "deep.json"); }), HasSubstr("deep.json"));
}

TEST(Json, SavedFileLoadsBack) {
  const test::TempFolder folder;
  const json value = {{"a", {1, 2.5, nullptr}}, {"\xC3\xA9", "text"}};
  save_json(folder / "x.json", value);
  EXPECT_EQ(load_json(folder / "x.json"), value);
  // Text that is not UTF-8 is replaced, not thrown at the end of a long run.
  save_json(folder / "y.json", {{"a", "\xFF"}});
  EXPECT_EQ(load_json(folder / "y.json")["a"], "\xEF\xBF\xBD");
}

TEST(Json, FieldsOfEveryType) {
  const json object = {{"b", true},        {"i", -3},        {"d", 2.5},     {"s", "x"},
                       {"ss", {"a", "b"}}, {"dd", {1, 2.5}}, {"ii", {1, 2}}, {"none", nullptr}};
  EXPECT_EQ(json_field<bool>(object, "b", "f"), true);
  EXPECT_EQ(json_field<int64_t>(object, "i", "f"), -3);
  EXPECT_EQ(json_field<double>(object, "d", "f"), 2.5);
  EXPECT_EQ(json_field<double>(object, "i", "f"), -3.0);
  EXPECT_EQ(json_field<std::string>(object, "s", "f"), "x");
  EXPECT_EQ(json_field<std::vector<std::string>>(object, "ss", "f").size(), 2u);
  EXPECT_EQ(json_field<std::vector<double>>(object, "dd", "f")[1], 2.5);
  EXPECT_EQ(json_field<std::vector<int64_t>>(object, "ii", "f")[1], 2);
  EXPECT_EQ(json_field_or<int64_t>(object, "absent", 7, "f"), 7);
  EXPECT_EQ(json_field_or<int64_t>(object, "none", 7, "f"), 7);
}

TEST(Json, WrongFieldsNameFileAndField) {
  const json object = {{"s", "x"}, {"d", 1.5}, {"big", 18446744073709551615u}, {"mix", {1, "a"}}};
  EXPECT_EQ(data_message([&] { json_field<int64_t>(object, "none", "f"); }),
            "f: field 'none' is missing");
  EXPECT_EQ(data_message([&] { json_field<int64_t>(object, "s", "f"); }),
            "f: field 's' must be an integer, not string");
  EXPECT_THAT(data_message([&] { json_field<int64_t>(object, "d", "f"); }), HasSubstr("'d'"));
  EXPECT_THAT(data_message([&] { json_field<int64_t>(object, "big", "f"); }), HasSubstr("'big'"));
  EXPECT_THAT(data_message([&] { json_field<std::vector<int64_t>>(object, "mix", "f"); }),
              HasSubstr("'mix'"));
  EXPECT_THAT(data_message([&] { json_field_or<std::string>(object, "d", "", "f"); }),
              HasSubstr("'d' must be a string"));
  EXPECT_THAT(data_message([] { json_field<bool>(json::array(), "x", "f"); }),
              HasSubstr("must be a JSON object"));
}

}  // namespace
}  // namespace parapet
