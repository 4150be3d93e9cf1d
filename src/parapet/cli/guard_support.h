// What the commands around guard heads share: finding heads and their model, and the samples they
// know.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/data/dataset.h"
#include "parapet/methods/guard_heads/train_guard.h"

namespace parapet::cli {

// Heads and the CLIP folder they belong to, from a run of `train guard`, a CLIP folder with heads
// inside, or both named.
struct GuardFiles {
  std::filesystem::path model, heads;
};
GuardFiles find_guard(const std::string& model, const std::string& heads);

// The folder of heads: `run` itself, or the one inside a run of `train guard`.
std::filesystem::path find_heads(const std::filesystem::path& run);

// --model-cache: "auto" is parapet/models in the user's cache folder ($XDG_CACHE_HOME, else
// ~/.cache), "none" or a user without one no folder.
inline constexpr const char* kModelCacheHelp =
    "folder that keeps compiled models between starts; auto = the user's cache folder, or none";
std::filesystem::path model_cache(const std::string& option);

// Content keys of the samples that heads were trained and calibrated on, into the heads' folder.
void save_sample_keys(const std::filesystem::path& heads, const TrainedGuard& guard);
// SplitOverlap when heads were trained or calibrated on one of `samples`. A warning counts pictures
// that they have seen with other texts, or says that the folder lacks its list.
void require_unseen(const std::filesystem::path& heads, const std::vector<LabelSample>& samples,
                    const std::string& source, const Context& context);

}  // namespace parapet::cli
