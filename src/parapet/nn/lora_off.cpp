#include "parapet/nn/lora_off.h"

namespace parapet::nn {
namespace {

thread_local bool g_lora_off = false;

}  // namespace

LoraOff::LoraOff(bool off) : before_(g_lora_off) { g_lora_off = off; }
LoraOff::~LoraOff() { g_lora_off = before_; }
bool LoraOff::active() { return g_lora_off; }

}  // namespace parapet::nn
