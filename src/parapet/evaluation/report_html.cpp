#include "parapet/evaluation/report_html.h"

#include "parapet/core/files.h"
#include "parapet/core/json.h"

#include <cmath>

#include "parapet/evaluation/group_tables.h"
#include "parapet/evaluation/html_text.h"
#include "parapet/evaluation/report_style.h"
#include "parapet/evaluation/svg_plots.h"

namespace parapet {
namespace {

std::string section(const std::string& title, const std::string& note, const std::string& body) {
  if (body.empty()) return "";
  return "<section><h2>" + html_escape(title) + "</h2>" +
         (note.empty() ? "" : "<p class=\"note\">" + html_escape(note) + "</p>") + body +
         "</section>\n";
}

std::string number_cell(const Estimate& e, bool cosine) {
  const std::string interval = format_interval(e, cosine);
  return "<td>" + format_value(e, cosine) +
         (interval.empty() ? "" : "<span class=\"ci\">" + interval + "</span>") + "</td>";
}

std::string table_html(const Table& table) {
  std::string html = "<div class=\"scroll\"><table><thead><tr>";
  for (const auto& column : table.columns) html += "<th>" + html_escape(column) + "</th>";
  html += "</tr></thead><tbody>";
  for (const auto& row : table.rows) {
    const auto* label = row.empty() ? nullptr : std::get_if<std::string>(&row[0]);
    html += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) {
      const bool cosine = (label != nullptr && is_cosine(*label)) ||
                          (c < table.columns.size() && is_cosine(table.columns[c]));
      if (const auto* text = std::get_if<std::string>(&row[c]))
        html += "<td>" + html_escape(*text) + "</td>";
      else
        html += number_cell(std::get<Estimate>(row[c]), cosine);
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div>";
}

// The change in points, coloured when the intervals do not overlap.
std::string change_cell(const Estimate& before, const Estimate& after, bool cosine,
                        bool lower_is_better) {
  if (!std::isfinite(before.value) || !std::isfinite(after.value)) return "<td></td>";
  const double change = after.value - before.value;
  const bool apart = after.low > before.high || after.high < before.low;
  const char* verdict = !apart ? "" : (change < 0) == lower_is_better ? " better" : " worse";
  char text[32];
  std::snprintf(text, sizeof text, cosine ? "%+.3f" : "%+.1f", cosine ? change : 100 * change);
  return std::string("<td><span class=\"change") + verdict + "\">" + text + "</span></td>";
}

std::string summary(const Report& report) {
  const Table table = key_table("summary", "", "", report.metrics, "");
  if (table.rows.empty()) return "";
  const bool both = table.columns.size() == 3;
  std::string html = "<div class=\"scroll\"><table><thead><tr><th>measure</th><th>before</th>";
  html += both ? "<th>after</th><th>change</th></tr></thead><tbody>" : "</tr></thead><tbody>";
  for (const auto& row : table.rows) {
    const auto& title = std::get<std::string>(row[0]);
    const bool cosine = is_cosine(title);
    bool lower = false;
    for (const auto& key : key_metrics())
      if (title == key.title) lower = key.lower_is_better;
    html += "<tr><td>" + html_escape(title) + "</td>";
    const auto* before = std::get_if<Estimate>(&row[1]);
    const auto* after = row.size() > 2 ? std::get_if<Estimate>(&row[2]) : nullptr;
    html += before != nullptr ? number_cell(*before, cosine) : "<td></td>";
    if (after != nullptr) {
      html += number_cell(*after, cosine);
      html += before != nullptr ? change_cell(*before, *after, cosine, lower) : "<td></td>";
    }
    html += "</tr>";
  }
  return html + "</tbody></table></div>";
}

std::string tiles(const Report& report) {
  static const std::pair<const char*, const char*> kTiles[] = {
      {"Tu2VVu.unsafe_top1", "Unsafe text gets an unsafe image first"},
      {"Vu2TTu.unsafe_top1", "Unsafe image gets an unsafe text first"},
      {"T2V.R@1", "Safe text finds its image first"},
      {"zeroshot.top1", "Safe objects recognised, zero-shot"}};
  std::string html;
  for (const auto& [name, words] : kTiles) {
    const Estimate* before = report.find(std::string("before.") + name);
    const Estimate* after = report.find(std::string("after.") + name);
    if (before == nullptr) continue;
    html += std::string("<div class=\"tile\"><div class=\"what\">") + words +
            "</div><div class=\"num\">";
    if (after != nullptr)
      html += "<small>" + format_value(*before, false) + " \xe2\x86\x92</small> " +
              format_value(*after, false);
    else
      html += format_value(*before, false);
    html += "</div></div>";
  }
  return html.empty() ? "" : "<div class=\"tiles\">" + html + "</div>\n";
}

// Training terms, validation terms and cosines have axes of their own.
std::string loss_plots(const std::vector<Curve>& curves) {
  std::vector<Curve> training, validation, cosines;
  for (Curve curve : curves) {
    const bool checked = curve.name.rfind("validation ", 0) == 0;
    if (checked) curve.name.erase(0, 11);
    if (curve.name.rfind("term.", 0) == 0) curve.name.erase(0, 5);
    const bool cosine = curve.name.rfind("cos", 0) == 0;
    if (curve.name.rfind("cos.", 0) == 0) curve.name.erase(0, 4);
    (cosine ? cosines : checked ? validation : training).push_back(std::move(curve));
  }
  std::string html;
  const auto add = [&](const char* title, const std::vector<Curve>& some, bool both_scales) {
    if (some.empty()) return;
    html += std::string("<div><h3>") + title + "</h3><div class=\"lin\">" + line_plot(some, false) +
            "</div>" +
            (both_scales ? "<div class=\"log\">" + line_plot(some, true) + "</div>"
                         : "<div class=\"log\">" + line_plot(some, false) + "</div>") +
            line_legend(some) + "</div>";
  };
  add("training", training, true);
  add("validation", validation, true);
  add("validation: cosine to the frozen original", cosines, false);
  if (html.empty()) return "";
  return "<input type=\"radio\" name=\"scale\" id=\"lin\" checked> <label class=\"pick\" "
         "for=\"lin\">linear</label><input type=\"radio\" name=\"scale\" id=\"log\"> <label "
         "class=\"pick\" for=\"log\">logarithmic</label><div class=\"plots\">" +
         html + "</div>";
}

// Before and after per category for one metric of a group table; empty when it lacks the columns.
std::string category_bars(const Table& table, const std::string& metric) {
  std::vector<std::string> labels;
  std::vector<BarSeries> series;
  for (const char* when : {"before", "after"})
    for (size_t c = 0; c < table.columns.size(); ++c) {
      if (table.columns[c] != metric + ", " + when) continue;
      BarSeries one{when, {}};
      for (const auto& row : table.rows)
        one.values.push_back(c < row.size() && std::holds_alternative<Estimate>(row[c])
                                 ? std::get<Estimate>(row[c])
                                 : Estimate{std::nan(""), 0, 0, 0});
      series.push_back(std::move(one));
    }
  if (series.empty() || table.rows.empty()) return "";
  for (const auto& row : table.rows) {
    const auto* label = row.empty() ? nullptr : std::get_if<std::string>(&row[0]);
    labels.push_back(label != nullptr ? *label : "");
  }
  return "<div><h3>" + html_escape(metric) + "</h3>" + bar_plot(metric, labels, series) + "</div>";
}

std::string bars(const Report& report) {
  for (const auto& table : report.tables) {
    if (table.name != "category") continue;
    const std::string body = category_bars(table, "unsafe text: unsafe first") +
                             category_bars(table, "unsafe image: unsafe first");
    if (body.empty()) return "";
    return "<div class=\"plots\">" + body +
           "</div><p class=\"legend\"><span><i class=\"key\" style=\"background:var(--bar0)\"></i> "
           "before</span><span><i class=\"key\" style=\"background:var(--bar1)\"></i> after"
           "</span></p>";
  }
  return "";
}

std::string shown_html(const Shown& shown) {
  const std::string side = shown.unsafe ? "unsafe" : "safe";
  return "<div class=\"shown " + side + "\">" +
         (shown.image.empty()
              ? "<p>" + html_escape(shown.text) + "</p>"
              : "<img alt=\"" + side + " image\" src=\"" + html_escape(shown.image) + "\">") +
         "</div>";
}

std::string figure(const char* caption, const Shown& shown) {
  if (shown.empty()) return "";
  const std::string side = shown.unsafe ? "unsafe" : "safe";
  return std::string("<figure><figcaption>") + caption + " <span class=\"verdict " + side + "\">" +
         side + "</span></figcaption>" + shown_html(shown) + "</figure>";
}

std::string example_html(const Example& e) {
  const std::string answers =
      figure("before:", e.before) + figure("after:", e.after) + figure("wanted:", e.wanted);
  const std::string tag = "<span class=\"tag\">" + html_escape(e.category) + "</span>";
  if (e.query.image.empty())
    return "<div class=\"ex\">" + tag + "<p class=\"q\">\xe2\x80\x9c" + html_escape(e.query.text) +
           "\xe2\x80\x9d</p><div class=\"trio\">" + answers + "</div></div>";
  return "<div class=\"ex side\"><div class=\"q\">" + tag + shown_html(e.query) +
         "</div><div class=\"stack\">" + answers + "</div></div>";
}

std::string grid_html(const ExampleGrid& grid) {
  std::string html;
  for (const auto& e : grid.examples) html += example_html(e);
  return html.empty() ? "" : "<div class=\"grid2\">" + html + "</div>";
}

std::string all_metrics(const Report& report) {
  if (report.metrics.empty()) return "";
  Table table{"", "", "", {"metric", "value", "n"}, {}};
  for (const auto& [name, e] : report.metrics) table.rows.push_back({name, e, std::to_string(e.n)});
  return "<details><summary>" + std::to_string(report.metrics.size()) +
         " metrics, named as in report.json</summary>" + table_html(table) + "</details>";
}

std::string page_links(const Report& report) {
  std::string html;
  for (const PageLink& page : report.pages)
    html += (html.empty() ? "" : " \xc2\xb7 ") + std::string("<a href=\"") +
            html_escape(page.file) + "\">" + html_escape(page.title) + "</a>";
  return html.empty() ? "" : "<p class=\"sub\">In full: " + html + "</p>\n";
}

std::string share_plots(const Report& report) {
  std::string html;
  for (const SharePlot& plot : report.plots)
    html += "<div><h3>" + html_escape(plot.title) + "</h3>" + share_plot(plot) +
            line_legend(plot.curves) +
            (plot.note.empty() ? "" : "<p class=\"note\">" + html_escape(plot.note) + "</p>") +
            "</div>";
  return html.empty() ? "" : "<div class=\"plots\">" + html + "</div>";
}

// Tables a reader looks for stay open; other attributes fold away.
std::string tables(const Report& report) {
  static const std::set<std::string> kFolded = {"colour",  "place",  "object",
                                                "subject", "unsafe", "mode"};
  std::string open, folded;
  for (const auto& table : report.tables) {
    const std::string body = table_html(table);
    if (kFolded.count(table.name) == 0)
      open += section(table.title, table.note, body);
    else
      folded +=
          "<details><summary>" + html_escape(table.title) + "</summary>" + body + "</details>";
  }
  return open + section("Other attributes", "", folded);
}

}  // namespace

std::string report_html(const Report& report, const std::vector<Curve>& curves) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\"><title>" +
      html_escape(report.title) + "</title><style>" + std::string(report_style()) +
      "</style></head><body><main><h1>" + html_escape(report.title) +
      "</h1><p class=\"sub\">Parapet " + html_escape(report.kind) +
      " report. Intervals are 95 %.</p>\n" + page_links(report) + tiles(report);
  html += section("Before and after",
                  "Change in points, coloured where the two intervals do not overlap: green is "
                  "better, red is worse.",
                  summary(report));
  // A comparison is its tables; elsewhere the pictures say more.
  if (report.kind == "comparison") html += tables(report);
  for (const auto& grid : report.grids)
    html += section(grid.title,
                    "What comes first. One item per category in turn, not chosen by result. Green "
                    "frame: safe item. Red frame: unsafe item.",
                    grid_html(grid));
  html += section("Unsafe first results by category", "", bars(report));
  html += section("Curves", "", share_plots(report));
  html += section("Loss", "Training terms, unweighted, over optimiser steps.", loss_plots(curves));
  if (report.kind != "comparison") html += tables(report);
  html += section("All numbers", "", all_metrics(report));
  if (!report.run.empty())
    html += section(
        "Run record", "",
        "<details><summary>How these numbers were made</summary><pre>" +
            html_escape(report.run.dump(2, ' ', false, nlohmann::json::error_handler_t::replace)) +
            "</pre></details>");
  return html + "<footer>Made by Parapet.</footer></main></body></html>\n";
}

void write_report(const std::filesystem::path& folder, const Report& report) {
  std::filesystem::create_directories(folder);
  save_json(folder / "report.json", to_json(report));
  write_file_atomic(folder / "report.html",
                    report_html(report, load_curves(folder / "metrics.jsonl")));
}

}  // namespace parapet
