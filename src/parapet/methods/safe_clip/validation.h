// What hardening is judged by while it runs, and how a batch spans processes.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "parapet/methods/safe_clip/objective.h"

namespace parapet {

class Communicator;

// The batch of all processes, so that in-batch negatives are global. A world of one returns it
// unchanged.
ObjectiveInput gather_input(ObjectiveInput input, Communicator& communicator);

// "loss" (mean over chunks of `chunk` rows, so independent of the training batch), every term as
// "term.<name>", "recall" = the published sum of six R@1 (safe-safe, safe-unsafe, unsafe-safe in
// both directions), and drift from `original` as cosines "cos.safe_text" and so on.
std::map<std::string, double> validation_metrics(const Objective& objective,
                                                 const QuadrupletEmbeddings& tuned,
                                                 const QuadrupletEmbeddings& reference,
                                                 const QuadrupletEmbeddings& original,
                                                 const QuadrupletKeys& keys, double logit_scale,
                                                 int64_t chunk);

}  // namespace parapet
