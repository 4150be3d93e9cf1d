// Tokenizer on short captions, one thread. Prints JSON: CPU seconds of each round.
//   tokenizer_bench MODEL TEXTS.jsonl ROUNDS
// bench/peers/tokenizer_peer.py starts it, interleaved with Python's `tokenizers`.
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/text/text_file.h"
#include "parapet/text/tokenizer.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: tokenizer_bench MODEL TEXTS.jsonl ROUNDS\n";
    return 2;
  }
  using Clock = std::chrono::steady_clock;
  const auto load_start = Clock::now();
  const auto tokenizer = parapet::Tokenizer::load(argv[1]);
  const std::chrono::duration<double> load_seconds = Clock::now() - load_start;
  const auto texts = parapet::read_texts(argv[2]);
  nlohmann::json seconds = nlohmann::json::array();
  size_t tokens = 0;
  for (int round = 0; round < std::atoi(argv[3]); ++round) {
    const std::clock_t start = std::clock();
    tokens = 0;
    for (const auto& text : texts) tokens += tokenizer->encode(text).size();
    seconds.push_back(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC);
  }
  std::cout << nlohmann::json{{"texts", texts.size()},
                              {"tokens", tokens},
                              {"load_seconds", load_seconds.count()},
                              {"seconds", seconds}}
            << "\n";
  return 0;
}
