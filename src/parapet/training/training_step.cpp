#include "parapet/training/training_step.h"

#include <ATen/ATen.h>

#include <cmath>
#include <cstdio>

#include "parapet/core/error.h"
#include "parapet/training/gradients.h"
#include "parapet/training/schedule.h"
#include "parapet/training/step_numbers.h"

namespace parapet {
namespace {

// Forward and backward of every micro-batch; gradients end as the sum of weight x gradient.
void accumulate(TrainingTask& task, Source<MicroBatch>& source, Optimizer& optimizer, StepInfo info,
                StepNumbers& numbers) {
  for (info.micro = 0; info.micro < info.micros; ++info.micro) {
    MicroBatch batch;
    if (!source.next(batch))
      throw Error(ErrorKind::kInternal, "the task's source of micro-batches has ended");
    const StepLoss part = task.loss(batch, info);
    numbers.add(part);
    if (part.weight == 0) continue;
    (part.weight == 1 ? part.total : part.total * part.weight).backward();
    optimizer.collect();
  }
}

// What all ranks together have, in one small collective before that of the gradients.
struct Totals {
  double weight = 0;
  std::vector<bool> has_gradient;  // of any rank, by parameter
};

// A rank's NaN or Ctrl-C reaches all the others through these numbers.
Totals reduce_numbers(const Optimizer& optimizer, Communicator& communicator,
                      const StepNumbers& numbers, StepReport& report) {
  Totals totals;
  totals.weight = numbers.weight();
  report.samples = numbers.samples();
  for (size_t i = 0; i < optimizer.parameters().size(); ++i)
    totals.has_gradient.push_back(optimizer.has_gradient(i));
  if (communicator.world_size() == 1) return totals;
  std::vector<double> values = {numbers.weight(), numbers.samples(), report.cancelled ? 1.0 : 0.0};
  for (const bool has : totals.has_gradient) values.push_back(has ? 1.0 : 0.0);
  std::vector<at::Tensor> all = {at::tensor(values, at::kDouble)};
  communicator.all_reduce_sum(all);
  const double* value = all.front().const_data_ptr<double>();
  totals.weight = *value++;
  report.samples = *value++;
  report.cancelled = *value++ > 0;
  for (size_t i = 0; i < totals.has_gradient.size(); ++i) totals.has_gradient[i] = *value++ > 0;
  return totals;
}

// Sums over ranks, in one collective, and the mean: gradients in place, and the loss. A gradient
// that this rank lacks but another has counts as zero.
at::Tensor reduce(Optimizer& optimizer, Communicator& communicator, const Totals& totals,
                  const at::Tensor& loss_sum) {
  const at::NoGradGuard no_grad;
  optimizer.fill_missing(totals.has_gradient);
  auto gradients = optimizer.gradients();
  at::Tensor loss = loss_sum.defined() ? loss_sum.clone() : at::zeros({}, at::kDouble);
  if (communicator.world_size() > 1) {
    std::vector<at::Tensor> all = gradients;
    all.push_back(loss);
    communicator.all_reduce_sum(all);
  }
  if (totals.weight == 0 || totals.weight == 1) return loss;
  if (!gradients.empty()) at::_foreach_div_(gradients, totals.weight);
  return loss / totals.weight;
}

// Loss and gradient norm, read from the device together.
void read_numbers(const at::Tensor& loss, const std::vector<at::Tensor>& gradients,
                  StepReport& report) {
  const at::NoGradGuard no_grad;
  const at::Tensor norm = gradient_norm(gradients).to(loss.device(), at::kDouble);
  const at::Tensor read = at::stack({loss.reshape({}), norm.reshape({})}).to(at::kCPU);
  report.loss = read.const_data_ptr<double>()[0];
  report.grad_norm = read.const_data_ptr<double>()[1];
}

[[noreturn]] void fail_not_finite(const StepReport& report, int64_t step) {
  char number[64];
  std::snprintf(number, sizeof number, "loss %g, gradient norm %g", report.loss, report.grad_norm);
  std::string text = "training stopped at step " + std::to_string(step + 1) + ": " + number;
  const char* separator = " (";
  for (const auto& [name, value] : report.terms) {
    std::snprintf(number, sizeof number, "%g", value);
    text += separator + name + " " + number;
    separator = ", ";
  }
  if (!report.terms.empty()) text += ")";
  throw CheckFailed(text +
                    ". Weights were not updated; lower the learning rate or look for bad samples");
}

}  // namespace

StepReport training_step(TrainingTask& task, Source<MicroBatch>& source, Optimizer& optimizer,
                         const TrainerOptions& options, Communicator& communicator,
                         const Context& context, int64_t step, bool with_terms) {
  StepInfo info;
  info.step = step;
  info.total_steps = options.max_steps;
  info.micros = options.accumulate;
  info.communicator = &communicator;

  StepReport report;
  StepNumbers numbers;
  report.lr = learning_rate(options, step);
  optimizer.zero_grad();
  accumulate(task, source, optimizer, info, numbers);
  report.cancelled = context.cancelled();
  const Totals totals = reduce_numbers(optimizer, communicator, numbers, report);
  const at::Tensor loss = reduce(optimizer, communicator, totals, numbers.loss_sum());
  auto gradients = optimizer.gradients();
  read_numbers(loss, gradients, report);
  const bool finite = std::isfinite(report.loss) && std::isfinite(report.grad_norm);
  if (with_terms || !finite) report.terms = numbers.terms(communicator);
  if (!finite) {
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
