// The seam between models and everything that consumes embeddings: images or texts in,
// L2-normalised embeddings out. Backends differ; callers do not.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/core/options.h"

namespace parapet {

struct EncoderOptions {
  std::string backend = "torch";   // torch | openvino
  std::string precision = "auto";  // fp32 | bf16 | int8 | auto (bf16 where the hardware has it)
  std::string device = "cpu";      // cpu | cuda[:n]
  std::string adapter;             // PEFT folder to apply; empty = none
  int64_t batch_images = 64;       // images per forward pass
  int64_t batch_texts = 64;        // texts per forward pass
  bool exact_decode = false;       // full JPEG decode even where a scaled one would do
  int64_t decode_threads = 0;      // 0 = all cores
  void visit(OptionList& list);
};

// What encoding cost, for reports and benchmarks.
struct EncodeStats {
  int64_t items = 0;
  int64_t tokens = 0;  // texts only: real tokens, without padding
  double seconds = 0;
  double decode_seconds = 0;  // images only: summed over decode threads
};

class Encoder {
 public:
  virtual ~Encoder() = default;
  // Width of the shared embedding space.
  virtual int64_t dim() const = 0;
  // exp(logit_scale) of the model.
  virtual double logit_scale() const = 0;
  // Locations as load_image takes them (path or "shard.tar#member"). [n, dim] float32 on the CPU,
  // L2-normalised, in input order. DataError names the image that failed.
  virtual at::Tensor encode_images(const std::vector<std::string>& locations,
                                   const Context& context) = 0;
  // [n, dim] float32 on the CPU, L2-normalised, in input order; longer texts are truncated as
  // `transformers` does.
  virtual at::Tensor encode_texts(const std::vector<std::string>& texts,
                                  const Context& context) = 0;
  virtual const EncodeStats& image_stats() const = 0;
  virtual const EncodeStats& text_stats() const = 0;
};

// Loads a Hugging Face CLIP folder.
std::unique_ptr<Encoder> open_encoder(const std::filesystem::path& model,
                                      const EncoderOptions& options, const Context& context);

}  // namespace parapet
