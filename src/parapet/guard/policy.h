// A policy: what is looked for, how sure is sure enough, and what then happens. Parsed from TOML
// (docs/policy.md lists every key); a bad one is refused with all its mistakes at once.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/guard/decision.h"
#include "parapet/guard/request.h"
#include "parapet/guard/taxonomy.h"

namespace parapet::guard {

enum class Mode { kEnforce, kShadow };
// What a part that could not be scanned does: kOpen lets it pass (never as clean), kFlag flags it,
// kClosed blocks.
enum class FailMode { kOpen, kFlag, kClosed };

// One category under one modality and side, all overrides applied.
struct CategoryRule {
  std::optional<double> flag;   // score at which it is flagged; empty = never
  std::optional<double> block;  // score at which `action` happens; empty = never
  // The heads' threshold that the number is: fpr1, recall95, best_f1. Empty = the policy's own.
  std::string flag_from, block_from;
  Action action = Action::kBlock;
  Mode mode = Mode::kEnforce;
  FailMode fail = FailMode::kOpen;
  std::array<double, 3> severity = {0.25, 0.5, 0.75};  // scores where low, medium, high begin
  std::optional<std::array<double, 2>> review;         // undecided band [low, high)
};

struct LimitOptions {
  int64_t max_parts = 64;
  int64_t max_text_bytes = 1 << 20;
  int64_t max_image_bytes = 20 << 20;
  int64_t max_image_pixels = 50'000'000;
  int64_t max_request_pixels = 100'000'000;  // decoded, of all images of a request together
  int64_t min_image_side = 1;
  double deadline_ms = 0;     // a request's own may be earlier; 0 = none
  bool stop_on_block = true;  // once a hash or rule blocks, the dearer levels are not asked
  FailMode fail = FailMode::kClosed;
};

struct FetchOptions {
  std::vector<std::string> allow_hosts;  // "cdn.example.org", "*.example.org"; empty = never fetch
  bool allow_http = false;               // https only unless set
  std::vector<int64_t> ports = {443};    // allowed; 80 too with allow_http
  double timeout_ms = 5000;              // of one fetch, redirects included
  int64_t max_redirects = 3;
  FailMode fail = FailMode::kClosed;
};

struct HashListOptions {
  std::string name;
  std::string kind = "pdq";  // pdq | sha256
  std::filesystem::path file;
  std::string category;
  Action action = Action::kBlock;
  Mode mode = Mode::kEnforce;
  int64_t max_distance = 31;  // pdq: bits
  int64_t min_quality = 50;   // pdq: pictures below match nothing
  bool all_rotations = true;  // pdq: the 8 mirrored and turned variants
  bool texts = false;         // sha256: it lists texts too, so that to look one up is to scan it
};

struct WordListOptions {
  std::string name;
  std::string kind = "word";                 // word | regex
  std::vector<std::string> entries;          // in the policy itself
  std::vector<std::filesystem::path> files;  // one entry per line, or a JSON array of strings
  std::vector<std::string> allow;            // words in which an entry may stand, e.g. place names
  std::string category;
  Action action = Action::kFlag;
  Mode mode = Mode::kEnforce;
  FailMode fail = FailMode::kOpen;
  bool fold_accents = false;  // an accent on a letter does not hide it (not for Spanish: ano, año)
  bool inside_words = false;  // match within longer words too
  bool normalize = true;      // see through spacing, look-alikes, leetspeak, invisible characters
  bool allows = false;        // an allow list: its matches shield the same span from other lists
  std::vector<std::string> sides = {"input", "output"};
};

struct ZeroShotOptions {
  std::string category;
  std::vector<std::string> prompts;           // what it looks or reads like
  std::vector<std::string> neutral;           // empty = the [clip] neutral prompts
  std::vector<std::filesystem::path> images;  // 5-50 examples: few-shot, closed form
  std::vector<std::filesystem::path> benign_images;
  std::vector<std::string> texts;
  std::vector<std::string> benign_texts;
  std::vector<std::string> modalities = {"image", "text"};
  double temperature = 0;  // 0 = the model's logit scale
};

struct ClipOptions {
  bool enabled = false;
  std::filesystem::path model;
  std::filesystem::path heads;     // guard_heads.json of `parapet train guard`; empty = none
  std::string heads_version;       // of the heads whose thresholds the policy was read with
  std::filesystem::path hardened;  // for `replace` and `redirect`: a PEFT folder or a whole model
  std::string backend = "auto";
  std::string precision = "auto";
  std::vector<std::filesystem::path> cards;  // public heads over CLIP embeddings (embedding_head.h)
  std::vector<std::string> neutral;          // prompts that zero-shot categories are held against
  std::vector<ZeroShotOptions> zeroshot;
  bool conformal = true;         // scores within the heads' conformal band go to review
  int64_t max_text_chunks = 64;  // of 75 tokens; a longer text is not scanned to its end
  FailMode fail = FailMode::kClosed;
};

struct ClassifierOptions {
  std::string name;
  std::filesystem::path card;
  FailMode fail = FailMode::kClosed;
};

struct OcrOptions {
  bool enabled = false;
  std::string languages = "eng";
  std::filesystem::path data;  // folder of *.traineddata; empty = tesseract's own
  int64_t min_side = 300;      // smaller pictures are enlarged to this before reading
  double min_confidence = 60;  // of a word, 0..100
  int64_t min_letters = 4;     // shorter readings, often noise, go through the rules only
  FailMode fail = FailMode::kOpen;
};

// How well image and text agree, against benign pairs: the score is the share of benign pairs that
// agree better.
struct ConsistencyOptions {
  bool enabled = false;
  std::filesystem::path reference;  // cosines of benign pairs, one per line; empty = the heads' own
  std::string category = "contradiction";
};

struct ModifyOptions {
  std::string image = "blur";     // blur | pixelate | replace | redirect
  std::string text = "mask";      // mask | replace | redirect
  std::string region = "all";     // all | ocr: only the boxes of text that gave a hit
  double strength = 0.08;         // blur radius or pixel size as a share of the shorter side
  double grow = 0.1;              // boxes grow by this share
  std::string mask = "*";         // one per character
  std::filesystem::path gallery;  // replace: folder of safe images and captions.jsonl
};

struct AuditOptions {
  std::filesystem::path file;       // empty = none
  bool content = false;             // store texts and images too
  bool metadata = false;            // store the request's metadata
  FailMode fail = FailMode::kOpen;  // disk full: kOpen serves on, kClosed blocks
  int64_t max_rows = 0;             // oldest go; 0 = unbounded
};

// `when`: comparisons of signals joined by and, or, not, e.g.
//   weapon.image >= 0.5 and (violence >= 0.3 or rule("threats")) and side == "input"
struct CombinationOptions {
  std::string name;
  std::string when;
  std::string category;
  Action action = Action::kFlag;
  Mode mode = Mode::kEnforce;
  bool review = false;
};

class Policy {
 public:
  // UsageError lists every mistake as "file:line: key: problem", with the closest known name.
  // Files named in the policy are relative to its folder; they must exist.
  static Policy load(const std::filesystem::path& file);
  // `folder` = what relative files are relative to.
  static Policy parse(std::string_view toml, std::string_view source,
                      const std::filesystem::path& folder);

