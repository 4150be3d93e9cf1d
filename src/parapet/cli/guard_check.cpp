// parapet guard check: one item, or a file of them, through a policy.
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "parapet/cli/command.h"
#include "parapet/cli/embedding_cache_flags.h"
#include "parapet/cli/guard_support.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/core/threads.h"
#include "parapet/formats/jsonl.h"
#include "parapet/guard/guard.h"

namespace parapet::cli {
namespace {

namespace fs = std::filesystem;
using guard::Action;
using guard::Decision;
using guard::GuardRequest;
using guard::Part;

constexpr size_t kBlock = 256;           // items held at once
constexpr int64_t kFileCap = 256 << 20;  // the policy's own limit decides below this

guard::Side side_of(const std::string& name, const std::string& place) {
  if (name == "input") return guard::Side::kInput;
  if (name == "output") return guard::Side::kOutput;
  throw DataError(place, "field 'side' is '" + name + "'", "It is input or output.");
}

// A file that cannot be read is a part that cannot be scanned: the decision says so.
Part image_part(const std::string& location, const fs::path& folder, const Context& context) {
  const bool url = location.find("://") != std::string::npos || location.starts_with("data:");
  if (url) return Part::url(location, location.substr(0, 64));
  const fs::path path = fs::path(location).is_relative() && !fs::exists(location)
                            ? folder / location
                            : fs::path(location);
  try {
    return Part::image(read_location(path.string(), kFileCap), location);
  } catch (const Error& error) {
    context.warn(error.what());
    return Part::image("", location);
  }
}

class GuardCheck final : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("policy", policy_, "policy file (TOML)");
    list.add("text", text_, "text to check");
    list.add("image", image_, "image file, data URI or URL; with --text the two are one message");
    list.add("input", input_,
             "JSON Lines of items to check: {id, text, image, parts: [{text|image, label}], side, "
             "profile, tenant}");
    list.add("out", out_, "file for the decisions, one JSON object per line; empty = print");
    list.add("side", side_, "input (to a model) or output (of it)", {"input", "output"});
    list.add("profile", profile_, "profile of the policy");
    list.add("tenant", tenant_, "tenant of the policy");
    list.add("explain", explain_, "also make saliency pictures (slow)");
    list.add("no-audit", no_audit_, "leave the policy's audit log closed");
    list.add("save-modified", save_modified_, "folder for changed parts and explanations");
    list.add("fail-on", fail_on_, "exit 4 when a decision is at least this strict",
             {"never", "flag", "modify", "block"});
    list.add("model-cache", model_cache_, kModelCacheHelp);
    embeddings_.visit(list);
    list.add("workers", workers_, "items looked at side by side; 0 = 4 per core");
  }

  void validate(Problems& problems) const override {
    const bool item = !text_.empty() || !image_.empty();
    problems.require(item != !input_.empty(), "--input", "give either items or --text and --image");
    problems.require(workers_ >= 0 && workers_ <= 1024, "--workers", "must be in 0..1024");
    embeddings_.validate(problems);
  }

  nlohmann::json run(const Session& session) override {
    guard::GuardOptions options;
    options.device = session.common.device;
    options.threads = session.common.threads;
    options.cache = model_cache(model_cache_);
    options.embeddings = embeddings_.options();
    options.audit = !no_audit_;
    const guard::Guard guard(guard::Policy::load(policy_), options, session.context);
    if (input_.empty()) return check_one(guard, session);
    return check_file(guard, session);
  }

  void check_gate() const override {
    const std::map<std::string, Action> limits = {
        {"flag", Action::kFlag}, {"modify", Action::kModify}, {"block", Action::kBlock}};
    const auto limit = limits.find(fail_on_);
    if (limit != limits.end() && strictest_ >= limit->second)
      throw CheckFailed("the strictest decision is '" + std::string(action_name(strictest_)) +
                        "' (--fail-on " + fail_on_ + ")");
  }

 private:
  GuardRequest request() const {
    GuardRequest request;
    request.side = side_of(side_, "--side");
    request.profile = profile_;
    request.tenant = tenant_;
    request.explain = explain_;
    return request;
  }

  nlohmann::json check_one(const guard::Guard& guard, const Session& session) {
    GuardRequest item = request();
    if (!text_.empty()) item.parts.push_back(Part::text(text_, "text"));
    if (!image_.empty()) item.parts.push_back(image_part(image_, ".", session.context));
    const Decision decision = guard.check(item);
    count(decision);
    save(decision);
    nlohmann::json json = guard::to_json(decision);
    if (!out_.empty()) write_file_atomic(out_, guard::to_json(decision).dump() + "\n");
    if (out_.empty()) session.print(guard::to_json(decision).dump(2));
    return json;
  }

