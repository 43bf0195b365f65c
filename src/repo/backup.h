// backup.h: backups as the commit objects tell of them, and the making of one.
//
// Normative: docs/design/repository-format.md, "Commit objects", "Order of writing".
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "pg/lsn.h"
#include "repo/configuration.h"
#include "repo/manifest.h"
#include "repo/marks.h"
#include "repo/parameter_floors.h"

namespace holdfast::repo {

struct Tablespace {
  uint32_t oid = 0;
  std::string path;
  std::string mount = {};  // where its file system was mounted; empty: not known
};

// A WAL file that a backup was committed with.
struct OwnWal {
  std::string file;  // "0000…04", or "0000…04.partial"
  Bytes32 sha256;    // of its content
  // How an unfinished one begins, up to where the backup ends: so must whatever is archived under
  // the segment's name, also when nothing is left of this content.
  struct Beginning {
    uint64_t bytes = 0;
    Bytes32 sha256;
  };
  std::optional<Beginning> begins = {};
};

// The body of backups/<backup-id>.json.
struct Backup {
  std::string id;
  std::string type = "full";
  std::string parent;
  std::string origin = {};  // "tar": imported; empty: taken by Holdfast
  LineageName lineage;
  uint64_t system_identifier = 0;
  int major = 0;
  uint32_t catalog_version = 0;
  Time started, finished;              // by our clock
  std::optional<Time> committed = {};  // by the store's; nullopt: by a version that did not say it
  Time start_time, stop_time;          // by the server's
  pg::Lsn start_lsn, stop_lsn, checkpoint_lsn;
  pg::TimelineId start_timeline, stop_timeline;
  std::string start_segment, stop_segment;  // file names
  uint32_t wal_segment_bytes = 0, block_bytes = 0, blocks_per_segment = 0;
  bool data_checksums = false;
  bool from_standby = false;
  // As it was taken, or as a mark says since: it is not chosen for a recovery, nor as a parent.
  bool damaged = false;
  uint64_t damaged_blocks = 0;  // pages that were damaged when it was taken
  std::string label, host, tool;
  std::string data_directory, data_user, data_group;
  uint32_t data_mode = 0700;
  std::string data_mount = {};  // as of a tablespace
  // Where pg_wal leads to, and the same of it; empty: it is no link, or that was not noted.
  std::string wal_directory = {}, wal_mount = {};
  std::vector<Tablespace> tablespaces;
  std::vector<std::string> external_files;
  // Absent in an imported backup: nobody could ask the server.
  std::optional<Configuration> configuration = {};
  ParameterFloors floors;
  // Where it starts and where it stops; empty: nobody could tell.
  std::vector<OwnWal> wal = {};
  uint64_t files = 0, bytes = 0, stored_bytes = 0, new_bytes = 0, packs = 0;
  Bytes16 manifest_object;
  uint64_t manifest_bytes = 0;
  Bytes32 manifest_sha256;
  Bytes16 refs_object;
  uint64_t refs_bytes = 0;
  Bytes32 refs_sha256;
  BackupMarks marks = {};  // what was found out since; no part of the commit object

  // To be relied on, as one that is restored whole as it stands and may not be tomorrow is not.
  bool is_good() const { return !damaged && !marks.usable; }
};
Json to_json(const Backup& backup);
Backup backup_from_json(const Json& body);

struct UnreadableBackup {
  std::string id;
  std::string problem;  // a line
};

// A commit stands twice, and is there while either of the two is (repo/two_places.h).
//
// All of them, by their ids; nothing is opened. Also of backups that are deleted.
struct CommitEntry {
  std::string id;
  Time modified;  // of the first of the two that is there, by the store's clock
  bool has_first = false;
  bool has_copy = false;
};
std::vector<CommitEntry> list_commits(const Repository& repository, const LineageName& lineage);
bool has_commit(const Repository& repository, const LineageName& lineage, const std::string& id);
// The ids of backups, in the order of names; which is older says backup_order.h.
std::vector<std::string> list_backup_ids(const Repository& repository, const LineageName& lineage);
// The commit, and its marks: `damaged` says what both come to. nullopt: there is none, or the
// backup is deleted.
std::optional<Backup> read_backup(const Repository& repository, const LineageName& lineage,
                                  const std::string& id);
// The commit alone, without marks; also of a backup that is deleted. From the copy where the first
// cannot be read, which is told. Throws what keeps the first from being read where neither can.
std::optional<Backup> read_commit(const Repository& repository, const LineageName& lineage,
                                  const std::string& id);
// The same, for who looks through all backups: one whose commit cannot be read (it is damaged,
// needs a newer version of this program, may not be read) is told to `unreadable` and passed over.
std::optional<Backup> read_backup_if_possible(
    const Repository& repository, const LineageName& lineage, const std::string& id,
    const std::function<void(const Error& error)>& unreadable);
// "latest", an id, or a unique prefix of one. Throws kNotFound (naming the nearest ids; of one that
// is deleted how it comes back) or kUsage (prefix of several).
Backup resolve_backup(const Repository& repository, const LineageName& lineage,
                      std::string_view text);

// One backup being made. Makes intent, packs, manifest, refs; exists only after commit().
class BackupWriter {
 public:
  BackupWriter(const Repository& repository, const Lineage& lineage, std::string backup_id,
               codec::CompressionSetting compression, const Clock& clock);
  ~BackupWriter();

  const std::string& id() const;
  // From here on nobody removes WAL from there on, on that timeline and its ancestors. Before any
  // of it is looked for; again when it was another timeline.
  void protect_wal(pg::TimelineId timeline, pg::Lsn from);
  // One for each worker; hand them back with finish_worker.
  ExtentWriter make_worker();
  void finish_worker(ExtentWriter worker);  // any thread

  // In manifest order, one thread at a time.
  ManifestWriter& manifest();

  // Finishes what is open, puts manifest, copy and refs, all durable. After it: commit.
  void seal_contents();
  // Fills files, bytes, stored_bytes, packs, manifest_* of `backup`, checks that every pack, and
  // the WAL that was protected, is there and stays, puts the commit and its copy, and looks once
  // more.
  Backup commit(Backup backup);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::repo
