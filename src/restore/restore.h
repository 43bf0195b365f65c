// restore.h: carries out a recovery plan into a data directory, and follows the server through it.
//
// Order: plan (nothing is written when the target cannot be reached), make the directory, lay the
// files in parallel, verifying each extent, configure, pg_control last: nothing half-restored
// starts. With `delta` what the directory holds is compared by content, and only what differs is
// written. With `start`: start the server, follow its log to the end, take out of the configuration
// what restore put in.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/containment.h"
#include "base/error.h"
#include "base/reporter.h"
#include "base/time.h"
#include "cluster/server_end.h"
#include "cluster/server_process.h"
#include "recovery/plan.h"
#include "repo/lineage_choice.h"
#include "restore/disk.h"
#include "restore/read_first.h"
#include "restore/recover.h"
#include "restore/salvage.h"
#include "restore/tablespaces.h"
#include "restore/used_configuration.h"

namespace holdfast::restore {

enum class Where : uint8_t {
  kInto,     // another, absent or empty directory: tablespaces below it, archiving off, a socket of
             // its own
  kInPlace,  // the cluster's own data directory: old WAL salvaged first, tablespaces and
             // configuration files where they were
};

// Of a copy whose server is started: how it is kept from production (seclusion.h).
struct SandboxOptions {
  std::string program;  // this program; empty: no sandbox
  bool private_network = true;
  // What restore_command reads; never covered.
  std::vector<std::string> keep_visible = {};
  // Of production, where it is known beside what the backup tells.
  std::string production_data_directory = {};
  std::vector<std::string> socket_directories = {};
  // Without one nothing is restored.
  bool required = false;
};

struct RestoreOptions {
  std::string cluster = "main";
  Where where = Where::kInto;
  std::string directory;  // kInto: the new data directory; kInPlace: the data directory (empty: the
                          // backup's)
  repo::LineageChoice lineage = {};  // its backup and command are the target's
  recovery::Target target;
  recovery::TargetAction action = recovery::TargetAction::kPromote;
  // The caller was told that action in so many words: only then does the data directory of a
  // standby become a primary's.
  bool action_is_named = false;
  // Does the restored server archive? Unset: in place as its configuration says, elsewhere not.
  std::optional<bool> archive;
  std::string restore_command;  // the text for it, handed in by cli; holds %f and %p
  // The same for recovery_end_command: finish() with recovery_ended. Empty: whoever started the
  // server takes the settings out.
  std::string end_command = {};
  std::vector<TablespaceMove> tablespaces;
  int jobs = 2;
  uint64_t bytes_per_second = 0;  // that are laid at most; 0: no limit
  // What the directory holds is kept where it is equal: in place, or an earlier copy.
  bool delta = false;
  bool yes = false;  // kInPlace, delta: the caller has confirmed
  bool start = false;
  int port = 0;  // of the started server; 0: the configuration's (kInPlace), 5432 on its own socket
                 // (kInto)
  std::string bindir;  // empty: found by the backup's major
  // Of the cluster's server, which may still run: asked where the archive does not reach a time.
  // Empty: nobody is.
  std::string conninfo = {};
  // Called when it is planned, before anything is written; throws to have nothing written.
  std::function<void(const recovery::Plan&)> on_plan = {};
  SandboxOptions sandbox = {};             // kInto with start
  cluster::Settings server_settings = {};  // kInto with start: given last on its command line
  // Of the started server: what its restore_command needs beside the usual (ServerStart).
  std::vector<std::pair<std::string, std::string>> server_environment = {};
  // Whether the server of a directory that is written over has ended.
  cluster::ServerWitness witness = {};
  // For the hints of a recovery that did not end: the command that goes on with it.
  std::string resume_command = "holdfast restore --resume";
  // resume(): another action than the restore's; unset: the same.
  std::optional<recovery::TargetAction> new_action = std::nullopt;
  // What must not lie in what is cleared: the repository, keys, the configuration.
  std::vector<OwnFile> own_files = {};
  // kInPlace: how the backup is read before a cluster that is whole is cleared. Empty: it is not.
  ReadBackup read_backup = {};
  // kInPlace: how to salvage what the old pg_wal still holds (archive::salvage), handed in because
  // verbs do not include each other.
  Salvage salvage;
  // kInPlace: where Debian's clusters have their configuration.
  std::string debian_clusters = kDebianClusters;
  // kInPlace: the archive's history replaces what the directory's own WAL says otherwise.
  bool without_own_wal = false;
};

struct RestoreResult {
  recovery::Plan plan;
  std::string directory;
  bool in_place = false;
  uint64_t files = 0, bytes = 0;
  struct Delta {
    uint64_t files_kept = 0;  // nothing in them was changed
    uint64_t bytes_kept = 0;
    uint64_t bytes_written = 0;
    uint64_t removed = 0;  // names; a directory with all that was below it counts once
  };
  std::optional<Delta> delta;
  std::vector<TablespacePlace> tablespaces;                      // where each lies now
  std::string configuration;                                     // whose was laid, in words
  std::vector<std::string> outside_files;                        // laid outside the data directory
  std::vector<std::pair<std::string, std::string>> moved_aside;  // kInPlace: from, to
  // kInPlace, of a server that archives: its archive_command, and the user as whom root starts it.
  std::string archive_command;
  std::optional<std::string> server_user;
  bool started = false;
  bool finished = false;  // recovery has ended: promoted, paused or shut down as asked
  int server_pid = 0;
  std::string socket_directory;  // of the started server
  bool sandboxed = false;        // it runs in one
  // How it was started: to start it so again, now without recovery.
  std::optional<cluster::ServerStart> server_start;
  std::vector<std::string> moved_tablespaces;  // of production's path: now below the copy
  int port = 0;
  pg::TimelineId new_timeline;  // after promotion
  pg::Lsn recovered_to_lsn;
  std::optional<Time> recovered_to_time;  // the last commit replayed
  Microseconds plan_time{}, lay_time{}, replay_time{}, promote_time{};
};

RestoreResult restore(const RestoreOptions& options, const repo::Repository& repository,
                      const Clock& clock, Reporter& reporter, std::stop_token stop);

// The same on paper: everything that restore() would refuse before it writes is refused, and
// nothing is written. In place neither `yes` nor a stopped server is needed.
struct Preview {
  recovery::Plan plan;
  Where where = Where::kInto;
  std::string directory;
  bool clears = false;                      // kInPlace: what is there goes
  bool is_delta = false;                    // then only what differs does
  std::optional<int> running_server;        // kInPlace: its pid; it must be stopped first
  std::optional<std::string> server_doubt;  // kInPlace: why it is not certain that it has ended
  // kInPlace: what the run is refused with as things are now; the plan is worth seeing all the
  // same.
  std::optional<Error> refusal;
  std::vector<std::string> unarchived;  // kInPlace: WAL that would be saved first; it may lead
                                        // recovery farther than the plan
  uint64_t files = 0, bytes = 0;        // to be laid
  std::vector<DiskNeed> disk;
  std::vector<std::pair<std::string, std::string>> tablespaces;  // recorded path, place
  std::string configuration;                                     // whose is laid, in words
  std::vector<std::string> outside_files;                        // written outside
  std::vector<std::string> left_files;  // outside, are there and stay as they are
  std::vector<std::pair<std::string, std::string>> raised;  // settings, to the WAL's floors
  std::string command;                                      // that carries it out
};
Preview preview(const RestoreOptions& options, const repo::Repository& repository,
                const Clock& clock, Reporter& reporter, std::stop_token stop);

// Goes on with a recovery that did not end, because the server or the host went down, it failed, or
// the restore was interrupted: starts the server as the restore did and follows it to the end.
// Nothing is laid. Of the options counts what names the place, and how a server is started. Throws
// kConflict for a directory that no restore has laid, and for one whose laying was interrupted;
// kBusy when a server runs there; and as restore() does.
struct ResumeResult {
  std::string directory;
  std::string backup, target;  // of the restore
  Recovery recovery = {};
  bool sandboxed = false;
  std::vector<std::string> moved_tablespaces = {};
  std::string socket_directory = {};
  int port = 0;
};
ResumeResult resume(const RestoreOptions& options, const repo::Repository& repository,
                    const Clock& clock, Reporter& reporter, std::stop_token stop);

// Ends a recovery that waits at its target (action pause): promotes, waits, and takes out of the
// configuration what restore put in. With `production` a copy becomes a production server: what
// kept it apart is taken out too, also where its recovery has ended long since and no server runs.
// `recovery_ended`: the server itself asks, at the very end of its recovery; all that is left to do
// is to take the settings out.
struct FinishOptions {
  std::string data_directory;
  bool production = false;
  bool recovery_ended = false;
  std::string configured_directory = {};  // cluster.pgdata, of the server that is production
  std::string conninfo = {};              // where production answers, if it lives elsewhere
};
struct FinishResult {
  std::string directory;
  bool was_over = false;  // there was no recovery any more
  pg::TimelineId new_timeline = {};
  bool production = false;
  std::optional<int> running_server =
      {};  // its pid; it has the copy's settings until it is started anew
  std::vector<std::pair<std::string, std::string>> taken_out = {};  // settings of the copy
  std::string claim = {};  // that kept the WAL of the recovery, and can end
  // Production: another server has archived the timeline of this one.
  std::optional<Error> taken = {};
};
FinishResult finish(const FinishOptions& options, Reporter& reporter, std::stop_token stop);
// Whether the archive of `cluster` has the timeline of the server on `directory` with another
// history, or WAL of it that another server has archived: two restored copies take the same number,
// and only one of them can archive.
std::optional<Error> find_taken_timeline(const std::string& directory, pg::TimelineId timeline,
                                         const repo::Repository& repository,
                                         const std::string& cluster);

}  // namespace holdfast::restore
