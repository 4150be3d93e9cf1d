#include "parapet/data/image_store.h"

#include "parapet/core/file_draft.h"

namespace parapet {
namespace {

constexpr int64_t kPerFolder = 1000;

std::string padded(int64_t value, size_t digits) {
  std::string text = std::to_string(value);
  return text.size() < digits ? std::string(digits - text.size(), '0') + text : text;
}

}  // namespace

ImageStore::ImageStore(std::filesystem::path folder, Format format, std::string stem,
                       int64_t per_shard)
    : folder_(std::move(folder)), format_(format), stem_(std::move(stem)), per_shard_(per_shard) {}

ImageStore::~ImageStore() = default;

void ImageStore::next_sample() {
  const int64_t group = format_ == Format::kFolder ? kPerFolder : per_shard_;
  if (samples_++ % group != 0) return;
  const int64_t number = (samples_ - 1) / group;
  if (format_ == Format::kFolder) {
    shard_ = "images/" + stem_ + "-" + padded(number, 3);
    std::filesystem::create_directories(folder_ / shard_);
    return;
  }
  finish();
  shard_ = stem_ + "-" + padded(number, 6) + ".tar";
  writer_ = std::make_unique<TarWriter>(folder_ / shard_);
}

std::string ImageStore::add(std::string_view name, std::string_view bytes) {
  if (format_ == Format::kTar) {
    writer_->add(name, bytes);
    return shard_ + "#" + std::string(name);
  }
  // The record file that names the images is written last and synced.
  FileDraft draft(folder_ / shard_ / name, FileDraft::Sync::kLater);
  draft.append(bytes);
  draft.commit();
  return shard_ + "/" + std::string(name);
}

void ImageStore::finish() {
  if (writer_) writer_->finish();
  writer_.reset();
}

}  // namespace parapet
