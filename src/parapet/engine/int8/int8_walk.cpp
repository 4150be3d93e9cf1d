#include "parapet/engine/int8/int8_walk.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace parapet {
namespace {

// Rows of a block: with their bytes and floats they stay in a core's second cache through a layer.
constexpr int64_t kBlockRows = 104;
// Rows claimed at once in shared steps.
constexpr int64_t kRowsEach = 8;

// Consecutive sequences that go through a layer together.
struct Block {
  int64_t first = 0, last = 0;  // sequences
  int64_t begin = 0, rows = 0;
  int64_t count() const { return last - first; }
};

std::vector<Block> blocks_of(const Int8Sequences& all, int64_t most_rows) {
  std::vector<Block> blocks;
  for (int64_t i = 0; i < all.count(); ++i) {
    if (blocks.empty() || blocks.back().rows + all.length(i) > most_rows)
      blocks.push_back({i, i, all.starts[static_cast<size_t>(i)], 0});
    blocks.back().last = i + 1;
    blocks.back().rows += all.length(i);
  }
  return blocks;
}

// What a layer writes between its products.
struct Scratch {
  Scratch(const Int8Parts& parts, int64_t rows)
      : bytes(at::empty({rows, parts.width}, at::kByte)),
        q(at::empty_like(bytes)),
        k(at::empty({rows, parts.width}, at::kChar)),
        v(at::empty({rows, parts.width}, at::kFloat)),
        mixed(at::empty_like(bytes)),
        inner(at::empty({rows, parts.inner}, at::kByte)) {}
  at::Tensor bytes, q, k, v, mixed, inner;
};

// Does every step alone.
struct Alone {
  template <class Fn>
  void step(int64_t items, int64_t /*each*/, const Fn& fn) {
    fn(int64_t{0}, items);
  }
};

// Everything one batch needs; threads that were come late still find it.
struct Batch {
  std::shared_ptr<const Int8Parts> parts;
  Int8Sequences all;
  at::Tensor x, patches;             // [rows, width]; [rows, bytes]
  at::Tensor pooled = {}, out = {};  // [n, width]; [n, dim]
  std::vector<Block> blocks = {};
  int64_t rows = 1, longest = 1;  // of a block, of a sequence
  int64_t members = 1;            // at most

  at::Tensor attention_work() const {
    return at::empty({int8::attention_work(longest, parts->width / parts->heads)}, at::kByte);
  }
  // Panels claimed at once: a few in a row, for a product fetches the next panel ahead.
  int64_t panels_each(int64_t panels) const { return std::max<int64_t>(1, panels / (3 * members)); }
  float* row(int64_t index) const { return x.mutable_data_ptr<float>() + index * parts->width; }
  float* pooled_row(int64_t sequence) const {
    return pooled.mutable_data_ptr<float>() + sequence * parts->width;
  }
};

template <class T>
T* data(const at::Tensor& tensor) {
  return tensor.mutable_data_ptr<T>();
}

// The layers' steps on blocks of a batch. Steps is Alone or SharedSteps::Walker.
template <class Steps>
class Walk {
 public:
  Walk(const Batch& batch, Scratch& scratch, Steps& steps)
      : batch_(batch),
        parts_(*batch.parts),
        scratch_(scratch),
        steps_(steps),
        work_(batch.attention_work()) {}

  // One layer on one block; before the first the patches, in the last the pooled rows alone.
  void layer(size_t index, const Block& block) {
    const Int8Layer& layer = parts_.layers[index];
    if (index == 0 && parts_.patch) embed(block);
    if (index + 1 == parts_.layers.size()) return last_attention(layer, block);
    float* x = batch_.row(block.begin);
    bytes_of(layer.norm1, x, block.rows);
    keys_and_values(layer, block.rows, data<uint8_t>(scratch_.bytes), block.rows);
    attend(layer, block, false);
    add(layer.out, data<uint8_t>(scratch_.mixed), block.rows, x);
    feed_forward(layer, block.rows, x);
  }

  // From the pooled rows of `count` sequences, after the last attention, to embeddings.
  void finish(int64_t first, int64_t count) {
    float* rows = batch_.pooled_row(first);
    feed_forward(parts_.layers.back(), count, rows);
    const int64_t width = parts_.width;
    steps_.step(count, kRowsEach, [&](int64_t begin, int64_t end) {
      int8::normalise(parts_.after, rows, width, rows, {begin, end});
    });
    float* out = data<float>(batch_.out) + first * parts_.dim;
    if (!parts_.projection.defined()) {
      steps_.step(1, 1, [&](int64_t, int64_t) { std::copy_n(rows, count * width, out); });
      return;
    }
    steps_.step(parts_.dim / int8::kPanel, 1, [&](int64_t begin, int64_t end) {
      int8::project(parts_.projection.const_data_ptr<float>(), rows, count, width, parts_.dim, out,
                    {begin, end});
    });
  }

