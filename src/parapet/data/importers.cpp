#include "parapet/data/importers.h"

#include <nlohmann/json.hpp>

#include "parapet/data/import_sink.h"
#include "parapet/formats/image.h"
#include "parapet/formats/tar.h"

namespace parapet {

namespace fs = std::filesystem;

ImportReport import_data(const ImportOptions& options, const fs::path& folder,
                         const Context& context) {
  Problems problems;
  options.validate(problems);
  for (const auto name : {kQuadrupletFile, kCaptionFile})
    problems.require(!fs::exists(folder / name), "out",
                     folder.string() + " already holds " + std::string(name) +
                         "; remove it or name another folder");
  problems.throw_if_any("data import");

  std::vector<std::string> files;
  for (const auto& input : options.inputs)
    for (auto& file : expand_braces(input)) files.push_back(std::move(file));
  for (const auto& file : files)
    if (!fs::is_regular_file(file)) throw DataError(file, "does not exist or is not a file");

  fs::create_directories(folder);
  importing::Sink sink(options, folder, context);
  if (options.from == "webdataset") importing::import_webdataset(files, sink);
  for (const auto& file : files) {
    sink.check_cancelled();
    if (options.from == "visu") importing::import_visu(file, sink);
    if (options.from == "csv") importing::import_csv(file, sink);
  }
  return sink.finish();
}

}  // namespace parapet
