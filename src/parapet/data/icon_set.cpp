#include "parapet/data/icon_set.h"

#include <cairo.h>
#include <librsvg/rsvg.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"

namespace parapet {

struct IconSet::Impl {
  std::string source;
  nlohmann::json root;
};

namespace {

constexpr int kMaxAliasDepth = 8;

// One icon after following aliases.
struct Resolved {
  std::string body;
  double left = 0, top = 0, width = 16, height = 16;
  bool h_flip = false, v_flip = false;
  int rotate = 0;  // quarter turns, clockwise
};

double number_or(const nlohmann::json& object, const char* key, double fallback) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number() ? it->get<double>() : fallback;
}

bool flag(const nlohmann::json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

// A flip of an alias toggles that of its parent; turns add up.
void apply_transform(const nlohmann::json& entry, Resolved& icon) {
  icon.h_flip ^= flag(entry, "hFlip");
  icon.v_flip ^= flag(entry, "vFlip");
  icon.rotate = (icon.rotate + static_cast<int>(number_or(entry, "rotate", 0))) & 3;
}

void apply_box(const nlohmann::json& entry, Resolved& icon) {
  icon.left = number_or(entry, "left", icon.left);
  icon.top = number_or(entry, "top", icon.top);
  icon.width = number_or(entry, "width", icon.width);
  icon.height = number_or(entry, "height", icon.height);
}

Resolved resolve(const nlohmann::json& root, const std::string& slug, const std::string& source,
                 int depth) {
  const auto& icons = root.at("icons");
  if (const auto it = icons.find(slug); it != icons.end()) {
    Resolved icon;
    apply_box(root, icon);
    apply_box(*it, icon);
    apply_transform(*it, icon);
    icon.body = json_field<std::string>(*it, "body", source + ": icon '" + slug + "'");
    return icon;
  }
  const auto aliases = root.find("aliases");
  if (aliases == root.end() || !aliases->contains(slug) || depth >= kMaxAliasDepth)
    throw DataError(source, "has no icon '" + slug + "'",
                    "Run `make setup` to install the pinned version of the package.");
  const auto& alias = (*aliases)[slug];
  const auto parent = json_field<std::string>(alias, "parent", source + ": alias '" + slug + "'");
  Resolved icon = resolve(root, parent, source, depth + 1);
  apply_box(alias, icon);
  apply_transform(alias, icon);
  return icon;
}

std::string number(double value) { return nlohmann::json(value).dump(); }

std::string wrap(const Resolved& icon) {
  double width = icon.width, height = icon.height;
  const double cx = icon.left + width / 2, cy = icon.top + height / 2;
  std::string transform;
  if (icon.rotate != 0)
    transform +=
        "rotate(" + std::to_string(icon.rotate * 90) + " " + number(cx) + " " + number(cy) + ") ";
  if (icon.h_flip || icon.v_flip)
    transform += "translate(" + number(icon.h_flip ? 2 * cx : 0) + " " +
                 number(icon.v_flip ? 2 * cy : 0) + ") scale(" + (icon.h_flip ? "-1 " : "1 ") +
                 (icon.v_flip ? "-1)" : "1)");
  if (icon.rotate & 1) std::swap(width, height);
  const std::string body =
      transform.empty() ? icon.body : "<g transform=\"" + transform + "\">" + icon.body + "</g>";
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" "
         "xmlns:xlink=\"http://www.w3.org/1999/xlink\" width=\"" +
         number(width) + "\" height=\"" + number(height) + "\" viewBox=\"" +
         number(cx - width / 2) + " " + number(cy - height / 2) + " " + number(width) + " " +
         number(height) + "\">" + body + "</svg>";
}

template <class T, void (*Free)(T*)>
struct Freed {
  void operator()(T* p) const { Free(p); }
};
using Surface = std::unique_ptr<cairo_surface_t, Freed<cairo_surface_t, cairo_surface_destroy>>;
using Cairo = std::unique_ptr<cairo_t, Freed<cairo_t, cairo_destroy>>;
struct Unref {
  void operator()(RsvgHandle* p) const { g_object_unref(p); }
};

[[noreturn]] void throw_svg(std::string_view source, GError* error) {
  const std::string why = error != nullptr ? error->message : "unknown error";
  if (error != nullptr) g_error_free(error);
  throw DataError(source, "cannot draw the SVG: " + why);
}

// Cairo's native-endian ARGB words to RGBA bytes.
std::vector<uint8_t> to_rgba(cairo_surface_t* surface, int size) {
  cairo_surface_flush(surface);
  const uint8_t* data = cairo_image_surface_get_data(surface);
  const int stride = cairo_image_surface_get_stride(surface);
  std::vector<uint8_t> out(static_cast<size_t>(size) * size * 4);
  for (int y = 0; y < size; ++y)
    for (int x = 0; x < size; ++x) {
      uint32_t word;
      std::memcpy(&word, data + y * stride + x * 4, 4);
      uint8_t* pixel = &out[(static_cast<size_t>(y) * size + x) * 4];
      pixel[0] = static_cast<uint8_t>(word >> 16);
      pixel[1] = static_cast<uint8_t>(word >> 8);
      pixel[2] = static_cast<uint8_t>(word);
      pixel[3] = static_cast<uint8_t>(word >> 24);
    }
  return out;
}

}  // namespace

IconSet::IconSet(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
IconSet::~IconSet() = default;
IconSet::IconSet(IconSet&&) noexcept = default;

std::filesystem::path icon_file(const std::filesystem::path& assets, std::string_view name) {
  return assets / "@iconify-json" / name / "icons.json";
}

IconSet IconSet::open(const std::filesystem::path& assets, std::string_view name) {
  const auto file = icon_file(assets, name);
  if (!std::filesystem::exists(file))
    throw DataError(file.string(),
                    "the npm package @iconify-json/" + std::string(name) + " is not installed",
                    "Run `make setup`, or name the node_modules folder with --assets.");
  auto impl = std::make_unique<Impl>();
  impl->source = file.string();
  impl->root = load_json(file);
  if (!impl->root.is_object() || !impl->root.contains("icons") || !impl->root["icons"].is_object())
    throw DataError(impl->source, "field 'icons' is missing or not an object");
  return IconSet(std::move(impl));
}

std::string IconSet::svg(std::string_view slug) const {
  return wrap(resolve(impl_->root, std::string(slug), impl_->source, 0));
}

std::vector<uint8_t> rasterise_svg(std::string_view svg, int size, std::string_view source) {
  GError* error = nullptr;
  const std::unique_ptr<RsvgHandle, Unref> handle(
      rsvg_handle_new_from_data(reinterpret_cast<const guint8*>(svg.data()), svg.size(), &error));
  if (!handle) throw_svg(source, error);
  const Surface surface(cairo_image_surface_create(CAIRO_FORMAT_ARGB32, size, size));
  const Cairo cairo(cairo_create(surface.get()));
  const RsvgRectangle viewport{0, 0, static_cast<double>(size), static_cast<double>(size)};
  if (!rsvg_handle_render_document(handle.get(), cairo.get(), &viewport, &error))
    throw_svg(source, error);
  if (cairo_status(cairo.get()) != CAIRO_STATUS_SUCCESS)
    throw DataError(source, std::string("cannot draw the SVG: ") +
                                cairo_status_to_string(cairo_status(cairo.get())));
  return to_rgba(surface.get(), size);
}

}  // namespace parapet
