// parapet world clip: the sample world's tiny CLIP from a file small enough to ship, and back.
#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/formats/image_processor.h"
#include "parapet/models/clip/compact_clip.h"
#include "parapet/text/clip_vocabulary.h"

namespace parapet::cli {
namespace {

namespace fs = std::filesystem;

class WorldClipCommand final : public Command {
 public:
  void visit(OptionList& list) override {
    list.add("weights", weights_, "the compact file");
    list.add("out", out_, "write the model as a Hugging Face folder here");
    list.add("pack", pack_,
             "the other way: CLIP folder trained from scratch, written to --weights; --seed is the "
             "one it was trained from");
    list.add("vocabulary", vocabulary_, "CLIP's bpe_simple_vocab_16e6.txt.gz");
  }

  void validate(Problems& problems) const override {
    problems.require(out_.empty() != pack_.empty(), "--out, --pack", "give exactly one of them");
  }

  nlohmann::json run(const Session& session) override {
    if (!pack_.empty()) return pack(session);
    ClipModel model = load_compact_clip(weights_);
    const ClipConfig& config = model.config();
    write_clip_tokenizer(vocabulary_, out_, config.text.max_position_embeddings);
    save_json(fs::path(out_) / "preprocessor_config.json",
              ImageProcessor::clip_default(config.vision.image_size).to_json());
    model.save(out_);
    session.print("model in " + out_);
    return {{"model", out_}, {"parameters", nn::count_parameters(model).total}};
  }

 private:
  nlohmann::json pack(const Session& session) const {
    ClipModel model = ClipModel::load(pack_);
    const auto seed = static_cast<uint64_t>(session.common.seed);
    const CompactClipInfo info = save_compact_clip(model, seed, weights_);
    session.print("wrote " + weights_ + ", " + format_bytes(info.bytes) + ", " +
                  std::to_string(info.token_rows) + " token rows");
    return {{"weights", weights_},
            {"bytes", info.bytes},
            {"token_rows", info.token_rows},
            {"token_decay", info.token_decay}};
  }

  std::string weights_ = "assets/tiny_clip/weights.safetensors";
  std::string out_, pack_;
  std::string vocabulary_ = ".cache/assets/bpe_simple_vocab_16e6.txt.gz";
};

}  // namespace

CommandEntry world_clip_command() {
  return {
      "world clip", "write the sample world's trained tiny CLIP as a model folder",
      "The repository ships the weights of a tiny CLIP that `parapet train clip` trained from\n"
      "scratch on the sample world: matrices in 8 bits, and only the token rows that training\n"
      "used. This command writes them as a Hugging Face folder in float32; with --pack it makes\n"
      "such a file of another model that was trained from scratch.\n\n"
      "  parapet world clip --out out/tiny_clip\n"
      "  parapet world clip --pack out/clip/model --seed 0 --weights weights.safetensors",
      [] { return std::make_unique<WorldClipCommand>(); }};
}

}  // namespace parapet::cli
