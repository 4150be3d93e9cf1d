// The `post_processor` section, reduced to what it does to the ids of a single text.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

namespace parapet::text {

struct PostProcessor {
  std::vector<int32_t> before;
  std::vector<int32_t> after;
  int64_t added() const { return static_cast<int64_t>(before.size() + after.size()); }
};

// RobertaProcessing, BertProcessing, TemplateProcessing, ByteLevel (no ids), Sequence, JSON null.
// DataError names any other type, or a template that is not "specials, text, specials".
PostProcessor load_post_processor(const nlohmann::json& section, std::string_view source);

}  // namespace parapet::text
