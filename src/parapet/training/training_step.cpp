#include "parapet/training/training_step.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>

#include "parapet/core/error.h"
#include "parapet/training/gradients.h"
#include "parapet/training/meters.h"
#include "parapet/training/schedule.h"

namespace parapet {
namespace {

// Forward and backward of every micro-batch; gradients end as their mean.
void accumulate(TrainingTask& task, StepInfo info, StepReport& report) {
  Average loss;
  TermAverages terms;
  for (info.micro = 0; info.micro < info.micros; ++info.micro) {
    StepLoss part = task.loss(info);
    if (info.micros == 1)
      part.total.backward();
    else
      (part.total / static_cast<double>(info.micros)).backward();
    loss.add(part.total.item<double>());
    for (const auto& term : part.terms) terms.add(term.name, term.value);
    report.samples += static_cast<double>(part.samples);
  }
  report.loss = loss.value();
  for (const auto& [name, value] : terms.values()) report.terms.push_back({name, value});
}

// One all-reduce carries gradients and numbers: a rank's NaN or Ctrl-C reaches all the others.
void reduce(std::vector<at::Tensor>& gradients, Communicator& communicator, StepReport& report) {
  if (communicator.world_size() == 1) return;
  std::vector<double> numbers = {report.loss, report.samples, report.cancelled ? 1.0 : 0.0};
  for (const auto& term : report.terms) numbers.push_back(term.value);
  auto packed = at::tensor(numbers, at::kDouble);
  std::vector<at::Tensor> all = gradients;
  all.push_back(packed);
  communicator.all_reduce_mean(all);
  const double* value = packed.const_data_ptr<double>();
  report.loss = *value++;
  report.samples = *value++ * static_cast<double>(communicator.world_size());
  report.cancelled = *value++ > 0;
  for (auto& term : report.terms) term.value = *value++;
}

[[noreturn]] void fail_not_finite(const StepReport& report, int64_t step) {
  char number[64];
  std::snprintf(number, sizeof number, "loss %g, gradient norm %g", report.loss, report.grad_norm);
  std::string text = "training stopped at step " + std::to_string(step + 1) + ": " + number;
  const char* separator = " (";
  for (const auto& term : report.terms) {
    std::snprintf(number, sizeof number, "%g", term.value);
    text += separator + term.name + " " + number;
    separator = ", ";
  }
  if (!report.terms.empty()) text += ")";
  throw CheckFailed(text +
                    ". Weights were not updated; lower the learning rate or look for bad samples");
}

}  // namespace

StepReport training_step(TrainingTask& task, Optimizer& optimizer, const TrainerOptions& options,
                         Communicator& communicator, const Context& context, int64_t step) {
  StepInfo info;
  info.step = step;
  info.total_steps = options.max_steps;
  info.micros = options.accumulate;
  info.communicator = &communicator;

  StepReport report;
  report.lr = learning_rate(options, step);
  optimizer.zero_grad();
  accumulate(task, info, report);
  report.cancelled = context.cancelled();
  auto gradients = optimizer.gradients();
  reduce(gradients, communicator, report);
  report.grad_norm = gradient_norm(gradients);
  if (!std::isfinite(report.loss) || !std::isfinite(report.grad_norm)) {
    optimizer.zero_grad();
    fail_not_finite(report, step);
  }
  clip_gradients(gradients, report.grad_norm, options.clip_norm);
  optimizer.step(report.lr);
  optimizer.zero_grad();
  info.micro = info.micros - 1;
  task.after_step(info);
  return report;
}

}  // namespace parapet
