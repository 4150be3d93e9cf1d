#include "parapet/evaluation/svg_plots.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "parapet/core/strings.h"
#include "parapet/evaluation/html_text.h"

namespace parapet {
namespace {

constexpr int kColours = 10;
constexpr double kLeastShare = 0.001;  // left end of a logarithmic axis
constexpr double kWidth = 520, kHeight = 300, kLeft = 52, kRight = 22, kTop = 10, kBottom = 34;

std::string num(double value) { return format_number(value, 1); }

std::string text(double x, double y, const std::string& anchor, const std::string& words) {
  return "<text x=\"" + num(x) + "\" y=\"" + num(y) + "\" text-anchor=\"" + anchor + "\">" +
         html_escape(words) + "</text>";
}

std::string line(double x1, double y1, double x2, double y2, const char* kind) {
  return std::string("<line class=\"") + kind + "\" x1=\"" + num(x1) + "\" y1=\"" + num(y1) +
         "\" x2=\"" + num(x2) + "\" y2=\"" + num(y2) + "\"/>";
}

// "0.05", "12", "3.2k".
std::string tick_text(double value) {
  char buffer[32];
  if (std::abs(value) >= 10000)
    std::snprintf(buffer, sizeof buffer, "%gk", value / 1000);
  else
    std::snprintf(buffer, sizeof buffer, "%.4g", value);
  return buffer;
}

// Round numbers covering [low, high].
std::vector<double> linear_ticks(double low, double high) {
  const double raw = (high - low) / 5, power = std::pow(10, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double m : {1.0, 2.0, 5.0})
    if (m * power >= raw) {
      step = m * power;
      break;
    }
  std::vector<double> ticks;
  for (double t = std::ceil(low / step) * step; t <= high + step * 1e-9; t += step)
    ticks.push_back(std::abs(t) < step * 1e-9 ? 0 : t);
  return ticks;
}

std::vector<double> log_ticks(double low, double high) {
  std::vector<double> ticks;
  for (double t = std::pow(10, std::floor(std::log10(low))); t <= high; t *= 10)
    for (const double m : {1.0, 2.0, 5.0})
      if (m * t >= low && m * t <= high) ticks.push_back(m * t);
  return ticks;
}

// Data to plot coordinates.
struct Frame {
  double x_low = std::numeric_limits<double>::infinity(), x_high = -x_low;
  double y_low = x_low, y_high = -x_low;
  bool log_scale = false;

