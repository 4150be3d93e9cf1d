// What the training loop can be told.
#pragma once
#include <cstdint>
#include <string>

#include "parapet/core/options.h"

namespace parapet {

struct TrainerOptions {
  int64_t max_steps = 1000;             // optimiser steps
  int64_t accumulate = 1;               // micro-batches per step; their weighted mean counts
  bool gradient_checkpointing = false;  // layers keep their input alone and are computed twice
  std::string optimizer = "adamw";      // adamw | adam
  double lr = 1e-4;                     // peak learning rate
  double beta1 = 0.9;
  double beta2 = 0.98;
  double eps = 1e-8;
  double weight_decay = 0.0;  // on parameters that ask for it
  double clip_norm = 1.0;     // global gradient norm; 0 = off
  int64_t warmup_steps = 0;
  std::string schedule = "cosine";  // constant | cosine
  double final_lr = 0.0;            // share of the peak at the end of cosine
  int64_t validate_every = 0;       // steps; 0 = only at the end
  int64_t patience = 0;             // validations without a better loss or selected metric
  int64_t checkpoint_every = 200;   // steps; 0 = only at the start and the end
  int64_t log_every = 10;           // steps between metrics lines
  bool resume = false;              // go on from checkpoints/last
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

}  // namespace parapet
