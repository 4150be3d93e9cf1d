#include "parapet/engine/encoder/quadruplet_embeddings.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"

namespace parapet {

void QuadrupletEmbeddings::check(const std::string& source) const {
  const std::pair<const char*, const at::Tensor*> parts[] = {{"safe texts", &safe_text},
                                                             {"unsafe texts", &unsafe_text},
                                                             {"safe images", &safe_image},
                                                             {"unsafe images", &unsafe_image}};
  for (const auto& [name, rows] : parts) {
    const std::string place = source + ": embeddings of " + name;
    if (!rows->defined() || rows->dim() != 2) throw DataError(place, "are missing");
    if (rows->sizes() != safe_text.sizes())
      throw DataError(place, "have another shape than those of the safe texts");
    const at::Tensor bad = at::isfinite(*rows).all(1).logical_not();
    if (bad.any().item<bool>())
      throw DataError(place,
                      "row " + std::to_string(bad.nonzero()[0][0].item<int64_t>()) +
                          " is not finite (NaN or infinity)",
                      "Check the model's weights.");
  }
}

QuadrupletEmbeddings embed_quadruplets(Encoder& encoder, const QuadrupletColumns& quadruplets,
                                       const std::string& source, const Context& context) {
  QuadrupletEmbeddings embeddings;
  embeddings.safe_text = encoder.encode_texts(quadruplets.safe_texts, context);
  embeddings.unsafe_text = encoder.encode_texts(quadruplets.unsafe_texts, context);
  embeddings.safe_image = encoder.encode_images(quadruplets.safe_images, context);
  embeddings.unsafe_image = encoder.encode_images(quadruplets.unsafe_images, context);
  embeddings.check(source);
  return embeddings;
}

}  // namespace parapet