  void include(double x, double y) {
    x_low = std::min(x_low, x), x_high = std::max(x_high, x);
    y_low = std::min(y_low, y), y_high = std::max(y_high, y);
  }
  void finish() {
    if (x_high <= x_low) x_high = x_low + 1;
    if (log_scale) {
      if (y_high <= y_low) y_high = y_low * 2;
      return;
    }
    // From zero, unless all values lie in a narrow band far from it (cosines near one).
    y_low = y_low > 0.6 * y_high ? y_low - 0.1 * (y_high - y_low) : std::min(0.0, y_low);
    if (y_high <= y_low) y_high = y_low + 1;
    y_high += 0.05 * (y_high - y_low);
  }
  double x(double value) const {
    return kLeft + (value - x_low) / (x_high - x_low) * (kWidth - kLeft - kRight);
  }
  double y(double value) const {
    const auto map = [&](double v) { return log_scale ? std::log(v) : v; };
    const double share = (map(value) - map(y_low)) / (map(y_high) - map(y_low));
    return kHeight - kBottom - share * (kHeight - kTop - kBottom);
  }
};

std::string colour(size_t index) { return "var(--c" + std::to_string(index % kColours) + ")"; }
const char* dash(size_t index) { return index < kColours ? "" : " stroke-dasharray=\"5 3\""; }

std::string bar_row(double y, double height, const std::string& fill, const Estimate& e,
                    double left, double width) {
  if (!std::isfinite(e.value)) return "";
  const auto x = [&](double share) { return left + std::clamp(share, 0.0, 1.0) * width; };
  std::string out = "<rect x=\"" + num(left) + "\" y=\"" + num(y) + "\" width=\"" +
                    num(std::max(1.0, x(e.value) - left)) + "\" height=\"" + num(height) +
                    "\" rx=\"2\" fill=\"" + fill + "\"/>";
  if (e.high > e.low) out += line(x(e.low), y + height / 2, x(e.high), y + height / 2, "whisker");
  const double end = std::max(x(e.value), e.high > e.low ? x(e.high) : 0.0);
  return out + text(end + 5, y + height / 2 + 4, "start", format_number(100 * e.value, 1));
}

}  // namespace

std::string line_plot(const std::vector<Curve>& curves, bool log_scale) {
  Frame frame;
  frame.log_scale = log_scale;
  for (const auto& curve : curves)
    for (const auto& [x, y] : curve.points)
      if (!log_scale || y > 0) frame.include(x, y);
  if (!std::isfinite(frame.x_low)) return "";
  frame.finish();
  std::string svg = "<svg class=\"plot\" viewBox=\"0 0 " + num(kWidth) + " " + num(kHeight) +
                    "\" role=\"img\" aria-label=\"loss terms over training steps\">";
  const auto ticks =
      log_scale ? log_ticks(frame.y_low, frame.y_high) : linear_ticks(frame.y_low, frame.y_high);
  for (const double t : ticks) {
    svg += line(kLeft, frame.y(t), kWidth - kRight, frame.y(t), "grid");
    svg += text(kLeft - 6, frame.y(t) + 4, "end", tick_text(t));
  }
  for (const double t : linear_ticks(frame.x_low, frame.x_high))
    svg += text(frame.x(t), kHeight - kBottom + 16, "middle", tick_text(t));
  svg += text((kLeft + kWidth - kRight) / 2, kHeight - 3, "middle", "step");
  for (size_t c = 0; c < curves.size(); ++c) {
    std::string points;
    for (const auto& [x, y] : curves[c].points)
      if (!log_scale || y > 0) points += num(frame.x(x)) + "," + num(frame.y(y)) + " ";
    svg += "<polyline fill=\"none\" stroke=\"" + colour(c) + "\"" + dash(c) +
           " stroke-width=\"1.6\" points=\"" + points + "\"><title>" + html_escape(curves[c].name) +
           "</title></polyline>";
  }
  return svg + "</svg>";
}

std::string share_plot(const SharePlot& plot) {
  Frame frame;
  frame.x_low = plot.log_x ? std::log10(kLeastShare) : 0;
  frame.x_high = plot.log_x ? 0 : 1;
  frame.y_low = 0, frame.y_high = 1;
  const auto x_of = [&](double share) {
    return frame.x(plot.log_x ? std::log10(std::max(share, kLeastShare)) : share);
  };
  std::string svg = "<svg class=\"plot\" viewBox=\"0 0 " + num(kWidth) + " " + num(kHeight) +
                    "\" role=\"img\" aria-label=\"" + html_escape(plot.title) + "\">";
  for (const double t : linear_ticks(0, 1)) {
    svg += line(kLeft, frame.y(t), kWidth - kRight, frame.y(t), "grid");
    svg += text(kLeft - 6, frame.y(t) + 4, "end", tick_text(t));
  }
  for (const double t : plot.log_x ? log_ticks(kLeastShare, 1) : linear_ticks(0, 1)) {
    svg += line(x_of(t), frame.y(0), x_of(t), frame.y(1), "grid");
    svg += text(x_of(t), kHeight - kBottom + 16, "middle", tick_text(t));
  }
  svg += text((kLeft + kWidth - kRight) / 2, kHeight - 3, "middle", plot.x_title);
  svg += "<g transform=\"rotate(-90 14 " + num(kHeight / 2) + ")\">" +
         text(14, kHeight / 2, "middle", plot.y_title) + "</g>";
  const auto polyline = [&](const std::vector<std::pair<double, double>>& points,
                            const std::string& stroke, const std::string& name) {
    std::string list;
    for (const auto& [x, y] : points) list += num(x_of(x)) + "," + num(frame.y(y)) + " ";
    svg += "<polyline fill=\"none\" stroke=" + stroke + " points=\"" + list + "\"><title>" +
           html_escape(name) + "</title></polyline>";
  };
  if (plot.diagonal) {
    std::vector<std::pair<double, double>> diagonal;  // bent on a logarithmic axis
    for (int i = 0; i <= 40; ++i) {
      const double share =
          plot.log_x ? kLeastShare * std::pow(1 / kLeastShare, i / 40.0) : i / 40.0;
      diagonal.emplace_back(share, share);
    }
    polyline(diagonal, "\"var(--soft)\" stroke-dasharray=\"2 4\"", "diagonal");
  }
  for (size_t c = 0; c < plot.curves.size(); ++c)
    polyline(plot.curves[c].points, "\"" + colour(c) + "\"" + dash(c) + " stroke-width=\"1.8\"",
             plot.curves[c].name);
  return svg + "</svg>";
}

std::string line_legend(const std::vector<Curve>& curves) {
  std::string html = "<p class=\"legend\">";
  for (size_t c = 0; c < curves.size(); ++c)
    html +=
        "<span><svg width=\"18\" height=\"8\" aria-hidden=\"true\"><line x1=\"0\" y1=\"4\" "
        "x2=\"18\" "
        "y2=\"4\" stroke-width=\"2.5\" stroke=\"" +
        colour(c) + "\"" + dash(c) + "/></svg> " + html_escape(curves[c].name) + "</span> ";
  return html + "</p>";
}

std::string bar_plot(const std::string& title, const std::vector<std::string>& labels,
                     const std::vector<BarSeries>& series) {
  constexpr double kBar = 13, kGap = 14, kLabel = 92, kRoom = 46;
  const double group = kBar * static_cast<double>(series.size()) + kGap;
  const double height = group * static_cast<double>(labels.size()) + 22;
  const double width = kWidth - kLabel - kRoom;
  std::string svg = "<svg class=\"plot\" viewBox=\"0 0 " + num(kWidth) + " " + num(height) +
                    "\" role=\"img\" aria-label=\"" + html_escape(title) + "\">";
  for (const double share : {0.0, 0.25, 0.5, 0.75, 1.0}) {
    const double x = kLabel + share * width;
    svg += line(x, 0, x, height - 20, "grid");
    svg += text(x, height - 5, "middle", format_number(100 * share, 0) + "%");
  }
  for (size_t l = 0; l < labels.size(); ++l) {
    const double top = group * static_cast<double>(l) + kGap / 2;
    svg += text(kLabel - 8, top + (group - kGap) / 2 + 4, "end", labels[l]);
    for (size_t s = 0; s < series.size(); ++s)
      svg += bar_row(top + kBar * static_cast<double>(s), kBar - 2,
                     "var(--bar" + std::to_string(s % 2) + ")", series[s].values[l], kLabel, width);
  }
  return svg + "</svg>";
}

}  // namespace parapet
