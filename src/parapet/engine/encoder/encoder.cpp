#include "parapet/engine/encoder/encoder.h"

#include "parapet/core/error.h"

namespace parapet {

at::Tensor Encoder::encode_images(std::span<const Image> /*images*/, const Context& /*context*/,
                                  EncodeStats* /*stats*/) {
  throw UsageError("this encoder takes image locations, not images in memory");
}

void EncoderOptions::visit(OptionList& list) {
  list.add("backend", backend, "what runs the model", {"torch", "openvino", "native"});
  list.add("precision", precision,
           "auto = int8 for a quantized folder (openvino, native), else bf16 where the hardware "
           "has it, else "
           "fp32",
           {"auto", "fp32", "bf16", "int8"});
  list.add("adapter", adapter, "PEFT LoRA folder applied to the model");
  list.add("batch-images", batch_images,
           "images per forward pass; 64 grows to 256 on a GPU with the memory");
  list.add("batch-texts", batch_texts, "texts per forward pass; 64 is 256 on a GPU");
  list.add("exact-decode", exact_decode, "decode JPEG at full size always");
  list.add("streams", streams, "openvino: batches side by side; 0 = one per thread");
  list.add("cache-dir", cache_dir, "openvino: folder that keeps compiled graphs; empty = none");
  list.add("decode-threads", decode_threads, "threads for decoding and tokenizing; 0 = all cores");
}

}  // namespace parapet
