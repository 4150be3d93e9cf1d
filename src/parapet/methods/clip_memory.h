// What training a CLIP model takes, for methods whose samples are pictures and texts.
#pragma once
#include <string>

#include "parapet/models/clip/clip.h"
#include "parapet/training/memory_check.h"

namespace parapet {

// What a sample of a micro-batch holds.
struct ClipStep {
  int64_t batch = 1;         // samples of a micro-batch
  double images = 1;         // per sample that pass through the image tower with gradients
  double texts = 1;          // per sample, likewise
  int64_t tokens = 0;        // of the longest text of a batch; 0 = the model's context
  std::string lighter_mode;  // flags that train less, such as "--mode lora"; empty = none
};

// Of the model as it stands: call it once what trains requires gradients.
MemoryNeed clip_memory(const ClipModel& model, const ClipStep& step);

}  // namespace parapet
