#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/random.h"
#include "parapet/formats/image_hash.h"
#include "parapet/guard/hash_index.h"
#include "parapet/guard/hash_lists.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

// A picture with structure at every scale, stronger at the larger ones, as photographs have it.
Image picture(uint64_t seed, int64_t width = 320, int64_t height = 320) {
  Random random = Random::named(seed, "test.picture");
  Image image{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3), 0)};
  struct Box {
    double x, y, w, h;
    uint8_t colour[3];
  };
  for (int layer = 0; layer < 60; ++layer) {
    const double size = 0.6 / (1 + layer * 0.15);
    const Box box{random.uniform() - size / 2,
                  random.uniform() - size / 2,
                  size * (0.3 + random.uniform()),
                  size * (0.3 + random.uniform()),
                  {static_cast<uint8_t>(random.below(256)), static_cast<uint8_t>(random.below(256)),
                   static_cast<uint8_t>(random.below(256))}};
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x) {
        const double u = static_cast<double>(x) / static_cast<double>(width) - box.x;
        const double v = static_cast<double>(y) / static_cast<double>(height) - box.y;
        if (u < 0 || v < 0 || u >= box.w || v >= box.h) continue;
        for (int64_t c = 0; c < 3; ++c)
          image.rgb[static_cast<size_t>((y * width + x) * 3 + c)] = box.colour[c];
      }
  }
  return image;
}

Image turned(const Image& image, bool mirror_rows, bool mirror_columns, bool transpose) {
  const int64_t width = transpose ? image.height : image.width;
  const int64_t height = transpose ? image.width : image.height;
  Image out{width, height, std::vector<uint8_t>(image.rgb.size())};
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x) {
      const int64_t to_y = mirror_rows ? image.height - 1 - y : y;
      const int64_t to_x = mirror_columns ? image.width - 1 - x : x;
      const int64_t at = transpose ? to_x * width + to_y : to_y * width + to_x;
      for (int64_t c = 0; c < 3; ++c)
        out.rgb[static_cast<size_t>(at * 3 + c)] =
            image.rgb[static_cast<size_t>((y * image.width + x) * 3 + c)];
    }
  return out;
}

TEST(Pdq, VariantsAreTheHashesOfTheTurnedPictures) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const Image image = picture(seed);
    const PdqVariants variants = pdq_variants(image);
    for (size_t i = 0; i < 8; ++i) {
      const Image other = turned(image, (i & 1) != 0, (i & 2) != 0, (i & 4) != 0);
      // At this size the filter and its samples lie symmetrically; at most sizes they do not quite.
      EXPECT_LE(pdq_distance(pdq_hash(other).hash, variants.hashes[i]), 2) << seed << " " << i;
    }
    EXPECT_EQ(pdq_hash(image).hash, variants.hashes[0]);
  }
}

TEST(Pdq, SurvivesResizingAndRecompressionNotAnotherPicture) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const Image image = picture(seed);
    const PdqResult result = pdq_hash(image);
    EXPECT_GE(result.quality, 50);
    EXPECT_LE(pdq_distance(result.hash, pdq_hash(resize_bicubic(image, 97, 83)).hash), 31);
    const Image jpeg = decode_image(encode_jpeg(image, 40), "jpeg");
    EXPECT_LE(pdq_distance(result.hash, pdq_hash(jpeg).hash), 20);
    EXPECT_GT(pdq_distance(result.hash, pdq_hash(picture(seed + 100)).hash), 80);
  }
}

