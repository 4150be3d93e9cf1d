// Sound against the `ffmpeg` command: the same samples, the same number of them.
#include "parapet/formats/audio.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/formats/tar.h"
#include "support/data_error.h"
#include "support/ffmpeg_tool.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using test::ffmpeg_output;
using test::make_media;
using testing::internal::CaptureStderr;
using testing::internal::GetCapturedStderr;

// Both run the same libraries; what may differ is the rounding of another build's processor code.
constexpr float kClose = 1e-6f;

const std::string kStereo =
    "aevalsrc=0.5*sin(880*PI*t)|0.4*sin(2*PI*(200+300*t)*t):s=44100:d=3.217";

struct Kind {
  std::string name;
  std::string coding;
  bool exact;  // the format says how many samples there are
};

const std::vector<Kind> kKinds = {
    {"s16.wav", "-c:a pcm_s16le", true},
    {"f32.wav", "-c:a pcm_f32le", true},
    {"u8.wav", "-c:a pcm_u8", true},
    {"lame.mp3", "-c:a libmp3lame", true},
    {"plain.flac", "", true},
    {"vorbis.ogg", "-c:a libvorbis", true},
    {"opus.ogg", "-c:a libopus", true},
    {"alac.m4a", "-c:a alac", true},
    {"aac.m4a", "-c:a aac", false},
    {"aac.mkv", "-c:a aac", false},
    {"opus.webm", "-c:a libopus", false},
    {"raw.aac", "-c:a aac", false},
    {"stream.mp3", "-write_xing 0 -c:a libmp3lame", false},
};

std::vector<float> reference(const test::TempFolder& folder, const std::string& name) {
  return ffmpeg_output<float>(folder.path(), "-i '" + name + "' -vn -ac 1 -ar 16000 -f f32le");
}

// All kinds of one sound, in one run of the command: most of its time is its start.
void make_kinds(const test::TempFolder& folder, const std::string& source) {
  std::string arguments = "-f lavfi -i '" + source + "'";
  for (const Kind& kind : kKinds) arguments += " " + kind.coding + " " + kind.name;
  test::ffmpeg(folder.path(), arguments);
}

void expect_equal(const std::vector<float>& got, const std::vector<float>& want,
                  const std::string& name) {
  ASSERT_EQ(got.size(), want.size()) << name;
  float apart = 0;
  for (size_t i = 0; i < got.size(); ++i) apart = std::max(apart, std::abs(got[i] - want[i]));
  EXPECT_LE(apart, kClose) << name;
}

TEST(Audio, EqualsTheFfmpegCommand) {
  const test::TempFolder folder;
  make_kinds(folder, kStereo);
  std::string inputs, outputs;
  for (size_t i = 0; i < kKinds.size(); ++i) {
    inputs += " -i " + kKinds[i].name;
    outputs +=
        " -map " + std::to_string(i) + " -ac 1 -ar 16000 -f f32le " + kKinds[i].name + ".raw";
  }
  test::ffmpeg(folder.path(), inputs + outputs);
  for (const Kind& kind : kKinds) {
    const Audio audio = load_audio((folder / kind.name).string());
    expect_equal(audio.samples, test::values_of<float>(folder / (kind.name + ".raw")), kind.name);
    EXPECT_EQ(audio.sample_rate, 16000);
    EXPECT_EQ(audio.stored_channels, 2) << kind.name;
    // 3.217 s of 44,100 Hz are 141,870 samples, which are 51,472 at 16,000 Hz.
    if (kind.exact) EXPECT_EQ(audio.samples.size(), 51472u) << kind.name;
  }
}

TEST(Audio, EqualsTheFfmpegCommandAtOtherRatesAndLayouts) {
  const test::TempFolder folder;
  const std::string surround =
      "aevalsrc=sin(440*t)|sin(900*t)|0.2*sin(3000*t)|0.1|0.2*sin(50*t)|0.1*sin(7000*t):c=5.1:s="
      "48000:d=1.1";
  for (const auto& [name, source] :
       std::vector<std::pair<std::string, std::string>>{{"mono.wav", "sine=f=440:r=16000:d=0.7"},
                                                        {"slow.wav", "sine=f=440:r=8000:d=1"},
                                                        {"slow.mp3", "sine=f=440:r=8000:d=1"},
                                                        {"fast.flac", "sine=f=440:r=96000:d=0.5"},
                                                        {"surround.wav", surround},
                                                        {"surround.m4a", surround}}) {
    const auto file = make_media(folder.path(), name, source);
    expect_equal(load_audio(file.string()).samples, reference(folder, name), name);
  }
}

