// Quadruplets through an encoder.
#pragma once
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/dataset.h"
#include "parapet/engine/encoder.h"
#include "parapet/engine/quadruplet_embeddings.h"

namespace parapet {

// Four encoder calls. DataError names the image that failed, or `source`, a model whose output is
// not finite.
QuadrupletEmbeddings embed_quadruplets(Encoder& encoder, const std::vector<Quadruplet>& quadruplets,
                                       const std::string& source, const Context& context);

}  // namespace parapet
