// Which class reads which Hugging Face folder.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/models/model.h"

namespace parapet {

// Every family there is, in registry.cpp.
const std::vector<ModelFamily>& model_families();

// The family of a folder, by its config.json. DataError names the file, the model_type, those that
// are known and the closest.
const ModelFamily& model_family(const std::filesystem::path& folder);

// DataError unless the folder is of the family `name`; `purpose` says what needs that ("embedding
// images and texts").
void require_family(const std::filesystem::path& folder, std::string_view name,
                    std::string_view purpose);

// A model of any family.
std::unique_ptr<Model> load_model(const std::filesystem::path& folder,
                                  const LoadModelOptions& options = {});

}  // namespace parapet
