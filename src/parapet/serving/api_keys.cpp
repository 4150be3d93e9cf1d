#include "parapet/serving/api_keys.h"

#include <openssl/crypto.h>

#include <sstream>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/options.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"

namespace parapet::serving {
namespace {

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

ApiKeys ApiKeys::parse(std::string_view text, std::string_view source) {
  ApiKeys result;
  Problems problems;
  int64_t number = 0;
  for (const auto& line : split(std::string(text), '\n')) {
    const std::string where = std::string(source) + ":" + std::to_string(++number);
    std::istringstream words(line.substr(0, line.find('#')));
    ApiKey key;
    std::string extra;
    if (!(words >> key.name)) continue;
    words >> key.sha256 >> key.tenant;
    key.sha256 = to_lower_ascii(key.sha256);
    if (!is_sha256(key.sha256) || words >> extra) {
      problems.add(where +
                   ": must be NAME SHA256 [TENANT], with the SHA-256 of the key as 64 "
                   "hexadecimal digits");
      continue;
    }
    result.keys_.push_back(std::move(key));
  }
  if (result.keys_.empty()) problems.add(std::string(source) + ": holds no key");
  problems.throw_if_any("API keys");
  return result;
}

ApiKeys ApiKeys::load(const std::filesystem::path& file) {
  try {
    return parse(read_text_file(file, 1 << 20), file.string());
  } catch (const DataError& error) {
    throw UsageError(std::string("--api-keys: ") + error.what());
  }
}

const ApiKey* ApiKeys::find(std::string_view presented) const {
  const std::string hash = sha256_hex(presented);
  const ApiKey* found = nullptr;
  for (const ApiKey& key : keys_)
    if (CRYPTO_memcmp(hash.data(), key.sha256.data(), hash.size()) == 0) found = &key;
  return found;
}

}  // namespace parapet::serving
