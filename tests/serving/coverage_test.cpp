// Every string of a request, in every dialect, is read by some level or is in `not_scanned`; what
// is neither stands in a list here.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

#include "parapet/guard/guard.h"
#include "parapet/serving/dialects.h"
#include "parapet/serving/json_body.h"

namespace parapet::serving {
namespace {

using nlohmann::json;
using Pointer = json::json_pointer;

constexpr const char* kThreat = "I will hurt you";

guard::Guard make_guard() {
  return guard::Guard(
      guard::Policy::parse("[limits]\nfail='flag'\nmax_parts=8\n[[rules.list]]\nname='threats'\n"
                           "entries=['i will hurt you']\ncategory='harassment'\naction='block'\n"
                           "[category.harassment]\n",
                           "p.toml", std::filesystem::path(PARAPET_SOURCE_DIR) / "policies"),
      {}, Context{});
}

std::vector<guard::GuardRequest> read(const std::string& dialect, const json& body) {
  if (dialect == "openai") return read_moderation(body).inputs;
  if (dialect == "litellm") return {read_litellm(body).input};
  return {read_guard_request(body).input};
}

// "blocked", "not scanned", "refused" (400), or "missed": it would pass.
std::string outcome(const guard::Guard& guard, const std::string& dialect, const json& body) {
  try {
    bool complete = true;
    for (const guard::GuardRequest& request : read(dialect, body)) {
      const guard::Decision decision = guard.check(request);
      if (decision.action == guard::Action::kBlock) return "blocked";
      complete = complete && decision.complete;
    }
    return complete ? "missed" : "not scanned";
  } catch (const ApiError&) {
    return "refused";
  }
}

void collect(const json& value, const Pointer& at, std::vector<Pointer>& strings,
             std::vector<Pointer>& objects) {
  if (value.is_string()) strings.push_back(at);
  if (value.is_object()) objects.push_back(at);
  if (value.is_object())
    for (const auto& [key, item] : value.items()) collect(item, at / key, strings, objects);
  if (value.is_array())
    for (size_t i = 0; i < value.size(); ++i) collect(value[i], at / i, strings, objects);
}

// The names of a path without its numbers: "/structured_messages/content/text".
std::string shape_of(const Pointer& at) {
  std::string shape;
  for (Pointer rest = at; !rest.empty(); rest = rest.parent_pointer())
    if (std::isdigit(static_cast<unsigned char>(rest.back()[0])) == 0)
      shape = "/" + rest.back() + shape;
  return shape;
}

struct Dialect {
  const char* name;
  const char* body;
  // Names of requests and of callers, options: they are no content.
  std::set<std::string> not_content;
};

const Dialect kDialects[] = {
    {"openai",
     R"({"input": "hello", "model": "m", "parapet": {"id": "i", "metadata": {"k": "v"}}})",
     {"", "/model", "/parapet", "/parapet/id", "/parapet/metadata", "/parapet/metadata/k"}},
    {"openai", R"({"input": ["hello", "there"]})", {""}},
    {"openai",
     R"({"input": [
        {"type": "text", "text": "hello"},
        {"type": "image_url", "image_url": {"url": "https://h/x.png", "detail": "high"}}]})",
     {""}},
    {"own",
     R"({"id": "i", "tenant": "t", "parts": [
        {"type": "text", "text": "hello", "label": "l", "cache_control": {"type": "ephemeral"}},
        {"type": "input_text", "text": "hello"}, {"type": "refusal", "refusal": "no"},
        {"type": "thinking", "thinking": "hm", "signature": "abc"},
        {"type": "image_url", "image_url": "https://h/x.png"},
        {"type": "image", "data": "AAAA", "media_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        {"type": "image", "source": {"type": "url", "url": "https://h/y.png", "data": "AB=="}},
        {"type": "image", "source": {"type": "url", "url": "https://h/z.png"}, "data": "AC=="},
        {"type": "tool_use", "id": "t1", "name": "post", "input": {"a": ["b", {"c": "d"}]}},
        {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "r"}]},
        {"type": "function_call_output", "call_id": "c", "output": "{\"r\": \"x\"}"},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA==", "filename": "f"}},
        {"type": "video_url", "video_url": {"url": "https://h/v.mp4"}},
        {"type": "who_knows", "deep": {"er": ["text"]}}]})",
     {"", "/id", "/tenant", "/parts/label"}},
    {"litellm",
     R"({"input_type": "request", "texts": ["hello", "{\"a\": \"b\"}"], "images": ["AA=="],
        "litellm_call_id": "c", "litellm_trace_id": "t", "litellm_version": "1", "model": "m",
        "request_headers": {"h": "v"}, "request_data": {"user_api_key_hash": "h"},
        "additional_provider_specific_params": {"profile": ""},
        "tool_calls": [{"id": "c1", "type": "function", "index": 0,
                        "function": {"name": "post", "arguments": "{\"text\": \"hello\"}"}}],
        "tools": [{"type": "function", "function": {"name": "post", "description": "posts",
            "parameters": {"type": "object", "properties": {"text": {"type": "string",
                "description": "what", "enum": ["x"]}}, "required": ["text"]}}},
            {"name": "old", "input_schema": {"type": "object"}}],
        "structured_messages": [
          {"role": "system", "content": "be kind", "name": "s"},
          {"role": "user", "name": "bob", "content": [
             {"type": "text", "text": "look", "cache_control": {"type": "ephemeral"}},
             {"type": "image_url", "image_url": {"url": "https://h/x.png", "detail": "low"}},
             {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
             {"type": "file", "file": {"file_id": "file-1"}}, "bare"]},
          {"role": "assistant", "content": null, "refusal": "no", "reasoning_content": "hm",
             "audio": {"id": "a1", "transcript": "said"},
             "function_call": {"name": "f", "arguments": "{\"x\": \"y\"}"},
             "tool_calls": [{"id": "c2", "type": "function",
                             "function": {"name": "g", "arguments": "{\"p\": \"q\"}"}}]},
          {"role": "tool", "tool_call_id": "c2", "content": "{\"result\": \"z\"}"},
          {"role": "function", "name": "f", "content": [{"type": "tool_result", "content": "w"}]}]})",
     {"", "/litellm_call_id", "/litellm_trace_id", "/litellm_version", "/model", "/request_headers",
      "/request_headers/h", "/request_data", "/request_data/user_api_key_hash",
      "/additional_provider_specific_params", "/additional_provider_specific_params/profile"}},
};

