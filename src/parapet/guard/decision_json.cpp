// The decision as JSON: what `parapet guard check` prints and POST /v1/guard answers.
#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/strings.h"
#include "parapet/core/utf8.h"
#include "parapet/guard/decision.h"

namespace parapet::guard {
namespace {

using Json = nlohmann::ordered_json;

// Six digits are more than any score means; JSON has no infinity.
Json number(double value) {
  if (!std::isfinite(value)) return nullptr;
  return std::round(value * 1e6) / 1e6;
}
Json number(const std::optional<double>& value) { return value ? number(*value) : Json(nullptr); }

// File names, URLs and what a caller calls itself may hold any bytes; JSON holds UTF-8.
std::string utf8(const std::string& bytes) {
  std::string storage;
  return std::string(repair_utf8(bytes, storage));
}

std::string label(const Decision& decision, int part) {
  if (part < 0 || part >= static_cast<int>(decision.parts.size())) return "";
  return utf8(decision.parts[static_cast<size_t>(part)].label);
}

Json part_json(const PartResult& part) {
  Json json = {{"label", utf8(part.label)},
               {"modality", part.unread_type.empty() ? modality_name(part.modality) : "other"},
               {"state", scan_state_name(part.state)},
               {"action", action_name(part.action)},
               {"scanned_by", part.scanned_by},
               {"sha256", part.sha256},
               {"bytes", part.bytes}};
  if (!part.unread_type.empty()) {
    json["type"] = utf8(part.unread_type);
  } else if (part.modality == Modality::kImage) {
    json["width"] = part.width;
    json["height"] = part.height;
    if (!part.pdq.empty()) json["pdq"] = part.pdq;
    if (part.ocr_characters >= 0) json["ocr_characters"] = part.ocr_characters;
    if (!part.views.empty()) json["views"] = part.views;
  }
  return json;
}

Json category_json(const Decision& decision, const CategoryResult& category) {
  Json scores = Json::object();
  for (const Modality modality : {Modality::kText, Modality::kImage, Modality::kJoint})
    if (const auto& score = category.by_modality[static_cast<size_t>(modality)])
      scores[std::string(modality_name(modality))] = number(*score);
  Json json = {{"category", category.category},
               {"parent", category.parent},
               {"score", number(category.score)},
               {"scores", scores},
               {"severity", category.severity},
               {"severity_name", severity_name(category.severity)},
               {"action", action_name(category.action)},
               {"shadow_action", action_name(category.shadow_action)},
               {"review", category.review},
               {"flag_at", number(category.flag_at)},
               {"block_at", number(category.block_at)},
               {"decided_by", modality_name(category.decided_by)},
               {"part", category.part},
               {"label", label(decision, category.part)}};
  if (!category.flag_from.empty()) json["flag_from"] = category.flag_from;
  if (!category.block_from.empty()) json["block_from"] = category.block_from;
  return json;
}

Json score_json(const Score& score) {
  Json json = {{"signal", score.signal},
               {"category", score.category},
               {"modality", modality_name(score.modality)},
               {"part", score.part},
               {"score", number(score.value)},
               {"action", action_name(score.action)}};
  if (score.text_part >= 0) json["text_part"] = score.text_part;
  if (score.from_ocr) json["from_ocr"] = true;
  if (score.review) json["review"] = true;
  if (!score.view.empty()) json["view"] = score.view;
  return json;
}

Json rule_json(const Decision& decision, const RuleHit& hit) {
  Json json = {{"rule", hit.rule},
               {"kind", hit.kind},
               {"category", hit.category},
               {"action", action_name(hit.action)},
               {"shadow_action", action_name(hit.shadow_action)},
               {"part", hit.part},
               {"label", label(decision, hit.part)}};
  if (hit.kind == "word" || hit.kind == "regex") {
    json["begin"] = hit.begin;
    json["end"] = hit.end;
  }
  if (hit.from_ocr) json["from_ocr"] = true;
  if (!hit.view.empty()) json["view"] = hit.view;
  if (hit.distance >= 0) json["distance"] = hit.distance;
  if (!hit.detail.empty()) json["detail"] = utf8(hit.detail);
  return json;
}

Json failure_json(const Decision& decision, const ScanFailure& failure) {
  return {{"part", failure.part},
          {"label", label(decision, failure.part)},
          {"level", failure.level},
          {"reason", failure.reason},
          {"detail", utf8(failure.detail)},
          {"action", action_name(failure.action)},
          {"shadow_action", action_name(failure.shadow_action)}};
}

Json modified_json(const Decision& decision, const ModifiedPart& modified) {
  Json json = {
      {"part", modified.part}, {"label", label(decision, modified.part)}, {"how", modified.how}};
  if (!modified.media_type.empty()) {
    json["media_type"] = modified.media_type;
    if (modified.media_type == "text/plain")
      json["text"] = modified.content;
    else
      json["base64"] = base64_encode(modified.content);
  }
  if (!modified.detail.empty()) json["detail"] = utf8(modified.detail);
  if (!modified.embedding.empty()) json["embedding"] = modified.embedding;
  return json;
}

Json explanation_json(const Decision& decision, const Explanation& explanation) {
  Json json = {{"part", explanation.part},
               {"label", label(decision, explanation.part)},
               {"category", explanation.category},
               {"kind", explanation.kind},
               {"png_base64", base64_encode(explanation.png)}};
  if (!explanation.words.empty()) {
    Json words = Json::array();
    for (const auto& [word, share] : explanation.words)
      words.push_back({{"word", word}, {"share", number(share)}});
    json["words"] = words;
  }
  return json;
}

template <class Items, class Write>
Json list(const Items& items, const Write& write) {
  Json array = Json::array();
  for (const auto& item : items) array.push_back(write(item));
  return array;
}

}  // namespace

std::string_view action_name(Action action) {
  switch (action) {
    case Action::kAllow:
      return "allow";
    case Action::kFlag:
      return "flag";
    case Action::kModify:
      return "modify";
    case Action::kBlock:
      break;
  }
  return "block";
}

std::string_view scan_state_name(ScanState state) {
  switch (state) {
    case ScanState::kScanned:
      return "scanned";
    case ScanState::kPartly:
      return "partly_scanned";
    case ScanState::kNotScanned:
      break;
  }
  return "not_scanned";
}

std::string_view severity_name(int severity) {
  return severity >= 6 ? "high" : severity >= 4 ? "medium" : severity >= 2 ? "low" : "safe";
}

nlohmann::ordered_json to_json(const Decision& decision) {
  const auto with = [&](auto function) {
    return [&decision, function](const auto& item) { return function(decision, item); };
  };
  Json json = {{"id", utf8(decision.id)},
               {"action", action_name(decision.action)},
               {"shadow_action", action_name(decision.shadow_action)},
               {"clean", decision.clean()},
               {"review", decision.review},
               {"complete", decision.complete},
               {"stopped_at", decision.stopped_at},
               {"reason", utf8(decision.reason)},
               {"side", side_name(decision.side)},
               {"profile", decision.profile},
               {"tenant", utf8(decision.tenant)}};
  json["parts"] = list(decision.parts, part_json);
  json["categories"] = list(decision.categories, with(category_json));
  json["rules"] = list(decision.rules, with(rule_json));
  json["scores"] = list(decision.scores, score_json);
  json["not_scanned"] = list(decision.not_scanned, with(failure_json));
  json["modified"] = list(decision.modified, with(modified_json));
  if (!decision.explanations.empty())
    json["explanations"] = list(decision.explanations, with(explanation_json));
  json["policy"] = {{"name", decision.policy_name},
                    {"version", decision.policy_version},
                    {"hash", decision.policy_hash}};
  json["models"] = list(decision.models, [](const ModelVersion& model) {
    return Json{{"name", model.name}, {"version", model.version}};
  });
  json["timings"] = list(decision.timings, [](const LevelTiming& timing) {
    return Json{{"level", timing.level}, {"milliseconds", number(timing.milliseconds)}};
  });
  json["milliseconds"] = number(decision.milliseconds);
  return json;
}

}  // namespace parapet::guard
