// What a call complains about.
#pragma once
#include <string>

#include "parapet/core/error.h"

namespace parapet {

// The message of the DataError that `fn` throws; empty when it throws none.
template <class Fn>
std::string data_error(Fn&& fn) {
  try {
    fn();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

}  // namespace parapet
