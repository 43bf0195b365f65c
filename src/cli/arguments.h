// arguments.h: the command line as values. The argument parser's library stands in arguments.cc
// alone.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "cli/terminal.h"
#include "cli/whole_commands.h"
#include "config/settings.h"
#include "recovery/target.h"

namespace holdfast::cli {

enum class ProgressStyle : uint8_t { kAuto, kBar, kLines, kJson, kNone };

// What was typed. Options that are settings stand in `sources.options` by their setting's key
// ("cluster" for -c).
struct Arguments {
  std::string command;  // "backup list"; empty: only help or version was wanted, and `output` is it
  std::string output;
  config::Sources sources;
  WholeCommands commands;  // those in what is printed, with what says where
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  ProgressStyle progress = ProgressStyle::kAuto;
  ColourWhen colour = ColourWhen::kAuto;

  // init
  // The line as it was typed, for a shell; of init without --configure-server.
  std::string typed_command;
  std::string lineage;  // "15-1", of who goes back to backups; empty: chosen
  bool encrypt = false, new_lineage = false, second_cluster = false, configure_server = false,
       replace = false;
  bool new_repository = false;
  // backup
  std::string checkpoint = "fast";
  std::string label;
  std::string archive_timeout = "1h";
  bool if_none_runs = false;
  // check
  std::string check_timeout = "60s";
  bool read_only = false, nagios = false;
  std::string max_backup_age, max_archive_lag, max_verify_age, max_drill_age;
  // backup export, backup import
  std::string tar;
  std::string wal = "on";
  // verify
  bool deep = false;
  // verify BACKUP..., backup show ID, wal push PATH, wal get FILE PATH, finish DIR
  std::vector<std::string> words;
  // wal get
  std::string until;
  bool read_ahead_worker = false;
  // what removes
  bool dry_run = false;
  bool delete_last = false;
  bool onward = false;  // wal set-aside
  bool without_own_wal = false;
  bool off = false;  // backup pin
  // claims
  std::string claim;  // to be ended
  // repo change-key, repo add-key
  std::string new_key_file, new_passphrase_file;
  // restore
  std::string into;
  bool in_place = false;
  bool delta = false;
  std::vector<std::string> tablespaces;  // "OLD=NEW"
  recovery::Target target;
  std::string understood;  // of a time in words; else empty
  std::string action;      // "promote", "pause", "shutdown" or empty
  std::string archive;     // "on", "off" or empty
  bool start = false;
  bool resume = false;
  bool production = false;
  bool recovery_ended = false;
  std::string resume_command;  // that goes on with this restore
  bool yes = false;
  bool server_is_dead = false;  // wal salvage too
  int port = 0;
  // drill, drill show
  std::string check_file, rto, rpo, report_file;
  bool html = false, destroy = false;
  std::string confirmed_name;
  // demo; keep also of drill
  bool keep = false;
  std::string directory;
};

// Throws kUsage: what is wrong, and which --help tells more. `clock`: for times in words. Before
// any other thread (a time may name its zone).
Arguments parse_arguments(int argc, const char* const* argv, const Clock& clock);

}  // namespace holdfast::cli
