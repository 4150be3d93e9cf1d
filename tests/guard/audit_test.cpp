#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "guard/guard_fixture.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/guard/audit_log.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

Decision decision_of(const std::string& id) {
  Decision decision;
  decision.id = id;
  decision.action = Action::kFlag;
  PartResult part;
  part.sha256 = sha256_hex(id);
  decision.parts = {part};
  return decision;
}

TEST(AuditLog, KeepsDecisionsAndNoContent) {
  const parapet::test::TempFolder folder;
  const std::string secret = "the secret sentence";
  {
    AuditLog log(folder / "a.sqlite", {});
    Decision decision = decision_of("one");
    decision.modified.push_back({0, "mask", secret, "text/plain", "", {}});
    log.append({.parts = {Part::text(secret)}, .metadata = {{"user", secret}}}, decision);
    log.append({}, decision_of("two"));
    EXPECT_EQ(log.size(), 2);
    const auto rows = log.recent(10);
    EXPECT_EQ(rows[0].id, "two");
    EXPECT_EQ(rows[1].action, "flag");
    EXPECT_EQ(rows[1].content_hash.size(), 64u);
    EXPECT_EQ(nlohmann::json::parse(rows[1].decision)["id"], "one");
  }
  for (const auto& file : std::filesystem::directory_iterator(folder.path()))
    EXPECT_EQ(read_file(file.path()).find(secret), std::string::npos) << file.path();
  EXPECT_EQ(AuditLog(folder / "a.sqlite", {}).size(), 2);
}

TEST(AuditLog, ContentAndMetadataOnRequest) {
  const parapet::test::TempFolder folder;
  const std::string secret = "the secret sentence";
  {
    AuditLog log(folder / "a.sqlite", {.content = true, .metadata = true});
    log.append({.parts = {Part::text(secret)}, .metadata = {{"user", "u17"}}}, decision_of("one"));
  }
  const std::string bytes = read_file(folder / "a.sqlite");
  EXPECT_NE(bytes.find(secret), std::string::npos);
  EXPECT_NE(bytes.find("u17"), std::string::npos);
}

TEST(AuditLog, OldRowsGo) {
  const parapet::test::TempFolder folder;
  AuditLog log(folder / "a.sqlite", {.max_rows = 5});
  for (int i = 0; i < 12; ++i) log.append({}, decision_of(std::to_string(i)));
  EXPECT_EQ(log.size(), 5);
  EXPECT_EQ(log.recent(1)[0].id, "11");
}

TEST(AuditLog, RefusesWhatIsNotALog) {
  const parapet::test::TempFolder folder;
  std::ofstream(folder / "junk") << std::string(5000, 'x');
  EXPECT_THROW(AuditLog(folder / "junk", {}), DataError);
  EXPECT_THROW(AuditLog(folder / "junk" / "such.sqlite", {}), DataError);
}

// Rows that append() returned for outlive a killed process.
TEST(AuditLog, SurvivesKill) {
  const parapet::test::TempFolder folder;
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    AuditLog log(folder / "a.sqlite", {});
    for (int i = 0; i < 20; ++i) log.append({}, decision_of(std::to_string(i)));
    if (::write(fds[1], "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(fds[0], &byte, 1), 1);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const AuditLog log(folder / "a.sqlite", {});
  EXPECT_EQ(log.size(), 20);
  EXPECT_EQ(log.recent(1)[0].id, "19");
}

// A file size limit stands in for a full disk: the policy says whether the guard serves on.
TEST(AuditLog, AFullDiskServesOnOrFailsClosed) {
  for (const char* fail : {"open", "closed"}) {
    const parapet::test::TempFolder folder;
    std::filesystem::copy(std::filesystem::path(PARAPET_SOURCE_DIR) / "policies/taxonomy.toml",
                          folder / "taxonomy.toml");
    const Policy policy = Policy::parse(
        "[category.weapon]\n[audit]\nfile='a.sqlite'\nfail='" + std::string(fail) + "'\n", "p.toml",
        folder.path());
    const auto signal = std::make_shared<test::FakeSignal>();
    const Guard guard(policy, {.signals = {signal}}, Context{});
    const GuardRequest request{.parts = {Part::text("hello")}};
    EXPECT_TRUE(guard.check(request).clean());
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit none{1, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
    const Decision decision = guard.check(request);
    ::setrlimit(RLIMIT_FSIZE, &before);
    std::signal(SIGXFSZ, handler);
    EXPECT_EQ(decision.action, fail == std::string("open") ? Action::kAllow : Action::kBlock);
    ASSERT_EQ(decision.not_scanned.size(), 1u);
    EXPECT_EQ(decision.not_scanned[0].reason, "audit_failed");
    EXPECT_EQ(guard.audit_failures(), 1);
    EXPECT_EQ(guard.check(request).action, Action::kAllow);  // space is back
    EXPECT_EQ(AuditLog(folder / "a.sqlite", {}).size(), 2);
  }
}

}  // namespace
}  // namespace parapet::guard
