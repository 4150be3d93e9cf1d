// --embedding-cache-...: what `serve` and `guard check` remember of texts and images.
#pragma once
#include <cstdint>
#include <string>

#include "parapet/core/options.h"
#include "parapet/engine/cache/embedding_cache.h"

namespace parapet::cli {

struct EmbeddingCacheFlags {
  int64_t mb = 64;  // 0 = none in memory
  std::string file;
  int64_t rows = 1'000'000;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
  EmbeddingCacheOptions options() const;
};

}  // namespace parapet::cli
