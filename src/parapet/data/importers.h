// Other layouts -> data set directories.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/import_options.h"

namespace parapet {

// Reads the inputs and writes quadruplets.jsonl or captions.jsonl into `folder`. DataError names
// file and line (or shard and member) of a bad record; UsageError when the folder already holds a
// data set.
ImportReport import_data(const ImportOptions& options, const std::filesystem::path& folder,
                         const Context& context = {});

}  // namespace parapet
