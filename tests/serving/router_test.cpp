// The router over real sockets with a signal that can be held: what stays responsive then, and how
// lists are worked on.
#include "parapet/serving/router.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "parapet/core/error.h"
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
  std::vector<std::string> categories() const override { return {"weapon"}; }
  void score(const guard::SignalInput& input, guard::SignalOutput& output) override {
    for (const auto& part : input.parts) {
      if (part.text.find("hold") != std::string::npos) hold();
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
  void start(int64_t workers, int64_t queue, double deadline_ms = 0) {
    std::ofstream(folder_ / "policy.toml")
        << "taxonomy='" << PARAPET_SOURCE_DIR << "/policies/taxonomy.toml'\n"
        << "[category.weapon]\nflag=0.5\nblock=0.9\n";
    ServiceOptions options;
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
  std::string get(const std::string& path) const {
    RawClient client(server_->port());
    client.send("GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n");
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

// The deadline is the request's: what is not scanned by then is not clean.
TEST_F(RouterTest, ItemsOfAListShareTheDeadline) {
  start(1, 0, 1500);  // the first item is begun within it, on a busy machine as well
  RawClient client(server_->port());
  client.send(request("/v1/moderations", R"({"input":["hold","late"]})"));
  ASSERT_TRUE(signal_->wait_for_held(1));
  std::this_thread::sleep_for(std::chrono::milliseconds(1550));
  signal_->release();
  const nlohmann::json results = json(client.read_reply())["results"];
  EXPECT_EQ(results[1]["parapet"]["complete"], false);
  EXPECT_EQ(results[1]["parapet"]["not_scanned"][0]["reason"], "deadline");
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
