// prepare.h: makes the place into which a backup is laid: a new directory, or the cluster's own
// after it was cleared.
//
// While a restore is under way the directory holds the marker file kMarkerName and no
// global/pg_control, so no server starts on it; a restore that was interrupted can be run again
// over what it left. pg_control is the first thing to go and the last to be laid; the marker goes
// behind it, so for a moment there are both, and as long as no server was started on it that is an
// interrupted restore too.
//
// In place nothing is lost that is not in the archive: WAL files of the old pg_wal that could not
// be saved are moved aside, never deleted. Kept are the directory itself, pg_wal (a link to another
// disk stays one), mount points below it, and tablespace directories.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/reporter.h"
#include "base/time.h"
#include "cluster/server_end.h"
#include "repo/wal_archive.h"
#include "restore/owners.h"
#include "restore/salvage.h"
#include "restore/tablespaces.h"

namespace holdfast::restore {

inline constexpr const char* kMarkerName = "holdfast_restore.in_progress";

// Whether the configuration in the directory is the cluster's: not what an interrupted restore has
// begun to lay, unless that one left it as it was.
bool may_keep_configuration(const std::string& directory);

// The three below look, and touch nothing: a restore and its dry run refuse the same, before
// anything is written.

// For prepare_into(): `directory` is absent, empty, or left over from an interrupted restore.
// Throws kAlreadyExists otherwise.
void require_place_for_copy(const std::string& directory);

// For the two in place: no tablespace directory that the old cluster did not link to holds files
// of this major. Throws kAlreadyExists.
void require_free_tablespaces(const std::string& directory,
                              const std::vector<TablespacePlace>& places,
                              const repo::Backup& backup);

// That this user may write into the directory, or make it. Throws what making it would.
void require_may_write(const std::string& path);

// REQUIRES: require_place_for_copy(). What an interrupted restore left is emptied. The directory
// exists afterwards, with the backup's mode, and with the marker.
void prepare_into(const std::string& directory, const std::vector<TablespacePlace>& places,
                  const repo::Backup& backup, const Owners& owners);

// The checks before anything is touched: it is a data directory (kConflict) of this system
// identifier (kWrongCluster), and, asked first by require_no_running_server(), no server runs
// there. True when there is something to clear.
bool check_in_place(const std::string& directory, const repo::Lineage& lineage);

// `unsaved`, without a salvage: all that was not archived by the old server. Nothing is moved yet.
SalvagedWal salvage_wal(const std::string& directory, const Salvage& salvage,
                        pg::WalSegmentSize size, bool on_paper);

// Directories outside the data directory whose files are the cluster's own: those that its links
// in pg_tblspc name, in place; and those that an interrupted restore has named in the marker. Of a
// copy that is written over (`delta`) also those that its links name, but for the places where the
// backed-up cluster has its tablespaces: a copy made by other means links there.
std::set<std::string> own_places(const std::string& directory, bool is_copy, bool delta,
                                 const repo::Backup& backup);

struct ClearOptions {
  std::vector<std::string> unsaved;  // names in pg_wal
  std::string aside;                 // where they go: "<directory>.holdfast-salvage-<time>"
  std::vector<TablespacePlace> places;
  // The cluster's configuration, which stays: paths below the data directory.
  std::set<std::string> left = {};
};
// Clears an existing data directory, or makes an absent one. Returns what was moved, from and to.
// REQUIRES: require_free_tablespaces(). What cannot be removed is told when the rest is gone: as a
// warning, or as an error where it is in the way (old_tree.h).
std::vector<std::pair<std::string, std::string>> prepare_in_place(const std::string& directory,
                                                                  const ClearOptions& options,
                                                                  const repo::Backup& backup,
                                                                  const Owners& owners,
                                                                  Reporter& reporter);

// Whether `directory` may be made into a copy by writing what differs: absent, empty, left over
// from an interrupted restore, or a data directory of this cluster on which no server runs, other
// than `original`, where the cluster itself lived when it was backed up. True when there is
// something in it. Throws kBusy, kConflict, kWrongCluster.
bool check_delta_into(const std::string& directory, const repo::Lineage& lineage,
                      const std::string& original, const cluster::ServerWitness& witness,
                      const std::stop_token& stop);

struct DeltaOptions {
  bool is_copy = false;
  ClearOptions clear;  // `unsaved` in place only
};
// As the two above, but the files stay, to be compared: only pg_control goes, pg_wal is emptied,
// and links of tablespaces that are to lie elsewhere are taken away. In place the files behind
// those go too; of a copy they are left, for they may be production's.
std::vector<std::pair<std::string, std::string>> prepare_delta(const std::string& directory,
                                                               const DeltaOptions& options,
                                                               const repo::Backup& backup,
                                                               const Owners& owners,
                                                               Reporter& reporter);

// Takes the marker away: the restore is whole.
void remove_marker(const std::string& directory);

}  // namespace holdfast::restore
