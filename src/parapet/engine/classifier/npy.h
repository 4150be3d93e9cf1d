// NumPy's .npy files, read only. Format: numpy/lib/format.py, versions 1 to 3.
#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

namespace parapet {

struct NpyArray {
  std::vector<int64_t> shape;
  std::vector<float> values;  // row-major
};

// float16, float32 or float64 in little-endian, C or Fortran order. DataError: not such a file,
// another type, sizes that do not fit the file, more than `cap` bytes.
NpyArray load_npy(const std::filesystem::path& file, int64_t cap = int64_t{1} << 28);

}  // namespace parapet
