// The OpenVINO backend of the encoder seam (CPU).
#pragma once
#include <filesystem>
#include <memory>

#include "parapet/engine/encoder/encoder.h"
#include "parapet/engine/quantization/quantization.h"

namespace parapet {

// Loads a Hugging Face CLIP folder. Precision: fp32; bf16 (float32 arithmetic, with a note, where
// the processor has no bfloat16); int8 (a folder that `parapet quantize` wrote); auto. UsageError:
// int8 without ranges, a device that is not the CPU. DataError: ranges of other weights.
std::unique_ptr<Encoder> open_openvino_encoder(const std::filesystem::path& model,
                                               const EncoderOptions& options,
                                               const Context& context);
// The same with ranges in memory, int8; used while quantizing. The model must have no adapter.
std::unique_ptr<Encoder> open_openvino_encoder(const std::filesystem::path& model,
                                               const QuantizationRanges& ranges,
                                               const EncoderOptions& options,
                                               const Context& context);

}  // namespace parapet
