// socket_owner.h: root goes to a server through its socket as the user whose socket it is.
//
// By peer authentication, as Debian sets it up, a server lets in the operating system user of the
// role's name: postgres, and not root. It goes by the user that the connecting thread acts as at
// connect() (SO_PEERCRED, unix(7)).
#pragma once

#include <optional>
#include <string>
#include <sys/types.h>

namespace holdfast::cluster {

// Whose the socket of a server at `host`, a directory, and `port` is: the user that runs it.
// nullopt unless this process is root, and that another's.
std::optional<uid_t> socket_owner_for_root(const std::string& host, const std::string& port);

// While it lives this thread alone acts as `user`; as before with nullopt, or where it may not.
class AsUser {
 public:
  explicit AsUser(std::optional<uid_t> user);
  ~AsUser();
  AsUser(const AsUser&) = delete;
  AsUser& operator=(const AsUser&) = delete;

 private:
  bool is_other_ = false;
};

}  // namespace holdfast::cluster
