// Seeing a model past its adapters.
#pragma once

namespace parapet::nn {

// While alive, adapters on this thread are skipped: the model is the original one.
// (`off` false: they are not skipped, whatever was set outside.)
class LoraOff {
 public:
  explicit LoraOff(bool off = true);
  ~LoraOff();
  LoraOff(const LoraOff&) = delete;
  LoraOff& operator=(const LoraOff&) = delete;
  static bool active();

 private:
  bool before_;
};

}  // namespace parapet::nn
