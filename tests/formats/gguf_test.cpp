#include "parapet/formats/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>

#include "parapet/core/files.h"
#include "parapet/core/random.h"
#include "parapet/formats/safetensors.h"
#include "support/data_error.h"
#include "support/gguf_builder.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using namespace test;

const std::string kGoldens = PARAPET_SOURCE_DIR "/tests/goldens/gguf/";

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

std::string floats(const std::vector<float>& values) {
  std::string out(values.size() * sizeof(float), '\0');
  std::memcpy(out.data(), values.data(), out.size());
  return out;
}

class Gguf : public ::testing::Test {
 protected:
  fs::path put(const std::string& bytes, const std::string& name = "model.gguf") {
    fs::remove(folder_ / name);
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  std::string error_of(const std::string& bytes) {
    const fs::path file = put(bytes);
    const std::string text = data_error([&] { GgufFile::open(file); });
    if (!text.empty()) EXPECT_HAS(text, "model.gguf");
    return text;
  }
  std::string error_of(const GgufBuilder& builder) { return error_of(builder.build()); }
  TempFolder folder_;
};

TEST_F(Gguf, ReadsMetadataOfEveryKindThatPythonWrites) {
  const GgufFile file = GgufFile::open(kGoldens + "every_type.gguf");
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.field<std::string>("general.architecture"), "test");
  EXPECT_EQ(file.field<int64_t>("test.u8"), 255);
  EXPECT_EQ(file.field<int64_t>("test.i8"), -128);
  EXPECT_EQ(file.field<int64_t>("test.u16"), 65535);
  EXPECT_EQ(file.field<int64_t>("test.i16"), -32768);
  EXPECT_EQ(file.field<int64_t>("test.u32"), 4294967295);
  EXPECT_EQ(file.field<int64_t>("test.i32"), -2147483648LL);
  EXPECT_EQ(file.field<int64_t>("test.i64"), INT64_MIN);
  EXPECT_EQ(std::get<uint64_t>(file.metadata().at("test.u64").value()), UINT64_MAX);
  EXPECT_EQ(file.field<double>("test.f32"), 0.5);
  EXPECT_EQ(file.field<double>("test.f64"), 1e300);
  EXPECT_EQ(file.field<double>("test.u8"), 255);
  EXPECT_TRUE(file.field<bool>("test.bool"));
  EXPECT_EQ(file.field<std::string>("test.string"), "na\u00efve \U0001F999");
  EXPECT_EQ(file.field<std::vector<std::string>>("test.strings"),
            (std::vector<std::string>{"a", "", "\u00df"}));
  EXPECT_EQ(file.field<std::vector<int64_t>>("test.ints"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(file.field<std::vector<double>>("test.floats"), (std::vector<double>{0.25, -1.5}));
  EXPECT_EQ(file.field_or<int64_t>("test.none", 7), 7);
}

TEST_F(Gguf, NamesTheKeyThatIsAbsentOrOfAnotherKind) {
  const GgufFile file = GgufFile::open(kGoldens + "every_type.gguf");
  EXPECT_HAS(data_error([&] { file.field<int64_t>("test.none"); }), "has no 'test.none'");
  EXPECT_HAS(data_error([&] { file.field<int64_t>("test.string"); }),
             "'test.string' of the metadata must be a whole number below 2^63, but is a string");
  EXPECT_HAS(data_error([&] { file.field_or<int64_t>("test.u64", 0); }), "test.u64");
  EXPECT_HAS(data_error([&] { file.field<bool>("test.u8"); }), "true or false");
  EXPECT_HAS(data_error([&] { file.field<std::vector<int64_t>>("test.strings"); }),
             "a list, each item a whole number");
}

TEST_F(Gguf, DequantisesEveryTypeToTheReferencesBits) {
  const GgufFile file = GgufFile::open(kGoldens + "every_type.gguf");
  const auto expected = TensorArchive::open(kGoldens + "every_type.safetensors");
  ASSERT_EQ(file.tensors().size(), ggml_types().size());
  for (const GgmlTypeInfo& info : ggml_types()) {
    const GgufTensor* tensor = file.find(std::string(info.name));
    const TensorView* view = expected.find(std::string(info.name));
    ASSERT_TRUE(tensor != nullptr && view != nullptr) << info.name;
    EXPECT_EQ(tensor->type, info.type);
    EXPECT_EQ(tensor->shape, view->shape) << info.name;
    std::vector<float> ours(static_cast<size_t>(tensor->elements()));
    dequantize(tensor->type, tensor->data, ours);
    std::vector<float> theirs(ours.size());
    std::memcpy(theirs.data(), view->data.data(), view->data.size());
    for (size_t i = 0; i < ours.size(); ++i)
      ASSERT_EQ(std::bit_cast<uint32_t>(ours[i]), std::bit_cast<uint32_t>(theirs[i]))
          << info.name << " at " << i << ": " << ours[i] << " and " << theirs[i];
  }
}

TEST_F(Gguf, DequantisesHalfsWithoutANumber) {
  const std::vector<uint16_t> halfs = {0x7C00, 0xFC00, 0x7E00};
  std::vector<float> out(3);
  dequantize(GgmlType::kF16, std::as_bytes(std::span(halfs)), out);
  EXPECT_EQ(out[0], INFINITY);
  EXPECT_EQ(out[1], -INFINITY);
  EXPECT_TRUE(std::isnan(out[2]));
  std::vector<float> wrong(2);
  EXPECT_THROW(dequantize(GgmlType::kF16, std::as_bytes(std::span(halfs)), wrong), Error);
}

TEST_F(Gguf, ReadsVersionTwoListsInListsAndAnotherAlignment) {
  GgufBuilder builder;
  builder.version = 2;
  builder.alignment = 128;
  const std::string inner = gguf_list<int32_t>(kGgufI32, {5, 6});
  builder.number("general.alignment", 128)
      .entry("nested", kGgufArray,
             gguf_bytes<uint32_t>(kGgufArray) + gguf_bytes<uint64_t>(2) + inner + inner)
      .tensor("a", {2, 3}, 0, floats({1, 2, 3, 4, 5, 6}))
      .tensor("scalar", {}, 0, floats({7}));
  const GgufFile file = GgufFile::open(put(builder.build()));
  EXPECT_EQ(file.version(), 2u);
  EXPECT_EQ(file.find("a")->shape, (std::vector<int64_t>{3, 2}));
  EXPECT_EQ(std::memcmp(file.find("a")->data.data(), floats({1, 2, 3, 4, 5, 6}).data(), 24), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.find("scalar")->data.data()) % 128, 0u);
  EXPECT_TRUE(file.find("scalar")->shape.empty());
  EXPECT_EQ(file.find("none"), nullptr);
  const auto& list = std::get<GgufValue::List>(file.metadata().at("nested").value());
  EXPECT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].kind(), "a list");
}

