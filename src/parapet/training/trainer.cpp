#include "parapet/training/trainer.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "parapet/core/error.h"
#include "parapet/core/free_memory.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/data/sources/prefetch.h"
#include "parapet/formats/jsonl.h"
#include "parapet/training/checkpoint.h"
#include "parapet/training/early_stopping.h"
#include "parapet/training/meters.h"
#include "parapet/training/random_state.h"
#include "parapet/training/rank_state.h"
#include "parapet/training/run_directory.h"
#include "parapet/training/training_step.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// Micro-batches made while one trains.
constexpr int64_t kDrawnAhead = 2;

nn::NamedTensors weights_of(const std::vector<TrainableParameter>& parameters) {
  nn::NamedTensors list;
  for (const auto& p : parameters) list.emplace_back(p.name, p.tensor.detach());
  return list;
}

nlohmann::json options_json(TrainerOptions options) {
  OptionList list;
  options.visit(list);
  auto json = to_json(list);
  json.erase("resume");
  return json;
}

class Loop {
 public:
  Loop(TrainingTask& task, const TrainerOptions& options, const fs::path& run,
       Communicator& communicator, const Context& context)
      : task_(task),
        options_(options),
        communicator_(communicator),
        context_(context),
        store_(run / "checkpoints"),
        metrics_file_(run / "metrics.jsonl"),
        record_(RunDirectory(run).run_json()),
        memory_(look_at_memory()),
        optimizer_(task.parameters(), options),
        device_(optimizer_.parameters().front().tensor.device()),
        stopping_(options.patience, task.selection()) {}

  TrainingResult run();

 private:
  std::optional<MemoryCheck> look_at_memory();
  void tell_memory(const std::optional<int64_t>& peak = {});
  void start();
  void resume();
  void broadcast_weights();
  void warn_about_changes(const nlohmann::json& saved) const;
  StepReport step();
  void after_step(const StepReport& report);
  bool validate();  // true when these weights are the best so far
  void log_step(const StepReport& report);
  void log_line(nlohmann::json line);
  void save(bool best);
  double seconds() const { return seconds_before_ + watch_.seconds(); }
  bool due(int64_t every, int64_t step) const {
    return step == options_.max_steps || (every > 0 && step % every == 0);
  }
  bool due(int64_t every) const { return due(every, done_); }
  bool logs(int64_t step) const { return step == 1 || due(options_.log_every, step); }

  TrainingTask& task_;
  TrainerOptions options_;
  Communicator& communicator_;
  const Context& context_;
  CheckpointStore store_;
  fs::path metrics_file_, record_;
  std::optional<MemoryCheck> memory_;  // as it was before the optimiser took its part
  Optimizer optimizer_;
  at::Device device_;
  EarlyStopping stopping_;
  std::optional<JsonlAppender> metrics_;
  SourcePtr<MicroBatch> source_;  // drawn ahead; its position is that of what was used

  int64_t done_ = 0;  // optimiser steps
  bool stopped_early_ = false;
  bool unproven_ = true;  // no step from the last checkpoint has succeeded yet
  int64_t metrics_lines_ = 0;
  double seconds_before_ = 0;  // of earlier processes of this run
  Stopwatch watch_;
  double step_seconds_ = 0, samples_ = 0;           // of this process
  double logged_seconds_ = 0, logged_samples_ = 0;  // at the last metrics line
  std::map<std::string, double> last_validation_;
};

TrainingResult Loop::run() {
  start();
  {
    const Context quiet;
    Progress progress(communicator_.is_main() ? context_ : quiet, "training", options_.max_steps,
                      "steps");
    progress.update(done_);
    while (done_ < options_.max_steps && !stopped_early_) {
      const Stopwatch step_watch;
      const StepReport report = step();
      ++done_;
      step_seconds_ += step_watch.seconds();
      samples_ += report.samples;
      progress.update(done_, "loss " + format_number(report.loss, 4));
      after_step(report);
    }
  }
  if (communicator_.is_main()) store_.confirm();
  communicator_.barrier();  // the last checkpoint is on disk for every rank's load_best
  TrainingResult result;
  result.steps = done_;
  result.stopped_early = stopped_early_;
  result.seconds = watch_.seconds();
  result.samples_per_second = step_seconds_ > 0 ? samples_ / step_seconds_ : 0;
  result.last_validation = last_validation_;
  result.best_validation = stopping_.best();
  result.best_step = stopping_.best_step();
  result.memory = memory_;
  result.peak_memory = peak_memory();
  tell_memory(result.peak_memory);
  return result;
}

