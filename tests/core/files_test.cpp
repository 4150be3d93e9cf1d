#include "parapet/core/files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <fstream>

#include "parapet/core/error.h"
#include "parapet/core/file_draft.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

int files_in(const fs::path& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder)) ++count;
  return count;
}

template <class F>
std::string data_message(F&& call) {
  try {
    call();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no DataError";
}

TEST(Files, WriteThenReadBack) {
  const test::TempFolder folder;
  const std::string bytes("a\0b\n\xFF", 5);
  write_file_atomic(folder / "x", bytes);
  EXPECT_EQ(read_file(folder / "x"), bytes);
  write_file_atomic(folder / "x", "");
  EXPECT_EQ(read_file(folder / "x"), "");
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(Files, FailedWriteLeavesOldFileAndNoRest) {
  const test::TempFolder folder;
  write_file_atomic(folder / "x", "old");
  EXPECT_THROW(write_file_atomic(folder / "x",
                                 [](const ByteSink& sink) {
                                   sink("half of the new");
                                   throw std::runtime_error("interrupted");
                                 }),
               std::runtime_error);
  EXPECT_EQ(read_file(folder / "x"), "old");
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(Files, FailingDiskNamesTheFileAndKeepsTheOld) {
  const test::TempFolder folder;
  write_file_atomic(folder / "x", "old");
  // A file size limit makes write() fail half way, as a full disk does.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message =
      data_message([&] { write_file_atomic(folder / "x", std::string(100'000, 'n')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_THAT(message, HasSubstr("/x: write failed: File too large"));
  EXPECT_EQ(read_file(folder / "x"), "old");
  EXPECT_EQ(files_in(folder.path()), 1);
  EXPECT_THAT(data_message([&] { write_file_atomic(folder / "none/x", "y"); }),
              HasSubstr("none/x: cannot create: No such file"));
}

TEST(FileDraft, IsPutInPlaceWholeOrNotAtAll) {
  const test::TempFolder folder;
  write_file_atomic(folder / "x", "old");
  {
    FileDraft dropped(folder / "x");
    dropped.append("new");
  }
  EXPECT_EQ(read_file(folder / "x"), "old");
  EXPECT_EQ(files_in(folder.path()), 1);
  FileDraft draft(folder / "x");
  {
    std::fstream stream(draft.path(), std::ios::in | std::ios::out | std::ios::binary);
    stream << "new....";
    stream.seekp(3);  // a writer of its own may go back
    stream << "er";
  }
  EXPECT_EQ(read_file(folder / "x"), "old");
  draft.commit();
  EXPECT_EQ(read_file(folder / "x"), "newer..");
  EXPECT_EQ(files_in(folder.path()), 1);
  EXPECT_THROW(FileDraft(folder / "none/x"), DataError);
}

TEST(Files, ReadCapIsCheckedBeforeReading) {
  const test::TempFolder folder;
  const auto file = folder / "sparse";
  std::ofstream(file).put('x');
  fs::resize_file(file, uintmax_t{1} << 40);  // takes no disk; reading it would take a terabyte
  EXPECT_THAT(data_message([&] { read_file(file); }), HasSubstr("the limit is 1.1 GB"));
  EXPECT_THAT(data_message([&] { read_file(file, 1000); }), HasSubstr("the limit is 1.0 KB"));
}

TEST(Files, MissingFolderAndPipeAreDataErrors) {
  const test::TempFolder folder;
  EXPECT_THAT(data_message([&] { read_file(folder / "none"); }), HasSubstr("No such file"));
  EXPECT_THAT(data_message([&] { read_file(folder.path()); }), HasSubstr("not a regular file"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  // Must not wait for a writer.
  EXPECT_THAT(data_message([&] { read_file(folder / "pipe"); }), HasSubstr("not a regular file"));
}

TEST(Files, ReaderReadsAnyPartAndStopsAtTheEnd) {
  const test::TempFolder folder;
  write_file_atomic(folder / "a", "0123456789");
  const FileReader reader(folder / "a");
  EXPECT_EQ(reader.size(), 10);
  char out[8] = {};
  EXPECT_EQ(reader.read_at(3, out, 4), 4u);
  EXPECT_EQ(std::string(out, 4), "3456");
  EXPECT_EQ(reader.read_at(8, out, 8), 2u);
  EXPECT_EQ(std::string(out, 2), "89");
  EXPECT_EQ(reader.read_at(10, out, 8), 0u);
  EXPECT_THROW(FileReader(folder.path()), DataError);
  EXPECT_THROW(FileReader(folder / "missing"), DataError);
}

TEST(Files, MapIsPrivate) {
  const test::TempFolder folder;
  write_file_atomic(folder / "x", "abc");
  {
    const auto map = MappedFile::open(folder / "x");
    ASSERT_EQ(map->bytes().size(), 3u);
    map->bytes()[0] = std::byte{'z'};
  }
  EXPECT_EQ(read_file(folder / "x"), "abc");
  write_file_atomic(folder / "empty", "");
  EXPECT_EQ(MappedFile::open(folder / "empty")->bytes().size(), 0u);
  EXPECT_THROW(MappedFile::open(folder / "none"), DataError);
}

TEST(Files, Sha256KnownVectors) {
  // FIPS 180-4 examples.
  EXPECT_EQ(sha256_hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  EXPECT_EQ(Sha256().update("a").update("").update("bc").hex(), sha256_hex("abc"));
}

TEST(Files, Sha256OfAFileLongerThanOneBlock) {
  const test::TempFolder folder;
  const std::string bytes(3'000'001, 'q');
  write_file_atomic(folder / "x", bytes);
  EXPECT_EQ(sha256_file(folder / "x"), sha256_hex(bytes));
}

}  // namespace
}  // namespace parapet
