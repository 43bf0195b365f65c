#include "restore/used_configuration.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "base/file.h"

namespace holdfast::restore {
namespace {

class UsedConfiguration : public testing::Test {
 protected:
  UsedConfiguration() {
    for (const char* name : {"data", "other", "etc", "etc/15", "etc/15/main", "etc/15/replica"})
      make_directory(path(name));
    put_conf("main", "data");
    put_conf("replica", "other");
  }
  std::string path(const std::string& name) const { return join_path(directory_.path(), name); }
  void put(const std::string& name, const std::string& text) const {
    write_file_durably(path(name), as_bytes(text));
  }
  void put_conf(const std::string& cluster, const std::string& data) const {
    const std::string at = "etc/15/" + cluster + "/";
    put(at + "postgresql.conf",
        fmt::format("data_directory = '{}'\nhba_file = '{}'\nident_file = '{}'\n", path(data),
                    path(at + "pg_hba.conf"), path(at + "pg_ident.conf")));
  }
  // config_file; empty: nothing is known.
  std::string found() const {
    const auto roles = find_used_configuration(path("data"), 15, path("etc"));
    return roles ? roles->config_file : std::string();
  }
  std::string conf(const std::string& cluster) const {
    return path("etc/15/" + cluster + "/postgresql.conf");
  }

  TemporaryDirectory directory_;
};

TEST_F(UsedConfiguration, IsThatOfTheCommandLineThatTheServerHasLeft) {
  put("my.conf",
      fmt::format("data_directory = '{}'\nhba_file = '{}'\n", path("data"), path("my hba")));
  const std::string program = "/usr/lib/postgresql/15/bin/postgres ";
  const std::string lines[] = {
      fmt::format(R"("-D" "{}" "-c" "config_file={}")", path("data"), path("my.conf")),
      fmt::format(R"("-D{}" "-cconfig_file={}" "-i")", path("data"), path("my.conf")),
      fmt::format(R"("-i" "--config_file={}" "-D" "{}")", path("my.conf"), path("data"))};
  for (const std::string& line : lines) {
    put("data/postmaster.opts", program + line + "\n");
    const auto roles = find_used_configuration(path("data"), 15, path("etc"));
    ASSERT_TRUE(roles) << line;
    EXPECT_EQ(*roles, (cluster::ConfigurationRoles{.config_file = path("my.conf"),
                                                   .hba_file = path("my hba"),
                                                   .ident_file = path("data/pg_ident.conf")}))
        << line;
  }
}

TEST_F(UsedConfiguration, IsNotThatOfAnotherDirectory) {
  // A copied directory has the command line of the original.
  put("data/postmaster.opts", fmt::format("postgres \"-D\" \"{}\" \"-c\" \"config_file={}\"\n",
                                          path("other"), conf("replica")));
  EXPECT_EQ(found(), conf("main"));
  // One that names no directory may be anybody's, and one whose file is gone tells nothing.
  put("my.conf", "work_mem = '7MB'\n");
  put("data/postmaster.opts", fmt::format("postgres \"--config_file={}\"\n", path("my.conf")));
  EXPECT_EQ(found(), conf("main"));
  put("data/postmaster.opts",
      fmt::format("postgres \"-D\" \"{}\" \"--config_file=/none\"\n", path("data")));
  EXPECT_EQ(found(), conf("main"));
  for (const char* text : {"", "\"", " \"", " \"\"", "postgres \"-D", "postgres \"-D\"\n"}) {
    put("data/postmaster.opts", text);
    EXPECT_EQ(found(), conf("main")) << text;
  }
}

TEST_F(UsedConfiguration, IsDebiansWhereNoServerHasLeftItsOwnAndElseUnknown) {
  EXPECT_EQ(found(), conf("main"));
  remove_tree(path("data"));
  EXPECT_EQ(found(), conf("main"));
  remove_tree(path("etc/15/main"));
  EXPECT_EQ(found(), "");
}

}  // namespace
}  // namespace holdfast::restore
