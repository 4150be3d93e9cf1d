#include "parapet/engine/openvino/openvino_program.h"

#include <ATen/ATen.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <fstream>
#include <mutex>
#include <openvino/openvino.hpp>
#include <optional>
#include <sstream>
#include <thread>

#include "parapet/core/error.h"
#include "parapet/core/file_draft.h"
#include "parapet/core/files.h"
#include "parapet/core/memory.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMark = "PARAPET-OPENVINO-2\n";
constexpr const char* kExtension = ".ovblob";
constexpr size_t kKeptGraphs = 16;  // two per CLIP model

ov::Core& core() {
  static ov::Core instance;
  return instance;
}

ov::AnyMap properties(const OpenVinoSettings& settings) {
  const int64_t all = std::max(1u, std::thread::hardware_concurrency());
  return {ov::hint::inference_precision(settings.bf16 ? ov::element::bf16 : ov::element::f32),
          ov::inference_num_threads(
              static_cast<int32_t>(settings.threads > 0 ? settings.threads : all)),
          ov::num_streams(static_cast<int32_t>(std::max<int64_t>(1, settings.streams))),
          // Decoding and serving threads share the cores: a pinned worker would wait behind them.
          ov::hint::enable_cpu_pinning(false)};
}

std::string cache_key(const std::string& key, const OpenVinoSettings& settings) {
  std::ostringstream text;
  text << key << '|' << openvino_version() << '|'
       << core().get_property("CPU", ov::device::full_name) << '|';
  for (const auto& capability : core().get_property("CPU", ov::device::capabilities))
    text << capability << ',';
  text << '|' << settings.bf16 << '|' << settings.threads << '|' << settings.streams;
  return sha256_hex(text.str());
}

// A kept graph and the file that its weights lie in.
struct KeptGraph {
  std::shared_ptr<const MappedFile> file;
  ov::CompiledModel compiled;
};

// A file is the graph as OpenVINO wrote it, the SHA-256 of that, and the mark. Nothing when there
// is no such file.
std::optional<KeptGraph> read_cached(const fs::path& file, const ov::AnyMap& config,
                                     const Context& context) {
  if (!fs::exists(file)) return std::nullopt;
  try {
    const auto map = MappedFile::open(file);
    const std::string_view bytes(reinterpret_cast<const char*>(map->bytes().data()),
                                 map->bytes().size());
    const size_t tail = 64 + kMark.size();
    if (bytes.size() < tail || !bytes.ends_with(kMark))
      throw DataError(file.string(), "is damaged");
    const std::string_view graph = bytes.substr(0, bytes.size() - tail);
    if (bytes.substr(graph.size(), 64) != sha256_hex(graph))
      throw DataError(file.string(), "is damaged");
    const ov::Tensor blob(ov::element::u8, ov::Shape{graph.size()}, map->bytes().data());
    KeptGraph kept{map, core().import_model(blob, "CPU", config)};
    std::error_code ignored;  // a folder that only others may write to
    fs::last_write_time(file, fs::file_time_type::clock::now(), ignored);
    return kept;
  } catch (const std::exception& error) {
    context.warn(std::string("compiled graph ") + file.string() +
                 " cannot be used and is made anew: " + error.what());
    return std::nullopt;
  }
}

// Graphs of models, settings and versions that are no longer used go, the longest unused first.
void drop_oldest(const fs::path& folder) {
  std::vector<std::pair<fs::file_time_type, fs::path>> kept;
  std::error_code ignored;  // another process may tidy up too
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().extension() == kExtension)
      kept.emplace_back(entry.last_write_time(ignored), entry.path());
  std::sort(kept.rbegin(), kept.rend());
  for (size_t i = kKeptGraphs; i < kept.size(); ++i) fs::remove(kept[i].second, ignored);
}

