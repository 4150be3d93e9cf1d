#include "parapet/engine/encoder/open_encoder.h"

#include "parapet/core/error.h"
#include "parapet/engine/int8/native_encoder.h"
#include "parapet/engine/openvino/openvino_encoder.h"
#include "parapet/engine/torch/torch_encoder.h"

namespace parapet {

std::unique_ptr<Encoder> open_encoder(const std::filesystem::path& model,
                                      const EncoderOptions& options, const Context& context) {
  if (options.backend == "torch") return open_torch_encoder(model, options, context);
  if (options.backend == "openvino") return open_openvino_encoder(model, options, context);
  if (options.backend == "native") return open_native_encoder(model, options, context);
  throw UsageError("--backend: '" + options.backend + "' is not one of torch, openvino, native");
}

}  // namespace parapet