TEST_F(Gguf, RefusesOtherFilesAndVersions) {
  EXPECT_HAS(error_of(std::string()), "at byte 0 the file of 0 bytes ends within the magic number");
  EXPECT_HAS(error_of(std::string("PK\3\4 and more")), "the four letters GGUF are missing");
  EXPECT_HAS(error_of(std::string("tjgg and more")), "older format");
  EXPECT_HAS(error_of(std::string("GGUF")), "the version");
  GgufBuilder builder;
  builder.version = 1;
  EXPECT_HAS(error_of(builder), "the version is 1, only 2 and 3 are read");
  builder.version = 3u << 24;
  EXPECT_HAS(error_of(builder), "big-endian");
  EXPECT_HAS(data_error([&] { GgufFile::open(folder_ / "none.gguf"); }), "none.gguf");
}

TEST_F(Gguf, RefusesCountsThatCannotBeTrue) {
  GgufBuilder builder;
  builder.extra_tensors = 1 << 30;
  EXPECT_HAS(error_of(builder), "the number of tensors is said to be 1073741824");
  builder.extra_tensors = -1;
  EXPECT_HAS(error_of(builder), "18446744073709551615");
  builder.extra_tensors = 0;
  builder.extra_entries = 5;
  EXPECT_HAS(error_of(builder), "at byte 16 the number of entries");
  builder.text("some", std::string(64, 'x')).extra_entries = 1;
  EXPECT_HAS(error_of(builder), "the key of entry 1");
  const auto list = [&](uint64_t count) {
    GgufBuilder lying;
    lying.entry("list", kGgufArray, gguf_bytes<uint32_t>(kGgufU8) + gguf_bytes(count));
    return error_of(lying);
  };
  EXPECT_HAS(list(UINT64_MAX), "the value of 'list' is said to have 18446744073709551615 items");
  EXPECT_HAS(list(1000), "1000 items");
}

TEST_F(Gguf, RefusesLyingStringsAndTypesInMetadata) {
  const auto with = [&](uint32_t kind, const std::string& value) {
    GgufBuilder builder;
    builder.entry("key", kind, value);
    return error_of(builder);
  };
  EXPECT_HAS(with(kGgufString, gguf_bytes<uint64_t>(1000)), "says it is 1000 bytes long");
  EXPECT_HAS(with(kGgufString, gguf_bytes(UINT64_MAX)), "18446744073709551615 bytes long");
  EXPECT_HAS(with(99, gguf_bytes<uint32_t>(0)), "the value of 'key' has the unknown type 99");
  EXPECT_HAS(with(kGgufBool, gguf_bytes<uint8_t>(2)), "should be 0 or 1, but is 2");
  EXPECT_HAS(with(kGgufArray, gguf_bytes<uint32_t>(13) + gguf_bytes<uint64_t>(0)),
             "a list of the unknown type 13");
  std::string deep;
  for (int i = 0; i < 40; ++i) deep += gguf_bytes<uint32_t>(kGgufArray) + gguf_bytes<uint64_t>(1);
  EXPECT_HAS(with(kGgufArray, deep), "lists in lists too deep");
  GgufBuilder twice;
  EXPECT_HAS(error_of(twice.number("a", 1).number("a", 2)), "the key 'a' appears a second time");
  GgufBuilder unnamed;
  EXPECT_HAS(error_of(unnamed.number("", 1)), "is empty");
}

