// configuration.h: what a server was started with, and where that lay, as a backup tells it: the
// member "configuration" of its commit object.
//
// What a file is called decides nothing: the server said which one is its config_file. Nothing in
// it ever makes a commit damaged: what is not of its shape is passed over.
//
// Normative: docs/design/repository-format.md, "Commit objects".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

namespace holdfast::repo {

inline constexpr size_t kMaxConfigurationBytes = size_t{1} << 20;  // as JSON

struct Configuration {
  struct Link {
    std::string path;      // relative to the data directory
    std::string target;    // as readlink(2) gives it
    std::string leads_to;  // with all links resolved
    bool operator==(const Link&) const = default;
  };

  // As SHOW prints them.
  std::string config_file = {}, hba_file = {}, ident_file = {};
  std::vector<std::string> files = {};        // in the data directory, relative to it, sorted
  std::vector<std::string> directories = {};  // outside, that an include_dir names
  std::vector<Link> links = {};               // by path
  std::vector<std::pair<std::string, std::string>> command_line = {};  // by name
  bool archives = false;
  // Whose it is.
  bool of_standby = false;
  std::string host = {};
  std::string data_directory = {};
  // What was read and is not of its shape, or was left out to be written; not itself written.
  std::vector<std::string> passed_over = {};

  bool operator==(const Configuration&) const = default;
};

Json to_json(const Configuration& configuration);
// nullopt: it is not of its shape as a whole.
std::optional<Configuration> configuration_from_json(const Json& json);
// As it can be written: without what is not UTF-8, and from the end of the links, then of the
// files, without what does not fit.
Configuration writable(Configuration configuration);

bool is_utf8(std::string_view text);  // by RFC 3629
// "/a/b" and "a/b": without an empty component, "." and "..".
bool is_normal_path(std::string_view path, bool is_absolute);

}  // namespace holdfast::repo