  std::string name;
  std::string version;
  std::string hash;    // 16 hexadecimal digits over the policy, taxonomy and every file it names
  std::string source;  // where it came from
  Mode mode = Mode::kEnforce;  // kShadow: nothing is enforced, everything is reported
  Taxonomy taxonomy;
  LimitOptions limits;
  FetchOptions fetch;
  std::vector<HashListOptions> hash_lists;
  FailMode hash_fail = FailMode::kClosed;
  std::vector<WordListOptions> word_lists;
  ClipOptions clip;
  std::vector<ClassifierOptions> classifiers;
  OcrOptions ocr;
  ConsistencyOptions consistency;
  std::vector<CombinationOptions> combinations;
  ModifyOptions modify;
  AuditOptions audit;

  std::string default_profile;                 // empty = the base policy
  std::map<std::string, std::string> tenants;  // tenant -> profile
  std::vector<std::string> profiles() const;   // without the base
  // The profile that a request gets. UsageError when it names one that does not exist.
  std::string resolve_profile(std::string_view profile, std::string_view tenant) const;

  // Categories that have a table in the policy, in its order.
  const std::vector<std::string>& categories() const { return categories_; }
  // Null when the category has no rule there (scores are still reported).
  const CategoryRule* rule(std::string_view profile, std::string_view category, Modality modality,
                           Side side) const;
  // Categories with a threshold of the heads in some profile. What else scores them would be held
  // against a number that means nothing for it.
  std::vector<std::string> categories_with_named_thresholds() const;

 private:
  friend class PolicyReader;
  // [category][modality][side]
  using RuleTable = std::map<std::string, std::array<std::array<CategoryRule, 2>, 3>, std::less<>>;
  std::vector<std::string> categories_;
  std::map<std::string, RuleTable, std::less<>> rules_;  // by profile; "" = base
};

}  // namespace parapet::guard
