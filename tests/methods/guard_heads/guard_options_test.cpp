// Guard training: changes to images and texts, options and their refusals.
#include <gtest/gtest.h>

#include "parapet/core/error.h"
#include "parapet/methods/guard_heads/augment.h"
#include "parapet/methods/guard_heads/filter_options.h"

namespace parapet {
namespace {

Image ramp(int64_t side) {
  Image image{side, side, {}};
  for (int64_t i = 0; i < side * side * 3; ++i)
    image.rgb.push_back(static_cast<uint8_t>(i * 7 % 256));
  return image;
}

TEST(Augment, StepsDoWhatTheySay) {
  const Image image = ramp(16);
  EXPECT_EQ(shift_colours(image, 0, 1, 1, 1).rgb, image.rgb);
  const Image grey = shift_colours(image, 0, 0, 1, 1);
  for (size_t i = 0; i < grey.rgb.size(); i += 3) EXPECT_EQ(grey.rgb[i], grey.rgb[i + 2]);
  for (const uint8_t value : flatten_tones(image, 2).rgb) EXPECT_TRUE(value == 0 || value == 255);
  EXPECT_THROW(flatten_tones(image, 1), UsageError);
  const Image flat{4, 4, std::vector<uint8_t>(48, 90)};
  EXPECT_EQ(blur_image(flat, 2).rgb, flat.rgb);
  const Image word = draw_word(flat, "I", 0, 0, 1, 255);
  EXPECT_NE(word.rgb, flat.rgb);
  EXPECT_EQ(draw_word(flat, "WIDE WORD", -20, -3, 5, 255).rgb.size(), flat.rgb.size());
}

TEST(Augment, EveryChangeKeepsSizeAndIsReproducible) {
  AugmentOptions all;
  all.crop = all.jpeg = all.blur = all.overlay = all.colour = all.flatten = 1;
  all.typo = all.leet = all.spacing = all.letter_case = 1;
  const Image image = ramp(32);
  Random a = Random::named(1, "x"), b = Random::named(1, "x");
  const Image first = augment_image(image, all, a);
  EXPECT_EQ(first.width, 32);
  EXPECT_EQ(first.height, 32);
  EXPECT_NE(first.rgb, image.rgb);
  EXPECT_EQ(first.rgb, augment_image(image, all, b).rgb);
  const std::string text = "a photo of a penguin beside a trumpet \xe4\xbd\xa0\xe5\xa5\xbd";
  const std::string changed = augment_text(text, all, a);
  EXPECT_NE(changed, text);
  EXPECT_EQ(changed, augment_text(text, all, b));
  EXPECT_NE(changed.find("\xe4\xbd\xa0\xe5\xa5\xbd"), std::string::npos);  // other scripts stay
  AugmentOptions none;
  OptionList list;
  none.visit(list);
  for (const Option& option : list.options()) *std::get<double*>(option.value) = 0;
  EXPECT_EQ(augment_image(image, none, a).rgb, image.rgb);
  EXPECT_EQ(augment_text(text, none, a), text);
}

TEST(FilterOptions, WarnsOutsideTheRangesAndNamesThem) {
  std::vector<std::string> warnings;
  Context context;
  context.log_sink = [&](LogLevel level, std::string_view message) {
    if (level == LogLevel::kWarning) warnings.emplace_back(message);
  };
  FilterOptions options;
  options.mode = "finetune";
  options.warn(context);
  EXPECT_TRUE(warnings.empty());
  options.batch = 16;
  options.epochs = 11;
  options.unfreeze.trunk_lr = 1e-3;
  options.unfreeze.share = 0.9;
  options.warn(context);
  ASSERT_EQ(warnings.size(), 4u);
  EXPECT_NE(warnings[0].find("32 to 128"), std::string::npos);
  EXPECT_NE(warnings[1].find("3 to 10"), std::string::npos);
  EXPECT_NE(warnings[2].find("1e-6 to 5e-5"), std::string::npos);
  EXPECT_NE(warnings[3].find("30 % to 70 %"), std::string::npos);
}

TEST(FilterOptions, ReportsEveryMistakeAtOnce) {
  FilterOptions options;
  options.batch = 0;
  options.adversary.kind = "pixel-pgd";
  options.bias.gradient_reversal = 1;
  Problems problems;
  options.validate(problems);
  try {
    problems.throw_if_any("train guard");
    FAIL();
  } catch (const UsageError& error) {
    const std::string text = error.what();
    for (const char* flag : {"--batch-size", "--adversary", "--group"})
      EXPECT_NE(text.find(flag), std::string::npos) << flag;
  }
}

TEST(FilterOptions, LinearHeadsHaveNothingToReverseAGradientInto) {
  FilterOptions options;
  options.bias.gradient_reversal = 1;
  options.bias.group = "language";
  const auto accepted = [&] {
    Problems problems;
    options.validate(problems);
    try {
      problems.throw_if_any("train guard");
      return true;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("--hidden"), std::string::npos);
      return false;
    }
  };
  EXPECT_TRUE(accepted());
  options.hidden = 0;
  EXPECT_FALSE(accepted());
  options.mode = "finetune";  // the towers can hide the group
  EXPECT_TRUE(accepted());
}

}  // namespace
}  // namespace parapet
