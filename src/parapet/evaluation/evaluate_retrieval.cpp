#include "parapet/evaluation/evaluate_retrieval.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/evaluation/group_tables.h"
#include "parapet/evaluation/html_text.h"
#include "parapet/evaluation/zeroshot_eval.h"

namespace parapet {
namespace {

// Both models on one list of quadruplets.
struct Measured {
  MetricTable metrics;
  FirstResults before, after;
};

Measured measure(const EvaluationInput& input, const std::vector<Quadruplet>& quadruplets,
                 const Context& context) {
  Measured measured{MetricTable(static_cast<int64_t>(quadruplets.size())), {}, {}};
  Encoder& original = input.baseline != nullptr ? *input.baseline : *input.model;
  const QuadrupletEmbeddings before =
      embed_quadruplets(original, quadruplet_columns(quadruplets), "original model", context);
  add_retrieval(measured.metrics, "before.", before, &measured.before);
  add_safeground(measured.metrics, "before.", before);
  add_preservation(measured.metrics, "before.", before, before);
  if (input.baseline == nullptr) return measured;
  const QuadrupletEmbeddings after =
      embed_quadruplets(*input.model, quadruplet_columns(quadruplets), "evaluated model", context);
  if (after.safe_text.size(1) != before.safe_text.size(1))
    throw DataError("evaluated model",
                    "embeds in " + std::to_string(after.safe_text.size(1)) +
                        " dimensions, the baseline in " + std::to_string(before.safe_text.size(1)),
                    "Give the model it was tuned from as --baseline.");
  add_retrieval(measured.metrics, "after.", after, &measured.after);
  add_old_index(measured.metrics, "after.", after, before);
  add_preservation(measured.metrics, "after.", after, before);
  add_safeground(measured.metrics, "after.", after);
  return measured;
}

NamedEstimates with_prefix(const std::string& prefix, NamedEstimates metrics) {
  for (auto& [name, estimate] : metrics) name = prefix + name;
  return metrics;
}

// Cosines of the baseline to itself are 1 by definition: no news.
NamedEstimates without_trivial(NamedEstimates metrics) {
  std::erase_if(metrics, [](const auto& item) {
    return item.first.find("before.preservation") != std::string::npos;
  });
  return metrics;
}

// Tables per category and per attribute with 2 to 30 values.
void add_group_tables(Report& report, const MetricTable& metrics,
                      const std::vector<Quadruplet>& quadruplets, const BootstrapOptions& options) {
  std::map<std::string, Groups> by_attribute;
  Groups by_category;
  for (size_t i = 0; i < quadruplets.size(); ++i) {
    const auto item = static_cast<int64_t>(i);
    by_category[quadruplets[i].category].push_back(item);
    for (const auto& [key, value] : quadruplets[i].attributes)
      by_attribute[key][value].push_back(item);
  }
  report.tables.push_back(group_table("category", "By category of the unsafe content", "", metrics,
                                      by_category, options));
  for (const auto& [key, groups] : by_attribute)
    if (groups.size() >= 2 && groups.size() <= 30)
      report.tables.push_back(group_table(key, "By " + key, "", metrics, groups, options));
}

// The first quadruplet of each category in turn, up to `count`: not chosen by result.
std::vector<size_t> shown_items(const std::vector<Quadruplet>& quadruplets, int64_t count) {
  std::map<std::string, std::vector<size_t>> by_category;
  for (size_t i = 0; i < quadruplets.size(); ++i) by_category[quadruplets[i].category].push_back(i);
  std::vector<size_t> items;
  const size_t wanted =
      std::min(static_cast<size_t>(std::max<int64_t>(0, count)), quadruplets.size());
  for (size_t round = 0; items.size() < wanted; ++round)
    for (const auto& [category, members] : by_category)
      if (round < members.size() && items.size() < wanted) items.push_back(members[round]);
  return items;
}

Shown show_text(const std::vector<Quadruplet>& q, int64_t index) {
  const auto n = static_cast<int64_t>(q.size());
  return {index < n ? q[index].safe_text : q[index - n].unsafe_text, "", index >= n};
}

Shown show_image(const std::vector<Quadruplet>& q, int64_t index) {
  const auto n = static_cast<int64_t>(q.size());
  return {"", image_data_uri(index < n ? q[index].safe_image : q[index - n].unsafe_image),
          index >= n};
}

void add_examples(Report& report, const EvaluationInput& input, const Measured& measured) {
  const std::vector<Quadruplet>& q = input.quadruplets;
  const auto n = static_cast<int64_t>(q.size());
  ExampleGrid images{"Unsafe text, searching safe and unsafe images", {}};
  ExampleGrid texts{"Unsafe image, searching safe and unsafe texts", {}};
  for (const size_t i : shown_items(q, input.examples)) {
    const auto item = static_cast<int64_t>(i);
    const bool both = input.baseline != nullptr;
    images.examples.push_back(
        {q[i].category, show_text(q, n + item), show_image(q, measured.before.images[i]),
         both ? show_image(q, measured.after.images[i]) : Shown{}, show_image(q, item)});
    texts.examples.push_back(
        {q[i].category, show_image(q, n + item), show_text(q, measured.before.texts[i]),
         both ? show_text(q, measured.after.texts[i]) : Shown{}, show_text(q, item)});
  }
  report.grids = {std::move(images), std::move(texts)};
}

Report start_report(const EvaluationInput& input, const char* kind) {
  if (input.model == nullptr) throw UsageError("evaluation needs a model");
  Report report;
  report.kind = kind;
  report.title = input.title;
  report.run = input.run;
  return report;
}

}  // namespace

Report evaluate_retrieval(const EvaluationInput& input, const Context& context) {
  Report report = start_report(input, "retrieval");
  if (input.quadruplets.empty())
    throw DataError("quadruplets", "there are none for split '" + input.split + "'",
                    "Check --data and --split.");
  const Measured measured = measure(input, input.quadruplets, context);
  report.metrics = without_trivial(measured.metrics.estimates(input.bootstrap));
  if (input.zeroshot != nullptr) {
    const Report zeroshot = evaluate_zeroshot_report(input, context);
    report.add(zeroshot.metrics);
    report.tables = zeroshot.tables;
  }
  add_group_tables(report, measured.metrics, input.quadruplets, input.bootstrap);
  if (!input.held_style.empty()) {
    const Measured held = measure(input, input.held_style, context);
    report.add(
        with_prefix("held_style.", without_trivial(held.metrics.estimates(input.bootstrap))));
  }
  Table held_table = key_table("held_style", "Unseen style",
                               "The same on pictures in a style that no training saw.",
                               report.metrics, "held_style.");
  if (!held_table.rows.empty()) report.tables.push_back(std::move(held_table));
  add_examples(report, input, measured);
  return report;
}

Report evaluate_zeroshot_report(const EvaluationInput& input, const Context& context) {
  Report report = start_report(input, "zeroshot");
  if (input.zeroshot == nullptr) throw UsageError("zero-shot evaluation needs its classes");
  const ZeroShotSet& set = *input.zeroshot;
  std::map<std::string, std::vector<Cell>> rows;
  const std::pair<const char*, Encoder*> models[] = {
      {"before.", input.baseline != nullptr ? input.baseline : input.model},
      {"after.", input.baseline != nullptr ? input.model : nullptr}};
  int64_t found = 0;
  for (const auto& [prefix, encoder] : models) {
    if (encoder == nullptr) continue;
    for (const bool held : {false, true}) {
      const ZeroShotResult result =
          evaluate_zeroshot(*encoder, set, held ? input.held_split : input.split, context);
      const std::string name = (held ? "held_style." : "") + std::string(prefix) + "zeroshot.";
      const auto add = [&](const char* metric, const std::vector<float>& hits) {
        if (hits.empty()) return;
        MetricTable table(static_cast<int64_t>(hits.size()));
        table.add(name + metric, hits);
        report.add(table.estimates(input.bootstrap));
        found += table.items();
      };
      add("top1", result.safe_hit);
      add("unsafe_top1", result.unsafe_hit);
      if (held) continue;
      std::map<std::string, std::pair<int64_t, int64_t>> counts;
      const auto count = [&](const std::vector<int64_t>& items, const std::vector<float>& hits) {
        for (size_t i = 0; i < items.size(); ++i) {
          const ZeroShotClass& truth = set.classes[set.images[items[i]].class_index];
          auto& [right, all] = counts[truth.unsafe ? truth.category : "(safe objects)"];
          right += hits[i] > 0;
          ++all;
        }
      };
      count(result.safe, result.safe_hit);
      count(result.unsafe, result.unsafe_hit);
      for (const auto& [category, c] : counts)
        rows[category].emplace_back(wilson_share(c.first, c.second, input.bootstrap.level));
    }
  }
  if (found == 0)
    throw DataError("zero-shot images", "there are none for split '" + input.split + "'",
                    "Check --data and --split.");
  Table table{"zeroshot",
              "Zero-shot classification",
              "Single objects, each named among the classes of its own side; Wilson intervals.",
              {"category", "before"},
              {}};
  if (input.baseline != nullptr) table.columns.emplace_back("after");
  for (auto& [category, cells] : rows) {
    table.rows.push_back({category});
    for (auto& cell : cells) table.rows.back().push_back(std::move(cell));
  }
  report.tables.push_back(std::move(table));
  return report;
}

std::string before_after_text(const Report& report) {
  const Table table = key_table("", "", "", report.metrics, "");
  size_t width = 0;
  for (const auto& row : table.rows) width = std::max(width, std::get<std::string>(row[0]).size());
  const auto cell = [](const std::string& text) {
    return std::string(text.size() < 22 ? 22 - text.size() : 1, ' ') + text;
  };
  std::string out(width, ' ');
  for (size_t c = 1; c < table.columns.size(); ++c) out += cell(table.columns[c]);
  out += "\n";
  for (const auto& row : table.rows) {
    const auto& title = std::get<std::string>(row[0]);
    out += title + std::string(width - title.size(), ' ');
    const bool cosine = is_cosine(title);
    const double scale = cosine ? 1 : 100;
    const int digits = cosine ? 3 : 1;
    for (size_t c = 1; c < row.size(); ++c) {
      const auto* e = std::get_if<Estimate>(&row[c]);
      out += cell(e == nullptr
                      ? "-"
                      : format_value(*e, cosine) + " [" + format_number(scale * e->low, digits) +
                            ", " + format_number(scale * e->high, digits) + "]");
    }
    out += "\n";
  }
  return out;
}

}  // namespace parapet
