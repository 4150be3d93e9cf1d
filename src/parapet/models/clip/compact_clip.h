// A CLIP in a file of a few megabytes, small enough for a source repository: matrices in 8 bits per
// weight, and only those token rows that training changed.
#pragma once
#include <cstdint>
#include <filesystem>

#include "parapet/models/clip/clip.h"

namespace parapet {

struct CompactClipInfo {
  int64_t token_rows = 0;  // stored; the others are drawn again from the seed
  double token_decay = 1;  // what weight decay left of a row that no text used
  int64_t bytes = 0;       // of the file
};

// Writes `model`, a full CLIP that was trained from ClipModel::random(config, seed). A matrix is
// stored as int8 with one float32 scale per output row (largest weight = 127). A row of the token
// table that equals its initial value times one common factor (weight decay) is left out. All else
// is float32. The configuration and the seed are in the file's metadata. UsageError when no token
// row equals its initial value: then the seed is not the model's.
CompactClipInfo save_compact_clip(ClipModel& model, uint64_t seed,
                                  const std::filesystem::path& file);

// The model again, float32. DataError names the file and what is missing or does not fit.
ClipModel load_compact_clip(const std::filesystem::path& file);

}  // namespace parapet
