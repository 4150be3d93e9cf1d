#include "parapet/cli/command.h"

namespace parapet::cli {

void CommonOptions::visit(OptionList& list) {
  list.add("device", device, "cpu or cuda[:n]");
  list.add("dtype", dtype, "compute type; auto = bf16 where the processor has it, else fp32",
           {"auto", "fp32", "bf16"});
  list.add("threads", threads, "torch threads; 0 = all cores");
  list.add("seed", seed, "random seed, >= 0");
  list.add("json", json, "print the result as JSON on the last line of stdout");
  list.add("quiet", quiet, "no progress, no information lines");
}

void CommonOptions::validate(Problems& problems) const {
  const bool cuda =
      device == "cuda" || (device.rfind("cuda:", 0) == 0 && device.size() > 5 &&
                           device.find_first_not_of("0123456789", 5) == std::string::npos);
  problems.require(device == "cpu" || cuda, "--device", "must be cpu, cuda or cuda:N");
  problems.require(threads >= 0 && threads <= 1024, "--threads", "must be in 0..1024");
  problems.require(seed >= 0, "--seed", "must be >= 0");
}

}  // namespace parapet::cli
