#include "parapet/data/importers.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/data/csv.h"
#include "parapet/data/dataset.h"
#include "parapet/formats/image.h"
#include "parapet/formats/tar.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

std::string png() {
  Image image{2, 2, std::vector<uint8_t>(12, 99)};
  return encode_png(image, 1);
}

ImportOptions options_for(const std::string& from, const std::filesystem::path& input) {
  ImportOptions options;
  options.from = from;
  options.inputs = {input.string()};
  return options;
}

template <class Fn>
std::string error_of(Fn&& fn) {
  try {
    fn();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

constexpr std::string_view kVisu = R"([
  {"incremental_id": 7, "safe": "a calm lake", "nsfw": "a burning lake", "coco_id": 42, "tag": "fire"},
  {"incremental_id": "8", "safe": "a cup, \"hot\"", "nsfw": "a rude cup", "coco_id": "43", "tag": "gesture"}])";

TEST(ImportVisu, TextsOnly) {
  const test::TempFolder folder;
  write_file_atomic(folder / "v.json", kVisu);
  auto options = options_for("visu", folder / "v.json");
  options.split = "test";
  EXPECT_EQ(import_data(options, folder / "out").quadruplets, 2);
  LoadOptions load;
  load.require_images = false;
  const auto samples = load_quadruplets(folder / "out", "test", load);
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_EQ(samples[0].id, "visu-test-7");
  EXPECT_EQ(samples[0].unsafe_text, "a burning lake");
  EXPECT_EQ(samples[0].category, "fire");
  EXPECT_EQ(samples[1].attributes.at("coco_id"), "43");
}

TEST(ImportVisu, ImagesByPattern) {
  const test::TempFolder folder;
  std::filesystem::create_directories(folder / "img");
  for (const char* name : {"COCO_000000000042.jpg", "COCO_000000000043.jpg", "n7.png", "n8.png"})
    write_file_atomic(folder / "img" / name, "x");
  write_file_atomic(folder / "v.json", kVisu);
  auto options = options_for("visu", folder / "v.json");
  options.images = (folder / "img").string();
  options.safe_pattern = "COCO_{coco_id:012}.jpg";
  options.unsafe_pattern = "n{id}.png";
  import_data(options, folder / "out");
  LoadOptions load;
  load.check_images = true;
  const auto samples = load_quadruplets(folder / "out", "train", load);
  ASSERT_EQ(samples.size(), 2u);
  EXPECT_NE(samples[1].safe_image.find("COCO_000000000043.jpg"), std::string::npos);
  // A missing file stops by default and is quarantined on request.
  std::filesystem::remove(folder / "img/n7.png");
  const auto text = error_of([&] { import_data(options, folder / "out2"); });
  EXPECT_NE(text.find("n7.png"), std::string::npos) << text;
  EXPECT_NE(text.find("record 0"), std::string::npos) << text;
  EXPECT_FALSE(std::filesystem::exists(folder / "out2/quadruplets.jsonl"));
  options.on_bad_sample = "skip";
  const auto report = import_data(options, folder / "out3");
  EXPECT_EQ(report.quadruplets, 1);
  EXPECT_EQ(report.skipped, 1);
  EXPECT_TRUE(std::filesystem::exists(folder / "out3/quarantine.jsonl"));
  options.safe_pattern = "{coco_id:x}.jpg";
  EXPECT_THROW(import_data(options, folder / "out4"), UsageError);
}

TEST(ImportVisu, KeyedObjectWithNamedImages) {
  const test::TempFolder folder;
  write_file_atomic(folder / "1.png", "x");
  write_file_atomic(folder / "u.png", "x");
  write_file_atomic(folder / "v.json", R"({"data": {"5": {"coco_id": 1, "safe": "a", "nsfw": "b",
    "tag": "t", "nsfw_im_path": "u.png"}}})");
  auto options = options_for("visu", folder / "v.json");
  options.safe_pattern = "{coco_id}.png";
  options.unsafe_pattern = "none.png";
  import_data(options, folder / "out");
  const auto sample = load_quadruplets(folder / "out", "train").at(0);
  EXPECT_EQ(sample.id, "visu-train-5");
  EXPECT_EQ(std::filesystem::path(sample.unsafe_image).filename(), "u.png");
}

