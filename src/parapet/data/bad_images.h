// Images that exist but cannot be decoded, for --on-bad-sample skip.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/captions.h"
#include "parapet/data/dataset.h"
#include "parapet/formats/image.h"
#include "parapet/formats/image_processor.h"

namespace parapet {

// Decodes every image once, removes the samples that have a bad one from `items` and returns how
// many. Their reasons are added to the JSON Lines file `quarantine` (empty = not written) after its
// first `lines` lines, as load_quadruplets writes it. Cancelled on Ctrl-C.
int64_t drop_undecodable(std::vector<Quadruplet>& items, const std::filesystem::path& quarantine,
                         int64_t lines, const DecodeOptions& decode, const Context& context);

// One split of a data set directory as training reads it: images must exist, and under kSkip
// samples that are bad, or whose image cannot be decoded at the size that `processor` needs, are
// left out and counted in `counts`.
std::vector<Quadruplet> load_good_quadruplets(const std::filesystem::path& folder,
                                              const std::string& split,
                                              const ImageProcessor& processor,
                                              const BadSamples& bad, SampleCounts& counts);
std::vector<CaptionSample> load_good_captions(const std::filesystem::path& folder,
                                              const std::string& split,
                                              const ImageProcessor& processor,
                                              const BadSamples& bad, SampleCounts& counts);

}  // namespace parapet
