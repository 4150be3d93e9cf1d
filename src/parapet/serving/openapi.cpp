#include "parapet/serving/openapi.h"

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "parapet/core/version.h"
#include "parapet/serving/openapi_schemas.h"
#include "parapet/serving/routes.h"

namespace parapet::serving {
namespace {

using Json = nlohmann::ordered_json;

Json schema(const std::string& name) {
  Json reference;
  reference["$ref"] = "#/components/schemas/" + name;
  return reference;
}

Json content(const std::string& type, Json value) {
  Json result;
  result["content"][type]["schema"] = std::move(value);
  return result;
}

Json reply(const std::string& description, const std::string& name) {
  Json result = content("application/json", schema(name));
  result["description"] = description;
  return result;
}

const std::map<int, std::string>& error_descriptions() {
  static const std::map<int, std::string> descriptions = {
      {400, "The request is malformed; error.param names the field."},
      {401, "An API key is needed."},
      {403, "The request comes from a page of another site."},
      {413, "The body is too large."},
      {415, "The body is not application/json."},
      {422, "The policy file is bad; the old policy stays."},
      {429, "Too many requests are waiting; Retry-After says when."},
      {431, "The header is too large."},
      {503, "Not ready, out of room, past its deadline, or shutting down."},
  };
  return descriptions;
}

struct Operation {
  std::string method, path, id, summary, request, reply, type = "application/json";
  std::vector<int> errors;
  bool open = false;
};

std::vector<Operation> operations() {
  const std::vector<int> compute = {400, 401, 403, 413, 415, 429, 431, 503};
  return {
      {"post", "/v1/moderations", "moderate",
       "OpenAI's moderation API: texts and images, with the whole decision under parapet.",
       "ModerationRequest", "ModerationReply", "application/json", compute, false},
      {"post", "/v1/guard", "guard", "Parts of one message, and the guard's full decision.",
       "GuardRequest", "Decision", "application/json", compute, false},
      {"post", "/beta/litellm_basic_guardrail_api", "litellm", "LiteLLM's generic guardrail API.",
       "LitellmRequest", "LitellmReply", "application/json", compute, false},
      {"post",
       "/v1/policy/reload",
       "reload",
       "Reads the policy file again and puts it in force.",
       "",
       "ReloadReply",
       "application/json",
       {400, 401, 403, 413, 422, 429, 431, 503},
       false},
      {"get",
       "/healthz",
       "health",
       "The process answers.",
       "",
       "Health",
       "application/json",
       {400, 413, 431},
       true},
      {"get",
       "/readyz",
       "ready",
       "The models answered their last probe.",
       "",
       "Readiness",
       "application/json",
       {400, 413, 431},
       true},
      {"get",
       "/metrics",
       "metrics",
       "Prometheus text.",
       "",
       "",
       "text/plain",
       {400, 401, 413, 431},
       false},
      {"get",
       "/openapi.json",
       "openapi",
       "This document.",
       "",
       "",
       "application/json",
       {400, 413, 431},
       true},
      {"get", "/", "page", "A page to try the guard.", "", "", "text/html", {400, 413, 431}, true},
  };
}

Json describe(const Operation& operation) {
  Json result;
  result["operationId"] = operation.id;
  result["summary"] = operation.summary;
  // Keys are asked for only when the server has some.
  if (!operation.open) result["security"] = {{{"bearer", Json::array()}}, Json::object()};
  if (!operation.request.empty()) {
    result["requestBody"] = content("application/json", schema(operation.request));
    result["requestBody"]["required"] = true;
  }
  Json& responses = result["responses"];
  const Json body = !operation.reply.empty()               ? schema(operation.reply)
                    : operation.type == "application/json" ? Json{{"type", "object"}}
                                                           : Json{{"type", "string"}};
  responses["200"] = content(operation.type, body);
  responses["200"]["description"] = "Done.";
  for (const int status : operation.errors)
    responses[std::to_string(status)] = reply(error_descriptions().at(status), "Error");
  if (operation.id == "health")
    responses["503"] = reply("Requests are under way and none has ended for long.", "Health");
  if (operation.id == "ready")
    responses["503"] = reply("Not ready; problems says why.", "Readiness");
  return result;
}

// What the running server's options and policy say about requests.
void add_facts(const ApiFacts& facts, Json& schemas) {
  Json& profile = schemas["Options"]["properties"]["profile"]["enum"];
  profile = {"", nullptr};
  for (const auto& name : facts.profiles) profile.push_back(name);
  for (Json* list : {&schemas["ModerationRequest"]["properties"]["input"]["oneOf"][1],
                     &schemas["ModerationRequest"]["properties"]["input"]["oneOf"][2],
                     &schemas["GuardRequest"]["allOf"][0]["properties"]["parts"],
                     &schemas["LitellmRequest"]["properties"]["texts"],
                     &schemas["LitellmRequest"]["properties"]["images"],
                     &schemas["LitellmRequest"]["properties"]["tool_calls"]})
    (*list)["maxItems"] = facts.max_parts;
}

}  // namespace

Json openapi_document(const ApiFacts& facts) {
  Json document;
  document["openapi"] = "3.1.0";
  document["info"]["title"] = "Parapet guard";
  document["info"]["version"] = std::string(version());
  document["info"]["description"] =
      "Joint decisions on texts and images. Errors have OpenAI's shape. Content that could not be "
      "scanned is never called clean: see complete and not_scanned.";
  for (const Operation& operation : operations())
    document["paths"][operation.path][operation.method] = describe(operation);
  document["components"]["schemas"] = Json::parse(openapi_requests());
  document["components"]["schemas"].update(Json::parse(openapi_replies()));
  add_facts(facts, document["components"]["schemas"]);
  document["components"]["securitySchemes"]["bearer"] = {{"type", "http"}, {"scheme", "bearer"}};
  return document;
}

HttpReply get_openapi(const Call& call) {
  const auto policy = call.service.policy();
  ApiFacts facts;
  if (policy) facts.profiles = policy->profiles();
  facts.max_parts = call.service.options().max_parts;
  return json_reply(200, openapi_document(facts));
}

}  // namespace parapet::serving
