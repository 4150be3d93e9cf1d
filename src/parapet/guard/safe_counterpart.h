// With a hardened CLIP: the nearest safe picture or caption of a user's gallery, or the redirected
// embedding itself.
#pragma once
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/encoder/model_store.h"
#include "parapet/guard/signal.h"

namespace parapet::guard {

class SafeCounterpart {
 public:
  // `gallery`: a data set folder with captions.jsonl (text, image); empty = embeddings only. All
  // are embedded by `hardened` here, so that query and gallery lie in one space.
  SafeCounterpart(std::shared_ptr<const SharedEncoder> hardened,
                  const std::filesystem::path& gallery, const Context& context);

  struct Found {
    std::string content;  // the caption, or the picture's bytes as PNG
    std::string id;       // of the gallery item
    double cosine = 0;
    bool ok = false;
  };
  Found nearest_image(const Embedding& embedding) const;
  Found nearest_text(const Embedding& embedding) const;
  // By the hardened model; empty when it fails.
  Embedding embed(const PreparedPart& part) const;
  const std::string& version() const { return hardened_->version; }

 private:
  struct Item {
    std::string id, text, image;
    Embedding text_embedding, image_embedding;
  };
  std::shared_ptr<const SharedEncoder> hardened_;
  std::vector<Item> items_;
};

}  // namespace parapet::guard
