#include "parapet/data/grammar_tables.h"

namespace parapet::grammar {
namespace {

constexpr auto kM = Gender::kMasculine;
constexpr auto kF = Gender::kFeminine;
constexpr auto kN = Gender::kNeuter;

// Indefinite article, mixed declension; oblique = dative.
std::string phrase(const Language& table, const Noun& noun, bool oblique, int category) {
  const std::string word(oblique && !noun.oblique.empty() ? noun.oblique : noun.word);
  if (noun.gender == Gender::kBare) return word;
  const bool feminine = noun.gender == kF;
  const std::string article =
      feminine ? (oblique ? "einer " : "eine ") : (oblique ? "einem " : "ein ");
  if (category < 0) return article + word;
  const std::string ending = oblique ? "en" : feminine ? "e" : noun.gender == kM ? "er" : "es";
  return article + std::string(table.adjectives.at(static_cast<size_t>(category))) + ending + " " +
         word;
}

const Language kTable = {
    "de",
    {{{"Hund", kM},
      {"Katze", kF},
      {"Pferd", kN},
      {"Kuh", kF},
      {"Schwein", kN},
      {"Hase", kM, "Hasen"},
      {"Löwe", kM, "Löwen"},
      {"Panda", kM},
      {"Fuchs", kM},
      {"Elefant", kM, "Elefanten"},
      {"Pinguin", kM},
      {"Eule", kF},
      {"Ente", kF},
      {"Schildkröte", kF},
      {"Oktopus", kM},
      {"Krebs", kM},
      {"Schmetterling", kM},
      {"Schneemann", kM},
      {"Baby", kN},
      {"Junge", kM, "Jungen"},
      {"Mädchen", kN},
      {"Polizist", kM, "Polizisten"},
      {"Prinzessin", kF},
      {"Weihnachtsmann", kM},
      // places
      {"Haus", kN},
      {"Kirche", kF},
      {"Schloss", kN},
      {"Schule", kF},
      {"Palme", kF},
      {"Zelt", kN},
      {"Berg", kM},
      {"Riesenrad", kN},
      // safe objects
      {"Apfel", kM},
      {"Banane", kF},
      {"Wassermelone", kF},
      {"Pizza", kF},
      {"Geburtstagskuchen", kM},
      {"Donut", kM},
      {"Bonbon", kN},
      {"Kaffee", kM},
      {"Glas Milch", kN},
      {"Babyflasche", kF},
      {"Fußball", kM},
      {"Tennisschläger", kM},
      {"Regenschirm", kM},
      {"Schlüssel", kM},
      {"Gitarre", kF},
      {"Buch", kN},
      {"Fotoapparat", kM},
      {"Rucksack", kM},
      {"Luftballon", kM},
      {"Geschenk", kN},
      {"Trompete", kF},
      {"Sonnenblume", kF},
      {"Glocke", kF},
      {"Hammer", kM},
      // unsafe objects
      {"Messer", kN},
      {"Dolch", kM},
      {"Bombe", kF},
      {"gekreuzte Schwerter", Gender::kBare, "gekreuzten Schwertern"},
      {"Pfeil und Bogen", Gender::kBare},
      {"Schädel", kM},
      {"Sarg", kM},
      {"Totenkopf", kM},
      {"Urne", kF},
      {"Bier", kN},
      {"Glas Wein", kN},
      {"Cocktail", kM},
      {"Flasche Sekt", kF},
      {"Zigarette", kF},
      {"Spritze", kF},
      {"Pille", kF},
      {"Mittelfinger", kM},
      {"Daumen nach unten", kM},
      {"Faust", kF},
      {"Feuer", kN},
      {"Explosion", kF},
      {"Biogefahr-Schild", kN},
      {"Strahlenwarnschild", kN},
      {"Ölfass", kN}}},
    {{{""},
      {"ein Foto von ", true},
      {"ein Bild von ", true},
      {"eine Zeichnung von ", true},
      {"hier ist "},
      {"zu sehen ist "}}},
    {"{S} mit {o}", "{O} neben {s}", "{S} und {O}", "{S} bei {o}"},
    {" bei {p}", " vor {p}", " in der Nähe von {p}"},
    {" auf {c}em Grund", ", {c}er Hintergrund", " vor {c}em Hintergrund", ", Hintergrund {c}"},
    {"{n} mit {u} in der Hand", "{U} und {n}", " neben {u}", " mit {u}"},
    {"rot", "gelb", "grün", "blau", "violett", "rosafarben", "grau", "weiß"},
    {"bewaffnet", "tot", "betrunken", "berauscht", "frech", "brennend", "vergiftet"},
    phrase};

}  // namespace

const Language& german() { return kTable; }

}  // namespace parapet::grammar