// A WAV file of 16-bit samples at 16,000 Hz, written by hand.
std::string wav_of(const std::vector<int16_t>& samples) {
  const auto bytes = static_cast<uint32_t>(samples.size() * 2);
  std::string out = "RIFF";
  const auto put = [&](uint32_t value, int count) {
    for (int i = 0; i < count; ++i) out.push_back(static_cast<char>(value >> 8 * i));
  };
  put(36 + bytes, 4);
  out += "WAVEfmt ";
  put(16, 4);
  put(1, 2);
  put(1, 2);
  put(16000, 4);
  put(32000, 4);
  put(2, 2);
  put(16, 2);
  out += "data";
  put(bytes, 4);
  for (const int16_t sample : samples) put(static_cast<uint16_t>(sample), 2);
  return out;
}

TEST(Audio, SamplesAtTheRightRateStayAsTheyAre) {
  std::vector<int16_t> stored;
  for (int i = 0; i < 5000; ++i) stored.push_back(static_cast<int16_t>(i * 7919 % 65536 - 32768));
  const Audio audio = decode_audio(wav_of(stored), "f.wav");
  ASSERT_EQ(audio.samples.size(), stored.size());
  for (size_t i = 0; i < stored.size(); ++i)
    ASSERT_EQ(audio.samples[i], static_cast<float>(stored[i]) / 32768.0f) << i;
  EXPECT_EQ(audio.codec, "pcm_s16le");
  EXPECT_EQ(audio.streams, 1);
}

TEST(Audio, PathBytesAndShardMemberAgree) {
  const test::TempFolder folder;
  const auto file = make_media(folder.path(), "a.mp3", kStereo);
  const std::string bytes = read_file(file);
  {
    TarWriter writer(folder / "s.tar");
    writer.add("1.mp3", bytes);
    writer.finish();
  }
  const Audio of_path = load_audio(file.string());
  EXPECT_EQ(decode_audio(bytes, "a.mp3").samples, of_path.samples);
  EXPECT_EQ(load_audio((folder / "s.tar").string() + "#1.mp3").samples, of_path.samples);
}

TEST(Audio, TakesTheDefaultStreamAndCounts) {
  const test::TempFolder folder;
  test::ffmpeg(folder.path(),
               "-f lavfi -i sine=f=300:d=1 -f lavfi -i sine=f=900:d=1 -f lavfi -i "
               "testsrc=d=1:s=32x32 -map 0 -map 1 -map 2 -c:v mpeg4 -disposition:a:0 0 "
               "-disposition:a:1 default two.mkv");
  const Audio audio = load_audio((folder / "two.mkv").string());
  EXPECT_EQ(audio.streams, 2);
  expect_equal(
      audio.samples,
      ffmpeg_output<float>(folder.path(), "-i two.mkv -map 0:a:1 -ac 1 -ar 16000 -f f32le"),
      "two.mkv");
}

TEST(Audio, FirstSecondsAreTheStartOfTheWhole) {
  const test::TempFolder folder;
  const auto file = make_media(folder.path(), "a.flac", kStereo);
  const Audio whole = load_audio(file.string());
  AudioOptions options;
  options.first_seconds = 1.5;
  options.max_seconds = 2;  // says nothing about what is not decoded
  const Audio start = load_audio(file.string(), options);
  ASSERT_EQ(start.samples.size(), 24000u);
  EXPECT_TRUE(std::equal(start.samples.begin(), start.samples.end(), whole.samples.begin()));
}

TEST(Audio, LimitsHold) {
  const test::TempFolder folder;
  const auto check = [&](const std::string& name, const AudioOptions& options,
                         const std::string& says) {
    const std::string message = data_error([&] { load_audio((folder / name).string(), options); });
    EXPECT_NE(message.find(says), std::string::npos) << name << ": " << message;
    EXPECT_NE(message.find(name), std::string::npos) << message;
  };
  make_media(folder.path(), "a.flac", kStereo);
  // Without a header that tells the length: the limit holds while decoding.
  make_media(folder.path(), "a.mp3", kStereo, "-write_xing 0");
  test::ffmpeg(folder.path(), "-f lavfi -i sine=d=1 -map 0 -map 0 -map 0 three.mkv");
  AudioOptions options;
  options.max_seconds = 2;
  check("a.flac", options, "says that it lasts 3.2 seconds, the limit is 2.0");
  check("a.mp3", options, "is longer than the limit of 2.0 seconds");
  options = {};
  options.max_bytes = 1000;
  check("a.flac", options, "the limit is");
  options = {};
  options.max_streams = 2;
  check("three.mkv", options, "three.mkv");
  options = {};
  options.max_channels = 1;
  check("a.flac", options, "2 channels, the limit is 1");
}

