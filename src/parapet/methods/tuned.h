// What every method that tunes a model leaves in its run directory.
#pragma once
#include <string>

#include "parapet/models/model.h"
#include "parapet/training/run_directory.h"

namespace parapet {

class Communicator;

// Rank 0 writes run/model, with adapters (`lora` not null) merged into what is written and kept in
// run/adapter as a PEFT folder; the others wait. The model stays as it is. `base` is the folder
// that training began with, empty from scratch.
void save_tuned(const Model& model, const nn::LoraOptions* lora, const std::string& base,
                const RunDirectory& run, Communicator& communicator);

}  // namespace parapet
