#include "parapet/guard/ocr.h"

#include <dlfcn.h>
#include <tesseract/baseapi.h>
#include <tesseract/ocrclass.h>
#include <tesseract/resultiterator.h>

#include <algorithm>
#include <mutex>

#include "parapet/core/error.h"
#include "parapet/core/utf8.h"
#include "parapet/guard/fold.h"

namespace parapet::guard {
namespace {

constexpr int64_t kMaxSide = 2400;  // larger pictures are made smaller before reading

// Tesseract's loops gain nothing from several threads on small pictures and fight over the cores.
// The OpenMP runtime is the one torch brought; the setting is the calling thread's own.
class OneThread {
 public:
  OneThread() {
    static const auto get =
        reinterpret_cast<int (*)()>(::dlsym(RTLD_DEFAULT, "omp_get_max_threads"));
    static const auto set =
        reinterpret_cast<void (*)(int)>(::dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
    if (get == nullptr || set == nullptr) return;
    set_ = set;
    before_ = get();
    set_(1);
  }
  ~OneThread() {
    if (set_ != nullptr) set_(before_);
  }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  void (*set_)(int) = nullptr;
  int before_ = 1;
};

using Engine = std::unique_ptr<tesseract::TessBaseAPI>;

Engine make_engine(const OcrOptions& options) {
  auto engine = std::make_unique<tesseract::TessBaseAPI>();
  const std::string data = options.data.string();
  // Before Init, or tesseract prints to stderr.
  engine->SetVariable("debug_file", "/dev/null");
  if (engine->Init(data.empty() ? nullptr : data.c_str(), options.languages.c_str(),
                   tesseract::OEM_LSTM_ONLY) != 0)
    throw UsageError("[ocr] languages = '" + options.languages +
                     "': the data of a language is not installed. Install tesseract-ocr-<language> "
                     "or name its folder in 'data'.");
  engine->SetVariable("debug_file", "/dev/null");
  engine->SetPageSegMode(tesseract::PSM_SPARSE_TEXT);
  return engine;
}

// Letters of words that are no noise: three or more of them.
size_t letters_in(const OcrText& text) {
  size_t letters = 0;
  for (const OcrWord& word : text.words) {
    size_t count = 0;
    for (size_t at = word.begin; at < word.end;) count += is_letter(next_code_point(text.text, at));
    if (count >= 3) letters += count;
  }
  return letters;
}

bool is_readable(const OcrText& text) { return letters_in(text) >= 4; }

// By quarters of a turn, clockwise.
Image turn(const Image& page, int quarters) {
  const int64_t width = page.width, height = page.height;
  Image out{quarters == 2 ? width : height, quarters == 2 ? height : width, {}};
  out.rgb.resize(page.rgb.size());
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x) {
      const int64_t to_x = quarters == 1 ? height - 1 - y : quarters == 2 ? width - 1 - x : y;
      const int64_t to_y = quarters == 1 ? x : quarters == 2 ? height - 1 - y : width - 1 - x;
      for (int64_t c = 0; c < 3; ++c)
        out.rgb[static_cast<size_t>((to_y * out.width + to_x) * 3 + c)] =
            page.rgb[static_cast<size_t>((y * width + x) * 3 + c)];
    }
  return out;
}

// The box of a word of the turned page, on the page of `width` x `height` as it was.
void turn_back(OcrWord& word, int quarters, int64_t width, int64_t height) {
  const OcrWord at = word;
  if (quarters == 2) {
    word.left = width - at.left - at.width;
    word.top = height - at.top - at.height;
  } else {
    word.left = quarters == 1 ? at.top : width - at.top - at.height;
    word.top = quarters == 1 ? height - at.left - at.width : at.left;
    word.width = at.height;
    word.height = at.width;
  }
  word.left = std::max<int64_t>(0, word.left);
  word.top = std::max<int64_t>(0, word.top);
}

void append(OcrText& text, const OcrText& more) {
  if (!text.text.empty()) text.text += '\n';
  for (OcrWord word : more.words) {
    word.begin += text.text.size();
    word.end += text.text.size();
    text.words.push_back(word);
  }
  text.text += more.text;
}

}  // namespace

struct Ocr::Impl {
  OcrOptions options;
  std::mutex mutex;
  std::vector<Engine> idle;

