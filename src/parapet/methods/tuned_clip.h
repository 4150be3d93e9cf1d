// What every method that tunes a CLIP leaves in its run directory.
#pragma once
#include <string>

#include "parapet/models/clip/clip.h"
#include "parapet/nn/lora.h"
#include "parapet/training/run_directory.h"

namespace parapet {

class Communicator;

// Rank 0 writes run/model, with adapters (`lora` not null) merged into it and written to
// run/adapter; the others wait. `base` is the folder that training began with, empty from scratch.
void save_tuned_clip(ClipModel& model, const nn::LoraOptions* lora, const std::string& base,
                     const RunDirectory& run, Communicator& communicator);

}  // namespace parapet
