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

// Whose WAL an archive_command keeps.
struct ArchivePlace {
  std::string cluster, repository;
  std::optional<Bytes16> id = {};  // the repository's, where the command names it
  bool operator==(const ArchivePlace&) const = default;
};
// Where another command of this program's archives to; nullopt where that cannot be told. cli reads
// options and configuration.
using PlaceOf = std::function<std::optional<ArchivePlace>(const std::string& command)>;
// The text of archive_command for the repository of that id; nullopt: it names none. By cli.
using ArchiveCommandFor = std::function<std::string(const std::optional<Bytes16>& repository_id)>;

struct InitOptions {
  std::string cluster = "main";
  // The clusters that the configuration has sections of, and the file: a new cluster must be one
  // of them, for one letter wrong in its name would make another. Empty without a configuration.
  std::vector<std::string> configured_clusters = {};
  std::string config_file = {};
  std::string conninfo;           // how to reach the server
  std::string pgdata;             // may be empty: the server is asked
  bool new_lineage = false;       // after pg_upgrade or a new initdb
  bool second_cluster = false;    // of a server that the repository has by another name
  repo::KeySource key;            // opens the repository that is there
  bool configure_server = false;  // ALTER SYSTEM: archive_mode, archive_command, wal_level
  // The id that the configuration demands of the repository; and that a new one is meant, although
  // the server has archived into one at this place.
  std::optional<Bytes16> expected_id = {};
  bool new_repository = false;
  ArchiveCommandFor archive_command;
  std::string repository;  // where that archives to, as place_of says it
  PlaceOf place_of = {};
  bool replace = false;  // moves archiving here from wherever it goes now
  // This command as it was typed, but --configure-server; to be completed in hints.
  std::string typed_command = {};
  // Makes the place of a new repository, when all that is refused has been, and its key: not empty
  // where it is to be sealed (--encrypt). Told the server's data directory.
  std::function<repo::KeySource(const std::string& data_directory)> make_place = {};
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
  // Why --configure-server would be refused: "the server archives into cluster ..."; else empty.
  std::string archives_elsewhere = {};
};

// Running it again changes nothing and says so. Throws kWrongCluster when the cluster's newest
// lineage is of another system identifier and new_lineage is not set; kConflict when another
// cluster has this one and second_cluster is not set; kConfiguration for a new cluster that the
// configuration does not have; kConflict when the server's archiving is another's
// (refuse_foreign_archiving), or when it has archived into this place and no repository is there,
// before anything is made; kUnsupported for majors
// before 13 or unknown ones, and stores that cannot put-if-absent; kServer when wal_level is
// minimal and configure_server is not set is NOT an error here: it stands in `changes`.
InitResult init(const InitOptions& options, store::Store& target, Reporter& reporter,
                std::stop_token stop);

}  // namespace holdfast::setup
