#include "parapet/engine/openvino/openvino_clip.h"

#include <ATen/ATen.h>

#include <openvino/openvino.hpp>
#include <openvino/opsets/opset13.hpp>

#include "parapet/core/error.h"

namespace parapet {
namespace {

namespace op = ov::opset13;
using Out = ov::Output<ov::Node>;

// A constant that shares the tensor's memory and keeps it alive.
Out constant(const at::Tensor& tensor) {
  auto owner = std::make_shared<at::Tensor>(tensor.to(at::kFloat).contiguous());
  const ov::Shape shape(owner->sizes().begin(), owner->sizes().end());
  return std::make_shared<op::Constant>(ov::element::f32, shape, owner->data_ptr(), owner);
}

Out scalar(float value) { return op::Constant::create(ov::element::f32, {}, {value}); }
Out integers(const std::vector<int64_t>& values) {
  return op::Constant::create(ov::element::i64, {values.size()}, values);
}

// What both towers are made of.
class GraphBuilder {
 public:
  GraphBuilder(const ClipModel& model, const ClipGraphOptions& options, std::string tower)
      : options_(options), tower_(std::move(tower)), bare_(model.bare_names()) {
    nn::each_parameter(model, [&](const std::string& name, const nn::Parameter& parameter) {
      if (parameter.value.defined()) weights_[name] = parameter.value.detach();
    });
  }

  at::Tensor get(const std::string& name) const {
    std::string key = name;
    const std::string prefix = tower_ + "_model.";
    if (bare_ && key.starts_with(prefix)) key = key.substr(prefix.size());
    const auto found = weights_.find(key);
    if (found == weights_.end()) throw Error(ErrorKind::kInternal, "graph needs the weight " + key);
    return found->second.to(at::kFloat);
  }
  bool has(const std::string& name) const { return weights_.count(name) > 0; }
  std::string model_prefix() const { return tower_ + "_model."; }

  // Layer norm over the last dimension; its output divided by `smooth` where that is defined.
  Out layer_norm(const Out& x, const std::string& name, double eps, const at::Tensor& smooth) {
    const Out normed = std::make_shared<op::MVN>(x, integers({-1}), true, static_cast<float>(eps),
                                                 ov::op::MVNEpsMode::INSIDE_SQRT);
    at::Tensor gain = get(name + ".weight"), shift = get(name + ".bias");
    if (smooth.defined()) {
      gain = gain / smooth;
      shift = shift / smooth;
    }
    const Out scaled = std::make_shared<op::Multiply>(normed, constant(gain));
    return std::make_shared<op::Add>(scaled, constant(shift));
  }

  Out linear(const Out& x, const LinearWeights& weights, bool quantized) {
    const Out matrix = quantized ? quantized_weight(weights.weight) : constant(weights.weight);
    Out y = std::make_shared<op::MatMul>(x, matrix, false, true);
    if (weights.bias.defined()) y = std::make_shared<op::Add>(y, constant(weights.bias));
    return y;
  }

  // int8 per output channel, symmetric in -127..127, and the step that turns it back.
  static Out quantized_weight(const at::Tensor& weight) {
    const at::Tensor step = weight.abs().amax({1}, true).clamp_min(1e-8).div_(127);
    auto levels = std::make_shared<at::Tensor>(
        at::round(weight / step).clamp_(-127, 127).to(at::kChar).contiguous());
    const ov::Shape shape(levels->sizes().begin(), levels->sizes().end());
    const Out stored =
        std::make_shared<op::Constant>(ov::element::i8, shape, levels->data_ptr(), levels);
    const Out real = std::make_shared<op::Convert>(stored, ov::element::f32);
    return std::make_shared<op::Multiply>(real, constant(step));
  }

  const QuantizationPoint* point(int64_t layer, const char* name) const {
    if (options_.ranges == nullptr) return nullptr;
    return &options_.ranges->points.at(point_name(layer, name));
  }
  std::string point_name(int64_t layer, const char* name) const {
    return tower_ + ".layers." + std::to_string(layer) + "." + name;
  }
  static at::Tensor smoothing(const QuantizationPoint* at) {
    return at == nullptr || at->smooth.empty() ? at::Tensor() : at::tensor(at->smooth);
  }
  static bool quantizes(const QuantizationPoint* at) { return at != nullptr && !at->keep_float; }

  // One FakeQuantize for all layers that read `x`; the tap for calibration.
  Out activation(const Out& x, const QuantizationPoint* at) {
    if (options_.taps == GraphTaps::kExtremes) {
      taps_.push_back(std::make_shared<op::ReduceMin>(x, integers({1}), false));
      taps_.push_back(std::make_shared<op::ReduceMax>(x, integers({1}), false));
    } else if (options_.taps == GraphTaps::kValues) {
      taps_.push_back(x);
    }
    if (!quantizes(at)) return x;
    const Out low = scalar(at->low), high = scalar(at->high);
    return std::make_shared<op::FakeQuantize>(x, low, high, low, high, 256);
  }