TEST(Audio, HeaderOfManyHoursIsRefusedBeforeDecoding) {
  const test::TempFolder folder;
  const auto file = make_media(folder.path(), "a.flac", kStereo);
  std::string bytes = read_file(file);
  // STREAMINFO: 36 bits of the number of samples end at byte 26.
  bytes.replace(22, 4, std::string("\x3f\xff\xff\xff", 4));
  const std::string message = data_error([&] { decode_audio(bytes, "long.flac"); });
  EXPECT_NE(message.find("long.flac: says that it lasts"), std::string::npos) << message;
}

TEST(Audio, CutOffFilesAreErrors) {
  const test::TempFolder folder;
  make_kinds(folder, kStereo);
  for (const Kind& kind : kKinds) {
    // These formats do not say how long they are meant to be.
    if (kind.name == "raw.aac" || kind.name == "stream.mp3") continue;
    const std::string bytes = read_file(folder / kind.name);
    for (const double share : {0.0, 0.01, 0.3, 0.6, 0.9}) {
      const auto size = static_cast<size_t>(share * static_cast<double>(bytes.size()));
      const std::string message =
          data_error([&] { decode_audio(std::string_view(bytes).substr(0, size), "cut"); });
      EXPECT_TRUE(message.starts_with("cut: ")) << kind.name << " at " << share << ": " << message;
    }
  }
  AudioOptions options;
  options.accept_truncated = true;
  const std::string bytes = read_file(folder / "s16.wav");
  const Audio half =
      decode_audio(std::string_view(bytes).substr(0, bytes.size() / 2), "half", options);
  EXPECT_NEAR(half.seconds(), 3.217 / 2, 0.01);
}

TEST(Audio, StreamedWavWithoutALengthIsRead) {
  std::string bytes = wav_of(std::vector<int16_t>(8000, 100));
  for (const std::string_view size : {"\xff\xff\xff\xff", "\xf0\xff\xff\x7f"}) {
    bytes.replace(40, 4, size);
    EXPECT_EQ(decode_audio(bytes, "f").samples.size(), 8000u);
  }
}

TEST(Audio, RefusesWhatIsNotSound) {
  const auto refused = [](const std::string& bytes) {
    return data_error([&] { decode_audio(bytes, "f"); });
  };
  EXPECT_NE(refused("").find("zero bytes"), std::string::npos);
  EXPECT_NE(refused(std::string(5000, 'x')).find("f: cannot be read"), std::string::npos);
  EXPECT_NE(refused(wav_of({})).find("f: "), std::string::npos);
  const test::TempFolder folder;
  const auto video = make_media(folder.path(), "v.mp4", "testsrc=d=0.2:s=32x32");
  EXPECT_NE(data_error([&] { load_audio(video.string()); }).find("v.mp4: holds no sound"),
            std::string::npos);
  EXPECT_NE(data_error([&] { load_audio((folder / "no.wav").string()); }).find("no.wav"),
            std::string::npos);
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_NE(data_error([&] { load_audio((folder / "pipe").string()); }).find("not a regular file"),
            std::string::npos);
  EXPECT_NE(data_error([&] { load_audio("/dev/zero"); }).find("not a regular file"),
            std::string::npos);
}

// Each names a sound file that is there and could be read.
TEST(Audio, PlaylistsOpenNoOtherFile) {
  const test::TempFolder folder;
  const auto sound = make_media(folder.path(), "a.wav", kStereo).string();
  test::ffmpeg(folder.path(), "-i a.wav -c:a aac a.ts");
  for (const std::string& text :
       {"ffconcat version 1.0\nfile '" + sound + "'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:3.2,\n" + (folder / "a.ts").string() +
            "\n#EXT-X-ENDLIST\n",
        std::string("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
                    "m=audio 5004 RTP/AVP 0\n"),
        "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\"><Period>"
        "<AdaptationSet><Representation id=\"1\"><BaseURL>" +
            sound + "</BaseURL></Representation></AdaptationSet></Period></MPD>"}) {
    const auto file = folder / "list.m3u8";
    write_file_atomic(file, text);
    const std::string message = data_error([&] { load_audio(file.string()); });
    EXPECT_NE(message.find("list.m3u8: "), std::string::npos) << text;
  }
}

