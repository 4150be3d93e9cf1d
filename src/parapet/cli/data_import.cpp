// parapet data import: other layouts as data set directories.
#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/data/importers.h"

namespace parapet::cli {
namespace {

class DataImportCommand final : public Command {
 public:
  void visit(OptionList& list) override {
    import_.visit(list);
    list.require("out", out_, "data set folder to write");
  }
  void validate(Problems& problems) const override { import_.validate(problems); }

  nlohmann::json run(const Session& session) override {
    const ImportReport report = import_data(import_, out_, session.context);
    session.print("wrote " + std::to_string(report.quadruplets) + " quadruplets and " +
                  std::to_string(report.captions) + " captions to " + out_ + ", skipped " +
                  std::to_string(report.skipped));
    return {{"out", out_},
            {"quadruplets", report.quadruplets},
            {"captions", report.captions},
            {"skipped", report.skipped}};
  }

 private:
  ImportOptions import_;
  std::string out_;
};

}  // namespace

CommandEntry data_import_command() {
  return {
      "data import", "bring ViSU-Text, webdataset or CSV data into a data set directory",
      "  parapet data import --from visu --input ViSU-Text_train.json --out data/visu\n"
      "  parapet data import --from webdataset --input 'laion-{00000..00009}.tar' --out data/l\n"
      "  parapet data import --from csv --input pairs.csv --columns text=caption --out data/p",
      [] { return std::make_unique<DataImportCommand>(); }};
}

}  // namespace parapet::cli
