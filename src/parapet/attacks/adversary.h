// Inputs changed within a budget so that the loss rises (FGM: Miyato et al., arXiv 1605.07725; PGD:
// Madry et al., arXiv 1706.06083). Parameters' gradients are left alone.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>

#include "parapet/core/options.h"

namespace parapet {

// Training on inputs changed to raise the loss.
struct AdversaryOptions {
  std::string kind = "none";  // none | fgm | pgd on embeddings; pixel-fgm | pixel-pgd (finetune)
  double epsilon = 0.1;       // embeddings: L2 (unit rows); pixels: L-infinity in 0..1 pixel values
  int64_t steps = 3;          // of pgd
  double weight = 1.0;        // of the loss on changed inputs
  bool active() const { return kind != "none"; }
  bool on_pixels() const { return kind.starts_with("pixel"); }
  bool iterated() const { return kind.ends_with("pgd"); }
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// Loss of the inputs, larger = worse for the defender; differentiable in them.
using EmbeddingLoss = std::function<at::Tensor(const at::Tensor& image, const at::Tensor& text)>;
using PixelLoss = std::function<at::Tensor(const at::Tensor& pixels)>;

// Unit rows at most `epsilon` (L2, before rows are scaled to unit length again) from unit rows.
std::array<at::Tensor, 2> adversarial_embeddings(const at::Tensor& image, const at::Tensor& text,
                                                 const EmbeddingLoss& loss,
                                                 const AdversaryOptions& options);

// Normalised pixels [n, 3, h, w] at most `epsilon` (L-infinity, in 0..1 pixel values) away and
// within the range of pixels. `mean`, `std` per channel.
at::Tensor adversarial_pixels(const at::Tensor& pixels, const PixelLoss& loss,
                              const std::array<float, 3>& mean, const std::array<float, 3>& std,
                              const AdversaryOptions& options);

}  // namespace parapet
