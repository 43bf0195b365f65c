// delete.h: takes backups off, and back; and pins those that must stay.
//
// A backup that is deleted has a mark that says so, and for every reader it is gone; what it alone
// used becomes garbage. Its commit object stands for a grace period more, and for so long the
// deletion can be taken back. So a deletion is one small object for each backup, and a crash leaves
// some of them deleted and the others as they were.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "pg/timeline_history.h"
#include "repo/backup.h"
#include "repo/lineage_choice.h"
#include "repo/repository.h"
#include "store/remover.h"

namespace holdfast::expire {

// Where the cluster is at work, as its server or its data directory says.
struct ClusterPlace {
  uint64_t system_identifier = 0;
  pg::TimelineId timeline;
};

struct DeleteOptions {
  std::string cluster = "main";
  std::vector<std::string> ids;      // each an id, the beginning of one, or "latest"
  bool delete_last = false;          // also what is refused as the last that leads somewhere
  repo::LineageChoice lineage = {};  // for "latest"
  std::function<std::optional<ClusterPlace>()> ask_place = {};
};

struct Deletion {
  struct OneBackup {
    repo::LineageName lineage;
    std::string id;
    // nullopt: its commit object is damaged, and it can only be given up.
    std::optional<repo::Backup> backup;
    bool is_final = false;                           // it cannot be taken back
    std::vector<std::string> unreadable_marks = {};  // which may say that it is pinned
  };
  struct Left {
    std::string id;
    Error why;
  };
  std::vector<OneBackup> backups;
  std::vector<Left> left;  // were named too, and stay: pinned, or in use
  // What keeps from telling what it frees: of another backup too it is not known what that uses.
  std::optional<Error> why_unknown = {};
  uint64_t freed_objects = 0;  // that nothing else uses
  uint64_t freed_bytes = 0;
  uint64_t freed_wal_segments = 0;  // that no backup left needs
  uint64_t freed_wal_bytes = 0;
  bool leaves_no_good_backup = false;
  // A stretch of WAL without a gap into which no other good backup leads: what was committed in it
  // cannot be recovered any more.
  struct Loss {
    pg::TimelineId timeline;
    pg::Lsn from, to;
    Time since, until;
  };
  std::vector<Loss> losses = {};
};

// What deleting would take off; nothing is changed. One that is pinned, or in use by a restore or
// mount, is left, and where every one is that is thrown (kUsage; kBusy, which names host and
// process). Throws kNotFound and kUsage (an id of none or of several; without delete_last the last
// good one: of the cluster, of a timeline on which a server may be at work, of the newest stretch
// of WAL without a gap there).
Deletion plan_deletion(const DeleteOptions& options, const repo::Repository& repository);

// Marks them as deleted, after looking once more whether somebody has begun to use them. What is
// damaged beyond reading, and every one where the store has no room for a mark, is removed at once
// and cannot be taken back. Returns what came of it; throws when nothing did.
Deletion carry_out(Deletion deletion, const repo::Repository& repository, store::Remover& remover);

// Takes the deletion of one back. Throws kNotFound (no such backup is deleted, or it has been
// removed), kUsage (the beginning of several, or of one that is not deleted), kBusy while an expiry
// is at work.
repo::Backup undelete(const std::string& cluster, const std::string& id,
                      const repo::Repository& repository);

// Puts the mark that protects a backup from deletion, or takes its effect back. Returns the backup.
struct PinOptions {
  std::string cluster = "main";
  std::string id;                    // an id, the beginning of one, or "latest"
  repo::LineageChoice lineage = {};  // for "latest"
};
repo::Backup pin(const PinOptions& options, bool pinned, const repo::Repository& repository);

}  // namespace holdfast::expire