  Engine take() {
    {
      const std::lock_guard lock(mutex);
      if (!idle.empty()) {
        Engine engine = std::move(idle.back());
        idle.pop_back();
        return engine;
      }
    }
    return make_engine(options);
  }
  void give_back(Engine engine) {
    engine->Clear();
    const std::lock_guard lock(mutex);
    idle.push_back(std::move(engine));
  }
  OcrText words_of(tesseract::TessBaseAPI& engine, double scale) const;
  OcrText recognise(tesseract::TessBaseAPI& engine, const Image& page, double scale,
                    const std::optional<Clock::time_point>& deadline) const;
};

Ocr::Ocr(const OcrOptions& options) : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  impl_->idle.push_back(make_engine(options));
}

Ocr::~Ocr() = default;

std::string Ocr::version() { return tesseract::TessBaseAPI::Version(); }

OcrText Ocr::Impl::words_of(tesseract::TessBaseAPI& engine, double scale) const {
  OcrText result;
  const std::unique_ptr<tesseract::ResultIterator> it(engine.GetIterator());
  if (!it) return result;
  bool new_line = false;
  do {
    const std::unique_ptr<char[]> word(it->GetUTF8Text(tesseract::RIL_WORD));
    const bool line_ends = it->IsAtFinalElement(tesseract::RIL_TEXTLINE, tesseract::RIL_WORD);
    if (word && word[0] != '\0' && it->Confidence(tesseract::RIL_WORD) >= options.min_confidence) {
      if (!result.text.empty()) result.text += new_line ? '\n' : ' ';
      new_line = false;
      int left = 0, top = 0, right = 0, bottom = 0;
      it->BoundingBox(tesseract::RIL_WORD, &left, &top, &right, &bottom);
      OcrWord one;
      one.begin = result.text.size();
      std::string storage;
      result.text += repair_utf8(word.get(), storage);
      one.end = result.text.size();
      one.left = static_cast<int64_t>(left / scale);
      one.top = static_cast<int64_t>(top / scale);
      one.width = static_cast<int64_t>((right - left) / scale) + 1;
      one.height = static_cast<int64_t>((bottom - top) / scale) + 1;
      one.confidence = it->Confidence(tesseract::RIL_WORD);
      result.words.push_back(one);
    }
    new_line = new_line || line_ends;
  } while (it->Next(tesseract::RIL_WORD));
  return result;
}

OcrText Ocr::Impl::recognise(tesseract::TessBaseAPI& engine, const Image& page, double scale,
                             const std::optional<Clock::time_point>& deadline) const {
  engine.SetImage(page.rgb.data(), static_cast<int>(page.width), static_cast<int>(page.height), 3,
                  static_cast<int>(page.width * 3));
  engine.SetSourceResolution(150);
  tesseract::ETEXT_DESC monitor;
  if (deadline) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(*deadline - Clock::now()).count();
    monitor.set_deadline_msecs(static_cast<int32_t>(std::clamp<int64_t>(left, 1, 1 << 30)));
  }
  if (engine.Recognize(&monitor) == 0) return words_of(engine, scale);
  if (!deadline || Clock::now() < *deadline) throw DataError("ocr", "the engine failed");
  OcrText late;
  late.in_time = false;
  return late;
}

OcrText Ocr::read(const Image& image, const std::optional<Clock::time_point>& deadline) {
  if (image.rgb.empty()) throw DataError("ocr", "the image has no pixels");
  const int64_t small = std::min(image.width, image.height);
  const int64_t large = std::max(image.width, image.height);
  double scale = 1;
  if (small < impl_->options.min_side)
    scale = static_cast<double>(impl_->options.min_side) / static_cast<double>(small);
  if (static_cast<double>(large) * scale > static_cast<double>(kMaxSide))
    scale = static_cast<double>(kMaxSide) / static_cast<double>(large);
  const auto scaled = [&](int64_t side) {
    return std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(side) * scale));
  };
  const Image resized =
      scale == 1 ? Image() : resize_bicubic(image, scaled(image.width), scaled(image.height));
  const Image& page = scale == 1 ? image : resized;
  const OneThread one_thread;
  Engine engine = impl_->take();
  OcrText result = impl_->recognise(*engine, page, scale, deadline);
  // Upright text would be readable; what was drawn turned is looked for only where none was.
  OcrText turned;
  for (int quarters = 1; quarters < 4 && result.in_time && !is_readable(result); ++quarters) {
    OcrText one = impl_->recognise(*engine, turn(page, quarters), scale, deadline);
    result.in_time = one.in_time;
    for (OcrWord& word : one.words) turn_back(word, quarters, image.width, image.height);
    if (is_readable(one) && letters_in(one) > letters_in(turned)) turned = std::move(one);
  }
  if (result.in_time && !turned.words.empty()) append(result, turned);
  impl_->give_back(std::move(engine));
  return result;
}

}  // namespace parapet::guard
