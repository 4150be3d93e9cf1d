// parapet tokenize
#include <chrono>
#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/threads.h"
#include "parapet/text/text_file.h"
#include "parapet/text/tokenizer.h"

namespace parapet::cli {
namespace {

constexpr size_t kBlock = 1 << 16;  // texts held at once
constexpr size_t kChunk = 256;      // texts per piece of a thread's work

std::string json_line(const std::vector<int32_t>& ids) {
  std::string line = "[";
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) line += ',';
    line += std::to_string(ids[i]);
  }
  return line += "]\n";
}

class TokenizeCommand : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("model", model_, "model folder, tokenizer.json, or vocab.json beside merges.txt");
    list.require("texts", texts_,
                 "one text per line; or *.jsonl: one JSON string or {\"text\": ...} per line");
    list.require("out", out_, "file to write: one JSON array of ids per line");
    list.add("max-length", max_length_,
             "cut to this many ids, special tokens included; 0 = do not cut");
    list.add("no-special", no_special_, "leave out begin and end of text");
  }
  void validate(Problems& problems) const override {
    problems.require(max_length_ >= 0, "max-length", "must be >= 0");
  }

  nlohmann::json run(const Session& session) override {
    const auto tokenizer = Tokenizer::load(model_);
    const EncodeOptions options{.add_special_tokens = !no_special_, .max_length = max_length_};
    const auto start = std::chrono::steady_clock::now();
    int64_t texts = 0, tokens = 0;
    Progress progress(session.context, "Tokenize", 0, "texts");
    write_file_atomic(out_, [&](const ByteSink& write) {
      read_texts(texts_, kBlock, [&](const std::vector<std::string>& block) {
        if (session.context.cancelled()) throw Cancelled("stopped; nothing was written");
        tokens += encode_block(*tokenizer, options, block, session.common.threads, write);
        texts += static_cast<int64_t>(block.size());
        progress.update(texts);
      });
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    session.print(std::to_string(texts) + " texts, " + std::to_string(tokens) + " tokens -> " +
                  out_);
    return {{"texts", texts}, {"tokens", tokens}, {"seconds", seconds.count()}};
  }

 private:
  static int64_t encode_block(const Tokenizer& tokenizer, const EncodeOptions& options,
                              const std::vector<std::string>& block, int64_t threads,
                              const ByteSink& write) {
    const size_t chunks = (block.size() + kChunk - 1) / kChunk;
    std::vector<std::string> lines(chunks);
    std::atomic<int64_t> tokens{0};
    parallel_items(static_cast<int64_t>(chunks), threads, [&](int64_t chunk) {
      const size_t first = static_cast<size_t>(chunk) * kChunk;
      int64_t count = 0;
      for (size_t i = first; i < std::min(first + kChunk, block.size()); ++i) {
        const auto ids = tokenizer.encode(block[i], options);
        count += static_cast<int64_t>(ids.size());
        lines[static_cast<size_t>(chunk)] += json_line(ids);
      }
      tokens += count;
    });
    for (const std::string& part : lines) write(part);
    return tokens;
  }

  std::string model_, texts_, out_;
  int64_t max_length_ = 0;
  bool no_special_ = false;
};

}  // namespace

CommandEntry tokenize_command() {
  return {"tokenize", "texts to token ids",
          "Writes one JSON array of ids per text, in input order; the ids equal those of Hugging "
          "Face tokenizers.\n\n"
          "  parapet tokenize --model M --texts captions.txt --out ids.jsonl\n"
          "  parapet tokenize --model M --texts captions.jsonl --out ids.jsonl --max-length 77",
          [] { return std::make_unique<TokenizeCommand>(); }};
}

}  // namespace parapet::cli
