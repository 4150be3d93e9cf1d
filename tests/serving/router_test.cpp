// The router over real sockets with a signal that can be held: what stays responsive then, and how
// lists are worked on.
#include "parapet/serving/router.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "serving/raw_client.h"
#include "support/temp_folder.h"

namespace parapet::serving {
namespace {

// Scores texts with "harm" 1; holds those with "hold" until released.
class HeldSignal final : public guard::Signal {
 public:
  std::string name() const override { return "held"; }
  std::string version() const override { return "1"; }
  bool scans(guard::Modality modality) const override { return modality == guard::Modality::kText; }
  std::vector<std::string> categories() const override {
    if (broken) throw UsageError("the device is gone");
    return {"weapon"};
  }
  std::atomic<bool> broken{false};
  void score(const guard::SignalInput& input, guard::SignalOutput& output) override {
    for (const auto& part : input.parts) {
      if (part.text.find("hold") != std::string::npos) hold();
      if (part.text.find("past the deadline") != std::string::npos)
        std::this_thread::sleep_until(input.deadline.value());
      output.scanned.push_back(part.part);
      guard::Score score;
      score.category = "weapon";
      score.part = part.part;
      score.value = part.text.find("harm") != std::string::npos ? 1 : 0;
      score.signal = "held";
      output.scores.push_back(score);
    }
  }
  void release() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  // False when fewer were ever held at once.
  bool wait_for_held(int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return held_ >= count; });
  }

 private:
  void hold() {
    std::unique_lock lock(mutex_);
    ++held_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  int held_ = 0;
  bool open_ = false;
};

class RouterTest : public testing::Test {
 protected:
  // `taxonomy`: the product's, or other.toml, which maps to nothing of OpenAI's.
  void write_policy(const std::string& rest, const std::string& taxonomy = "taxonomy.toml") {
    const auto known = std::filesystem::path(PARAPET_SOURCE_DIR) / "policies/taxonomy.toml";
    std::string text = read_file(known);
    write_file_atomic(folder_ / "taxonomy.toml", text);
    text = std::regex_replace(text, std::regex("openai *= *\\[[^\\]]*\\]"), "openai = []");
    write_file_atomic(folder_ / "other.toml", text);
    std::ofstream(folder_ / "policy.toml") << "taxonomy='" << (folder_ / taxonomy).string() << "'\n"
                                           << "[category.weapon]\nflag=0.5\nblock=0.9\n"
                                           << rest;
  }
  void start(int64_t workers, int64_t queue, double deadline_ms = 0, const std::string& rest = "") {
    write_policy(rest);
    ServiceOptions options;
    if (!rest.empty()) {
      options.api_keys = (folder_ / "keys").string();
      write_file_atomic(folder_ / "keys", "other " + sha256_hex("other") + "\n");
    }
    options.policy = (folder_ / "policy.toml").string();
    options.workers = workers;
    options.queue = queue;
    options.deadline_ms = deadline_ms;
    service_ = std::make_unique<GuardService>(options, guard::GuardOptions{.signals = {signal_}},
                                              Context{});
    service_->load();
    router_ = std::make_unique<Router>(*service_);
    HttpOptions http;
    http.listen = "127.0.0.1:0";
    server_ = std::make_unique<HttpServer>(http, *router_, Context{});
    server_->start();
  }
  void TearDown() override {
    signal_->release();
    if (router_) router_->stop();
  }
  static std::string request(const std::string& path, const std::string& text) {
    return "POST " + path +
           " HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(text.size()) + "\r\n\r\n" + text;
  }
  std::string get(const std::string& path, const std::string& key = "") const {
    RawClient client(server_->port());
    client.send("GET " + path + " HTTP/1.1\r\nHost: h\r\nX-Api-Key: " + key + "\r\n\r\n");
    return client.read_reply();
  }
  static int status(const std::string& reply) { return std::atoi(reply.c_str() + 9); }
  static nlohmann::json json(const std::string& reply) {
    return nlohmann::json::parse(reply.substr(reply.find("\r\n\r\n") + 4));
  }

