#include "parapet/cli/embedding_cache_flags.h"

namespace parapet::cli {

void EmbeddingCacheFlags::visit(OptionList& list) {
  list.add("embedding-cache-mb", mb,
           "MiB of embeddings in memory: a text or image that comes again is not computed again, "
           "only scored; 0 = none");
  list.add("embedding-cache-file", file,
           "SQLite file that keeps embeddings between starts, made where there is none; guard it "
           "like the audit log; empty = none");
  list.add("embedding-cache-rows", rows, "embeddings in that file; the oldest go first");
}

void EmbeddingCacheFlags::validate(Problems& problems) const {
  problems.require(mb >= 0 && mb <= 1'048'576, "--embedding-cache-mb", "must be in 0..1048576");
  problems.require(rows >= 1 && rows <= 1'000'000'000, "--embedding-cache-rows",
                   "must be in 1..1000000000");
}

EmbeddingCacheOptions EmbeddingCacheFlags::options() const {
  return {.memory_bytes = mb << 20, .file = file, .file_rows = rows};
}

}  // namespace parapet::cli
