#include "parapet/training/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace parapet {

double learning_rate(const TrainerOptions& options, int64_t step) {
  if (step < options.warmup_steps)
    return options.lr * static_cast<double>(step + 1) / static_cast<double>(options.warmup_steps);
  if (options.schedule == "constant") return options.lr;
  const auto span =
      static_cast<double>(std::max<int64_t>(options.max_steps - options.warmup_steps, 1));
  const double progress =
      std::clamp(static_cast<double>(step - options.warmup_steps) / span, 0.0, 1.0);
  const double shape = 0.5 * (1 + std::cos(std::numbers::pi * progress));
  return options.lr * (options.final_lr + (1 - options.final_lr) * shape);
}

}  // namespace parapet