std::optional<MemoryCheck> Loop::look_at_memory() {
  const auto parameters = task_.parameters();  // from here on what trains requires gradients
  auto need = task_.memory();
  if (!need) return std::nullopt;
  return check_memory(*std::move(need), parameters.front().tensor.device(),
                      communicator_.local_world_size());
}

// Says it before the first step; keeps it in the run's record, with the peak at the end.
void Loop::tell_memory(const std::optional<int64_t>& peak) {
  if (!memory_ || !communicator_.is_main()) return;
  if (!peak) {
    context_.info(memory_->text());
    if (!memory_->fits()) context_.warn(memory_->warning());
  }
  if (!fs::exists(record_)) return;  // a stage of a run, or no run directory
  auto record = load_json(record_);
  record["training_memory"] = memory_->to_json();
  if (peak && *peak >= 0) record["training_memory"]["peak_resident_bytes"] = *peak;
  save_json(record_, record);
}

StepReport Loop::step() {
  try {
    const StepReport report = training_step(task_, *source_, optimizer_, options_, communicator_,
                                            context_, done_, logs(done_ + 1));
    if (unproven_ && communicator_.is_main()) store_.confirm();
    unproven_ = false;
    return report;
  } catch (const CheckFailed& error) {
    if (!communicator_.is_main()) throw;
    // A checkpoint whose very next step fails is not good itself.
    if (unproven_) store_.roll_back();
    throw CheckFailed(std::string(error.what()) + ". The last good weights are in " +
                      (metrics_file_.parent_path() / "checkpoints/last").string() + " (step " +
                      store_.read_state("last").at("step").dump() + ")");
  }
}

void Loop::after_step(const StepReport& report) {
  if (logs(done_)) log_step(report);
  const bool best = due(options_.validate_every) && validate();
  const bool last = stopped_early_ || report.cancelled;
  if (best || last || due(options_.checkpoint_every)) save(best);
  if (report.cancelled && done_ < options_.max_steps && !stopped_early_)
    throw Cancelled("stopped after step " + std::to_string(done_) + " of " +
                    std::to_string(options_.max_steps) +
                    "; a checkpoint was saved, go on with --resume");
}

void Loop::start() {
  if (communicator_.is_main()) store_.repair();
  // The processes come here from set-up work of different length.
  communicator_.meet(context_);
  tell_memory();
  source_ = prefetch(task_.source(communicator_), kDrawnAhead);
  const bool fresh = !store_.has_last();
  if (!fresh) {
    if (!options_.resume)
      throw UsageError(metrics_file_.parent_path().string() +
                       ": holds checkpoints of an earlier run. Pass --resume to go on with it, or "
                       "another --out");
    resume();
  }
  broadcast_weights();
  if (fresh) optimizer_.take_weights();
  if (communicator_.is_main()) metrics_.emplace(metrics_file_, metrics_lines_);
  if (fresh) save(false);  // something good to fall back to before the first step
}

void Loop::resume() {
  Checkpoint saved;
  saved.weights = weights_of(optimizer_.parameters());
  saved.optimizer = optimizer_.state();
  saved.buffers = task_.buffers();
  const auto state = store_.read_state("last");
  if (state.at("world_size").get<int64_t>() != communicator_.world_size())
    throw UsageError("--resume: the run was trained by " + state.at("world_size").dump() +
                     " processes, this one has " + std::to_string(communicator_.world_size()) +
                     "; start as many as before");
  warn_about_changes(state.at("options"));
  store_.load("last", saved);
  done_ = state.at("step").get<int64_t>();
  stopped_early_ = state.at("stopped_early").get<bool>();
  metrics_lines_ = state.at("metrics_lines").get<int64_t>();
  seconds_before_ = state.at("seconds").get<double>();
  for (const auto& [name, value] : state.at("last_validation").items())
    if (value.is_number()) last_validation_[name] = value.get<double>();
  stopping_.restore(state.at("early_stopping"));
  const auto rank = communicator_.rank();
  source_->restore(state.at("data").at(static_cast<size_t>(rank)));
  restore_generator_states(store_.generators("last"), rank, device_, context_);
  if (communicator_.is_main()) context_.info("resuming after step " + std::to_string(done_));
}

