// An image with a caption as webdataset and img2dataset keep it: a picture beside .txt, .caption or
// the "caption" of a .json.
#pragma once
#include <map>
#include <string>

namespace parapet {

struct ShardCaption {
  std::string image;  // extension of the picture's part
  std::string text;
  std::map<std::string, std::string> attributes;  // url, license, sha256 where the JSON has them
};

// `parts`: extension -> bytes, as in ShardSample; `place` names the sample in errors. DataError: no
// picture, no caption, JSON that is none.
ShardCaption read_shard_caption(const std::map<std::string, std::string>& parts,
                                const std::string& place);

}  // namespace parapet
