// Any bytes as a .safetensors file: a DataError, or tensors that lie inside the file.
#include "fuzz_file.h"
#include "parapet/core/error.h"
#include "parapet/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const parapet::fuzz::FuzzFile file("model.safetensors");
  try {
    const auto archive = parapet::TensorArchive::open(file.write(data, size));
    unsigned sum = 0;
    for (const auto& [name, tensor] : archive.tensors()) {
      if (static_cast<uint64_t>(tensor.elements() * parapet::dtype_size(tensor.dtype)) !=
          tensor.data.size())
        __builtin_trap();
      for (const std::byte byte : tensor.data) sum += static_cast<unsigned>(byte);
    }
    static volatile unsigned sink;
    sink = sum;  // every byte was read
  } catch (const parapet::DataError&) {
  }
  return 0;
}
