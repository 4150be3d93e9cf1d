#include "parapet/formats/safetensors.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "support/data_error.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

template <class T>
TensorView view_of(DType dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  auto owner = std::make_shared<std::vector<T>>(values);
  return {dtype, std::move(shape), std::as_writable_bytes(std::span(*owner)), owner};
}

template <class T>
std::vector<T> values_of(const TensorView& view) {
  std::vector<T> out(view.data.size() / sizeof(T));
  std::memcpy(out.data(), view.data.data(), view.data.size());
  return out;
}

// A file with the given header text and data size.
std::string raw_file(const std::string& header, size_t data_bytes) {
  std::string out(8, '\0');
  for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(header.size() >> (8 * i));
  return out + header + std::string(data_bytes, 'x');
}

class Safetensors : public ::testing::Test {
 protected:
  fs::path put(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return folder_ / name;
  }
  // The error of opening a file with this header.
  std::string error_of(const std::string& header, size_t data_bytes) {
    const fs::path file = put("bad.safetensors", raw_file(header, data_bytes));
    const std::string text = data_error([&] { TensorArchive::open(file); });
    EXPECT_NE(text.find("bad.safetensors"), std::string::npos) << header;
    return text;
  }
  test::TempFolder folder_;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(Safetensors, ReadsWhatPythonWrites) {
  const auto archive =
      TensorArchive::open(PARAPET_SOURCE_DIR "/tests/goldens/images/dtypes.safetensors");
  EXPECT_EQ(archive.tensors().size(), 13u);
  EXPECT_EQ(archive.metadata().at("note"), "golden");
  EXPECT_EQ(values_of<int64_t>(*archive.find("int64")), (std::vector<int64_t>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values_of<float>(*archive.find("float32")), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(values_of<uint8_t>(*archive.find("bool")), (std::vector<uint8_t>{0, 1, 1, 1, 1, 1}));
  EXPECT_EQ(archive.find("bfloat16")->dtype, DType::kBF16);
  EXPECT_EQ(archive.find("int16")->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_TRUE(archive.find("scalar")->shape.empty());
  EXPECT_EQ(archive.find("empty")->shape, (std::vector<int64_t>{0, 3}));
  EXPECT_NE(archive.find("n\xc3\xa4me"), nullptr);
  EXPECT_EQ(archive.find("no"), nullptr);
}

TEST_F(Safetensors, RoundTripsAligned) {
  const fs::path file = folder_ / "a.safetensors";
  write_safetensors(file,
                    {{"bytes", view_of<uint8_t>(DType::kU8, {3}, {1, 2, 3})},
                     {"wide", view_of<double>(DType::kF64, {1, 2}, {0.5, -1})},
                     {"none", view_of<float>(DType::kF32, {0}, {})},
                     {"half", view_of<uint16_t>(DType::kBF16, {1}, {7})},
                     {"float", view_of<float>(DType::kF32, {2}, {1.5f, 2.5f})}},
                    {{"who", "test"}});
  const auto archive = TensorArchive::open(file);
  EXPECT_EQ(archive.metadata(),
            (std::map<std::string, std::string>{{"format", "pt"}, {"who", "test"}}));
  EXPECT_EQ(values_of<double>(*archive.find("wide")), (std::vector<double>{0.5, -1}));
  EXPECT_EQ(values_of<uint8_t>(*archive.find("bytes")), (std::vector<uint8_t>{1, 2, 3}));
  EXPECT_EQ(values_of<float>(*archive.find("float")), (std::vector<float>{1.5f, 2.5f}));
  EXPECT_EQ(archive.source_of("float"), file.string());
  for (const auto& [name, view] : archive.tensors())
    EXPECT_EQ(reinterpret_cast<uintptr_t>(view.data.data()) % uintptr_t(dtype_size(view.dtype)), 0u)
        << name;
}

TEST_F(Safetensors, DataOutlivesArchive) {
  const fs::path file = folder_ / "a.safetensors";
  write_safetensors(file, {{"x", view_of<float>(DType::kF32, {2}, {1, 2})}});
  const TensorView view = *TensorArchive::open(file).find("x");
  fs::remove(file);
  EXPECT_EQ(values_of<float>(view), (std::vector<float>{1, 2}));
}

TEST_F(Safetensors, RefusesDamagedFiles) {
  const std::string ok = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(data_error([&] { TensorArchive::open(put("ok.safetensors", raw_file(ok, 8))); }), "");
  EXPECT_HAS(error_of(ok, 4), "beyond the data section of 4 bytes");
  EXPECT_HAS(error_of(ok, 9), "1 bytes that belong to no tensor");
  EXPECT_HAS(error_of(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
             "tensor 'a' of shape [3] and dtype F32 needs 12 bytes");
  EXPECT_HAS(error_of(R"({"a":{"dtype":"Q4","shape":[2],"data_offsets":[0,8]}})", 8), "'Q4'");
  EXPECT_HAS(error_of(R"({"a":{"dtype":"F32","shape":[2,-1],"data_offsets":[0,8]}})", 8), "shape");
  EXPECT_HAS(error_of(R"({"a":{"dtype":"F32","shape":[2.5],"data_offsets":[0,8]}})", 8), "shape");
  EXPECT_HAS(
      error_of(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8),
      "overflows");
  EXPECT_HAS(error_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8), "[8,0]");
  EXPECT_HAS(error_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "data_offsets");
  EXPECT_HAS(error_of(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8), "has no dtype");
  EXPECT_HAS(error_of(R"({"a":[1]})", 0), "object");
  EXPECT_HAS(error_of(R"({"__metadata__":{"a":1}})", 0), "not a string");
  EXPECT_HAS(error_of(R"([1,2])", 0), "not a JSON object");
  EXPECT_HAS(error_of(R"({"a":)", 0), "not valid JSON");
  EXPECT_HAS(error_of(std::string("{\"\xff\":1}"), 0), "not valid JSON");
}

TEST_F(Safetensors, RefusesBadLayouts) {
  const auto two = [](int b0, int b1) {
    return R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
           R"("b":{"dtype":"U8","shape":[)" +
           std::to_string(b1 - b0) + R"(],"data_offsets":[)" + std::to_string(b0) + "," +
           std::to_string(b1) + "]}}";
  };
  EXPECT_HAS(error_of(two(3, 7), 7), "tensor 'b' at data bytes [3, 7) overlaps");
  EXPECT_HAS(error_of(two(6, 8), 8), "leaves a hole after 4");
  EXPECT_HAS(error_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                      R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                      2),
             "names tensor 'a' twice");
}

TEST_F(Safetensors, RefusesBadHeaderLengths) {
  const auto open = [&](const std::string& bytes) {
    return data_error([&] { TensorArchive::open(put("h.safetensors", bytes)); });
  };
  EXPECT_HAS(open(""), "0 bytes long");
  EXPECT_HAS(open("abc"), "3 bytes long");
  EXPECT_HAS(open(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)), "18446744073709551615");
  EXPECT_HAS(open(std::string("\x03\0\0\0\0\0\0\0{}", 10)), "3 bytes long");
  // Longer than the format allows, in a (sparse) file that really is that long.
  const fs::path big = put("h.safetensors", std::string("\x01\xe1\xf5\x05\0\0\0\0{", 9));
  fs::resize_file(big, 200'000'000);
  EXPECT_HAS(data_error([&] { TensorArchive::open(big); }), "limit 100000000");
}

TEST_F(Safetensors, ReportsEveryProblemTogether) {
  const std::string text = error_of(
      R"({"a":{"dtype":"X","shape":[],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[1],)"
      R"("data_offsets":[0,3]}})",
      3);
  EXPECT_HAS(text, "'a'");
  EXPECT_HAS(text, "'b'");
}

TEST_F(Safetensors, ReadsShards) {
  write_safetensors(folder_ / "m-1.safetensors", {{"a", view_of<float>(DType::kF32, {1}, {1})}});
  write_safetensors(folder_ / "m-2.safetensors", {{"b", view_of<float>(DType::kF32, {1}, {2})}});
  const fs::path index = folder_ / "model.safetensors.index.json";
  const auto with = [&](nlohmann::json map) {
    save_json(index, {{"metadata", {{"total_size", 8}}}, {"weight_map", std::move(map)}});
    return data_error([&] { TensorArchive::open(folder_.path()); });
  };
  EXPECT_EQ(with({{"a", "m-1.safetensors"}, {"b", "m-2.safetensors"}}), "");
  const auto archive = TensorArchive::open(folder_.path());
  EXPECT_EQ(archive.tensors().size(), 2u);
  EXPECT_HAS(archive.source_of("b"), "m-2");
  EXPECT_HAS(with({{"a", "m-1.safetensors"}, {"c", "m-2.safetensors"}}),
             "tensor 'c' is in the index but not in m-2.safetensors");
  EXPECT_HAS(with({{"a", "m-2.safetensors"}, {"b", "m-2.safetensors"}}), "'a'");
  EXPECT_HAS(with({{"a", "../m-1.safetensors"}}), "not a file beside the index");
  EXPECT_HAS(with({{"a", "m-3.safetensors"}}), "m-3.safetensors");
  EXPECT_HAS(with({{"a", 3}}), "not a file name");
  EXPECT_HAS(with(3), "weight_map");
  write_safetensors(folder_ / "m-2.safetensors", {{"b", view_of<float>(DType::kF32, {1}, {2})},
                                                  {"a", view_of<float>(DType::kF32, {1}, {2})}});
  EXPECT_HAS(with({{"a", "m-1.safetensors"}, {"b", "m-2.safetensors"}}), "is also in");
}

TEST_F(Safetensors, FindsFilesByStem) {
  EXPECT_HAS(data_error([&] { TensorArchive::open(folder_.path()); }), "model.safetensors");
  EXPECT_HAS(data_error([&] { TensorArchive::open(folder_ / "none"); }), "does not exist");
  write_safetensors(folder_ / "adapter_model.safetensors",
                    {{"x", view_of<float>(DType::kF32, {1}, {1})}});
  EXPECT_EQ(TensorArchive::open(folder_.path(), "adapter_model").tensors().size(), 1u);
  put("config.json", "{}");
  EXPECT_HAS(data_error([&] { TensorArchive::open(folder_ / "config.json"); }), "index.json");
}

TEST_F(Safetensors, RefusesPicklesAndTellsHowToConvert) {
  put("pytorch_model.bin", std::string("PK\3\4\0\0\x08\x08rest", 12));
  for (const fs::path& path : {folder_.path(), folder_ / "pytorch_model.bin"}) {
    const std::string text = data_error([&] { TensorArchive::open(path); });
    EXPECT_HAS(text, "pickle");
    EXPECT_HAS(text, "save_pretrained");
    EXPECT_HAS(text, "weights_only=True");
    EXPECT_HAS(text, "pytorch_model.bin");
  }
  // Under another name, by content.
  const fs::path renamed = put("x.safetensors", std::string("PK\3\4\0\0\x08\x08rest", 12));
  EXPECT_HAS(data_error([&] { TensorArchive::open(renamed); }), "pickle");
}

TEST_F(Safetensors, CopiedTensorsOutliveTheFile) {
  const fs::path file = folder_ / "model.safetensors";
  write_safetensors(file, {{"a", view_of<float>(DType::kF32, {2, 1}, {1, 2})},
                           {"b", view_of<float>(DType::kF32, {3}, {3, 4, 5})},
                           {"c", view_of<float>(DType::kF32, {0}, {})}});
  const auto copied = TensorArchive::open(file, "model", TensorStorage::kCopied);
  const auto one = TensorArchive::open(file, "model", TensorStorage::kCopied,
                                       [](const std::string& name) { return name == "b"; });
  fs::resize_file(file, 0);  // a mapped tensor would end the program now
  const auto values = [](const TensorView& view) {
    std::vector<float> out(static_cast<size_t>(view.elements()));
    std::memcpy(out.data(), view.data.data(), view.data.size());
    return out;
  };
  ASSERT_EQ(copied.tensors().size(), 3u);
  EXPECT_EQ(values(*copied.find("a")), (std::vector<float>{1, 2}));
  EXPECT_EQ(values(*copied.find("b")), (std::vector<float>{3, 4, 5}));
  EXPECT_EQ(copied.find("a")->shape, (std::vector<int64_t>{2, 1}));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(copied.find("b")->data.data()) % 64, 0u);
  ASSERT_EQ(one.tensors().size(), 1u);
  EXPECT_EQ(values(*one.find("b")), (std::vector<float>{3, 4, 5}));
  EXPECT_HAS(data_error([&] { TensorArchive::open(file, "model", TensorStorage::kCopied); }),
             "truncated");
  EXPECT_HAS(data_error([&] {
               TensorArchive::open(folder_.path() / "none.safetensors", "model",
                                   TensorStorage::kCopied);
             }),
             "does not exist");
}

TEST_F(Safetensors, WriterChecksItsInput) {
  const fs::path file = folder_ / "w.safetensors";
  const auto x = view_of<float>(DType::kF32, {1}, {1});
  const auto bad = view_of<float>(DType::kF32, {2}, {1});
  EXPECT_HAS(data_error([&] { write_safetensors(file, {{"x", x}, {"x", x}}); }), "twice");
  EXPECT_HAS(data_error([&] { write_safetensors(file, {{"x", bad}}); }), "4 bytes");
  EXPECT_HAS(data_error([&] { write_safetensors(file, {{"__metadata__", x}}); }), "reserved");
  EXPECT_HAS(data_error([&] { write_safetensors(file, {{"\xff", x}}); }), "UTF-8");
  EXPECT_HAS(data_error([&] { write_safetensors(folder_ / "no/such/dir", {{"x", x}}); }), "create");
  EXPECT_FALSE(fs::exists(file));
}

TEST_F(Safetensors, FullDiskKeepsThePreviousFile) {
  const fs::path file = folder_ / "model.safetensors";
  write_safetensors(file, {{"x", view_of<float>(DType::kF32, {1}, {1})}});
  const std::string before = read_file(file);
  const std::vector<float> large(100'000);
  // A file size limit fails writes as a full disk does, for root too.
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{65536, old.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string text = data_error([&] {
    write_safetensors(file, {{"x", view_of<float>(DType::kF32, {100'000}, large)}});
  });
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_HAS(text, "write failed");
  EXPECT_EQ(read_file(file), before);
  // No temporary file is left behind.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
}

// Read back by Python in tests/conformance/test_formats.py.
TEST_F(Safetensors, WritesFileForPython) {
  const char* out = getenv("PARAPET_CONFORMANCE_OUT");
  if (out == nullptr) GTEST_SKIP() << "run by tests/conformance/test_formats.py";
  const auto golden =
      TensorArchive::open(PARAPET_SOURCE_DIR "/tests/goldens/images/dtypes.safetensors");
  write_safetensors(out, {golden.tensors().begin(), golden.tensors().end()}, golden.metadata());
}

}  // namespace
}  // namespace parapet
