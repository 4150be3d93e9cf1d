// Characters that pass for others: look-alikes of other scripts, and leetspeak.
#include <algorithm>
#include <array>

#include "parapet/guard/fold.h"

namespace parapet::guard {
namespace {

struct Pair {
  char32_t from, to;
};

// Folded shapes, by eye: Cyrillic, Greek, Armenian, Cherokee and the phonetic letters. Sorted.
constexpr std::array kToLatin = {
    Pair{U'ı', U'i'}, Pair{U'ƒ', U'f'}, Pair{U'ɑ', U'a'}, Pair{U'ɡ', U'g'}, Pair{U'ɢ', U'g'},
    Pair{U'ɩ', U'i'}, Pair{U'ɪ', U'i'}, Pair{U'ɴ', U'n'}, Pair{U'ʀ', U'r'}, Pair{U'ʏ', U'y'},
    Pair{U'ʙ', U'b'}, Pair{U'ʜ', U'h'}, Pair{U'ʟ', U'l'}, Pair{U'α', U'a'}, Pair{U'β', U'b'},
    Pair{U'γ', U'y'}, Pair{U'ε', U'e'}, Pair{U'η', U'n'}, Pair{U'ι', U'i'}, Pair{U'κ', U'k'},
    Pair{U'ν', U'v'}, Pair{U'ο', U'o'}, Pair{U'ρ', U'p'}, Pair{U'σ', U'o'}, Pair{U'τ', U't'},
    Pair{U'υ', U'u'}, Pair{U'χ', U'x'}, Pair{U'ω', U'w'}, Pair{U'а', U'a'}, Pair{U'в', U'b'},
    Pair{U'г', U'r'}, Pair{U'е', U'e'}, Pair{U'к', U'k'}, Pair{U'м', U'm'}, Pair{U'н', U'h'},
    Pair{U'о', U'o'}, Pair{U'п', U'n'}, Pair{U'р', U'p'}, Pair{U'с', U'c'}, Pair{U'т', U't'},
    Pair{U'у', U'y'}, Pair{U'х', U'x'}, Pair{U'ѕ', U's'}, Pair{U'і', U'i'}, Pair{U'ї', U'i'},
    Pair{U'ј', U'j'}, Pair{U'ѵ', U'v'}, Pair{U'һ', U'h'}, Pair{U'ӏ', U'l'}, Pair{U'ԁ', U'd'},
    Pair{U'ԛ', U'q'}, Pair{U'ԝ', U'w'}, Pair{U'հ', U'h'}, Pair{U'ո', U'n'}, Pair{U'ս', U'u'},
    Pair{U'օ', U'o'}, Pair{U'Ꭰ', U'd'}, Pair{U'Ꭱ', U'r'}, Pair{U'Ꭲ', U't'}, Pair{U'Ꭵ', U'i'},
    Pair{U'Ꭺ', U'a'}, Pair{U'Ꭻ', U'j'}, Pair{U'Ꭼ', U'e'}, Pair{U'Ꮃ', U'w'}, Pair{U'Ꮇ', U'm'},
    Pair{U'Ꮋ', U'h'}, Pair{U'Ꮍ', U'y'}, Pair{U'Ꮐ', U'g'}, Pair{U'Ꮓ', U'z'}, Pair{U'Ꮟ', U'b'},
    Pair{U'Ꮢ', U'r'}, Pair{U'Ꮥ', U's'}, Pair{U'Ꮩ', U'v'}, Pair{U'Ꮪ', U's'}, Pair{U'Ꮮ', U'l'},
    Pair{U'Ꮯ', U'c'}, Pair{U'Ꮲ', U'p'}, Pair{U'Ꮶ', U'k'}, Pair{U'Ꮷ', U'd'}, Pair{U'Ᏼ', U'b'},
    Pair{U'ᴀ', U'a'}, Pair{U'ᴄ', U'c'}, Pair{U'ᴅ', U'd'}, Pair{U'ᴇ', U'e'}, Pair{U'ᴊ', U'j'},
    Pair{U'ᴋ', U'k'}, Pair{U'ᴍ', U'm'}, Pair{U'ᴏ', U'o'}, Pair{U'ᴘ', U'p'}, Pair{U'ᴛ', U't'},
    Pair{U'ᴜ', U'u'}, Pair{U'ᴠ', U'v'}, Pair{U'ᴡ', U'w'}, Pair{U'ᴢ', U'z'}, Pair{U'ꜱ', U's'},
};

constexpr std::array kToCyrillic = {
    Pair{U'a', U'а'}, Pair{U'b', U'в'}, Pair{U'c', U'с'}, Pair{U'e', U'е'},
    Pair{U'h', U'н'}, Pair{U'i', U'і'}, Pair{U'k', U'к'}, Pair{U'm', U'м'},
    Pair{U'n', U'п'}, Pair{U'o', U'о'}, Pair{U'p', U'р'}, Pair{U'r', U'г'},
    Pair{U't', U'т'}, Pair{U'u', U'и'}, Pair{U'x', U'х'}, Pair{U'y', U'у'},
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
static_assert(sorted(kToLatin) && sorted(kToCyrillic) && sorted(kStroked));

}  // namespace

char32_t latin_lookalike(char32_t c) { return look_up(kToLatin, c); }
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

}  // namespace parapet::guard
