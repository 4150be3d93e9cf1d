// Samples streamed from tar shards that are too many or too large to index: the shards of an epoch
// in an order of their own, their samples through a shuffle buffer, each process its own shards.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "parapet/data/sources/source.h"
#include "parapet/formats/tar.h"

namespace parapet {

struct ShardStreamOptions {
  uint64_t seed = 0;
  int64_t buffer = 1000;                    // samples shuffled against each other; 1 = in order
  int64_t buffer_bytes = int64_t{1} << 30;  // the buffer is full at this size, too
  bool shuffle = true;                      // false: shards and samples in the order given
  int64_t part = 0, parts = 1;              // this process among all
  int64_t epochs = -1;                      // < 0 = endless
};

struct StreamedSample {
  ShardSample sample;
  std::string shard;
  int64_t epoch = 0;
  std::string place() const { return shard + "#" + sample.key; }
};

// Every sample of this part's shards once per epoch. Which shards a part has changes with the
// epoch; parts differ by at most one shard. The position holds the place in the open shard, the
// random stream and where each buffered sample lies, so that a restored stream continues with the
// very same samples (it reads the shards of the buffered samples again). UsageError: no shards, or
// fewer than parts. DataError: a damaged shard, an epoch without samples, a position of other
// shards.
SourcePtr<StreamedSample> shard_stream(std::vector<std::string> shards,
                                       const ShardStreamOptions& options);

// Whether `value` names shards: a .tar, .tar.gz, .tgz or .tar.zst file or brace pattern
// ("x-{000..010}.tar"), or a folder that holds such files and is no data set directory.
bool names_shards(const std::string& value);
// The shards that `value` names, in name order for a folder. DataError when one does not exist.
std::vector<std::string> list_shards(const std::string& value);

}  // namespace parapet