// Written to its place and not gathered in memory first: graphs are as large as their model, and
// OpenVINO seeks in what it writes.
bool write_cached(const fs::path& file, ov::CompiledModel& compiled, const Context& context) {
  try {
    fs::create_directories(file.parent_path());
    FileDraft draft(file);
    std::ofstream out;
    out.exceptions(std::ios::failbit | std::ios::badbit);
    out.open(draft.path(), std::ios::binary);
    compiled.export_model(out);
    out.close();
    const std::string hash = sha256_file(draft.path());
    out.open(draft.path(), std::ios::binary | std::ios::app);
    out << hash << kMark;
    out.close();
    draft.commit();
    drop_oldest(file.parent_path());
    return true;
  } catch (const std::exception& error) {
    context.warn(std::string("compiled graph is not kept: ") + error.what());
    return false;
  }
}

ov::element::Type element_of(at::ScalarType type) {
  switch (type) {
    case at::kByte:
      return ov::element::u8;
    case at::kInt:
      return ov::element::i32;
    case at::kFloat:
      return ov::element::f32;
    default:
      throw Error(ErrorKind::kInternal, "OpenVinoProgram: tensor type " +
                                            std::string(c10::toString(type)) + " is not passed on");
  }
}

// Inputs and outputs as float32, whatever the file says: float16, bytes, ...
std::shared_ptr<ov::Model> with_float_ports(const std::shared_ptr<ov::Model>& model) {
  ov::preprocess::PrePostProcessor ports(model);
  for (size_t i = 0; i < model->inputs().size(); ++i)
    ports.input(i).tensor().set_element_type(ov::element::f32);
  for (size_t i = 0; i < model->outputs().size(); ++i)
    ports.output(i).tensor().set_element_type(ov::element::f32);
  return ports.build();
}

std::vector<OpenVinoPort> ports(const std::vector<ov::Output<const ov::Node>>& outputs) {
  std::vector<OpenVinoPort> result;
  for (const auto& output : outputs) {
    OpenVinoPort port;
    if (!output.get_names().empty()) port.name = output.get_any_name();
    for (const auto& dimension : output.get_partial_shape())
      port.shape.push_back(dimension.is_static() ? dimension.get_length() : -1);
    result.push_back(std::move(port));
  }
  return result;
}

}  // namespace

struct OpenVinoProgram::Impl {
  std::shared_ptr<const MappedFile> file;  // of a kept graph; outlives it
  ov::CompiledModel compiled;
  std::mutex mutex;
  std::vector<ov::InferRequest> idle;
  int64_t runs = 0;

  // Kernels copy weights into a layout of their own when inputs of a new shape come first: after
  // that, pages of the file are only in the way. Should they be needed again, they are read again.
  void drop_pages() const {
    if (file) ::madvise(file->bytes().data(), file->bytes().size(), MADV_DONTNEED);
  }

  ov::InferRequest take() {
    std::lock_guard lock(mutex);
    if (idle.empty()) return compiled.create_infer_request();
    ov::InferRequest request = std::move(idle.back());
    idle.pop_back();
    return request;
  }
  void give(ov::InferRequest request) {
    bool settle = false;
    {
      std::lock_guard lock(mutex);
      idle.push_back(std::move(request));
      settle = file && std::has_single_bit(static_cast<uint64_t>(++runs));
    }
    if (!settle) return;
    drop_pages();
    return_freed_memory();
  }
};