TEST(ImportVisu, BadRecordsNameFileAndField) {
  const test::TempFolder folder;
  const auto message = [&](const std::string& content) {
    write_file_atomic(folder / "v.json", content);
    return error_of([&] { import_data(options_for("visu", folder / "v.json"), folder / "out"); });
  };
  EXPECT_NE(message(R"([{"incremental_id": 1, "safe": "a", "tag": "t"}])").find("nsfw"),
            std::string::npos);
  EXPECT_NE(message(R"([{"incremental_id": 1, "safe": 5, "nsfw": "b", "tag": "t"}])").find("safe"),
            std::string::npos);
  EXPECT_NE(message("[3]").find("record 0"), std::string::npos);
  EXPECT_NE(message("\"text\"").find("list"), std::string::npos);
  EXPECT_NE(message("[]").find("no usable records"), std::string::npos);
  EXPECT_NE(message("[{").find("v.json"), std::string::npos);
}

TEST(ImportWebdataset, RefersToTheShards) {
  const test::TempFolder folder;
  for (const char* name : {"s-0.tar", "s-1.tar"}) {
    TarWriter writer(folder / name);
    writer.add("00/000.png", png());
    writer.add("00/000.txt", "a red cube \n");
    writer.add("00/001.PNG", png());
    writer.add("00/001.json", R"({"caption": "a blue cube", "url": "u"})");
    writer.finish();
  }
  auto options = options_for("webdataset", folder / "s-{0..1}.tar");
  EXPECT_EQ(import_data(options, folder / "out").captions, 4);
  const auto samples = load_captions(folder / "out", "train");
  EXPECT_EQ(samples[0].text, "a red cube");
  EXPECT_EQ(samples[1].attributes.at("url"), "u");
  for (const auto& sample : samples) EXPECT_EQ(load_image(sample.image).width, 2);
}

TEST(ImportWebdataset, CompressedShardsAreCopied) {
  const test::TempFolder folder;
  TarWriter writer(folder / "s.tar.gz");
  writer.add("a.png", png());
  writer.add("a.txt", "text");
  writer.finish();
  import_data(options_for("webdataset", folder / "s.tar.gz"), folder / "out");
  std::filesystem::remove(folder / "s.tar.gz");
  EXPECT_EQ(load_image(load_captions(folder / "out", "train").at(0).image).height, 2);
}

TEST(ImportWebdataset, BadSamplesNameShardAndKey) {
  const test::TempFolder folder;
  TarWriter writer(folder / "s.tar");
  writer.add("a.png", png());
  writer.add("b.png", "not an image");
  writer.add("b.txt", "text");
  writer.add("c.txt", "no image");
  writer.add("d.png", png());
  writer.add("d.txt", "good");
  writer.finish();
  auto options = options_for("webdataset", folder / "s.tar");
  const auto text = error_of([&] { import_data(options, folder / "out"); });
  EXPECT_NE(text.find("s.tar#a"), std::string::npos) << text;
  EXPECT_NE(text.find("no caption"), std::string::npos) << text;
  options.on_bad_sample = "skip";
  const auto report = import_data(options, folder / "out");
  EXPECT_EQ(report.captions, 1);
  EXPECT_EQ(report.skipped, 3);
}

// As spreadsheets save it: a wrong letter is never imported without a word.
TEST(ImportCsv, EncodingsAreReadOrRefused) {
  const test::TempFolder folder;
  write_file_atomic(folder / "c.png", png());
  write_file_atomic(folder / "t.csv", "image,text\nc.png,une fen\xEAtre\n");
  const auto options = options_for("csv", folder / "t.csv");
  const auto text = error_of([&] { import_data(options, folder / "out"); });
  EXPECT_NE(text.find("t.csv:2: is not UTF-8"), std::string::npos) << text;
  std::string utf16 = "\xFF\xFE";
  for (const char16_t c : std::u16string(u"image,text\r\nc.png,une fenêtre\r\n")) {
    utf16.push_back(static_cast<char>(c & 0xFF));
    utf16.push_back(static_cast<char>(c >> 8));
  }
  write_file_atomic(folder / "t.csv", utf16);
  EXPECT_EQ(import_data(options, folder / "out").captions, 1);
  EXPECT_EQ(load_captions(folder / "out", "train")[0].text, "une fenêtre");
}

