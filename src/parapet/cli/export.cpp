// parapet export: CLIP weights under the names that other programs read, and back.
#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/models/clip/clip_export.h"
#include "parapet/models/clip/clip_open_clip.h"
#include "parapet/models/llava/llava_vision.h"
#include "parapet/nn/lora.h"

namespace parapet::cli {
namespace {

namespace fs = std::filesystem;

class ExportCommand : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("model", model_, "CLIP folder, or one safetensors file in any of the layouts");
    list.add("to", to_, "what to write", clip_export_targets());
    list.add("into", into_,
             "LLaVA checkpoint folder: write a copy of it with this vision tower, instead of --to");
    list.require("out", out_, "folder to write into");
    list.add("adapter", adapter_, "PEFT folder of a LoRA adapter to merge first");
    list.add("weights", weights_, "type of the weights written; keep = as stored",
             {"keep", "fp32", "fp16", "bf16"});
    list.add("with-projection", projection_,
             "diffusers: write CLIPTextModelWithProjection, as SDXL's second encoder is");
    list.add("config-from", config_from_,
             "Hugging Face folder whose config.json describes the weights, where --model has none");
  }

  void validate(Problems& problems) const override {
    problems.require(to_.empty() != into_.empty(), "--to, --into", "give exactly one of them");
    problems.require(into_.empty() || weights_ == "keep", "--weights",
                     "does not go with --into: the checkpoint's own types are kept");
  }

  nlohmann::json run(const Session& session) override {
    ClipModel model = import_clip(model_, config_from_);
    if (!adapter_.empty()) {
      nn::load_lora(model, adapter_);
      nn::merge_lora(model);
    }
    if (!into_.empty()) {
      const ClipExport written = put_into_llava(model, into_, out_);
      session.print("replaced " + std::to_string(written.tensors) + " tensors, " +
                    format_bytes(written.bytes) + "; checkpoint in " + out_);
      return result_of(written, session);
    }
    ClipExportOptions options;
    options.target = to_;
    options.projection = projection_;
    if (weights_ != "keep")
      options.dtype = weights_ == "fp32"   ? at::kFloat
                      : weights_ == "fp16" ? at::kHalf
                                           : at::kBFloat16;
    const ClipExport written = export_clip(model, options, out_, assets());
    nlohmann::json result = result_of(written, session);
    write_preprocessor(result["files"]);
    session.print(std::to_string(written.tensors) + " tensors, " + format_bytes(written.bytes));
    return result;
  }

 private:
  nlohmann::json result_of(const ClipExport& written, const Session& session) const {
    nlohmann::json files = nlohmann::json::array();
    for (const fs::path& file : written.files) {
      files.push_back(file.string());
      session.print("wrote " + file.string());
    }
    return {{"to", into_.empty() ? to_ : "into"},
            {"files", files},
            {"tensors", written.tensors},
            {"bytes", written.bytes},
            {"adapter_merged", !adapter_.empty()}};
  }

  // Where tokenizer and preprocessor files lie.
  fs::path assets() const {
    if (fs::is_directory(model_)) return model_;
    return config_from_;
  }

  // open_clip keeps image settings in its own file; a Hugging Face folder needs them in theirs.
  void write_preprocessor(nlohmann::json& files) const {
    const fs::path theirs = fs::path(model_) / "open_clip_config.json";
    const fs::path ours = fs::path(out_) / "preprocessor_config.json";
    if (to_ != "hf" || !fs::exists(theirs) || fs::exists(fs::path(model_) / ours.filename()))
      return;
    save_json(ours, open_clip_preprocessor(theirs));
    files.push_back(ours.string());
  }

  std::string model_, to_, into_, out_, adapter_, weights_ = "keep", config_from_;
  bool projection_ = false;
};

}  // namespace

CommandEntry export_command() {
  return {"export", "write a CLIP model under the names that other programs read, and back",
          "Reads a CLIP folder or file in any of the layouts below and writes it in another.\n"
          "  hf              Hugging Face folder of the same kind\n"
          "  diffusers       text_encoder/ and tokenizer/ of a pipeline\n"
          "  comfyui         clip_l.safetensors for ComfyUI and stable-diffusion.cpp\n"
          "  open_clip       open_clip_model.safetensors and open_clip_config.json\n"
          "  llava           vision_tower/ and a file under the names of LLaVA on the hub\n"
          "  llava_original  the same under the names of LLaVA's own repository\n"
          "--into DIR copies a LLaVA checkpoint to --out with its vision tower replaced.\n"
          "Values are not changed unless --weights asks for another type.\n\n"
          "  parapet export --model out/safe/model --to diffusers --out pipeline\n"
          "  parapet export --model clip --adapter out/safe/adapter --to comfyui --weights fp16 "
          "--out models/clip\n"
          "  parapet export --model out/safe/model --into llava-1.5-7b-hf --out safe-llava\n"
          "  parapet export --model open_clip_folder --to hf --out clip",
          [] { return std::make_unique<ExportCommand>(); }};
}

}  // namespace parapet::cli
