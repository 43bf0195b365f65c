#include "backup/configuration.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "cluster/configuration_tree.h"

namespace holdfast::backup {
namespace {

// A configuration file beyond this is none.
constexpr off_t kMaxLinkedBytes = off_t{16} << 20;
constexpr size_t kMaxDebianFiles = 1000;
// What pg_createcluster(1) puts beside postgresql.conf.
constexpr std::array<const char*, 3> kDebianFiles = {"start.conf", "pg_ctl.conf", "environment"};

bool is_below(std::string_view path, std::string_view directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}

// A ".." behind a link leads elsewhere than it looks.
std::string normal_form(const std::string& path) {
  return (path + "/").find("/../") == std::string::npos ? absolute_path(path) : resolve_links(path);
}

bool is_readable_file(const std::string& path, const struct stat& status) {
  return S_ISREG(status.st_mode) && status.st_size <= kMaxLinkedBytes &&
         access(path.c_str(), R_OK) == 0;
}

}  // namespace

std::string resolve_links(const std::string& path) {
  std::error_code error;
  const std::filesystem::path result = std::filesystem::weakly_canonical(path, error);
  return error ? absolute_path(path) : result.string();
}

std::optional<std::string> path_outside(const std::string& path, const std::string& inside) {
  std::string absolute = absolute_path(path);
  const std::string folder = resolve_links(parent_path(absolute));
  if (folder == inside || is_below(folder, inside)) {
    std::string target = resolve_links(absolute);
    return is_below(target, inside) ? std::nullopt : std::optional(std::move(target));
  }
  // Named inside, below a directory that is a link.
  for (std::string above = parent_path(absolute); above != "/"; above = parent_path(above))
    if (resolve_links(above) == inside) return resolve_links(absolute);
  return absolute;
}

ConfigurationFiles::ConfigurationFiles(const cluster::ServerFacts& facts,
                                       const std::string& data_directory)
    : data_directory_(normal_form(facts.data_directory)), inside_(resolve_links(data_directory)) {
  configuration_ = {.config_file = normal_form(facts.config_file),
                    .hba_file = normal_form(facts.hba_file),
                    .ident_file = normal_form(facts.ident_file),
                    .command_line = facts.command_line,
                    .archives = facts.archive_mode != cluster::ArchiveMode::kOff &&
                                (!facts.archive_command.empty() || !facts.archive_library.empty()),
                    .of_standby = facts.in_recovery,
                    .host = host_name(),
                    .data_directory = data_directory_};
  for (const std::string& role :
       {configuration_.config_file, configuration_.hba_file, configuration_.ident_file})
    add(role);
  for (const std::string& path : facts.included_files) add(path);
  const cluster::ConfigurationTree tree =
      cluster::read_configuration_tree({.config_file = configuration_.config_file,
                                        .hba_file = configuration_.hba_file,
                                        .ident_file = configuration_.ident_file},
                                       data_directory_, cluster::host_configuration());
  for (const cluster::ConfigurationFile& file : tree.files) add(file.path);
  // Those that cannot be read are told of when they are to be kept.
  for (const std::string& path : tree.missing) add(path);
  for (const std::string& directory : tree.directories)
    if (std::optional<std::string> outside = path_outside(directory, inside_))
      directories_.insert(*std::move(outside));
  add_debian_files();
}

void ConfigurationFiles::add(const std::string& path) {
  if (path.empty() || !paths_.insert(path).second) return;
  if (std::optional<std::string> outside = path_outside(path, inside_))
    outer_.insert(*std::move(outside));
  else
    inner_.insert(resolve_links(path));
}

void ConfigurationFiles::add_debian_files() {
  const std::optional<std::string> config_file = path_outside(configuration_.config_file, inside_);
  if (!config_file) return;
  const std::string directory = parent_path(*config_file);
  const bool is_debian = std::ranges::any_of(kDebianFiles, [&](const char* name) {
    const std::optional<struct stat> there = lstat_if_exists(join_path(directory, name));
    return there && S_ISREG(there->st_mode);
  });
  if (!is_debian) return;
  std::error_code error;
  std::filesystem::recursive_directory_iterator at(
      directory, std::filesystem::directory_options::skip_permission_denied, error);
  for (size_t found = 0; !error && at != std::filesystem::end(at) && found < kMaxDebianFiles;
       at.increment(error)) {
    // Not what a link leads to, such as the server's log.
    const std::optional<struct stat> status = lstat_if_exists(at->path().string());
    if (!status || !S_ISREG(status->st_mode)) continue;
    add(at->path().string());
    ++found;
  }
}

std::string ConfigurationFiles::as_the_server_names_it(const std::string& resolved) const {
  return is_below(resolved, inside_) ? data_directory_ + resolved.substr(inside_.size()) : resolved;
}

bool ConfigurationFiles::take_link(const std::string& path, const std::string& target) {
  const std::string resolved = resolve_links(join_path(inside_, path));
  const std::optional<struct stat> status = stat_if_exists(resolved);
  if (!status) return false;
  if (!is_below(resolved, inside_)) {
    if (S_ISDIR(status->st_mode)) {
      const bool is_kept = directories_.contains(resolved) ||
                           std::ranges::any_of(outer_, [&](const std::string& file) {
                             return is_below(file, resolved);
                           });
      if (!is_kept) return false;
    } else if (is_readable_file(resolved, *status)) {
      add(resolved);
    } else {
      return false;
    }
  }
  configuration_.links.push_back(
      {.path = path, .target = target, .leads_to = as_the_server_names_it(resolved)});
  return true;
}

repo::Configuration ConfigurationFiles::describe() const {
  repo::Configuration configuration = configuration_;
  for (const std::string& path : inner_)
    if (is_below(path, inside_)) configuration.files.push_back(path.substr(inside_.size() + 1));
  configuration.directories = {directories_.begin(), directories_.end()};
  std::ranges::sort(configuration.links, {}, &repo::Configuration::Link::path);
  return repo::writable(std::move(configuration));
}

}  // namespace holdfast::backup
