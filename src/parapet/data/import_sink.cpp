#include "parapet/data/import_sink.h"

#include <nlohmann/json.hpp>

#include "parapet/formats/image.h"

namespace parapet {

namespace fs = std::filesystem;

namespace importing {

Sink::Sink(const ImportOptions& options, const fs::path& folder, const Context& context)
    : options_(options),
      folder_(folder),
      context_(context),
      quadruplets_(folder / kQuadrupletFile),
      captions_(folder / kCaptionFile),
      quarantine_(folder / "quarantine.jsonl") {}

void Sink::check_id(const std::string& id, const std::string& place) {
  if (!ids_.insert(id).second) throw DataError(place, "the id '" + id + "' was used before");
}

std::string Sink::relative_value(const std::string& location, const std::string& place) const {
  if (location.empty()) return "";
  if (!location_exists(location))
    throw DataError(place, "the image " + location + " does not exist",
                    "Name its folder with --images, or leave such records out with "
                    "--on-bad-sample skip.");
  const bool plain = fs::exists(location);
  const size_t hash = plain ? std::string::npos : location.rfind('#');
  const fs::path file = location.substr(0, hash);
  const std::string member = hash == std::string::npos ? "" : location.substr(hash);
  return fs::proximate(fs::absolute(file), fs::absolute(folder_)).generic_string() + member;
}

void Sink::add(Quadruplet sample, const std::string& place) {
  sample.safe_image = relative_value(sample.safe_image, place);
  sample.unsafe_image = relative_value(sample.unsafe_image, place);
  check_id(sample.id, place);
  quadruplets_.add(to_json(sample));
}

void Sink::add(CaptionSample sample, const std::string& place) {
  // An image that already lies in the folder was copied there by the importer.
  if (!fs::path(sample.image).is_relative() || !location_exists((folder_ / sample.image).string()))
    sample.image = relative_value(sample.image, place);
  check_id(sample.id, place);
  captions_.add(to_json(sample));
}

void Sink::bad(const std::string& id, const DataError& error) {
  if (options_.on_bad_sample != "skip") throw error;
  ++skipped_;
  quarantine_.add({{"id", id}, {"source", error.source()}, {"reason", error.problem()}});
}

std::string Sink::image_path(const fs::path& input, const std::string& name) const {
  if (name.empty() || fs::path(name).is_absolute()) return name;
  const fs::path root = options_.images.empty() ? input.parent_path() : fs::path(options_.images);
  return (root / name).string();
}

void Sink::check_cancelled() const {
  if (context_.cancelled()) throw Cancelled("import stopped; nothing was written");
}

ImportReport Sink::finish() {
  const ImportReport report{quadruplets_.count(), captions_.count(), skipped_};
  if (report.quadruplets + report.captions == 0)
    throw DataError(options_.inputs.front(),
                    "holds no usable records (" + std::to_string(skipped_) + " skipped)");
  quarantine_.finish();
  quadruplets_.finish();
  captions_.finish();
  if (skipped_ > 0)
    context_.warn(std::to_string(skipped_) + " bad records skipped; reasons in " +
                  (folder_ / "quarantine.jsonl").string());
  return report;
}

}  // namespace importing

}  // namespace parapet
