// Truncations and flipped bytes of valid files: an error or a result, never a crash or a hang.
#include <gtest/gtest.h>

#include <fstream>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/random.h"
#include "parapet/formats/image_views.h"
#include "parapet/formats/safetensors.h"
#include "parapet/formats/tar.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

const std::string kGoldens = PARAPET_SOURCE_DIR "/tests/goldens/images/";

// A copy with a few flipped bytes, and in every third case also cut short.
std::string damage(std::string bytes, Random& random) {
  const uint64_t flips = random.below(4);
  // Most damage goes to the front, where headers are.
  const uint64_t front = random.chance(0.5) ? std::min<uint64_t>(bytes.size(), 64) : bytes.size();
  for (uint64_t i = 0; i <= flips; ++i)
    bytes[random.below(front)] = static_cast<char>(random.below(256));
  if (random.chance(0.33)) bytes.resize(random.below(bytes.size()));
  return bytes;
}

struct Count {
  int64_t refused = 0;
  int64_t read = 0;
};

// A fresh file each time: overwriting one makes some file systems flush it.
void put(const std::filesystem::path& file, const std::string& bytes) {
  std::filesystem::remove(file);
  std::ofstream(file, std::ios::binary) << bytes;
}

template <class Fn>
void attempt(Count& count, Fn&& fn) {
  try {
    fn();
    ++count.read;
  } catch (const DataError&) {
    ++count.refused;
  }
}

TEST(Damage, Images) {
  Random random(1);
  Count count;
  TarReader tar(kGoldens + "cases.tar");
  DecodeOptions options;
  options.max_pixels = 1 << 20;  // flipped sizes stay cheap
  for (TarMember member; tar.next(member);)
    for (int i = 0; i < 60; ++i) {
      const std::string bytes = damage(member.bytes, random);
      attempt(count, [&] {
        for (const ImageView& view : decode_image_views(bytes, member.name, options)) {
          const Image& image = view.image;
          ASSERT_EQ(image.rgb.size(), static_cast<size_t>(image.width * image.height * 3));
          ASSERT_LE(image.width * image.height, options.max_pixels);
        }
      });
    }
  EXPECT_GT(count.refused, 500);
  EXPECT_GT(count.read, 100);
}

TEST(Damage, Safetensors) {
  const test::TempFolder folder;
  Random random(2);
  Count count;
  const std::string whole = read_file(kGoldens + "dtypes.safetensors");
  const auto file = folder / "x.safetensors";
  for (int i = 0; i < 1000; ++i) {
    put(file, damage(whole, random));
    attempt(count, [&] {
      const auto archive = TensorArchive::open(file);
      int64_t sum = 0;
      for (const auto& [name, view] : archive.tensors())
        for (const std::byte byte : view.data) sum += static_cast<int64_t>(byte);
      ASSERT_GE(sum, 0);
    });
  }
  EXPECT_GT(count.refused, 300);
}

TEST(Damage, Tars) {
  const test::TempFolder folder;
  Random random(3);
  Count count;
  for (const std::string name : {"x.tar", "x.tar.gz", "x.tar.zst"}) {
    {
      TarWriter writer(folder / name);
      for (int i = 0; i < 6; ++i)
        writer.add(std::to_string(i) + ".txt", std::string(700, char('a' + i)));
      writer.add(std::string(200, 'n'), "long name");
      writer.finish();
    }
    const std::string whole = read_file(folder / name);
    for (int i = 0; i < 400; ++i) {
      const auto file = folder / ("bad-" + name);
      put(file, damage(whole, random));
      attempt(count, [&] {
        TarReader reader(file);
        for (TarMember member; reader.next(member);) ASSERT_LE(member.bytes.size(), 1u << 20);
      });
      if (name == "x.tar" && i % 4 == 0) {
        // The index keeps open shards: give each its own name.
        const auto own = folder / ("bad-" + std::to_string(i) + ".tar");
        std::filesystem::rename(file, own);
        attempt(count, [&] { read_location(own.string() + "#3.txt", 1 << 20); });
      }
    }
  }
  EXPECT_GT(count.refused, 200);
  EXPECT_GT(count.read, 20);
}

}  // namespace
}  // namespace parapet
