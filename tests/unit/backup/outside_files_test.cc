#include "backup/outside_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "unit/backup/made_up_cluster.h"

namespace holdfast::backup {
namespace {

using test::BackupScene;
using test::MadeUpCluster;
using test::ReadBack;

class OutsideFilesTest : public testing::Test {
 protected:
  OutsideFiles keep(const std::vector<std::string>& paths) {
    repo::ExtentWriter extents = scene_.writer.make_worker();
    OwnerIndex owners(scene_.writer.manifest());
    OutsideFiles kept = keep_outside_files(paths, cluster_.root(), 8192, scene_.writer, extents,
                                           owners, scene_.reporter);
    scene_.writer.finish_worker(std::move(extents));
    return kept;
  }
  std::string put(const std::string& name, std::string_view content, mode_t mode = 0640) {
    std::string path = join_path(etc_.path(), name);
    write_file_durably(path, as_bytes(content), mode);
    return path;
  }

  TemporaryDirectory etc_;
  MadeUpCluster cluster_;
  BackupScene scene_;
};

TEST_F(OutsideFilesTest, KeepsFilesFromOutsideOnceEachWithModeAndOwner) {
  std::string main = put("postgresql.conf", "port = 5432\n", 0644);
  std::string hba = put("pg_hba.conf", "local all all peer\n");
  cluster_.put("postgresql.auto.conf", as_bytes("# inside\n"));
  OutsideFiles kept = keep({main, hba, cluster_.path("postgresql.auto.conf"), hba, ""});
  EXPECT_EQ(kept.kept, (std::vector<std::string>{hba, main}));
  EXPECT_TRUE(kept.unreadable.empty());
  ReadBack read = scene_.commit();
  ASSERT_EQ(read.order, kept.kept);
  const repo::ManifestEntry& entry = read.entries[main];
  EXPECT_EQ(entry.root, repo::ManifestRoot::kOutside);
  EXPECT_EQ(entry.mode, 0644u);
  EXPECT_EQ(as_text(scene_.content(entry)), "port = 5432\n");
  EXPECT_EQ(read.entries[hba].mode, 0640u);
}

TEST_F(OutsideFilesTest, TellsOfFilesThatCannotBeReadAndGoesOn) {
  std::string there = put("postgresql.conf", "x");
  std::string missing = join_path(etc_.path(), "pg_hba.conf");
  std::string pipe = join_path(etc_.path(), "pipe.conf");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  OutsideFiles kept = keep({there, missing, pipe});
  EXPECT_EQ(kept.kept, std::vector<std::string>{there});
  EXPECT_EQ(kept.unreadable, (std::vector<std::string>{missing, pipe}));
  std::vector<std::string> warnings = scene_.reporter.warnings();
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_EQ(warnings[0], "configuration file \"" + missing +
                             "\" could not be read and is not in the backup: No such file or "
                             "directory");
}

TEST_F(OutsideFilesTest, KeepsWhatALinkInsideTheDataDirectoryPointsTo) {
  std::string target = put("shared.conf", "work_mem = '64MB'\n");
  ASSERT_EQ(symlink(target.c_str(), cluster_.path("postgresql.conf").c_str()), 0);
  OutsideFiles kept = keep({cluster_.path("postgresql.conf")});
  EXPECT_EQ(kept.kept, std::vector<std::string>{target});
}

TEST_F(OutsideFilesTest, KnowsTheDataDirectoryByAnotherPath) {
  std::string link = join_path(etc_.path(), "data");
  ASSERT_EQ(symlink(cluster_.root().c_str(), link.c_str()), 0);
  cluster_.put("postgresql.conf", as_bytes("x"));
  OutsideFiles kept = keep({link + "/postgresql.conf"});
  EXPECT_TRUE(kept.kept.empty());
  EXPECT_TRUE(kept.unreadable.empty());
}

}  // namespace
}  // namespace holdfast::backup
