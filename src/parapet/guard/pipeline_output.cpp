// What a decision hands out: changed parts and explanations.
#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/guard/explain.h"
#include "parapet/guard/pipeline.h"
#include "parapet/guard/redact.h"

namespace parapet::guard {
namespace {

constexpr size_t kExplained = 3;  // categories per decision

// Whether something that points at no place in the part asks for its change: a score of the part
// itself or of a pair with it, a known picture, a combination.
bool whole_part_modified(const Decision& decision, const PreparedPart& part) {
  const auto score = [&](const Score& one) {
    return one.action == Action::kModify && (!one.from_ocr || !one.view.empty()) &&
           (one.part == part.part || one.text_part == part.part);
  };
  const auto rule = [&](const RuleHit& one) {
    const bool here = one.part < 0 || one.part == part.part;
    return one.action == Action::kModify && here && (one.end <= one.begin || !one.view.empty());
  };
  return std::any_of(decision.scores.begin(), decision.scores.end(), score) ||
         std::any_of(decision.rules.begin(), decision.rules.end(), rule);
}

const PreparedPart* find_part(const std::vector<PreparedPart>& parts, int index, Modality modality,
                              const std::string& view = "") {
  for (const PreparedPart& part : parts)
    if (part.part == index && part.modality == modality && part.view == view) return &part;
  return nullptr;
}

}  // namespace

void Pipeline::modify(const Run& run, Decision& decision) const {
  for (const PreparedPart& part : run.prepared.parts) {
    if (decision.parts[static_cast<size_t>(part.part)].action != Action::kModify) continue;
    if (!part.view.empty()) continue;  // what is handed out is the picture itself, opaque
    if (part.modality == Modality::kImage)
      modify_image(run, part, decision);
    else
      modify_text(part, decision);
  }
  for (size_t i = 0; i < decision.parts.size(); ++i) {
    const bool done =
        std::any_of(decision.modified.begin(), decision.modified.end(),
                    [&](const ModifiedPart& one) { return one.part == static_cast<int>(i); });
    if (decision.parts[i].action == Action::kModify && !done)
      throw DataError(decision.parts[i].label, "could not be read");
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

// Boxes of the words that asked for the change: those of a rule's hit, or all where a score of the
// drawn text did.
std::vector<Box> Pipeline::drawn_text(const Run& run, const PreparedPart& part, const Image& image,
                                      const Decision& decision) const {
  const bool all =
      std::any_of(decision.scores.begin(), decision.scores.end(), [&](const Score& score) {
        return score.from_ocr && score.part == part.part && score.action == Action::kModify;
      });
  std::vector<Box> boxes;
  for (const auto& [index, text] : run.ocr) {
    if (index != part.part) continue;
    for (const OcrWord& word : text.words) {
      const bool hit =
          std::any_of(decision.rules.begin(), decision.rules.end(), [&](const RuleHit& one) {
            return one.part == part.part && one.from_ocr && one.action == Action::kModify &&
                   one.begin < word.end && word.begin < one.end;
          });
      if (all || hit)
        boxes.push_back(
            grow_box({word.left, word.top, word.width, word.height}, policy_.modify.grow, image));
    }
  }
  return boxes;
}

void Pipeline::modify_image(const Run& run, const PreparedPart& part, Decision& decision) const {
  const ModifyOptions& options = policy_.modify;
  if (replace_or_redirect(part, options.image, decision)) return;
  // The picture may have been decoded smaller for the encoder.
  Image image = scale_for_ > 0 ? decode_image(part.bytes, "part") : *part.image;
  std::vector<Box> boxes;
  if (options.region == "ocr" && !whole_part_modified(decision, part))
    boxes = drawn_text(run, part, image, decision);
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
  if (spans.empty() || whole_part_modified(decision, part)) {
    spans = {{0, part.text.size()}};
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
    if (category.shadow_action == Action::kAllow) continue;
    if (explained == kExplained || run.late()) return;
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
  const PreparedPart* image =
      find_part(run.prepared.parts, best->part, Modality::kImage, best->view);
  const PreparedPart* text = find_part(run.prepared.parts, text_part, Modality::kText);
  // The other half of a pair. A busy encoder may give none: then the pair is not explained.
  Embedding of_image, of_text;
  std::string piece;
  if (modality == Modality::kJoint) {
    if (image == nullptr || text == nullptr) return;
    of_image = clip_->embed_image(*image->image);
    if (of_image.empty()) return;
  }
  if (text != nullptr && modality != Modality::kImage)
    piece = clip_->deciding_piece(text->text, category.category, modality, of_image);
  if (modality == Modality::kJoint) {
    of_text = clip_->embed_text(piece);
    if (of_text.empty()) return;
  }
  if (image != nullptr && modality != Modality::kText) {
    const auto png = image_saliency(*image->image, [&](std::span<const Image> copies) {
      return clip_->rescore_images(copies, category.category, modality, of_text);
    });
    if (png)
      decision.explanations.push_back({image->part, category.category, "saliency", *png, {}});
  }
  if (text != nullptr && modality != Modality::kImage) {
    auto words = word_attribution(piece, [&](const std::vector<std::string>& copies) {
      return clip_->rescore_texts(copies, category.category, modality, of_image);
    });
    if (words.empty()) return;
    std::string png = attribution_picture(words);
    decision.explanations.push_back(
        {text->part, category.category, "attribution", std::move(png), std::move(words)});
  }
}

}  // namespace parapet::guard
