// Building a ClipSignal from a policy.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"
#include "parapet/guard/clip_signal.h"
#include "parapet/methods/guard_heads/few_shot.h"
#include "parapet/methods/guard_heads/zero_shot.h"

namespace parapet::guard {
namespace {

constexpr int64_t kImageCap = int64_t{64} << 20;

EncodeResult wait_for(std::future<EncodeResult> future, const std::string& what) {
  EncodeResult result = future.get();
  if (!result.ok())
    throw DataError(what, result.error.empty() ? "cannot be embedded" : result.error);
  return result;
}

// Prompts and examples stand for what they say to their end: one that the model would cut is
// refused. `most` counts tokens without the special ones.
std::vector<Embedding> embed_texts(const SharedEncoder& encoder, int64_t most,
                                   const std::vector<std::string>& texts, const std::string& what) {
  const size_t around = encoder.tokenizer->encode("").size();
  std::vector<Embedding> embeddings;
  for (const std::string& text : texts) {
    const std::string named = what + ": prompt '" + text + "'";
    const auto tokens = static_cast<int64_t>(encoder.tokenizer->encode(text).size() - around);
    if (tokens > most)
      throw UsageError(named + " has " + std::to_string(tokens) + " tokens, and the model reads " +
                       std::to_string(most) + "; say it shorter, or in several prompts");
    embeddings.push_back(wait_for(encoder.batches->encode_text(text), named).embedding);
  }
  return embeddings;
}

std::vector<Embedding> embed_files(BatchingEncoder& encoder,
                                   const std::vector<std::filesystem::path>& files) {
  std::vector<Embedding> embeddings;
  for (const auto& file : files)
    embeddings.push_back(
        wait_for(encoder.encode_image_bytes(read_file(file, kImageCap), file.string()),
                 file.string())
            .embedding);
  return embeddings;
}

std::vector<float> stacked(const std::vector<Embedding>& rows) {
  std::vector<float> values;
  for (const Embedding& row : rows) values.insert(values.end(), row.begin(), row.end());
  return values;
}

std::shared_ptr<const FewShotHead> few_shot(const std::vector<Embedding>& harmful,
                                            const std::vector<Embedding>& benign,
                                            const std::string& what) {
  if (harmful.size() < 2 || benign.size() < 2)
    throw UsageError(what + ": give at least 2 examples of each kind, better 5 to 50");
  std::vector<float> rows = stacked(harmful);
  const std::vector<float> others = stacked(benign);
  rows.insert(rows.end(), others.begin(), others.end());
  std::vector<uint8_t> labels(harmful.size(), 1);
  labels.resize(harmful.size() + benign.size(), 0);
  return std::make_shared<const FewShotHead>(
      fit_few_shot(rows, labels, static_cast<int64_t>(harmful[0].size())));
}

std::vector<double> read_cosines(const std::filesystem::path& file) {
  std::vector<double> cosines;
  int64_t number = 0;
  for (const std::string& line : split(read_text_file(file), '\n')) {
    ++number;
    const std::string text(trim(line));
    if (text.empty() || text[0] == '#') continue;
    char* end = nullptr;
    const double cosine = std::strtod(text.c_str(), &end);
    if (*end != '\0' || !(std::abs(cosine) <= 1.0001))
      throw DataError(file.string() + ":" + std::to_string(number),
                      "'" + text.substr(0, 40) + "' is not a cosine");
    cosines.push_back(cosine);
  }
  if (cosines.size() < 20)
    throw DataError(file.string(), "has " + std::to_string(cosines.size()) + " cosines",
                    "Give at least 20 benign pairs; some hundreds make the tail reliable.");
  return cosines;
}

}  // namespace

std::shared_ptr<ClipSignal> ClipSignal::load(const Policy& policy,
                                             std::shared_ptr<const SharedEncoder> encoder,
                                             const Context& context) {
  std::shared_ptr<ClipSignal> signal(new ClipSignal);
  const ClipOptions& clip = policy.clip;
  signal->encoder_ = std::move(encoder);
  signal->conformal_ = clip.conformal;
  signal->max_chunks_ = clip.max_text_chunks;
  const auto around = static_cast<int64_t>(signal->encoder_->tokenizer->encode("").size());
  const int64_t context_length = signal->encoder_->batches->text_context();
  // Without a limit of the model's own a piece is as long as CLIP's.
  signal->text_tokens_ = (context_length > 0 ? context_length : 77) - around;
  if (signal->text_tokens_ < 1)
    throw DataError(clip.model.string(), "its text tower reads " + std::to_string(context_length) +
                                             " tokens, which leaves none for a text");
  Sha256 version;
  version.update(signal->encoder_->version);
  if (!clip.heads.empty()) {
    auto heads = std::make_shared<GuardHeads>(GuardHeads::load(clip.heads));
    if (heads->info().version != clip.heads_version)
      throw DataError(clip.heads.string(), "was replaced while the policy was being read",
                      "Load the policy again.");
    heads->check_model(signal->encoder_->model_key, clip.model.string());
    version.update(heads->info().version);
    signal->heads_ = std::move(heads);
  }
  for (const auto& card : clip.cards) {
    std::shared_ptr<EmbeddingHead> head = EmbeddingHead::load(card);
    if (head->dim() != signal->encoder_->batches->dim())
      throw UsageError(card.string() + ": its head is for embeddings of " +
                       std::to_string(head->dim()) + " values, the model makes " +
                       std::to_string(signal->encoder_->batches->dim()));
    version.update(head->version());
    const auto& categories = head->card().categories;
    for (size_t i = 0; i < categories.size(); ++i)
      if (!categories[i].empty())
        signal->others_.push_back(
            {categories[i], "clip." + head->card().name,
             head->card().modality == "text" ? Modality::kText : Modality::kImage,
             [head, i](std::span<const float> e) -> double { return head->score(e)[i].score; }});
  }
  for (const ZeroShotOptions& options : clip.zeroshot) signal->load_zeroshot(options, clip);
  if (policy.consistency.enabled) signal->load_consistency(policy);
  signal->check_categories(policy);
  version.update(policy.hash);
  signal->version_ = version.hex().substr(0, 16);
  context.info("clip: " + std::to_string(signal->categories().size()) + " categories");
  return signal;
}

void ClipSignal::load_zeroshot(const ZeroShotOptions& options, const ClipOptions& clip) {
  BatchingEncoder& batches = *encoder_->batches;
  const std::string what = "zero-shot category '" + options.category + "'";
  const auto embed = [&](const std::vector<std::string>& texts) {
    return embed_texts(*encoder_, text_tokens_, texts, what);
  };
  const auto asks = [&](const char* modality) {
    return std::find(options.modalities.begin(), options.modalities.end(), modality) !=
           options.modalities.end();
  };
  const auto add = [&](const char* signal, Modality modality, auto head) {
    others_.push_back({options.category, signal, modality,
                       [head](std::span<const float> e) { return head->score(e); }});
  };
  if (!options.prompts.empty()) {
    const auto& neutral = options.neutral.empty() ? clip.neutral : options.neutral;
    const double temperature =
        options.temperature > 0 ? options.temperature : batches.logit_scale();
    auto head = std::make_shared<const ZeroShotCategory>(
        options.category, stacked(embed(options.prompts)), stacked(embed(neutral)), batches.dim(),
        temperature);
    if (asks("image")) add("clip.zeroshot", Modality::kImage, head);
    if (asks("text")) add("clip.zeroshot", Modality::kText, head);
  }
  if (!options.images.empty() && !options.benign_images.empty())
    add("clip.fewshot", Modality::kImage,
        few_shot(embed_files(batches, options.images), embed_files(batches, options.benign_images),
                 what));
  if (!options.texts.empty() && !options.benign_texts.empty())
    add("clip.fewshot", Modality::kText,
        few_shot(embed(options.texts), embed(options.benign_texts), what));
}

void ClipSignal::load_consistency(const Policy& policy) {
  consistency_category_ = policy.consistency.category;
  if (!policy.consistency.reference.empty())
    benign_cosines_ = read_cosines(policy.consistency.reference);
  else if (heads_)
    benign_cosines_ = heads_->info().cosine_quantiles;
  if (benign_cosines_.empty())
    throw UsageError(
        "[consistency] needs cosines of benign pairs: give 'reference', or heads trained on pairs");
  std::sort(benign_cosines_.begin(), benign_cosines_.end());
}

void ClipSignal::check_categories(const Policy& policy) const {
  Problems problems;
  for (const std::string& category : categories())
    if (policy.taxonomy.find(category) == nullptr)
      problems.add("category '" + category +
                   "' of the [clip] heads or cards is not in the taxonomy");
  problems.throw_if_any("policy");
}

}  // namespace parapet::guard