TEST_F(Gguf, RefusesBadAlignments) {
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 21}) {
    GgufBuilder builder;
    builder.number("general.alignment", alignment);
    EXPECT_HAS(error_of(builder), "'general.alignment' is " + std::to_string(alignment));
  }
  GgufBuilder builder;
  builder.text("general.alignment", "32");
  EXPECT_HAS(error_of(builder), "but is a string");
}

TEST_F(Gguf, RefusesTensorsThatLie) {
  const auto with = [&](const std::vector<uint64_t>& sides, uint32_t type, uint64_t offset,
                        size_t data = 64) {
    GgufBuilder builder;
    builder.tensor_at("w", sides, type, offset).data(std::string(data, 'x'));
    return error_of(builder);
  };
  EXPECT_EQ(with({16}, 0, 0), "");
  EXPECT_HAS(with({16}, 0, 32), "'w' of 64 bytes at data byte 32 reaches beyond");
  EXPECT_HAS(with({16}, 0, UINT64_MAX - 31), "reaches beyond");
  EXPECT_HAS(with({4}, 0, 16), "is not aligned to 32");
  EXPECT_HAS(with({1ull << 32, 1ull << 32}, 0, 0), "whose size overflows");
  EXPECT_HAS(with({1ull << 62}, 0, 0), "whose size overflows");
  EXPECT_HAS(with({UINT64_MAX}, 0, 0), "has a side of -1");
  EXPECT_HAS(with({0, 4}, 0, 0), "has a side of 0");
  EXPECT_HAS(with({1, 1, 1, 1, 1}, 0, 0), "5 dimensions, the format has at most 4");
  EXPECT_HAS(with({40}, 8, 0), "rows of 40 numbers, which blocks of 32 do not fill");
  EXPECT_HAS(with({16}, 10, 0), "has the type Q2_K (10), which is not read");
  EXPECT_HAS(with({16}, 4000, 0), "the type number 4000");
}

TEST_F(Gguf, RefusesTensorsThatShareBytesOrNames) {
  GgufBuilder overlap;
  overlap.tensor_at("a", {16}, 0, 0).tensor_at("b", {8}, 0, 32).data(std::string(64, 'x'));
  EXPECT_HAS(error_of(overlap), "'b' of 32 bytes at data byte 32 overlaps the tensor before it");
  GgufBuilder inside;  // the long one ends behind both that follow it
  inside.tensor_at("a", {64}, 0, 0).tensor_at("b", {8}, 0, 32).tensor_at("c", {8}, 0, 128);
  EXPECT_HAS(error_of(inside.data(std::string(256, 'x'))), "'c' of 32 bytes");
  GgufBuilder twice;
  twice.tensor_at("a", {8}, 0, 0).tensor_at("a", {8}, 0, 32).data(std::string(64, 'x'));
  EXPECT_HAS(error_of(twice), "'a' is described twice");
  GgufBuilder many;
  for (int i = 0; i < 20; ++i) many.tensor_at("t" + std::to_string(i), {8}, 99, 0);
  EXPECT_HAS(error_of(many), "and 12 more");
}

TEST_F(Gguf, EveryTruncationIsAnError) {
  GgufBuilder builder;
  builder.text("name", "model").texts("list", {"a", "b"}).real("x", 1.5f);
  builder.tensor("a", {8, 2}, 0, std::string(64, 'x')).tensor("q", {32}, 8, std::string(34, 'x'));
  const std::string whole = builder.build();
  ASSERT_EQ(error_of(whole), "");
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_NE(error_of(whole.substr(0, size)), "") << size;
}

TEST_F(Gguf, DamagedFilesAreRefusedOrRead) {
  const std::string whole = read_file(kGoldens + "every_type.gguf");
  Random random(3);
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    std::string bytes = whole;
    for (int flip = 0; flip < 3; ++flip)
      bytes[random.below(1600)] = static_cast<char>(random.below(256));
    try {
      const GgufFile file = GgufFile::open(put(bytes));
      for (const auto& [name, tensor] : file.tensors()) {
        std::vector<float> out(static_cast<size_t>(tensor.elements()));
        dequantize(tensor.type, tensor.data, out);
      }
    } catch (const DataError&) {
      ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

}  // namespace
}  // namespace parapet
