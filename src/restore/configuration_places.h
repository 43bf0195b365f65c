// configuration_places.h: where the files of a server's configuration lie after a restore, and
// laying them there.
//
//   in place     where they were: what is there outside the data directory stays as it is, links in
//                the data directory are laid again
//   elsewhere    a copy has everything below itself and starts wherever it is moved or cloned to:
//                the server's three files by their usual names at its top; what lies beside
//                config_file outside the data directory with its path from there; what links in the
//                data directory lead to, in the place of the link; the rest with its whole path
//                below holdfast_outside/. No file names an absolute path of the copy: includes and
//                @ lists are led to the new places by relative names
//
// A file is the server's config_file because the backup says so, not because of its name. Of a
// backup that does not say it (an imported one) the usual names are all there is to go by.
//
// Facts: guc.c (SelectConfigFiles), PostgreSQL 13 to 18: where hba_file is not set, pg_hba.conf
// beside config_file.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/reporter.h"
#include "cluster/configuration_tree.h"
#include "repo/configuration.h"
#include "restore/configuration.h"
#include "restore/lay.h"

namespace holdfast::restore {

inline constexpr const char* kOutsideDirectory = "holdfast_outside";

// What the backup says, or what the names of its files suggest. `outside`: those from outside the
// data directory.
repo::Configuration configuration_of(const repo::Backup& backup, std::span<const HeldFile> outside);

class ConfigurationPlaces {
 public:
  struct Options {
    std::string directory;  // the data directory that is restored
    bool is_copy = false;
    // In place: of another server, whose addresses are not taken over.
    bool is_foreign = false;
    // In place: what is in the data directory stays as it is.
    bool leaves_inner = false;
    // Files of the data directory by their path, in place of those on disk.
    MadeUpFiles made_up = {};
  };
  // REQUIRES: the files of the data directory are laid, or made up. Both references outlive it.
  ConfigurationPlaces(const repo::Configuration& configuration, std::span<const HeldFile> outside,
                      Options options);

  // The server's three files, where they are or will be.
  ConfigurationFiles files() const;
  // Where a file or directory of the server's lies now; its path may be as the server names it, or
  // as the backup keeps it.
  std::string of(const std::string& path) const;
  // From outside, there already, and left as they are.
  bool is_left(const std::string& path) const { return left_.contains(path); }
  // One of them that is not what the backup has.
  bool is_left_and_other(const HeldFile& file) const;

  struct Laid {
    std::vector<std::string> outside;                  // files that were written, outside or below
    std::vector<pg::ConfSetting> not_taken_over = {};  // of a foreign one
    size_t others = 0;                                 // files that were left and differ
  };
  Laid lay(const Owners& owners, const std::optional<OwnerIds>& cluster_owner,
           Reporter& reporter) const;
  // Contents after lay(), by path, without writing them: for a preview.
  MadeUpFiles preview() const;

 private:
  struct Written {
    std::string text;
    std::vector<pg::ConfSetting> not_taken_over;
  };
  std::string role_place(const std::string& path) const;
  std::string place_of_outside(const std::string& path) const;
  std::string stored(const std::string& path) const;
  std::optional<std::string> inner(const std::string& path) const;
  std::string current(const std::string& stored_path) const;
  std::optional<std::string> text_of(const std::string& path) const;
  std::optional<std::vector<std::string>> names_in(const std::string& path) const;
  bool is_there(const std::string& path) const;
  cluster::ConfigurationTree read_tree() const;
  bool is_laid(const std::string& stored_path) const;
  std::string called_from(const std::string& file, const std::string& path) const;
  Written rewritten(const cluster::ConfigurationFile& file) const;
  void lay_link(const repo::Configuration::Link& link, const std::optional<OwnerIds>& owner,
                Reporter& reporter) const;

  const repo::Configuration& configuration_;
  const std::span<const HeldFile> outside_;
  const Options options_;
  std::map<std::string, std::string> moved_;  // files from outside, as kept: where they go
  std::set<std::string> left_;
};

}  // namespace holdfast::restore