void Loop::warn_about_changes(const nlohmann::json& saved) const {
  const auto now = options_json(options_);
  for (const auto& [name, value] : now.items())
    if (saved.contains(name) && saved[name] != value)
      context_.warn("resuming with --" + name + " " + value.dump() + " instead of " +
                    saved[name].dump() + ": the result will differ from an unbroken run");
}

void Loop::broadcast_weights() {
  if (communicator_.world_size() == 1) return;
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : weights_of(optimizer_.parameters())) tensors.push_back(tensor);
  for (const auto& [name, tensor] : task_.buffers()) tensors.push_back(tensor);
  communicator_.broadcast(tensors);
}

bool Loop::validate() {
  StepInfo info;
  info.step = done_ - 1;
  info.total_steps = options_.max_steps;
  info.communicator = &communicator_;
  auto metrics = task_.validate(info);
  if (metrics.empty()) return false;
  if (communicator_.world_size() > 1) {  // all ranks must decide alike
    std::vector<double> values;
    for (const auto& [name, value] : metrics) values.push_back(value);
    std::vector<at::Tensor> packed = {at::tensor(values, at::kDouble)};
    communicator_.broadcast(packed);
    const double* value = packed.front().const_data_ptr<double>();
    for (auto& [name, slot] : metrics) slot = *value++;
  }
  const auto verdict = stopping_.update(done_, metrics);
  last_validation_ = metrics;
  stopped_early_ = verdict.stop && done_ < options_.max_steps;
  log_line({{"step", done_}, {"validation", metrics}});
  return verdict.best;
}

void Loop::log_step(const StepReport& report) {
  nlohmann::json terms = nlohmann::json::object();
  for (const auto& [name, value] : report.terms) terms[name] = value;
  const double interval = step_seconds_ - logged_seconds_;
  log_line({{"step", done_},
            {"lr", report.lr},
            {"loss", report.loss},
            {"terms", terms},
            {"grad_norm", report.grad_norm},
            {"samples_per_second", interval > 0 ? (samples_ - logged_samples_) / interval : 0.0},
            {"seconds", seconds()}});
  logged_seconds_ = step_seconds_;
  logged_samples_ = samples_;
}

void Loop::log_line(nlohmann::json line) {
  ++metrics_lines_;
  if (metrics_) metrics_->append(line);
}

void Loop::save(bool best) {
  Checkpoint checkpoint;
  checkpoint.weights = weights_of(optimizer_.parameters());
  checkpoint.optimizer = optimizer_.state();
  checkpoint.generators = gather_rows(communicator_, generator_states(device_));
  checkpoint.buffers = task_.buffers();
  checkpoint.state = {{"world_size", communicator_.world_size()},
                      {"options", options_json(options_)},
                      {"stopped_early", stopped_early_},
                      {"metrics_lines", metrics_lines_},
                      {"seconds", seconds()},
                      {"last_validation", last_validation_},
                      {"early_stopping", stopping_.state()},
                      {"data", gather_json(communicator_, source_->position())}};
  if (communicator_.is_main()) store_.save(checkpoint, done_, best);
  unproven_ = true;
}

}  // namespace

TrainingResult train(TrainingTask& task, const TrainerOptions& options, const fs::path& run,
                     Communicator& communicator, const Context& context) {
  Problems problems;
  options.validate(problems);
  problems.throw_if_any("training options");
  std::error_code error;
  fs::create_directories(run, error);
  if (error) throw DataError(run.string(), "cannot create: " + error.message());
  return Loop(task, options, run, communicator, context).run();
}

bool load_best(TrainingTask& task, const fs::path& run) {
  const CheckpointStore store(run / "checkpoints");
  if (!store.has_best()) return false;
  Checkpoint best;
  best.weights = weights_of(task.parameters());
  best.buffers = task.buffers();
  store.load_weights("best", best);
  return true;
}

}  // namespace parapet
