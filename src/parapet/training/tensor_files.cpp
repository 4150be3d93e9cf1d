#include "parapet/training/tensor_files.h"

#include <ATen/ATen.h>

#include <map>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/safetensors.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {
namespace {

// Empty when the stored tensor fits.
std::string mismatch(const std::string& name, const at::Tensor& tensor, const at::Tensor& stored) {
  if (stored.sizes() != tensor.sizes()) return "'" + name + "' has another shape";
  if (stored.scalar_type() != tensor.scalar_type()) return "'" + name + "' has another type";
  return "";
}

}  // namespace

void read_tensors(const std::filesystem::path& file, nn::NamedTensors& tensors) {
  const auto archive = TensorArchive::open(file);
  std::vector<std::string> problems;
  std::map<std::string, at::Tensor> stored;
  for (const auto& [name, view] : archive.tensors()) stored[name] = nn::to_tensor(view);
  std::set<std::string> wanted;
  for (const auto& [name, tensor] : tensors) {
    wanted.insert(name);
    const auto found = stored.find(name);
    if (found == stored.end())
      problems.push_back("'" + name + "' is missing");
    else if (auto problem = mismatch(name, tensor, found->second); !problem.empty())
      problems.push_back(problem);
  }
  for (const auto& [name, tensor] : stored)
    if (wanted.count(name) == 0) problems.push_back("'" + name + "' is unexpected");
  if (!problems.empty())
    throw DataError(file.string(), join(problems, ", "),
                    "The checkpoint belongs to another model or other options");
  const at::NoGradGuard no_grad;
  for (auto& [name, tensor] : tensors) tensor.copy_(stored.at(name));
}

}  // namespace parapet