TEST(Pdq, FlatAndTinyPicturesHaveNoQuality) {
  EXPECT_EQ(pdq_hash({100, 100, std::vector<uint8_t>(30'000, 77)}).quality, 0);
  EXPECT_EQ(pdq_hash({3, 3, std::vector<uint8_t>(27, 77)}).quality, 0);
  EXPECT_EQ(pdq_hash({}).quality, 0);
  pdq_hash(picture(1, 5, 700));
  pdq_hash(picture(1, 64, 63));
}

TEST(Pdq, HexRoundTrip) {
  const PdqHash hash = pdq_hash(picture(3)).hash;
  EXPECT_EQ(PdqHash::from_hex(hash.hex()), hash);
  EXPECT_FALSE(PdqHash::from_hex(std::string(63, '0')));
  std::string wrong(64, '0');
  wrong.back() = 'g';
  EXPECT_FALSE(PdqHash::from_hex(wrong));
}

PdqHash random_hash(Random& random) {
  PdqHash hash;
  for (auto& word : hash.words) word = random.next();
  return hash;
}

PdqHash flipped(PdqHash hash, int bits, Random& random) {
  std::vector<int> all(256);
  for (int i = 0; i < 256; ++i) all[static_cast<size_t>(i)] = i;
  random.shuffle(all);
  for (int i = 0; i < bits; ++i) {
    const auto bit = static_cast<size_t>(all[static_cast<size_t>(i)]);
    hash.words[bit / 64] ^= uint64_t{1} << (bit % 64);
  }
  return hash;
}

// The index must find what a full scan finds, at every distance up to the limit.
TEST(HashIndex, EqualsAFullScan) {
  Random random = Random::named(1, "test.hashes");
  std::vector<PdqHash> hashes(20'000);
  for (PdqHash& hash : hashes) hash = random_hash(random);
  const HashIndex index(hashes);
  for (const int limit : {0, 5, 15, 16, 31, 40, 48}) {
    for (int trial = 0; trial < 20; ++trial) {
      const auto target = random.below(hashes.size());
      const PdqHash near = flipped(hashes[target], limit, random);
      const auto match = index.nearest(near, limit);
      EXPECT_EQ(match.index, static_cast<int64_t>(target)) << limit;
      EXPECT_EQ(match.distance, limit);
      EXPECT_EQ(index.nearest(flipped(hashes[target], limit + 1, random), limit).index, -1);
    }
  }
}

TEST(HashLists, MatchAPictureInAnyOrientationWithinTheLimit) {
  const test::TempFolder folder;
  std::ofstream(folder / "pdq.csv") << "id,hash,quality\n"
                                    << "case-7," << pdq_hash(picture(1)).hash.hex() << ",90\n"
                                    << "low," << pdq_hash(picture(2)).hash.hex() << ",20\n";
  HashListOptions options;
  options.name = "known";
  options.file = folder / "pdq.csv";
  const HashLists lists({options});
  EXPECT_EQ(lists.size(), 1u);  // the entry of low quality is left out
  for (const bool mirror : {false, true}) {
    const auto hits = lists.find_near(pdq_variants(turned(picture(1), mirror, false, true)));
    ASSERT_EQ(hits.size(), 1u);
    EXPECT_EQ(hits[0].id, "case-7");
    EXPECT_LE(hits[0].distance, 31);
  }
  EXPECT_TRUE(lists.find_near(pdq_variants(picture(9))).empty());
  PdqVariants blurred = pdq_variants(picture(1));
  blurred.quality = 49;
  EXPECT_TRUE(lists.find_near(blurred).empty());
  options.all_rotations = false;
  EXPECT_TRUE(HashLists({options}).find_near(pdq_variants(turned(picture(1), 1, 0, 0))).empty());
}

TEST(HashLists, ReadsPlainLinesAndExports) {
  const test::TempFolder folder;
  const std::string a(64, 'a'), b(64, 'B');
  std::ofstream(folder / "plain.txt") << "# list\n" << a << "\n" << b << ",second\n";
  auto list = read_hash_list(folder / "plain.txt", "sha256");
  EXPECT_EQ(list.hashes, (std::vector<std::string>{a, std::string(64, 'b')}));
  EXPECT_EQ(list.ids, (std::vector<std::string>{"line 2", "second"}));
  std::ofstream(folder / "export.csv")
      << "\"id\",\"type\",\"indicator\"\n1,HASH_SHA256," << a << "\n2,HASH_PDQ," << b << "\n";
  list = read_hash_list(folder / "export.csv", "pdq");
  EXPECT_EQ(list.ids, std::vector<std::string>{"2"});
  EXPECT_EQ(list.other_types, 1);
}

TEST(HashLists, ABadLineIsNamed) {
  const test::TempFolder folder;
  std::ofstream(folder / "bad.txt") << std::string(64, 'a') << "\nnot a hash\n";
  try {
    read_hash_list(folder / "bad.txt", "pdq");
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("bad.txt:2"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace parapet::guard
