// The tables a language supplies; one words_<code>.cpp each.
#pragma once
#include <array>
#include <string>
#include <string_view>

#include "parapet/data/glyph_table.h"

namespace parapet::grammar {

// kBare: the word is a whole phrase already (plurals, pairs).
enum class Gender { kMasculine, kFeminine, kNeuter, kBare };

struct Noun {
  std::string_view word;
  Gender gender = Gender::kNeuter;
  std::string_view oblique = {};  // word in the oblique case where it differs
  std::string_view measure = {};  // Chinese measure word
};

struct Opening {
  std::string_view text;
  bool oblique = false;  // case that it asks of what follows
};

// Placeholders in templates: {S} subject, {O} object, {U} unsafe element in the case of the
// opening; {s} {o} {u} {p} (place) oblique; {s0} {o0} {u0} {p0} nominative; {c} colour; {n} the
// phrase so far. Oblique is what a language needs after its prepositions: the dative in German,
// "d'un" in French.
struct Language {
  std::string_view code;
  std::array<Noun, kGlyphs> nouns;
  std::array<Opening, 6> openings;
  std::array<std::string_view, 4> cores;
  std::array<std::string_view, 3> places;
  std::array<std::string_view, 4> endings;
  // Held by the subject (with {n}), first (with {n}), after the core, last.
  std::array<std::string_view, 4> unsafe;
  std::array<std::string_view, kColours> colours;
  std::array<std::string_view, kCategories> adjectives;  // base form
  // Noun phrase with article, and with a category's adjective when `category` >= 0.
  std::string (*phrase)(const Language&, const Noun&, bool oblique, int category);
};

const Language& english();
const Language& german();
const Language& french();
const Language& spanish();
const Language& chinese();

}  // namespace parapet::grammar
