// An encoder without a model: images and texts alike become the rows that a test makes of their
// names.
#pragma once
#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "parapet/engine/encoder/encoder.h"

namespace parapet::test {

class ItemEncoder : public Encoder {
 public:
  at::Tensor encode_images(const std::vector<std::string>& items, const Context&,
                           EncodeStats*) override {
    return rows(items);
  }
  at::Tensor encode_texts(const std::vector<std::string>& items, const Context&,
                          EncodeStats*) override {
    return rows(items);
  }

 private:
  virtual at::Tensor rows(const std::vector<std::string>& items) = 0;
};

}  // namespace parapet::test