TEST(ImportCsv, CaptionsWithQuotingAndRenamedColumns) {
  const test::TempFolder folder;
  write_file_atomic(folder / "a b.png", png());
  write_file_atomic(folder / "t.csv",
                    "\xef\xbb\xbf"
                    "filepath,title,licence\r\n"
                    "a b.png,\"a \"\"big\"\", red\ncube\",CC0\r\n"
                    "\"a b.png\",plain,\r\n");
  auto options = options_for("csv", folder / "t.csv");
  EXPECT_EQ(import_data(options, folder / "out").captions, 2);
  const auto samples = load_captions(folder / "out", "train");
  EXPECT_EQ(samples[0].text, "a \"big\", red\ncube");
  EXPECT_EQ(samples[0].attributes.at("licence"), "CC0");
  EXPECT_EQ(samples[1].id, "t-4");  // the line it begins at
  EXPECT_EQ(load_image(samples[1].image).width, 2);
  options.columns = "text=licence";
  const auto text = error_of([&] { import_data(options, folder / "out2"); });
  EXPECT_NE(text.find("t.csv:4"), std::string::npos) << text;
  options.columns = "text=nothing";
  EXPECT_NE(error_of([&] { import_data(options, folder / "out2"); }).find("'nothing'"),
            std::string::npos);
}

TEST(ImportCsv, QuadrupletsByHeader) {
  const test::TempFolder folder;
  write_file_atomic(folder / "s.png", "x");
  write_file_atomic(folder / "t.csv",
                    "id,safe_text,unsafe_text,safe_image,unsafe_image,category,split,style\n"
                    "1,a dog,an armed dog,s.png,s.png,weapon,val,noto\n");
  EXPECT_EQ(import_data(options_for("csv", folder / "t.csv"), folder / "out").quadruplets, 1);
  const auto sample = load_quadruplets(folder / "out", "val").at(0);
  EXPECT_EQ(sample.id, "1");
  EXPECT_EQ(sample.attributes.at("style"), "noto");
}

TEST(ImportCsv, BadFilesNameTheLine) {
  const test::TempFolder folder;
  write_file_atomic(folder / "a.png", "x");
  const auto message = [&](const std::string& content) {
    write_file_atomic(folder / "t.csv", content);
    return error_of([&] { import_data(options_for("csv", folder / "t.csv"), folder / "out"); });
  };
  EXPECT_NE(message("image,text\na.png,one,two\n").find("t.csv:2"), std::string::npos);
  EXPECT_NE(message("image,text\na.png,\"one\n\n").find("t.csv:2"), std::string::npos);
  EXPECT_NE(message("image,text\na.png,\"one\"x\n").find("closing quote"), std::string::npos);
  EXPECT_NE(message("picture,text\na.png,one\n").find("--columns"), std::string::npos);
  EXPECT_NE(message("").find("empty"), std::string::npos);
}

TEST(Import, RefusesAFolderInUseAndBadOptions) {
  const test::TempFolder folder;
  write_file_atomic(folder / "v.json", kVisu);
  import_data(options_for("visu", folder / "v.json"), folder / "out");
  EXPECT_THROW(import_data(options_for("visu", folder / "v.json"), folder / "out"), UsageError);
  EXPECT_THROW(import_data(options_for("coco", folder / "v.json"), folder / "out2"), UsageError);
  EXPECT_THROW(import_data(options_for("visu", folder / "none.json"), folder / "out2"), DataError);
}

}  // namespace
}  // namespace parapet
