// One function per section of a policy file.
#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/guard/expression.h"
#include "parapet/guard/list_checks.h"
#include "parapet/guard/pattern.h"
#include "parapet/guard/policy_reader.h"
#include "parapet/guard/rules.h"

namespace parapet::guard {
namespace {

constexpr int64_t kMaxBytes = int64_t{1} << 30;
constexpr int64_t kMaxPixels = int64_t{1} << 30;

// Letters, digits, dots and dashes, with "*." in front at most.
bool is_host_rule(std::string_view host) {
  if (host.starts_with("*.")) host.remove_prefix(2);
  return !host.empty() && host.size() < 254 &&
         host.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789.-") == std::string::npos;
}

constexpr size_t kMaxMistakes = 20;  // of one list; a wrong `kind` makes thousands

// Every entry of a list, in the policy and in its files: one that can match nothing is a mistake.
void check_entries(TomlTable& table, const WordListOptions& list, int64_t max_text_bytes) {
  size_t count = 0;
  const auto check = [&](std::string_view key, const std::string& where, const std::string& entry) {
    const std::string bad = list.kind == "regex" ? Pattern::problem(entry) : "";
    const std::string problem = bad.empty() ? entry_problem(list, entry, max_text_bytes) : "";
    if ((bad.empty() && problem.empty()) || ++count > kMaxMistakes) return;
    const std::string shown = " '" + entry.substr(0, 80) + "'" + where;
    table.mistake(key, bad.empty() ? "has an entry" + shown + " that " + problem
                                   : "has a bad regex" + shown + ": " + bad);
  };
  for (const std::string& entry : list.entries) check("entries", "", entry);
  for (const auto& file : list.files) {
    if (!std::filesystem::is_regular_file(file)) continue;  // reported already
    try {
      const WordFile words = read_word_file(file);
      for (size_t i = 0; i < words.entries.size(); ++i)
        check("files", " (" + words.place(file, i) + ")", words.entries[i]);
      if (words.entries.empty())
        table.mistake("files", "has " + file.string() +
                                   ", which holds no entry and would look for nothing: add "
                                   "entries, or take the file off the list");
    } catch (const DataError& error) {
      table.mistake("files", error.what());
    }
  }
  if (count > kMaxMistakes)
    table.mistake("entries", "or 'files' have " + std::to_string(count - kMaxMistakes) +
                                 " more entries of such kinds");
}

}  // namespace

void PolicyReader::read_limits(TomlTable& top) {
  const toml::table* section = top.table("limits");
  if (section == nullptr) return;
  TomlTable table(*section, "limits", mistakes_);
  LimitOptions& limits = policy_.limits;
  table.read("max_parts", limits.max_parts, 1, 10'000);
  table.read("max_text_bytes", limits.max_text_bytes, 1, kMaxBytes);
  table.read("max_image_bytes", limits.max_image_bytes, 1, kMaxBytes);
  table.read("max_image_pixels", limits.max_image_pixels, 1, kMaxPixels);
  if (!table.read("max_request_pixels", limits.max_request_pixels, 1, kMaxPixels))
    limits.max_request_pixels = std::max(limits.max_request_pixels, limits.max_image_pixels);
  table.read("min_image_side", limits.min_image_side, 1, 65'535);
  table.read("deadline_ms", limits.deadline_ms, 0, 3.6e6);
  table.read("stop_on_block", limits.stop_on_block);
  read_fail(table, limits.fail);
  table.finish();
}

void PolicyReader::read_fetch(TomlTable& top) {
  const toml::table* section = top.table("fetch");
  if (section == nullptr) return;
  TomlTable table(*section, "fetch", mistakes_);
  FetchOptions& fetch = policy_.fetch;
  table.read("allow_hosts", fetch.allow_hosts);
  for (const std::string& host : fetch.allow_hosts)
    if (!is_host_rule(host))
      table.mistake("allow_hosts", "has '" + host +
                                       "'; write a lower-case host name, or *.name for its "
                                       "sub-domains, without scheme, port or path");
  table.read("allow_http", fetch.allow_http);
  table.read("ports", fetch.ports, 1, 65'535);
  table.read("timeout_ms", fetch.timeout_ms, 1, 600'000);
  table.read("max_redirects", fetch.max_redirects, 0, 20);
  read_fail(table, fetch.fail);
  table.finish();
}

void PolicyReader::read_hash_lists(TomlTable& top) {
  const toml::table* section = top.table("hash");
  if (section == nullptr) return;
  TomlTable group(*section, "hash", mistakes_);
  read_fail(group, policy_.hash_fail);
  for (const toml::table* item : group.tables("list")) {
    TomlTable table(*item, "hash.list", mistakes_);
    HashListOptions list;
    list.mode = policy_.mode;
    read_rule_name(table, list.name);
    if (table.read_choice("kind", {"pdq", "sha256"}) == 1) list.kind = "sha256";
    table.read("texts", list.texts);
    if (list.texts && list.kind != "sha256")
      table.mistake("texts", "needs kind = 'sha256': a perceptual hash is a picture's");
    table.require("file");
    read_file_name(table, "file", list.file);
    read_category_name(table, list.category, true);
    read_action(table, list.action);
    read_mode(table, list.mode);
    table.read("max_distance", list.max_distance, 0, 63);
    table.read("min_quality", list.min_quality, 0, 100);
    table.read("all_rotations", list.all_rotations);
    table.finish();
    policy_.hash_lists.push_back(std::move(list));
  }
  group.finish();
}

void PolicyReader::read_word_list(TomlTable& table) {
  WordListOptions list;
  list.mode = policy_.mode;
  read_rule_name(table, list.name);
  if (table.read_choice("kind", {"word", "regex"}) == 1) list.kind = "regex";
  table.read("entries", list.entries);
  read_file_names(table, "files", list.files);
  table.read("allow", list.allow);
  table.read("allows", list.allows);
  read_category_name(table, list.category, !list.allows);
  read_action(table, list.action);
  read_mode(table, list.mode);
  read_fail(table, list.fail);
  table.read("fold_accents", list.fold_accents);
  table.read("inside_words", list.inside_words);
  table.read("normalize", list.normalize);
  table.read("sides", list.sides);
  for (const std::string& side : list.sides)
    if (side != "input" && side != "output")
      table.mistake("sides", "has '" + side + "'; there are input and output");
  if (list.entries.empty() && list.files.empty())
    table.mistake("entries", "or 'files' must name something to look for");
  check_entries(table, list, policy_.limits.max_text_bytes);
  table.finish();
  policy_.word_lists.push_back(std::move(list));
}

void PolicyReader::read_word_lists(TomlTable& top) {
  const toml::table* section = top.table("rules");
  if (section == nullptr) return;
  TomlTable group(*section, "rules", mistakes_);
  for (const toml::table* item : group.tables("list")) {
    TomlTable table(*item, "rules.list", mistakes_);
    read_word_list(table);
  }
  group.finish();
}

void PolicyReader::read_zeroshot(TomlTable& table) {
  ZeroShotOptions options;
  read_category_name(table, options.category, true);
  table.read("prompts", options.prompts);
  table.read("neutral", options.neutral);
  read_file_names(table, "images", options.images);
  read_file_names(table, "benign_images", options.benign_images);
  table.read("texts", options.texts);
  table.read("benign_texts", options.benign_texts);
  table.read("modalities", options.modalities);
  table.read("temperature", options.temperature, 0, 1000);
  for (const std::string& modality : options.modalities)
    if (modality != "image" && modality != "text")
      table.mistake("modalities", "has '" + modality + "'; there are image and text");
  const size_t examples = options.images.size() + options.texts.size();
  if (options.prompts.empty() && examples == 0)
    table.mistake("prompts", "or examples ('images', 'texts') must say what the category is");
  if (options.prompts.empty() && options.benign_images.empty() != options.images.empty())
    table.mistake("images", "and 'benign_images' are needed together");
  if (options.prompts.empty() && options.benign_texts.empty() != options.texts.empty())
    table.mistake("texts", "and 'benign_texts' are needed together");
  table.finish();
  policy_.clip.zeroshot.push_back(std::move(options));
}

// A run folder or a head folder; its thresholds are the policy's, so they enter its hash.
void PolicyReader::read_heads(TomlTable& table) {
  std::string given;
  ClipOptions& clip = policy_.clip;
  if (!table.read("heads", given) || given.empty()) return;
  clip.heads = heads_file(folder_ / given);
  if (!clip.enabled) return;
  bad_heads_ = true;
  if (!check_file(table, "heads", folder_ / given, true)) return;
  if (!std::filesystem::is_regular_file(clip.heads)) {
    table.mistake("heads", "has no guard_heads.json, nor heads/guard_heads.json: " +
                               (folder_ / given).string() +
                               "; make heads with 'parapet train guard'");
    return;
  }
  try {
    thresholds_ = NamedThresholds::load(clip.heads);
    clip.heads_version = thresholds_->version();
    hashed_files_.push_back(clip.heads);
    bad_heads_ = false;
  } catch (const DataError& error) {
    table.mistake("heads", std::string("cannot be used: ") + error.what());
  }
}

void PolicyReader::read_clip(TomlTable& top) {
  const toml::table* section = top.table("clip");
  if (section == nullptr) return;
  TomlTable table(*section, "clip", mistakes_);
  ClipOptions& clip = policy_.clip;
  clip.enabled = true;
  table.read("enabled", clip.enabled);
  const auto folder = [&](std::string_view key, std::filesystem::path& path) {
    std::string given;
    if (!table.read(key, given) || given.empty()) return;
    path = folder_ / given;
    if (clip.enabled) check_file(table, key, path, true);
  };
  if (clip.enabled) table.require("model");
  folder("model", clip.model);
  read_heads(table);
  folder("hardened", clip.hardened);
  table.read("backend", clip.backend);
  table.read("precision", clip.precision);
  read_file_names(table, "cards", clip.cards);
  table.read("neutral", clip.neutral);
  table.read("conformal", clip.conformal);
  table.read("max_text_chunks", clip.max_text_chunks, 1, 100'000);
  for (const toml::table* item : table.tables("zeroshot")) {
    TomlTable reader(*item, "clip.zeroshot", mistakes_);
    read_zeroshot(reader);
  }
  for (const ZeroShotOptions& options : clip.zeroshot)
    if (!options.prompts.empty() && options.neutral.empty() && clip.neutral.empty())
      table.mistake("neutral", "must give prompts that '" + options.category +
                                   "' is held against, e.g. \"a photo\"");
  read_fail(table, clip.fail);
  table.finish();
}

void PolicyReader::read_classifiers(TomlTable& top) {
  for (const toml::table* item : top.tables("classifier")) {
    TomlTable table(*item, "classifier", mistakes_);
    ClassifierOptions options;
    read_rule_name(table, options.name);
    table.require("card");
    read_file_name(table, "card", options.card);
    read_fail(table, options.fail);
    table.finish();
    policy_.classifiers.push_back(std::move(options));
  }
}

void PolicyReader::read_ocr(TomlTable& top) {
  const toml::table* section = top.table("ocr");
  if (section == nullptr) return;
  TomlTable table(*section, "ocr", mistakes_);
  OcrOptions& ocr = policy_.ocr;
  ocr.enabled = true;
  table.read("enabled", ocr.enabled);
  table.read("languages", ocr.languages, 256);
  std::filesystem::path data;
  read_file_name(table, "data", data, true);
  ocr.data = data;
  table.read("min_side", ocr.min_side, 1, 4000);
  table.read("min_confidence", ocr.min_confidence, 0, 100);
  table.read("min_letters", ocr.min_letters, 0, 1000);
  read_fail(table, ocr.fail);
  table.finish();
}

void PolicyReader::read_consistency(TomlTable& top) {
  const toml::table* section = top.table("consistency");
  if (section == nullptr) return;
  TomlTable table(*section, "consistency", mistakes_);
  ConsistencyOptions& options = policy_.consistency;
  options.enabled = true;
  table.read("enabled", options.enabled);
  read_file_name(table, "reference", options.reference);
  read_category_name(table, options.category, false);
  if (options.enabled && policy_.clip.heads.empty() && options.reference.empty())
    table.mistake("reference", "or [clip] 'heads' must say how well benign pairs agree");
  if (options.enabled && !policy_.clip.enabled)
    table.mistake("enabled", "needs [clip]: it compares the embeddings of picture and text");
  table.finish();
}

void PolicyReader::read_combinations(TomlTable& top) {
  for (const toml::table* item : top.tables("combination")) {
    TomlTable table(*item, "combination", mistakes_);
    CombinationOptions options;
    options.mode = policy_.mode;
    const auto rules = rule_names_;  // those before it: lists and earlier combinations
    read_rule_name(table, options.name);
    table.require("when");
    if (table.read("when", options.when, 8192)) {
      try {
        const Expression expression = Expression::parse(options.when);
        const auto names = policy_.taxonomy.names();
        for (const auto& category : expression.categories())
          if (!names.empty() && policy_.taxonomy.find(category) == nullptr)
            table.mistake("when", "asks for '" + category + "', which is not in the taxonomy" +
                                      name_hint(category, names));
        for (const auto& rule : expression.rules())
          if (std::find(rules.begin(), rules.end(), rule) == rules.end())
            table.mistake("when", "asks for rule '" + rule + "', which is not above it" +
                                      name_hint(rule, rules));
      } catch (const UsageError& error) {
        table.mistake("when", error.what());
      }
    }
    read_category_name(table, options.category, true);
    read_action(table, options.action);
    read_mode(table, options.mode);
    table.read("review", options.review);
    table.finish();
    policy_.combinations.push_back(std::move(options));
  }
}

void PolicyReader::read_modify(TomlTable& top) {
  const toml::table* section = top.table("modify");
  if (section == nullptr) return;
  TomlTable table(*section, "modify", mistakes_);
  ModifyOptions& modify = policy_.modify;
  const auto choice = [&](std::string_view key, std::string& value,
                          const std::vector<std::string>& choices) {
    const int index = table.read_choice(key, choices);
    if (index >= 0) value = choices[static_cast<size_t>(index)];
  };
  choice("image", modify.image, {"blur", "pixelate", "replace", "redirect"});
  choice("text", modify.text, {"mask", "replace", "redirect"});
  choice("region", modify.region, {"all", "ocr"});
  table.read("strength", modify.strength, 0.005, 1);
  table.read("grow", modify.grow, 0, 2);
  table.read("mask", modify.mask, 16);
  std::filesystem::path gallery;
  read_file_name(table, "gallery", gallery, true);
  modify.gallery = gallery;
  const bool replaces = modify.image == "replace" || modify.text == "replace";
  const bool redirects = modify.image == "redirect" || modify.text == "redirect";
  if (replaces && modify.gallery.empty())
    table.mistake("gallery", "is needed to replace: a folder of safe pictures and captions.jsonl");
  if ((replaces || redirects) && policy_.clip.hardened.empty())
    table.mistake(replaces ? "gallery" : "image",
                  "needs [clip] 'hardened': the model that finds the safe counterpart");
  table.finish();
}

void PolicyReader::read_audit(TomlTable& top) {
  const toml::table* section = top.table("audit");
  if (section == nullptr) return;
  TomlTable table(*section, "audit", mistakes_);
  std::string file;
  table.require("file");
  if (table.read("file", file) && !file.empty()) policy_.audit.file = folder_ / file;
  table.read("content", policy_.audit.content);
  table.read("metadata", policy_.audit.metadata);
  table.read("max_rows", policy_.audit.max_rows, 0, int64_t{1} << 40);
  read_fail(table, policy_.audit.fail);
  table.finish();
}

}  // namespace parapet::guard
