#include "parapet/training/trainer_options.h"

namespace parapet {

void TrainerOptions::visit(OptionList& list) {
  list.add("max-steps", max_steps, "optimiser steps");
  list.add("accumulate", accumulate, "micro-batches per step; the gradient is their weighted mean");
  list.add("gradient-checkpointing", gradient_checkpointing,
           "keep each layer's input alone and compute the layer again for its gradient: less "
           "memory, about a third more time");
  list.add("optimizer", optimizer, "optimiser", {"adamw", "adam"});
  list.add("lr", lr, "peak learning rate");
  list.add("beta1", beta1, "decay of the first moment");
  list.add("beta2", beta2, "decay of the second moment");
  list.add("eps", eps, "added to the denominator");
  list.add("weight-decay", weight_decay, "on matrices only");
  list.add("clip-norm", clip_norm, "limit of the global gradient norm; 0 = off");
  list.add("warmup-steps", warmup_steps, "steps of linear rise to the peak learning rate");
  list.add("schedule", schedule, "learning rate after the warm-up", {"constant", "cosine"});
  list.add("final-lr", final_lr, "share of the peak at the end of the cosine");
  list.add("validate-every", validate_every, "steps between validations; 0 = only at the end");
  list.add("patience", patience,
           "stop after this many validations without a better loss or selected metric; 0 = off");
  list.add("checkpoint-every", checkpoint_every,
           "steps between checkpoints; 0 = only at the start and the end");
  list.add("log-every", log_every, "steps between lines of metrics.jsonl");
  list.add("resume", resume, "go on from the run's last checkpoint");
}

void TrainerOptions::validate(Problems& problems) const {
  problems.require(max_steps >= 1, "max-steps", "must be at least 1");
  problems.require(accumulate >= 1, "accumulate", "must be at least 1");
  problems.require(optimizer == "adamw" || optimizer == "adam", "optimizer",
                   "must be adamw or adam");
  problems.require(lr > 0, "lr", "must be > 0");
  problems.require(beta1 >= 0 && beta1 < 1, "beta1", "must be in [0, 1)");
  problems.require(beta2 >= 0 && beta2 < 1, "beta2", "must be in [0, 1)");
  problems.require(eps > 0, "eps", "must be > 0");
  problems.require(weight_decay >= 0, "weight-decay", "must be >= 0");
  problems.require(clip_norm >= 0, "clip-norm", "must be >= 0");
  problems.require(warmup_steps >= 0, "warmup-steps", "must be >= 0");
  problems.require(schedule == "constant" || schedule == "cosine", "schedule",
                   "must be constant or cosine");
  problems.require(final_lr >= 0 && final_lr <= 1, "final-lr", "must be in 0..1");
  problems.require(validate_every >= 0, "validate-every", "must be >= 0");
  problems.require(patience >= 0, "patience", "must be >= 0");
  problems.require(patience == 0 || validate_every > 0, "patience",
                   "needs validate-every > 0 to have anything to watch");
  problems.require(checkpoint_every >= 0, "checkpoint-every", "must be >= 0");
  problems.require(log_every >= 1, "log-every", "must be at least 1");
}

}  // namespace parapet
