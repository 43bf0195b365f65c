// stored_ahead.h: what look-ahead has stored, for the calls that come later.
//
// The server offers every segment itself. To compare one that look-ahead has stored already, it
// would have to be read and hashed again, which takes longer than all else in that call. So
// look-ahead leaves a record in the server's pg_wal ("holdfast_stored_ahead"): for each segment its
// SHA-256, and how its file looked when it was read: device, inode, size, and the times of its last
// changes. A file that still looks like that has that content. A record answers nothing alone: the
// archive is asked whether it holds a segment of that name with that SHA-256, put minutes ago:
// later the file is read, and compared with what is archived, like any other.
//
// A file that was changed right before it was read is not recorded: a change right behind the
// reading might have the same time, for clocks of file systems are coarse. Where they tell only
// seconds nothing is recorded.
//
// The record is not durable and need not be: it names only what was durable in the archive before,
// and one that is damaged, cut or gone matches nothing.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/time.h"

namespace holdfast::archive {

// Whether both are of one file, which was not changed in between.
bool is_same_and_unchanged(const struct stat& a, const struct stat& b);

class StoredAhead {
 public:
  struct File {
    std::string name;      // of a segment
    struct stat status{};  // before it was read
    Time read_at;          // and when that was
    Bytes32 sha256;
  };
  StoredAhead(std::string wal_directory, const Bytes16& repository_id);

  // What is recorded of a file of pg_wal as it is now; nullopt also when there is no such file.
  std::optional<Bytes32> find(const std::string& name) const;
  // Takes the place of what was recorded before. What cannot be written is not recorded.
  void remember(std::span<const File> files) const;

 private:
  std::string path_;
  std::string wal_directory_;
  Bytes16 repository_id_;
};

}  // namespace holdfast::archive
