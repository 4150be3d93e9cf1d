// Frames of any format to mono float at one rate.
#pragma once
#include <memory>
#include <vector>

#include "parapet/formats/media_container.h"

struct SwrContext;

namespace parapet::media_detail {

class Resampler {
 public:
  // For frames such as `like`. DataError when the format cannot be converted.
  Resampler(Container& container, const AVFrame& like, int rate);
  // Whether `frame` has the format of the first.
  bool takes(const AVFrame& frame) const;
  // Appends to `out`. The filter holds some samples back until drain().
  void add(const AVFrame& frame, std::vector<float>& out);
  void drain(std::vector<float>& out);

 private:
  void convert(const uint8_t* const* planes, int count, std::vector<float>& out);

  struct FreeSwr {
    void operator()(SwrContext* swr) const;
  };
  Container& container_;
  std::unique_ptr<SwrContext, FreeSwr> swr_;
  int format_;
  int rate_;
  int channels_;
};

}  // namespace parapet::media_detail
