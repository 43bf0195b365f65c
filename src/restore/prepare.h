// prepare.h: makes the place into which a backup is laid: a new directory, or the cluster's own
// after it was cleared.
//
// While a restore is under way the directory holds the marker (marker.h) and no global/pg_control,
// so no server starts on it; a restore that was interrupted can be run again over what it left.
// pg_control is the first thing to go and the last to be laid; the marker goes behind it, so for a
// moment there are both, and as long as no server was started on it that is an interrupted restore
// too.
//
// Before that, while the old WAL is saved and the restore is planned, pg_control only has another
// name (KeepOut): whatever ends the restore then, the cluster is as it was.
//
// A disk that WAL has filled is restored to as well: nothing has to be freed by hand, which would
// be pg_wal, before its WAL is saved and the directory is cleared.
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

#include "base/random.h"
#include "base/reporter.h"
#include "base/time.h"
#include "cluster/server_end.h"
#include "recovery/plan.h"
#include "repo/wal_archive.h"
#include "restore/marker.h"
#include "restore/owners.h"
#include "restore/salvage.h"
#include "restore/tablespaces.h"

namespace holdfast::restore {

// No server starts on the data directory, and the marker says why, until the files are cleared. Or
// until the destructor, when they are not: then all is as it was.
class KeepOut {
 public:
  // `marker`: of this restore; a server was looked for before.
  KeepOut(std::string directory, Marker marker);
  ~KeepOut();
  KeepOut(const KeepOut&) = delete;
  KeepOut& operator=(const KeepOut&) = delete;

 private:
  const std::string directory_;
};

// Takes away what a restore that was killed has left before it cleared anything.
void settle_untouched(const std::string& directory);

// The marker for a restore in `directory`, which exists: what that of an interrupted one names
// stays named, under its token.
Marker make_marker(const std::string& directory, const std::optional<ProcessIdentity>& process,
                   RandomSource& random);

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

// The same of those that the WAL to be replayed creates: the server writes into their directories,
// and onto what it finds there. `own`: places of the cluster's, which are cleared.
void require_free_new_tablespaces(const std::string& directory, const recovery::Plan& plan,
                                  const std::set<std::string>& own);

// That this user may write into the directory, or make it, as far as asking tells. Throws what
// making it would.
void require_may_write(const std::string& path);

// REQUIRES: require_place_for_copy(), and that the directory is there. What an interrupted restore
// left is emptied. Afterwards it has the backup's mode, and the marker.
void prepare_into(const std::string& directory, const Marker& marker, const repo::Backup& backup,
                  const Owners& owners);

// For the hint of that refusal, and of one by the major.
std::string way_around_another_cluster(const std::string& directory);
// Throws kWrongCluster when a control file is of another system identifier.
void require_same_cluster(const std::string& directory, const Bytes& control_file,
                          const repo::Lineage& lineage);

// `unsaved`, without a salvage: all that was not archived by the old server. Nothing is moved yet.
// A server always has the segment of its last checkpoint. Throws kConflict where a whole data
// directory has not: its WAL is not where it was, on a disk that is not mounted perhaps.
void require_wal_there(const std::string& directory);

SalvagedWal salvage_wal(const std::string& directory, const Salvage& salvage,
                        pg::WalSegmentSize size, bool on_paper);

// Directories outside the data directory whose files are the cluster's own: those that its links
// in pg_tblspc name, in place; and those that an interrupted restore has named in the marker. Of a
// copy that is written over (`delta`) also those that its links name, but for the places where the
// backed-up cluster has its tablespaces: a copy made by other means links there. Throws
// kAlreadyExists where an interrupted restore names one that is not known to be its own
// (outside.h).
std::set<std::string> own_places(const std::string& directory, bool is_copy, bool delta,
                                 const repo::Backup& backup);

struct ClearOptions {
  std::string directory;
  std::vector<std::string> unsaved = {};  // names in pg_wal
  // Where they go: "<directory>.holdfast-salvage-<time>", or, where that cannot be made, to
  // "holdfast_salvage-<time>" in the directory itself.
  std::string time;
  std::vector<TablespacePlace> places = {};
  Marker marker = {};
  // The cluster's configuration, which stays: paths below the data directory.
  std::set<std::string> left = {};
};
// WAL that earlier restores have put into the directory itself: it stays.
std::set<std::string> salvages_in(const std::string& directory);

// Clears a data directory. Returns what was moved, from and to. REQUIRES:
// require_free_tablespaces(). What keeps it from beginning leaves all as it was. What cannot be
// removed is told when the rest is gone: as a warning, or as an error where it is in the way
// (old_tree.h).
std::vector<std::pair<std::string, std::string>> prepare_in_place(const ClearOptions& options,
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
std::vector<std::pair<std::string, std::string>> prepare_delta(const DeltaOptions& options,
                                                               const repo::Backup& backup,
                                                               const Owners& owners,
                                                               Reporter& reporter);

// The directories outside say by which restore they are cleared and filled. The first passes by
// what is not there, the second makes it. REQUIRES: the marker names them.
void begin_places(const std::set<std::string>& places, const Marker& marker,
                  const repo::Backup& backup, const Owners& owners);
void mark_places(const std::set<std::string>& places, const Marker& marker,
                 const repo::Backup& backup, const Owners& owners);

// pg_control is laid: the directories outside are the cluster's, and the restore is whole.
void remove_marks(const std::string& directory);

}  // namespace holdfast::restore
