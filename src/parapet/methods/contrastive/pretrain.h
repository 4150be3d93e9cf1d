// `parapet train clip`: CLIP from scratch on the sample world, or fine-tuning of any CLIP.
#pragma once
#include "parapet/data/glyphs.h"
#include "parapet/data/world.h"
#include "parapet/methods/contrastive/task.h"
#include "parapet/nn/lora.h"
#include "parapet/training/run_directory.h"
#include "parapet/training/trainer.h"

namespace parapet {

class Communicator;

struct TrainClipOptions {
  std::string model;          // Hugging Face folder to start from; empty = from scratch
  std::string arch = "tiny";  // from scratch: tiny, or a config.json
  std::string data;           // data set directory or shards; empty = the sample world, online
  std::string val_shards;     // shards that validate where --data is shards; empty = none
  int64_t shuffle_buffer = 1000;
  std::string on_bad_sample = "stop";
  std::string vocabulary = ".cache/assets/bpe_simple_vocab_16e6.txt.gz";  // from scratch
  std::string glyphs = "node_modules";
  std::string glyph_cache = ".cache/glyphs";
  std::string mode = "full";  // full | lora
  int64_t image_warmup_steps = 0;
  int64_t image_warmup_batch = 64;
  double image_warmup_lr = 5e-4;
  std::string device = "cpu";
  std::string dtype = "auto";
  int64_t seed = 0;
  ContrastiveOptions contrastive;
  TrainerOptions trainer;
  nn::LoraOptions lora;
  WorldOptions world;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// The tiny CLIP of the sample world: 64 px, patch 16, width 384 x 3 layers; text 192 x 2; 256-d.
ClipConfig tiny_clip_config();

struct TrainClipResult {
  TrainingResult training;
  int64_t captions = 0;  // training samples of a directory; of shards, those drawn; 0 = the world
  int64_t skipped = 0;   // bad samples left out, reasons in run/quarantine-*.jsonl
};

// Trains in `run` and writes run/model (and run/adapter in lora mode). Returns the validation of
// the final weights.
TrainClipResult train_clip(const TrainClipOptions& options, const RunDirectory& run,
                           Communicator& communicator, const Context& context);

}  // namespace parapet
