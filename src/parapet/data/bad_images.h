// Images that exist but cannot be decoded, for --on-bad-sample skip.
#pragma once
#include <filesystem>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/dataset.h"
#include "parapet/formats/image.h"

namespace parapet {

// Decodes every image once, removes the samples that have a bad one from `items` and returns how
// many. Their reasons are added to the JSON Lines file `quarantine` (empty = not written) after its
// first `lines` lines, as load_quadruplets and load_captions write it. Cancelled on Ctrl-C.
int64_t drop_undecodable(std::vector<Quadruplet>& items, const std::filesystem::path& quarantine,
                         int64_t lines, const DecodeOptions& decode, const Context& context);
int64_t drop_undecodable(std::vector<CaptionSample>& items, const std::filesystem::path& quarantine,
                         int64_t lines, const DecodeOptions& decode, const Context& context);

}  // namespace parapet
