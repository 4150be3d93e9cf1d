#include "parapet/core/error.h"

#include <gtest/gtest.h>

namespace parapet {
namespace {

TEST(Error, EveryKindHasItsExitCode) {
  EXPECT_EQ(Error(ErrorKind::kInternal, "x").exit_code(), 1);
  EXPECT_EQ(UsageError("x").exit_code(), 2);
  EXPECT_EQ(DataError("f", "x").exit_code(), 3);
  EXPECT_EQ(CheckFailed("x").exit_code(), 4);
  EXPECT_EQ(Cancelled("x").exit_code(), 130);
}

TEST(Error, DataErrorNamesSourceProblemAndHint) {
  const DataError error("a.json:3", "field 'x' is missing", "Add it.");
  EXPECT_STREQ(error.what(), "a.json:3: field 'x' is missing. Add it.");
  EXPECT_EQ(error.source(), "a.json:3");
  EXPECT_EQ(error.problem(), "field 'x' is missing");
  EXPECT_STREQ(DataError("f", "bad").what(), "f: bad");
}

}  // namespace
}  // namespace parapet
