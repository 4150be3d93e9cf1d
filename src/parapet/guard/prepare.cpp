#include "parapet/guard/prepare.h"

#include <algorithm>
#include <array>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/core/utf8.h"
#include "parapet/formats/image_views.h"
#include "parapet/guard/frames.h"

namespace parapet::guard {
namespace {

class Preparer {
 public:
  Preparer(const GuardRequest& request, const Policy& policy, const Fetcher& fetcher,
           int64_t scale_for, const std::optional<Clock::time_point>& deadline)
      : request_(request),
        policy_(policy),
        fetcher_(fetcher),
        scale_for_(scale_for),
        deadline_(deadline) {}

  Prepared run() {
    for (size_t i = 0; i < request_.parts.size(); ++i) {
      const Part& part = request_.parts[i];
      PartResult result;
      result.label = part.label.empty() ? "parts[" + std::to_string(i) + "]" : part.label;
      result.modality = part.modality();
      if (part.kind == Part::Kind::kUnread) result.unread_type = part.content;
      out_.results.push_back(std::move(result));
    }
    // The newest first: what limits, downloads and the deadline leave out is the oldest.
    const std::vector<bool> taken = newest_parts();
    for (size_t i = request_.parts.size(); i-- > 0;) add(static_cast<int>(i), taken[i]);
    std::reverse(out_.parts.begin(), out_.parts.end());
    std::stable_sort(out_.failures.begin(), out_.failures.end(),
                     [](const auto& a, const auto& b) { return a.part < b.part; });
    return std::move(out_);
  }

 private:
  PartResult& result() { return out_.results[static_cast<size_t>(index_)]; }

  int64_t most_parts() const {
    const int64_t taken = policy_.limits.max_parts;
    return request_.max_parts > 0 ? std::min(request_.max_parts, taken) : taken;
  }

  // The newest text, the newest image, the next newest text and so on, as many as the policy takes:
  // many parts of one kind do not push out those of the other.
  std::vector<bool> newest_parts() const {
    std::vector<bool> taken(request_.parts.size());
    std::array<size_t, 2> next = {taken.size(), taken.size()};  // behind the next of a kind
    const auto take = [&](size_t kind) {
      while (next[kind] > 0) {
        const Part& part = request_.parts[--next[kind]];
        const bool text = part.kind == Part::Kind::kText;
        if (part.kind == Part::Kind::kUnread || text != (kind == 0)) continue;
        taken[next[kind]] = true;
        return true;
      }
      return false;
    };
    int64_t left = most_parts();
    for (bool more = true; more && left > 0;) {
      more = false;
      for (const size_t kind : {0, 1})
        if (left > 0 && take(kind)) {
          more = true;
          --left;
        }
    }
    return taken;
  }

  void add(int index, bool taken) {
    index_ = index;
    const Part& part = request_.parts[static_cast<size_t>(index)];
    if (part.kind == Part::Kind::kUnread)
      return fail("limits", "unsupported_type",
                  "nothing here reads content of type '" + part.content + "'");
    if (!taken)
      fail("limits", "too_many_parts",
           std::to_string(most_parts()) + " parts are looked at, the newest");
    if (part.kind != Part::Kind::kText) {
      if (taken) add_image(part);
      return;
    }
    const size_t before = out_.parts.size();
    add_text(part);
    // Lists cost next to nothing: they read every text.
    if (out_.parts.size() > before) out_.parts.back().lists_only = !taken;
  }

  void fail(std::string level, std::string reason, std::string detail) {
    ScanFailure failure;
    failure.part = index_;
    failure.level = std::move(level);
    failure.reason = std::move(reason);
    failure.detail = std::move(detail);
    result().state = ScanState::kNotScanned;
    out_.failures.push_back(std::move(failure));
  }

  void add_text(const Part& part) {
    result().bytes = static_cast<int64_t>(part.content.size());
    if (result().bytes > policy_.limits.max_text_bytes)
      return fail("limits", "too_large",
                  format_bytes(result().bytes) + " of text, the policy takes " +
                      format_bytes(policy_.limits.max_text_bytes));
    PreparedPart prepared;
    prepared.part = index_;
    std::string storage;
    prepared.text = repair_utf8(part.content, storage);
    prepared.sha256 = result().sha256 = sha256_hex(part.content);
    out_.parts.push_back(std::move(prepared));
  }

