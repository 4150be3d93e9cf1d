#include "parapet/engine/classifier/npy.h"

#include <c10/util/Half.h>

#include <cstring>

#include "parapet/core/error.h"
#include "parapet/core/files.h"

namespace parapet {
namespace {

// The value after 'key': in the header's Python literal.
std::string_view field(std::string_view header, std::string_view key, const std::string& source) {
  const size_t at = header.find("'" + std::string(key) + "'");
  const size_t colon = at == std::string_view::npos ? at : header.find(':', at);
  const size_t value =
      colon == std::string_view::npos ? colon : header.find_first_not_of(' ', colon + 1);
  if (value == std::string_view::npos)
    throw DataError(source, "has no '" + std::string(key) + "' in its header");
  return header.substr(value);
}

std::vector<int64_t> parse_shape(std::string_view text, const std::string& source) {
  const size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == std::string_view::npos)
    throw DataError(source, "has a malformed shape");
  std::vector<int64_t> shape;
  int64_t value = -1;
  for (const char c : text.substr(1, end)) {
    if (c >= '0' && c <= '9') {
      value = (value < 0 ? 0 : value) * 10 + (c - '0');
      if (value > (int64_t{1} << 32)) throw DataError(source, "has a shape that is too large");
    } else if (c == ',' || c == ')') {
      if (value >= 0) shape.push_back(value);
      value = -1;
    } else if (c != ' ') {
      throw DataError(source, "has a malformed shape");
    }
  }
  return shape;
}

float read_value(const char* at, char kind) {
  if (kind == '2') {
    uint16_t bits = 0;
    std::memcpy(&bits, at, sizeof bits);
    return c10::Half(bits, c10::Half::from_bits());
  }
  if (kind == '4') {
    float value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  double value = 0;
  std::memcpy(&value, at, sizeof value);
  return static_cast<float>(value);
}

}  // namespace

NpyArray load_npy(const std::filesystem::path& file, int64_t cap) {
  const std::string source = file.string(), bytes = read_file(file, cap);
  if (bytes.size() < 12 || bytes.compare(0, 6, "\x93NUMPY") != 0)
    throw DataError(source, "is not a .npy file");
  const bool wide = bytes[6] >= 2;
  uint32_t length = 0;
  std::memcpy(&length, bytes.data() + 8, wide ? 4 : 2);
  const size_t start = wide ? 12 : 10;
  if (start + length > bytes.size()) throw DataError(source, "ends inside its header");
  const std::string_view header = std::string_view(bytes).substr(start, length);
  const std::string_view type = field(header, "descr", source).substr(0, 5);
  if (type != "'<f4'" && type != "'<f2'" && type != "'<f8'")
    throw DataError(source, "holds " + std::string(type) + ", not float16, float32 or float64",
                    "Save it with numpy.save(file, array.astype('float32')).");
  NpyArray array;
  array.shape = parse_shape(field(header, "shape", source), source);
  const bool fortran = field(header, "fortran_order", source).starts_with("True");
  const size_t width = static_cast<size_t>(type[3] - '0');
  size_t count = 1;
  for (const int64_t size : array.shape) {
    count *= static_cast<size_t>(size);
    if (count > bytes.size()) throw DataError(source, "is shorter than its shape says");
  }
  if (start + length + count * width != bytes.size())
    throw DataError(source, "holds " + std::to_string(bytes.size() - start - length) +
                                " bytes, its shape says " + std::to_string(count * width));
  if (fortran && array.shape.size() > 2)
    throw DataError(source, "is in Fortran order with more than two dimensions");
  array.values.resize(count);
  const char* data = bytes.data() + start + length;
  const bool transposed = fortran && array.shape.size() == 2;
  const size_t rows = transposed ? static_cast<size_t>(array.shape[0]) : 1;
  const size_t columns = transposed ? static_cast<size_t>(array.shape[1]) : count;
  for (size_t r = 0; r < rows; ++r)
    for (size_t c = 0; c < columns; ++c)
      array.values[r * columns + c] =
          read_value(data + (transposed ? c * rows + r : c) * width, type[2 + 1]);
  return array;
}

}  // namespace parapet
