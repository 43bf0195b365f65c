#include "restore/owners.h"

#include <array>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "base/error.h"

namespace holdfast::restore {
namespace {

constexpr size_t kNameBufferBytes = 16384;

std::optional<uid_t> user_id(const std::string& name) {
  std::vector<char> buffer(kNameBufferBytes);
  struct passwd entry{};
  struct passwd* found = nullptr;
  if (name.empty() || getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr)
    return std::nullopt;
  return found->pw_uid;
}

std::optional<gid_t> group_id(const std::string& name) {
  std::vector<char> buffer(kNameBufferBytes);
  struct group entry{};
  struct group* found = nullptr;
  if (name.empty() || getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
      found == nullptr)
    return std::nullopt;
  return found->gr_gid;
}

std::optional<std::string> name_of_user(uid_t id) {
  std::vector<char> buffer(kNameBufferBytes);
  struct passwd entry{};
  struct passwd* found = nullptr;
  if (getpwuid_r(id, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return std::nullopt;
  return std::string(found->pw_name);
}

}  // namespace

Owners::Owners(const repo::Backup& backup, const std::vector<repo::Owner>& table) {
  if (geteuid() != 0) return;
  ids_.reserve(table.size());
  for (const repo::Owner& owner : table)
    ids_.push_back({.user = user_id(owner.user).value_or(owner.uid),
                    .group = group_id(owner.group).value_or(owner.gid)});
  std::optional<uid_t> user = user_id(backup.data_user);
  std::optional<gid_t> group = group_id(backup.data_group);
  for (const repo::Owner& owner : table) {
    if (!user && owner.user == backup.data_user) user = owner.uid;
    if (!group && owner.group == backup.data_group) group = owner.gid;
  }
  if (!user) return;
  cluster_ = OwnerIds{.user = *user, .group = group.value_or(static_cast<gid_t>(*user))};
  server_user_ = name_of_user(*user);
}

Owners Owners::of_directory(const std::string& directory) {
  Owners owners;
  owners.cluster_ = owner_of(directory);
  if (owners.cluster_) owners.server_user_ = name_of_user(owners.cluster_->user);
  return owners;
}

std::optional<OwnerIds> Owners::of_entry(uint32_t index) const {
  if (index < ids_.size()) return ids_[index];
  return cluster_;
}

void set_owner(const Fd& fd, const std::optional<OwnerIds>& owner, const std::string& path) {
  if (owner && fchown(fd.get(), owner->user, owner->group) != 0)
    throw_errno("change owner of", path);
}

void set_owner(const std::string& path, const std::optional<OwnerIds>& owner) {
  if (owner && lchown(path.c_str(), owner->user, owner->group) != 0)
    throw_errno("change owner of", path);
}

std::optional<OwnerIds> owner_of(const std::string& path) {
  if (geteuid() != 0) return std::nullopt;
  std::optional<struct stat> status = stat_if_exists(path);
  if (!status) return std::nullopt;
  return OwnerIds{.user = status->st_uid, .group = status->st_gid};
}

void make_owned_directories(const std::string& path, mode_t mode,
                            const std::optional<OwnerIds>& owner) {
  if (is_directory(path)) return;
  const std::string parent = parent_path(path);
  if (parent != path && !is_directory(parent)) make_owned_directories(parent, 0755, owner);
  make_directory(path, mode);
  if (chmod(path.c_str(), mode) != 0) throw_errno("change mode of", path);  // whatever the umask
  set_owner(path, owner);
  fsync_parent(path);
}

void write_owned_file(const std::string& path, ByteView bytes, mode_t mode,
                      const std::optional<OwnerIds>& owner) {
  DurableFile file(path, mode);
  if (fchmod(file.fd().get(), mode) != 0) throw_errno("change mode of", path);
  set_owner(file.fd(), owner, path);
  file.write(bytes);
  file.commit();
}

}  // namespace holdfast::restore
