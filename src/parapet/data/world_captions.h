// Captions drawn online from the sample world, with what is in each picture.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "parapet/data/captions.h"
#include "parapet/data/world.h"

namespace parapet {

// What the world knows of a batch's pictures.
struct WorldLabels {
  std::vector<float> glyphs;     // [n, kGlyphs] 0/1: what is drawn
  std::vector<int64_t> colours;  // [n]
};

// Endless; the captions of `world`'s training split starting at sample `first`.
std::unique_ptr<CaptionSet> world_captions(std::shared_ptr<const SampleWorld> world,
                                           CaptionPipeline pipeline, int64_t first);

}  // namespace parapet
