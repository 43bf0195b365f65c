// marks.h: what was found out about a backup after its commit: pinned, damaged, verified, deleted.
//
// A commit object never changes, so later facts are objects of their own. The newest of those that
// contradict each other counts, by the store's clock; of two at one moment "damaged", then
// "usable", "pinned" and "undeleted". "usable" says that a backup is restored whole, and is none to
// rely on: what else is damaged of it may cost it soon. What keeps a backup from being removed,
// "pinned" and "undeleted", is put twice: it stands as long as either can be read. Normative:
// docs/design/repository-format.md, "Commit objects".
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "repo/repository.h"

namespace holdfast::repo {

// In pairs of which the one says the contrary of the other; "usable" the contrary of "damaged" and
// of "verified".
enum class MarkKind : uint8_t {
  kPinned,
  kUnpinned,
  kDamaged,
  kVerified,
  kDeleted,
  kUndeleted,
  kUsable
};
std::string_view to_string(MarkKind kind);  // "pinned"

struct Mark {
  MarkKind what = MarkKind::kVerified;
  Time at;             // by the store's clock; later than all that it contradicts
  std::string by;      // the host
  std::string detail;  // a sentence
  Time put = {};       // the object's time of modification
};

// All marks of one backup, and what they come to.
struct BackupMarks {
  std::optional<Mark> pinned;  // unless it was unpinned since
  // Of these the newest alone.
  std::optional<Mark> damaged, usable, verified;
  std::optional<Mark> deleted;  // unless that was taken back or it was pinned since, or is pinned
  Time deleted_from{};          // when the grace period of that began
  // Those that count, are put twice, and of which one object is left.
  std::vector<Mark> alone;
  // Names of marks that cannot be read, or of the folder of all. They hold nothing up: what a
  // restore reads is checked anyway.
  std::vector<std::string> unreadable;
  // Of one that may be whole, and may say that the backup must stay: we were not let to read it.
  std::optional<Error> refused;
  std::optional<Time> unreadable_put = {};  // when the newest of these was; of a folder: unknown

  // It is deleted, and one that cannot be read is not older: it may take that back.
  bool is_deletion_in_doubt() const {
    return deleted && unreadable_put && *unreadable_put >= deleted->at;
  }
};

// Puts a mark under a fresh name, or two, with the store's time and this host's name. Durable when
// it returns.
Mark put_mark(const Repository& repository, const LineageName& lineage,
              const std::string& backup_id, MarkKind what, std::string detail);
// Puts one more object that says the same.
void put_again(const Repository& repository, const LineageName& lineage,
               const std::string& backup_id, const Mark& mark);

// One listing, and a small read for each mark.
BackupMarks read_marks(const Repository& repository, const LineageName& lineage,
                       const std::string& backup_id);
// The marks of those that are deleted (`deleted` is set), by backup. One listing of all that have
// marks.
std::map<std::string, BackupMarks> read_deletions(const Repository& repository,
                                                  const LineageName& lineage);

}  // namespace holdfast::repo
