#include "parapet/guard/phrase_index.h"

#include <algorithm>

namespace parapet::guard {

int32_t PhraseIndex::child(int32_t node, char32_t c) const {
  const auto it = edges_.find(key(node, c));
  return it == edges_.end() ? -1 : it->second;
}

void PhraseIndex::add(const std::u32string& phrase, int32_t id) {
  if (phrase.empty()) return;
  int32_t node = 0;
  for (const char32_t c : phrase) {
    int32_t next = child(node, c);
    if (next < 0) {
      next = static_cast<int32_t>(nodes_.size());
      Node created;
      created.depth = nodes_[static_cast<size_t>(node)].depth + 1;
      nodes_.push_back(std::move(created));
      edges_.emplace(key(node, c), next);
    }
    node = next;
  }
  nodes_[static_cast<size_t>(node)].ids.push_back(id);
  ++phrases_;
}

void PhraseIndex::build() {
  struct Edge {
    int32_t from, to;
    char32_t c;
  };
  std::vector<Edge> edges;
  edges.reserve(edges_.size());
  for (const auto& [packed, to] : edges_)
    edges.push_back({static_cast<int32_t>(packed >> 32), to, static_cast<char32_t>(packed)});
  // Shallow nodes first: a failure link is always to a shallower node.
  std::sort(edges.begin(), edges.end(), [&](const Edge& a, const Edge& b) {
    const auto depth = [&](const Edge& e) { return nodes_[static_cast<size_t>(e.to)].depth; };
    return depth(a) != depth(b) ? depth(a) < depth(b) : a.to < b.to;
  });
  for (const Edge& edge : edges) {
    Node& node = nodes_[static_cast<size_t>(edge.to)];
    int32_t back = edge.from;
    while (back != 0) {
      back = nodes_[static_cast<size_t>(back)].fail;
      const int32_t next = child(back, edge.c);
      if (next >= 0) {
        node.fail = next;
        break;
      }
    }
    const Node& fail = nodes_[static_cast<size_t>(node.fail)];
    node.output = fail.ids.empty() ? fail.output : node.fail;
  }
}

void PhraseIndex::find(const Folded& chars, const Hit& hit) const {
  int32_t node = 0;
  for (size_t i = 0; i < chars.size(); ++i) {
    int32_t next = child(node, chars[i].c);
    while (next < 0 && node != 0) {
      node = nodes_[static_cast<size_t>(node)].fail;
      next = child(node, chars[i].c);
    }
    node = std::max(next, 0);
    for (int32_t at = node; at != 0; at = nodes_[static_cast<size_t>(at)].output) {
      const Node& found = nodes_[static_cast<size_t>(at)];
      for (const int32_t id : found.ids) hit(id, i + 1 - static_cast<size_t>(found.depth), i + 1);
    }
  }
}

}  // namespace parapet::guard
