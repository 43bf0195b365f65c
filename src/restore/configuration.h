// configuration.h: what a restore writes into the configuration of the cluster that it laid, and
// what it takes out again.
//
//   postgresql.auto.conf   the user's lines; of a copy the settings that keep it apart from
//   production, which stay; last, in our marked
//                          block, the settings of the recovery, which finish() takes out
//   holdfast_recovery.settings   the same settings once more: ALTER SYSTEM drops the marks, and
//   then they are found by name and value postgresql.conf        of a copy: at its end a marked
//   block with the places of files, which postgresql.auto.conf cannot hold
//
// Configuration files from outside the data directory (Debian's /etc/postgresql/15/main): in place
// they go back to where they were, unless they are there; of a copy the directory of
// postgresql.conf is laid over the data directory, with everything below it, and others go to
// holdfast_outside/ with their whole path. Absolute include lines follow them.
//
// Facts: guc-file.l, guc.c (SelectConfigFiles), PostgreSQL 13 to 18.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/reporter.h"
#include "pg/conf_file.h"
#include "restore/lay.h"

namespace holdfast::restore {

inline constexpr const char* kSavedSettingsName = "holdfast_recovery.settings";
inline constexpr const char* kOutsideDirectory = "holdfast_outside";

using ConfSettings = std::vector<pg::ConfSetting>;

// --- Text to text

// Recovery's settings as our block at the end; `lasting` in place of every earlier assignment of
// those names. Stale recovery targets of the backup are taken out: `stale` names them.
struct Configured {
  std::string text;
  std::vector<std::string> stale;
};
Configured add_recovery_settings(std::string_view auto_conf, const ConfSettings& lasting,
                                 const ConfSettings& recovery);
// Without the block, or, when its marks are gone, without those very settings.
std::string remove_recovery_settings(std::string_view auto_conf, const ConfSettings& saved);
// The settings that must be raised: each floor above what is in force.
ConfSettings raised_to_floors(const repo::ParameterFloors& floors,
                              const std::map<std::string, std::string>& in_force);
// Include lines that name a moved file or directory by an absolute path (or by one relative to
// where the file was) name its new place. `moved` has files by their old path, the one at `was`
// among them, and directories that moved with all that is in them, with a "/" at the end.
std::string rewrite_includes(std::string_view text, const std::string& was,
                             const std::map<std::string, std::string>& moved);

// --- Files

// Where the server's configuration is.
struct ConfigurationFiles {
  std::string config_file;  // postgresql.conf
  std::string hba_file = {};
  std::string ident_file = {};
  bool outside = false;  // not in the data directory: the server must be told
};

struct OutsideResult {
  ConfigurationFiles files;
  std::vector<std::string> laid;  // paths of the files that were written
  std::map<std::string, std::string>
      moved;  // old path, new path; also of those that were left where they are
  std::set<std::string> left;
};

// Where they would go, without writing anything; `left`, those that are there and stay as they are.
OutsideResult place_outside_files(const std::string& directory, std::span<const HeldFile> outside,
                                  bool is_copy);

// Writes the files from outside for a copy below `directory`, or in place where they are missing;
// those that this user cannot put there go below kOutsideDirectory, with a note. REQUIRES: the
// files of the data directory are laid.
OutsideResult lay_outside_files(const std::string& directory, std::span<const HeldFile> outside,
                                bool is_copy, const Owners& owners, Reporter& reporter);

// Files by their path, in place of those on disk.
using MadeUpFiles = std::map<std::string, Bytes>;
// Every setting in force by the files, the last assignment of each name; includes are followed.
// What `made_up` has is not looked for on disk.
std::map<std::string, std::string> read_settings_in_force(const ConfigurationFiles& files,
                                                          const std::string& directory,
                                                          const MadeUpFiles& made_up = {});

// Puts the block with the places of files at the end of a copy's postgresql.conf, and leads
// includes from the data directory that was backed up to this one.
void pin_file_places(const std::string& directory, const std::string& old_directory,
                     const OutsideResult& outside, const Owners& owners);

// The settings that keep a copy apart from production, whatever its configuration says.
struct CopySettings {
  std::string socket_directory;
  int port = 0;
  bool archive = false;  // archives as its configuration says
  int major = 0;
};
ConfSettings copy_settings(const CopySettings& copy);

// Changes postgresql.auto.conf and writes kSavedSettingsName; recovery.signal is made. Notes what
// was taken out.
void write_recovery_configuration(const std::string& directory, const ConfSettings& lasting,
                                  const ConfSettings& recovery, const Owners& owners,
                                  Reporter& reporter);
// The recovery's settings as kSavedSettingsName has them; none where there is no such file.
ConfSettings read_saved_settings(const std::string& directory);
// After recovery: takes the settings out again. True when there was something to take out.
bool remove_recovery_configuration(const std::string& directory);

}  // namespace holdfast::restore
