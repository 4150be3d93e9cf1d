// What a decision hands out: changed parts and explanations.
#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/guard/explain.h"
#include "parapet/guard/pipeline.h"
#include "parapet/guard/redact.h"

namespace parapet::guard {
namespace {

constexpr size_t kExplained = 3;  // categories per decision

const PreparedPart* find_part(const std::vector<PreparedPart>& parts, int index,
                              Modality modality) {
  for (const PreparedPart& part : parts)
    if (part.part == index && part.modality == modality) return &part;
  return nullptr;
}

}  // namespace

void Pipeline::modify(const Run& run, Decision& decision) const {
  for (const PreparedPart& part : run.prepared.parts) {
    if (decision.parts[static_cast<size_t>(part.part)].action != Action::kModify) continue;
    if (part.modality == Modality::kImage)
      modify_image(run, part, decision);
    else
      modify_text(part, decision);
  }
}

bool Pipeline::replace_or_redirect(const PreparedPart& part, const std::string& how,
                                   Decision& decision) const {
  if (!counterpart_ || (how != "replace" && how != "redirect")) return false;
  ModifiedPart modified;
  modified.part = part.part;
  modified.how = how;
  modified.embedding = counterpart_->embed(part);
  if (modified.embedding.empty()) return false;
  if (how == "replace") {
    const bool image = part.modality == Modality::kImage;
    const auto found = image ? counterpart_->nearest_image(modified.embedding)
                             : counterpart_->nearest_text(modified.embedding);
    if (!found.ok) return false;
    modified.embedding.clear();
    modified.content = found.content;
    modified.media_type = image ? "image/png" : "text/plain";
    modified.detail = "safe counterpart " + found.id;
  }
  decision.modified.push_back(std::move(modified));
  return true;
}

void Pipeline::modify_image(const Run& run, const PreparedPart& part, Decision& decision) const {
  const ModifyOptions& options = policy_.modify;
  if (replace_or_redirect(part, options.image, decision)) return;
  // The picture may have been decoded smaller for the encoder.
  Image image = scale_for_ > 0 ? decode_image(part.bytes, "part") : *part.image;
  std::vector<Box> boxes;
  if (options.region == "ocr") {
    for (const auto& [index, text] : run.ocr) {
      if (index != part.part) continue;
      for (const OcrWord& word : text.words)
        for (const RuleHit& hit : decision.rules)
          if (hit.part == index && hit.from_ocr && hit.begin < word.end && word.begin < hit.end)
            boxes.push_back(
                grow_box({word.left, word.top, word.width, word.height}, options.grow, image));
    }
  }
  ModifiedPart modified;
  modified.part = part.part;
  modified.detail = boxes.empty() ? "whole picture" : std::to_string(boxes.size()) + " boxes";
  if (boxes.empty()) boxes.push_back({0, 0, image.width, image.height});
  const auto shorter = static_cast<double>(std::min(image.width, image.height));
  const auto size = std::max<int64_t>(2, static_cast<int64_t>(options.strength * shorter));
  for (const Box& box : boxes) {
    if (options.image == "pixelate")
      pixelate_box(image, box, size);
    else
      blur_box(image, box, size);
  }
  modified.how = options.image == "pixelate" ? "pixelate" : "blur";
  modified.content = encode_png(image, 3);
  modified.media_type = "image/png";
  decision.modified.push_back(std::move(modified));
}

void Pipeline::modify_text(const PreparedPart& part, Decision& decision) const {
  const ModifyOptions& options = policy_.modify;
  if (replace_or_redirect(part, options.text, decision)) return;
  std::vector<std::pair<size_t, size_t>> spans;
  for (const RuleHit& hit : decision.rules)
    if (hit.part == part.part && !hit.from_ocr && hit.end > hit.begin &&
        hit.action == Action::kModify)
      spans.emplace_back(hit.begin, hit.end);
  ModifiedPart modified;
  modified.part = part.part;
  modified.how = "mask";
  modified.media_type = "text/plain";
  modified.detail = std::to_string(spans.size()) + " spans";
  // A text whose score, not a word of it, asked for the change has no span to spare.
  if (spans.empty()) {
    spans.emplace_back(0, part.text.size());
    modified.detail = "whole text";
  }
  modified.content = mask_spans(part.text, std::move(spans), options.mask);
  decision.modified.push_back(std::move(modified));
}

void Pipeline::explain(const Run& run, Decision& decision) const {
  if (!clip_) return;
  size_t explained = 0;
  const auto categories = decision.categories;
  for (const CategoryResult& category : categories) {
    if (category.shadow_action == Action::kAllow || explained == kExplained) continue;
    ++explained;
    explain_category(run, category, decision);
  }
}

void Pipeline::explain_category(const Run& run, const CategoryResult& category,
                                Decision& decision) const {
  const Score* best = nullptr;
  for (const Score& score : decision.scores)
    if (score.category == category.category && score.modality == category.decided_by &&
        score.signal.starts_with("clip.") && !score.from_ocr &&
        (best == nullptr || score.value > best->value))
      best = &score;
  if (best == nullptr) return;
  const Modality modality = best->modality;
  const int text_part = modality == Modality::kJoint ? best->text_part : best->part;
  const PreparedPart* image = find_part(run.prepared.parts, best->part, Modality::kImage);
  const PreparedPart* text = find_part(run.prepared.parts, text_part, Modality::kText);
  const bool joint = modality == Modality::kJoint;
  if (image != nullptr && modality != Modality::kText) {
    const Embedding other = joint && text != nullptr ? clip_->embed_text(text->text) : Embedding{};
    const auto png = image_saliency(*image->image, [&](std::span<const Image> copies) {
      return clip_->rescore_images(copies, category.category, modality, other);
    });
    if (png)
      decision.explanations.push_back({image->part, category.category, "saliency", *png, {}});
  }
  if (text != nullptr && modality != Modality::kImage) {
    const Embedding other =
        joint && image != nullptr ? clip_->embed_image(*image->image) : Embedding{};
    auto words = word_attribution(text->text, [&](const std::vector<std::string>& copies) {
      return clip_->rescore_texts(copies, category.category, modality, other);
    });
    if (words.empty()) return;
    std::string png = attribution_picture(words);
    decision.explanations.push_back(
        {text->part, category.category, "attribution", std::move(png), std::move(words)});
  }
}

}  // namespace parapet::guard
