#include "repo/wal_conflict.h"

#include <fmt/core.h>

namespace holdfast::repo {

std::string to_string(const WalOwner& owner) {
  return owner.data_directory.empty()
             ? fmt::format("host \"{}\"", owner.host)
             : fmt::format("host \"{}\", data directory \"{}\"", owner.host, owner.data_directory);
}

WalOwner owner_of(const WalSegmentInfo& info) {
  return {.host = info.host, .data_directory = info.pgdata};
}

std::string pushed_by(const WalSegmentInfo& info) {
  return fmt::format("{} at {}", to_string(owner_of(info)), to_rfc3339(info.pushed));
}

std::string way_past(const std::string& name, const WalOwner& there, const WalOwner& here) {
  const bool is_same = !there.data_directory.empty() && there.host == here.host &&
                       there.data_directory == here.data_directory;
  if (is_same)
    return fmt::format(
        "This server was rolled back, to a snapshot or an older copy of its files, and writes anew "
        "what it has archived before. \"holdfast wal set-aside {0} --onward\" takes \"{0}\" and "
        "all that is archived behind it on its timeline out of service (nothing is removed), and "
        "what the server writes now is archived at the next try. Then take a new backup.",
        name);
  return fmt::format(
      "Two servers archive the same timeline of one system: a restored copy, or a former primary "
      "that was started again. Stop archiving on the one that is not to go on (archive_mode = "
      "off); a copy that is to go on needs a timeline, or a repository, of its own. If the "
      "archived file is the wrong one, \"holdfast wal set-aside {} --onward\" takes it and all "
      "behind it on its timeline out of service, and this one is archived at the next try.",
      name);
}

}  // namespace holdfast::repo
