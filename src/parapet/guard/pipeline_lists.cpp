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
  std::vector<HashHit> found = hashes_.find_exact(part.sha256);
  bool compared = hashes_.has_exact();
  if (part.modality == Modality::kImage && hashes_.has_pdq()) {
    const PdqVariants variants = pdq_variants(*part.image);
    if (variants.quality >= 50)
      run.prepared.results[static_cast<size_t>(part.part)].pdq = variants.hashes[0].hex();
    for (HashHit& hit : hashes_.find_near(variants)) found.push_back(std::move(hit));
    // Below a list's floor nothing was compared.
    compared = compared || variants.quality >= hashes_.min_quality();
  }
  if (compared) run.scanned(part.part, "hash");
  add_hash_hits(run, part.part, found);
}

void Pipeline::add_hash_hits(Run& run, int part, const std::vector<HashHit>& hits) const {
  for (const HashHit& one : hits) {
    const HashListOptions& list = policy_.hash_lists[static_cast<size_t>(one.list)];
    RuleHit hit;
    hit.kind = list.kind;
    hit.rule = list.name;
    hit.category = list.category;
    hit.part = part;
    hit.distance = one.distance;
    hit.detail = one.id;
    run.decider.set_actions(hit, list.action, list.mode);
    run.findings.rules.push_back(std::move(hit));
  }
}

void Pipeline::run_rules(Run& run, const std::vector<PreparedPart>& texts) const {
  if (!rules_.looks_at(run.request.side)) return;
  const LevelTimer timer(run.timings, "rules");
  for (const PreparedPart& part : texts) {
    if (part.modality != Modality::kText) continue;
    std::vector<int32_t> failed;
    for (const TextHit& one : rules_.scan(part.text, run.request.side, failed)) {
      const WordListOptions& list = policy_.word_lists[static_cast<size_t>(one.list)];
      RuleHit hit;
      hit.kind = list.kind;
      hit.rule = list.name;
      hit.category = list.category;
      hit.part = part.part;
      hit.from_ocr = part.from_ocr;
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
               "a regex of list '" + list.name + "' ran into its step limit", list.fail,
               Modality::kText, {list.category});
    }
  }
}

}  // namespace parapet::guard
