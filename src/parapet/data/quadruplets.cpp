#include "parapet/data/quadruplets.h"

#include "parapet/core/threads.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"

namespace parapet {
namespace {

Unsafe label_of(const Quadruplet& item, const char* attribute) {
  const auto found = item.attributes.find(attribute);
  if (found == item.attributes.end()) return Unsafe::kUnknown;
  return found->second == "false" ? Unsafe::kNo : Unsafe::kYes;
}

}  // namespace

QuadrupletBatch join_quadruplets(const QuadrupletPipeline& pipeline,
                                 const std::vector<LoadedQuadruplet>& rows) {
  QuadrupletBatch batch;
  const auto n = static_cast<int64_t>(rows.size());
  std::vector<const std::vector<int32_t>*> ids;
  for (const bool safe : {true, false})
    for (const LoadedQuadruplet& row : rows) {
      ids.push_back(safe ? &row.safe_ids : &row.unsafe_ids);
      batch.text_keys.push_back(row.keys[safe ? 0 : 1]);
      batch.image_keys.push_back(row.keys[safe ? 2 : 3]);
    }
  for (const LoadedQuadruplet& row : rows) {
    if (row.row >= 0) batch.rows.push_back(row.row);
    batch.turns.push_back(row.turn);
    batch.text_unsafe.push_back(row.text_unsafe);
    batch.image_unsafe.push_back(row.image_unsafe);
  }
  if (pipeline.with_texts) batch.ids = IdRows(ids, pipeline.tokenizer->eos_id());
  if (!pipeline.with_images) return batch;
  const ImageProcessor& processor = pipeline.pixels->processor();
  batch.pixels = PixelRows(2 * n, processor);
  parallel_items(2 * n, 0, [&](int64_t i) {
    const LoadedQuadruplet& row = rows[static_cast<size_t>(i % n)];
    processor.normalise(i < n ? *row.safe_image : *row.unsafe_image, batch.pixels.row(i));
  });
  return batch;
}

LoadedQuadruplet load_texts(const QuadrupletPipeline& pipeline, const Quadruplet& item) {
  LoadedQuadruplet out;
  out.text_unsafe = label_of(item, "text_unsafe");
  out.image_unsafe = label_of(item, "image_unsafe");
  out.keys[0] = content_key(item.safe_text);
  out.keys[1] = content_key(item.unsafe_text);
  if (!pipeline.with_texts) return out;
  EncodeOptions options;
  options.max_length = pipeline.max_tokens;
  out.safe_ids = pipeline.tokenizer->encode(item.safe_text, options);
  out.unsafe_ids = pipeline.tokenizer->encode(item.unsafe_text, options);
  return out;
}

LoadedQuadruplet DirectoryQuadruplets::load_row(int64_t row) const {
  const Quadruplet& item = items_[static_cast<size_t>(row)];
  LoadedQuadruplet out = load_texts(pipeline_, item);
  out.row = row;
  out.turn = std::to_string(row);
  if (pipeline_.with_images) {
    out.safe_image = pipeline_.pixels->get(item.safe_image);
    out.unsafe_image = pipeline_.pixels->get(item.unsafe_image);
    out.keys[2] = content_key(*out.safe_image);
    out.keys[3] = content_key(*out.unsafe_image);
  } else {  // images that are not decoded are told apart by where they lie
    out.keys[2] = content_key(item.safe_image);
    out.keys[3] = content_key(item.unsafe_image);
  }
  return out;
}

SourcePtr<QuadrupletBatch> DirectoryQuadruplets::open(int64_t batch_size, int64_t rank,
                                                      int64_t ranks) const {
  auto draws = shuffled_draws(size(), pipeline_.seed, "harden");
  auto own = shard_by_rank(batch(std::move(draws), batch_size), rank, ranks);
  auto loaded = map_members<Draw, LoadedQuadruplet>(std::move(own), [this](const Draw& draw) {
    LoadedQuadruplet row = load_row(draw.row);
    row.turn = std::to_string(draw.number);
    return row;
  });
  return map<std::vector<LoadedQuadruplet>, QuadrupletBatch>(
      std::move(loaded),
      [this](std::vector<LoadedQuadruplet> rows) { return join_quadruplets(pipeline_, rows); });
}

QuadrupletBatch DirectoryQuadruplets::load(int64_t begin, int64_t end) const {
  std::vector<LoadedQuadruplet> rows(static_cast<size_t>(end - begin));
  parallel_items(end - begin, 0,
                 [&](int64_t i) { rows[static_cast<size_t>(i)] = load_row(begin + i); });
  return join_quadruplets(pipeline_, rows);
}

}  // namespace parapet
