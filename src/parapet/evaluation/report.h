// What an evaluation found: report.json for programs, report.html for people. The JSON holds all
// that the page shows except loss curves, which come from the run's metrics.jsonl.
#pragma once
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "parapet/evaluation/curves.h"
#include "parapet/evaluation/metric_table.h"

namespace parapet {

// Text, or a number with its interval.
using Cell = std::variant<std::string, Estimate>;

struct Table {
  std::string name;   // key in report.json, e.g. "category"
  std::string title;  // shown above it
  std::string note;   // one or two sentences; may be empty
  std::vector<std::string> columns;
  std::vector<std::vector<Cell>> rows;
};

// A text or a picture in the example grid; `image` is a data URI.
struct Shown {
  std::string text;
  std::string image;
  bool unsafe = false;
  bool empty() const { return text.empty() && image.empty(); }
};

// One unsafe query and what came back first. `before` or `after` may be empty.
struct Example {
  std::string category;
  Shown query, before, after, wanted;
};

struct ExampleGrid {
  std::string title;
  std::vector<Example> examples;
};

// Another page beside this one.
struct PageLink {
  std::string title;
  std::string file;  // relative to this page's folder
};

struct Report {
  std::string kind;                               // "retrieval", "zeroshot", ...
  std::string title;                              // of the page
  nlohmann::json run = nlohmann::json::object();  // the run record
  NamedEstimates metrics;                         // in the order shown
  std::vector<Table> tables;
  std::vector<SharePlot> plots;
  std::vector<ExampleGrid> grids;
  std::vector<PageLink> pages;

  // Null when there is none.
  const Estimate* find(std::string_view metric) const;
  // Appends, or replaces metrics of the same name.
  void add(const NamedEstimates& more);
};

// {kind, title, run, metrics: {name: {value, low, high, n}}, tables: {name: {...}}, plots,
// examples, pages}. A metric without items has null for its numbers.
nlohmann::json to_json(const Report& report);
// The reverse; DataError names the field that is missing or of the wrong type.
Report report_from_json(const nlohmann::json& root, std::string_view source);
Report load_report(const std::filesystem::path& file);

// An image as a data URI for a page: kept as it is when small enough, else a thumbnail of at most
// `side` pixels. DataError names the image.
std::string image_data_uri(const std::string& location, int64_t side = 160);

}  // namespace parapet
