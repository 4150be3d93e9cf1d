// Iconify icon sets: icons.json with SVG bodies, and their rasterisation.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

// One package "@iconify-json/<name>".
class IconSet {
 public:
  // `assets` is the node_modules folder. DataError names the package and `make setup` when the file
  // is missing, and the field when it is malformed.
  static IconSet open(const std::filesystem::path& assets, std::string_view name);
  ~IconSet();
  IconSet(IconSet&&) noexcept;

  // A whole SVG document for a slug: aliases followed, flips and rotation applied. DataError when
  // the set has no such icon.
  std::string svg(std::string_view slug) const;

 private:
  struct Impl;
  explicit IconSet(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The file that holds an icon set.
std::filesystem::path icon_file(const std::filesystem::path& assets, std::string_view name);

// Premultiplied RGBA of `size` x `size` pixels, the picture centred with its aspect kept. DataError
// names `source` when the document is not valid SVG.
std::vector<uint8_t> rasterise_svg(std::string_view svg, int size, std::string_view source);

}  // namespace parapet
