#include "parapet/training/liveness.h"

#include <algorithm>
#include <chrono>

#include "parapet/core/error.h"
#include "parapet/training/meters.h"

namespace parapet {
namespace {

using std::chrono::milliseconds;

std::string key_of(const char* what, int64_t rank) {
  return std::string(what) + "/" + std::to_string(rank);
}

}  // namespace

Liveness::Liveness(c10::intrusive_ptr<c10d::Store> store, const WorldInfo& info)
    : store_(std::move(store)), info_(info) {
  const milliseconds pause(
      std::clamp<int64_t>(info_.timeout_seconds * 1000 / 10, int64_t{100}, int64_t{10'000}));
  thread_ = std::thread([this, pause] {
    std::unique_lock lock(mutex_);
    while (!ended_) {
      try {
        store_->add(key_of("beat", info_.rank), 1);
      } catch (const std::exception&) {
        return;  // the store is gone with rank 0; the next collective says so
      }
      ending_.wait_for(lock, pause);
    }
  });
}

Liveness::~Liveness() {
  {
    std::lock_guard lock(mutex_);
    ended_ = true;
  }
  ending_.notify_all();
  thread_.join();
  try {
    store_->add(key_of("left", info_.rank), 1);
  } catch (const std::exception&) {  // nobody is left to tell
  }
}

int64_t Liveness::read(const std::string& key) {
  try {
    return store_->add(key, 0);
  } catch (const std::exception&) {
    throw Error(ErrorKind::kInternal,
                "rank " + std::to_string(info_.rank) + " of " + std::to_string(info_.world_size) +
                    ": rank 0 is gone, another process ended or stopped answering; see its output");
  }
}

void Liveness::meet(const Context& context) {
  const std::string place = "meet/" + std::to_string(++meetings_);
  read(place);  // reports a store that is gone
  store_->add(key_of(place.c_str(), info_.rank), 1);
  for (int64_t rank = 0; rank < info_.world_size; ++rank)
    if (rank != info_.rank) wait_for(rank, place, context);
  // Rank 0 keeps the store: it goes on once the others need it no longer to get out of here.
  const std::string seen = "seen/" + std::to_string(meetings_);
  if (info_.rank != 0) {
    store_->add(key_of(seen.c_str(), info_.rank), 1);
    return;
  }
  for (int64_t rank = 1; rank < info_.world_size; ++rank) wait_for(rank, seen, context);
}

void Liveness::wait_for(int64_t rank, const std::string& place, const Context& context) {
  Stopwatch silence;
  int64_t beats = -1;
  for (int64_t pause = 1; read(key_of(place.c_str(), rank)) == 0;
       pause = std::min<int64_t>(2 * pause, 200)) {
    if (context.cancelled()) throw Cancelled("stopped while waiting for the other processes");
    const int64_t now = read(key_of("beat", rank));
    if (now != beats) {
      beats = now;
      silence.restart();
    }
    const bool left = read(key_of("left", rank)) > 0;
    // It may have come here and gone since the look above.
    if (left && read(key_of(place.c_str(), rank)) > 0) return;
    if (left || silence.seconds() > static_cast<double>(info_.timeout_seconds))
      throw Error(ErrorKind::kInternal,
                  "rank " + std::to_string(info_.rank) + " of " + std::to_string(info_.world_size) +
                      ": rank " + std::to_string(rank) +
                      (left ? " has ended" : " gives no sign of life") +
                      ", another process ended or stopped answering; see its output");
    std::this_thread::sleep_for(milliseconds(pause));
  }
}

}  // namespace parapet