  GuardRequest read_item(const nlohmann::json& line, const std::string& place,
                         const fs::path& folder, const Context& context) const {
    GuardRequest item = request();
    item.id = json_field_or<std::string>(line, "id", "", place);
    item.side = side_of(json_field_or<std::string>(line, "side", side_, place), place);
    item.profile = json_field_or<std::string>(line, "profile", profile_, place);
    item.tenant = json_field_or<std::string>(line, "tenant", tenant_, place);
    const auto add = [&](const nlohmann::json& object) {
      const auto label = json_field_or<std::string>(object, "label", "", place);
      const auto text = object.find("text");
      if (text != object.end() && !text->is_null())
        item.parts.push_back(Part::text(json_field<std::string>(object, "text", place), label));
      const auto image = object.find("image");
      if (image != object.end() && !image->is_null()) {
        item.parts.push_back(
            image_part(json_field<std::string>(object, "image", place), folder, context));
        if (!label.empty()) item.parts.back().label = label;
      }
    };
    add(line);
    if (line.contains("parts")) {
      if (!line["parts"].is_array()) throw DataError(place, "field 'parts' is not a list");
      for (const auto& part : line["parts"]) {
        if (!part.is_object()) throw DataError(place, "an element of 'parts' is not an object");
        add(part);
      }
    }
    if (item.parts.empty())
      throw DataError(place, "has neither text nor image", "Give text, image or parts.");
    return item;
  }

  nlohmann::json check_file(const guard::Guard& guard, const Session& session) {
    const fs::path folder = fs::path(input_).parent_path();
    Progress progress(session.context, "Guard", 0, "items");
    const auto start = std::chrono::steady_clock::now();
    const auto work = [&](const ByteSink& write) {
      std::vector<GuardRequest> block;
      const auto flush = [&] {
        check_block(guard, block, session, write);
        block.clear();
        progress.update(items_);
      };
      read_jsonl(input_, [&](const nlohmann::json& line, const std::string& place) {
        if (session.context.cancelled()) throw Cancelled("stopped; nothing was written");
        block.push_back(read_item(line, place, folder, session.context));
        if (block.size() == kBlock) flush();
      });
      flush();
    };
    if (out_.empty())
      work([&](std::string_view line) { session.print(trim(line)); });
    else
      write_file_atomic(out_, work);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    nlohmann::json result = {
        {"items", items_},           {"actions", actions_},        {"review", review_},
        {"incomplete", incomplete_}, {"seconds", seconds.count()}, {"out", out_}};
    session.print(std::to_string(items_) + " items in " + format_number(seconds.count(), 2) +
                  " s: " + nlohmann::json(actions_).dump() + ", " + std::to_string(review_) +
                  " for review, " + std::to_string(incomplete_) + " not scanned in full");
    return result;
  }

  void check_block(const guard::Guard& guard, const std::vector<GuardRequest>& block,
                   const Session& session, const ByteSink& write) {
    std::vector<std::string> lines(block.size());
    std::vector<Decision> decisions(block.size());
    const int64_t workers =
        workers_ > 0 ? workers_ : 4 * std::max<int64_t>(1, std::thread::hardware_concurrency());
    parallel_items(static_cast<int64_t>(block.size()), workers, [&](int64_t i) {
      if (session.context.cancelled()) return;
      const auto index = static_cast<size_t>(i);
      decisions[index] = guard.check(block[index]);
      lines[index] = guard::to_json(decisions[index])
                         .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) +
                     "\n";
    });
    if (session.context.cancelled()) throw Cancelled("stopped; nothing was written");
    for (size_t i = 0; i < block.size(); ++i) {
      write(lines[i]);
      count(decisions[i]);
      save(decisions[i]);
    }
  }

  void count(const Decision& decision) {
    ++items_;
    ++actions_[std::string(action_name(decision.action))];
    review_ += decision.review;
    incomplete_ += !decision.complete;
    strictest_ = std::max(strictest_, decision.action);
  }

  // Changed parts and explanations as files, named by item and part.
  void save(const Decision& decision) const {
    if (save_modified_.empty()) return;
    fs::create_directories(save_modified_);
    std::string base = decision.id;
    for (char& c : base)
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') c = '_';
    const auto file = [&](int part, const std::string& what, const char* ending) {
      return fs::path(save_modified_) / (base + "." + std::to_string(part) + "." + what + ending);
    };
    for (const auto& modified : decision.modified)
      if (!modified.content.empty())
        write_file_atomic(
            file(modified.part, modified.how, modified.media_type == "image/png" ? ".png" : ".txt"),
            modified.content);
    for (const auto& explanation : decision.explanations)
      write_file_atomic(
          file(explanation.part, explanation.category + "." + explanation.kind, ".png"),
          explanation.png);
  }

  std::string policy_, text_, image_, input_, out_, profile_, tenant_, save_modified_;
  std::string side_ = "input", fail_on_ = "never", model_cache_ = "auto";
  bool explain_ = false, no_audit_ = false;
  EmbeddingCacheFlags embeddings_;
  int64_t workers_ = 0;
  int64_t items_ = 0, review_ = 0, incomplete_ = 0;
  std::map<std::string, int64_t> actions_;
  Action strictest_ = Action::kAllow;
};

}  // namespace

CommandEntry guard_check_command() {
  return {"guard check", "texts and images against a policy",
          "Runs items through the guard and writes its decisions as JSON: what is done with each "
          "item (allow, flag, modify, block), the scores and thresholds, the rules that fired, and "
          "what could not be scanned. A file that cannot be read is not scanned, and the policy "
          "decides what that means.\n\n"
          "  parapet guard check --policy policies/balanced.toml --text 'hello' --image photo.jpg\n"
          "  parapet guard check --policy P --input items.jsonl --out decisions.jsonl\n"
          "  parapet guard check --policy P --image F --fail-on block && publish F",
          [] { return std::make_unique<GuardCheck>(); }};
}

}  // namespace parapet::cli
