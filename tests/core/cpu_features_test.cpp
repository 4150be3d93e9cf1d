#include "parapet/core/cpu_features.h"

#include <gtest/gtest.h>

namespace parapet {
namespace {

struct Uncapped {
  ~Uncapped() { cap_cpu_features(CpuLevel::kAll); }
};

TEST(CpuFeatures, ACapTakesAwayWhatIsAboveIt) {
  const Uncapped after;
  const CpuFeatures machine = cpu_features();
  cap_cpu_features(CpuLevel::kVnni);
  EXPECT_EQ(cpu_features().int8_products(), machine.int8_products());
  EXPECT_FALSE(cpu_features().fast_bf16());
  EXPECT_FALSE(cpu_features().amx_int8);
  cap_cpu_features(CpuLevel::kAvx512);
  EXPECT_FALSE(cpu_features().int8_products());
  EXPECT_EQ(cpu_features().avx512f, machine.avx512f);
  cap_cpu_features(CpuLevel::kAvx2);
  EXPECT_FALSE(cpu_features().avx512f);
  EXPECT_EQ(cpu_features().avx2, machine.avx2);
  cap_cpu_features(CpuLevel::kBaseline);
  EXPECT_FALSE(cpu_features().avx2);
  EXPECT_FALSE(cpu_features().fma);
  cap_cpu_features(CpuLevel::kAll);
  EXPECT_EQ(cpu_features().fast_bf16(), machine.fast_bf16());
}

}  // namespace
}  // namespace parapet