 private:
  void embed(const Block& block) {
    const int8::Linear& patch = *parts_.patch;
    const int64_t width = parts_.width, per_image = parts_.offsets.size(0);
    float* x = batch_.row(block.begin);
    const auto* offsets = parts_.offsets.const_data_ptr<float>();
    const auto* bytes = batch_.patches.const_data_ptr<uint8_t>() + block.begin * patch.inputs;
    steps_.step(block.rows, kRowsEach, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        std::copy_n(offsets + row % per_image * width, width, x + row * width);
    });
    add(patch, bytes, block.rows, x);
    steps_.step(block.rows, kRowsEach, [&](int64_t begin, int64_t end) {
      int8::normalise(*parts_.before, x, width, x, {begin, end});
    });
  }

  void bytes_of(const int8::Norm& norm, const float* x, int64_t rows) {
    steps_.step(rows, kRowsEach, [&](int64_t begin, int64_t end) {
      int8::normalise_bytes(norm, x, parts_.width, data<uint8_t>(scratch_.bytes), {begin, end});
    });
  }

  // Panels of q, then k, then v, so that they are one step.
  void keys_and_values(const Int8Layer& layer, int64_t rows, const uint8_t* queries,
                       int64_t query_rows) {
    const int64_t panels = parts_.width / int8::kPanel;
    const auto* bytes = data<uint8_t>(scratch_.bytes);
    steps_.step(3 * panels, batch_.panels_each(3 * panels), [&](int64_t begin, int64_t end) {
      const auto part = [&](int64_t which) {
        return int8::Range{std::clamp<int64_t>(begin - which * panels, 0, panels),
                           std::clamp<int64_t>(end - which * panels, 0, panels)};
      };
      int8::product_bytes(layer.q, queries, query_rows, data<uint8_t>(scratch_.q), part(0));
      int8::product_signed(layer.k, bytes, rows, data<int8_t>(scratch_.k), part(1));
      int8::product(layer.v, bytes, rows, data<float>(scratch_.v), part(2));
    });
  }

  void add(const int8::Linear& linear, const uint8_t* bytes, int64_t rows, float* x) {
    const int64_t panels = linear.outputs / int8::kPanel;
    steps_.step(panels, batch_.panels_each(panels), [&](int64_t begin, int64_t end) {
      int8::product_add(linear, bytes, rows, x, {begin, end});
    });
  }

  void feed_forward(const Int8Layer& layer, int64_t rows, float* x) {
    bytes_of(layer.norm2, x, rows);
    auto* inner = data<uint8_t>(scratch_.inner);
    const int64_t panels = parts_.inner / int8::kPanel;
    steps_.step(panels, batch_.panels_each(panels), [&](int64_t begin, int64_t end) {
      int8::product_activated(layer.fc1, data<uint8_t>(scratch_.bytes), rows, parts_.activation,
                              layer.gain.const_data_ptr<float>(), layer.offset, inner,
                              {begin, end});
    });
    add(layer.fc2, inner, rows, x);
  }

  // All heads of the block's sequences. `only_pooled`: q and the result have a row per sequence.
  void attend(const Int8Layer& layer, const Block& block, bool only_pooled) {
    const int64_t head_width = parts_.width / parts_.heads;
    const Int8Sequences& all = batch_.all;
    steps_.step(block.count() * parts_.heads, 1, [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end; ++item) {
        const int64_t sequence = block.first + item / parts_.heads;
        const int64_t column = item % parts_.heads * head_width, length = all.length(sequence);
        const int64_t keys =
            (all.starts[static_cast<size_t>(sequence)] - block.begin) * parts_.width + column;
        const int64_t queries =
            only_pooled ? (sequence - block.first) * parts_.width + column : keys;
        int8::attend({.q = data<uint8_t>(scratch_.q) + queries,
                      .k = data<int8_t>(scratch_.k) + keys,
                      .v = data<float>(scratch_.v) + keys,
                      .out = data<uint8_t>(scratch_.mixed) + queries,
                      .stride = parts_.width,
                      .width = head_width,
                      .queries = only_pooled ? 1 : length,
                      .length = length,
                      .causal = parts_.causal && !only_pooled},
                     layer.attention, data<uint8_t>(work_));
      }
    });
  }

  // The last layer works on the pooled rows alone; the rest of it is finish(), for all blocks.
  void last_attention(const Int8Layer& layer, const Block& block) {
    const int64_t width = parts_.width;
    auto* own = data<uint8_t>(scratch_.inner);
    bytes_of(layer.norm1, batch_.row(block.begin), block.rows);
    steps_.step(block.count(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = batch_.all.pooled(block.first + i);
        std::copy_n(data<uint8_t>(scratch_.bytes) + (row - block.begin) * width, width,
                    own + i * width);
        std::copy_n(batch_.row(row), width, batch_.pooled_row(block.first + i));
      }
    });
    keys_and_values(layer, block.rows, own, block.count());
    attend(layer, block, true);
    add(layer.out, data<uint8_t>(scratch_.mixed), block.count(), batch_.pooled_row(block.first));
  }

  const Batch& batch_;
  const Int8Parts& parts_;
  Scratch& scratch_;
  Steps& steps_;
  at::Tensor work_;
};

