#include "parapet/methods/tuned_clip.h"

#include "parapet/training/distributed.h"

namespace parapet {

void save_tuned_clip(ClipModel& model, const nn::LoraOptions* lora, const std::string& base,
                     const RunDirectory& run, Communicator& communicator) {
  if (communicator.is_main()) {
    if (lora != nullptr) {
      nn::save_lora(model.linears(), *lora, run.adapter(), base);
      nn::merge_lora(model.linears());
    }
    model.save(run.model(), base);
  }
  communicator.barrier();
}

}  // namespace parapet
