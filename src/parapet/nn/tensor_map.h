// How the tensors of a file differ from those of a model, as one table that works in both
// directions: what loading reads, saving writes back. Names that no rule knows are the same on both
// sides. The first rule that fits a name counts.
//
// Patterns: "{}" stands for one part of a dotted name ("layers.{}.weight"), "*" for any characters.
// What they stood for is put into the other side's patterns in the same order.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parapet/nn/parameter.h"

namespace parapet::nn {

// One change of shape, from the file's tensor to the model's.
struct TensorStep {
  int64_t dim = -1;             // -1: the dimensions are reordered, as in Tensor::permute
  std::vector<int64_t> groups;  // else: `dim` is seen as these sizes (one may be -1), which are
  std::vector<int64_t> order;   // put in this order and merged again
};

struct TensorRule {
  enum class Kind {
    kMap,   // `file` becomes `model`; at most one of the two lists is longer than one
    kDrop,  // in files, but not part of the model
    kOmit,  // part of the model, but without a place in the file
    kTie,   // model[0] is model[1] under another name: written once
  };
  Kind kind = Kind::kMap;
  std::vector<std::string> file, model;
  int64_t dim = 0;                // several names: stacked along this dimension
  std::vector<int64_t> sizes;     // of the stacked pieces; empty = equal
  std::vector<TensorStep> steps;  // applied to the whole, in order, from file to model
  std::string reason;             // of kDrop and kOmit

  // The model's tensor is the file's with its dimensions in this order.
  TensorRule permuted(std::vector<int64_t> order) const;
  TensorRule transposed() const { return permuted({1, 0}); }
  // Dimension `dim` of the file's tensor, seen as `groups`, has them in `order` in the model. The
  // rows of GGUF's q and k, whose rotary pairs lie side by side, come back to Hugging Face's two
  // halves by regrouped(0, {heads, -1, 2}, {0, 2, 1}).
  TensorRule regrouped(int64_t dim, std::vector<int64_t> groups, std::vector<int64_t> order) const;
};

TensorRule rename(std::string file, std::string model);
// One tensor of the file holds several of the model, stacked.
TensorRule split(std::string file, std::vector<std::string> model, int64_t dim = 0,
                 std::vector<int64_t> sizes = {});
// Several tensors of the file make one of the model.
TensorRule concat(std::vector<std::string> file, std::string model, int64_t dim = 0,
                  std::vector<int64_t> sizes = {});
TensorRule drop(std::string file, std::string reason);
TensorRule omit(std::string model, std::string reason);
// The model has no tensor `name`, because it is `of`. Files may leave it out or hold the same
// values.
TensorRule tie(std::string name, std::string of);

class TensorMap {
 public:
  TensorMap() = default;  // every name as it is
  // An internal Error names a rule whose sides do not fit together.
  explicit TensorMap(std::vector<TensorRule> rules);

  // Under the model's names, without what rules drop. `problems` gets a line for each tensor whose
  // shape does not allow its rule, each name that two tensors claim, and each tie that is broken.
  TensorDict to_model(const TensorDict& file, std::vector<std::string>& problems) const;
  // Under the file's names, in the order of `model`. An internal Error when only some of the pieces
  // of one tensor are there.
  NamedTensors to_file(const NamedTensors& model) const;
  // Where the model's `name` stands in a file.
  std::vector<std::string> file_names(const std::string& name) const;
  const std::vector<TensorRule>& rules() const { return rules_; }

 private:
  std::vector<TensorRule> rules_;
};

}  // namespace parapet::nn
