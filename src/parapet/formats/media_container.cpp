#include "parapet/formats/media_container.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>
}

#include <algorithm>
#include <limits>
#include <new>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/media_allowed.h"

namespace parapet::media_detail {
namespace {

constexpr int kBufferBytes = 64 << 10;
// A file is read a few times over: headers, an index, the packets. One that sends its reader in
// circles is left.
constexpr int64_t kTimesRead = 64;

int refuse_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) {
  return AVERROR(EPERM);
}

std::string error_text(int error) {
  char text[AV_ERROR_MAX_STRING_SIZE] = "";
  av_strerror(error, text, sizeof text);
  return text;
}

}  // namespace

void FreePacket::operator()(AVPacket* packet) const { av_packet_free(&packet); }
void FreeFrame::operator()(AVFrame* frame) const { av_frame_free(&frame); }

Packet make_packet() {
  Packet packet(av_packet_alloc());
  if (!packet) throw std::bad_alloc();
  return packet;
}

Frame make_frame() {
  Frame frame(av_frame_alloc());
  if (!frame) throw std::bad_alloc();
  return frame;
}

int Container::read_callback(void* self, uint8_t* out, int count) {
  return static_cast<Container*>(self)->read_bytes(out, count);
}

int Container::read_bytes(uint8_t* out, int count) {
  if (context_.cancelled()) return AVERROR_EXIT;
  try {
    const size_t n =
        bytes_.read_at(position_, reinterpret_cast<char*>(out), static_cast<size_t>(count));
    if (n == 0) return AVERROR_EOF;
    position_ += static_cast<int64_t>(n);
    budget_ -= static_cast<int64_t>(n);
    if (budget_ < 0)
      throw DataError(source_, "sends its reader in circles: it has been read over and over",
                      "The file is damaged or made to exhaust its reader.");
    return static_cast<int>(n);
  } catch (...) {
    thrown_ = std::current_exception();
    return AVERROR_EXIT;
  }
}

int64_t Container::seek_callback(void* self, int64_t offset, int whence) {
  auto& container = *static_cast<Container*>(self);
  const int64_t size = container.bytes_.size();
  switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE:
      return size;
    case SEEK_CUR:
      if (__builtin_add_overflow(offset, container.position_, &offset)) return AVERROR(EINVAL);
      break;
    case SEEK_END:
      if (__builtin_add_overflow(offset, size, &offset)) return AVERROR(EINVAL);
      break;
    case SEEK_SET:
      break;
    default:
      return AVERROR(EINVAL);
  }
  if (offset < 0) return AVERROR(EINVAL);
  // Every seek costs something too.
  container.budget_ -= 64;
  return container.position_ = offset;
}

int Container::interrupt_callback(void* self) {
  const auto& container = *static_cast<Container*>(self);
  return container.thrown_ != nullptr || container.budget_ < 0 || container.context_.cancelled();
}

Container::Container(const MediaBytes& bytes, std::string_view source, const Limits& limits,
                     const Context& context)
    : bytes_(bytes),
      source_(source),
      context_(context),
      log_(context),
      budget_(kTimesRead * std::min(bytes.size(), int64_t{1} << 50) + (int64_t{64} << 20)) {
  try {
    format_ = avformat_alloc_context();
    if (format_ == nullptr) throw std::bad_alloc();
    format_->max_streams = static_cast<int>(std::min<int64_t>(limits.max_streams, 1 << 20));
    open();
    check_streams(limits);
  } catch (...) {
    close();
    throw;
  }
}

void Container::open() {
  auto* buffer = static_cast<uint8_t*>(av_malloc(kBufferBytes));
  if (buffer == nullptr) throw std::bad_alloc();
  io_ = avio_alloc_context(buffer, kBufferBytes, 0, this, read_callback, nullptr, seek_callback);
  if (io_ == nullptr) {
    av_free(buffer);
    throw std::bad_alloc();
  }
  format_->pb = io_;
  format_->flags |= AVFMT_FLAG_CUSTOM_IO;
  format_->io_open = refuse_open;
  format_->interrupt_callback = {interrupt_callback, this};
  format_->format_whitelist = av_strdup(kFormats);
  format_->codec_whitelist = av_strdup(kDecoders);
  format_->protocol_whitelist = av_strdup("");
  const int status = avformat_open_input(&format_, nullptr, nullptr, nullptr);
  if (status >= 0) return;
  if (status == AVERROR(EINVAL) && log_.last_error().find("whitelist") != std::string::npos)
    throw DataError(
        source_, "is not a sound or video format that Parapet reads",
        "Sound: WAV, MP3, FLAC, OGG, M4A. Video: MP4, WebM, MKV, AVI, GIF. Convert it.");
  fail("cannot be read as sound or video", status,
       "Fetch or export the file again, as WAV, MP3, FLAC, OGG, M4A, MP4, WebM, MKV, AVI or GIF.");
}

