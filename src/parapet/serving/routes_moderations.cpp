// POST /v1/moderations: OpenAI's reply, with the whole decision beside it under "parapet".
#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <numeric>

#include "parapet/guard/policy.h"
#include "parapet/serving/json_body.h"
#include "parapet/serving/routes.h"
#include "parapet/serving/side_by_side.h"

namespace parapet::serving {
namespace {

using guard::Modality;
using nlohmann::ordered_json;

// One of OpenAI's categories, gathered from ours that map to it.
struct Verdict {
  bool flagged = false;
  double score = 0;
  bool text = false, image = false;
};

using Verdicts = std::map<std::string, Verdict, std::less<>>;

void add_category(const guard::CategoryResult& result, Verdict& verdict) {
  verdict.flagged |= result.flagged();
  verdict.score = std::max(verdict.score, result.score);
  const auto looked = [&](Modality modality) {
    return result.by_modality[static_cast<size_t>(modality)].has_value();
  };
  verdict.text |= looked(Modality::kText) || looked(Modality::kJoint);
  verdict.image |= looked(Modality::kImage) || looked(Modality::kJoint);
}

void add_modality(Modality modality, Verdict& verdict) {
  (modality == Modality::kImage ? verdict.image : verdict.text) = true;
}

// A list entry or rule that matched is certain of itself.
void add_rule(const guard::RuleHit& hit, const guard::Decision& decision, Verdict& verdict) {
  if (hit.action == guard::Action::kAllow) return;
  verdict.flagged = true;
  verdict.score = 1;
  // A combination stands for the whole message.
  for (size_t i = 0; i < decision.parts.size(); ++i)
    if (hit.part < 0 || static_cast<size_t>(hit.part) == i)
      add_modality(decision.parts[i].modality, verdict);
}

// What lists look for, found or not.
void add_lists(const guard::Decision& decision, const guard::Policy& policy, const auto& each) {
  for (const guard::PartResult& part : decision.parts) {
    const auto by = [&](const char* level) {
      return std::find(part.scanned_by.begin(), part.scanned_by.end(), level) !=
             part.scanned_by.end();
    };
    const auto looked = [&](Verdict& verdict) { add_modality(part.modality, verdict); };
    for (const auto& list : policy.word_lists)
      if (by("rules") && std::find(list.sides.begin(), list.sides.end(),
                                   guard::side_name(decision.side)) != list.sides.end())
        each(list.category, looked);
    for (const auto& list : policy.hash_lists)
      if (by("hash") && (list.kind == "sha256" || part.modality == Modality::kImage))
        each(list.category, looked);
  }
}

Verdicts map_to_openai(const guard::Decision& decision, const guard::Policy& policy) {
  const guard::Taxonomy& taxonomy = policy.taxonomy;
  Verdicts verdicts;
  for (const auto& name : guard::Taxonomy::openai_names()) verdicts[name] = {};
  const auto each = [&](const std::string& category, const auto& add) {
    const auto* known = taxonomy.find(category);
    if (known == nullptr) return;
    for (const auto& name : known->openai) add(verdicts[name]);
  };
  for (const auto& result : decision.categories)
    each(result.category, [&](Verdict& verdict) { add_category(result, verdict); });
  for (const auto& hit : decision.rules)
    each(hit.category, [&](Verdict& verdict) { add_rule(hit, decision, verdict); });
  add_lists(decision, policy, each);
  return verdicts;
}

ordered_json result_json(const guard::Decision& decision, const guard::Policy& policy) {
  ordered_json categories = ordered_json::object();
  ordered_json scores = ordered_json::object();
  ordered_json types = ordered_json::object();
  const Verdicts verdicts = map_to_openai(decision, policy);
  for (const auto& name : guard::Taxonomy::openai_names()) {
    const Verdict& verdict = verdicts.at(name);
    categories[name] = verdict.flagged;
    scores[name] = verdict.score;
    types[name] = ordered_json::array();
    if (verdict.text) types[name].push_back("text");
    if (verdict.image) types[name].push_back("image");
  }
  ordered_json result;
  result["flagged"] = decision.action != guard::Action::kAllow;
  result["categories"] = std::move(categories);
  result["category_scores"] = std::move(scores);
  result["category_applied_input_types"] = std::move(types);
  result["parapet"] = guard::to_json(decision);
  return result;
}

}  // namespace

HttpReply post_moderations(const Call& call) {
  ModerationRequest request =
      read_moderation(parse_body(call.request.body),
                      {.max_parts = static_cast<size_t>(call.service.options().max_parts)});
  const GuardService::Held held = call.service.hold();
  const size_t count = request.inputs.size();
  std::vector<ordered_json> results(count);
  std::vector<double> milliseconds(count);
  std::vector<PolicyIdentity> identities(count);
  side_by_side(call.workers, count, [&](size_t i) {
    complete(call, held.policy(), request.inputs[i]);
    const guard::Decision decision = call.service.answer(
        held, call.endpoint, std::move(request.inputs[i]), request.options, call.request.received);
    results[i] = result_json(decision, held.policy());
    milliseconds[i] = decision.milliseconds;
    identities[i] = {decision.policy_name, decision.policy_version, decision.policy_hash};
  });
  ordered_json body;
  body["id"] = "modr-" + call.id;
  body["model"] = "parapet-" + identities.back().name;
  body["results"] = results;
  body["parapet"]["policy"] = to_json(identities.back());
  body["parapet"]["milliseconds"] = std::accumulate(milliseconds.begin(), milliseconds.end(), 0.0);
  body["parapet"]["unknown_fields"] = request.options.unknown;
  return json_reply(200, body);
}

}  // namespace parapet::serving
