#include "restore/used_configuration.h"

#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "restore/configuration.h"

namespace holdfast::restore {
namespace {

constexpr size_t kMaxOptionsBytes = 65536;

// What a server's command line says of its files; empty: nothing.
struct StartOptions {
  std::string directory = {};  // -D: of the files that are not named
  std::map<std::string, std::string> settings = {};
};

// PROGRAM "word" "word" ...: nothing in a word is escaped.
std::vector<std::string> words_of(std::string_view options) {
  constexpr std::string_view kBetween = "\" \"";
  std::vector<std::string> words;
  const size_t first = options.find(" \"");
  const size_t last = options.rfind('"');
  if (first == std::string_view::npos || last < first + 2) return words;
  std::string_view rest = options.substr(first + 2, last - first - 2);
  for (size_t end = 0; (end = rest.find(kBetween)) != std::string_view::npos;
       rest.remove_prefix(end + kBetween.size()))
    words.emplace_back(rest.substr(0, end));
  words.emplace_back(rest);
  return words;
}

// "-D DIR", "-c NAME=VALUE", with and without a space, and "--NAME=VALUE" (getopt, postmaster.c).
StartOptions start_options(const std::string& data_directory) {
  StartOptions options;
  std::optional<Bytes> text;
  unreadable_of([&] {
    text = read_if_exists(join_path(data_directory, "postmaster.opts"), kMaxOptionsBytes);
  });
  if (!text) return options;
  const auto set = [&](std::string_view setting) {
    const size_t equals = setting.find('=');
    if (equals != std::string_view::npos)
      options.settings[std::string(setting.substr(0, equals))] = setting.substr(equals + 1);
  };
  const std::vector<std::string> words = words_of(as_text(*text));
  for (size_t at = 0; at < words.size(); ++at) {
    const std::string& word = words[at];
    if (word.starts_with("--")) {
      set(std::string_view(word).substr(2));
      continue;
    }
    if (!word.starts_with("-D") && !word.starts_with("-c")) continue;
    std::string value = word.substr(2);
    if (value.empty() && at + 1 < words.size()) value = words[++at];
    if (word.starts_with("-D"))
      options.directory = value;
    else
      set(value);
  }
  return options;
}

// The three files of a server that is started so, if it is that of `data_directory`.
std::optional<cluster::ConfigurationRoles> roles_of(const StartOptions& options,
                                                    const std::string& data_directory) {
  const auto given = [&](const char* name) {
    const auto found = options.settings.find(name);
    return found == options.settings.end() ? std::string() : found->second;
  };
  cluster::ConfigurationRoles roles{
      .config_file = given("config_file"), .hba_file = {}, .ident_file = {}};
  if (roles.config_file.empty() && !options.directory.empty())
    roles.config_file = join_path(options.directory, "postgresql.conf");
  if (!roles.config_file.starts_with('/') || !stat_if_exists(roles.config_file))
    return std::nullopt;
  const std::map<std::string, std::string> in_force =
      read_settings_in_force({.config_file = roles.config_file}, data_directory);
  // The command line, then the files, then the directory that -D names.
  const auto path_of = [&](const char* name, const std::string& otherwise) {
    if (std::string path = given(name); !path.empty()) return path;
    const auto found = in_force.find(name);
    return found != in_force.end() && !found->second.empty() ? found->second : otherwise;
  };
  const std::string of = path_of("data_directory", options.directory);
  if (of.empty() || resolved_path(of) != resolved_path(data_directory)) return std::nullopt;
  const std::string& beside = options.directory.empty() ? data_directory : options.directory;
  roles.hba_file = path_of("hba_file", join_path(beside, "pg_hba.conf"));
  roles.ident_file = path_of("ident_file", join_path(beside, "pg_ident.conf"));
  // A relative one is looked for where the server was started, which is not known.
  if (!roles.hba_file.starts_with('/') || !roles.ident_file.starts_with('/')) return std::nullopt;
  return roles;
}

}  // namespace

std::optional<cluster::ConfigurationRoles> find_used_configuration(
    const std::string& data_directory, int major, const std::string& debian_clusters) {
  std::optional<cluster::ConfigurationRoles> roles;
  // What cannot be read tells nothing.
  unreadable_of([&] { roles = roles_of(start_options(data_directory), data_directory); });
  if (roles) return roles;
  const std::string clusters = join_path(debian_clusters, std::to_string(major));
  std::vector<DirectoryEntry> entries;
  unreadable_of([&] {
    entries = list_directory_if_exists(clusters).value_or(std::vector<DirectoryEntry>());
  });
  for (const DirectoryEntry& entry : entries) {
    const std::string file = fmt::format("{}/{}/postgresql.conf", clusters, entry.name);
    unreadable_of([&] { roles = roles_of({.settings = {{"config_file", file}}}, data_directory); });
    if (roles) break;
  }
  return roles;
}

}  // namespace holdfast::restore
