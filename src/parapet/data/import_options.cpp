#include "parapet/data/import_options.h"

namespace parapet {

void ImportOptions::visit(OptionList& list) {
  list.require("from", from, "layout of the input: visu, webdataset or csv").choices = {
      "visu", "webdataset", "csv"};
  list.require("input", inputs, "input files; shard-{000..010}.tar stands for eleven shards");
  list.add("split", split, "split of records that do not name one");
  list.add("images", images, "folder that image names are relative to; default: the input's");
  list.add("safe-pattern", safe_pattern,
           "visu: safe image names with {id}, {coco_id}, {coco_id:012}; default: texts only");
  list.add("unsafe-pattern", unsafe_pattern, "visu: unsafe image names, likewise");
  list.add("columns", columns, "csv: field=column pairs, e.g. text=caption,image=filepath");
  list.add("copy-images", copy_images, "webdataset: copy images instead of naming the shards");
  list.add("on-bad-sample", on_bad_sample, "stop, or skip into quarantine.jsonl", {"stop", "skip"});
}

void ImportOptions::validate(Problems& problems) const {
  problems.require(from == "visu" || from == "webdataset" || from == "csv", "from",
                   "must be visu, webdataset or csv, not '" + from + "'");
  problems.require(!inputs.empty(), "input", "must name at least one file");
  problems.require(!split.empty(), "split", "must not be empty");
  problems.require(safe_pattern.empty() == unsafe_pattern.empty(), "safe-pattern",
                   "give both patterns or neither");
  problems.require(on_bad_sample == "stop" || on_bad_sample == "skip", "on-bad-sample",
                   "must be stop or skip");
}

}  // namespace parapet
