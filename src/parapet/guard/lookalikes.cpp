// Characters that pass for others: look-alikes of other scripts, and leetspeak.
#include <algorithm>
#include <array>

#include "parapet/guard/fold.h"

namespace parapet::guard {
namespace {

struct Pair {
  char32_t from, to;
};

// Folded shapes, by eye: small capitals, letters with hooks, Greek, Cyrillic, Armenian, Cherokee,
// Canadian syllabics, Coptic and Lisu. Sorted.
constexpr auto kToLatin = std::to_array<Pair>({
    Pair{U'ı', U'i'},   Pair{U'ƈ', U'c'}, Pair{U'ƒ', U'f'},   Pair{U'ƙ', U'k'},   Pair{U'ƞ', U'n'},
    Pair{U'ƥ', U'p'},   Pair{U'ƭ', U't'}, Pair{U'ƴ', U'y'},   Pair{U'ǀ', U'l'},   Pair{U'ɑ', U'a'},
    Pair{U'ɓ', U'b'},   Pair{U'ɔ', U'o'}, Pair{U'ɕ', U'c'},   Pair{U'ɖ', U'd'},   Pair{U'ɗ', U'd'},
    Pair{U'ɛ', U'e'},   Pair{U'ɠ', U'g'}, Pair{U'ɡ', U'g'},   Pair{U'ɢ', U'g'},   Pair{U'ɦ', U'h'},
    Pair{U'ɩ', U'i'},   Pair{U'ɪ', U'i'}, Pair{U'ɭ', U'l'},   Pair{U'ɱ', U'm'},   Pair{U'ɲ', U'n'},
    Pair{U'ɳ', U'n'},   Pair{U'ɴ', U'n'}, Pair{U'ɵ', U'o'},   Pair{U'ɻ', U'r'},   Pair{U'ɼ', U'r'},
    Pair{U'ɽ', U'r'},   Pair{U'ɾ', U'r'}, Pair{U'ʀ', U'r'},   Pair{U'ʂ', U's'},   Pair{U'ʄ', U'j'},
    Pair{U'ʈ', U't'},   Pair{U'ʋ', U'v'}, Pair{U'ʏ', U'y'},   Pair{U'ʐ', U'z'},   Pair{U'ʘ', U'o'},
    Pair{U'ʙ', U'b'},   Pair{U'ʜ', U'h'}, Pair{U'ʝ', U'j'},   Pair{U'ʟ', U'l'},   Pair{U'ʠ', U'q'},
    Pair{U'α', U'a'},   Pair{U'β', U'b'}, Pair{U'γ', U'y'},   Pair{U'δ', U'd'},   Pair{U'ε', U'e'},
    Pair{U'ζ', U'z'},   Pair{U'η', U'n'}, Pair{U'θ', U'o'},   Pair{U'ι', U'i'},   Pair{U'κ', U'k'},
    Pair{U'λ', U'l'},   Pair{U'μ', U'u'}, Pair{U'ν', U'v'},   Pair{U'ο', U'o'},   Pair{U'π', U'n'},
    Pair{U'ρ', U'p'},   Pair{U'σ', U'o'}, Pair{U'τ', U't'},   Pair{U'υ', U'u'},   Pair{U'χ', U'x'},
    Pair{U'ω', U'w'},   Pair{U'ϳ', U'j'}, Pair{U'а', U'a'},   Pair{U'в', U'b'},   Pair{U'г', U'r'},
    Pair{U'е', U'e'},   Pair{U'к', U'k'}, Pair{U'м', U'm'},   Pair{U'н', U'h'},   Pair{U'о', U'o'},
    Pair{U'п', U'n'},   Pair{U'р', U'p'}, Pair{U'с', U'c'},   Pair{U'т', U't'},   Pair{U'у', U'y'},
    Pair{U'х', U'x'},   Pair{U'ч', U'y'}, Pair{U'ш', U'w'},   Pair{U'ь', U'b'},   Pair{U'ё', U'e'},
    Pair{U'ѕ', U's'},   Pair{U'і', U'i'}, Pair{U'ї', U'i'},   Pair{U'ј', U'j'},   Pair{U'ќ', U'k'},
    Pair{U'ў', U'y'},   Pair{U'ѡ', U'w'}, Pair{U'ѳ', U'o'},   Pair{U'ѵ', U'v'},   Pair{U'ҏ', U'p'},
    Pair{U'ґ', U'r'},   Pair{U'ғ', U'f'}, Pair{U'қ', U'k'},   Pair{U'ҝ', U'k'},   Pair{U'ҡ', U'k'},
    Pair{U'ҥ', U'h'},   Pair{U'ү', U'y'}, Pair{U'ұ', U'y'},   Pair{U'ҳ', U'x'},   Pair{U'ҷ', U'y'},
    Pair{U'һ', U'h'},   Pair{U'ӏ', U'l'}, Pair{U'ә', U'e'},   Pair{U'ө', U'o'},   Pair{U'ӿ', U'x'},
    Pair{U'ԁ', U'd'},   Pair{U'ԍ', U'g'}, Pair{U'ԏ', U'p'},   Pair{U'ԛ', U'q'},   Pair{U'ԝ', U'w'},
    Pair{U'գ', U'q'},   Pair{U'զ', U'q'}, Pair{U'լ', U'l'},   Pair{U'հ', U'h'},   Pair{U'ղ', U'n'},
    Pair{U'յ', U'j'},   Pair{U'ո', U'n'}, Pair{U'ռ', U'n'},   Pair{U'ս', U'u'},   Pair{U'տ', U's'},
    Pair{U'ր', U'n'},   Pair{U'ց', U'g'}, Pair{U'ւ', U'i'},   Pair{U'ք', U'p'},   Pair{U'օ', U'o'},
    Pair{U'Ꭰ', U'd'},   Pair{U'Ꭱ', U'r'}, Pair{U'Ꭲ', U't'},   Pair{U'Ꭴ', U'o'},   Pair{U'Ꭵ', U'i'},
    Pair{U'Ꭹ', U'y'},   Pair{U'Ꭺ', U'a'}, Pair{U'Ꭻ', U'j'},   Pair{U'Ꭼ', U'e'},   Pair{U'Ꮃ', U'w'},
    Pair{U'Ꮇ', U'm'},   Pair{U'Ꮋ', U'h'}, Pair{U'Ꮍ', U'y'},   Pair{U'Ꮐ', U'g'},   Pair{U'Ꮒ', U'h'},
    Pair{U'Ꮓ', U'z'},   Pair{U'Ꮜ', U'u'}, Pair{U'Ꮟ', U'b'},   Pair{U'Ꮢ', U'r'},   Pair{U'Ꮤ', U'w'},
    Pair{U'Ꮥ', U's'},   Pair{U'Ꮩ', U'v'}, Pair{U'Ꮪ', U's'},   Pair{U'Ꮮ', U'l'},   Pair{U'Ꮯ', U'c'},
    Pair{U'Ꮲ', U'p'},   Pair{U'Ꮶ', U'k'}, Pair{U'Ꮷ', U'd'},   Pair{U'Ᏻ', U'g'},   Pair{U'Ᏼ', U'b'},
    Pair{U'ᏻ', U'g'}, Pair{U'ᐯ', U'v'}, Pair{U'ᐱ', U'a'},   Pair{U'ᑌ', U'u'},   Pair{U'ᑎ', U'n'},
    Pair{U'ᑕ', U'c'},   Pair{U'ᑭ', U'p'}, Pair{U'ᑯ', U'd'},   Pair{U'ᑲ', U'b'},   Pair{U'ᒍ', U'j'},
    Pair{U'ᒪ', U'l'},   Pair{U'ᕼ', U'h'}, Pair{U'ᖇ', U'r'},   Pair{U'ᖴ', U'f'},   Pair{U'ᗩ', U'a'},
    Pair{U'ᗪ', U'd'},   Pair{U'ᗯ', U'w'}, Pair{U'ᗰ', U'm'},   Pair{U'ᗴ', U'e'},   Pair{U'ᗷ', U'b'},
    Pair{U'ᴀ', U'a'},   Pair{U'ᴁ', U'a'}, Pair{U'ᴃ', U'b'},   Pair{U'ᴄ', U'c'},   Pair{U'ᴅ', U'd'},
    Pair{U'ᴇ', U'e'},   Pair{U'ᴊ', U'j'}, Pair{U'ᴋ', U'k'},   Pair{U'ᴌ', U'l'},   Pair{U'ᴍ', U'm'},
    Pair{U'ᴎ', U'n'},   Pair{U'ᴏ', U'o'}, Pair{U'ᴘ', U'p'},   Pair{U'ᴙ', U'r'},   Pair{U'ᴚ', U'r'},
    Pair{U'ᴛ', U't'},   Pair{U'ᴜ', U'u'}, Pair{U'ᴠ', U'v'},   Pair{U'ᴡ', U'w'},   Pair{U'ᴢ', U'z'},
    Pair{U'ᵻ', U'i'},   Pair{U'ⱳ', U'w'}, Pair{U'ⲁ', U'a'},   Pair{U'ⲃ', U'b'},   Pair{U'ⲅ', U'r'},
    Pair{U'ⲇ', U'd'},   Pair{U'ⲉ', U'e'}, Pair{U'ⲋ', U'c'},   Pair{U'ⲍ', U'z'},   Pair{U'ⲏ', U'h'},
    Pair{U'ⲓ', U'i'},   Pair{U'ⲕ', U'k'}, Pair{U'ⲗ', U'l'},   Pair{U'ⲙ', U'm'},   Pair{U'ⲛ', U'n'},
    Pair{U'ⲟ', U'o'},   Pair{U'ⲣ', U'p'}, Pair{U'ⲥ', U'c'},   Pair{U'ⲧ', U't'},   Pair{U'ⲩ', U'y'},
    Pair{U'ⲫ', U'f'},   Pair{U'ⲭ', U'x'}, Pair{U'ⲱ', U'w'},   Pair{U'ꓐ', U'b'},   Pair{U'ꓑ', U'p'},
    Pair{U'ꓒ', U'd'},   Pair{U'ꓓ', U'd'}, Pair{U'ꓔ', U't'},   Pair{U'ꓖ', U'g'},   Pair{U'ꓗ', U'k'},
    Pair{U'ꓙ', U'j'},   Pair{U'ꓚ', U'c'}, Pair{U'ꓜ', U'z'},   Pair{U'ꓝ', U'f'},   Pair{U'ꓟ', U'm'},
    Pair{U'ꓠ', U'n'},   Pair{U'ꓡ', U'l'}, Pair{U'ꓢ', U's'},   Pair{U'ꓣ', U'r'},   Pair{U'ꓥ', U'a'},
    Pair{U'ꓦ', U'v'},   Pair{U'ꓧ', U'h'}, Pair{U'ꓪ', U'w'},   Pair{U'ꓫ', U'x'},   Pair{U'ꓬ', U'y'},
    Pair{U'ꓮ', U'a'},   Pair{U'ꓰ', U'e'}, Pair{U'ꓲ', U'i'},   Pair{U'ꓳ', U'o'},   Pair{U'ꓴ', U'u'},
    Pair{U'ꜰ', U'f'},   Pair{U'ꜱ', U's'}, Pair{U'ꝑ', U'p'},   Pair{U'ꝛ', U'r'},   Pair{U'ꝺ', U'd'},
    Pair{U'ꝼ', U'f'},   Pair{U'ꞁ', U'l'}, Pair{U'ꞯ', U'q'}, Pair{U'ꭓ', U'x'},
});

constexpr std::array kToCyrillic = {
    Pair{U'a', U'а'}, Pair{U'b', U'в'}, Pair{U'c', U'с'}, Pair{U'e', U'е'},
    Pair{U'h', U'н'}, Pair{U'i', U'і'}, Pair{U'k', U'к'}, Pair{U'm', U'м'},
    Pair{U'n', U'п'}, Pair{U'o', U'о'}, Pair{U'p', U'р'}, Pair{U'r', U'г'},
    Pair{U't', U'т'}, Pair{U'u', U'и'}, Pair{U'x', U'х'}, Pair{U'y', U'у'},
};

// Greek capitals that look like another Latin letter than their small ones do. Sorted.
constexpr std::array kGreekCapitals = {
    Pair{U'Η', U'h'},
    Pair{U'Μ', U'm'},
    Pair{U'Ν', U'n'},
    Pair{U'Υ', U'y'},
};

// Latin letters with a stroke, which no decomposition takes away. Sorted.
constexpr std::array kStroked = {
    Pair{U'ø', U'o'}, Pair{U'đ', U'd'}, Pair{U'ħ', U'h'}, Pair{U'ł', U'l'}, Pair{U'ŧ', U't'},
    Pair{U'ƀ', U'b'}, Pair{U'ƶ', U'z'}, Pair{U'ǥ', U'g'}, Pair{U'ȼ', U'c'}, Pair{U'ɇ', U'e'},
    Pair{U'ɉ', U'j'}, Pair{U'ɍ', U'r'}, Pair{U'ɏ', U'y'}, Pair{U'ɨ', U'i'}, Pair{U'ʉ', U'u'},
    Pair{U'ⱥ', U'a'}, Pair{U'ⱦ', U't'},
};

template <size_t kSize>
char32_t look_up(const std::array<Pair, kSize>& table, char32_t c) {
  const auto it =
      std::lower_bound(table.begin(), table.end(), c,
                       [](const Pair& pair, char32_t value) { return pair.from < value; });
  return it != table.end() && it->from == c ? it->to : 0;
}

template <size_t kSize>
constexpr bool sorted(const std::array<Pair, kSize>& table) {
  for (size_t i = 1; i < kSize; ++i)
    if (table[i - 1].from >= table[i].from) return false;
  return true;
}
static_assert(sorted(kToLatin) && sorted(kToCyrillic) && sorted(kStroked) &&
              sorted(kGreekCapitals));

}  // namespace

char32_t latin_lookalike(char32_t c) { return look_up(kToLatin, c); }
char32_t latin_lookalike_of_capital(char32_t c) { return look_up(kGreekCapitals, c); }
char32_t cyrillic_lookalike(char32_t c) { return look_up(kToCyrillic, c); }
char32_t without_stroke(char32_t c) { return look_up(kStroked, c); }

char32_t leet_letter(char32_t c, bool second) {
  switch (c) {
    case U'0':
      return U'o';
    case U'1':
    case U'|':
    case U'!':
    case U'¡':
      return second ? U'l' : U'i';
    case U'3':
    case U'€':
      return U'e';
    case U'4':
    case U'@':
      return U'a';
    case U'5':
    case U'$':
      return U's';
    case U'6':
    case U'9':
      return U'g';
    case U'7':
    case U'+':
      return U't';
    case U'8':
      return U'b';
    case U'£':
      return U'l';
    case U'¢':
    case U'©':
      return U'c';
    case U'¥':
      return U'y';
    case U'§':
      return U's';
    default:
      break;
  }
  // Regional letters, which make flags in pairs.
  if (c >= 0x1F1E6 && c <= 0x1F1FF) return U'a' + (c - 0x1F1E6);
  return 0;
}

char32_t cyrillic_leet_letter(char32_t c, bool second) {
  switch (c) {
    case U'0':
      return U'о';
    case U'1':
    case U'|':
    case U'!':
      return second ? U'л' : U'и';
    case U'3':
      return second ? U'е' : U'з';
    case U'€':
      return U'е';
    case U'4':
      return second ? U'ч' : U'а';
    case U'@':
      return U'а';
    case U'5':
    case U'$':
    case U'¢':
    case U'©':
      return U'с';
    case U'6':
      return U'б';
    case U'7':
    case U'+':
      return U'т';
    case U'8':
      return U'в';
    case U'9':
      return second ? U'д' : U'я';
    case U'¥':
      return U'у';
    default:
      return 0;
  }
}

}  // namespace parapet::guard
