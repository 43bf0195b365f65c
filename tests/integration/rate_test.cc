// --rate: what is read of a cluster, laid, and read of the repository in a second.
#include <chrono>

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

TEST(Rate, LimitsBackupRestoreAndVerify) {
  const RecoveryScene scene({.major = 15, .wal_segment_mib = 1});
  auto seconds_of = [](auto work) {
    const auto begun = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  };
  uint64_t bytes = 0;
  const double backing_up = seconds_of(
      [&] { bytes = scene.must({"--rate", "16MiB", "backup"}).at("backup").at("bytes").as_u64(); });
  // What a tenth of a second was not used for may come at once.
  const double least = static_cast<double>(bytes) / (16 << 20) - 0.2;
  EXPECT_GT(bytes, 20U << 20);
  EXPECT_GE(backing_up, least);
  EXPECT_GE(seconds_of([&] {
              scene.must({"--rate", "16MiB", "restore", "--into", scene.path("limited")});
            }),
            least);
  EXPECT_GE(seconds_of([&] { scene.must({"--rate", "6MiB", "verify", "--deep"}); }), 0.2);
  EXPECT_EQ(scene.run({"--rate", "fast", "backup"}).status.code, 2);
}

}  // namespace
}  // namespace holdfast::test
