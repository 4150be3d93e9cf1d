// Options of `parapet train guard`. Defaults follow the teaching document where it names a range.
#pragma once
#include <string>
#include <vector>

#include "parapet/attacks/adversary.h"
#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/methods/guard_heads/augment.h"

namespace parapet {

// How classification errors count.
struct FilterLossOptions {
  std::string loss = "bce";        // bce | focal (Lin et al., arXiv 1708.02002)
  double focal_gamma = 2.0;        // >= 0
  bool class_balance = true;       // weigh harmful items of a rare category up, at most 20-fold
  double classification = 1.0;     // weight of the loss over image, text and pair
  double contradiction = 1.0;      // weight of the contradiction loss
  double mismatched_pairs = 0.5;   // of extra contradictions: texts rolled by one in the batch
  bool implicit_in_sides = false;  // control: single sides are asked for pair verdicts too
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// Against bias between groups.
struct BiasOptions {
  std::string balance = "resample";     // none | resample | reweight: cells of harm x balance-by
  std::vector<std::string> balance_by;  // attributes, e.g. language
  std::string group;                    // attribute of the two below, e.g. language
  double score_alignment = 0;    // weight: mean score per group, benign and harmful, drawn together
  double gradient_reversal = 0;  // weight: hidden units that cannot tell the group
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// Mode finetune: which layers train, and how CLIP's ability is kept.
struct UnfreezeOptions {
  double share = 0.5;               // of each tower's layers, from the top; document: 30-70 %
  int64_t stages = 3;               // reached in this many steps, one per epoch
  double trunk_lr = 1e-5;           // of the top layer; document: 1e-6 to 5e-5
  double layer_decay = 0.8;         // learning rate of each layer below
  double contrastive = 1.0;         // weight of InfoNCE on benign pairs
  double cosine_to_original = 0.1;  // weight of 1 - cosine to the untouched model
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

struct FilterOptions {
  std::string mode = "heads";  // heads: frozen CLIP, cached embeddings | finetune
  int64_t hidden = 256;        // hidden units per head; 0 = linear
  int64_t batch = 64;          // document: 32 to 128
  int64_t epochs = 5;          // document: 3 to 10
  double embedding_noise = 0;  // deviation of noise on unit embeddings, heads mode
  int64_t augment_copies = 0;  // heads mode: changed copies of each sample, embedded once
  double dropout = 0;          // of hidden units
  FilterLossOptions loss;
  BiasOptions bias;
  AdversaryOptions adversary;
  UnfreezeOptions unfreeze;
  AugmentOptions augment;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
  // Mode finetune: one line per value outside the document's range.
  void warn(const Context& context) const;
};

}  // namespace parapet
