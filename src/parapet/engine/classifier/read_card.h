// The TOML card that describes a classifier: what its struct lists, and nothing else.
#pragma once
#include <filesystem>

#include "parapet/core/options.h"

namespace parapet {

// UsageError lists every field that is unknown or out of range. A card without categories reports
// none of its classes.
template <class Card>
Card read_card(const std::filesystem::path& file) {
  Card card;
  OptionList list;
  card.visit(list);
  load_toml(list, file);
  Problems problems;
  card.validate(problems);
  problems.throw_if_any(file.string());
  if (card.categories.empty()) card.categories.resize(card.classes.size());
  return card;
}

}  // namespace parapet