void expect_seen(const guard::Guard& guard, const Dialect& dialect, const json& body,
                 const Pointer& at, const std::string& how) {
  if (dialect.not_content.contains(shape_of(at))) return;
  EXPECT_NE(outcome(guard, dialect.name, body), "missed")
      << dialect.name << " " << at.to_string() << " " << how;
}

// Values that may look like a setting: words in a list, words that signs join.
const json kThreats[] = {kThreat, json{"I", "will", "hurt", "you"}, "I-will-hurt-you",
                         json{{"type", json{"I", "will", "hurt", "you"}}}};
const char* const kSettingNames[] = {"id",         "tool_call_id", "detail",     "format",
                                     "status",     "index",        "media_type", "cache_control",
                                     "is_error",   "item_id",      "call_id",    "mime_type",
                                     "tool_use_id"};

// A value anywhere, and a key that nobody expects.
TEST(Coverage, EveryStringOfARequestIsReadOrNamed) {
  const guard::Guard guard = make_guard();
  for (const Dialect& dialect : kDialects) {
    const json whole = json::parse(dialect.body);
    std::vector<Pointer> strings, objects;
    collect(whole, Pointer(), strings, objects);
    for (const Pointer& at : strings)
      for (const json& threat : kThreats) {
        if (at == Pointer("/input") && threat.is_array()) continue;  // that is four inputs
        json body = whole;
        body[at] = threat;
        expect_seen(guard, dialect, body, at, "value " + threat.dump());
      }
    for (const Pointer& at : objects)
      for (const char* name : kSettingNames)
        for (const json& threat : {kThreats[1], kThreats[2]}) {
          json body = whole;
          body[at][name] = threat;
          expect_seen(guard, dialect, body, at, std::string(name) + " " + threat.dump());
        }
    for (const Pointer& at : objects)
      for (const json& value : {json(kThreat), json{kThreat}, json{{"deep", kThreat}}}) {
        json body = whole;
        body[at]["a_new_field"] = value;
        expect_seen(guard, dialect, body, at, "new field");
        body = whole;
        body[at][kThreat] = 1;
        expect_seen(guard, dialect, body, at, "new key");
      }
  }
}

