// What is wrong with the tensors of one file, collected so that one error names all of it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace parapet {

class TensorFindings {
 public:
  void add(const std::string& name, const std::string& problem);
  // DataError with the first problems and the number of the others; nothing where there are none.
  void throw_if_any(const std::filesystem::path& file) const;

 private:
  int64_t count_ = 0;
  std::string text_;
};

}  // namespace parapet
