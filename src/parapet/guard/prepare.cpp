#include "parapet/guard/prepare.h"

#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/guard/frames.h"
#include "parapet/text/utf8.h"

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
    const auto limit = static_cast<size_t>(policy_.limits.max_parts);
    for (size_t i = 0; i < request_.parts.size(); ++i) {
      const Part& part = request_.parts[i];
      PartResult result;
      result.label = part.label.empty() ? "parts[" + std::to_string(i) + "]" : part.label;
      result.modality = part.modality();
      out_.results.push_back(std::move(result));
      index_ = static_cast<int>(i);
      if (i >= limit)
        fail("limits", "too_many_parts", "the policy takes " + std::to_string(limit) + " parts");
      else if (part.kind == Part::Kind::kText)
        add_text(part);
      else
        add_image(part);
    }
    return std::move(out_);
  }

 private:
  PartResult& result() { return out_.results.back(); }

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
    prepared.text = text::repair_utf8(part.content, storage);
    prepared.sha256 = result().sha256 = sha256_hex(part.content);
    out_.parts.push_back(std::move(prepared));
  }

  void add_image(const Part& part) {
    if (deadline_ && Clock::now() >= *deadline_)
      return fail("limits", "deadline", "not begun in time");
    PreparedPart prepared;
    prepared.part = index_;
    prepared.modality = Modality::kImage;
    if (part.kind == Part::Kind::kImageBytes) {
      prepared.bytes = part.content;
    } else if (!get(part.content, prepared.bytes)) {
      return;
    }
    result().bytes = static_cast<int64_t>(prepared.bytes.size());
    if (prepared.bytes.empty()) return fail("limits", "empty", "no bytes");
    if (result().bytes > policy_.limits.max_image_bytes)
      return fail("limits", "too_large",
                  format_bytes(result().bytes) + ", the policy takes " +
                      format_bytes(policy_.limits.max_image_bytes));
    prepared.sha256 = result().sha256 = sha256_hex(prepared.bytes);
    if (decode(prepared)) out_.parts.push_back(std::move(prepared));
  }

  bool get(const std::string& url, std::string& bytes) {
    const bool data = to_lower_ascii(std::string_view(url).substr(0, 5)) == "data:";
    const int64_t cap = policy_.limits.max_image_bytes;
    const auto start = Clock::now();
    Fetched fetched = data ? read_data_uri(url, cap) : fetcher_.fetch(url, cap, deadline_);
    const std::chrono::duration<double, std::milli> spent = Clock::now() - start;
    out_.fetch_milliseconds += spent.count();
    if (!fetched.ok()) {
      fail(data ? "limits" : "fetch", fetched.reason, fetched.detail);
      return false;
    }
    bytes = std::move(fetched.bytes);
    return true;
  }

  bool decode(PreparedPart& prepared) {
    const LimitOptions& limits = policy_.limits;
    try {
      const auto [width, height] = image_size(prepared.bytes, result().label);
      result().width = width;
      result().height = height;
      if (width * height > limits.max_image_pixels) {
        fail("limits", "too_large",
             std::to_string(width) + " x " + std::to_string(height) + " pixels, the policy takes " +
                 std::to_string(limits.max_image_pixels));
        return false;
      }
      if (pixels_ + width * height > limits.max_request_pixels) {
        fail("limits", "too_large",
             "with the images before it more than " + std::to_string(limits.max_request_pixels) +
                 " pixels, which is what the policy takes at once");
        return false;
      }
      if (std::min(width, height) < limits.min_image_side) {
        fail("limits", "too_small", std::to_string(width) + " x " + std::to_string(height));
        return false;
      }
      DecodeOptions options;
      options.max_bytes = limits.max_image_bytes;
      options.max_pixels = limits.max_image_pixels;
      options.scale_for = scale_for_;
      prepared.image =
          std::make_shared<Image>(decode_image(prepared.bytes, result().label, options));
      pixels_ += prepared.image->width * prepared.image->height;
      if (has_more_frames(prepared.bytes))
        fail("limits", "more_frames", "an animation: only its first picture is looked at");
      return true;
    } catch (const DataError& error) {
      fail("limits", "bad_image", error.problem());
    } catch (const std::bad_alloc&) {
      fail("limits", "too_large", "not enough memory to decode it");
    }
    return false;
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
