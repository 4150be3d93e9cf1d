#include "parapet/evaluation/report.h"

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/formats/image.h"

namespace parapet {
namespace {

using nlohmann::json;

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

json estimate_json(const Estimate& e) {
  return {{"value", number(e.value)}, {"low", number(e.low)}, {"high", number(e.high)}, {"n", e.n}};
}

Estimate estimate_from(const json& value, const std::string& place) {
  const double nan = std::nan("");
  return {json_field_or<double>(value, "value", nan, place),
          json_field_or<double>(value, "low", nan, place),
          json_field_or<double>(value, "high", nan, place),
          json_field_or<int64_t>(value, "n", 0, place)};
}

json cell_json(const Cell& cell) {
  if (const auto* text = std::get_if<std::string>(&cell)) return *text;
  return estimate_json(std::get<Estimate>(cell));
}

Cell cell_from(const json& value, const std::string& place) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object()) return estimate_from(value, place);
  throw DataError(place, "a table cell must be a string or {value, low, high, n}");
}

json shown_json(const Shown& shown) {
  return {{"text", shown.text}, {"image", shown.image}, {"unsafe", shown.unsafe}};
}

Shown shown_from(const json& example, const char* field, const std::string& place) {
  const auto it = example.find(field);
  if (it == example.end() || it->is_null()) return {};
  Shown shown{json_field_or<std::string>(*it, "text", "", place),
              json_field_or<std::string>(*it, "image", "", place),
              json_field_or<bool>(*it, "unsafe", false, place)};
  // The page must stay self-contained, whatever a report.json from elsewhere says.
  if (!shown.image.empty() && shown.image.rfind("data:image/", 0) != 0)
    throw DataError(place, std::string("field '") + field + ".image' must be a data URI");
  return shown;
}

const json& member(const json& object, const char* field, bool list, const std::string& place) {
  static const json kEmpty;
  if (!object.is_object()) throw DataError(place, "must be a JSON object");
  const auto it = object.find(field);
  if (it == object.end() || it->is_null()) return kEmpty;
  if (list ? !it->is_array() : !it->is_object())
    throw DataError(
        place, std::string("field '") + field + "' must be " + (list ? "a list" : "an object"));
  return *it;
}

Table table_from(const std::string& name, const json& value, const std::string& source) {
  const std::string place = source + ": table '" + name + "'";
  Table table{name,
              json_field_or<std::string>(value, "title", name, place),
              json_field_or<std::string>(value, "note", "", place),
              json_field<std::vector<std::string>>(value, "columns", place),
              {}};
  for (const auto& row : member(value, "rows", true, place)) {
    if (!row.is_array()) throw DataError(place, "every row must be a list");
    table.rows.emplace_back();
    for (const auto& cell : row) table.rows.back().push_back(cell_from(cell, place));
  }
  return table;
}

json plot_json(const SharePlot& plot) {
  json curves = json::array();
  for (const Curve& curve : plot.curves)
    curves.push_back({{"name", curve.name}, {"points", curve.points}});
  return {{"name", plot.name},         {"title", plot.title},        {"note", plot.note},
          {"x_title", plot.x_title},   {"y_title", plot.y_title},    {"log_x", plot.log_x},
          {"diagonal", plot.diagonal}, {"curves", std::move(curves)}};
}

SharePlot plot_from(const json& value, const std::string& source) {
  SharePlot plot;
  plot.name = json_field<std::string>(value, "name", source + ": plots");
  const std::string place = source + ": plot '" + plot.name + "'";
  plot.title = json_field_or<std::string>(value, "title", plot.name, place);
  plot.note = json_field_or<std::string>(value, "note", "", place);
  plot.x_title = json_field_or<std::string>(value, "x_title", "", place);
  plot.y_title = json_field_or<std::string>(value, "y_title", "", place);
  plot.log_x = json_field_or<bool>(value, "log_x", false, place);
  plot.diagonal = json_field_or<bool>(value, "diagonal", false, place);
  for (const auto& curve : member(value, "curves", true, place)) {
    plot.curves.push_back({json_field_or<std::string>(curve, "name", "", place), {}});
    for (const auto& point : member(curve, "points", true, place)) {
      if (!point.is_array() || point.size() != 2 || !point[0].is_number() || !point[1].is_number())
        throw DataError(place, "every point must be a list of two numbers");
      plot.curves.back().points.emplace_back(point[0].get<double>(), point[1].get<double>());
    }
  }
  return plot;
}

PageLink page_from(const json& value, const std::string& place) {
  PageLink page{json_field<std::string>(value, "title", place),
                json_field<std::string>(value, "file", place)};
  // Pages link to their neighbours only, whatever a report.json from elsewhere says.
  if (page.file.find(':') != std::string::npos || page.file.rfind("//", 0) == 0)
    throw DataError(place, "field 'file' must be a relative path");
  return page;
}

