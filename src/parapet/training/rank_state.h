// What differs between ranks (data position, generators), brought together for rank 0 to save.
#pragma once
#include <nlohmann/json.hpp>

#include <string>

#include "parapet/nn/parameter.h"
#include "parapet/training/communicator.h"

namespace parapet {

// Every rank's value as a JSON array in rank order; call on all ranks.
nlohmann::json gather_json(Communicator& communicator, const nlohmann::json& value);
// Each [n] becomes [world_size, n]; call on all ranks.
nn::NamedTensors gather_rows(Communicator& communicator, const nn::NamedTensors& tensors);

}  // namespace parapet
