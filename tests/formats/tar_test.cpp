#include "parapet/formats/tar.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "parapet/core/files.h"
#include "parapet/formats/image.h"
#include "support/data_error.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

std::vector<std::pair<std::string, std::string>> read_all(const fs::path& file) {
  TarReader reader(file);
  std::vector<std::pair<std::string, std::string>> out;
  for (TarMember member; reader.next(member);) out.emplace_back(member.name, member.bytes);
  return out;
}

TEST(Tar, RoundTripsEveryCompression) {
  const test::TempFolder folder;
  const std::string long_name = std::string(150, 'd') + "/" + std::string(120, 'f') + ".txt";
  const std::vector<std::pair<std::string, std::string>> members = {
      {"000001.png", std::string(5000, 'a')},
      {"000001.json", "{}"},
      {"dir/b.txt", ""},
      {"gr\xc3\xbc\xc3\x9f\x65-\xe7\x8c\xab.txt", "utf-8"},
      {long_name, "long"}};
  for (const std::string name : {"x.tar", "x.tar.gz", "x.tgz", "x.tar.zst"}) {
    for (const std::string copy : {"1-", "2-"}) {
      TarWriter writer(folder / (copy + name));
      for (const auto& [member, bytes] : members) writer.add(member, bytes);
      EXPECT_FALSE(fs::exists(folder / (copy + name)));
      writer.finish();
    }
    EXPECT_EQ(read_all(folder / ("1-" + name)), members) << name;
    EXPECT_EQ(read_file(folder / ("1-" + name)), read_file(folder / ("2-" + name))) << name;
  }
  EXPECT_EQ(read_location((folder / "1-x.tar").string() + "#" + long_name, 100), "long");
  EXPECT_EQ(
      read_location((folder / "1-x.tar").string() + "#gr\xc3\xbc\xc3\x9f\x65-\xe7\x8c\xab.txt", 9),
      "utf-8");
  EXPECT_EQ(read_location((folder / "1-x.tar").string() + "#dir/b.txt", 9), "");
  EXPECT_NE(data_error([&] {
              read_location((folder / "1-x.tar").string() + "#000001.png", 9);
            }).find("limit"),
            std::string::npos);
  EXPECT_NE(data_error([&] {
              read_location((folder / "1-x.tar.gz").string() + "#a", 9);
            }).find("compressed"),
            std::string::npos);
}

// Read back by Python in tests/conformance/test_formats.py.
TEST(Tar, WritesShardForPython) {
  const char* out = getenv("PARAPET_CONFORMANCE_OUT");
  if (out == nullptr) GTEST_SKIP() << "run by tests/conformance/test_formats.py";
  TarWriter writer(std::string(out) + ".tar");
  writer.add("000001.txt", "one");
  writer.add("000001.cls", "1");
  writer.add("gr\xc3\xbc\xc3\x9f\x65.txt", "two");
  writer.add(std::string(150, 'd') + "/000003.txt", "three");
  writer.finish();
}

TEST(Tar, UnfinishedWriterLeavesNothing) {
  const test::TempFolder folder;
  { TarWriter(folder / "x.tar").add("a", "b"); }
  EXPECT_TRUE(fs::is_empty(folder.path()));
  EXPECT_THROW(TarWriter(folder / "x.zip"), UsageError);
  EXPECT_THROW(TarWriter(folder / "no/x.tar"), DataError);
}

