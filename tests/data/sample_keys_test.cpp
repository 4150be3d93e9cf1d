// Keys of labelled samples, and sets that must not share any.
#include "parapet/data/sample_keys.h"

#include <gtest/gtest.h>

#include "parapet/core/files.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

TEST(SampleKeys, FollowContentNotNames) {
  const test::TempFolder folder;
  write_file_atomic(folder / "a.png", "pixels");
  write_file_atomic(folder / "b.png", "pixels");
  write_file_atomic(folder / "c.png", "others");
  const auto sample = [&](const std::string& id, const std::string& image,
                          const std::string& text) {
    LabelSample out;
    out.id = id;
    if (!image.empty()) out.image = (folder / image).string();
    out.text = text;
    return out;
  };
  const auto keys =
      sample_keys({sample("1", "a.png", "t"), sample("2", "b.png", "t"), sample("3", "c.png", "t"),
                   sample("4", "a.png", "u"), sample("5", "", "t"), sample("6", "a.png", "")});
  EXPECT_EQ(keys[0].size(), 16u);
  EXPECT_EQ(keys[0], keys[1]);
  for (size_t i = 2; i < keys.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      if (j != 0 || i != 1) EXPECT_NE(keys[i], keys[j]) << i << " " << j;
  std::vector<std::string> images;
  sample_keys({sample("1", "a.png", "t"), sample("2", "", "t"), sample("3", "b.png", "u"),
               sample("4", "c.png", "t")},
              &images);
  ASSERT_EQ(images.size(), 3u);
  EXPECT_TRUE(images[0].starts_with("image:"));
  EXPECT_EQ(images[0], images[1]);
  EXPECT_NE(images[0], images[2]);
  EXPECT_THROW(sample_keys({sample("7", "none.png", "t")}), DataError);
}

TEST(SampleKeys, OverlapOfSplitsIsAnError) {
  const std::vector<std::string> known = {"a", "b", "c"}, test = {"d", "c", "a"};
  try {
    require_disjoint(known, test, "labels.jsonl");
    FAIL();
  } catch (const SplitOverlap& error) {
    EXPECT_EQ(error.exit_code(), 3);
    EXPECT_NE(std::string(error.what()).find("2 samples"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("'c'"), std::string::npos);
  }
  EXPECT_NO_THROW(require_disjoint(known, std::vector<std::string>{"e"}, "x"));
}

}  // namespace
}  // namespace parapet
