// Categories without training: from sentences held against neutral ones, or from a few examples in
// closed form. Over unit embeddings; plain floats.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace parapet::guard {

using Embedding = std::vector<float>;

// Share of the category among category and neutral prompts: softmax over all of them at the given
// temperature, each side averaged, so that the number of prompts does not matter.
class PromptHead {
 public:
  // Both lists not empty; all of one width.
  PromptHead(std::vector<Embedding> prompts, std::vector<Embedding> neutral, double temperature);
  double score(std::span<const float> embedding) const;  // 0..1

 private:
  std::vector<Embedding> prompts_, neutral_;
  double temperature_;
};

// Ridge regression of the class (+1, -1) on embeddings, classes weighted alike, centred between the
// two means; turned into a probability by a sigmoid fitted to leave-one-out predictions (Platt's
// targets), which are closed-form too.
class FewShotHead {
 public:
  // At least two examples of each kind, at most 500 in all; UsageError otherwise.
  FewShotHead(const std::vector<Embedding>& harmful, const std::vector<Embedding>& benign,
              double ridge = 0.1);
  double score(std::span<const float> embedding) const;  // 0..1
  // Share of examples on the right side of 0.5 when left out: what to expect of it.
  double leave_one_out_accuracy() const { return accuracy_; }

 private:
  std::vector<double> weights_;
  double offset_ = 0;
  double scale_ = 1, shift_ = 0;
  double accuracy_ = 0;
};

}  // namespace parapet::guard
