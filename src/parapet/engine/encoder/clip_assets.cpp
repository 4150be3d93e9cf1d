#include "parapet/engine/encoder/clip_assets.h"

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/engine/encoder/model_stamp.h"
#include "parapet/models/model_folder.h"
#include "parapet/models/registry.h"

namespace parapet {

ClipConfig load_clip_config(const std::filesystem::path& folder) {
  require_family(folder, "clip", "embedding images and texts");
  return ClipConfig::load(folder);
}

ClipAssets load_clip_assets(const std::filesystem::path& folder, const ClipConfig& config) {
  const ModelStamp stamp({folder});
  ClipAssets assets;
  if (config.has_text()) assets.tokenizer = Tokenizer::load(folder);
  if (config.has_vision()) {
    assets.processor = std::filesystem::exists(folder / "preprocessor_config.json")
                           ? ImageProcessor::load(folder)
                           : ImageProcessor::clip_default(config.vision.image_size);
    if (assets.processor->height() != config.vision.image_size ||
        assets.processor->width() != config.vision.image_size)
      throw DataError((folder / "preprocessor_config.json").string(),
                      "makes " + std::to_string(assets.processor->width()) + " x " +
                          std::to_string(assets.processor->height()) + " pixels, the model takes " +
                          std::to_string(config.vision.image_size));
  }
  Sha256 hash;
  for (const std::string_view name : model_asset_names())
    if (std::filesystem::exists(folder / name))
      hash.update(name).update(sha256_file(folder / name));
  assets.files_hash = hash.hex();
  stamp.require_unchanged();  // what was hashed is what was read
  return assets;
}

}  // namespace parapet
