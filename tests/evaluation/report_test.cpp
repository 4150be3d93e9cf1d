#include "parapet/evaluation/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <regex>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/evaluation/compare_runs.h"
#include "parapet/evaluation/report_html.h"
#include "parapet/formats/image.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

class ReportFiles : public ::testing::Test {
 protected:
  ReportFiles() : folder_(fs::temp_directory_path() / "parapet_report_test") {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~ReportFiles() override { fs::remove_all(folder_); }
  fs::path folder_;
};

Report sample() {
  Report report;
  report.kind = "retrieval";
  report.title = "A <b>bold</b> & \"quoted\" title";
  report.run = {{"command", "x </pre><script>alert(1)</script>"}};
  report.metrics = {{"before.Tu2VVu.unsafe_top1", {0.967, 0.955, 0.977, 1000}},
                    {"after.Tu2VVu.unsafe_top1", {0.016, 0.009, 0.024, 1000}},
                    {"before.T2V.R@1", {0.971, 0.96, 0.98, 1000}},
                    {"after.T2V.R@1", {0.978, 0.968, 0.987, 1000}},
                    {"after.preservation.text", {0.986, 0.985, 0.987, 1000}},
                    {"after.empty", {std::nan(""), std::nan(""), std::nan(""), 0}}};
  report.tables = {
      {"category",
       "By category",
       "",
       {"category", "n", "unsafe text: unsafe first, before", "unsafe text: unsafe first, after"},
       {{"fire <&>", "5", Estimate{0.9, 0.8, 1, 5}, Estimate{0.1, 0, 0.2, 5}}}}};
  const std::string pixel = "data:image/png;base64,AAAA";
  report.grids = {{"Grid",
                   {{"fire",
                     {"a dog & <i>fire</i>", "", true},
                     {"", pixel, true},
                     {"", pixel, false},
                     {"", pixel, false}}}}};
  return report;
}

// Tags balance, void elements aside; attributes and text hold no raw markup characters.
void expect_well_formed(const std::string& html) {
  const std::set<std::string> kVoid = {"meta", "input", "img", "rect", "line"};
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-zA-Z0-9]+)((?:[^>\"']|\"[^\"]*\"|'[^']*')*)>");
  for (std::sregex_iterator it(html.begin(), html.end(), tag), end; it != end; ++it) {
    const std::string name = (*it)[2];
    const std::string attributes = (*it)[3];
    if (kVoid.count(name) > 0 || (!attributes.empty() && attributes.back() == '/')) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else {
      ASSERT_FALSE(open.empty()) << "unopened " << name;
      ASSERT_EQ(open.back(), name);
      open.pop_back();
    }
  }
  EXPECT_TRUE(open.empty()) << open.back();
}

TEST_F(ReportFiles, PageIsWellFormedEscapedAndSelfContained) {
  std::ofstream(folder_ / "metrics.jsonl")
      << R"({"step": 1, "loss": 2.5, "terms": {"text_safe": 0.5}, "lr": 0.1})"
         "\n"
      << R"({"step": 2, "loss": 1.5, "terms": {"text_safe": 0.0}, "lr": 0.1})"
         "\n";
  write_report(folder_, sample());
  const std::string html = read_file(folder_ / "report.html");
  expect_well_formed(html);
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<b>bold"), std::string::npos);
  EXPECT_EQ(html.find("<i>fire"), std::string::npos);
  EXPECT_NE(html.find("&lt;b&gt;bold&lt;/b&gt; &amp; &quot;quoted&quot;"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);
  EXPECT_FALSE(std::regex_search(html, std::regex("(src|href)=\"(?!data:)")));
  EXPECT_EQ(html.find("@import"), std::string::npos);
  EXPECT_NE(html.find("name=\"viewport\""), std::string::npos);
  EXPECT_NE(html.find("96.7 %"), std::string::npos);
  EXPECT_NE(html.find("0.986"), std::string::npos);  // a cosine, not a share
  EXPECT_NE(html.find("<polyline"), std::string::npos);
  EXPECT_NE(html.find("text_safe"), std::string::npos);
  EXPECT_EQ(html.find(">lr<"), std::string::npos);
}

TEST_F(ReportFiles, JsonHoldsTheContractAndRoundTrips) {
  write_report(folder_, sample());
  const nlohmann::json root = load_json(folder_ / "report.json");
  EXPECT_EQ(root["kind"], "retrieval");
  const auto& metric = root["metrics"]["after.Tu2VVu.unsafe_top1"];
  EXPECT_DOUBLE_EQ(metric["value"].get<double>(), 0.016);
  EXPECT_DOUBLE_EQ(metric["low"].get<double>(), 0.009);
  EXPECT_DOUBLE_EQ(metric["high"].get<double>(), 0.024);
  EXPECT_EQ(metric["n"], 1000);
  EXPECT_TRUE(root["metrics"]["after.empty"]["value"].is_null());
  EXPECT_TRUE(root["tables"].is_object());
  EXPECT_EQ(to_json(load_report(folder_ / "report.json")), root);
}

TEST_F(ReportFiles, RefusesBadReports) {
  std::ofstream(folder_ / "report.json") << R"({"metrics": {}})";
  EXPECT_THROW(load_report(folder_ / "report.json"), DataError);
  std::ofstream(folder_ / "report.json") << R"({"kind": "x", "metrics": [], "tables": {}})";
  EXPECT_THROW(load_report(folder_ / "report.json"), DataError);
  nlohmann::json outside = to_json(sample());
  outside["examples"][0]["examples"][0]["before"]["image"] = "//elsewhere/picture.png";
  EXPECT_THROW(report_from_json(outside, "report.json"), DataError);
  EXPECT_THROW(load_report(folder_ / "none" / "report.json"), DataError);
}

TEST_F(ReportFiles, ComparisonHasOneRowPerRun) {
  write_report(folder_ / "a", sample());
  Report other = sample();
  other.metrics[1].second.value = 0.5;
  write_report(folder_ / "b", other);
  write_comparison_report(folder_ / "out",
                          {{"ordered", folder_ / "a"}, {"published", folder_ / "b"}});
  const Report report = load_report(folder_ / "out" / "report.json");
  EXPECT_EQ(report.find("published.after.Tu2VVu.unsafe_top1")->value, 0.5);
  ASSERT_FALSE(report.tables.empty());
  ASSERT_EQ(report.tables[0].rows.size(), 3u);
  EXPECT_EQ(std::get<std::string>(report.tables[0].rows[0][0]), "before");
  EXPECT_EQ(std::get<Estimate>(report.tables[0].rows[0][1]).value, 0.967);
  EXPECT_EQ(std::get<Estimate>(report.tables[0].rows[2][1]).value, 0.5);
  expect_well_formed(read_file(folder_ / "out" / "report.html"));
  EXPECT_THROW(compare_runs({{"x", folder_ / "missing"}}), DataError);
}

Report guard_sample() {
  Report report;
  report.kind = "guard";
  report.metrics = {{"image.auroc", {0.95, 0.94, 0.96, 1000}},
                    {"held_style.image.auroc", {0.85, 0.83, 0.87, 1000}}};
  report.plots = {{"roc",
                   "ROC <x>",
                   "note",
                   "false-alarm rate",
                   "recall",
                   true,
                   true,
                   {{"image & text", {{0.001, 0.2}, {1, 1}}}}}};
  return report;
}

TEST_F(ReportFiles, PlotsAreDrawnAndRoundTrip) {
  write_report(folder_, guard_sample());
  const std::string html = read_file(folder_ / "report.html");
  expect_well_formed(html);
  EXPECT_NE(html.find("ROC &lt;x&gt;"), std::string::npos);
  // The curve spans the axis: 0.001 is its left end, 1 its right one.
  std::smatch curve;
  ASSERT_TRUE(std::regex_search(
      html, curve, std::regex("points=\"([0-9.]+),[0-9.]+ ([0-9.]+),([0-9.]+) \"><title>image")));
  EXPECT_EQ(curve[1], "52.0");
  EXPECT_EQ(curve[2], "498.0");
  EXPECT_EQ(curve[3], "10.0");
  const nlohmann::json root = load_json(folder_ / "report.json");
  EXPECT_EQ(to_json(load_report(folder_ / "report.json")), root);
  nlohmann::json bad = root;
  bad["plots"][0]["curves"][0]["points"][0] = {1};
  EXPECT_THROW(report_from_json(bad, "report.json"), DataError);
  bad = root;
  bad["pages"] = {{{"title", "x"}, {"file", "//elsewhere/page.html"}}};
  EXPECT_THROW(report_from_json(bad, "report.json"), DataError);
}

TEST_F(ReportFiles, ComparisonPutsGuardsApartAndLinksThePages) {
  write_report(folder_ / "ordered", sample());
  write_report(folder_ / "guard", guard_sample());
  write_comparison_report(folder_,
                          {{"ordered", folder_ / "ordered"}, {"guard", folder_ / "guard"}});
  const Report report = load_report(folder_ / "report.json");
  ASSERT_EQ(report.tables.size(), 3u);
  EXPECT_EQ(report.tables[0].rows.size(), 2u);  // before, ordered: a guard is no hardened model
  const Table& guard = report.tables[2];
  EXPECT_EQ(guard.name, "guard");
  ASSERT_EQ(guard.rows.size(), 1u);
  EXPECT_EQ(std::get<Estimate>(guard.rows[0][1]).value, 0.95);
  EXPECT_EQ(std::get<Estimate>(guard.rows[0][2]).value, 0.85);
  ASSERT_EQ(report.plots.size(), 1u);
  ASSERT_EQ(report.pages.size(), 2u);
  EXPECT_EQ(report.pages[1].file, "guard/report.html");
  const std::string html = read_file(folder_ / "report.html");
  expect_well_formed(html);
  EXPECT_NE(html.find("<a href=\"guard/report.html\">guard</a>"), std::string::npos);
}

TEST_F(ReportFiles, LargePicturesBecomeThumbnails) {
  Image image{900, 450, std::vector<uint8_t>(900 * 450 * 3)};
  for (size_t i = 0; i < image.rgb.size(); ++i)
    image.rgb[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  const fs::path file = folder_ / "large.png";
  std::ofstream(file, std::ios::binary) << encode_png(image, 1);
  const std::string uri = image_data_uri(file.string(), 80);
  EXPECT_EQ(uri.rfind("data:image/jpeg;base64,", 0), 0u);
  EXPECT_LT(uri.size(), 20000u);
  EXPECT_THROW(image_data_uri((folder_ / "none.png").string()), DataError);
}

}  // namespace
}  // namespace parapet
