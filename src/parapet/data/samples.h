// What a data set directory holds, one record type a file.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

// A safe text and image with their unsafe counterparts. Image values are resolved against the data
// set's folder, ready for load_image ("folder/a.png", "folder/shard.tar#a.png").
struct Quadruplet {
  std::string id;
  std::string safe_text;
  std::string unsafe_text;
  std::string safe_image;    // empty when the data set holds texts only
  std::string unsafe_image;  // likewise
  std::string category;      // of the unsafe side, e.g. "weapon"
  std::string split;
  std::map<std::string, std::string> attributes;  // style, language, mode, ...
};

struct CaptionSample {
  std::string id;
  std::string text;
  std::string image;  // resolved
  std::string split;
  std::map<std::string, std::string> attributes;
};

// For guards: an image, a text or both, graded per category.
struct LabelSample {
  std::string id;
  std::string image;  // resolved; empty = none
  std::string text;   // empty = none
  // Category -> none | explicit | implicit | context. Absent = none. Explicit: shown or said by one
  // side; implicit: only both sides together; context: shown or said, but harmless here.
  std::map<std::string, std::string> labels;
  std::string split;
  std::map<std::string, std::string> attributes;
};

// "a.png" or "shard.tar#a.png" relative to `folder`; absolute values stay.
std::string resolve_location(const std::filesystem::path& folder, const std::string& value);

}  // namespace parapet
