// Communicator over a c10d backend (Gloo, NCCL). Heavy c10d headers stay in the source.
#pragma once
#include <memory>
#include <string>

#include "parapet/training/communicator.h"

namespace parapet {

// Joins the other processes at info.master_addr:master_port. See make_communicator.
std::unique_ptr<Communicator> join_process_group(const WorldInfo& info, const std::string& device);

}  // namespace parapet
