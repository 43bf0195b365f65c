// configuration_tree.h: all files that a server's configuration is made of, from the three that it
// was started with.
//
//   config_file    include, include_if_exists, include_dir; and postgresql.auto.conf of the data
//                  directory, which is read behind it
//   hba_file,      @ lists; from 16 on includes too
//   ident_file
//
// A relative name is looked for beside the file that holds it, as that file is called and not where
// a link leads. Whoever asks hands in the files: those of this host, or of a backup.
//
// Facts: guc-file.l, conffiles.c, hba.c, PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cluster {

// What SHOW prints, absolute.
struct ConfigurationRoles {
  std::string config_file;
  std::string hba_file;
  std::string ident_file;
  bool operator==(const ConfigurationRoles&) const = default;
};

enum class ConfigurationKind : uint8_t {
  kSettings,  // postgresql.conf and its like
  kRules,     // pg_hba.conf, pg_ident.conf
  kList,      // what an @ names
};

// One place in a file that names another file or directory.
struct ConfigurationReference {
  std::string name;  // as it stands there
  std::string path;  // absolute
  bool is_directory = false;
  bool may_be_absent = false;
};
std::vector<ConfigurationReference> configuration_references(std::string_view text,
                                                             ConfigurationKind kind,
                                                             const std::string& path);
// The text with other names in their places: `rename` gets a reference and says by what name it is
// to be called from here on; nullopt: as it is.
std::string rename_configuration_references(
    std::string_view text, ConfigurationKind kind, const std::string& path,
    const std::function<std::optional<std::string>(const ConfigurationReference&)>& rename);

struct ConfigurationFile {
  std::string path;  // as it is named, absolute
  ConfigurationKind kind = ConfigurationKind::kSettings;
  std::string text;
};

struct ConfigurationTree {
  std::vector<ConfigurationFile> files;  // in the order of reading, each once
  // Named by an include_dir and there.
  std::vector<std::string> directories;
  // A server would not start without these, and they cannot be read: files and directories.
  std::vector<std::string> missing;
  // Files of settings with a line that the server would refuse.
  std::vector<std::string> invalid;
};

struct ConfigurationReader {
  // nullopt: it is not there, or cannot be read.
  std::function<std::optional<std::string>(const std::string& path)> text;
  // Names in a directory, in any order; nullopt likewise.
  std::function<std::optional<std::vector<std::string>>(const std::string& path)> names;
};
// From the files of this host.
ConfigurationReader host_configuration();

// `data_directory`: of postgresql.auto.conf, which may be missing.
ConfigurationTree read_configuration_tree(const ConfigurationRoles& roles,
                                          const std::string& data_directory,
                                          const ConfigurationReader& reader);

}  // namespace holdfast::cluster
