// The file that embeddings are kept in: several processes, ends in the middle, earlier formats.
#include "parapet/engine/cache/embedding_store.h"

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <thread>

#include "parapet/core/error.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using test::TempFolder;

std::string key(int64_t i) { return EmbeddingStore::key("text", "m", std::to_string(i)); }

void put(EmbeddingStore& store, int64_t first, int64_t count) {
  std::vector<std::vector<float>> values;
  for (int64_t i = first; i < first + count; ++i) values.push_back({float(i), float(i + 1)});
  std::vector<EmbeddingStore::Row> rows;
  for (int64_t i = 0; i < count; ++i)
    rows.emplace_back(key(first + i), values[static_cast<size_t>(i)]);
  store.put(rows);
}

// How many of `count` rows from `first` are there; each of them must be right.
int64_t found(EmbeddingStore& store, int64_t first, int64_t count) {
  std::vector<std::string> keys;
  for (int64_t i = first; i < first + count; ++i) keys.push_back(key(i));
  const auto rows = store.find_all(keys, 2);
  int64_t there = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto& row = rows[static_cast<size_t>(i)];
    if (row.empty()) continue;
    EXPECT_EQ(row, (std::vector<float>{float(first + i), float(first + i + 1)}));
    ++there;
  }
  return there;
}

void execute(const std::filesystem::path& file, const char* statements) {
  sqlite3* database = nullptr;
  ASSERT_EQ(sqlite3_open(file.c_str(), &database), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(database, statements, nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(database);
}

// Processes that all find a new file, and write and read it at once.
TEST(EmbeddingStore, SeveralProcessesShareAFile) {
  const TempFolder folder;
  constexpr int64_t kProcesses = 4, kRows = 400;
  std::vector<pid_t> children;
  for (int64_t process = 0; process < kProcesses; ++process) {
    const pid_t child = fork();
    if (child == 0) {
      try {
        EmbeddingStore store(folder / "e.sqlite", 1'000'000, {});
        for (int64_t i = 0; i < kRows; i += 20) put(store, process * kRows / 2 + i, 20);
        _exit(0);
      } catch (...) {
        _exit(1);
      }
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  EmbeddingStore store(folder / "e.sqlite", 1'000'000, {});
  EXPECT_EQ(found(store, 0, (kProcesses + 1) * kRows / 2), (kProcesses + 1) * kRows / 2);
}

// The moment of making the file is short: the processes wait for each other before it, many times.
TEST(EmbeddingStore, SeveralProcessesMakeAFileAtOnce) {
  const TempFolder folder;
  constexpr int kProcesses = 4, kRounds = 20;
  int failures = 0;
  for (int round = 0; round < kRounds; ++round) {
    int start[2], said[2];
    ASSERT_EQ(pipe(start), 0);
    ASSERT_EQ(pipe(said), 0);
    std::vector<pid_t> children;
    for (int process = 0; process < kProcesses; ++process) {
      const pid_t child = fork();
      if (child == 0) {
        close(start[1]);
        char byte = 0;
        (void)!read(start[0], &byte, 1);  // returns when the parent closes its end
        try {
          EmbeddingStore store(folder / ("e" + std::to_string(round) + ".sqlite"), 1000, {});
          put(store, process, 1);
          _exit(0);
        } catch (const std::exception& error) {
          (void)!write(said[1], error.what(), std::strlen(error.what()));
          _exit(1);
        }
      }
      children.push_back(child);
    }
    close(start[0]);
    close(start[1]);
    close(said[1]);
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      failures += !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    char text[500] = {};
    (void)!read(said[0], text, sizeof(text) - 1);
    close(said[0]);
    EXPECT_STREQ(text, "") << "round " << round;
  }
  EXPECT_EQ(failures, 0);
}

// A process that is killed at any moment leaves whole calls of put() and a file that opens.
TEST(EmbeddingStore, AKilledProcessLeavesWholeCalls) {
  const TempFolder folder;
  int pipe_ends[2];
  ASSERT_EQ(pipe(pipe_ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    EmbeddingStore store(folder / "e.sqlite", 1'000'000, {});
    for (int64_t call = 0;; ++call) {
      put(store, call * 50, 50);
      if (call == 3 && write(pipe_ends[1], "x", 1) != 1) _exit(1);
    }
  }
  char byte = 0;
  ASSERT_EQ(read(pipe_ends[0], &byte, 1), 1);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
  EmbeddingStore store(folder / "e.sqlite", 1'000'000, {});
  EXPECT_EQ(found(store, 0, 200), 200);
  for (int64_t call = 4;; ++call) {
    const int64_t there = found(store, call * 50, 50);
    EXPECT_TRUE(there == 0 || there == 50) << there << " of call " << call;
    if (there == 0) break;
  }
  put(store, 1'000'000, 50);
  EXPECT_EQ(found(store, 1'000'000, 50), 50);
}

TEST(EmbeddingStore, RowsOfAnEarlierFormatAreDroppedWithAWord) {
  const TempFolder folder;
  const auto file = folder / "e.sqlite";
  {
    EmbeddingStore store(file, 100, {});
    put(store, 0, 10);
  }
  execute(file, "PRAGMA user_version=0");
  std::string said;
  Context context;
  context.log_sink = [&](LogLevel, std::string_view message) { said += message; };
  {
    EmbeddingStore store(file, 100, context);
    EXPECT_EQ(found(store, 0, 10), 0);
    put(store, 0, 10);
  }
  EXPECT_NE(said.find("earlier version"), std::string::npos) << said;
  EmbeddingStore again(file, 100, {});
  EXPECT_EQ(found(again, 0, 10), 10);
}

TEST(EmbeddingStore, RefusesLaterFormatsAndOtherPrograms) {
  const TempFolder folder;
  { EmbeddingStore store(folder / "late.sqlite", 100, {}); }
  execute(folder / "late.sqlite", "PRAGMA user_version=99");
  EXPECT_THROW(EmbeddingStore(folder / "late.sqlite", 100, {}), DataError);
  execute(folder / "other.sqlite", "CREATE TABLE embedding (a, b)");
  EXPECT_THROW(EmbeddingStore(folder / "other.sqlite", 100, {}), DataError);
}

}  // namespace
}  // namespace parapet
