// The metadata of a GGUF file: typed values under keys.
#include "parapet/formats/gguf_internal.h"

namespace parapet::gguf_detail {
namespace {

// Far above any published model. They bound what is allocated before a file proved itself.
constexpr uint64_t kMaxItems = 1 << 22;               // of one list
constexpr uint64_t kMaxText = uint64_t{1} << 24;      // bytes of one string
constexpr uint64_t kMaxMetadata = uint64_t{1} << 29;  // bytes of memory, all values together
constexpr int kMaxDepth = 4;                          // of lists in lists

// As the files number them.
enum ValueType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

uint64_t size_of(uint32_t type) {
  switch (type) {
    case kU8:
    case kI8:
    case kBool:
      return 1;
    case kU16:
    case kI16:
      return 2;
    case kU32:
    case kI32:
    case kF32:
      return 4;
    case kArray:
      return 12;  // at least: the items' type and their number
    default:
      return 8;  // a string's length included
  }
}

class MetadataReader {
 public:
  explicit MetadataReader(Cursor& cursor) : cursor_(cursor) {}

  void read(uint64_t count, std::map<std::string, GgufValue>& out) {
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t start = cursor_.at();
      const std::string key = cursor_.text(kMaxName, "the key of entry " + std::to_string(i));
      if (key.empty())
        cursor_.fail_damaged(start, "the key of entry " + std::to_string(i) + " is empty");
      what_ = "the value of '" + key.substr(0, 200) + "'";
      const auto type = cursor_.read<uint32_t>(what_);
      charge(start, key.size() + sizeof(GgufValue));
      GgufValue value = read_value(type, 0);
      if (!out.emplace(key, std::move(value)).second)
        cursor_.fail(start, "the key '" + key.substr(0, 200) + "' appears a second time",
                     "Export the model again.");
    }
  }

 private:
  void charge(uint64_t start, uint64_t bytes) {
    used_ += bytes;
    if (used_ > kMaxMetadata)
      cursor_.fail(
          start,
          "the metadata takes more than " + std::to_string(kMaxMetadata) + " bytes of memory",
          "The file is damaged or is no model.");
  }

  GgufValue read_value(uint32_t type, int depth) {
    switch (type) {
      case kU8:
        return number<uint8_t, uint64_t>();
      case kU16:
        return number<uint16_t, uint64_t>();
      case kU32:
        return number<uint32_t, uint64_t>();
      case kU64:
        return number<uint64_t, uint64_t>();
      case kI8:
        return number<int8_t, int64_t>();
      case kI16:
        return number<int16_t, int64_t>();
      case kI32:
        return number<int32_t, int64_t>();
      case kI64:
        return number<int64_t, int64_t>();
      case kF32:
        return number<float, double>();
      case kF64:
        return number<double, double>();
      case kBool:
        return boolean();
      case kString:
        return text();
      case kArray:
        return list(depth);
      default:
        cursor_.fail_damaged(cursor_.at() - sizeof type,
                             what_ + " has the unknown type " + std::to_string(type));
    }
  }

  template <class Stored, class Kept>
  GgufValue number() {
    return GgufValue(GgufValue::Holder(static_cast<Kept>(cursor_.read<Stored>(what_))));
  }
  GgufValue boolean() {
    const uint64_t start = cursor_.at();
    const auto value = cursor_.read<uint8_t>(what_);
    if (value > 1)
      cursor_.fail_damaged(start, what_ + " should be 0 or 1, but is " + std::to_string(value));
    return GgufValue(GgufValue::Holder(value == 1));
  }
  GgufValue text() {
    const uint64_t start = cursor_.at();
    std::string value = cursor_.text(kMaxText, what_);
    charge(start, value.size());
    return GgufValue(GgufValue::Holder(std::move(value)));
  }

  GgufValue list(int depth) {
    const uint64_t start = cursor_.at();
    const auto type = cursor_.read<uint32_t>(what_);
    const auto count = cursor_.read<uint64_t>(what_);
    if (type > kF64)
      cursor_.fail_damaged(start, what_ + " is a list of the unknown type " + std::to_string(type));
    if (depth >= kMaxDepth) cursor_.fail_damaged(start, what_ + " holds lists in lists too deep");
    if (count > kMaxItems || count > cursor_.left() / size_of(type))
      cursor_.fail_damaged(start, what_ + " is said to have " + std::to_string(count) +
                                      " items, but " + std::to_string(cursor_.left()) +
                                      " bytes are left and the limit is " +
                                      std::to_string(kMaxItems));
    charge(start, count * sizeof(GgufValue));
    GgufValue::List items;
    items.reserve(count);
    for (uint64_t i = 0; i < count; ++i) items.push_back(read_value(type, depth + 1));
    return GgufValue(GgufValue::Holder(std::move(items)));
  }

  Cursor& cursor_;
  std::string what_;
  uint64_t used_ = 0;
};

}  // namespace

void read_metadata(Cursor& cursor, uint64_t count, std::map<std::string, GgufValue>& out) {
  MetadataReader(cursor).read(count, out);
}

}  // namespace parapet::gguf_detail