// What reads it is a level, not luck: these must be blocked.
TEST(Coverage, ContentIsReadWhereverItStands) {
  const guard::Guard guard = make_guard();
  const json whole = json::parse(std::end(kDialects)[-1].body);
  for (const char* at :
       {"/texts/0", "/structured_messages/0/content", "/structured_messages/0/name",
        "/structured_messages/1/content/0/text", "/structured_messages/1/content/4",
        "/structured_messages/2/refusal", "/structured_messages/2/reasoning_content",
        "/structured_messages/2/audio/transcript", "/structured_messages/2/function_call/name",
        "/structured_messages/3/content", "/structured_messages/4/content/0/content",
        "/structured_messages/3/role", "/tools/0/function/description", "/tools/0/function/name",
        "/tools/0/function/parameters/properties/text/enum/0", "/tool_calls/0/function/name",
        "/tool_calls/0/id"}) {
    json body = whole;
    body[Pointer(at)] = kThreat;
    EXPECT_EQ(outcome(guard, "litellm", body), "blocked") << at;
  }
}

// Arguments and results of tools are JSON: what counts is what they say.
TEST(Coverage, EscapesInsideArgumentsAreDecoded) {
  const guard::Guard guard = make_guard();
  const json whole = json::parse(std::end(kDialects)[-1].body);
  const std::vector<std::string> arguments = {
      R"({"text":"i will\nhurt you"})",
      R"({"text":"\u0069 w\u0069ll hurt you"})",
      R"({"a":{"b":["i will\thurt you"]}})",
      R"({"i will\nhurt you":1})",
      R"({"text":"i will\nhurt you","text":"fine"})",
      R"(["i will hurt\u0020you"])",
      R"("i will\nhurt you")",
      R"({"text":"i will\nhurt yo\u0075)",  // cut off
      json{{"inner", R"({"text":"i will\nhurt you"})"}}.dump(),
      json{{"inner", json{{"inner", R"({"text":"\u0069 will hurt you"})"}}.dump()}}.dump(),
  };
  for (const char* at :
       {"/tool_calls/0/function/arguments", "/structured_messages/2/function_call/arguments",
        "/structured_messages/2/tool_calls/0/function/arguments", "/structured_messages/3/content",
        "/texts/1"})
    for (const std::string& text : arguments) {
      json body = whole;
      body[Pointer(at)] = text;
      EXPECT_EQ(outcome(guard, "litellm", body), "blocked") << at << " " << text;
      body = json{{"parts", {{{"type", "tool_use"}, {"name", "f"}, {"input", text}}}}};
      EXPECT_EQ(outcome(guard, "own", body), "blocked") << text;
    }
}

// Settings and identifiers as APIs have them are no texts: they would take the places of parts.
TEST(Coverage, PlainSettingsAreNoParts) {
  const json settings = {{"id", "call_9mQ-1"},
                         {"tool_call_id", "toolu_01A09q90qw90lq917835lq9"},
                         {"call_id", "c"},
                         {"item_id", "0f8fad5b-d9cb-469f-a165-70867728950e"},
                         {"detail", "high"},
                         {"status", "in_progress"},
                         {"media_type", "image/png"},
                         {"index", 3},
                         {"is_error", true},
                         {"cache_control", {{"type", "ephemeral"}, {"ttl", "5m"}}}};
  json message = settings;
  message["role"] = "user";
  const json body = {{"input_type", "request"}, {"structured_messages", json::array({message})}};
  EXPECT_TRUE(read_litellm(body).input.parts.empty());
  json part = settings;
  part["type"] = "text";
  part["text"] = "hello";
  EXPECT_EQ(read_guard_request({{"parts", json::array({part})}}).input.parts.size(), 1u);
}

