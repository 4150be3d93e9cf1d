// What one CLIP encoder says about texts, images and pairs: trained heads, zero-shot prompts,
// few-shot examples, public heads over embeddings, and how well image and text agree.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/classifier/embedding_head.h"
#include "parapet/engine/encoder/model_store.h"
#include "parapet/guard/policy.h"
#include "parapet/guard/signal.h"
#include "parapet/guard/text_chunks.h"
#include "parapet/methods/guard_heads/heads.h"

namespace parapet::guard {

// A category scored from one embedding.
struct EmbeddingCategory {
  std::string category;
  std::string signal;  // clip.zeroshot, clip.fewshot, clip.<card>
  Modality modality = Modality::kImage;
  std::function<double(std::span<const float>)> score;
};

class ClipSignal final : public Signal {
 public:
  // Loads the encoder, heads, cards and prompts of the policy. UsageError or DataError names what
  // does not fit.
  static std::shared_ptr<ClipSignal> load(const Policy& policy,
                                          std::shared_ptr<const SharedEncoder> encoder,
                                          const Context& context);

  std::string name() const override { return "clip"; }
  std::string version() const override { return version_; }
  bool scans(Modality modality) const override { return modality != Modality::kJoint; }
  std::vector<std::string> categories() const override;
  // Those that something other than the heads scores.
  std::vector<std::string> categories_beside_heads() const;
  void score(const SignalInput& input, SignalOutput& output) override;
  void probe(Clock::time_point deadline) override;

  // The highest score of a category over changed copies of one part, for explanations: `other` is
  // the embedding of the other half of a pair, empty for a single part. Empty results where the
  // category is not scored from this modality, and where the other half of a pair is missing.
  std::vector<double> rescore_images(std::span<const Image> images, const std::string& category,
                                     Modality modality, std::span<const float> other) const;
  std::vector<double> rescore_texts(const std::vector<std::string>& texts,
                                    const std::string& category, Modality modality,
                                    std::span<const float> other) const;
  // The piece of a long text (as much as the model reads) that has the highest score, or for
  // contradiction the lowest: the one that decided. A short text itself.
  std::string deciding_piece(const std::string& text, const std::string& category,
                             Modality modality, std::span<const float> other) const;
  const SharedEncoder& encoder() const { return *encoder_; }
  // Embeddings of a part already scored; empty when they could not be made.
  Embedding embed_text(const std::string& text) const;
  Embedding embed_image(const Image& image) const;

 private:
  struct Embedded;  // a part with its chunks' embeddings
  ClipSignal() = default;
  void load_zeroshot(const ZeroShotOptions& options, const ClipOptions& clip);
  void load_consistency(const Policy& policy);
  void check_categories(const Policy& policy) const;
  struct Waiting;  // the same, still being computed
  Waiting submit(const PreparedPart& part, const SignalInput& input, SignalOutput& output) const;
  std::vector<TextChunk> chunks_of(const PreparedPart& part, SignalOutput& output) const;
  std::vector<Embedded> embed(const SignalInput& input, SignalOutput& output) const;
  void score_part(const Embedded& part, SignalOutput& output) const;
  void score_pair(const Embedded& image, const Embedded& text, SignalOutput& output) const;
  void add_head_scores(const HeadScores& scores, const Score& base, SignalOutput& output) const;
  bool undecided(const std::string& name, double value) const;
  double percentile(double cosine) const;
  double category_score(std::span<const float> image, std::span<const float> text,
                        const std::string& category, Modality modality) const;

  std::shared_ptr<const SharedEncoder> encoder_;
  std::shared_ptr<const GuardHeads> heads_;
  std::vector<EmbeddingCategory> others_;
  std::vector<double> benign_cosines_;  // sorted; empty = no consistency score
  std::string consistency_category_;
  bool conformal_ = true;
  int64_t text_tokens_ = 0;  // of a text that the model reads, without the special ones around it
  int64_t max_chunks_ = 64;
  std::string version_;
};

}  // namespace parapet::guard
