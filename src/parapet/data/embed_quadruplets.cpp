#include "parapet/data/embed_quadruplets.h"

namespace parapet {

QuadrupletEmbeddings embed_quadruplets(Encoder& encoder, const std::vector<Quadruplet>& quadruplets,
                                       const std::string& source, const Context& context) {
  const auto column = [&](std::string Quadruplet::*field) {
    std::vector<std::string> values;
    values.reserve(quadruplets.size());
    for (const auto& item : quadruplets) values.push_back(item.*field);
    return values;
  };
  QuadrupletEmbeddings embeddings;
  embeddings.safe_text = encoder.encode_texts(column(&Quadruplet::safe_text), context);
  embeddings.unsafe_text = encoder.encode_texts(column(&Quadruplet::unsafe_text), context);
  embeddings.safe_image = encoder.encode_images(column(&Quadruplet::safe_image), context);
  embeddings.unsafe_image = encoder.encode_images(column(&Quadruplet::unsafe_image), context);
  embeddings.check(source);
  return embeddings;
}

}  // namespace parapet