TEST(Audio, SamplesThatAreNoNumbersAreErrors) {
  const test::TempFolder folder;
  const auto file = make_media(folder.path(), "a.wav", "sine=d=1:r=16000", "-c:a pcm_f32le");
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    std::string bytes = read_file(file);
    std::memcpy(bytes.data() + bytes.size() - 32000, &bad, sizeof bad);
    const std::string message = data_error([&] { decode_audio(bytes, "a.wav"); });
    EXPECT_NE(message.find("near second 0.50 is not a finite number"), std::string::npos)
        << message;
  }
}

TEST(Audio, RatesAndChannelsOutOfReasonAreErrors) {
  for (const uint32_t rate : {0u, 1u, 999u, 768001u, 0x7fffffffu, 0xffffffffu}) {
    std::string bytes = wav_of(std::vector<int16_t>(16000, 1));
    std::memcpy(bytes.data() + 24, &rate, 4);
    EXPECT_THROW(decode_audio(bytes, "f"), DataError) << rate;
  }
  for (const uint16_t channels : {uint16_t{0}, uint16_t{65535}}) {
    std::string bytes = wav_of(std::vector<int16_t>(16000, 1));
    std::memcpy(bytes.data() + 22, &channels, 2);
    EXPECT_THROW(decode_audio(bytes, "f"), DataError) << channels;
  }
}

TEST(Audio, FfmpegTalksToTheLogOnly) {
  std::vector<std::string> lines;
  Context context;
  context.log_sink = [&](LogLevel level, std::string_view line) {
    EXPECT_EQ(level, LogLevel::kDebug);
    lines.emplace_back(line);
  };
  const test::TempFolder folder;
  const auto file = make_media(folder.path(), "a.m4a", kStereo);
  const std::string bytes = read_file(file).substr(0, 5000);
  CaptureStderr();
  EXPECT_THROW(decode_audio(bytes, "a.m4a", {}, context), DataError);
  EXPECT_THROW(decode_audio(bytes, "a.m4a"), DataError);  // nobody listens
  EXPECT_EQ(GetCapturedStderr(), "");
  ASSERT_FALSE(lines.empty());
  EXPECT_EQ(lines.front(), "FFmpeg: moov atom not found");
}

TEST(Audio, CancelStops) {
  const std::atomic<bool> cancel{true};
  Context context;
  context.cancel = &cancel;
  EXPECT_THROW(decode_audio(wav_of(std::vector<int16_t>(16000, 1)), "f", {}, context), Cancelled);
}

// Flipped bytes and cut ends: an error or a sound, never a crash or a hang.
TEST(Audio, DamagedFilesAreErrorsOrSounds) {
  const test::TempFolder folder;
  Random random(11);
  int64_t read = 0;
  int64_t refused = 0;
  AudioOptions options;
  options.max_seconds = 20;
  for (const Kind& kind : kKinds) {
    const auto file = make_media(folder.path(), kind.name, "sine=f=440:d=0.5:r=44100", kind.coding);
    const std::string whole = read_file(file);
    for (int i = 0; i < 25; ++i) {
      std::string bytes = whole;
      const uint64_t front =
          random.chance(0.5) ? std::min<uint64_t>(bytes.size(), 256) : bytes.size();
      for (uint64_t flips = random.below(4) + 1; flips > 0; --flips)
        bytes[random.below(front)] = static_cast<char>(random.below(256));
      if (random.chance(0.3)) bytes.resize(random.below(bytes.size()));
      options.accept_truncated = random.chance(0.5);
      try {
        const Audio audio = decode_audio(bytes, kind.name, options);
        ASSERT_FALSE(audio.samples.empty());
        ASSERT_LE(audio.seconds(), options.max_seconds + 1);
        ++read;
      } catch (const DataError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(read, 50);
  EXPECT_GT(refused, 50);
}

}  // namespace
}  // namespace parapet
