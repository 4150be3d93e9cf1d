#include "parapet/data/grammar.h"

#include "parapet/data/grammar_tables.h"

namespace parapet {
namespace {

using grammar::Language;

const Language& language_table(int language) {
  static const std::array<const Language*, kLanguages> all = {
      &grammar::english(), &grammar::german(), &grammar::french(), &grammar::spanish(),
      &grammar::chinese()};
  return *all.at(static_cast<size_t>(language));
}

const grammar::Noun& noun(const Language& table, int glyph) {
  return table.nouns.at(static_cast<size_t>(glyph));
}

// Fills the placeholders of one caption.
class Writer {
 public:
  Writer(const Language& table, const CaptionContent& content, const CaptionPlan& plan)
      : table_(table), content_(content), plan_(plan) {}

  std::string caption() const {
    const bool phrase = content_.unsafe >= 0 && !plan_.adjective;
    const auto& opening = table_.openings.at(static_cast<size_t>(plan_.opening));
    std::string text = fill(table_.cores.at(static_cast<size_t>(plan_.core)), opening.oblique);
    if (phrase && plan_.unsafe_position == 1) text = fill(table_.unsafe[1], opening.oblique, text);
    text.insert(0, opening.text);
    if (phrase && plan_.unsafe_position == 2) text += fill(table_.unsafe[2], false);
    if (content_.place >= 0)
      text += fill(table_.places.at(static_cast<size_t>(plan_.place_phrase)), false);
    if (content_.colour >= 0)
      text += fill(table_.endings.at(static_cast<size_t>(plan_.ending)), false);
    if (phrase && plan_.unsafe_position == 3) text += fill(table_.unsafe[3], false);
    return text;
  }

  std::string single() const {
    const auto& opening = table_.openings.at(static_cast<size_t>(plan_.opening));
    std::string text(opening.text);
    text += phrase(content_.subject, opening.oblique);
    if (content_.colour >= 0)
      text += fill(table_.endings.at(static_cast<size_t>(plan_.ending)), false);
    return text;
  }

 private:
  std::string phrase(int glyph, bool oblique, int category = -1) const {
    return table_.phrase(table_, noun(table_, glyph), oblique, category);
  }

  std::string subject(bool oblique) const {
    if (content_.unsafe < 0) return phrase(content_.subject, oblique);
    if (plan_.adjective) return phrase(content_.subject, oblique, glyph_category(content_.unsafe));
    const std::string plain = phrase(content_.subject, oblique);
    return plan_.unsafe_position == 0 ? fill(table_.unsafe[0], oblique, plain) : plain;
  }

  std::string value(std::string_view key, bool governed, const std::string& inner) const {
    const bool nominative = key.size() == 2 && key[1] == '0';
    const bool upper = key[0] >= 'A' && key[0] <= 'Z';
    const bool oblique = upper ? governed : !nominative;
    switch (key[0]) {
      case 'S':
      case 's':
        return subject(oblique);
      case 'O':
      case 'o':
        return phrase(content_.object, oblique);
      case 'U':
      case 'u':
        return phrase(content_.unsafe, oblique);
      case 'p':
        return phrase(content_.place, oblique);
      case 'c':
        return std::string(table_.colours.at(static_cast<size_t>(content_.colour)));
      default:
        return inner;
    }
  }

  // `governed`: the case of {S}, {O} and {U}; `inner` is what {n} stands for.
  std::string fill(std::string_view pattern, bool governed, const std::string& inner = "") const {
    std::string out;
    for (size_t at = 0; at < pattern.size();) {
      if (pattern[at] != '{') {
        out += pattern[at++];
        continue;
      }
      const size_t close = pattern.find('}', at);
      out += value(pattern.substr(at + 1, close - at - 1), governed, inner);
      at = close + 1;
    }
    return out;
  }

  const Language& table_;
  const CaptionContent& content_;
  const CaptionPlan& plan_;
};

}  // namespace

std::string_view language_code(int language) { return language_table(language).code; }

int language_by_code(std::string_view code) {
  for (int i = 0; i < kLanguages; ++i)
    if (language_code(i) == code) return i;
  return -1;
}

CaptionPlan draw_plan(Random& choices) {
  CaptionPlan plan;
  plan.opening = static_cast<int>(choices.below(6));
  plan.core = static_cast<int>(choices.below(4));
  plan.place_phrase = static_cast<int>(choices.below(3));
  plan.ending = static_cast<int>(choices.below(4));
  plan.unsafe_position = static_cast<int>(choices.below(4));
  plan.adjective = choices.below(100) < 15;
  return plan;
}

std::string write_caption(int language, const CaptionContent& content, const CaptionPlan& plan) {
  return Writer(language_table(language), content, plan).caption();
}

std::string write_single_caption(int language, int glyph, int colour, const CaptionPlan& plan) {
  CaptionContent content;
  content.subject = glyph;
  content.colour = colour;
  return Writer(language_table(language), content, plan).single();
}

std::string glyph_word(int language, int glyph) {
  return std::string(noun(language_table(language), glyph).word);
}

std::string glyph_phrase(int language, int glyph) {
  const Language& table = language_table(language);
  return table.phrase(table, noun(table, glyph), false, -1);
}

std::string category_adjective(int language, int category) {
  return std::string(language_table(language).adjectives.at(static_cast<size_t>(category)));
}

}  // namespace parapet
