#include "cluster/configuration_tree.h"

#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "base/file.h"

namespace holdfast::cluster {
namespace {

using Files = std::map<std::string, std::string>;
using Paths = std::vector<std::string>;

const ConfigurationRoles kRoles = {
    .config_file = "/etc/pg/my.conf", .hba_file = "/etc/pg/who", .ident_file = "/data/ident"};

ConfigurationTree read(const Files& files, const ConfigurationRoles& roles = kRoles) {
  return read_configuration_tree(
      roles, "/data",
      {.text = [&](const std::string& path) -> std::optional<std::string> {
         const auto found = files.find(path);
         return found == files.end() ? std::nullopt : std::optional(found->second);
       },
       .names = [&](const std::string& path) -> std::optional<Paths> {
         Paths names;
         for (const auto& [file, text] : files)
           if (parent_path(file) == path) names.push_back(base_name(file));
         return names.empty() ? std::nullopt : std::optional(names);
       }});
}
Paths paths(const ConfigurationTree& tree) {
  Paths paths;
  for (const ConfigurationFile& file : tree.files) paths.push_back(file.path);
  return paths;
}

TEST(ConfigurationTree, HasEveryFileThatTheServerReadsWhateverItIsCalled) {
  const ConfigurationTree tree = read(
      {{"/etc/pg/my.conf", "include 'more'\ninclude_dir '/etc/pg/d'\ninclude_if_exists 'none'\n"},
       {"/etc/pg/more", "include '../deep'\ninclude 'my.conf'\n"},
       {"/etc/deep", "# nothing is set here\n"},
       {"/etc/pg/d/b.conf", "work_mem = 1\n"},
       {"/etc/pg/d/a.conf", ""},
       {"/etc/pg/d/.hidden.conf", ""},
       {"/etc/pg/d/readme", ""},
       {"/data/postgresql.auto.conf", ""},
       {"/etc/pg/who", "local all @lists/admins trust\ninclude rest\n"},
       {"/etc/pg/lists/admins", "anna, @others\n"},
       {"/etc/pg/lists/others", "boris\n"},
       {"/etc/pg/rest", "local all all reject\n"},
       {"/data/ident", ""}});
  EXPECT_EQ(paths(tree),
            (Paths{"/etc/pg/my.conf", "/etc/pg/more", "/etc/deep", "/etc/pg/d/a.conf",
                   "/etc/pg/d/b.conf", "/data/postgresql.auto.conf", "/etc/pg/who",
                   "/etc/pg/lists/admins", "/etc/pg/lists/others", "/etc/pg/rest", "/data/ident"}));
  EXPECT_EQ(tree.directories, Paths{"/etc/pg/d"});
  EXPECT_TRUE(tree.missing.empty());
  EXPECT_TRUE(tree.invalid.empty());
}

TEST(ConfigurationTree, SaysWhatAServerWouldNotStartFor) {
  const ConfigurationTree tree =
      read({{"/etc/pg/my.conf", "include 'gone'\ninclude_dir 'gone.d'\n"},
            {"/data/postgresql.auto.conf", "work_mem = \n"},
            {"/etc/pg/who", "local all @nobody trust\n"}});
  EXPECT_EQ(tree.missing, (Paths{"/etc/pg/gone", "/etc/pg/gone.d", "/etc/pg/nobody"}));
  EXPECT_EQ(tree.invalid, Paths{"/data/postgresql.auto.conf"});
}

TEST(ConfigurationReferences, AreRenamedWhereTheyStand) {
  const auto rename = [](const ConfigurationReference& reference) -> std::optional<std::string> {
    if (reference.path == "/etc/pg/more") return "elsewhere/more";
    return std::nullopt;
  };
  EXPECT_EQ(
      rename_configuration_references("a = 1\ninclude 'more' # it\ninclude 'other'\n",
                                      ConfigurationKind::kSettings, "/etc/pg/my.conf", rename),
      "a = 1\ninclude 'elsewhere/more'\ninclude 'other'\n");
  EXPECT_EQ(rename_configuration_references("local all @more,@other trust\n",
                                            ConfigurationKind::kRules, "/etc/pg/who", rename),
            "local all @\"elsewhere/more\",@other trust\n");
}

}  // namespace
}  // namespace holdfast::cluster