OpenVinoProgram::OpenVinoProgram(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {
  inputs_ = ports(impl_->compiled.inputs());
  outputs_ = ports(impl_->compiled.outputs());
  streams_ = impl_->compiled.get_property(ov::num_streams);
}

OpenVinoProgram::~OpenVinoProgram() = default;

std::unique_ptr<OpenVinoProgram> OpenVinoProgram::compile(const Build& build,
                                                          const std::string& key,
                                                          const OpenVinoSettings& settings,
                                                          const Context& context) {
  const auto start = std::chrono::steady_clock::now();
  const ov::AnyMap config = properties(settings);
  fs::path file;
  if (!settings.cache_dir.empty())
    file = settings.cache_dir / (cache_key(key, settings).substr(0, 40) + kExtension);
  auto impl = std::make_unique<Impl>();
  const auto take = [&] {
    auto kept = file.empty() ? std::nullopt : read_cached(file, config, context);
    if (kept) impl->file = kept->file, impl->compiled = kept->compiled;
    return kept.has_value();
  };
  const bool cached = take();
  if (!cached) {
    impl->compiled = core().compile_model(build(), "CPU", config);
    // Read back: what was compiled from memory holds all weights twice.
    if (!file.empty() && write_cached(file, impl->compiled, context)) {
      impl->compiled = {};
      return_freed_memory();
      if (!take()) impl->compiled = core().compile_model(build(), "CPU", config);
    }
  }
  impl->drop_pages();
  std::unique_ptr<OpenVinoProgram> program(new OpenVinoProgram(std::move(impl)));
  program->from_cache_ = cached;
  program->load_seconds_ =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return program;
}

std::unique_ptr<OpenVinoProgram> OpenVinoProgram::load_onnx(const fs::path& file,
                                                            const OpenVinoSettings& settings) {
  if (!fs::is_regular_file(file)) throw DataError(file.string(), "is not there", "Check the path.");
  auto impl = std::make_unique<Impl>();
  try {
    impl->compiled = core().compile_model(with_float_ports(core().read_model(file.string())), "CPU",
                                          properties(settings));
  } catch (const ov::Exception& error) {
    throw DataError(file.string(), std::string("OpenVINO cannot read it: ") + error.what());
  }
  return std::unique_ptr<OpenVinoProgram>(new OpenVinoProgram(std::move(impl)));
}

namespace {

void set_inputs(ov::InferRequest& request, const std::vector<at::Tensor>& inputs) {
  for (size_t i = 0; i < inputs.size(); ++i) {
    const at::Tensor& x = inputs[i];
    const ov::Shape shape(x.sizes().begin(), x.sizes().end());
    try {
      request.set_input_tensor(i, ov::Tensor(element_of(x.scalar_type()), shape, x.data_ptr()));
    } catch (const ov::Exception& error) {
      throw DataError("input " + std::to_string(i), error.what());
    }
  }
}

std::vector<at::Tensor> results(ov::InferRequest& request, size_t count) {
  std::vector<at::Tensor> out;
  for (size_t i = 0; i < count; ++i) {
    const ov::Tensor tensor = request.get_output_tensor(i);
    if (tensor.get_element_type() != ov::element::f32)
      throw Error(ErrorKind::kInternal, "OpenVinoProgram: output is not float32");
    const ov::Shape shape = tensor.get_shape();
    at::Tensor copy = at::empty(std::vector<int64_t>(shape.begin(), shape.end()), at::kFloat);
    std::memcpy(copy.data_ptr(), tensor.data(), tensor.get_byte_size());
    out.push_back(std::move(copy));
  }
  return out;
}

}  // namespace

std::vector<at::Tensor> OpenVinoProgram::run(const std::vector<at::Tensor>& inputs) const {
  ov::InferRequest request = impl_->take();
  set_inputs(request, inputs);
  request.infer();
  auto out = results(request, outputs_.size());
  impl_->give(std::move(request));
  return out;
}

std::vector<at::Tensor> OpenVinoProgram::run_rows(const std::vector<at::Tensor>& inputs) const {
  const int64_t rows = inputs.front().size(0);
  const int64_t parts = std::min(rows, streams_);
  if (parts <= 1) return run(inputs);
  std::vector<ov::InferRequest> requests;
  for (int64_t part = 0; part < parts; ++part) {
    const int64_t begin = rows * part / parts, end = rows * (part + 1) / parts;
    std::vector<at::Tensor> slices;
    for (const at::Tensor& input : inputs) slices.push_back(input.slice(0, begin, end));
    requests.push_back(impl_->take());
    set_inputs(requests.back(), slices);
    requests.back().start_async();
  }
  // All must end before an error leaves: they read the caller's memory.
  std::exception_ptr failure;
  for (auto& request : requests) {
    try {
      request.wait();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  std::vector<std::vector<at::Tensor>> pieces(outputs_.size());
  for (auto& request : requests) {
    auto part = results(request, outputs_.size());
    for (size_t i = 0; i < part.size(); ++i) pieces[i].push_back(std::move(part[i]));
    impl_->give(std::move(request));
  }
  std::vector<at::Tensor> out;
  for (const auto& piece : pieces) out.push_back(at::cat(piece));
  return out;
}

std::string openvino_version() { return ov::get_openvino_version().buildNumber; }

}  // namespace parapet
