// The seam between models and everything that consumes embeddings: images or texts in,
// L2-normalised embeddings out. Backends differ; callers do not.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/formats/image.h"

namespace parapet {

struct EncoderOptions {
  std::string backend = "torch";  // torch | openvino | native
  // fp32 | bf16 | int8 | auto: int8 for a folder that `parapet quantize` wrote (openvino, native),
  // else bf16 where the hardware has it, else fp32.
  std::string precision = "auto";
  std::string device = "cpu";  // cpu | cuda[:n]
  std::string adapter{};       // PEFT folder to apply; empty = none
  int64_t batch_images = 64;   // images per forward pass
  int64_t batch_texts = 64;    // texts per forward pass
  bool exact_decode = false;   // full JPEG decode even where a scaled one would do
  int64_t decode_threads = 0;  // 0 = all cores
  int64_t threads = 0;         // openvino, native: compute threads; 0 = all cores
  int64_t streams = 0;         // openvino: batches computed side by side; 0 = one per thread
  std::string cache_dir{};     // openvino: folder for compiled graphs; empty = none kept
  // Weights are read into memory instead of mapped: the model's files may be cut short, replaced or
  // removed while the encoder lives. For servers; not a flag.
  bool copy_weights = false;
  void visit(OptionList& list);
};

// What a call of an encoder cost, for reports and benchmarks; a call fills in its own.
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
                                   const Context& context, EncodeStats* stats = nullptr) = 0;
  // The same for images already decoded (of any size; resized and cropped here).
  virtual at::Tensor encode_images(std::span<const Image> images, const Context& context,
                                   EncodeStats* stats = nullptr);
  // An image at the model's size, as encode_images would make it; passing that gives the same
  // embedding. Thread-safe.
  virtual Image resized(const Image& image) const { return image; }
  // For DecodeOptions::scale_for; 0 = decode fully.
  virtual int64_t decode_scale() const { return 0; }
  // Tokens of one text that the model reads, special ones included; 0 = without a limit.
  virtual int64_t text_context() const { return 0; }
  // [n, dim] float32 on the CPU, L2-normalised, in input order; longer texts are truncated as
  // `transformers` does.
  virtual at::Tensor encode_texts(const std::vector<std::string>& texts, const Context& context,
                                  EncodeStats* stats = nullptr) = 0;
  // Whether encode_* may be called from several threads at once.
  virtual bool thread_safe() const { return false; }
  // Calls that run side by side without slowing each other: the number of lanes worth having.
  virtual int64_t lanes() const { return 1; }
  // What embeddings depend on besides the input: weights, adapter, precision, preprocessing, as a
  // SHA-256. Empty = not known (weights in training); such embeddings must not be cached.
  virtual std::string identity() const { return {}; }
};

}  // namespace parapet
