// init.h: makes a repository and a cluster's lineage in it.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "repo/keys.h"
#include "repo/repository.h"
#include "store/store.h"

namespace holdfast::setup {

struct InitOptions {
  std::string cluster = "main";
  std::string conninfo;           // how to reach the server
  std::string pgdata;             // may be empty: the server is asked
  bool new_lineage = false;       // after pg_upgrade or a new initdb
  repo::KeySource key;            // not empty: a new repository is sealed (--encrypt)
  bool configure_server = false;  // ALTER SYSTEM: archive_mode, archive_command, wal_level
  std::string archive_command;    // the text for it, handed in by cli
  // Makes the place of a new repository, once the server is known: told its data directory.
  std::function<void(const std::string& data_directory)> make_place = {};
};

struct SettingChange {
  std::string name, before, after;
  bool needs_restart = false;
};

struct InitResult {
  bool repository_created = false;  // false: it was there
  bool lineage_created = false;     // false: it was there with this system identifier
  Bytes16 repository_id;
  bool sealed = false;
  repo::Lineage lineage;
  std::vector<SettingChange>
      changes;                // made with --configure-server, else what the server still lacks
  bool changes_made = false;  // with --configure-server
  bool restart_needed = false;
};

// Running it again changes nothing and says so. Throws kWrongCluster when the cluster's newest
// lineage is of another system identifier and new_lineage is not set; kUnsupported for majors
// before 13 or unknown ones, and stores that cannot put-if-absent; kServer when wal_level is
// minimal and configure_server is not set is NOT an error here: it stands in `changes`.
InitResult init(const InitOptions& options, store::Store& target, Reporter& reporter,
                std::stop_token stop);

}  // namespace holdfast::setup