  const test::TempFolder folder_;
  std::shared_ptr<HeldSignal> signal_ = std::make_shared<HeldSignal>();
  std::unique_ptr<GuardService> service_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<HttpServer> server_;
};

// Every worker hangs and the queue is full: health and metrics answer, new work is refused.
TEST_F(RouterTest, HealthAnswersWhileEveryWorkerIsStuck) {
  start(2, 1);
  std::vector<std::unique_ptr<RawClient>> clients;
  const auto send = [&] {
    clients.push_back(std::make_unique<RawClient>(server_->port()));
    clients.back()->send(request("/v1/guard", R"({"parts":[{"type":"text","text":"hold"}]})"));
  };
  send();
  send();
  ASSERT_TRUE(signal_->wait_for_held(2));
  send();  // waits in the queue
  while (get("/metrics").find("\nparapet_queue_depth 1") == std::string::npos) {
  }
  for (int i = 0; i < 20; ++i) {
    const std::string reply = get("/healthz");
    EXPECT_EQ(status(reply), 200);
    EXPECT_EQ(json(reply)["status"], "ok");
    EXPECT_EQ(status(get("/readyz")), 200);
  }
  RawClient refused(server_->port());
  refused.send(request("/v1/guard", R"({"parts":[{"type":"text","text":"hello"}]})"));
  const std::string reply = refused.read_reply();
  EXPECT_EQ(status(reply), 429);
  EXPECT_NE(reply.find("\r\nRetry-After: "), std::string::npos);
  signal_->release();
  for (const auto& client : clients) EXPECT_EQ(status(client->read_reply()), 200);
}

TEST_F(RouterTest, AListOfStringsIsWorkedOnSideBySideInOrder) {
  start(4, 0);
  nlohmann::json texts = nlohmann::json::array();
  for (int i = 0; i < 30; ++i)
    texts.push_back((i % 3 == 0 ? "harm " : "fine ") + std::string(i < 4 ? "hold " : "") +
                    std::to_string(i));
  RawClient client(server_->port());
  client.send(request("/v1/moderations", "{\"input\":" + texts.dump() + "}"));
  EXPECT_TRUE(signal_->wait_for_held(4));  // four of its items at once
  signal_->release();
  const nlohmann::json results = json(client.read_reply())["results"];
  ASSERT_EQ(results.size(), 30u);
  for (size_t i = 0; i < 30; ++i) {
    EXPECT_EQ(results[i]["flagged"], i % 3 == 0) << i;
    EXPECT_EQ(results[i]["parapet"]["parts"][0]["label"], "input[" + std::to_string(i) + "]");
  }
}

TEST_F(RouterTest, AListNeedsNoSecondWorker) {
  start(1, 0);
  RawClient client(server_->port());
  client.send(request("/v1/moderations", R"({"input":["one","harm","three"]})"));
  const nlohmann::json results = json(client.read_reply())["results"];
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[1]["flagged"], true);
}

// The deadline is the request's: what is not scanned by then is not clean. (On a machine so busy
// that not even the first item is begun in time, neither is the second.)
TEST_F(RouterTest, ItemsOfAListShareTheDeadline) {
  start(1, 0, 200);
  RawClient client(server_->port());
  client.send(request("/v1/moderations", R"({"input":["past the deadline","late"]})"));
  const nlohmann::json results = json(client.read_reply())["results"];
  EXPECT_EQ(results[1]["parapet"]["complete"], false);
  EXPECT_EQ(results[1]["parapet"]["not_scanned"][0]["reason"], "deadline");
}

// Whose request it is stands when its header is read: the key may be gone before a worker is free.
TEST_F(RouterTest, KeysReadAgainLeaveRequestsThatWaitAsTheyWere) {
  start(1, 8, 0, "[tenants]\nteam='strict'\n[profile.strict.category.weapon]\nblock=0.5\n");
  const auto keys = [&](const std::string& line) {
    write_file_atomic(folder_ / "keys", "other " + sha256_hex("other") + "\n" + line);
    router_->reload_keys();
  };
  const std::string line = "alice " + sha256_hex("secret") + " team\n";
  keys(line);
  const auto send = [&](RawClient& client, const std::string& text) {
    std::string head = request("/v1/guard", R"({"parts":[{"type":"text","text":")" + text + R"("}],
        "profile":"lax"})");
    client.send(head.insert(head.find("\r\n") + 2, "Authorization: Bearer secret\r\n"));
  };
  RawClient first(server_->port()), second(server_->port());
  send(first, "hold");
  ASSERT_TRUE(signal_->wait_for_held(1));
  send(second, "harm");
  while (get("/metrics", "other").find("\nparapet_queue_depth 1") == std::string::npos) {
  }
  keys("");
  signal_->release();
  for (RawClient* client : {&first, &second}) {
    const nlohmann::json decision = json(client->read_reply());
    EXPECT_EQ(decision["tenant"], "team");
    EXPECT_EQ(decision["profile"], "strict");
  }
  keys(line);
  // Under a sanitizer this shows a key that is read after it is gone.
  std::atomic<bool> stop{false};
  std::thread reloads([&] {
    while (!stop) keys(line);
  });
  for (int i = 0; i < 50; ++i) {
    RawClient client(server_->port());
    send(client, "fine");
    EXPECT_EQ(json(client.read_reply())["tenant"], "team");
  }
  stop = true;
  reloads.join();
}

