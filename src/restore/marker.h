// marker.h: holdfast_restore.in_progress, by which a directory says that a restore works in it, or
// was interrupted there.
//
//   A restore by holdfast is under way ...        for people; two sentences
//   directory 1311 1780000000.123456789           its inode and birth: a copy of it is another one
//   host db1
//   process 4711 98213 MACHINE BOOT NAMESPACES    as base/process_identity.h has them; the number
//                                                 alone where they cannot be told
//   token 9f3c...                                 of the tablespaces' directories (outside.h)
//   tablespace /srv/fast                          each that it fills outside the directory
//   configuration kept
//   nothing is cleared yet                        pg_control is only called otherwise
//                                                 (cluster/start_barrier.h)
#pragma once

#include <optional>
#include <set>
#include <string>

#include "base/process_identity.h"
#include "restore/owners.h"

namespace holdfast::restore {

inline constexpr const char* kMarkerName = "holdfast_restore.in_progress";

struct Marker {
  std::string directory = {};  // identity_of_directory()
  std::string host = {};
  int64_t pid = 0;
  std::optional<ProcessIdentity> process = {};
  std::string token = {};
  std::set<std::string> places = {};
  bool keeps_configuration = false;
  bool is_untouched = false;
};

std::string marker_path(const std::string& directory);
// nullopt: there is none. A line that is not understood counts as missing.
std::optional<Marker> read_marker(const std::string& directory);
void write_marker(const std::string& directory, const Marker& marker,
                  const std::optional<OwnerIds>& owner);
// Of a restore that was killed while it wrote its marker there is nothing else in the directory.
bool is_marker_begun(const std::string& directory);
// Takes it away: the restore is whole, or has touched nothing.
void remove_marker(const std::string& directory);

// Stays when it is renamed or mounted elsewhere, and is another one for each copy of it.
std::string identity_of_directory(const std::string& directory);

}  // namespace holdfast::restore
