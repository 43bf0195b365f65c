// owners.h: whose the restored files are to be.
//
// A backup keeps owners by name and by number. Root gives the files to the user of that name, which
// has another number on another host, and to the number where the name is unknown; everybody else
// can only make files of his own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/users.h"
#include "repo/backup.h"

namespace holdfast::restore {

class Owners {
 public:
  // `table`: the manifest's.
  Owners(const repo::Backup& backup, const std::vector<repo::Owner>& table);
  // Of a cluster that lies there.
  static Owners of_directory(const std::string& directory);

  // Of an entry, and of the data directory itself; nullopt: leave them to whom they are (not root).
  std::optional<OwnerIds> of_entry(uint32_t index) const;
  const std::optional<OwnerIds>& of_cluster() const { return cluster_; }
  // Who the server is run as: the cluster's owner by name; nullopt when this process is that user
  // already.
  const std::optional<std::string>& server_user() const { return server_user_; }

 private:
  Owners() = default;
  std::vector<OwnerIds> ids_;
  std::optional<OwnerIds> cluster_;
  std::optional<std::string> server_user_;
};

// fchown and chown, when there is an owner to set; symbolic links are not followed.
void set_owner(const Fd& fd, const std::optional<OwnerIds>& owner, const std::string& path);
void set_owner(const std::string& path, const std::optional<OwnerIds>& owner);

// The owner of what is there, for who writes beside it; nullopt unless this process is root's.
std::optional<OwnerIds> owner_of(const std::string& path);

// Makes a directory with all its missing parents, each made one with that owner; mode for the last,
// 0755 for parents. Nothing to do is fine.
void make_owned_directories(const std::string& path, mode_t mode,
                            const std::optional<OwnerIds>& owner);
// Writes a whole file durably, as write_file_durably does, with that owner from the start.
void write_owned_file(const std::string& path, ByteView bytes, mode_t mode,
                      const std::optional<OwnerIds>& owner);

}  // namespace holdfast::restore
