// The first level: limits, data URIs, downloads, decoding. What passes is ready for every signal;
// what does not is a failure with its reason.
#pragma once
#include <optional>
#include <vector>

#include "parapet/guard/decision.h"
#include "parapet/guard/fetch.h"
#include "parapet/guard/policy.h"
#include "parapet/guard/signal.h"

namespace parapet::guard {

struct Prepared {
  std::vector<PreparedPart> parts;    // those that can be scanned, each followed by its views
  std::vector<PartResult> results;    // one per part of the request
  std::vector<ScanFailure> failures;  // `action` not set yet
  double fetch_milliseconds = 0;
};

// `scale_for` as DecodeOptions: what the encoder needs; 0 = decode in full. Images that the
// deadline leaves no time to read fail with reason deadline.
Prepared prepare_parts(const GuardRequest& request, const Policy& policy, const Fetcher& fetcher,
                       int64_t scale_for, const std::optional<Clock::time_point>& deadline = {});

}  // namespace parapet::guard
