#include "parapet/engine/int8/native_encoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <thread>

#include "parapet/core/crew.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/memory.h"
#include "parapet/engine/encoder/model_stamp.h"
#include "parapet/engine/encoder/patch_pipeline.h"
#include "parapet/engine/int8/int8_clip.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

struct Towers {
  std::optional<Int8Tower> vision, text;
  ClipSideTensors side;
  std::string identity;
};

class NativeEncoder final : public PatchPipeline {
 public:
  NativeEncoder(const ClipConfig& config, const ClipAssets& assets, const EncoderOptions& options,
                Towers towers, int64_t threads)
      : PatchPipeline(config, assets, options, std::move(towers.side), towers.identity),
        towers_(std::move(towers)),
        crew_(threads) {}

  // A call alone uses every thread, calls side by side one each.
  int64_t lanes() const override { return crew_.count(); }

 protected:
  at::Tensor run_images(const at::Tensor& batch) override {
    return towers_.vision->run_patches(batch, crew_);
  }
  at::Tensor run_texts(const at::Tensor& ids) override {
    const auto inputs = text_inputs(ids);
    return towers_.text->run_embeddings(inputs[0], inputs[1], crew_);
  }

 private:
  Towers towers_;
  Crew crew_;
};

// `stamp` is from before the weights were hashed.
std::unique_ptr<Encoder> load(const fs::path& folder, const QuantizationRanges& ranges,
                              const ModelStamp& stamp, const EncoderOptions& options,
                              const Context& context) {
  const ClipConfig config = load_clip_config(folder);
  const std::string obstacle = Int8Tower::obstacle(config, ranges);
  if (!obstacle.empty())
    throw UsageError("--backend native: " + obstacle + "; use --backend openvino");
  const ClipAssets assets = load_clip_assets(folder, config);
  const TensorStorage storage =
      options.copy_weights ? TensorStorage::kCopied : TensorStorage::kMapped;
  Towers towers;
  towers.identity = sha256_hex("native 1" + ranges.weights_hash + ranges.hash());
  {
    ClipModel model = ClipModel::load(folder, at::kCPU, at::kFloat, storage);
    if (config.has_vision()) towers.vision = Int8Tower::vision(model, *assets.processor, ranges);
    if (config.has_text()) towers.text = Int8Tower::text(model, ranges);
  }
  towers.side = load_clip_side_tensors(folder, config.has_text(), storage);
  stamp.require_unchanged();
  return_freed_memory();
  const int64_t threads =
      options.threads > 0 ? options.threads : std::max(1U, std::thread::hardware_concurrency());
  context.info("native int8: " + std::to_string(threads) + " threads");
  return std::make_unique<NativeEncoder>(config, assets, options, std::move(towers), threads);
}

}  // namespace

std::string native_obstacle(const fs::path& model) {
  if (!has_quantization(model)) return "the folder holds no quantization ranges";
  const ClipConfig config = load_clip_config(model);
  return Int8Tower::obstacle(config, QuantizationRanges::peek(model, config));
}

std::string fastest_cpu_backend(const fs::path& model, const EncoderOptions& options) {
  const bool int8 = options.precision == "auto" || options.precision == "int8";
  const bool native = int8 && options.adapter.empty() && int8::supported() &&
                      !int8::has_matrix_unit() && native_obstacle(model).empty();
  return native ? "native" : "openvino";
}

std::unique_ptr<Encoder> open_native_encoder(const fs::path& folder,
                                             const QuantizationRanges& ranges,
                                             const EncoderOptions& options,
                                             const Context& context) {
  const ModelStamp stamp({folder});
  if (weights_file_hash(folder) != ranges.weights_hash)
    throw DataError(folder.string(), "holds other weights than the ranges were measured on",
                    "Run `parapet quantize` again after changing the model.");
  return load(folder, ranges, stamp, options, context);
}

std::unique_ptr<Encoder> open_native_encoder(const fs::path& folder, const EncoderOptions& options,
                                             const Context& context) {
  if (options.device != "cpu")
    throw UsageError("--backend native runs on the CPU; --device is " + options.device);
  if (options.precision != "auto" && options.precision != "int8")
    throw UsageError("--backend native computes in int8; --precision is " + options.precision);
  if (!options.adapter.empty())
    throw UsageError(
        "--backend native takes no --adapter: merge it (`parapet export --to hf --adapter ...`), "
        "then quantize the result");
  const ClipConfig config = load_clip_config(folder);
  if (!has_quantization(folder))
    throw UsageError("--backend native: " + (folder / "quantization.safetensors").string() +
                     " is missing. Make a quantized folder with `parapet quantize --model " +
                     folder.string() + " --calibration DATA --out Q`");
  const ModelStamp stamp({folder});
  const QuantizationRanges ranges =
      QuantizationRanges::load(folder, config, weights_file_hash(folder));
  return load(folder, ranges, stamp, options, context);
}

}  // namespace parapet
