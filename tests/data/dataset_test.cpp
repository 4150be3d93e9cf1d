#include "parapet/data/dataset.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/data/records.h"
#include "parapet/formats/tar.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using nlohmann::json;

json quadruplet(const std::string& id, const std::string& split = "train",
                const std::string& category = "weapon") {
  return {{"id", id},
          {"safe_text", "a dog"},
          {"unsafe_text", "an armed dog"},
          {"safe_image", "s.png"},
          {"unsafe_image", "images/u.png"},
          {"category", category},
          {"split", split},
          {"attributes", {{"style", "noto"}}}};
}

void write_lines(const test::TempFolder& folder, std::string_view name,
                 const std::vector<std::string>& lines) {
  write_file_atomic(folder.path() / name, join(lines, "\n") + "\n");
}

// The message of the error that loading gives.
template <class Fn>
std::string error_of(Fn&& load) {
  try {
    load();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

TEST(Dataset, QuadrupletsRoundTrip) {
  const test::TempFolder folder;
  Quadruplet sample{"q1",          "a dog \"x\"", "ein Löwe", "images/a.png",
                    "w.tar#b.png", "weapon",      "test",     {{"style", "noto"}}};
  RecordFile file(folder / "quadruplets.jsonl");
  file.add(to_json(sample));
  EXPECT_FALSE(std::filesystem::exists(folder / "quadruplets.jsonl"));
  file.finish();
  const auto loaded = load_quadruplets(folder.path(), "");
  ASSERT_EQ(loaded.size(), 1u);
  EXPECT_EQ(loaded[0].safe_text, sample.safe_text);
  EXPECT_EQ(loaded[0].unsafe_text, sample.unsafe_text);
  EXPECT_EQ(loaded[0].safe_image, (folder / "images/a.png").string());
  EXPECT_EQ(loaded[0].unsafe_image, (folder / "w.tar#b.png").string());
  EXPECT_EQ(loaded[0].category, "weapon");
  EXPECT_EQ(loaded[0].attributes, sample.attributes);
}

TEST(Dataset, LabelsAndCaptionsRoundTrip) {
  const test::TempFolder folder;
  LabelSample text_only{"l1", "", "burn it", {{"fire", "explicit"}, {"drugs", "none"}}, "val", {}};
  RecordFile labels(folder / "labels.jsonl");
  labels.add(to_json(text_only));
  labels.finish();
  const auto loaded = load_labels(folder.path(), "val");
  ASSERT_EQ(loaded.size(), 1u);
  EXPECT_EQ(loaded[0].labels, text_only.labels);
  EXPECT_EQ(loaded[0].image, "");
  RecordFile captions(folder / "captions.jsonl");
  captions.add(to_json(CaptionSample{"c1", "a cat", "c.png", "train", {{"k", "v"}}}));
  captions.finish();
  EXPECT_EQ(load_captions(folder.path(), "train").at(0).attributes.at("k"), "v");
  EXPECT_TRUE(load_captions(folder.path(), "val").empty());
}

TEST(Dataset, BadLinesNameFileLineAndField) {
  const test::TempFolder folder;
  const auto message = [&](const std::string& second_line) {
    write_lines(folder, kQuadrupletFile, {quadruplet("a").dump(), second_line});
    return error_of([&] { load_quadruplets(folder.path(), "train"); });
  };
  const auto with = [](const char* field, const json& value) {
    json record = quadruplet("b");
    record[field] = value;
    return record.dump();
  };
  const auto without = [](const char* field) {
    json record = quadruplet("b");
    record.erase(field);
    return record.dump();
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{\"id\": ", "JSON"},
      {"[1]", "object"},
      {without("safe_text"), "safe_text"},
      {without("unsafe_image"), "unsafe_image"},
      {with("split", 3), "split"},
      {with("category", nullptr), "category"},
      {with("safe_text", ""), "safe_text"},
      {with("attributes", json::array()), "attributes"},
      {with("attributes", {{"style", 5}}), "attributes.style"},
      {with("id", "a"), "'a'"}};
  for (const auto& [line, field] : cases) {
    const std::string text = message(line);
    EXPECT_NE(text.find("quadruplets.jsonl:2"), std::string::npos) << line << " -> " << text;
    EXPECT_NE(text.find(field), std::string::npos) << line << " -> " << text;
  }
}

TEST(Dataset, LabelGradesAreChecked) {
  const test::TempFolder folder;
  const json good = {{"id", "a"}, {"text", "t"}, {"split", "x"}, {"labels", {{"fire", "loud"}}}};
  write_lines(folder, kLabelFile, {good.dump()});
  const auto text = error_of([&] { load_labels(folder.path(), ""); });
  EXPECT_NE(text.find("labels.fire"), std::string::npos) << text;
  write_lines(folder, kLabelFile, {R"({"id": "a", "split": "x", "labels": {}})"});
  EXPECT_NE(error_of([&] { load_labels(folder.path(), ""); }).find("neither"), std::string::npos);
}

TEST(Dataset, MissingAndEmptyFilesAreErrors) {
  const test::TempFolder folder;
  EXPECT_NE(error_of([&] { load_quadruplets(folder.path(), ""); }).find("does not exist"),
            std::string::npos);
  write_file_atomic(folder / "quadruplets.jsonl", "\n\n");
  EXPECT_NE(error_of([&] { load_quadruplets(folder.path(), ""); }).find("no records"),
            std::string::npos);
  const auto text = error_of([&] { require_samples(0, folder.path(), kQuadrupletFile, "test"); });
  EXPECT_NE(text.find("split 'test'"), std::string::npos) << text;
}

TEST(Dataset, MissingImagesAreCountedAndNamed) {
  const test::TempFolder folder;
  std::filesystem::create_directories(folder / "images");
  write_file_atomic(folder / "s.png", "x");
  write_file_atomic(folder / "images/u.png", "x");
  json gone = quadruplet("gone");
  gone["unsafe_image"] = "images/gone.png";
  json shard = quadruplet("shard");
  shard["safe_image"] = "w.tar#here.png";
  shard["unsafe_image"] = "w.tar#absent.png";
  TarWriter writer(folder / "w.tar");
  writer.add("here.png", "x");
  writer.finish();
  write_lines(folder, kQuadrupletFile, {quadruplet("a").dump(), gone.dump(), shard.dump()});
  LoadOptions options;
  EXPECT_EQ(load_quadruplets(folder.path(), "train", options).size(), 3u);  // not looked at
  options.check_images = true;
  const auto text = error_of([&] { load_quadruplets(folder.path(), "train", options); });
  EXPECT_NE(text.find("2 images of 2 samples"), std::string::npos) << text;
  EXPECT_NE(text.find("images/gone.png"), std::string::npos) << text;
  EXPECT_NE(text.find("w.tar#absent.png"), std::string::npos) << text;
  EXPECT_EQ(text.find("here.png,"), std::string::npos) << text;
  EXPECT_NE(text.find("--on-bad-sample skip"), std::string::npos) << text;
}

TEST(Dataset, SkippingQuarantinesWithReasons) {
  const test::TempFolder folder;
  write_file_atomic(folder / "s.png", "x");
  std::filesystem::create_directories(folder / "images");
  write_file_atomic(folder / "images/u.png", "x");
  json gone = quadruplet("gone");
  gone["safe_image"] = "gone.png";
  write_lines(folder, kQuadrupletFile,
              {quadruplet("a").dump(), "{broken", gone.dump(), quadruplet("b", "val").dump()});
  LoadOptions options;
  options.check_images = true;
  options.on_bad_sample = OnBadSample::kSkip;
  options.quarantine = folder / "out.jsonl";
  std::vector<std::string> warnings;
  options.context.log_sink = [&](LogLevel, std::string_view line) { warnings.emplace_back(line); };
  LoadReport report;
  const auto loaded = load_quadruplets(folder.path(), "", options, &report);
  EXPECT_EQ(loaded.size(), 2u);
  EXPECT_EQ(report.loaded, 2);
  EXPECT_EQ(report.skipped, 2);
  const auto rows = split(read_file(options.quarantine), '\n');
  ASSERT_GE(rows.size(), 2u);
  EXPECT_EQ(json::parse(rows[0])["line"], 2);
  EXPECT_EQ(json::parse(rows[1])["id"], "gone");
  EXPECT_NE(json::parse(rows[1])["reason"].get<std::string>().find("gone.png"), std::string::npos);
  ASSERT_FALSE(warnings.empty());
  EXPECT_NE(warnings[0].find("2 bad samples"), std::string::npos) << warnings[0];
}

TEST(Dataset, ACategoryWithOneSampleIsPointedOut) {
  const test::TempFolder folder;
  write_lines(
      folder, kQuadrupletFile,
      {quadruplet("a").dump(), quadruplet("b").dump(), quadruplet("c", "train", "fire").dump()});
  LoadOptions options;
  std::vector<std::string> warnings;
  options.context.log_sink = [&](LogLevel, std::string_view line) { warnings.emplace_back(line); };
  load_quadruplets(folder.path(), "train", options);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("'fire'"), std::string::npos) << warnings[0];
}

TEST(Dataset, TextOnlyQuadrupletsNeedConsent) {
  const test::TempFolder folder;
  json record = quadruplet("a");
  record.erase("safe_image");
  record.erase("unsafe_image");
  write_lines(folder, kQuadrupletFile, {record.dump()});
  EXPECT_THROW(load_quadruplets(folder.path(), ""), DataError);
  LoadOptions options;
  options.require_images = false;
  EXPECT_EQ(load_quadruplets(folder.path(), "", options).at(0).safe_image, "");
}

TEST(Dataset, AnUnfinishedRecordFileLeavesNothing) {
  const test::TempFolder folder;
  {
    RecordFile file(folder / "a.jsonl");
    for (int i = 0; i < 20000; ++i) file.add(quadruplet(std::to_string(i)));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace parapet
