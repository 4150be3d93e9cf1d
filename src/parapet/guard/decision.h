// The guard's answer. It explains itself: scores with the thresholds they met, rules that fired,
// what was and was not scanned, versions, and what each level cost.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/guard/request.h"

namespace parapet::guard {

// Weakest first; the strongest that applies wins.
enum class Action { kAllow, kFlag, kModify, kBlock };
std::string_view action_name(Action action);  // allow, flag, modify, block

// kPartly: some level that the policy asks for could not look at it. Neither kPartly nor
// kNotScanned is ever clean.
enum class ScanState { kScanned, kPartly, kNotScanned };
std::string_view scan_state_name(ScanState state);  // scanned, partly_scanned, not_scanned

// One thing that could not be scanned. `reason` is a stable word for metrics and clients:
// too_many_parts, too_large, too_small, empty, bad_url, host_not_allowed, private_address,
// fetch_failed, bad_data_uri, bad_base64, bad_image, deadline, overloaded, signal_failed,
// text_too_long, text_unread (the model would stop within a piece of it), rule_limit (a regex ran
// into its step limit, or escapes lie in each other too deep), no_signal (the policy looks at
// nothing of that kind), unsupported_type (nothing here reads that kind of content), audit_failed.
struct ScanFailure {
  int part = -1;      // index into GuardRequest::parts; -1 = the request as a whole
  std::string level;  // limits, hash, rules, clip, classifier, ocr, consistency
  std::string reason;
  std::string detail;              // for people
  Action action = Action::kAllow;  // what the policy's fail mode makes of it: allow, flag, block
  Action shadow_action = Action::kAllow;
};

// One score of one signal.
struct Score {
  std::string category;  // leaf of the taxonomy, or "contradiction"
  Modality modality = Modality::kText;
  int part = -1;          // text or image part; for kJoint the image
  int text_part = -1;     // for kJoint the text; for a text read from an image, -1
  double value = 0;       // 0..1, calibrated where the signal is
  std::string signal;     // e.g. "clip.heads", "clip.zeroshot", "classifier.opennsfw"
  bool from_ocr = false;  // the text was read from image `part`
  bool review = false;    // the signal itself calls it undecided (conformal set)
  // Of a part with several views (transparency, 16-bit grey) the one that scored highest: "black",
  // "opaque", "alpha", "clipped", "stretched" (formats/image_views.h); empty = the picture itself.
  std::string view;
  Action action = Action::kAllow;  // what the policy makes of it, in force
};

// A category's result: the highest score per modality against the policy's thresholds.
struct CategoryResult {
  std::string category;
  std::string parent;
  double score = 0;                                  // highest over modalities
  std::array<std::optional<double>, 3> by_modality;  // by Modality; empty = no signal looked
  // Of the modality that decided; empty = the policy gives none.
  std::optional<double> flag_at;
  std::optional<double> block_at;
  // The heads' thresholds that the policy named (fpr1, recall95, best_f1), before a profile's
  // scale; empty where it wrote numbers.
  std::string flag_from, block_from;
  Modality decided_by = Modality::kText;
  double decided_score = 0;  // the score that met the thresholds, or came nearest
  int part = -1;             // that gave it
  // Azure's scale for images: 0 safe, 2 low, 4 medium, 6 high. Of a rule by its action: flag 2,
  // modify 4, block 6.
  int severity = 0;
  Action action = Action::kAllow;         // what is enforced
  Action shadow_action = Action::kAllow;  // what would be if the category were enforced
  bool review = false;                    // in the undecided band
  bool flagged() const { return action != Action::kAllow; }
};

// A list or rule that matched. Offsets are bytes of the part's text; never the text itself.
struct RuleHit {
  std::string kind;  // word, regex, sha256, pdq, combination
  std::string rule;  // name in the policy
  std::string category;
  int part = -1;
  bool from_ocr = false;
  size_t begin = 0, end = 0;       // word, regex
  int distance = -1;               // pdq: differing bits
  std::string view;                // as of a score
  std::string detail;              // e.g. the list entry's id
  Action action = Action::kAllow;  // what the rule enforces
  Action shadow_action = Action::kAllow;
};

struct PartResult {
  std::string label;
  Modality modality = Modality::kText;
  std::string unread_type;  // "input_audio": of a part that nothing here reads; empty = it is read
  ScanState state = ScanState::kScanned;
  std::vector<std::string> scanned_by;  // levels that looked at it
  Action action = Action::kAllow;       // strongest of what concerns this part
  std::string sha256;                   // of its bytes
  int64_t bytes = 0;
  int64_t width = 0, height = 0;   // images
  std::string pdq;                 // images: 64 hexadecimal digits; empty below the quality floor
  int ocr_characters = -1;         // images: text read from it; -1 = not tried
  std::vector<std::string> views;  // images: further views that were looked at
};

// A part as it may be shown: blurred, masked, replaced or its embedding redirected.
struct ModifiedPart {
  int part = -1;
  std::string how;               // blur, pixelate, mask, replace, redirect
  std::string content;           // text, or PNG bytes
  std::string media_type;        // text/plain, image/png; empty for redirect
  std::string detail;            // e.g. which safe counterpart
  std::vector<float> embedding;  // redirect: the hardened model's, L2-normalised
};

struct Explanation {
  int part = -1;
  std::string category;
  std::string kind;  // saliency (image), attribution (text)
  std::string png;
  std::vector<std::pair<std::string, double>> words;  // attribution: word and its share
};

struct LevelTiming {
  std::string level;
  double milliseconds = 0;
};

struct ModelVersion {
  std::string name;     // "clip", "classifier.opennsfw", "pdq.known"
  std::string version;  // content hash
};

struct Decision {
  std::string id;
  Action action = Action::kAllow;
  Action shadow_action = Action::kAllow;  // had every shadow rule been enforced
  bool review = false;                    // undecided: for a person or a larger model
  bool complete = true;                   // every part scanned by every level the policy asks for
  std::string stopped_at;  // level whose block made the dearer ones pointless; empty = all ran
  std::string reason;      // one sentence for people
  std::vector<PartResult> parts;
  std::vector<CategoryResult> categories;  // every category of the policy, highest score first
  std::vector<Score> scores;
  std::vector<RuleHit> rules;
  std::vector<ScanFailure> not_scanned;
  std::vector<ModifiedPart> modified;
  std::vector<Explanation> explanations;
  std::string policy_name;
  std::string policy_version;  // what the policy calls itself
  std::string policy_hash;     // of its bytes, taxonomy and lists: 16 hexadecimal digits
  std::string profile;
  std::string tenant;
  Side side = Side::kInput;
  std::vector<ModelVersion> models;
  std::vector<LevelTiming> timings;
  double milliseconds = 0;

  // Allowed, complete, nothing to review and no shadow rule against it.
  bool clean() const {
    return action == Action::kAllow && shadow_action == Action::kAllow && complete && !review;
  }
};

// The JSON of `parapet guard check` and POST /v1/guard. Pictures as base64. Field order is fixed.
nlohmann::ordered_json to_json(const Decision& decision);
// Severity 0..7 (text) of Azure's scale as words: safe, low, medium, high.
std::string_view severity_name(int severity);

}  // namespace parapet::guard
