#include "cluster/socket_owner.h"

#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"

namespace holdfast::cluster {
namespace {

// glibc's function would change every thread. Only the effective id: the real one keeps the user's
// processes from this one, and leads back.
bool act_as(uid_t user) {
  constexpr uid_t kAsItIs = static_cast<uid_t>(-1);
  return syscall(SYS_setresuid, kAsItIs, user, kAsItIs) == 0;
}

}  // namespace

std::optional<uid_t> socket_owner_for_root(const std::string& host, const std::string& port) {
  if (geteuid() != 0 || !host.starts_with('/')) return std::nullopt;
  const std::optional<struct stat> socket =
      stat_if_exists(join_path(host, fmt::format(".s.PGSQL.{}", port)));
  if (!socket || !S_ISSOCK(socket->st_mode) || socket->st_uid == 0) return std::nullopt;
  return socket->st_uid;
}

AsUser::AsUser(std::optional<uid_t> user) : is_other_(user && act_as(*user)) {}

AsUser::~AsUser() {
  if (is_other_) HF_CHECK(act_as(0));
}

}  // namespace holdfast::cluster
