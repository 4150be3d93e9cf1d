// The native backend of the encoder seam: int8 on processors with AVX-512 VNNI.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "parapet/engine/encoder/encoder.h"
#include "parapet/engine/quantization/quantization.h"

namespace parapet {

// Loads a Hugging Face CLIP folder with quantization ranges. UsageError: no ranges, an adapter, a
// precision other than int8 or auto, a device that is not the CPU, or what native_obstacle says.
// DataError: ranges of other weights. Nothing is compiled and nothing kept on disk.
std::unique_ptr<Encoder> open_native_encoder(const std::filesystem::path& model,
                                             const EncoderOptions& options, const Context& context);

// The same with ranges in memory; used while quantizing.
std::unique_ptr<Encoder> open_native_encoder(const std::filesystem::path& model,
                                             const QuantizationRanges& ranges,
                                             const EncoderOptions& options, const Context& context);

// Why the native backend cannot run a folder; empty = it can.
std::string native_obstacle(const std::filesystem::path& model);
// "native" where it can run the folder and this processor has no matrix unit (AMX) that OpenVINO
// would use, else "openvino".
std::string fastest_cpu_backend(const std::filesystem::path& model, const EncoderOptions& options);

}  // namespace parapet
