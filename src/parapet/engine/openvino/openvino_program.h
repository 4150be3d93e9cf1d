// One graph compiled for the CPU by OpenVINO, with a pool of requests.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/context.h"

namespace ov {
class Model;
}

namespace parapet {

struct OpenVinoSettings {
  bool bf16 = false;                  // float arithmetic in bfloat16 (where the processor has it)
  int64_t threads = 0;                // 0 = all cores
  int64_t streams = 1;                // requests computed side by side, sharing the threads
  std::filesystem::path cache_dir{};  // compiled graphs are kept here; empty = nowhere
};

struct OpenVinoPort {
  std::string name;
  std::vector<int64_t> shape;  // -1 = any
};

class OpenVinoProgram {
 public:
  using Build = std::function<std::shared_ptr<ov::Model>()>;
  // `build` makes the graph; it is not called when the cache holds `key`. The key is a SHA-256 of
  // all that the graph depends on; settings, processor and OpenVINO's version are added here. A
  // damaged cache file is reported, compiled anew and replaced. The folder keeps the 16 graphs used
  // last.
  static std::unique_ptr<OpenVinoProgram> compile(const Build& build, const std::string& key,
                                                  const OpenVinoSettings& settings,
                                                  const Context& context);
  // An ONNX file; its inputs and outputs become float32. DataError when OpenVINO cannot read it.
  static std::unique_ptr<OpenVinoProgram> load_onnx(const std::filesystem::path& file,
                                                    const OpenVinoSettings& settings);
  ~OpenVinoProgram();

  const std::vector<OpenVinoPort>& inputs() const { return inputs_; }
  const std::vector<OpenVinoPort>& outputs() const { return outputs_; }
  int64_t streams() const { return streams_; }
  bool from_cache() const { return from_cache_; }
  // Seconds from call to ready: building, compiling or reading back.
  double load_seconds() const { return load_seconds_; }

  // Contiguous uint8, int32 or float32 tensors, one per input, in order. Results are float32.
  // Thread-safe. DataError when a shape does not fit.
  std::vector<at::Tensor> run(const std::vector<at::Tensor>& inputs) const;
  // The same, rows (dimension 0) of all inputs shared out to the streams.
  std::vector<at::Tensor> run_rows(const std::vector<at::Tensor>& inputs) const;

 private:
  struct Impl;
  explicit OpenVinoProgram(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  std::vector<OpenVinoPort> inputs_, outputs_;
  int64_t streams_ = 1;
  bool from_cache_ = false;
  double load_seconds_ = 0;
};

// Of the library at run time, e.g. "2026.4.1-...".
std::string openvino_version();

}  // namespace parapet
