// Guard heads: small networks over CLIP embeddings that score harm per category from an image, a
// text and the pair, and whether image and text contradict each other. This header knows no torch:
// the guard and the shard filter call it with plain floats.
//
// Files: guard_heads.safetensors (weights) and guard_heads.json (categories, calibration,
// thresholds, hash of the CLIP model whose embeddings the heads were trained on).
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/methods/guard_heads/heads_info.h"

namespace parapet {

// Scores of one head, calibrated probabilities in 0..1. Absent when its input was not given.
struct HeadScores {
  bool present = false;
  float harm = 0;                 // of any category
  std::vector<float> categories;  // as GuardHeads::categories()
};

struct GuardScores {
  std::array<HeadScores, 3> by_input;  // indexed by HeadInput
  // Of the pair; zero unless by_input[kJoint].present.
  float contradiction = 0;      // probability that the text does not describe the image
  float implicit = 0;           // probability of harm that only both sides together carry
  float cosine = 0;             // of image and text
  float cosine_percentile = 0;  // share of benign matching pairs with a lower cosine, 0..1
  const HeadScores& image() const { return by_input[0]; }
  const HeadScores& text() const { return by_input[1]; }
  const HeadScores& joint() const { return by_input[2]; }
};

class GuardHeads {
 public:
  // A folder with guard_heads.json, or that file. DataError names a missing or mis-shaped tensor,
  // a missing field, weights that are not finite.
  static GuardHeads load(const std::filesystem::path& path);
  ~GuardHeads();
  GuardHeads(GuardHeads&&) noexcept;
  GuardHeads& operator=(GuardHeads&&) noexcept;

  const GuardHeadsInfo& info() const;
  int64_t dim() const { return info().dim; }
  const std::vector<std::string>& categories() const { return info().categories; }
  // -1 when there is none.
  int64_t category_index(std::string_view name) const;
  // DataError when `model_key` (model_content_key) is not the model the heads belong to.
  void check_model(std::string_view model_key, std::string_view source) const;

  // Unit embeddings of dim() floats; either may be empty (then its head and the pair are absent).
  // UsageError on another width, DataError on values that are not finite. Thread-safe.
  GuardScores score(std::span<const float> image, std::span<const float> text) const;
  // `count` rows each, row-major; an empty span = that side is absent for all. Same results as
  // score() up to float rounding.
  std::vector<GuardScores> score_batch(std::span<const float> images, std::span<const float> texts,
                                       int64_t count) const;

 private:
  struct State;
  explicit GuardHeads(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace parapet
