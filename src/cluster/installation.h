// installation.h: where a major's PostgreSQL programs are.
//
// Debian keeps them outside PATH, one directory a major; others have one pg_config. A data
// directory must be started by the very major that made it, so each candidate is asked for its
// version.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace holdfast::cluster {

struct Installation {
  std::string bin_directory;  // absolute
  int major = 0;
  std::string version;  // "15.18"

  // "<bin_directory>/<name>"
  std::string program(std::string_view name) const;
};

// The installation of `major`: `bin_directory` when one is given, else the first of that major
// among /usr/lib/postgresql/<major>/bin, what pg_config --bindir names, and the directory of
// "postgres" in PATH. Throws kNotFound when there is none, kUnsupported when the given directory
// holds another major.
Installation find_installation(int major,
                               const std::optional<std::string>& bin_directory = std::nullopt);

// "postgres (PostgreSQL) 15.18 (Debian 15.18-1)" -> "15.18"; "18beta1" -> "18beta1". nullopt for
// any other text.
std::optional<std::string> parse_postgres_version(std::string_view output);

}  // namespace holdfast::cluster
