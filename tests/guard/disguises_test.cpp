// Kinds of disguise, each with the text beside it that must not be mistaken for one.
#include <gtest/gtest.h>

#include "guard/rules_support.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/guard/list_checks.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

// The whole of each text is the hit, so that a mask covers exactly what was disguised.
void expect_whole(const std::vector<WordListOptions>& lists,
                  const std::vector<std::string>& texts) {
  for (const std::string& text : texts) EXPECT_EQ(hit(lists, text), text) << text;
}

void expect_none(const std::vector<WordListOptions>& lists, const std::vector<std::string>& texts) {
  for (const std::string& text : texts) EXPECT_EQ(hit(lists, text), "none") << text;
}

TEST(Disguises, SignsPartTheWordsOfAPhrase) {
  const std::vector lists = {list_of({"hurt yourself"})};
  expect_whole(lists, {"hurt-yourself",      "hurt‐yourself",        "hurt‑yourself",
                       "hurt‒yourself",      "hurt–yourself",        "hurt—yourself",
                       "hurt−yourself",      "hurt﹣yourself",       "hurt－yourself",
                       "hurt_yourself",      "hurt/yourself",        "hurt\\yourself",
                       "hurt|yourself",      "hurt·yourself",        "hurt•yourself",
                       "hurt・yourself",     "hurt.yourself",        "hurt...yourself",
                       "hurt…yourself",      "hurt~yourself",        "hurt+yourself",
                       "hurt🔪yourself",      "hurt ❤️ yourself", "hurt - yourself",
                       "hurt--yourself",     "hurt\u00ADyourself",   "hurt\u200Byourself",
                       "hurt\u200Dyourself", "hurt\u2060yourself",   "hurt\u3000yourself",
                       "hurt-y0urself",      "hurt_yоursеlf",  // Cyrillic o and e
                       "HURT-YOURSELF",      "h.u.r.t-yourself",     "hurt\t\u00A0yourself"});
  EXPECT_EQ(hit(lists, "do not go hurt-yourself, please"), "hurt-yourself");
  EXPECT_EQ(hit({list_of({"darn you now"})}, "darn-you_now"), "darn-you_now");
  expect_none(lists, {"that hurt. Yourself included", "hurt, yourself", "it hurt: yourself too",
                      "hurts-yourself", "unhurt-yourself", "hurt-yourselves"});
  // Short phrases of everyday words are not read over a dash that parts two clauses.
  expect_none({list_of({"shoot up"})}, {"shoot - up there it is", "shoot, up there"});
  EXPECT_EQ(hit({list_of({"shoot up"})}, "shoot-up"), "shoot-up");
}

TEST(Disguises, AnEntryWithAHyphenIsAPhrase) {
  const std::vector lists = {list_of({"white-darn"})};
  expect_whole(lists, {"white darn", "white-darn", "whitedarn", "white‑darn", "white–darn",
                       "WHITE_DARN", "white\ndarn", "wh1te darn", "white\u00ADdarn"});
  expect_none(lists, {"a white, darn thing", "white darning", "off-whitedarner"});
  expect_whole({list_of({"white–darn"})}, {"white darn", "white-darn"});
  // Parts that are words by chance are not joined, nor parted from an article.
  expect_none({list_of({"re-sign", "a-hole"})}, {"to resign", "there is a hole in it"});
  EXPECT_EQ(hit({list_of({"d-a-r-n"})}, "oh darn"), "darn");
}

TEST(Disguises, ApostrophesAreOneCharacter) {
  const std::vector lists = {list_of({"i'll hurt you", "don’t wake up"})};
  for (const char* quote : {"'", "’", "‘", "ʼ", "`", "´", "′", "＇", "‛", "ʹ"}) {
    const std::string q(quote);
    expect_whole(lists, {"I" + q + "ll hurt you", "don" + q + "t wake up"});
  }
  expect_whole(lists, {"ill hurt you", "dont wake up"});
  expect_none(lists, {"he’ll hurt you", "I’ll not hurt you", "don’t. Wake up"});
  WordListOptions pattern = list_of({"don’t\\s+move"});
  pattern.kind = "regex";
  expect_whole({pattern}, {"don't move", "don’t move"});
}

