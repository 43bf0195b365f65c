#include "backup/configuration.h"

#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "unit/backup/made_up_cluster.h"

namespace holdfast::backup {
namespace {

using Link = repo::Configuration::Link;
using Paths = std::vector<std::string>;

class ConfigurationFilesTest : public testing::Test {
 protected:
  ConfigurationFilesTest() {
    facts_.data_directory = cluster_.root();
    facts_.config_file = etc("my.conf");
    facts_.hba_file = etc("who");
    facts_.ident_file = cluster_.path("pg_ident.conf");
    put(etc("my.conf"), "include_dir 'empty.d'\ninclude 'silent'\n");
    put(etc("silent"), "# nothing is set here\n");
    put(etc("who"), "local all @admins trust\n");
    put(etc("admins"), "anna\n");
    make_directory(etc("empty.d"));
    cluster_.put("pg_ident.conf", {});
    cluster_.put("postgresql.auto.conf", {});
  }
  std::string etc(const std::string& name) const { return join_path(etc_.path(), name); }
  static void put(const std::string& path, std::string_view text) {
    write_file_durably(path, as_bytes(text));
  }
  bool link(ConfigurationFiles& files, const std::string& path, const std::string& target) {
    EXPECT_EQ(symlink(target.c_str(), cluster_.path(path).c_str()), 0);
    return files.take_link(path, target);
  }

  TemporaryDirectory etc_;
  test::MadeUpCluster cluster_;
  cluster::ServerFacts facts_;
};

TEST_F(ConfigurationFilesTest, AreAllThatTheThreeFilesNameByRoleAndPath) {
  facts_.archive_mode = cluster::ArchiveMode::kOn;
  facts_.archive_command = "push";
  facts_.in_recovery = true;
  facts_.command_line = {{"work_mem", "7168"}};
  const ConfigurationFiles files(facts_, cluster_.root());
  const Paths paths = files.paths();
  for (const char* name : {"my.conf", "silent", "who", "admins"})
    EXPECT_NE(std::ranges::find(paths, etc(name)), paths.end()) << name;
  const repo::Configuration configuration = files.describe();
  EXPECT_EQ(configuration.config_file, etc("my.conf"));
  EXPECT_EQ(configuration.hba_file, etc("who"));
  EXPECT_EQ(configuration.ident_file, cluster_.path("pg_ident.conf"));
  EXPECT_EQ(configuration.files, (Paths{"pg_ident.conf", "postgresql.auto.conf"}));
  EXPECT_EQ(configuration.directories, Paths{etc("empty.d")});
  EXPECT_EQ(configuration.command_line, facts_.command_line);
  EXPECT_TRUE(configuration.archives);
  EXPECT_TRUE(configuration.of_standby);
  EXPECT_EQ(configuration.data_directory, cluster_.root());
}

TEST_F(ConfigurationFilesTest, KeepDebiansDirectoryWhole) {
  put(etc("start.conf"), "auto\n");
  put(etc("notes"), "by hand\n");
  const Paths paths = ConfigurationFiles(facts_, cluster_.root()).paths();
  for (const char* name : {"start.conf", "notes"})
    EXPECT_NE(std::ranges::find(paths, etc(name)), paths.end()) << name;
}

TEST_F(ConfigurationFilesTest, AreNotWhatLiesBesideThemElsewhere) {
  put(etc("somebody-elses"), "secret\n");
  const Paths paths = ConfigurationFiles(facts_, cluster_.root()).paths();
  EXPECT_EQ(std::ranges::find(paths, etc("somebody-elses")), paths.end());
}

TEST_F(ConfigurationFilesTest, TakeALinkThatLeadsToAFileOrToWhatIsKept) {
  put(etc("key.pem"), "a key\n");
  make_directory(etc("elsewhere"));
  cluster_.put("inner.conf", {});
  ConfigurationFiles files(facts_, cluster_.root());
  EXPECT_TRUE(link(files, "server.key", etc("key.pem")));
  EXPECT_TRUE(link(files, "conf.d", etc("empty.d")));
  EXPECT_TRUE(link(files, "a.conf", "inner.conf"));
  // Nobody knows what is in there, or it is not there.
  EXPECT_FALSE(link(files, "elsewhere", etc("elsewhere")));
  EXPECT_FALSE(link(files, "dangling", etc("gone")));
  const Paths paths = files.paths();
  EXPECT_NE(std::ranges::find(paths, etc("key.pem")), paths.end());
  EXPECT_EQ(files.describe().links,
            (std::vector<Link>{
                {.path = "a.conf", .target = "inner.conf", .leads_to = cluster_.path("inner.conf")},
                {.path = "conf.d", .target = etc("empty.d"), .leads_to = etc("empty.d")},
                {.path = "server.key", .target = etc("key.pem"), .leads_to = etc("key.pem")}}));
}

}  // namespace
}  // namespace holdfast::backup