std::vector<std::string> pictures(const guard::GuardRequest& request) {
  std::vector<std::string> contents;
  for (const guard::Part& part : request.parts)
    if (part.modality() == guard::Modality::kImage) contents.push_back(part.content);
  return contents;
}

// Which of two pictures in one place a model is given is not known: each is looked at.
TEST(Coverage, EveryPictureOfAPlaceIsLookedAt) {
  using Contents = std::vector<std::string>;
  const std::string url = "https://h/x.png";
  for (const char* type : {"base64", "url", "file"}) {
    const json source = {{"type", type}, {"data", "AA=="}, {"url", url}};
    EXPECT_EQ(pictures(read_guard_request(
                           {{"parts", json::array({{{"type", "image"}, {"source", source}}})}})
                           .input),
              (Contents{"AA==", url}))
        << type;
  }
  const json beside = {{"type", "image"}, {"data", "AB=="}, {"source", {{"url", url}}}};
  EXPECT_EQ(pictures(read_guard_request({{"parts", json::array({beside})}}).input),
            (Contents{url, "AB=="}));
}

// What repeats is left out of a conversation, but a text is no picture, whatever it says.
TEST(Coverage, ATextThatRepeatsAPictureHidesNone) {
  const std::string url = "https://h/x.png", data = "AAAA";
  const json picture = {{"type", "image_url"}, {"image_url", {{"url", url}}}};
  const json bytes = {{"type", "image"}, {"data", data}};
  const auto pictures_of = [](const json& fields) {
    json body = {{"input_type", "request"}};
    body.update(fields);
    return pictures(read_litellm(body).input);
  };
  const auto messages = [](const json& content) {
    return json{{"structured_messages", json::array({{{"role", "user"}, {"content", content}}})}};
  };
  const std::vector<std::string> both = {url, data};
  const auto text = [](const std::string& said) { return json{{"type", "text"}, {"text", said}}; };
  json beside = messages(json::array({picture, bytes}));
  beside["texts"] = json::array({url, data});
  EXPECT_EQ(pictures_of(beside), both);
  EXPECT_EQ(pictures_of(messages(json::array({text(url), picture, text(data), bytes}))), both);
  // The same picture twice is one, and one that the request lists is not read again.
  EXPECT_EQ(pictures_of(messages(json::array({picture, picture, bytes}))), both);
  beside["images"] = json::array({url, data});
  EXPECT_EQ(pictures_of(beside), both);
  // Nor does a picture hide a text that repeats it.
  EXPECT_EQ(read_litellm({{"input_type", "request"},
                          {"images", json::array({url})},
                          {"structured_messages",
                           messages(json::array({text(url)}))["structured_messages"]}})
                .input.parts.size(),
            2u);
}

// However long the conversation is.
TEST(Coverage, TheNewestMessageIsReadFirst) {
  const guard::Guard guard = make_guard();
  for (const size_t at : {size_t{0}, size_t{500}, size_t{999}}) {
    json texts = json::array();
    for (int i = 0; i < 1000; ++i) texts.push_back("hello there");
    texts[at] = kThreat;
    EXPECT_EQ(outcome(guard, "litellm", {{"input_type", "request"}, {"texts", texts}}), "blocked");
  }
}

TEST(Coverage, ManySmallToolsShareAPart) {
  json tools = json::array();
  for (int i = 0; i < 100; ++i)
    tools.push_back(
        {{"function", {{"name", "f" + std::to_string(i)}, {"description", "does it"}}}});
  const auto request = read_litellm({{"input_type", "request"}, {"tools", tools}});
  EXPECT_EQ(request.input.parts.size(), 1u);
}

}  // namespace
}  // namespace parapet::serving
