#include "base/containment.h"

#include <filesystem>
#include <sys/mount.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "support/error_of.h"

namespace holdfast {
namespace {

TEST(LiesBelow, TellsByWhateverPath) {
  const TemporaryDirectory root;
  const auto path = [&](const char* name) { return join_path(root.path(), name); };
  make_directories(path("data/deep/repo"));
  make_directories(path("data2/repo"));
  std::filesystem::create_directory_symlink(path("data"), path("link"));
  std::filesystem::create_directory_symlink(path("data/deep/repo"), path("repo"));
  const struct {
    const char* file;
    const char* directory;
    bool is_below;
  } cases[] = {{"data", "data", true},
               {"data/deep/repo", "data", true},
               {"data/deep/repo", "link", true},
               {"link/deep/repo", "data", true},
               {"repo", "data", true},
               {"repo/not/there/yet", "data/deep", true},
               {"data2/repo", "data", false},
               {"data", "data/deep", false},
               {"data/deep/repo", "absent", false}};
  for (const auto& c : cases)
    EXPECT_EQ(lies_below(path(c.file), path(c.directory)), c.is_below)
        << c.file << " in " << c.directory;
}

// A process with threads cannot enter a user namespace (unshare(2)), so this binary is started
// again in one, as who is root there, for this test alone.
TEST(LiesBelow, FollowsWhatIsMountedTwice) {
  constexpr const char* kIsMounted = "HOLDFAST_TEST_IS_MOUNTED";
  if (getenv(kIsMounted) != nullptr) {
    EXPECT_TRUE(lies_below("elsewhere/repo", "data"));  // a mount below the directory shows it
    EXPECT_TRUE(lies_below("data/mounted/repo", "data"));
    EXPECT_TRUE(lies_below("seen/repo", "data"));  // a part of the directory is mounted elsewhere
    EXPECT_FALSE(lies_below("elsewhere/repo", "data/inner"));
    return;
  }
  const TemporaryDirectory root;
  for (const char* name : {"data/mounted", "data/inner/repo", "elsewhere/repo", "seen"})
    make_directories(join_path(root.path(), name));
  const Captured ran =
      run({.arguments = {"unshare", "--map-root-user", "--mount", "sh", "-c",
                         "mount --bind elsewhere data/mounted && mount --bind data/inner seen && "
                         "exec env $2=1 \"$1\" --gtest_filter=LiesBelow.FollowsWhatIsMountedTwice",
                         "sh", program_path(), kIsMounted},
           .directory = root.path()});
  EXPECT_TRUE(ran.status.ok()) << ran.out << ran.err;
  EXPECT_NE(ran.out.find("[  PASSED  ] 1 test"), std::string::npos) << ran.out;
}

TEST(MountPoint, IsThatOfWhereThePathLiesOrWouldLie) {
  EXPECT_EQ(mount_point_of("/proc/self/status"), "/proc");
  EXPECT_EQ(mount_point_of("/proc/no/such/thing"), "/proc");
  EXPECT_EQ(mount_point_of("/"), "/");
  EXPECT_FALSE(is_unmounted("/proc/self", "/proc"));
  EXPECT_TRUE(is_unmounted("/proc/self", "/proc/self"));
  EXPECT_TRUE(is_unmounted("/no-such-directory/data", "/no-such-directory"));
  // On a disk of its own by now, or on one of which nothing was known.
  EXPECT_FALSE(is_unmounted("/proc/self", "/"));
  EXPECT_FALSE(is_unmounted("/proc/self", "/mnt"));
  EXPECT_FALSE(is_unmounted("/proc/self", ""));
}

TEST(RequireApart, NamesWhatLiesThere) {
  const TemporaryDirectory root;
  make_directory(join_path(root.path(), "repo"));
  const Error refused = test::error_of([&] {
    require_apart({{.what = "the key file", .path = ""},
                   {.what = "the repository", .path = join_path(root.path(), "repo")}},
                  {root.path()}, "cleared");
  });
  EXPECT_EQ(refused.code(), ErrorCode::kUsage);
  EXPECT_EQ(refused.message(),
            "the repository lies in \"" + root.path() + "\", which would be cleared");
  require_apart({{.what = "the repository", .path = "s3://bucket/x"}}, {root.path()}, "cleared");
}

}  // namespace
}  // namespace holdfast
