// parapet world build: the sample world as a data set directory.
#include "parapet/data/world.h"

#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/core/strings.h"
#include "parapet/data/world_build.h"

namespace parapet::cli {
namespace {

class WorldBuildCommand final : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("out", out_, "data set folder to write");
    build_.visit(list);
    world_.visit(list);
    list.add("assets", assets_, "node_modules folder with the @iconify-json packages");
    list.add("glyph-cache", cache_, "folder for rendered glyphs; empty = render every time");
  }

  void validate(Problems& problems) const override {
    build_.validate(problems);
    world_.validate(problems);
  }

  nlohmann::json run(const Session& session) override {
    world_.seed = session.common.seed;
    build_.threads = session.common.threads;
    const auto atlas = GlyphAtlas::load({assets_, cache_}, session.context);
    const SampleWorld world(world_, atlas);
    auto result = build_world(world, build_, out_, session.context);
    result["out"] = out_;
    const double rate = result["scenes"].get<double>() / result["seconds"].get<double>();
    session.print("wrote " + std::to_string(result["scenes"].get<int64_t>()) + " scenes to " +
                  out_ + " (" + format_number(rate, 0) + " scenes/s)");
    return result;
  }

 private:
  std::string out_;
  std::string assets_ = "node_modules";
  std::string cache_ = ".cache/glyphs";
  WorldBuildOptions build_;
  WorldOptions world_;
};

}  // namespace

CommandEntry world_build_command() {
  return {"world build", "write the sample world as a data set directory",
          "The sample world plays safety with open emoji art: safe scenes and captions, and their\n"
          "unsafe twins (a knife, a beer, ... added). The same seed gives the same bytes.\n\n"
          "  parapet world build --out data/world --quadruplets 8000 --captions 40000 --seed 1",
          [] { return std::make_unique<WorldBuildCommand>(); }};
}

}  // namespace parapet::cli