// All members share every step of every block.
struct StepWalk final : SharedWork {
  explicit StepWalk(Batch of)
      : batch(std::move(of)),
        scratch(*batch.parts, batch.rows),
        steps(static_cast<int64_t>(batch.blocks.size() * (batch.parts->layers.size() * 8 + 16) +
                                   16)) {}

  void member(const Leave& leave) override {
    SharedSteps::Walker walker(steps, leave);
    Walk<SharedSteps::Walker> walk(batch, scratch, walker);
    for (const Block& block : batch.blocks) {
      for (size_t i = 0; i < batch.parts->layers.size(); ++i) walk.layer(i, block);
      walk.finish(block.first, block.count());
    }
    if (!leave) steps.failure().rethrow();
  }

  Batch batch;
  Scratch scratch;
  SharedSteps steps;
};

// Members claim (layer, block) in that order: when a block's next layer comes up, its last one has
// long been claimed.
struct BlockWalk final : SharedWork {
  explicit BlockWalk(Batch of) : batch(std::move(of)), done(batch.blocks.size()) {}

  void member(const Leave& leave) override {
    Scratch scratch(*batch.parts, batch.rows);
    Alone steps;
    Walk<Alone> walk(batch, scratch, steps);
    try {
      layers(leave, walk);
      finish(leave, walk);
    } catch (...) {
      failure.keep();
    }
    if (!leave) failure.rethrow();
  }

  void layers(const Leave& leave, Walk<Alone>& walk) {
    const auto count = static_cast<int64_t>(batch.blocks.size());
    const auto all = static_cast<int64_t>(batch.parts->layers.size());
    for (int64_t item; !(leave && leave()) && (item = claimed.fetch_add(1)) < all * count;) {
      auto& layers_done = done[static_cast<size_t>(item % count)];
      if (!SharedSteps::wait_for(layers_done, item / count, failure)) return;
      walk.layer(static_cast<size_t>(item / count),
                 batch.blocks[static_cast<size_t>(item % count)]);
      layers_done.fetch_add(1, std::memory_order_acq_rel);
    }
  }

  // What is left of the last layer has few rows a block: as many as fit go together.
  void finish(const Leave& leave, Walk<Alone>& walk) {
    const auto all = static_cast<int64_t>(batch.parts->layers.size());
    const int64_t sequences = batch.all.count(), chunks = (sequences + batch.rows - 1) / batch.rows;
    for (int64_t chunk; !(leave && leave()) && (chunk = finishing.fetch_add(1)) < chunks;) {
      for (const auto& layers_done : done)
        if (!SharedSteps::wait_for(layers_done, all, failure)) return;
      const int64_t first = chunk * batch.rows;
      walk.finish(first, std::min(batch.rows, sequences - first));
      finished.fetch_add(1, std::memory_order_acq_rel);
    }
    if (!leave) SharedSteps::wait_for(finished, chunks, failure);
  }

  Batch batch;
  std::vector<std::atomic<int64_t>> done;
  std::atomic<int64_t> claimed{0}, finishing{0}, finished{0};
  SharedFailure failure;
};

}  // namespace

at::Tensor run_int8_tower(std::shared_ptr<const Int8Parts> parts, Int8Sequences all, at::Tensor x,
                          at::Tensor patches, Crew& crew) {
  const int64_t members = crew.count(), count = all.count();
  at::Tensor out = at::empty({count, parts->dim}, at::kFloat);
  if (count == 0) return out;
  Batch batch{.parts = std::move(parts),
              .all = std::move(all),
              .x = std::move(x),
              .patches = std::move(patches)};
  batch.pooled = at::empty({count, batch.parts->width}, at::kFloat);
  batch.out = out;
  batch.members = members;
  batch.blocks =
      blocks_of(batch.all, std::min(kBlockRows, (batch.all.starts.back() + members - 1) / members));
  for (const Block& block : batch.blocks) batch.rows = std::max(batch.rows, block.rows);
  for (int64_t i = 0; i < count; ++i) batch.longest = std::max(batch.longest, batch.all.length(i));
  if (static_cast<int64_t>(batch.blocks.size()) < members)
    crew.run(std::make_shared<StepWalk>(std::move(batch)));
  else
    crew.run(std::make_shared<BlockWalk>(std::move(batch)));
  return out;
}

}  // namespace parapet