// A reply is one policy's: the mapping to OpenAI's categories too.
TEST_F(RouterTest, ARequestIsAnsweredByThePolicyItBeganWith) {
  start(1, 4);
  RawClient client(server_->port());
  client.send(request("/v1/moderations", R"({"input":["hold harm","harm"]})"));
  ASSERT_TRUE(signal_->wait_for_held(1));
  write_policy("", "other.toml");  // maps weapons to nothing
  const PolicyIdentity before = service_->reload().before;
  signal_->release();
  const nlohmann::json reply = json(client.read_reply());
  for (const auto& result : reply["results"]) {
    EXPECT_EQ(result["parapet"]["policy"]["hash"], before.hash);
    EXPECT_EQ(result["flagged"], true);
    EXPECT_EQ(result["categories"]["illicit"], true);
    EXPECT_EQ(result["category_scores"]["illicit"], 1.0);
  }
  RawClient next(server_->port());
  next.send(request("/v1/moderations", R"({"input":"harm"})"));
  const nlohmann::json after = json(next.read_reply())["results"][0];
  EXPECT_NE(after["parapet"]["policy"]["hash"], before.hash);
  EXPECT_EQ(after["flagged"], true);
  EXPECT_EQ(after["categories"]["illicit"], false);
}

// Every refusal counts once, whatever it is for.
TEST_F(RouterTest, EveryRequestIsCountedOnce) {
  start(1, 1);
  const std::string good = request("/v1/guard", R"({"parts":[{"type":"text","text":"hello"}]})");
  std::string typed = good, foreign = good;
  typed.replace(typed.find("application/json"), 16, "application/jsox");
  foreign.insert(foreign.find("\r\n") + 2, "Origin: http://else\r\n");
  std::vector<std::string> requests = {
      good,
      request("/nowhere", "{}"),
      request("/healthz", "{}"),
      typed,
      foreign,
      request("/v1/guard", "{"),
      "GET relative HTTP/1.1\r\nHost: h\r\n\r\n",
  };
  int64_t sent = 0;
  const auto expect_counted = [&] {
    const std::string text = service_->metrics().text({});
    int64_t counted = 0;
    for (size_t at = 0; (at = text.find("\nparapet_requests_total{", at)) != std::string::npos;
         ++at)
      counted += std::atoi(text.c_str() + text.find("} ", at) + 2);
    EXPECT_EQ(counted, sent) << text;
  };
  for (const bool draining : {false, true}) {
    if (draining) router_->begin_drain();
    for (const std::string& one : requests) {
      RawClient client(server_->port());
      client.send(one);
      const int code = status(client.read_reply());
      EXPECT_EQ(code == 503, draining && (one == good || one == requests[5])) << one;
      ++sent;
      expect_counted();
    }
  }
}

// Not every usage error is the caller's.
TEST_F(RouterTest, AFailureOfAModelIsNotABadProfile) {
  start(1, 4);
  signal_->broken = true;
  RawClient client(server_->port());
  client.send(request("/v1/guard", R"({"parts":[{"type":"text","text":"hello"}]})"));
  EXPECT_EQ(status(client.read_reply()), 500);
  signal_->broken = false;
  RawClient mistaken(server_->port());
  mistaken.send(
      request("/v1/guard", R"({"parts":[{"type":"text","text":"hello"}],"profile":"nope"})"));
  const std::string reply = mistaken.read_reply();
  EXPECT_EQ(status(reply), 400);
  EXPECT_EQ(json(reply)["error"]["param"], "profile");
}

TEST_F(RouterTest, AMistakeInAListIsOneReply) {
  start(4, 0);
  RawClient client(server_->port());
  client.send(
      request("/v1/moderations", R"({"input":["a","b","c"],"parapet":{"profile":"nope"}})"));
  const std::string reply = client.read_reply();
  EXPECT_EQ(status(reply), 400);
  EXPECT_EQ(json(reply)["error"]["param"], "profile");
}

}  // namespace
}  // namespace parapet::serving