  LinearWeights weights(const std::string& name, const at::Tensor& smooth_in,
                        const at::Tensor& smooth_out = {}) const {
    LinearWeights w{get(name + ".weight"), get(name + ".bias")};
    if (smooth_in.defined()) w.weight = w.weight * smooth_in;
    if (smooth_out.defined()) {
      w.weight = w.weight / smooth_out.unsqueeze(1);
      w.bias = w.bias / smooth_out;
    }
    return w;
  }

  // [n, t, width] -> [n, heads, t, width / heads].
  static Out by_head(const Out& x, int64_t heads, int64_t width) {
    const Out split =
        std::make_shared<op::Reshape>(x, integers({0, 0, heads, width / heads}), true);
    return std::make_shared<op::Transpose>(split, integers({0, 2, 1, 3}));
  }
  static Out joined(const Out& x, int64_t width) {
    const Out back = std::make_shared<op::Transpose>(x, integers({0, 2, 1, 3}));
    return std::make_shared<op::Reshape>(back, integers({0, 0, width}), true);
  }

  static Out activate(const Out& x, nn::Activation activation) {
    switch (activation) {
      case nn::Activation::kQuickGelu:
        return std::make_shared<op::Swish>(x, scalar(1.702F));
      case nn::Activation::kGelu:
        return std::make_shared<op::Gelu>(x, ov::op::GeluApproximationMode::ERF);
      case nn::Activation::kGeluTanh:
        return std::make_shared<op::Gelu>(x, ov::op::GeluApproximationMode::TANH);
      case nn::Activation::kSilu:
        return std::make_shared<op::Swish>(x);
      case nn::Activation::kRelu:
        return std::make_shared<op::Relu>(x);
    }
    throw Error(ErrorKind::kInternal, "unknown activation");
  }

  struct Shape {
    int64_t width, heads;
    double eps;
    nn::Activation activation;
  };
  // Keeps the rows that are pooled: [n, t, w] -> [n, 1, w]. Null = all rows.
  using TakeRows = std::function<Out(const Out&)>;

  Out layer(const Out& x, int64_t index, const Shape& shape, bool causal, const TakeRows& take,
            const Out& last_mask) {
    const std::string name = model_prefix() + "encoder.layers." + std::to_string(index);
    const QuantizationPoint* qkv = point(index, "qkv");
    const QuantizationPoint* out = point(index, "out");
    const at::Tensor smooth = smoothing(qkv), smooth_v = smoothing(out);
    const Out h = activation(layer_norm(x, name + ".layer_norm1", shape.eps, smooth), qkv);
    const std::string attn = name + ".self_attn";
    auto product = [&](const Out& from, const char* part, const at::Tensor& smooth_out) {
      return linear(from, weights(attn + part, smooth, smooth_out), quantizes(qkv));
    };
    auto head = [&](const Out& rows) { return by_head(rows, shape.heads, shape.width); };
    // The scores q k^T are an int8 product too; their products with v stay in float.
    const Out q = head(activation(product(take ? take(h) : h, ".q_proj", {}), point(index, "q")));
    const Out k = head(activation(product(h, ".k_proj", {}), point(index, "k")));
    const Out v = head(product(h, ".v_proj", smooth_v));
    Out mixed;
    if (take && last_mask.get_node() != nullptr)
      mixed = std::make_shared<op::ScaledDotProductAttention>(q, k, v, last_mask, false);
    else
      mixed = std::make_shared<op::ScaledDotProductAttention>(q, k, v, causal && !take);
    // Quantized before the heads are joined, where it becomes part of the attention kernel; taps
    // want whole rows.
    mixed = options_.taps == GraphTaps::kNone ? joined(activation(mixed, out), shape.width)
                                              : activation(joined(mixed, shape.width), out);
    const Out attended = linear(mixed, weights(attn + ".out_proj", smooth_v), quantizes(out));
    const Out middle = std::make_shared<op::Add>(take ? take(x) : x, attended);
    return std::make_shared<op::Add>(middle, mlp(middle, index, name, shape));
  }

  Out mlp(const Out& x, int64_t index, const std::string& name, const Shape& shape) {
    const QuantizationPoint* fc1 = point(index, "fc1");
    const QuantizationPoint* fc2 = point(index, "fc2");
    const at::Tensor smooth = smoothing(fc1);
    const Out h = activation(layer_norm(x, name + ".layer_norm2", shape.eps, smooth), fc1);
    const Out inner =
        activate(linear(h, weights(name + ".mlp.fc1", smooth), quantizes(fc1)), shape.activation);
    const at::Tensor smooth2 = smoothing(fc2);
    const Out even = smooth2.defined()
                         ? Out(std::make_shared<op::Multiply>(inner, constant(1 / smooth2)))
                         : inner;
    return linear(activation(even, fc2), weights(name + ".mlp.fc2", smooth2), quantizes(fc2));
  }

