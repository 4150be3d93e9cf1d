#include <cmath>

#include "parapet/evaluation/curves.h"
#include "parapet/formats/jsonl.h"

namespace parapet {
namespace {

// Fields of a metrics line that are no losses.
bool is_bookkeeping(const std::string& name) {
  static const std::set<std::string> kNames = {
      "step", "lr", "grad_norm", "samples_per_second", "seconds", "samples", "epoch", "time"};
  return kNames.count(name) > 0;
}

void collect(const nlohmann::json& object, double step, const std::string& prefix,
             std::vector<Curve>& curves) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_object()) {
      collect(value, step, name == "terms" ? prefix : prefix + name + " ", curves);
    } else if (value.is_number() && !is_bookkeeping(name) && std::isfinite(value.get<double>())) {
      const std::string full = prefix + name;
      auto curve = std::find_if(curves.begin(), curves.end(),
                                [&](const Curve& known) { return known.name == full; });
      if (curve == curves.end()) curve = curves.insert(curves.end(), Curve{full, {}});
      curve->points.emplace_back(step, value.get<double>());
    }
  }
}

// Means of equal runs of points, at most `limit`.
void thin(Curve& curve, size_t limit) {
  const size_t run = (curve.points.size() + limit - 1) / limit;
  if (run <= 1) return;
  std::vector<std::pair<double, double>> kept;
  for (size_t i = 0; i < curve.points.size(); i += run) {
    const size_t end = std::min(i + run, curve.points.size());
    double x = 0, y = 0;
    for (size_t p = i; p < end; ++p) x += curve.points[p].first, y += curve.points[p].second;
    kept.emplace_back(x / static_cast<double>(end - i), y / static_cast<double>(end - i));
  }
  curve.points = std::move(kept);
}

}  // namespace

std::vector<Curve> load_curves(const std::filesystem::path& metrics) {
  std::vector<Curve> curves;
  if (!std::filesystem::exists(metrics)) return curves;
  read_jsonl(metrics, [&](const nlohmann::json& line, const std::string&) {
    if (!line.is_object()) return;
    const auto step = line.find("step");
    if (step != line.end() && step->is_number()) collect(line, step->get<double>(), "", curves);
  });
  // Validation of single points and recalls belong into tables, not on a loss axis.
  std::erase_if(curves, [](const Curve& curve) {
    return curve.points.size() < 2 || curve.name.find("recall") != std::string::npos ||
           curve.name.find("R@") != std::string::npos;
  });
  for (auto& curve : curves) thin(curve, 400);
  return curves;
}

}  // namespace parapet
