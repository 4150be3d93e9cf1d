#include "parapet/guard/request.h"

namespace parapet::guard {

std::string_view side_name(Side side) { return side == Side::kInput ? "input" : "output"; }

std::string_view modality_name(Modality modality) {
  switch (modality) {
    case Modality::kText:
      return "text";
    case Modality::kImage:
      return "image";
    case Modality::kJoint:
      break;
  }
  return "joint";
}

}  // namespace parapet::guard
