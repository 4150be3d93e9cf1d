#include "parapet/methods/tuned.h"

#include "parapet/training/distributed.h"

namespace parapet {

void save_tuned(const Model& model, const nn::LoraOptions* lora, const std::string& base,
                const RunDirectory& run, Communicator& communicator) {
  if (communicator.is_main()) {
    if (lora != nullptr) save_adapter(model, *lora, run.adapter(), base);
    model.save(run.model(), base);
  }
  communicator.meet({});  // writing a large model takes longer than a collective may
}

}  // namespace parapet
