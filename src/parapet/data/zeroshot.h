// Zero-shot classes of a data set: zeroshot.json.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace parapet {

struct ZeroShotClass {
  std::string name;  // as it goes into a template, e.g. "red apple"
  bool unsafe = false;
  std::string category;  // of an unsafe class; else empty
};

struct ZeroShotImage {
  std::string image;  // resolved (relative when written)
  int64_t class_index = 0;
  std::string split;
  std::string style;
};

struct ZeroShotSet {
  std::vector<std::string> templates;  // "a photo of {}"; {} = the name, {a} = with its article
  std::vector<ZeroShotClass> classes;
  std::vector<ZeroShotImage> images;
};

// `folder`/zeroshot.json. DataError: missing, wrong types, a class index out of range, no classes.
ZeroShotSet load_zeroshot(const std::filesystem::path& folder);
void save_zeroshot(const std::filesystem::path& folder, const ZeroShotSet& set);
// Text of one class under one template ("a photo of an owl").
std::string fill_template(const std::string& pattern, const std::string& name);

}  // namespace parapet
