#include "parapet/nn/attention_mask.h"

#include <ATen/ATen.h>

#include <limits>
#include <string>

#include "parapet/core/error.h"

namespace parapet::nn {
namespace {

void require(bool holds, const std::string& problem) {
  if (!holds) throw UsageError("attention mask: " + problem);
}

// Reading values on a GPU would cost a wait for the device.
void check_values(const at::Tensor& values, int64_t low, int64_t high, const char* name) {
  if (!values.device().is_cpu() || values.numel() == 0) return;
  const auto [least, most] = at::aminmax(values);
  const int64_t bad = least.item<int64_t>() < low ? least.item<int64_t>() : most.item<int64_t>();
  require(bad >= low && bad <= high, std::string(name) + " holds " + std::to_string(bad) +
                                         ", must be in " + std::to_string(low) + ".." +
                                         std::to_string(high));
}

void check_per_row(const at::Tensor& values, int64_t batch, const char* name) {
  if (!values.defined()) return;
  require(values.scalar_type() == at::kLong && values.dim() == 1 && values.size(0) == batch,
          std::string(name) + " must be int64 with one value per row of the batch (" +
              std::to_string(batch) + ")");
}

void and_into(at::Tensor& all, const at::Tensor& part) {
  all = all.defined() ? at::logical_and(all, part) : part;
}

}  // namespace

int64_t AttentionMask::first_place(const AttentionShape& shape) const {
  return offset.value_or(shape.keys - shape.queries);
}

// A causal rule that hides nothing: the first query already lies at or behind the last key.
bool AttentionMask::sees_all_before(const AttentionShape& shape) const {
  return !causal || first_place(shape) >= shape.keys - 1;
}

bool AttentionMask::needs_no_tensor(const AttentionShape& shape) const {
  if (lengths.defined() || starts.defined() || segments.defined() || additive.defined())
    return false;
  return sees_all_before(shape) || (first_place(shape) == 0 && shape.queries == shape.keys);
}

void AttentionMask::check(const AttentionShape& shape) const {
  if (causal || segments.defined()) {
    const int64_t first = first_place(shape);
    require(first >= 0, "the first query's place is " + std::to_string(first) + " (" +
                            std::to_string(shape.queries) + " queries, " +
                            std::to_string(shape.keys) + " keys), must be 0 or more");
    require(!segments.defined() || first + shape.queries <= shape.keys,
            "with segments every query must have a key at its own place");
  }
  check_per_row(lengths, shape.batch, "lengths");
  check_per_row(starts, shape.batch, "starts");
  if (lengths.defined()) check_values(lengths, 1, shape.keys, "lengths");
  if (starts.defined()) check_values(starts, 0, shape.keys - 1, "starts");
  if (lengths.defined() && starts.defined() && lengths.device() == starts.device())
    check_values(lengths - starts, 1, shape.keys, "lengths - starts");
  if (segments.defined())
    require(segments.scalar_type() == at::kLong && segments.dim() == 2 &&
                (segments.size(0) == 1 || segments.size(0) == shape.batch) &&
                segments.size(1) == shape.keys,
            "segments must be int64 [batch or 1, " + std::to_string(shape.keys) + "]");
  if (additive.defined()) {
    const int64_t sizes[] = {shape.batch, shape.heads, shape.queries, shape.keys};
    bool fits = additive.dim() == 4 && additive.is_floating_point();
    for (int64_t i = 0; fits && i < 4; ++i)
      fits = additive.size(i) == 1 || additive.size(i) == sizes[i];
    require(fits, "the additive part must be floating and broadcastable to [batch, heads, " +
                      std::to_string(shape.queries) + ", " + std::to_string(shape.keys) + "]");
  }
}

// bool, broadcastable to [batch, heads, queries, keys]; undefined where nothing is hidden.
at::Tensor AttentionMask::visible(const AttentionShape& shape, at::Device device) const {
  const auto whole = at::TensorOptions().dtype(at::kLong).device(device);
  const at::Tensor keys = at::arange(shape.keys, whole);
  const int64_t first = first_place(shape);
  at::Tensor all;
  if (lengths.defined())
    and_into(all, at::lt(keys.view({1, 1, 1, -1}), lengths.to(device).view({-1, 1, 1, 1})));
  if (starts.defined())
    and_into(all, at::ge(keys.view({1, 1, 1, -1}), starts.to(device).view({-1, 1, 1, 1})));
  if (segments.defined()) {
    const at::Tensor of_keys = segments.to(device);
    const at::Tensor of_queries = of_keys.slice(1, first, first + shape.queries);
    and_into(all, at::eq(of_queries.view({-1, 1, shape.queries, 1}),
                         of_keys.view({-1, 1, 1, shape.keys})));
  }
  if (sees_all_before(shape)) return all;
  const at::Tensor places = at::arange(first, first + shape.queries, whole).view({-1, 1});
  and_into(all, at::le(keys, places));
  if (starts.defined()) all = at::logical_or(all, at::eq(keys, places));
  return all;
}

ResolvedMask AttentionMask::resolve(const AttentionShape& shape,
                                    const at::TensorOptions& options) const {
  check(shape);
  if (needs_no_tensor(shape)) return {{}, !sees_all_before(shape)};
  const at::Tensor seen = visible(shape, options.device());
  // The CPU kernel is faster with an additive mask of the compute type than with a bool one.
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  if (!additive.defined())
    return {at::zeros(seen.sizes(), options).masked_fill_(seen.logical_not(), kHidden), false};
  const at::Tensor shift = additive.to(options);
  return {seen.defined() ? shift.masked_fill(seen.logical_not(), kHidden) : shift, false};
}

at::Tensor segments_from_cumulative(const at::Tensor& cumulative) {
  require(cumulative.defined() && cumulative.scalar_type() == at::kLong && cumulative.dim() == 1 &&
              cumulative.size(0) >= 2,
          "cumulative lengths must be int64 with at least two values");
  const at::Tensor counts = cumulative.diff();
  require(cumulative[0].item<int64_t>() == 0 && counts.min().item<int64_t>() >= 0,
          "cumulative lengths must begin with 0 and never fall");
  return at::repeat_interleave(at::arange(counts.size(0), counts.options()), counts).unsqueeze(0);
}

at::Tensor positions_in_segments(const at::Tensor& segments) {
  const at::Tensor places = at::arange(segments.size(1), segments.options()).unsqueeze(0);
  at::Tensor begins = at::ones(segments.sizes(), segments.options().dtype(at::kBool));
  begins.slice(1, 1).copy_(at::ne(segments.slice(1, 1), segments.slice(1, 0, -1)));
  // The place of the newest beginning, carried to the right.
  return places - std::get<0>(at::cummax(at::mul(places, begins), 1));
}

at::Tensor positions_from_starts(const at::Tensor& starts, int64_t first, int64_t count) {
  const at::Tensor places = at::arange(first, first + count, starts.options());
  return (places.unsqueeze(0) - starts.unsqueeze(1)).clamp_min_(0);
}

}  // namespace parapet::nn