void Container::check_streams(const Limits& limits) {
  const auto check = [&] {
    if (format_->nb_streams > static_cast<uint64_t>(limits.max_streams))
      throw DataError(source_, "holds " + std::to_string(format_->nb_streams) +
                                   " streams, the limit is " + std::to_string(limits.max_streams));
    for (unsigned i = 0; i < format_->nb_streams; ++i) {
      const AVStream& stream = *format_->streams[i];
      const AVCodecParameters& about = *stream.codecpar;
      if (about.codec_type != AVMEDIA_TYPE_VIDEO ||
          (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) != 0)
        continue;
      if (int64_t{about.width} * about.height > limits.max_pixels)
        throw DataError(source_,
                        "its video is " + std::to_string(about.width) + " x " +
                            std::to_string(about.height) + " pixels, the limit is " +
                            std::to_string(limits.max_pixels) + " pixels",
                        "Scale it down, or raise the limit.");
    }
  };
  check();  // before anything is decoded to learn more
  const int status = avformat_find_stream_info(format_, nullptr);
  if (status < 0) fail("its streams cannot be read", status);
  rethrow();
  check();
  double claimed = 0;
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    const auto type = format_->streams[i]->codecpar->codec_type;
    if (type == AVMEDIA_TYPE_AUDIO || type == AVMEDIA_TYPE_VIDEO)
      claimed = std::max(claimed, claimed_seconds(*format_, *format_->streams[i]));
  }
  if (claimed > limits.max_seconds)
    throw DataError(source_,
                    "says that it lasts " + format_number(claimed, 1) + " seconds, the limit is " +
                        format_number(limits.max_seconds, 1),
                    "Cut the file into parts, or raise the limit.");
}

Container::~Container() { close(); }

void Container::close() {
  if (format_ != nullptr) avformat_close_input(&format_);
  if (io_ != nullptr) av_freep(&io_->buffer);
  avio_context_free(&io_);
}

std::string Container::name() const { return format_->iformat->name; }

void Container::select(int stream) {
  selected_ = stream;
  for (unsigned i = 0; i < format_->nb_streams; ++i)
    format_->streams[i]->discard =
        static_cast<int>(i) == stream ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
}

bool Container::read(AVPacket& packet) {
  for (;;) {
    av_packet_unref(&packet);
    const int status = av_read_frame(format_, &packet);
    rethrow();
    if (status == AVERROR_EOF) return false;
    if (status < 0) fail("is damaged or cut off", status, "Fetch or export the file again.");
    if (packet.stream_index == selected_) return true;
  }
}

bool Container::seek(int stream, int64_t timestamp) {
  const int status = avformat_seek_file(format_, stream, std::numeric_limits<int64_t>::min(),
                                        timestamp, timestamp, 0);
  rethrow();
  return status >= 0;
}

void Container::rethrow() {
  if (thrown_) std::rethrow_exception(thrown_);
  if (context_.cancelled()) throw Cancelled("stopped while reading " + source_);
}

void Container::fail(const std::string& problem, int error, std::string_view hint) {
  rethrow();
  std::string text = problem + ": " + error_text(error);
  if (!log_.last_error().empty()) text += " (" + log_.last_error() + ")";
  throw DataError(source_, text, hint);
}

double claimed_seconds(const AVFormatContext& format, const AVStream& stream) {
  if (format.duration_estimation_method == AVFMT_DURATION_FROM_BITRATE) return 0;
  if (stream.duration != AV_NOPTS_VALUE && stream.duration > 0)
    return static_cast<double>(stream.duration) * av_q2d(stream.time_base);
  if (format.duration != AV_NOPTS_VALUE && format.duration > 0)
    return static_cast<double>(format.duration) / AV_TIME_BASE;
  return 0;
}

}  // namespace parapet::media_detail
