// The arithmetic of the native int8 backend (AVX-512 VNNI): products of bytes with packed int8
// weights, layer norms that end in bytes, attention. Rows are contiguous, `width` apart, and every
// width is a multiple of 64.
//
// A byte q of a quantization point means low + q * step, step = (high - low) / 255: rounding to the
// nearest, as FakeQuantize with 256 levels does.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "parapet/engine/int8/int8_types.h"
#include "parapet/nn/layers.h"

namespace parapet::int8 {

// Whether this processor has what the kernels are made of.
bool supported();
// Whether it also has a matrix unit for int8 (AMX), which these kernels leave idle.
bool has_matrix_unit();

// Weights [outputs, inputs] to int8, per output channel, symmetric; the input's bytes mean low + q
// * step. `bias` may be undefined.
Linear pack(const at::Tensor& weight, const at::Tensor& bias, float low, float step);
// The same layer with an output of bytes of its own: y becomes (y - low) / step (+ offset).
void scale_output(Linear& linear, float low, float step, float offset);

// Each reads `rows` rows of bytes and writes those panels of every row.
void product(const Linear& linear, const uint8_t* in, int64_t rows, float* out, Range panels);
void product_add(const Linear& linear, const uint8_t* in, int64_t rows, float* out, Range panels);
void product_bytes(const Linear& linear, const uint8_t* in, int64_t rows, uint8_t* out,
                   Range panels);
// -128..127 instead of 0..255.
void product_signed(const Linear& linear, const uint8_t* in, int64_t rows, int8_t* out,
                    Range panels);
// Bytes of activation(y) * gain + offset; `gain` [outputs].
void product_activated(const Linear& linear, const uint8_t* in, int64_t rows,
                       nn::Activation activation, const float* gain, float offset, uint8_t* out,
                       Range panels);

// A layer norm over `width` values; gain and shift [width].
struct Norm {
  at::Tensor gain, shift;
  float eps = 1e-5F;
};
// In place is allowed.
void normalise(const Norm& norm, const float* in, int64_t width, float* out, Range rows);
// Bytes of the result: the point's low and step are folded into gain and shift.
void normalise_bytes(const Norm& norm, const float* in, int64_t width, uint8_t* out, Range rows);

// How the attention's bytes are read: scores = (q_low + q * q_step) . (k_zero + k * k_step), the
// root of the head's width already folded into q_low and q_step.
struct AttentionScales {
  float q_low = 0, q_step = 1, k_zero = 0, k_step = 1;
  float out_low = 0, out_step = 1;
};
// One head of one sequence. q bytes [queries], k signed bytes and v float [length], each row
// `stride` wide and the pointers at the head's first column; out bytes [queries]. `causal`: query i
// sees keys 0..first + i. `work` holds attention_work(length, width) bytes, 64-byte aligned.
struct Head {
  const uint8_t* q;
  const int8_t* k;
  const float* v;
  uint8_t* out;
  int64_t stride, width, queries, length;
  bool causal;
};
int64_t attention_work(int64_t length, int64_t width);
void attend(const Head& head, const AttentionScales& scales, uint8_t* work);

// out [rows, outputs] = in [rows, inputs] . matrix [inputs, outputs], in float.
void project(const float* matrix, const float* in, int64_t rows, int64_t inputs, int64_t outputs,
             float* out, Range panels);

}  // namespace parapet::int8
