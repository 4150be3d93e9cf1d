// webdataset and img2dataset shards: an image with a caption in .txt, .caption or the JSON's
// "caption".
#include "parapet/core/strings.h"
#include "parapet/data/image_store.h"
#include "parapet/data/import_sink.h"
#include "parapet/data/shard_caption.h"
#include "parapet/formats/image.h"
#include "parapet/formats/tar.h"

namespace parapet::importing {
namespace {

// Consecutive members with one key.
struct Group {
  std::string key;
  std::map<std::string, std::string> parts;  // bytes by extension, lower case
  std::map<std::string, std::string> names;  // members by extension, as written
};

// Compressed shards cannot be read member by member later, so their images are copied.
bool must_copy(const std::string& shard, const ImportOptions& options) {
  return options.copy_images || !to_lower_ascii(shard).ends_with(".tar");
}

void add_group(const Group& group, const std::string& shard, ImageStore& store, Sink& sink) {
  const std::string place = shard + "#" + group.key;
  const std::string stem = std::filesystem::path(shard).filename().string();
  CaptionSample sample;
  sample.id = stem.substr(0, stem.find('.')) + "/" + group.key;
  try {
    ShardCaption caption = read_shard_caption(group.parts, place);
    const std::string& bytes = group.parts.at(caption.image);
    const std::string& name = group.names.at(caption.image);
    image_size(bytes, shard + "#" + name);
    sample.text = std::move(caption.text);
    sample.attributes = std::move(caption.attributes);
    sample.split = sink.options().split;
    if (must_copy(shard, sink.options())) {
      store.next_sample();
      std::string file = sample.id + "." + caption.image;
      std::replace(file.begin(), file.end(), '/', '_');
      sample.image = store.add(file, bytes);
    } else {
      sample.image = shard + "#" + name;
    }
    sink.add(std::move(sample), place);
  } catch (const DataError& error) {
    sink.bad(sample.id, error);
  }
}

}  // namespace

void import_webdataset(const std::vector<std::string>& shards, Sink& sink) {
  ImageStore store(sink.folder(), ImageStore::Format::kFolder, "import");
  for (const auto& shard : shards) {
    sink.check_cancelled();
    TarReader reader(shard);
    TarMember member;
    Group group;
    const auto flush = [&] {
      if (!group.parts.empty()) add_group(group, shard, store, sink);
      group = {};
    };
    while (reader.next(member)) {
      auto [key, extension] = split_member_name(member.name);
      if (key != group.key) flush();
      group.key = key;
      group.parts[extension] = std::move(member.bytes);
      group.names[extension] = std::move(member.name);
      member = {};
    }
    flush();
  }
  store.finish();
}

}  // namespace parapet::importing
