#include "parapet/methods/guard_heads/filter_options.h"

#include "parapet/core/strings.h"

namespace parapet {
namespace {

void warn_outside(const Context& context, const char* name, double value, double low, double high,
                  const char* range) {
  if (value >= low && value <= high) return;
  context.warn(std::string(name) + " is outside the recommended range " + range);
}

}  // namespace

void FilterLossOptions::visit(OptionList& list) {
  list.add("loss", loss, "classification loss", {"bce", "focal"});
  list.add("focal-gamma", focal_gamma, "how much focal loss plays down easy items");
  list.add("class-balance", class_balance, "weigh rare categories up, at most 20-fold");
  list.add("classification-weight", classification, "weight of the classification loss");
  list.add("contradiction-weight", contradiction, "weight of the contradiction loss");
  list.add("mismatched-pairs", mismatched_pairs,
           "weight of further contradictions: texts swapped between the samples of a batch");
  list.add("implicit-in-sides", implicit_in_sides,
           "control: ask image and text alone for the verdict on the pair");
}

void FilterLossOptions::validate(Problems& problems) const {
  problems.require(focal_gamma >= 0 && focal_gamma <= 10, "--focal-gamma", "must be in 0..10");
  for (const auto& [name, value] : {std::pair{"--classification-weight", classification},
                                    std::pair{"--contradiction-weight", contradiction},
                                    std::pair{"--mismatched-pairs", mismatched_pairs}})
    problems.require(value >= 0, name, "must be >= 0");
  problems.require(classification > 0 || contradiction > 0, "--classification-weight",
                   "nothing is left to train");
}

void BiasOptions::visit(OptionList& list) {
  list.add("balance", balance,
           "equal shares of benign and harmful (and of --balance-by): draw or weigh",
           {"none", "resample", "reweight"});
  list.add("balance-by", balance_by, "attributes to balance too, e.g. language");
  list.add("group", group, "attribute whose groups are to be treated alike");
  list.add("score-alignment", score_alignment,
           "weight of the spread of mean scores between groups, for benign and for harmful");
  list.add("gradient-reversal", gradient_reversal,
           "weight of an opponent that guesses the group from the hidden units");
}

void BiasOptions::validate(Problems& problems) const {
  problems.require(score_alignment >= 0, "--score-alignment", "must be >= 0");
  problems.require(gradient_reversal >= 0, "--gradient-reversal", "must be >= 0");
  problems.require((score_alignment == 0 && gradient_reversal == 0) || !group.empty(), "--group",
                   "is needed by --score-alignment and --gradient-reversal");
  problems.require(balance_by.empty() || balance != "none", "--balance-by",
                   "needs --balance resample or reweight");
}

void UnfreezeOptions::visit(OptionList& list) {
  list.add("unfrozen-share", share, "of each tower's layers that train, from the top");
  list.add("unfreeze-stages", stages, "epochs over which they are set free, top first");
  list.add("trunk-lr", trunk_lr, "learning rate of the top layer");
  list.add("layer-decay", layer_decay, "factor on the learning rate of each layer below");
  list.add("contrastive-weight", contrastive, "weight of InfoNCE on benign pairs");
  list.add("cosine-weight", cosine_to_original, "weight of staying near the untouched model");
}

void UnfreezeOptions::validate(Problems& problems) const {
  problems.require(share >= 0 && share <= 1, "--unfrozen-share", "must be in 0..1");
  problems.require(stages >= 1 && stages <= 1000, "--unfreeze-stages", "must be in 1..1000");
  problems.require(trunk_lr > 0, "--trunk-lr", "must be > 0");
  problems.require(layer_decay > 0 && layer_decay <= 1, "--layer-decay", "must be in (0, 1]");
  problems.require(contrastive >= 0, "--contrastive-weight", "must be >= 0");
  problems.require(cosine_to_original >= 0, "--cosine-weight", "must be >= 0");
}

void FilterOptions::visit(OptionList& list) {
  list.add("mode", mode, "heads on the frozen model, or finetune its top layers too",
           {"heads", "finetune"});
  list.add("hidden", hidden, "hidden units of each head; 0 = linear");
  list.add("batch-size", batch, "samples per step and process");
  list.add("epochs", epochs, "passes over the data; sets max-steps");
  list.add("embedding-noise", embedding_noise, "deviation of noise on embeddings, mode heads");
  list.add("augment-copies", augment_copies,
           "mode heads: changed copies of each sample, embedded once; finetune changes anew");
  list.add("dropout", dropout, "of hidden units in training");
  loss.visit(list);
  bias.visit(list);
  adversary.visit(list);
  unfreeze.visit(list);
  augment.visit(list);
}

void FilterOptions::validate(Problems& problems) const {
  problems.require(hidden >= 0 && hidden <= 65536, "--hidden", "must be in 0..65536");
  problems.require(batch >= 2 && batch <= 65536, "--batch-size", "must be in 2..65536");
  problems.require(epochs >= 1 && epochs <= 100000, "--epochs", "must be in 1..100000");
  problems.require(embedding_noise >= 0 && embedding_noise <= 1, "--embedding-noise",
                   "must be in 0..1");
  problems.require(augment_copies >= 0 && augment_copies <= 100, "--augment-copies",
                   "must be in 0..100");
  problems.require(dropout >= 0 && dropout < 1, "--dropout", "must be in [0, 1)");
  problems.require(!adversary.on_pixels() || mode == "finetune", "--adversary",
                   "pixels need --mode finetune; heads mode sees embeddings only");
  problems.require(bias.gradient_reversal == 0 || hidden > 0 || mode == "finetune",
                   "--gradient-reversal",
                   "needs --hidden > 0: linear heads have no hidden units to reverse it into");
  loss.validate(problems);
  bias.validate(problems);
  adversary.validate(problems);
  unfreeze.validate(problems);
  augment.validate(problems);
}

void FilterOptions::warn(const Context& context) const {
  if (mode != "finetune") return;
  warn_outside(context, "--batch-size", static_cast<double>(batch), 32, 128, "32 to 128");
  warn_outside(context, "--epochs", static_cast<double>(epochs), 3, 10, "3 to 10");
  warn_outside(context, "--trunk-lr", unfreeze.trunk_lr, 1e-6, 5e-5, "1e-6 to 5e-5");
  warn_outside(context, "--unfrozen-share", unfreeze.share, 0.3, 0.7, "0.3 to 0.7 (30 % to 70 %)");
}

}  // namespace parapet
