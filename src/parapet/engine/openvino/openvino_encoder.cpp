#include "parapet/engine/openvino/openvino_encoder.h"

#include <ATen/ATen.h>

#include <cmath>
#include <thread>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/memory.h"
#include "parapet/engine/encoder/model_stamp.h"
#include "parapet/engine/encoder/patch_pipeline.h"
#include "parapet/engine/openvino/openvino_clip.h"
#include "parapet/engine/openvino/openvino_program.h"
#include "parapet/nn/precision.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

struct Towers {
  std::unique_ptr<OpenVinoProgram> vision, text;
  ClipSideTensors side;
  std::string identity;
};

class OpenVinoEncoder final : public PatchPipeline {
 public:
  OpenVinoEncoder(const ClipConfig& config, const ClipAssets& assets, const EncoderOptions& options,
                  Towers towers)
      : PatchPipeline(config, assets, options, std::move(towers.side), towers.identity),
        towers_(std::move(towers)) {}

  int64_t lanes() const override {
    return (towers_.vision ? *towers_.vision : *towers_.text).streams();
  }

 protected:
  at::Tensor run_images(const at::Tensor& batch) override {
    return towers_.vision->run_rows({batch})[0];
  }
  at::Tensor run_texts(const at::Tensor& ids) override {
    return towers_.text->run_rows(text_inputs(ids))[0];
  }

 private:
  Towers towers_;
};

OpenVinoSettings settings_for(const EncoderOptions& options, bool bf16) {
  OpenVinoSettings settings;
  settings.bf16 = bf16;
  settings.threads =
      options.threads > 0 ? options.threads : std::max(1u, std::thread::hardware_concurrency());
  settings.streams = options.streams > 0 ? options.streams : settings.threads;
  settings.cache_dir = options.cache_dir;
  return settings;
}

// What `precision` means here: whether float arithmetic is bfloat16, whether ranges are used.
struct Resolved {
  bool bf16 = false;
  bool int8 = false;
};

Resolved resolve(const fs::path& model, const EncoderOptions& options, const Context& context) {
  const bool fast_bf16 = nn::cpu_has_fast_bf16();
  std::string name = options.precision;
  if (name == "auto") {
    const bool quantized = has_quantization(model) && options.adapter.empty();
    name = quantized ? "int8" : fast_bf16 ? "bf16" : "fp32";
    context.info("precision: " + name +
                 (quantized ? " (the folder holds quantization ranges)" : ""));
  }
  if (name == "int8") {
    if (!options.adapter.empty())
      throw UsageError(
          "--precision int8 takes no --adapter: merge it (`parapet export --to hf "
          "--adapter ...`), then quantize the result");
    if (!has_quantization(model))
      throw UsageError("--precision int8: " + (model / "quantization.safetensors").string() +
                       " is missing. Make a quantized folder with `parapet quantize --model " +
                       model.string() + " --calibration DATA --out Q`");
    return {.bf16 = fast_bf16, .int8 = true};
  }
  if (name == "bf16" && !fast_bf16)
    context.info("bf16: this processor has no bfloat16 instructions; arithmetic is float32");
  if (name != "bf16" && name != "fp32")
    throw UsageError("--precision: '" + name + "' is not one of auto, fp32, bf16, int8");
  return {.bf16 = name == "bf16" && fast_bf16};
}

// Gives up weights that no graph needs any more.
void release(ClipModel& model, std::string_view prefix) {
  nn::each_parameter(model, [&](const std::string& name, nn::Parameter& parameter) {
    if (name.starts_with(prefix)) parameter.value.reset();
  });
}

// A folder's configuration, and what the hash of its weights stands for.
struct Hashed {
  explicit Hashed(const fs::path& folder, const std::string& adapter)
      : stamp({folder, adapter}),
        config(load_clip_config(folder)),
        weights(weights_file_hash(folder)) {}
  ModelStamp stamp;  // from before the hash
  ClipConfig config;
  std::string weights;
};

std::unique_ptr<Encoder> open(const fs::path& folder, const QuantizationRanges* ranges,
                              const Hashed& hashed, bool bf16, const EncoderOptions& options,
                              const Context& context) {
  if (options.device != "cpu")
    throw UsageError("--backend openvino runs on the CPU; --device is " + options.device);
  const ClipConfig& config = hashed.config;
  const ClipAssets assets = load_clip_assets(folder, config);
  const TensorStorage storage =
      options.copy_weights ? TensorStorage::kCopied : TensorStorage::kMapped;

  // Weights are loaded once, and only if a graph must be built.
  std::unique_ptr<ClipModel> model;
  auto weights = [&]() -> ClipModel& {
    if (!model) {
      model = std::make_unique<ClipModel>(ClipModel::load(folder, at::kCPU, at::kFloat, storage));
      if (!options.adapter.empty()) {
        nn::load_lora(*model, options.adapter);
        nn::merge_lora(*model);
      }
      hashed.stamp.require_unchanged();  // before a graph is kept under the hash
    }
    return *model;
  };
  Sha256 identity;
  identity.update(hashed.weights).update(bf16 ? "bf16" : "fp32");
  if (ranges != nullptr) identity.update(ranges->hash());
  if (!options.adapter.empty())
    identity.update(sha256_file(fs::path(options.adapter) / "adapter_model.safetensors"))
        .update(sha256_file(fs::path(options.adapter) / "adapter_config.json"));
  Towers towers;
  towers.identity = identity.hex();
  const OpenVinoSettings settings = settings_for(options, bf16);
  const ClipGraphOptions graph{.ranges = ranges};
  if (config.has_vision()) {
    towers.vision = OpenVinoProgram::compile(
        [&] { return vision_graph(weights(), *assets.processor, graph); },
        sha256_hex("vision 1" + towers.identity + assets.processor->to_json().dump()), settings,
        context);
    if (model) release(*model, "vision_model.");  // the text graph needs memory of its own
  }
  if (config.has_text())
    towers.text =
        OpenVinoProgram::compile([&] { return text_graph(weights(), graph); },
                                 sha256_hex("text 1" + towers.identity), settings, context);
  model.reset();
  towers.side = load_clip_side_tensors(folder, config.has_text(), storage);
  hashed.stamp.require_unchanged();
  return_freed_memory();
  return std::make_unique<OpenVinoEncoder>(config, assets, options, std::move(towers));
}

}  // namespace

std::unique_ptr<Encoder> open_openvino_encoder(const fs::path& model, const EncoderOptions& options,
                                               const Context& context) {
  load_clip_config(model);  // refuses other families before their weights are hashed
  const Resolved resolved = resolve(model, options, context);
  const Hashed hashed(model, options.adapter);
  if (!resolved.int8) return open(model, nullptr, hashed, resolved.bf16, options, context);
  const QuantizationRanges ranges = QuantizationRanges::load(model, hashed.config, hashed.weights);
  return open(model, &ranges, hashed, resolved.bf16, options, context);
}

std::unique_ptr<Encoder> open_openvino_encoder(const fs::path& model,
                                               const QuantizationRanges& ranges,
                                               const EncoderOptions& options,
                                               const Context& context) {
  return open(model, &ranges, Hashed(model, options.adapter), nn::cpu_has_fast_bf16(), options,
              context);
}

}  // namespace parapet