  std::shared_ptr<ov::Model> finish(const Out& embeds, const ov::ParameterVector& inputs) {
    ov::OutputVector outputs = {embeds};
    outputs.insert(outputs.end(), taps_.begin(), taps_.end());
    return std::make_shared<ov::Model>(outputs, inputs, "clip_" + tower_);
  }

  bool quantized() const { return options_.ranges != nullptr; }

 private:
  const ClipGraphOptions& options_;
  std::string tower_;
  bool bare_;
  std::map<std::string, at::Tensor> weights_;
  ov::OutputVector taps_;
};

}  // namespace

std::shared_ptr<ov::Model> vision_graph(const ClipModel& model, const ImageProcessor& processor,
                                        const ClipGraphOptions& options) {
  const ClipVisionConfig& config = model.config().vision;
  GraphBuilder builder(model, options, "vision");
  const std::string name = builder.model_prefix();
  const int64_t rows = config.patches() + 1;
  const auto input = std::make_shared<op::Parameter>(
      ov::element::u8, ov::PartialShape{-1, rows, 3 * config.patch_size * config.patch_size});
  LinearWeights patch =
      patch_weights(builder.get(name + "embeddings.patch_embedding.weight"), processor);
  // Row 0 of the input is zero, so position, class token and bias are one constant per row.
  at::Tensor offsets = builder.get(name + "embeddings.position_embedding.weight").clone();
  offsets.slice(0, 1) += patch.bias;
  offsets.select(0, 0) += builder.get(name + "embeddings.class_embedding");
  patch.bias = at::Tensor();
  Out bytes = std::make_shared<op::Convert>(input, ov::element::f32);
  if (builder.quantized())  // bytes are 256 levels already
    bytes = std::make_shared<op::FakeQuantize>(bytes, scalar(0), scalar(255), scalar(0),
                                               scalar(255), 256);
  Out x = std::make_shared<op::Add>(builder.linear(bytes, patch, builder.quantized()),
                                    constant(offsets));
  x = builder.layer_norm(x, name + "pre_layrnorm", config.layer_norm_eps, {});
  const GraphBuilder::Shape shape{config.hidden_size, config.num_attention_heads,
                                  config.layer_norm_eps, config.hidden_act};
  auto first_row = [](const Out& all) -> Out {
    return std::make_shared<op::Slice>(all, integers({0}), integers({1}), integers({1}),
                                       integers({1}));
  };
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const bool last = i + 1 == config.num_hidden_layers;
    x = builder.layer(x, i, shape, false,
                      last ? GraphBuilder::TakeRows(first_row) : GraphBuilder::TakeRows(), {});
  }
  x = std::make_shared<op::Squeeze>(x, integers({1}));
  x = builder.layer_norm(x, name + "post_layernorm", config.layer_norm_eps, {});
  if (builder.has("visual_projection.weight"))
    x = builder.linear(x, {builder.get("visual_projection.weight"), {}}, false);
  return builder.finish(x, {input});
}

std::shared_ptr<ov::Model> text_graph(const ClipModel& model, const ClipGraphOptions& options) {
  const ClipTextConfig& config = model.config().text;
  GraphBuilder builder(model, options, "text");
  const std::string name = builder.model_prefix();
  const auto embeds = std::make_shared<op::Parameter>(ov::element::f32,
                                                      ov::PartialShape{-1, -1, config.hidden_size});
  const auto rows = std::make_shared<op::Parameter>(ov::element::i32, ov::PartialShape{-1});
  const auto mask =
      std::make_shared<op::Parameter>(ov::element::f32, ov::PartialShape{-1, 1, 1, -1});
  const Out row = std::make_shared<op::Unsqueeze>(rows, integers({1}));
  auto pooled_rows = [row](const Out& all) -> Out {
    return std::make_shared<op::Gather>(all, row, op::Constant::create(ov::element::i64, {}, {1}),
                                        1);
  };
  const GraphBuilder::Shape shape{config.hidden_size, config.num_attention_heads,
                                  config.layer_norm_eps, config.hidden_act};
  Out x = embeds;
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const bool last = i + 1 == config.num_hidden_layers;
    x = builder.layer(x, i, shape, true,
                      last ? GraphBuilder::TakeRows(pooled_rows) : GraphBuilder::TakeRows(),
                      last ? Out(mask) : Out());
  }
  x = std::make_shared<op::Squeeze>(x, integers({1}));
  x = builder.layer_norm(x, name + "final_layer_norm", config.layer_norm_eps, {});
  if (builder.has("text_projection.weight"))
    x = builder.linear(x, {builder.get("text_projection.weight"), {}}, false);
  return builder.finish(x, {embeds, rows, mask});
}

}  // namespace parapet