TEST(Disguises, ALatinWordBesideAnotherScriptIsAWord) {
  const std::vector lists = {list_of({"bomb"})};
  for (const char* text : {"bomb를 샀다", "나는bomb", "나는bomb를", "我有bomb吗", "ボムbombです",
                           "これはbomb", "ซื้อbombมา", "купитьbombсегодня", "θέλωbombεδώ", "הbombשלי",
                           "عندbombهنا", "यहbombहै", "აბbombგ"})
    EXPECT_EQ(hit(lists, text), "bomb") << text;
  EXPECT_EQ(hit(lists, "나는b0mb를 샀다"), "b0mb");
  EXPECT_EQ(hit(lists, "나는bоmb를 샀다"), "bоmb");  // Cyrillic o
  EXPECT_EQ(hit({list_of({"бомба"})}, "나는бомба를"), "бомба");
  EXPECT_EQ(hit({list_of({"폭탄"})}, "my폭탄 here"), "폭탄");
  EXPECT_EQ(hit({list_of({"폭탄"})}, "폭탄2개"), "폭탄");
  expect_none(lists, {"bombast를", "나는bombed", "aplomb를", "bomber가"});
  // A class whose first letter was typed on a Cyrillic keyboard is one word.
  expect_none({list_of({"lass", "ass", "ock"})}, {"сlass", "Вass", "Сock", "the сlass of Вass"});
}

TEST(Disguises, LettersOfOtherShapes) {
  const std::vector lists = {list_of({"knife", "bomb", "hate"})};
  expect_whole(lists, {"ᴋɴɪꜰᴇ", "Kɴɪꜰᴇ", "ｋｎｉｆｅ", "𝐤𝐧𝐢𝐟𝐞", "𝖐𝖓𝖎𝖋𝖊", "𝚔𝚗𝚒𝚏𝚎", "ⓚⓝⓘⓕⓔ", "🄺🄽🄸🄵🄴",
                       "🅚🅝🅘🅕🅔", "🅺🅽🅸🅵🅴", "🇰🇳🇮🇫🇪",      "ᵏⁿⁱᶠᵉ", "ʙᴏᴍʙ",  "ƙɲɩƒɛ", "ⲃⲟⲙⲃ",  "ꓐꓳꓟꓐ",
                       "BꓳꓟB",  "ᏂᎪᎢᎬ",  "ᗷOᗰᗷ",       "hαtε",  "HΑTE",  "հate",  "bоmb"});
  for (const char* word : {"ВОМВ", "ΒΟΜΒ", "ΗΑΤΕ", "κηιfε", "κnіfе"})
    EXPECT_EQ(hit(lists, "oh what a " + std::string(word) + " it is"), word) << word;
  EXPECT_EQ(hit({list_of({"shit"})}, "oh ՏHIT no"), "ՏHIT");
  // Other languages stay what they are.
  expect_none({list_of({"hoc", "map", "bop", "oh", "now"})},
              {"у него большой нос", "он купил мар", "ⲁⲛⲟⲕ ⲡⲉ ⲡⲟⲩⲱⲛϣ", "τον καιρό", "ꓮꓲ ꓢꓴ",
               "Ես սիրում եմ", "ɓata ƙasa"});
}

TEST(Disguises, LeetspeakIsCyrillicAmongCyrillicLetters) {
  const std::vector lists = {list_of({"дурак", "зло", "чушь", "вести бой"})};
  expect_whole(lists, {"дур4к", "дур@к", "ДУР4К", "д.у.р.4.к", "д у р 4 к", "д-у-р-а-к", "3ло",
                       "зл0", "4ушь", "вести 6ой", "дyр4к", "дypak"});
  expect_none(lists, {"дом 4к", "4к видео", "3 ло", "т-34", "ту-154 и ил-86", "5 раз", "дур 4 к"});
  EXPECT_EQ(hit({list_of({"darn"})}, "он d4rn"), "d4rn");
}

TEST(Disguises, NumbersStayNumbers) {
  const std::vector lists = {list_of({"ass", "tit", "boob", "gob", "sos", "lol", "ass for help"})};
  expect_none(lists, {"version 4.5.5 released",
                      "ratio 7:1:7",
                      "dial 4-5-5 for help",
                      "4 5 5",
                      "v4.5.5",
                      "v 4.5.5",
                      "Galaxy A55",
                      "row A 5 5",
                      "the A-55 road",
                      "T1-7",
                      "800 8",
                      "8 0 0 8",
                      "10.0.0.7",
                      "7/17",
                      "2024-04-55",
                      "AS5.5",
                      "B008",
                      "tel. 4 5 5 - 7 1 7",
                      "505",
                      "101",
                      "l01",
                      "90b",
                      "seat 4S5"});
  EXPECT_EQ(hit(lists, "you @ss"), "@ss");
  EXPECT_EQ(hit(lists, "b00b"), "b00b");
  EXPECT_EQ(hit(lists, "a $ $"), "a $ $");
}