  void add_image(const Part& part) {
    if (deadline_ && Clock::now() >= *deadline_)
      return fail("limits", "deadline", "not begun in time");
    PreparedPart prepared;
    prepared.part = index_;
    prepared.modality = Modality::kImage;
    if (part.kind == Part::Kind::kImageBytes)
      prepared.bytes = part.content;
    else if (!get(part, prepared.bytes))
      return;
    result().bytes = static_cast<int64_t>(prepared.bytes.size());
    if (prepared.bytes.empty()) return fail("limits", "empty", "no bytes");
    if (result().bytes > policy_.limits.max_image_bytes)
      return fail("limits", "too_large",
                  format_bytes(result().bytes) + ", the policy takes " +
                      format_bytes(policy_.limits.max_image_bytes));
    prepared.sha256 = result().sha256 = sha256_hex(prepared.bytes);
    decode(std::move(prepared));
  }

  bool get(const Part& part, std::string& bytes) {
    const std::string& url = part.content;
    const bool plain = part.kind == Part::Kind::kImageBase64;
    const bool data = plain || to_lower_ascii(std::string_view(url).substr(0, 5)) == "data:";
    const int64_t cap = policy_.limits.max_image_bytes;
    const auto start = Clock::now();
    Fetched fetched = plain  ? read_base64(url, cap)
                      : data ? read_data_uri(url, cap)
                             : fetcher_.fetch(url, cap, deadline_);
    const std::chrono::duration<double, std::milli> spent = Clock::now() - start;
    out_.fetch_milliseconds += spent.count();
    if (!fetched.ok()) {
      fail(data ? "limits" : "fetch", fetched.reason, fetched.detail);
      return false;
    }
    bytes = std::move(fetched.bytes);
    return true;
  }

  void decode(PreparedPart prepared) {
    const LimitOptions& limits = policy_.limits;
    try {
      const auto [width, height] = image_size(prepared.bytes, result().label);
      result().width = width;
      result().height = height;
      if (width * height > limits.max_image_pixels) {
        fail("limits", "too_large",
             std::to_string(width) + " x " + std::to_string(height) + " pixels, the policy takes " +
                 std::to_string(limits.max_image_pixels));
        return;
      }
      if (pixels_ + width * height > limits.max_request_pixels) {
        fail("limits", "too_large",
             "with the images after it more than " + std::to_string(limits.max_request_pixels) +
                 " pixels, which is what the policy takes at once");
        return;
      }
      if (std::min(width, height) < limits.min_image_side) {
        fail("limits", "too_small", std::to_string(width) + " x " + std::to_string(height));
        return;
      }
      DecodeOptions options;
      options.max_bytes = limits.max_image_bytes;
      options.max_pixels = limits.max_image_pixels;
      options.scale_for = scale_for_;
      auto views = decode_image_views(prepared.bytes, result().label, options);
      const bool more_frames = has_more_frames(prepared.bytes);
      add_views(prepared, std::move(views));
      if (more_frames)
        fail("limits", "more_frames", "an animation: only its first picture is looked at");
    } catch (const DataError& error) {
      fail("limits", "bad_image", error.problem());
    } catch (const std::bad_alloc&) {
      fail("limits", "too_large", "not enough memory to decode it");
    }
  }

  // A picture that shows more on other grounds is looked at on each of them.
  void add_views(const PreparedPart& prepared, std::vector<ImageView> views) {
    const std::string sha256 = prepared.sha256;
    for (ImageView& view : views) {
      PreparedPart one = view.name.empty() ? prepared : PreparedPart{};
      one.part = index_;
      one.modality = Modality::kImage;
      one.image = std::make_shared<Image>(std::move(view.image));
      pixels_ += one.image->width * one.image->height;
      if (!view.name.empty()) {
        one.view = view.name;
        one.sha256 = sha256_hex(sha256 + "/" + view.name);
        result().views.push_back(view.name);
      }
      out_.parts.push_back(std::move(one));
    }
  }

  const GuardRequest& request_;
  const Policy& policy_;
  const Fetcher& fetcher_;
  int64_t scale_for_;
  std::optional<Clock::time_point> deadline_;
  int64_t pixels_ = 0;  // decoded so far
  int index_ = 0;
  Prepared out_;
};

}  // namespace

Prepared prepare_parts(const GuardRequest& request, const Policy& policy, const Fetcher& fetcher,
                       int64_t scale_for, const std::optional<Clock::time_point>& deadline) {
  return Preparer(request, policy, fetcher, scale_for, deadline).run();
}

}  // namespace parapet::guard
