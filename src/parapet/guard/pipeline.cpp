#include "parapet/guard/pipeline.h"

#include <algorithm>
#include <set>

#include "parapet/guard/fold.h"

namespace parapet::guard {
namespace {

// Of the views of a part, and of the texts read from them, the highest score counts.
void add_highest(std::vector<Score>& scores, size_t first, Score score) {
  for (size_t i = first; i < scores.size(); ++i) {
    Score& one = scores[i];
    if (one.part != score.part || one.category != score.category || one.signal != score.signal ||
        one.modality != score.modality || one.text_part != score.text_part ||
        one.from_ocr != score.from_ocr)
      continue;
    const bool review = one.review || score.review;
    if (score.value > one.value) one = std::move(score);
    one.review = review;
    return;
  }
  scores.push_back(std::move(score));
}

}  // namespace

void Pipeline::Run::fail(int part, const std::string& level, const std::string& reason,
                         const std::string& detail, FailMode mode, Modality modality,
                         const std::vector<std::string>& categories) {
  ScanFailure failure;
  failure.part = part;
  failure.level = level;
  failure.reason = reason;
  failure.detail = detail;
  decider.set_actions(failure, mode, modality, categories);
  findings.failures.push_back(std::move(failure));
}

void Pipeline::Run::scanned(int part, const std::string& level) {
  auto& levels = scanned_by[static_cast<size_t>(part)];
  if (std::find(levels.begin(), levels.end(), level) == levels.end()) levels.push_back(level);
}

Pipeline::Pipeline(Policy policy, const GuardOptions& options, ModelStore& models,
                   const Context& context)
    : policy_(std::move(policy)),
      combinations_(parse_combinations(policy_)),
      fetcher_(policy_.fetch),
      hashes_(policy_.hash_lists),
      rules_(policy_.word_lists) {
  load_signals(options, models, context);
  load_safe_counterpart(options, models, context);
}

Readiness Pipeline::readiness(std::chrono::milliseconds patience) const {
  Readiness readiness;
  for (const Level& level : levels_) {
    try {
      level.signal->probe(Clock::now() + patience);
    } catch (const std::exception& error) {
      readiness.problems.push_back(level.signal->name() + ": " + error.what());
    }
  }
  readiness.ready = readiness.problems.empty();
  return readiness;
}

void Pipeline::run_signal(Run& run, const Level& level,
                          const std::vector<PreparedPart>& parts) const {
  std::vector<PreparedPart> mine;
  for (const PreparedPart& part : parts)
    if (!part.lists_only && level.signal->scans(part.modality)) mine.push_back(part);
  if (mine.empty()) return;
  const LevelTimer timer(run.timings, level.name == "clip" ? "clip" : level.signal->name());
  const auto categories = level.signal->categories();
  const auto fail_all = [&](const std::string& reason, const std::string& detail) {
    for (const PreparedPart& part : mine)
      if (part.view.empty() || part.from_ocr)
        run.fail(part.part, level.name, reason, level.signal->name() + ": " + detail, level.fail,
                 part.modality, categories);
  };
  if (run.late()) return fail_all("deadline", "not begun in time");
  SignalOutput output;
  try {
    level.signal->score({run.request, mine, run.deadline}, output);
  } catch (const std::exception& error) {
    return fail_all("signal_failed", error.what());
  }
  for (const int part : output.scanned) run.scanned(part, level.name);
  std::set<std::pair<int, std::string>> failed;  // once for all views of a part
  for (const ScanFailure& failure : output.failures) {
    if (!failed.emplace(failure.part, failure.reason).second) continue;
    const auto part = std::find_if(mine.begin(), mine.end(), [&](const PreparedPart& one) {
      return one.part == failure.part;
    });
    run.fail(failure.part, level.name, failure.reason, failure.detail, level.fail,
             part == mine.end() ? Modality::kJoint : part->modality, categories);
  }
  const size_t first = run.findings.scores.size();
  for (Score& score : output.scores) {
    // A score that is not a number is no score: its part was not scanned.
    if (score.value >= 0 && score.value <= 1)
      add_highest(run.findings.scores, first, std::move(score));
    else
      run.fail(score.part, level.name, "signal_failed",
               level.signal->name() + " gave a score outside 0..1", level.fail, score.modality,
               {score.category});
  }
}

void Pipeline::run_signals(Run& run, const std::vector<PreparedPart>& parts) const {
  for (const Level& level : levels_) run_signal(run, level, parts);
}

void Pipeline::run_ocr(Run& run) const {
  if (!ocr_) return;
  std::vector<PreparedPart> texts;
  {
    const LevelTimer timer(run.timings, "ocr");
    // The newest first, as everywhere.
    const auto& parts = run.prepared.parts;
    for (auto it = parts.rbegin(); it != parts.rend(); ++it) {
      const PreparedPart& part = *it;
      if (part.modality != Modality::kImage) continue;
      if (run.late()) {
        run.fail(part.part, "ocr", "deadline", "not begun in time", policy_.ocr.fail,
                 Modality::kImage, categories_of(Modality::kText));
        continue;
      }
      try {
        OcrText read = ocr_->read(*part.image, run.deadline);
        if (!read.in_time) {
          run.fail(part.part, "ocr", "deadline", "not read to its end in time", policy_.ocr.fail,
                   Modality::kImage, categories_of(Modality::kText));
          continue;
        }
        run.scanned(part.part, "ocr");
        int& characters = run.prepared.results[static_cast<size_t>(part.part)].ocr_characters;
        characters = std::max(characters, static_cast<int>(read.text.size()));
        const bool known = std::any_of(texts.begin(), texts.end(), [&](const PreparedPart& text) {
          return text.part == part.part && text.text == read.text;
        });
        if (!read.text.empty() && !known) {
          PreparedPart text;
          text.part = part.part;
          text.text = read.text;
          text.sha256 = part.sha256;
          text.from_ocr = true;
          text.view = part.view;
          texts.push_back(std::move(text));
        }
        // A changed part shows the picture itself: only its own text has a place there.
        if (part.view.empty()) run.ocr.emplace_back(part.part, std::move(read));
      } catch (const std::exception& error) {
        run.fail(part.part, "ocr", "signal_failed", error.what(), policy_.ocr.fail,
                 Modality::kImage, categories_of(Modality::kText));
      }
    }
  }
  if (texts.empty()) return;
  std::reverse(texts.begin(), texts.end());
  run_rules(run, texts);
  std::erase_if(texts, [&](const PreparedPart& part) {
    return static_cast<int64_t>(count_letters(part.text)) < policy_.ocr.min_letters;
  });
  run_signals(run, texts);
}

std::vector<std::string> Pipeline::categories_of(Modality modality) const {
  std::vector<std::string> names;
  const bool image = modality == Modality::kImage;
  // Text drawn in an image meets what looks at texts.
  const bool text = !image || ocr_ != nullptr;
  for (const Level& level : levels_)
    if (level.signal->scans(modality) || (text && level.signal->scans(Modality::kText)))
      for (std::string& name : level.signal->categories()) names.push_back(std::move(name));
  for (const HashListOptions& list : policy_.hash_lists)
    if (image || list.kind == "sha256") names.push_back(list.category);
  if (text)
    for (const WordListOptions& list : policy_.word_lists)
      if (!list.category.empty()) names.push_back(list.category);
  return names;
}

// What no level looked at, and for want of what.
void Pipeline::check_scanned(Run& run) const {
  for (const PreparedPart& part : run.prepared.parts) {
    const auto index = static_cast<size_t>(part.part);
    PartResult& result = run.prepared.results[index];
    result.scanned_by = run.scanned_by[index];
    const bool failed = std::any_of(run.findings.failures.begin(), run.findings.failures.end(),
                                    [&](const ScanFailure& f) { return f.part == part.part; });
    if (result.scanned_by.empty() && !failed && run.stopped_at.empty())
      run.fail(part.part, "limits", "no_signal",
               "no level of the policy looked at this " + std::string(modality_name(part.modality)),
               policy_.limits.fail, part.modality, categories_of(part.modality));
    result.state = result.scanned_by.empty() ? ScanState::kNotScanned
                   : failed                  ? ScanState::kPartly
                                             : ScanState::kScanned;
  }
}

void Pipeline::run_levels(Run& run) const {
  {
    const LevelTimer timer(run.timings, "limits");
    run.prepared = prepare_parts(run.request, policy_, fetcher_, scale_for_, run.deadline);
  }
  for (const ScanFailure& failure : run.prepared.failures) {
    const Part& part = run.request.parts[static_cast<size_t>(failure.part)];
    auto categories = categories_of(part.modality());
    // Audio may say what a text does.
    if (part.kind == Part::Kind::kUnread)
      for (std::string& name : categories_of(Modality::kText))
        categories.push_back(std::move(name));
    run.fail(failure.part, failure.level, failure.reason, failure.detail,
             failure.level == "fetch" ? policy_.fetch.fail : policy_.limits.fail, part.modality(),
             categories);
  }
  run.scanned_by.resize(run.request.parts.size());
  const auto blocked_by = [&](const char* level) {
    if (policy_.limits.stop_on_block && run.decider.blocks(run.findings.rules))
      run.stopped_at = level;
    return !run.stopped_at.empty();
  };
  run_hashes(run);
  if (!blocked_by("hash")) {
    run_rules(run, run.prepared.parts);
    if (!blocked_by("rules")) {
      run_signals(run, run.prepared.parts);
      run_ocr(run);
    }
  }
  check_scanned(run);
}

Decision Pipeline::decide(const GuardRequest& request) const {
  Run run{request,
          Decider(policy_, combinations_, policy_.resolve_profile(request.profile, request.tenant),
                  request.tenant, request.side),
          request.deadline,
          {},
          {},
          {},
          {},
          {},
          {}};
  if (policy_.limits.deadline_ms > 0) {
    const auto latest =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(
                           std::chrono::duration<double, std::milli>(policy_.limits.deadline_ms));
    run.deadline = std::min(latest, run.deadline.value_or(latest));
  }
  run_levels(run);
  run.findings.parts = run.prepared.results;
  Decision decision = run.decider.decide(std::move(run.findings));
  decision.stopped_at = run.stopped_at;
  decision.models = versions_;
  if (request.modify && decision.action == Action::kModify) {
    const LevelTimer timer(run.timings, "modify");
    try {
      modify(run, decision);
    } catch (const std::exception& error) {
      // What cannot be made showable is not shown.
      decision.modified.clear();
      decision.action = Action::kBlock;
      decision.reason += std::string("; blocked: it could not be modified: ") + error.what();
    }
  }
  if (request.explain) {
    const LevelTimer timer(run.timings, "explain");
    explain(run, decision);
  }
  decision.timings = std::move(run.timings);
  return decision;
}

}  // namespace parapet::guard
