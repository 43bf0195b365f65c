// server_settings.h: the settings by which a server archives its WAL here: what it has, what it
// lacks, and setting them.
//
// A setting has two values that count: the one in force, and the one that the configuration files
// hold since. archive_mode and wal_level change at a restart only, so after ALTER SYSTEM the two
// differ until then; running init again must see that.
//
// Facts: pg_settings, pg_file_settings, PostgreSQL 13 to 18. While archive_mode is off,
// archive_command is shown as "(disabled)" wherever but in pg_settings.reset_val.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/connection.h"
#include "setup/init.h"

namespace holdfast::setup {

struct SettingState {
  std::string running;
  // The last assignment in the configuration files; nullopt when they have none, or none since the
  // server has read them.
  std::optional<std::string> configured;
  std::string file = {};  // where that assignment stands: "/etc/.../postgresql.conf", line 7
  // It stands on the server's command line, which wins over every file: only who starts the server
  // can change it.
  bool on_command_line = false;
  // What holds after the next restart.
  const std::string& next() const { return configured && !on_command_line ? *configured : running; }
};

struct ArchiveSettings {
  SettingState wal_level;
  SettingState archive_mode;
  SettingState archive_command;
  std::string archive_library;  // 15 and later; else empty
  bool library_on_command_line = false;
};
ArchiveSettings read_archive_settings(cluster::Connection& connection);

// Whether a command archives by this program: its first word names holdfast and "wal push" follows.
bool is_our_archive_command(std::string_view command);

// The command that is wanted. Earlier versions wrote it without the repository's id: that one is
// put right where it can be, and serves on the server's command line, which this program cannot
// change.
struct WantedCommand {
  std::string text;
  std::string without_id = {};
};
WantedCommand wanted_command(const InitOptions& options, const std::optional<Bytes16>& id);

struct SettingsPlan {
  std::vector<SettingChange> to_make;     // by ALTER SYSTEM
  std::vector<SettingChange> to_restart;  // made already; they wait for a restart
};
// What is to be done so that the server archives by `wanted`. Nothing is lowered:
// wal_level logical and archive_mode always stay. `replace`: an archive_library goes.
SettingsPlan plan_settings(const ArchiveSettings& settings, const WantedCommand& wanted,
                           bool replace = false);

// Throws kConflict when archiving is set up for something else, which loses its WAL when it is
// replaced: for another tool, for more than Holdfast, for another cluster or another repository
// than the one with that id (nullopt: it is still to be made). With options.replace it is replaced;
// one that is gone from this place is with options.new_repository.
void refuse_foreign_archiving(const ArchiveSettings& settings, const InitOptions& options,
                              const std::optional<Bytes16>& id);

// Throws kConflict for a setting that is to be made and stands on the server's command line.
void refuse_fixed_settings(const ArchiveSettings& settings, const WantedCommand& wanted,
                           bool replace = false);
// What to do about one that does.
std::string command_line_hint(const std::string& name, const std::string& wanted);

// ALTER SYSTEM for each, and a reload.
void apply_changes(cluster::Connection& connection, const std::vector<SettingChange>& changes);

}  // namespace holdfast::setup
