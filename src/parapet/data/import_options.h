// What an import is asked for, and what it made.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "parapet/core/options.h"

namespace parapet {

struct ImportOptions {
  std::string from;                 // visu | webdataset | csv
  std::vector<std::string> inputs;  // files; "shard-{000..010}.tar" is expanded
  std::string split = "train";      // of records that do not name one
  std::string images;               // folder that image values are relative to; empty = the file's
  // visu: image names by pattern, with {id}, {coco_id}, {coco_id:012} (zero-padded); empty = none.
  std::string safe_pattern;
  std::string unsafe_pattern;
  std::string columns;                 // csv: "text=caption,image=filepath"
  bool copy_images = false;            // webdataset: copy instead of referring to the input shards
  std::string on_bad_sample = "stop";  // stop | skip
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

struct ImportReport {
  int64_t quadruplets = 0;
  int64_t captions = 0;
  int64_t skipped = 0;  // reasons in quarantine.jsonl
};

}  // namespace parapet
