// Health, readiness, metrics, policy reload.
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/version.h"
#include "parapet/serving/api_error.h"
#include "parapet/serving/routes.h"

namespace parapet::serving {
namespace {

using nlohmann::ordered_json;

double resident_bytes() {
  std::ifstream statm("/proc/self/statm");
  int64_t total = 0, resident = 0;
  statm >> total >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

void add_policy(const GuardService& service, std::vector<Gauge>& gauges) {
  const auto policy = service.policy();
  if (policy) {
    gauges.push_back({"parapet_policy_info", "The policy in force.", "gauge",
                      metric_labels({{"name", policy->name},
                                     {"version", policy->version},
                                     {"hash", policy->hash},
                                     {"taxonomy", policy->taxonomy.version()}}),
                      1});
  }
  for (const auto& model : service.models())
    gauges.push_back({"parapet_model_info", "Models and lists in use.", "gauge",
                      metric_labels({{"model", model.name}, {"version", model.version}}), 1});
}

void add_encoders(const GuardService& service, std::vector<Gauge>& gauges) {
  const EncoderCounts counts = service.encoder_counts();
  const auto add = [&](const char* name, const char* help, const char* type, int64_t value,
                       const char* result = "") {
    gauges.push_back({name, help, type, *result ? metric_labels({{"result", result}}) : "",
                      static_cast<double>(value)});
  };
  add("parapet_encoder_queue_depth", "Images and texts that wait for an encoder.", "gauge",
      counts.queue);
  add("parapet_encoder_items_total", "Images and texts that encoders computed.", "counter",
      counts.items);
  add("parapet_encoder_batches_total", "Calls of encoders, for one batch each.", "counter",
      counts.batches);
  add("parapet_encoder_refused_total", "Images and texts refused by a full queue.", "counter",
      counts.refused);
  const char* lookups = "parapet_embedding_lookups_total";
  const char* help = "Embeddings asked for, by where the cache had them.";
  add(lookups, help, "counter", counts.cache.hits, "memory");
  add(lookups, help, "counter", counts.cache.file_hits, "file");
  add(lookups, help, "counter", counts.cache.misses, "miss");
  add("parapet_embedding_cache_bytes", "Embeddings in memory.", "gauge", counts.cache.bytes);
  add("parapet_embedding_cache_file", "1 while a file of embeddings is in use.", "gauge",
      counts.cache.file ? 1 : 0);
}

}  // namespace

HttpReply get_health(const Call& call) {
  // Long past any deadline nothing ends: a model or a disk hangs, and only a restart helps.
  const double limit = std::max(60.0, 6 * call.service.options().deadline_ms / 1000);
  const bool stalled = call.stalled_seconds > limit;
  ordered_json body;
  body["status"] = stalled ? "stalled" : "ok";
  body["version"] = std::string(version());
  return json_reply(stalled ? 503 : 200, body);
}

HttpReply get_ready(const Call& call) {
  const guard::Readiness readiness = call.service.readiness();
  ordered_json body;
  body["ready"] = readiness.ready;
  body["problems"] = readiness.problems;
  HttpReply reply = json_reply(readiness.ready ? 200 : 503, body);
  if (!readiness.ready) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

HttpReply get_metrics(const Call& call) {
  std::vector<Gauge> gauges = call.gauges;
  gauges.push_back({"parapet_ready", "1 when the models answered the last probe.", "gauge", "",
                    call.service.readiness().ready ? 1.0 : 0.0});
  gauges.push_back({"parapet_audit_failures_total", "Decisions that could not be logged.",
                    "counter", "", static_cast<double>(call.service.audit_failures())});
  gauges.push_back(
      {"parapet_resident_bytes", "Memory of the process.", "gauge", "", resident_bytes()});
  add_encoders(call.service, gauges);
  add_policy(call.service, gauges);
  gauges.push_back({"parapet_build_info", "This program.", "gauge",
                    metric_labels({{"version", std::string(version())}}), 1});
  HttpReply reply;
  reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
  reply.body = call.service.metrics().text(gauges);
  return reply;
}

HttpReply post_reload(const Call& call) {
  try {
    const GuardService::Reload done = call.service.reload();
    ordered_json body;
    body["reloaded"] = true;
    body["policy"] = to_json(done.after);
    body["previous"] = to_json(done.before);
    return json_reply(200, body);
  } catch (const ApiError&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // a model's own library may throw anything
    return error_reply(422, "bad_policy", error.what(), "policy");
  }
}

}  // namespace parapet::serving
