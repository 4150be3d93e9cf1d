// Many phrases looked for in one pass (Aho-Corasick over code points).
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "parapet/guard/fold.h"

namespace parapet::guard {

class PhraseIndex {
 public:
  // Before build(). Phrases may repeat; `id` is what find() reports.
  void add(const std::u32string& phrase, int32_t id);
  void build();
  bool empty() const { return phrases_ == 0; }

  // Calls `hit(id, begin, end)` for every occurrence, characters [begin, end) of `chars`.
  using Hit = std::function<void(int32_t id, size_t begin, size_t end)>;
  void find(const Folded& chars, const Hit& hit) const;

 private:
  struct Node {
    int32_t fail = 0;
    int32_t depth = 0;
    int32_t output = 0;        // nearest node on the failure path that ends a phrase; 0 = none
    std::vector<int32_t> ids;  // phrases that end here
  };
  int32_t child(int32_t node, char32_t c) const;
  static uint64_t key(int32_t node, char32_t c) {
    return static_cast<uint64_t>(static_cast<uint32_t>(node)) << 32 | c;
  }

  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::unordered_map<uint64_t, int32_t> edges_;
  size_t phrases_ = 0;
};

}  // namespace parapet::guard
