// configuration.h: what a restore writes into the configuration of the cluster that it laid, and
// what it takes out again.
//
//   postgresql.auto.conf         the user's lines; of a copy a marked block with the settings that
//                                keep it apart from production, until it is made a production
//                                server (finish --production); last, in a block of its own, the
//                                settings of the recovery, which its end takes out
//   holdfast_copy.settings       the settings of the two blocks once more: ALTER SYSTEM drops the
//   holdfast_recovery.settings   marks, and then they are found by name and value
//
// No setting names the directory itself, so a copy starts on itself wherever it is moved or cloned
// to. Where the files lie: configuration_places.h.
//
// Facts: guc-file.l, guc.c, PostgreSQL 13 to 18.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/reporter.h"
#include "pg/conf_file.h"
#include "repo/parameter_floors.h"
#include "restore/owners.h"

namespace holdfast::restore {

// Which kind of recovery a server begins when it is started (xlogrecovery.c,
// readRecoverySignalFile).
inline constexpr const char* kRecoverySignal = "recovery.signal";
inline constexpr const char* kStandbySignal = "standby.signal";
inline constexpr const char* kSavedSettingsName = pg::kRecoverySettingsFile;
inline constexpr const char* kSavedCopySettingsName = "holdfast_copy.settings";
// Of a copy, in its data directory. Its socket lies where no base backup takes its lock file along:
// with that a clone on the same host would not start (basebackup.c, excludeDirContents). The link
// is what people are told.
inline constexpr const char* kSocketDirectory = "pg_stat_tmp";
inline constexpr const char* kSocketLink = "holdfast_socket";

// By what a server is reached, and whom it follows: another server's are not taken over.
inline constexpr std::array<std::string_view, 5> kAddressNames = {
    "port", "listen_addresses", "unix_socket_directories", "primary_conninfo", "primary_slot_name"};

using ConfSettings = std::vector<pg::ConfSetting>;

// --- Text to text

// Recovery's settings as our block at the end; before it `lasting` as the copy's, unless it is
// empty: then that block stays as it is. Stale recovery targets of the backup are taken out:
// `stale` names them.
struct Configured {
  std::string text;
  std::vector<std::string> stale;
};
Configured add_recovery_settings(std::string_view auto_conf, const ConfSettings& lasting,
                                 const ConfSettings& recovery);
// Without that block, or, when its marks are gone, without those very settings.
std::string remove_settings_block(std::string_view auto_conf, pg::ConfBlock block,
                                  const ConfSettings& saved);
// The settings that must be raised: each floor above what is in force on a server of that major.
ConfSettings raised_to_floors(const repo::ParameterFloors& floors,
                              const std::map<std::string, std::string>& in_force, int major);
// --- Files

// Where the server's configuration is.
struct ConfigurationFiles {
  std::string config_file;  // postgresql.conf
  std::string hba_file = {};
  std::string ident_file = {};
  bool outside = false;  // not in the data directory: the server must be told
};

// Files by their path, in place of those on disk.
using MadeUpFiles = std::map<std::string, Bytes>;
// Every setting in force by the files, the last assignment of each name; includes are followed.
// What `made_up` has is not looked for on disk. What an earlier recovery of ours has left does not
// count.
std::map<std::string, std::string> read_settings_in_force(const ConfigurationFiles& files,
                                                          const std::string& directory,
                                                          const MadeUpFiles& made_up = {});

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
// All settings that a text assigns.
ConfSettings settings_of(std::string_view text);
// recovery_end_command: `ours`, by which the server takes the settings out itself when its recovery
// has ended, behind `theirs`, which may be empty. No recovery fails for ours: a program that is
// missing is a warning in the server's log, where its own status (over 125) would end the server.
std::string end_command_behind(const std::string& theirs, const std::string& ours);
// After recovery: takes the settings out again. True when there was something to take out.
bool remove_recovery_configuration(const std::string& directory);
// Of a copy: takes out what keeps it apart. Returns it; empty when it is none.
ConfSettings remove_copy_configuration(const std::string& directory);

}  // namespace holdfast::restore
