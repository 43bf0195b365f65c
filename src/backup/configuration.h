// configuration.h: what a server's configuration consists of, so that a backup has all of it under
// its own role and path.
//
// Asked are the server (its three files, and which others it has read) and the files themselves: a
// file without a setting, a list that an @ names and an empty include_dir are known to nobody else.
// Debian's configuration directory is kept whole: start.conf, pg_ctl.conf and environment stand
// beside the three.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "cluster/server_facts.h"
#include "repo/configuration.h"

namespace holdfast::backup {

// Under which path a file or directory is kept that lies outside the data directory: its own, or,
// where that begins inside and leads out by a link, the one with all links resolved. nullopt: it is
// inside. `inside`: the data directory, resolved.
std::optional<std::string> path_outside(const std::string& path, const std::string& inside);
// With symbolic links resolved as far as the path exists and can be looked at.
std::string resolve_links(const std::string& path);

class ConfigurationFiles {
 public:
  ConfigurationFiles(const cluster::ServerFacts& facts, const std::string& data_directory);

  // A link in the data directory: true when what it leads to is kept, and the link with it.
  bool take_link(const std::string& path, const std::string& target);
  // All files, wherever they lie.
  std::vector<std::string> paths() const { return {paths_.begin(), paths_.end()}; }
  // What the commit object says.
  repo::Configuration describe() const;

 private:
  void add(const std::string& path);
  void add_debian_files();
  std::string as_the_server_names_it(const std::string& resolved) const;

  std::string data_directory_;
  std::string inside_;  // the same, resolved
  std::set<std::string> paths_;
  std::set<std::string> inner_;  // resolved, in the data directory
  std::set<std::string> outer_;  // as they are kept
  std::set<std::string> directories_;
  repo::Configuration configuration_;
};

}  // namespace holdfast::backup
