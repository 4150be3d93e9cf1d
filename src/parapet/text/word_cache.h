// Ids of recent words. One cache per thread and tokenizer: no locks, bounded memory.
#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace parapet::text {

// Direct-mapped: a word has one slot, and the latest word in a slot wins. A slot is a cache line.
class WordCache {
 public:
  static constexpr size_t kSlots = 1 << 14;  // 1 MiB
  static constexpr size_t kMaxWord = 30;     // bytes; longer words are not cached
  static constexpr size_t kMaxIds = 8;

  struct alignas(64) Slot {
    uint8_t length = 0;  // 0: free
    uint8_t count = 0;
    char word[kMaxWord];
    int32_t ids[kMaxIds];
  };

  WordCache() : slots_(std::make_unique<Slot[]>(kSlots)) {}
  // The slot for a word of 1..kMaxWord bytes; holds() says whether it is there.
  Slot& slot(std::string_view word) { return slots_[hash(word) & (kSlots - 1)]; }
  static bool holds(const Slot& slot, std::string_view word) {
    return slot.length == word.size() && std::memcmp(slot.word, word.data(), word.size()) == 0;
  }
  static void store(Slot& slot, std::string_view word, const int32_t* ids, size_t count) {
    if (count > kMaxIds) return;
    slot.length = static_cast<uint8_t>(word.size());
    slot.count = static_cast<uint8_t>(count);
    std::memcpy(slot.word, word.data(), word.size());
    std::memcpy(slot.ids, ids, count * sizeof(int32_t));
  }

  // This thread's cache of the tokenizer with number `instance`. A thread keeps the caches of the
  // last four tokenizers it used.
  static WordCache& of_thread(uint64_t instance) {
    struct Entry {
      uint64_t instance = 0;
      std::unique_ptr<WordCache> cache;
    };
    thread_local std::array<Entry, 4> entries;
    thread_local size_t oldest = 0;
    for (Entry& entry : entries)
      if (entry.instance == instance) return *entry.cache;
    Entry& entry = entries[oldest++ % entries.size()];
    entry = {instance, std::make_unique<WordCache>()};
    return *entry.cache;
  }

 private:
  static uint64_t hash(std::string_view word) {
    uint64_t h = word.size() * 0x9E3779B97F4A7C15u;
    const char* p = word.data();
    size_t left = word.size();
    for (; left >= 8; p += 8, left -= 8) h = mix(h, p, 8);
    if (left > 0) h = mix(h, p, left);
    return h ^ h >> 32;
  }
  static uint64_t mix(uint64_t h, const char* p, size_t n) {
    uint64_t block = 0;
    std::memcpy(&block, p, n);
    h = (h ^ block) * 0xD6E8FEB86659FD93u;
    return h ^ h >> 29;
  }

  std::unique_ptr<Slot[]> slots_;
};

}  // namespace parapet::text
