#include "parapet/serving/dialects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/serving/json_body.h"
#include "parapet/serving/json_lift.h"

namespace parapet::serving {
namespace {

using guard::Part;
using testing::ElementsAre;
using testing::HasSubstr;

// "status code param" of the refusal, "" when there is none.
template <class Read>
std::string refusal(const std::string& body, Read read) {
  try {
    read(parse_body(body), DialectLimits{.max_parts = 4});
  } catch (const ApiError& error) {
    return std::to_string(error.status) + " " + error.code + " " + error.param;
  }
  return "";
}
std::string moderation_refusal(const std::string& body) { return refusal(body, read_moderation); }
std::string guard_refusal(const std::string& body) { return refusal(body, read_guard_request); }
std::string litellm_refusal(const std::string& body) {
  return refusal(
      body, [](const nlohmann::json& value, const DialectLimits&) { return read_litellm(value); });
}

TEST(ParseBody, RefusesWhatIsNotAnObjectOfSaneShape) {
  const auto message = [](const std::string& body, JsonLimits limits = {}) -> std::string {
    try {
      parse_body(body, limits);
    } catch (const ApiError& error) {
      EXPECT_EQ(error.status, 400);
      return error.code + ": " + error.what();
    }
    return "";
  };
  EXPECT_THAT(message(""), HasSubstr("invalid_json"));
  EXPECT_THAT(message("{\"a\": }"), HasSubstr("offset 6"));
  EXPECT_THAT(message("[]"), HasSubstr("must be an object, not an array"));
  EXPECT_THAT(message("{\"a\": \"\xff\"}"), HasSubstr("not UTF-8"));
  EXPECT_THAT(message("{\"a\": \"\\ud800\"}"), HasSubstr("invalid_json"));
  EXPECT_THAT(message("{\"a\": 1e999}"), HasSubstr("invalid_json"));
  EXPECT_THAT(message("{\"a\": \"unfinished"), HasSubstr("invalid_json"));
  EXPECT_THAT(message("{\"a\":" + std::string(33, '[') + std::string(33, ']') + "}"),
              HasSubstr("too_deep"));
  EXPECT_THAT(message(std::string(2'000'000, '[')), HasSubstr("too_deep"));
  EXPECT_THAT(message("{\"a\":[1,2,3]}", {.max_depth = 9, .max_values = 3}),
              HasSubstr("too_many_values"));
  // Brackets and commas inside strings are no structure.
  EXPECT_EQ(message(R"({"a": "[[[[,,,,\"[[[[\\"})", {.max_depth = 1, .max_values = 2}), "");
}

// Long strings take their own way round the parser.
// Tokens are random, but a fuzzer that watches comparisons learns them.
TEST(ParseBody, ForgedTokensOfLongStringsComeBackAsSent) {
  const std::string text = R"({"a": ")" + std::string(2000, 'A') + R"("})";
  LongStrings strings(text);
  strings.offer(6, 2007);
  const std::string reduced = strings.reduced();
  const std::string token = reduced.substr(7, reduced.size() - 9);
  ASSERT_LT(token.size(), 100u);
  std::string escaped = token.substr(0, token.size() - 1) + "9999999999999999999999";
  escaped = "\\u006c" + escaped.substr(1);
  const std::string junk = "\\u006c" + token.substr(1, token.size() - 2) + "x";
  for (const std::string& forged : {token, token + "x", escaped, junk}) {
    const std::string body =
        R"({"a": ")" + forged + R"(", "b": ")" + std::string(2000, 'B') + R"("})";
    EXPECT_EQ(parse_body(body), nlohmann::json::parse(body)) << forged;
  }
}

TEST(ParseBody, LongStringsComeBackWhole) {
  const std::string plain(5000, 'A');
  std::string mixed = plain;
  mixed[4000] = '\x7f';
  const nlohmann::json sent = {{"plain", plain},
                               {"mixed", mixed},
                               {"list", {plain + "1", {{"deep", plain + "2"}}, "short"}},
                               {"escaped", plain + "\n\"\\" + plain},
                               {"accents", plain + "\u00e9" + plain},
                               {plain, "as a key"},
                               {"lifted:0", "lifted:1"}};
  EXPECT_EQ(parse_body(sent.dump()), sent);
  EXPECT_EQ(parse_body(sent.dump(2)), sent);
  EXPECT_EQ(parse_body(sent.dump(-1, ' ', true)), sent);
  // Wrong bytes inside a long string are still wrong, and mistakes after it keep their offset.
  const auto mistake = [](const std::string& body) -> std::string {
    try {
      parse_body(body);
    } catch (const ApiError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_THAT(mistake("{\"a\": \"" + plain + "\xff" + plain + "\"}"), HasSubstr("UTF-8"));
  EXPECT_THAT(mistake("{\"a\": \"" + plain + "\n" + plain + "\"}"), HasSubstr("not JSON"));
  EXPECT_THAT(mistake("{\"a\": \"" + plain + "\", }"), HasSubstr("offset 5010"));
  EXPECT_THAT(mistake("{\"a\": \"" + plain + "\" \"" + plain + "\"}"), HasSubstr("not JSON"));
}

TEST(ReadModeration, TakesEveryShapeOfInput) {
  const auto one = read_moderation(parse_body(R"({"input": "hello", "model": "m"})"));
  ASSERT_EQ(one.inputs.size(), 1u);
  EXPECT_EQ(one.inputs[0].parts[0].content, "hello");
  const auto many = read_moderation(parse_body(R"({"input": ["a", "b"], "parapet": {"id": "x"}})"));
  ASSERT_EQ(many.inputs.size(), 2u);
  EXPECT_EQ(many.inputs[1].parts[0].content, "b");
  EXPECT_EQ(many.inputs[1].id, "x-1");
  const auto parts = read_moderation(parse_body(
      R"({"input": [{"type": "text", "text": "t"},
                    {"type": "image_url", "image_url": {"url": "https://h/x.png"}},
                    {"type": "image_url", "image_url": "data:image/png;base64,AAAA"}]})"));
  ASSERT_EQ(parts.inputs.size(), 1u);
  ASSERT_EQ(parts.inputs[0].parts.size(), 3u);
  EXPECT_EQ(parts.inputs[0].parts[1].kind, Part::Kind::kImageUrl);
  EXPECT_EQ(parts.inputs[0].parts[1].label, "input[1]");
  EXPECT_TRUE(parts.options.unknown.empty());
}

TEST(ReadModeration, ReadsOurOptionsAndReportsTheUnknown) {
  const auto request = read_moderation(parse_body(
      R"({"input": "x", "user": "u", "parapet": {"side": "output", "profile": "news",
          "tenant": "t", "deadline_ms": 50, "explain": true, "modify": false,
          "metadata": {"k": "v"}, "typo": 1}})"));
  const auto& input = request.inputs[0];
  EXPECT_EQ(input.side, guard::Side::kOutput);
  EXPECT_EQ(input.profile, "news");
  EXPECT_EQ(input.tenant, "t");
  EXPECT_TRUE(input.explain);
  EXPECT_FALSE(input.modify);
  EXPECT_EQ(input.metadata.at("k"), "v");
  EXPECT_EQ(request.options.deadline_ms, 50);
  EXPECT_THAT(request.options.unknown, ElementsAre("parapet.typo", "user"));
}

TEST(ReadModeration, NamesTheWrongField) {
  EXPECT_EQ(moderation_refusal("{}"), "400 missing_field input");
  EXPECT_EQ(moderation_refusal(R"({"input": null})"), "400 missing_field input");
  EXPECT_EQ(moderation_refusal(R"({"input": 3})"), "400 invalid_type input");
  EXPECT_EQ(moderation_refusal(R"({"input": []})"), "400 invalid_value input");
  EXPECT_EQ(moderation_refusal(R"({"input": ["a", 1]})"), "400 invalid_type input[1]");
  EXPECT_EQ(moderation_refusal(R"({"input": [{"type": "text", "text": "a"}, "b"]})"),
            "400 invalid_type input[1]");
  EXPECT_EQ(moderation_refusal(R"({"input": ["a","a","a","a","a"]})"), "400 too_many_parts input");
  EXPECT_EQ(moderation_refusal(R"({"input": [{"type": 3}]})"), "400 invalid_type input[0].type");
  EXPECT_EQ(moderation_refusal(R"({"input": [{"text": "a"}]})"), "400 missing_field input[0].type");
  EXPECT_EQ(moderation_refusal(R"({"input": [{"type": "image_url", "image_url": {}}]})"),
            "400 missing_field input[0].image_url.url");
  EXPECT_EQ(moderation_refusal(R"({"input": "x", "parapet": 3})"), "400 invalid_type parapet");
  EXPECT_EQ(moderation_refusal(R"({"input": "x", "parapet": {"side": "up"}})"),
            "400 invalid_value parapet.side");
  EXPECT_EQ(moderation_refusal(R"({"input": "x", "parapet": {"deadline_ms": 0}})"),
            "400 out_of_range parapet.deadline_ms");
  EXPECT_EQ(moderation_refusal(R"({"input": "x", "parapet": {"metadata": {"a": 1}}})"),
            "400 invalid_type parapet.metadata.a");
}

TEST(ReadModeration, ReportsABoundedNumberOfUnknownFields) {
  nlohmann::json body = {{"input", "x"}};
  for (int i = 0; i < 100; ++i) body["f" + std::to_string(i)] = 1;
  body[std::string(5000, 'n')] = 1;
  const auto request = read_moderation(body);
  EXPECT_EQ(request.options.unknown.size(), 32u);
  for (const auto& name : request.options.unknown) EXPECT_LE(name.size(), 100u);
}

TEST(ReadGuardRequest, TakesPartsWithLabels) {
  const auto request = read_guard_request(parse_body(
      R"({"parts": [{"type": "text", "text": "a", "label": "caption"},
                    {"type": "image", "data": "AAAA", "media_type": "image/png"}], "id": "7"})"));
  EXPECT_EQ(request.input.id, "7");
  EXPECT_EQ(request.input.parts[0].label, "caption");
  EXPECT_EQ(request.input.parts[1].kind, Part::Kind::kImageBase64);
  EXPECT_EQ(request.input.parts[1].content, "AAAA");
  EXPECT_EQ(guard_refusal(R"({"parts": []})"), "400 invalid_value parts");
  EXPECT_EQ(guard_refusal(R"({"parts": {"type": "text"}})"), "400 invalid_type parts");
  EXPECT_EQ(guard_refusal(R"({"parts": ["a"]})"), "400 invalid_type parts[0]");
}

TEST(ReadLitellm, TakesTheDocumentedPayload) {
  const auto request = read_litellm(parse_body(R"({
    "texts": ["hi", "there"], "images": ["data:image/png;base64,AA==", "AA=="],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_calls": [{"id": "c", "type": "function",
                    "function": {"name": "f", "arguments": "{\"p\": 1}"}}, {"id": "d"}],
    "structured_messages": [{"role": "user", "content": "hi"}],
    "request_data": {"user_api_key_hash": "h", "user_api_key_team_id": null, "other": 3},
    "request_headers": {"a": "[present]"}, "litellm_version": "1", "model": "gpt",
    "input_type": "response", "litellm_call_id": "call", "litellm_trace_id": "trace",
    "additional_provider_specific_params": {"profile": "news", "theirs": 1}})"));
  ASSERT_EQ(request.input.parts.size(), 6u);
  EXPECT_EQ(request.input.parts[0].label, "tools[0]");
  EXPECT_EQ(request.input.parts[0].content, "f");
  EXPECT_EQ(request.input.parts[4].label, "images[1]");
  EXPECT_EQ(request.input.parts[5].label, "tool_calls[0].function");
  EXPECT_EQ(request.input.parts[5].content, "f\np\n1");
  EXPECT_THAT(request.text_parts, ElementsAre(1, 2));
  EXPECT_THAT(request.image_parts, ElementsAre(3, 4));
  EXPECT_EQ(request.input.side, guard::Side::kOutput);
  EXPECT_EQ(request.input.profile, "news");
  EXPECT_EQ(request.input.id, "call");
  EXPECT_EQ(request.input.metadata.at("user_api_key_hash"), "h");
  EXPECT_EQ(request.input.metadata.at("litellm_trace_id"), "trace");
  EXPECT_THAT(request.options.unknown, ElementsAre("additional_provider_specific_params.theirs"));
}

TEST(ReadLitellm, NullsAreAbsentAndMistakesAreNamed) {
  const auto request = read_litellm(parse_body(
      R"({"texts": null, "images": null, "tool_calls": null, "input_type": "request"})"));
  EXPECT_TRUE(request.input.parts.empty());
  EXPECT_EQ(litellm_refusal(R"({"texts": []})"), "400 missing_field input_type");
  EXPECT_EQ(litellm_refusal(R"({"input_type": "both"})"), "400 invalid_value input_type");
  EXPECT_EQ(litellm_refusal(R"({"input_type": "request", "texts": [1]})"),
            "400 invalid_type texts[0]");
}

}  // namespace
}  // namespace parapet::serving
