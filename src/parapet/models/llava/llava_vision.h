// A CLIP vision tower put into an existing LLaVA checkpoint.
#pragma once
#include <filesystem>

#include "parapet/models/clip/clip_export.h"

namespace parapet {

// Copies the checkpoint folder `llava` (safetensors, one file or shards with their index) to `out`
// with the weights of its vision tower replaced by those of `model`, each in the type that the
// checkpoint stores. Every other tensor and file is copied as it is; pickles are left out. The
// names of the tower are those that the checkpoint uses: "vision_tower.vision_model.",
// "vision_tower." or "model.vision_tower." and LLaVA's own "model.vision_tower.vision_tower.
// vision_model.". UsageError: no vision tower, or `out` is `llava`. DataError lists every tensor
// that is missing on one side or of another shape, and every field of vision_config that differs.
// `tensors` and `bytes` of the result count what was replaced.
ClipExport put_into_llava(const ClipModel& model, const std::filesystem::path& llava,
                          const std::filesystem::path& out);

}  // namespace parapet
