// Internal: what the dialects share.
#pragma once
#include <string>

#include "parapet/serving/dialects.h"
#include "parapet/serving/json_body.h"

namespace parapet::serving {

// id, side, profile, tenant, deadline_ms, modify, explain, metadata.
void read_options(Fields& fields, guard::GuardRequest& input, RequestOptions& options);

// {"type": "text", "text": ...}, {"type": "image_url", "image_url": {"url": ...}} and ours,
// {"type": "image", "data": base64}. `path` names it in errors and becomes its label.
guard::Part read_part(const nlohmann::json& value, const std::string& path,
                      std::vector<std::string>& unknown);

// Base64 without a scheme, or a URL. What is wrong with either is the guard's to report: such an
// image was not scanned.
guard::Part image_part(std::string value, std::string label);

}  // namespace parapet::serving
