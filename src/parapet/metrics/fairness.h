// Does a score treat groups alike: AUCs of Borkan et al. (arXiv 1903.04561) and error rates at the
// deployed threshold, per group.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "parapet/metrics/classification.h"

namespace parapet {

struct GroupFairness {
  std::string group;
  int64_t n = 0;
  Estimate subgroup_auc;  // both classes inside the group
  Estimate bpsn_auc;      // benign of the group against harmful of the others
  Estimate bnsp_auc;      // harmful of the group against benign of the others
  Estimate fpr, fnr;      // at the threshold; Wilson intervals
};

struct FairnessResult {
  std::vector<GroupFairness> groups;  // in order of name; groups below `min_items` left out
  Estimate overall_auc;
  // Largest minus smallest over groups, with bootstrap intervals.
  Estimate fpr_gap, fnr_gap;
  // .25 overall + .25 x the generalised mean (power -5) over groups of each AUC.
  double final_metric = 0;
};

// `group` names each item's group; empty = unknown, in no group. AUCs without both classes are not
// a number and do not enter the means.
FairnessResult fairness(const ScoredItems& items, const std::vector<std::string>& group,
                        double threshold, const BootstrapOptions& options, int64_t min_items = 20);

// (mean of x^p)^(1/p) over the values that are numbers.
double generalised_mean(const std::vector<double>& values, double power);

}  // namespace parapet