std::string sniff(std::string_view bytes) {
  if (bytes.substr(0, 4) == "\x89PNG") return "image/png";
  if (bytes.substr(0, 3) == "\xff\xd8\xff") return "image/jpeg";
  if (bytes.size() > 12 && bytes.substr(0, 4) == "RIFF" && bytes.substr(8, 4) == "WEBP")
    return "image/webp";
  return "";
}

}  // namespace

const Estimate* Report::find(std::string_view metric) const {
  for (const auto& [name, estimate] : metrics)
    if (name == metric) return &estimate;
  return nullptr;
}

void Report::add(const NamedEstimates& more) {
  for (const auto& item : more) {
    const auto same = std::find_if(metrics.begin(), metrics.end(),
                                   [&](const auto& known) { return known.first == item.first; });
    if (same == metrics.end())
      metrics.push_back(item);
    else
      same->second = item.second;
  }
}

json to_json(const Report& report) {
  json root = {{"kind", report.kind}, {"title", report.title}, {"run", report.run}};
  root["metrics"] = json::object();
  root["metric_order"] = json::array();
  for (const auto& [name, estimate] : report.metrics) {
    root["metrics"][name] = estimate_json(estimate);
    root["metric_order"].push_back(name);
  }
  root["tables"] = json::object();
  root["table_order"] = json::array();
  for (const auto& table : report.tables) {
    root["table_order"].push_back(table.name);
    json rows = json::array();
    for (const auto& row : table.rows) {
      rows.push_back(json::array());
      for (const auto& cell : row) rows.back().push_back(cell_json(cell));
    }
    root["tables"][table.name] = {{"title", table.title},
                                  {"note", table.note},
                                  {"columns", table.columns},
                                  {"rows", std::move(rows)}};
  }
  root["pages"] = json::array();
  for (const PageLink& page : report.pages)
    root["pages"].push_back({{"title", page.title}, {"file", page.file}});
  root["plots"] = json::array();
  for (const SharePlot& plot : report.plots) root["plots"].push_back(plot_json(plot));
  root["examples"] = json::array();
  for (const auto& grid : report.grids) {
    json examples = json::array();
    for (const auto& e : grid.examples)
      examples.push_back({{"category", e.category},
                          {"query", shown_json(e.query)},
                          {"before", shown_json(e.before)},
                          {"after", shown_json(e.after)},
                          {"wanted", shown_json(e.wanted)}});
    root["examples"].push_back({{"title", grid.title}, {"examples", std::move(examples)}});
  }
  return root;
}

Report report_from_json(const json& root, std::string_view source) {
  const std::string place(source);
  Report report;
  report.kind = json_field<std::string>(root, "kind", place);
  report.title = json_field_or<std::string>(root, "title", report.kind, place);
  report.run = root.value("run", json::object());
  const json& metrics = member(root, "metrics", false, place);
  for (const auto& name : json_field_or<std::vector<std::string>>(root, "metric_order", {}, place))
    if (metrics.contains(name))
      report.metrics.emplace_back(name, estimate_from(metrics[name], place + ": metric " + name));
  for (const auto& [name, value] : metrics.items())
    if (report.find(name) == nullptr)
      report.metrics.emplace_back(name, estimate_from(value, place + ": metric " + name));
  const json& tables = member(root, "tables", false, place);
  const auto order = json_field_or<std::vector<std::string>>(root, "table_order", {}, place);
  for (const auto& name : order)
    if (tables.contains(name)) report.tables.push_back(table_from(name, tables[name], place));
  for (const auto& [name, value] : tables.items())
    if (std::find(order.begin(), order.end(), name) == order.end())
      report.tables.push_back(table_from(name, value, place));
  for (const auto& page : member(root, "pages", true, place))
    report.pages.push_back(page_from(page, place + ": pages"));
  for (const auto& plot : member(root, "plots", true, place))
    report.plots.push_back(plot_from(plot, place));
  for (const auto& grid : member(root, "examples", true, place)) {
    report.grids.push_back({json_field_or<std::string>(grid, "title", "", place), {}});
    for (const auto& e : member(grid, "examples", true, place))
      report.grids.back().examples.push_back(
          {json_field_or<std::string>(e, "category", "", place), shown_from(e, "query", place),
           shown_from(e, "before", place), shown_from(e, "after", place),
           shown_from(e, "wanted", place)});
  }
  return report;
}

Report load_report(const std::filesystem::path& file) {
  return report_from_json(load_json(file), file.string());
}

std::string image_data_uri(const std::string& location, int64_t side) {
  constexpr size_t kKeep = 24 << 10;
  const std::string bytes = read_location(location, int64_t{64} << 20);
  const std::string type = sniff(bytes);
  if (!type.empty() && bytes.size() <= kKeep)
    return "data:" + type + ";base64," + base64_encode(bytes);
  Image image = decode_image(bytes, location);
  const int64_t longest = std::max(image.width, image.height);
  if (longest > side)
    image = resize_bicubic(image, std::max<int64_t>(1, image.width * side / longest),
                           std::max<int64_t>(1, image.height * side / longest));
  return "data:image/jpeg;base64," + base64_encode(encode_jpeg(image, 85));
}

}  // namespace parapet
