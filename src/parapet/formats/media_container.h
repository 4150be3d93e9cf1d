// The file around sound and video: FFmpeg's demuxer, held to limits and to the one file it was
// given.
#pragma once
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>

#include "parapet/core/context.h"
#include "parapet/formats/media_bytes.h"
#include "parapet/formats/media_log.h"

struct AVFormatContext;
struct AVIOContext;
struct AVPacket;
struct AVStream;
struct AVFrame;

namespace parapet::media_detail {

struct Limits {
  double max_seconds;
  int64_t max_streams;
  int64_t max_pixels;
};

struct FreePacket {
  void operator()(AVPacket* packet) const;
};
struct FreeFrame {
  void operator()(AVFrame* frame) const;
};
using Packet = std::unique_ptr<AVPacket, FreePacket>;
using Frame = std::unique_ptr<AVFrame, FreeFrame>;
Packet make_packet();
Frame make_frame();

// Formats are recognised by their bytes. Playlists and the like, which name other files, are not
// read; no protocol is opened, not even for local files.
class Container {
 public:
  // `bytes` and `context` must outlive the container. DataError: not a format we read, damaged,
  // over a limit by what its header says. `source` names the file in errors.
  Container(const MediaBytes& bytes, std::string_view source, const Limits& limits,
            const Context& context);
  ~Container();
  Container(const Container&) = delete;
  Container& operator=(const Container&) = delete;

  AVFormatContext& format() { return *format_; }
  const std::string& source() const { return source_; }
  const Context& context() const { return context_; }
  // The demuxer's name, e.g. "mp3" or "matroska,webm".
  std::string name() const;
  // Every other stream is skipped from here on.
  void select(int stream);
  // The next packet of the selected stream; false at the end. DataError when the file is damaged
  // there; Cancelled.
  bool read(AVPacket& packet);
  // To the last key frame at or before `timestamp`, in the stream's time base. False when the
  // format cannot.
  bool seek(int stream, int64_t timestamp);
  // DataError with what FFmpeg said about it.
  [[noreturn]] void fail(const std::string& problem, int error, std::string_view hint = "");
  // What the read callback wants known: an exception of ours, or Cancelled.
  void rethrow();

 private:
  static int read_callback(void* self, uint8_t* out, int count);
  static int64_t seek_callback(void* self, int64_t offset, int whence);
  static int interrupt_callback(void* self);
  int read_bytes(uint8_t* out, int count);
  void open();
  void check_streams(const Limits& limits);
  void close();

  const MediaBytes& bytes_;
  std::string source_;
  const Context& context_;
  FfmpegLog log_;
  AVIOContext* io_ = nullptr;
  AVFormatContext* format_ = nullptr;
  int64_t position_ = 0;
  int64_t budget_;  // of bytes that may be read, all in all
  int selected_ = -1;
  std::exception_ptr thrown_;
};

// Seconds that the headers give for a stream, or for the whole file where they say nothing about
// the stream; 0 when neither does, or when it was guessed from the bit rate.
double claimed_seconds(const AVFormatContext& format, const AVStream& stream);

}  // namespace parapet::media_detail
