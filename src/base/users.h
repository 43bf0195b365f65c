// users.h: users and groups of this host, by number.
#pragma once

#include <string>
#include <sys/types.h>
#include <vector>

namespace holdfast {

// Whose a file is.
struct OwnerIds {
  uid_t user = 0;
  gid_t group = 0;
  bool operator==(const OwnerIds&) const = default;
};

// The number itself where nobody has that name.
std::string user_name(uid_t user);
std::string group_name(gid_t group);

// Every group that a user is in, `group` among them, whoever he is.
std::vector<gid_t> groups_of(uid_t user, gid_t group);

}  // namespace holdfast
