// Any bytes as a tar shard, also compressed: a DataError or samples.
#include "fuzz_file.h"
#include "parapet/core/error.h"
#include "parapet/formats/tar.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const parapet::fuzz::FuzzFile file("shard.tar");
  try {
    parapet::ShardReader reader(file.write(data, size));
    parapet::ShardSample sample;
    for (int i = 0; i < 1000 && reader.next(sample); ++i) {
    }
  } catch (const parapet::DataError&) {
  }
  return 0;
}