TEST(Tar, FullDiskIsAnErrorAndLeavesNothing) {
  const test::TempFolder folder;
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{65536, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string text = data_error([&] {
    TarWriter writer(folder / "x.tar");
    for (int i = 0; i < 10; ++i) writer.add(std::to_string(i), std::string(100'000, 'x'));
    writer.finish();
  });
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_NE(text.find("x.tar: write failed"), std::string::npos) << text;
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(Tar, NamesDamage) {
  const test::TempFolder folder;
  TarWriter writer(folder / "x.tar");
  for (int i = 0; i < 5; ++i) writer.add(std::to_string(i) + ".txt", std::string(3000, 'x'));
  writer.finish();
  const std::string whole = read_file(folder / "x.tar");
  write_file_atomic(folder / "cut.tar", whole.substr(0, 6000));
  const std::string text = data_error([&] { read_all(folder / "cut.tar"); });
  EXPECT_NE(text.find("cut.tar#1.txt"), std::string::npos) << text;
  EXPECT_NE(text.find("byte 3584"), std::string::npos) << text;
  write_file_atomic(folder / "text.tar", std::string(2000, 'q'));
  EXPECT_NE(data_error([&] { read_all(folder / "text.tar"); }).find("text.tar"), std::string::npos);
  EXPECT_NE(data_error([&] { read_all(folder / "none.tar"); }).find("none.tar"), std::string::npos);
  TarReader capped(folder / "x.tar", 100);
  TarMember member;
  EXPECT_NE(data_error([&] { capped.next(member); }).find("x.tar#0.txt"), std::string::npos);
}

TEST(Shard, GroupsByKey) {
  const test::TempFolder folder;
  const fs::path file = folder / "s.tar.gz";
  {
    TarWriter writer(file);
    writer.add("a/001.png", "1");
    writer.add("a/001.seg.PNG", "2");
    writer.add("b/001.png", "3");
    writer.add("README", "4");
    writer.finish();
  }
  ShardReader reader(file);
  std::vector<ShardSample> samples;
  for (ShardSample sample; reader.next(sample);) samples.push_back(sample);
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_EQ(samples[0].key, "a/001");
  EXPECT_EQ(samples[0].parts, (std::map<std::string, std::string>{{"png", "1"}, {"seg.png", "2"}}));
  EXPECT_EQ(samples[1].key, "b/001");
  EXPECT_EQ(samples[2].key, "README");
}

TEST(Shard, ScatteredSampleNamesBothMembers) {
  const test::TempFolder folder;
  const fs::path file = folder / "s.tar";
  {
    TarWriter writer(file);
    for (const char* name : {"1.png", "2.png", "1.json"}) writer.add(name, "x");
    writer.finish();
  }
  ShardReader reader(file);
  ShardSample sample;
  EXPECT_TRUE(reader.next(sample));
  EXPECT_TRUE(reader.next(sample));
  const std::string text = data_error([&] { reader.next(sample); });
  EXPECT_NE(text.find("1.json"), std::string::npos) << text;
  EXPECT_NE(text.find("1.png"), std::string::npos) << text;
}

TEST(ExpandBraces, Ranges) {
  EXPECT_EQ(expand_braces("x.tar"), std::vector<std::string>{"x.tar"});
  EXPECT_EQ(expand_braces("x-{008..010}.tar"),
            (std::vector<std::string>{"x-008.tar", "x-009.tar", "x-010.tar"}));
  EXPECT_EQ(expand_braces("{a,b}-{1..2}"), (std::vector<std::string>{"a-1", "a-2", "b-1", "b-2"}));
  EXPECT_THROW(expand_braces("{5..1}"), UsageError);
  EXPECT_THROW(expand_braces("{a..c}"), UsageError);
  EXPECT_THROW(expand_braces("{0..99999999999}"), UsageError);
}

// Megabytes that this process has held at most.
int64_t peak_megabytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

// Existence is the index's to tell: a member is not read for it.
TEST(Location, ExistsWithoutBeingRead) {
  const test::TempFolder folder;
  const auto shard = folder / "x.tar";
  TarWriter writer(shard);
  writer.add("big", "");
  writer.finish();
  // The member is made to hold 2 GiB, which take no disk.
  std::string header = read_file(shard).substr(0, 512);
  header.replace(124, 11, "20000000000");
  header.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char digits[8];
  std::snprintf(digits, sizeof digits, "%06o", sum);
  header.replace(148, 7, digits, 7);
  write_file_atomic(shard, header);
  fs::resize_file(shard, 512 + (uintmax_t{2} << 30) + 1024);
  const int64_t before = peak_megabytes();
  EXPECT_TRUE(location_exists(shard.string() + "#big"));
  EXPECT_FALSE(location_exists(shard.string() + "#small"));
  EXPECT_LT(peak_megabytes() - before, 512);
  EXPECT_TRUE(location_exists(shard.string()));
  EXPECT_FALSE(location_exists((folder / "none.tar").string() + "#big"));
  EXPECT_FALSE(location_exists((folder / "none.png").string()));
  write_file_atomic(folder / "bad.tar", "no tar");
  EXPECT_FALSE(location_exists((folder / "bad.tar").string() + "#a"));
}

}  // namespace
}  // namespace parapet
