// Lists of known content and of words: what costs next to nothing comes first.
#include <algorithm>

#include "parapet/guard/pipeline.h"

namespace parapet::guard {

void Pipeline::run_hashes(Run& run) const {
  if (policy_.hash_lists.empty()) return;
  const LevelTimer timer(run.timings, "hash");
  for (const PreparedPart& part : run.prepared.parts) {
    try {
      run_hashes(run, part);
    } catch (const std::exception& error) {
      std::vector<std::string> categories;
      for (const HashListOptions& list : policy_.hash_lists) categories.push_back(list.category);
      run.fail(part.part, "hash", "signal_failed", error.what(), policy_.hash_fail, part.modality,
               categories);
    }
  }
  // A known file is known whether or not it can be decoded.
  for (size_t i = 0; i < run.prepared.results.size(); ++i) {
    const PartResult& result = run.prepared.results[i];
    const bool prepared =
        std::any_of(run.prepared.parts.begin(), run.prepared.parts.end(),
                    [&](const PreparedPart& part) { return part.part == static_cast<int>(i); });
    if (!prepared && !result.sha256.empty())
      add_hash_hits(run, static_cast<int>(i), hashes_.find_exact(result.sha256));
  }
}

void Pipeline::run_hashes(Run& run, const PreparedPart& part) const {
  const bool itself = part.view.empty();  // other views have no bytes that a list could know
  std::vector<HashHit> found;
  if (itself) found = hashes_.find_exact(part.sha256);
  bool compared = itself && hashes_.has_exact(part.modality);
  if (part.modality == Modality::kImage && hashes_.has_pdq()) {
    const PdqVariants variants = pdq_variants(*part.image);
    if (itself && variants.quality >= 50)
      run.prepared.results[static_cast<size_t>(part.part)].pdq = variants.hashes[0].hex();
    for (HashHit& hit : hashes_.find_near(variants)) found.push_back(std::move(hit));
    // Below a list's floor nothing was compared.
    compared = compared || variants.quality >= hashes_.min_quality();
  }
  if (compared) run.scanned(part.part, "hash");
  add_hash_hits(run, part.part, found, part.view);
}

void Pipeline::add_hash_hits(Run& run, int part, const std::vector<HashHit>& hits,
                             const std::string& view) const {
  for (const HashHit& one : hits) {
    const HashListOptions& list = policy_.hash_lists[static_cast<size_t>(one.list)];
    const auto& rules = run.findings.rules;
    const bool known = std::any_of(rules.begin(), rules.end(), [&](const RuleHit& hit) {
      return hit.part == part && hit.rule == list.name && hit.detail == one.id;
    });
    if (known && !view.empty()) continue;  // the picture itself, or another view, has matched
    RuleHit hit;
    hit.kind = list.kind;
    hit.rule = list.name;
    hit.category = list.category;
    hit.part = part;
    hit.distance = one.distance;
    hit.detail = one.id;
    hit.view = view;
    run.decider.set_actions(hit, list.action, list.mode);
    run.findings.rules.push_back(std::move(hit));
  }
}

void Pipeline::run_rules(Run& run, const std::vector<PreparedPart>& texts) const {
  if (!rules_.looks_at(run.request.side)) return;
  const LevelTimer timer(run.timings, "rules");
  const auto first_hit = static_cast<std::ptrdiff_t>(run.findings.rules.size());
  // The newest first: a deadline leaves out the oldest.
  for (auto it = texts.rbegin(); it != texts.rend(); ++it) {
    const PreparedPart& part = *it;
    if (part.modality != Modality::kText) continue;
    if (part.lists_only && run.late()) continue;  // not scanned, as it is said already
    std::vector<int32_t> failed;
    for (const TextHit& one : rules_.scan(part.text, run.request.side, failed)) {
      const WordListOptions& list = policy_.word_lists[static_cast<size_t>(one.list)];
      RuleHit hit;
      hit.kind = list.kind;
      hit.rule = list.name;
      hit.category = list.category;
      hit.part = part.part;
      hit.from_ocr = part.from_ocr;
      hit.view = part.view;
      hit.begin = one.begin;
      hit.end = one.end;
      hit.detail = "entry " + std::to_string(one.entry + 1) + ", " + one.view;
      run.decider.set_actions(hit, list.action, list.mode);
      run.findings.rules.push_back(std::move(hit));
    }
    run.scanned(part.part, "rules");
    for (const int32_t index : failed) {
      const WordListOptions& list = policy_.word_lists[static_cast<size_t>(index)];
      run.fail(part.part, "rules", "rule_limit",
               "list '" + list.name +
                   "' did not read all of it: a regex ran into its step limit, or escapes lie in "
                   "each other too deep",
               list.fail, Modality::kText, {list.category});
    }
  }
  std::stable_sort(run.findings.rules.begin() + first_hit, run.findings.rules.end(),
                   [](const RuleHit& a, const RuleHit& b) { return a.part < b.part; });
}

}  // namespace parapet::guard