TEST(Disguises, WordsPartedByBlanks) {
  const std::vector lists = {list_of({"bomb", "knife", "shit", "class", "stab", "бомба"})};
  expect_whole(lists, {"b o m b", "bo mb", "b omb", "bom b", "k nife", "kn ife", "k n i f e",
                       "s hit", "BO MB"});
  expect_none(lists, {"it's hit me", "Adam's hit song", "St. Ab", "st ab", "to mb", "bo, mb",
                      "bo mbs", "jumbo mb", "as hit", "kni fe", "he is hit", "plan b omen"});
}

TEST(Disguises, EscapesAreRead) {
  const std::vector lists = {list_of({"bomb", "hurt yourself"})};
  expect_whole(lists,
               {"%62omb", "%62%6F%6d%62", "&#98;omb", "&#x62;omb", "&#98omb", "\\u0062omb",
                "\\x62omb", "\\u{62}omb", "\\U00000062omb", "b&shy;omb", "b%C2%ADomb", "%2562omb",
                "&amp;#98;omb", "hurt%20yourself", "hurt&nbsp;yourself", "hurt\\u0020yourself"});
  EXPECT_EQ(hit(lists, "see ex%61mple.com/%62omb?x=%C3%A9"), "%62omb");
  EXPECT_EQ(hit({list_of({"🔪"})}, "a \\ud83d\\udd2a here"), "\\ud83d\\udd2a");
  expect_none(lists, {"100%bomber", "50%62%", "C:\\users\\x62", "AT&T", "%", "&#;", "\\u12",
                      "%E9t%E9", "&#99999999999;omb", "\\ud83domb"});
  WordListOptions exact = list_of({"bomb"});
  exact.normalize = false;
  EXPECT_EQ(hit({exact}, "%62omb"), "none");
}

// However often an escape is escaped again: read, or said not to be.
TEST(Disguises, EscapesWithinEscapesAreReadOrSaidNotToBe) {
  const std::vector lists = {list_of({"bomb"})};
  const auto escaped = [](const std::string& text, size_t kind) {
    std::string out;
    for (const char c : text)
      if (kind == 0 && c == '%')
        out += "%25";
      else if (kind == 1 && c == '&')
        out += "&amp;";
      else if (kind == 2 && c == '\\')
        out += "\\x5c";
      else if (kind == 3 && (c == '%' || c == '&' || c == '\\'))
        out += c == '%' ? "&#37;" : c == '&' ? "\\u0026" : "%5C";
      else
        out += c;
    return out;
  };
  const std::string first[] = {"%62omb", "&#98;omb", "\\x62omb", "%62omb"};
  for (size_t kind = 0; kind < 4; ++kind) {
    std::string text = first[kind];
    for (int depth = 1; depth <= 40; ++depth) {
      std::vector<int32_t> failed;
      const auto hits = scan(lists, "a " + text, &failed);
      if (depth <= 16) {
        ASSERT_EQ(hits.size(), 1u) << text;
        EXPECT_EQ(hits[0].begin, 2u);
        EXPECT_EQ(hits[0].end, text.size() + 2);
        EXPECT_TRUE(failed.empty());
      } else {
        EXPECT_TRUE(!hits.empty() || failed == std::vector<int32_t>{0}) << depth << " " << kind;
      }
      text = escaped(text, kind);
    }
  }
  // A list that takes texts as they stand misses nothing by it.
  WordListOptions exact = list_of({"bomb"});
  exact.normalize = false;
  std::vector<int32_t> failed;
  std::string deep = "%62omb";
  for (int depth = 0; depth < 40; ++depth) deep = escaped(deep, 0);
  scan({exact, list_of({"bomb"})}, deep, &failed);
  EXPECT_EQ(failed, std::vector<int32_t>{1});
}

