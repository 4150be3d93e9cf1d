#include "parapet/guard/clip_signal.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "parapet/core/error.h"
#include "parapet/guard/cosine.h"

namespace parapet::guard {
namespace {

constexpr const char* kAnyHarm = "any_harm";
constexpr const char* kContradiction = "contradiction";

std::string reason_of(EncodeStatus status) {
  switch (status) {
    case EncodeStatus::kOverloaded:
      return "overloaded";
    case EncodeStatus::kDeadline:
      return "deadline";
    default:
      return "signal_failed";
  }
}

HeadInput input_of(Modality modality) {
  return modality == Modality::kText    ? HeadInput::kText
         : modality == Modality::kImage ? HeadInput::kImage
                                        : HeadInput::kJoint;
}

ScanFailure failure_of(const PreparedPart& part, std::string reason, std::string detail) {
  ScanFailure failure;
  failure.part = part.part;
  failure.level = "clip";
  failure.reason = std::move(reason);
  failure.detail = std::move(detail);
  return failure;
}

// Leaves the oldest quarter and the newest of more pieces than `most`; false when that was not
// needed.
bool keep_ends(std::vector<TextChunk>& chunks, size_t most) {
  if (chunks.size() <= most) return false;
  const auto first = static_cast<std::ptrdiff_t>(most / 4);
  chunks.erase(chunks.begin() + first, chunks.end() - (static_cast<std::ptrdiff_t>(most) - first));
  return true;
}

// Keeps the highest score per category of several chunks.
void keep_highest(std::vector<Score>& scores, Score score) {
  for (Score& one : scores)
    if (one.category == score.category && one.signal == score.signal) {
      if (score.value > one.value) one = std::move(score);
      return;
    }
  scores.push_back(std::move(score));
}

}  // namespace

struct ClipSignal::Embedded {
  const PreparedPart* part;
  std::vector<Embedding> embeddings;  // one of an image, one per chunk of a text
};

std::vector<std::string> ClipSignal::categories_beside_heads() const {
  std::set<std::string> names;
  for (const EmbeddingCategory& other : others_) names.insert(other.category);
  if (!benign_cosines_.empty()) names.insert(consistency_category_);
  return {names.begin(), names.end()};
}

std::vector<std::string> ClipSignal::categories() const {
  const auto others = categories_beside_heads();
  std::set<std::string> names(others.begin(), others.end());
  if (heads_) {
    names.insert(heads_->categories().begin(), heads_->categories().end());
    names.insert(kAnyHarm);
    names.insert(kContradiction);
  }
  return {names.begin(), names.end()};
}

void ClipSignal::probe(Clock::time_point deadline) {
  for (std::future<EncodeResult>& answer : encoder_->batches->probe(deadline)) {
    // An encoder that hangs answers nothing, not even that it is late.
    if (answer.wait_until(deadline) != std::future_status::ready)
      throw Error(ErrorKind::kInternal, "the encoder did not answer in time");
    const EncodeResult result = answer.get();
    if (!result.ok())
      throw Error(ErrorKind::kInternal,
                  "the encoder did not answer: " +
                      (result.error.empty() ? reason_of(result.status) : result.error));
  }
}

struct ClipSignal::Waiting {
  const PreparedPart* part;
  std::vector<std::future<EncodeResult>> futures;
};

// Pieces of a text; what the model does not read of it is a failure.
std::vector<TextChunk> ClipSignal::chunks_of(const PreparedPart& part, SignalOutput& output) const {
  auto chunks = text_chunks(part.text, *encoder_->tokenizer, text_tokens_);
  const size_t count = chunks.size(), most = static_cast<size_t>(max_chunks_);
  if (keep_ends(chunks, most))
    output.failures.push_back(failure_of(part, "text_too_long",
                                         "of its " + std::to_string(count) +
                                             " pieces only the first " + std::to_string(most / 4) +
                                             " and the last " + std::to_string(most - most / 4) +
                                             " were scored ([clip] max_text_chunks)"));
  if (!std::all_of(chunks.begin(), chunks.end(), [](const TextChunk& one) { return one.readable; }))
    output.failures.push_back(
        failure_of(part, "text_unread", "a piece of it goes past what the model reads at once"));
  return chunks;
}

ClipSignal::Waiting ClipSignal::submit(const PreparedPart& part, const SignalInput& input,
                                       SignalOutput& output) const {
  Waiting one{&part, {}};
  if (part.modality == Modality::kImage) {
    one.futures.push_back(encoder_->batches->encode_image(*part.image, part.bytes, input.deadline));
    return one;
  }
  auto chunks = chunks_of(part, output);
  for (auto chunk = chunks.rbegin(); chunk != chunks.rend(); ++chunk)
    one.futures.push_back(encoder_->batches->encode_text(std::move(chunk->text), input.deadline));
  return one;
}

std::vector<ClipSignal::Embedded> ClipSignal::embed(const SignalInput& input,
                                                    SignalOutput& output) const {
  // The newest first: a deadline or a full queue leaves out the oldest.
  std::vector<Waiting> waiting;
  for (auto part = input.parts.rbegin(); part != input.parts.rend(); ++part)
    waiting.push_back(submit(*part, input, output));
  std::reverse(waiting.begin(), waiting.end());
  std::vector<Embedded> embedded;
  for (Waiting& one : waiting) {
    Embedded part{one.part, {}};
    bool failed = false;
    for (auto& future : one.futures) {
      EncodeResult result = future.get();
      if (result.ok()) {
        part.embeddings.push_back(std::move(result.embedding));
      } else if (!failed) {
        failed = true;
        output.failures.push_back(failure_of(*one.part, reason_of(result.status), result.error));
      }
    }
    if (!part.embeddings.empty()) {
      output.scanned.push_back(one.part->part);
      embedded.push_back(std::move(part));
    }
  }
  return embedded;
}

void ClipSignal::score(const SignalInput& input, SignalOutput& output) {
  const std::vector<Embedded> parts = embed(input, output);
  for (const Embedded& part : parts) score_part(part, output);
  if (!heads_ && benign_cosines_.empty()) return;
  for (const Embedded& image : parts) {
    if (image.part->modality != Modality::kImage) continue;
    for (const Embedded& text : parts)
      if (text.part->modality == Modality::kText && !text.part->from_ocr)
        score_pair(image, text, output);
  }
}

bool ClipSignal::undecided(const std::string& name, double value) const {
  if (!conformal_ || !heads_) return false;
  const auto it = heads_->info().thresholds.find(name);
  return it != heads_->info().thresholds.end() && value >= it->second.review_low &&
         value < it->second.review_high;
}

void ClipSignal::add_head_scores(const HeadScores& scores, const Score& base,
                                 SignalOutput& output) const {
  if (!scores.present) return;
  const std::string prefix = std::string(modality_name(base.modality)) + ".";
  const auto add = [&](const std::string& category, const std::string& head, double value) {
    Score score = base;
    score.category = category;
    score.value = value;
    score.review = undecided(prefix + head, value);
    keep_highest(output.scores, std::move(score));
  };
  add(kAnyHarm, "harm", scores.harm);
  for (size_t i = 0; i < scores.categories.size(); ++i)
    add(heads_->categories()[i], heads_->categories()[i], scores.categories[i]);
}

void ClipSignal::score_part(const Embedded& part, SignalOutput& output) const {
  SignalOutput own;
  Score base;
  base.modality = part.part->modality;
  base.part = part.part->part;
  base.from_ocr = part.part->from_ocr;
  base.view = part.part->view;
  const bool image = base.modality == Modality::kImage;
  for (const Embedding& embedding : part.embeddings) {
    if (heads_) {
      base.signal = "clip.heads";
      const GuardScores scores =
          image ? heads_->score(embedding, {}) : heads_->score({}, embedding);
      add_head_scores(image ? scores.image() : scores.text(), base, own);
    }
    for (const EmbeddingCategory& other : others_) {
      if (other.modality != base.modality) continue;
      Score score = base;
      score.signal = other.signal;
      score.category = other.category;
      score.value = other.score(embedding);
      keep_highest(own.scores, std::move(score));
    }
  }
  std::move(own.scores.begin(), own.scores.end(), std::back_inserter(output.scores));
}

double ClipSignal::percentile(double cosine) const {
  const auto above = std::lower_bound(benign_cosines_.begin(), benign_cosines_.end(), cosine);
  return static_cast<double>(above - benign_cosines_.begin()) /
         static_cast<double>(benign_cosines_.size());
}

void ClipSignal::score_pair(const Embedded& image, const Embedded& text,
                            SignalOutput& output) const {
  SignalOutput own;
  Score base;
  base.modality = Modality::kJoint;
  base.part = image.part->part;
  base.text_part = text.part->part;
  base.view = image.part->view;
  // A text contradicts an image when none of its pieces fits.
  double contradiction = 1, disagreement = 1;
  for (const Embedding& embedding : text.embeddings) {
    const double cosine = cosine_of(image.embeddings[0], embedding);
    if (!benign_cosines_.empty()) disagreement = std::min(disagreement, 1 - percentile(cosine));
    if (!heads_) continue;
    const GuardScores scores = heads_->score(image.embeddings[0], embedding);
    base.signal = "clip.heads";
    add_head_scores(scores.joint(), base, own);
    contradiction = std::min(contradiction, static_cast<double>(scores.contradiction));
  }
  // Another view of a picture fits no text; whether they agree is asked of the picture itself.
  const bool itself = image.part->view.empty();
  if (heads_ && itself) {
    base.category = kContradiction;
    base.value = contradiction;
    base.review = undecided(kContradiction, contradiction);
    own.scores.push_back(base);
  }
  if (!benign_cosines_.empty() && itself) {
    base.signal = "clip.consistency";
    base.category = consistency_category_;
    base.value = disagreement;
    base.review = false;
    own.scores.push_back(base);
  }
  std::move(own.scores.begin(), own.scores.end(), std::back_inserter(output.scores));
}

double ClipSignal::category_score(std::span<const float> image, std::span<const float> text,
                                  const std::string& category, Modality modality) const {
  double best = std::nan("");
  if ((modality != Modality::kText && image.empty()) ||
      (modality != Modality::kImage && text.empty()))
    return best;  // an embedding that it needs could not be made
  const auto raise = [&](double value) { best = std::isnan(best) ? value : std::max(best, value); };
  if (heads_) {
    const GuardScores scores = modality == Modality::kImage  ? heads_->score(image, {})
                               : modality == Modality::kText ? heads_->score({}, text)
                                                             : heads_->score(image, text);
    const HeadScores& head = scores.by_input[static_cast<size_t>(input_of(modality))];
    const int64_t index = heads_->category_index(category);
    if (category == kAnyHarm)
      raise(head.harm);
    else if (category == kContradiction && modality == Modality::kJoint)
      raise(scores.contradiction);
    else if (index >= 0)
      raise(head.categories[static_cast<size_t>(index)]);
  }
  if (modality == Modality::kJoint && category == consistency_category_ && !benign_cosines_.empty())
    raise(1 - percentile(cosine_of(image, text)));
  for (const EmbeddingCategory& other : others_)
    if (other.category == category && other.modality == modality)
      raise(other.score(modality == Modality::kImage ? image : text));
  return best;
}

Embedding ClipSignal::embed_text(const std::string& text) const {
  return encoder_->batches->encode_text(text).get().embedding;
}

Embedding ClipSignal::embed_image(const Image& image) const {
  return encoder_->batches->encode_image(image).get().embedding;
}

std::vector<double> ClipSignal::rescore_images(std::span<const Image> images,
                                               const std::string& category, Modality modality,
                                               std::span<const float> other) const {
  std::vector<double> scores;
  for (size_t first = 0; first < images.size(); first += 32) {  // no more than a queue's worth
    std::vector<std::future<EncodeResult>> futures;
    for (size_t i = first; i < std::min(images.size(), first + 32); ++i)
      futures.push_back(encoder_->batches->encode_image(images[i]));
    for (auto& future : futures) {
      const EncodeResult result = future.get();
      if (!result.ok()) return {};
      scores.push_back(category_score(result.embedding, other, category, modality));
      if (std::isnan(scores.back())) return {};
    }
  }
  return scores;
}

std::string ClipSignal::deciding_piece(const std::string& text, const std::string& category,
                                       Modality modality, std::span<const float> other) const {
  auto chunks = text_chunks(text, *encoder_->tokenizer, text_tokens_);
  if (chunks.size() < 2) return text;
  keep_ends(chunks, static_cast<size_t>(max_chunks_));
  std::vector<std::string> pieces;
  for (TextChunk& chunk : chunks) pieces.push_back(std::move(chunk.text));
  const auto scores = rescore_texts(pieces, category, modality, other);
  if (scores.empty()) return text;
  const bool lowest = category == kContradiction || category == consistency_category_;
  const auto best = lowest ? std::min_element(scores.begin(), scores.end())
                           : std::max_element(scores.begin(), scores.end());
  return pieces[static_cast<size_t>(best - scores.begin())];
}

std::vector<double> ClipSignal::rescore_texts(const std::vector<std::string>& texts,
                                              const std::string& category, Modality modality,
                                              std::span<const float> other) const {
  std::vector<double> scores;
  for (const std::string& text : texts) {
    const EncodeResult result = encoder_->batches->encode_text(text).get();
    if (!result.ok()) return {};
    scores.push_back(category_score(other, result.embedding, category, modality));
    if (std::isnan(scores.back())) return {};
  }
  return scores;
}

}  // namespace parapet::guard
