// Any bytes as a .gguf file: a DataError, or tensors that lie inside the file.
#include <vector>

#include "fuzz_file.h"
#include "parapet/core/error.h"
#include "parapet/formats/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const parapet::fuzz::FuzzFile file("model.gguf");
  try {
    const auto gguf = parapet::GgufFile::open(file.write(data, size));
    double sum = 0;
    for (const auto& [name, tensor] : gguf.tensors()) {
      // At most sixteen numbers to a byte, so that the file bounds what is allocated.
      if (static_cast<size_t>(tensor.elements()) > 16 * size) __builtin_trap();
      std::vector<float> values(static_cast<size_t>(tensor.elements()));
      parapet::dequantize(tensor.type, tensor.data, values);
      sum += values.front() + values.back();
    }
    static volatile double sink;
    sink = sum;  // every tensor was read
  } catch (const parapet::DataError&) {
  }
  return 0;
}