TEST(Disguises, OrdinaryProseIsLeftAlone) {
  const std::vector lists = {
      list_of({"ass", "tit", "cock", "cum", "sex", "shit", "hell", "rape", "kill", "bomb", "anal",
               "whore", "kill you", "go to hell", "shut up", "white power", "white-power",
               "i'll kill you", "slut"})};
  expect_none(lists, {"Scunthorpe, Penistone and Essex",
                      "the class passed its assessment",
                      "a cocktail of grapes",
                      "Dr. Ill said: you skill, Tom",
                      "He wrote a thesis; analysis followed.",
                      "shut, upper window",
                      "state-of-the-art white-powder coating",
                      "The whites: power over all",
                      "We will go to Helsinki/Hellerup",
                      "IPv4 10.4.5.5, build 4a55-7t17",
                      "f(x) = 100% a&b",
                      "ISBN 978-0-455-71701-7, A4, H2O, B-52, K-9",
                      "s1, s2 and t1; p = 0.05",
                      "Ich will nach Assisi, Titisee und Cumulus",
                      "C'est l'analyse d'un cockpit",
                      "la clase de análisis",
                      "x86-64, i7-1165G7, RTX-4070, GT-R",
                      "11:05:57 up 7 days",
                      "mr ape and ms hit record",
                      "5 km ill-marked",
                      "ph d, b sc, m sc and r n",
                      "vitamin b itself, plan b",
                      "w zimie k nim s nim v domě z kim",
                      "я с укропом к алтарю в осень",
                      "см. рис. 4, стр. 45"});
}

// An entry that would look for nothing is named with its place and what to write instead.
TEST(ListEntries, WhatCanMatchNothingIsRefused) {
  WordListOptions words = list_of({}), patterns = list_of({});
  patterns.kind = "regex";
  const auto problem = [](const WordListOptions& list, std::string_view entry) {
    return entry_problem(list, entry, 100);
  };
  for (const char* entry : {"", "  ", "\u200B", "\u00AD\u200D", "...", "---", "?!", "/abc/i",
                            "\\babc\\b", "abc.*", "abc*", "*abc", "(abc|abd)", "^abc$", "[a-z]bc"})
    EXPECT_NE(problem(words, entry), "") << entry;
  EXPECT_NE(problem(words, std::string(101, 'a')), "");
  for (const char* entry : {"abc", "a b c", "c++", "f**k", "a$$", "🔪", "卐", "don't", "a.b.c",
                            "坏人", "c#", "a/b", ":-)x", "h@te"})
    EXPECT_EQ(problem(words, entry), "") << entry;
  for (const char* entry :
       {" ", "/abc/i", "/abc/", "r'abc'", "r\"abc\"", "\babc\b", "$abc", "abc^", "(?-i)ABC"})
    EXPECT_NE(problem(patterns, entry), "") << entry;
  for (const char* entry :
       {"abc", "\\babc\\b", "^abc$", "a/b/c", "https?://x", "\\$abc", "[^", "[^a]b"})
    EXPECT_EQ(problem(patterns, entry).find("stands"), std::string::npos) << entry;
  EXPECT_EQ(problem(patterns, "[^a]b"), "");
  EXPECT_EQ(problem(patterns, "a\\^"), "");
}

TEST(ListEntries, APolicyNamesFileAndLine) {
  const test::TempFolder folder;
  write_file_atomic(folder / "w.txt", "# words\ndarn\n/abc/i\n");
  write_file_atomic(folder / "w.json", R"(["darn", "..."])");
  write_file_atomic(folder / "empty.txt", "# nothing yet\n");
  write_file_atomic(folder / "latin1.txt", "darn\nfen\xEAtre\n");
  std::string message;
  try {
    Policy::parse(R"(
taxonomy = ")" PARAPET_SOURCE_DIR R"(/policies/taxonomy.toml"
[[rules.list]]
name = "a"
entries = ["/abc/i"]
files = ["w.txt", "w.json", "empty.txt", "latin1.txt"]
category = "violence"
)",
                  "p.toml", folder.path());
  } catch (const UsageError& error) {
    message = error.what();
  }
  for (const char* part :
       {"p.toml:5:", "entry '/abc/i' that is written as a regex", "w.txt:3)", "w.json: element 2)",
        "empty.txt, which holds no entry", "latin1.txt:2: is not UTF-8"})
    EXPECT_NE(message.find(part), std::string::npos) << part << "\n" << message;
}

}  // namespace
}  // namespace parapet::guard
