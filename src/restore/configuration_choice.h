// configuration_choice.h: whose configuration a restored cluster gets.
//
// A copy has that of the backup. In place the cluster keeps the configuration of its own role:
//
//   1. what is there, when it is whole: the three files of the server, postgresql.auto.conf and all
//      that they include. Which three these are says what the directory's own server has left
//      (used_configuration.h), else the backup of 2, 3 or 4
//   2. that of the backup, when it is this server's own (same host, same data directory), else of
//      the newest one that is
//   3. that of the backup, when it is a primary's, else of the newest one that is. Files outside
//      the data directory that are whole, and that this machine knows to be the directory's, come
//      before: from the backup is then postgresql.auto.conf alone, and as of 4
//   4. a standby's, when there is no other: without its port, its addresses and its
//   primary_conninfo
//
// A backup may have been taken on any server of the cluster; its data is the cluster's, its
// configuration is that server's. So it is after a failover, too: the newest backup is then of the
// server that has taken over.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "repo/backup.h"
#include "restore/lay.h"
#include "restore/used_configuration.h"

namespace holdfast::restore {

struct ConfigurationChoice {
  enum class From : uint8_t { kThere, kThereOutside, kBackup, kOtherBackup, kStandby };
  From from = From::kBackup;
  repo::Configuration configuration = {};  // whose files, roles and command line count
  std::string backup = {};                 // that it comes from; of kThere: whose roles these are
  // Of this very server, or of a primary.
  bool is_own = true;
  // kOtherBackup: its files, of the data directory and from outside, and who owns them.
  std::vector<HeldFile> inner = {}, outside = {};
  std::optional<Owners> owners = {};
  // Paths below the data directory that the backup's files are not laid over; of kThere they are
  // not removed either.
  std::set<std::string> left = {};
  std::string auto_conf_of = {};  // kThereOutside: "HOST:DIR (primary)"

  // Its port and addresses are another server's.
  bool is_foreign() const { return from == From::kStandby || from == From::kThereOutside; }
  // "as it is there", "of HOST:DIR (primary)". `others`: files outside that were there and differ.
  std::string words(size_t others = 0) const;
};

struct ChoiceOptions {
  std::string directory;  // the data directory
  bool is_copy = false;
  // Of a standby: its own configuration comes before a primary's.
  bool is_standbys_place = false;
  std::string debian_clusters = kDebianClusters;
};
// A backup whose configuration is the cluster's own: of this very server, `backup` itself before
// the newest one; else of a primary, likewise.
// Commit objects alone are read.
std::optional<repo::Backup> find_own_backup(const ChoiceOptions& options,
                                            const repo::Repository& repository,
                                            const repo::Backup& backup);
// `own`: what that found. Reads the configuration files of the one or the other. Writes nothing.
ConfigurationChoice choose_configuration(const ChoiceOptions& options,
                                         const repo::Repository& repository,
                                         const repo::Backup& backup,
                                         const std::optional<repo::Backup>& own,
                                         Reporter& reporter);

// Whether the backup was taken on this host, of the server with that data directory; and the newest
// that was, of the last ones of the lineage.
bool is_of_this_server(const repo::Backup& backup, const std::string& directory);
std::optional<repo::Backup> find_newest_of_this_server(const std::string& directory,
                                                       const repo::Repository& repository,
                                                       const repo::LineageName& lineage);

}  // namespace holdfast::restore
