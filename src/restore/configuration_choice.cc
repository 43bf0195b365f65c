#include "restore/configuration_choice.h"

#include <algorithm>
#include <functional>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cluster/configuration_tree.h"
#include "restore/configuration_places.h"
#include "restore/prepare.h"
#include "restore/tablespaces.h"
#include "restore/used_configuration.h"

namespace holdfast::restore {
namespace {

// The newest backups, which are looked through.
constexpr size_t kBackupsLookedAt = 100;

using From = ConfigurationChoice::From;

std::string server_words(const repo::Configuration& configuration) {
  return fmt::format("{}:{} ({})", configuration.host, configuration.data_directory,
                     configuration.of_standby ? "standby" : "primary");
}

bool is_of_standby(const repo::Backup& backup) {
  return backup.configuration ? backup.configuration->of_standby : backup.from_standby;
}

// All of the small files that are configuration, of the backup's own manifest.
void read_files(const repo::Repository& repository, const repo::Backup& backup,
                ConfigurationChoice& choice) {
  repo::ManifestReader manifest(repository, backup.lineage, backup.id, backup.manifest_sha256,
                                [](std::string_view) {});
  const std::vector<repo::Owner> owners = manifest.summary().owners;
  const std::vector<std::string> usual = {"pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf",
                                          "postgresql.conf"};
  const std::vector<std::string>& inner =
      backup.configuration ? backup.configuration->files : usual;
  for (HeldFile& file :
       read_small_files(repository, backup, manifest, [&](const repo::ManifestEntry& entry) {
         return entry.root == repo::ManifestRoot::kOutside ||
                (entry.root == repo::ManifestRoot::kData &&
                 std::ranges::find(inner, entry.path) != inner.end());
       }))
    (file.entry.root == repo::ManifestRoot::kOutside ? choice.outside : choice.inner)
        .push_back(std::move(file));
  choice.owners.emplace(backup, owners);
  choice.configuration = configuration_of(backup, choice.outside);
  choice.backup = backup.id;
}

// The three files of the server that was backed up, looked for in this data directory.
cluster::ConfigurationRoles roles_in(const std::string& directory,
                                     const repo::Configuration& configuration) {
  auto here = [&](const std::string& path) {
    const std::string& was = configuration.data_directory;
    return !was.empty() && path.starts_with(was + "/") ? directory + path.substr(was.size()) : path;
  };
  cluster::ConfigurationRoles roles{.config_file = here(configuration.config_file),
                                    .hba_file = here(configuration.hba_file),
                                    .ident_file = here(configuration.ident_file)};
  return roles;
}

bool is_of(const std::string& host, const std::string& was, const std::string& directory) {
  return host == host_name() && !was.empty() && resolved_path(was) == resolved_path(directory);
}

bool are_same(const cluster::ConfigurationRoles& one, const cluster::ConfigurationRoles& other) {
  return resolved_path(one.config_file) == resolved_path(other.config_file) &&
         resolved_path(one.hba_file) == resolved_path(other.hba_file) &&
         resolved_path(one.ident_file) == resolved_path(other.ident_file);
}

bool is_whole(const cluster::ConfigurationTree& tree) {
  return tree.missing.empty() && tree.invalid.empty();
}

// Paths below the directory that are the configuration which is there, when it is whole.
std::optional<std::set<std::string>> whole_configuration(const std::string& directory,
                                                         const cluster::ConfigurationRoles& roles) {
  if (!lstat_if_exists(join_path(directory, "postgresql.auto.conf")) ||
      !may_keep_configuration(directory))
    return std::nullopt;
  const cluster::ConfigurationTree tree =
      cluster::read_configuration_tree(roles, directory, cluster::host_configuration());
  if (!is_whole(tree)) return std::nullopt;
  std::set<std::string> left;
  const std::string inside = resolved_path(directory) + "/";
  for (const cluster::ConfigurationFile& file : tree.files) {
    if (file.path.starts_with(directory + "/")) left.insert(file.path.substr(directory.size() + 1));
    if (const std::string resolved = resolved_path(file.path); resolved.starts_with(inside))
      left.insert(resolved.substr(inside.size()));
  }
  for (const std::string& named : tree.directories)
    if (named.starts_with(directory + "/")) left.insert(named.substr(directory.size() + 1));
  return left;
}

// Whether all of them lie outside the data directory and are whole, whatever became of that.
bool is_whole_outside(const std::string& directory, const cluster::ConfigurationRoles& roles) {
  for (const std::string& file : {roles.config_file, roles.hba_file, roles.ident_file})
    if (file.starts_with(directory + "/")) return false;
  return is_whole(
      cluster::read_configuration_tree(roles, directory, cluster::host_configuration()));
}

// From here on it is that of the server whose directory this is, and no backup has its files.
void take_used(ConfigurationChoice& choice, const cluster::ConfigurationRoles& roles,
               const std::string& directory) {
  repo::Configuration& configuration = choice.configuration;
  if (!is_of(configuration.host, configuration.data_directory, directory))
    configuration.command_line.clear();
  configuration.config_file = roles.config_file;
  configuration.hba_file = roles.hba_file;
  configuration.ident_file = roles.ident_file;
  configuration.host = host_name();
  configuration.data_directory = directory;
  configuration.directories.clear();
  configuration.links.clear();
  choice.outside.clear();
}

std::optional<repo::Backup> find_newest(const repo::Repository& repository,
                                        const repo::LineageName& lineage,
                                        const std::function<bool(const repo::Backup&)>& is_it) {
  const std::vector<std::string> ids = repo::list_backup_ids(repository, lineage);
  const size_t oldest = ids.size() - std::min(ids.size(), kBackupsLookedAt);
  for (size_t at = ids.size(); at > oldest; --at)
    if (std::optional<repo::Backup> backup =
            repo::read_backup_if_possible(repository, lineage, ids[at - 1], [](const Error&) {});
        backup && is_it(*backup))
      return backup;
  return std::nullopt;
}

}  // namespace

bool is_of_this_server(const repo::Backup& backup, const std::string& directory) {
  const std::string& host = backup.configuration ? backup.configuration->host : backup.host;
  const std::string& was =
      backup.configuration ? backup.configuration->data_directory : backup.data_directory;
  return is_of(host, was, directory);
}

std::string ConfigurationChoice::words(size_t others) const {
  if (others > 0)
    return fmt::format("{}, but {} outside the data directory {} there and left, and {}", words(),
                       others == 1 ? "1 file" : fmt::format("{} files", others),
                       others == 1 ? "was" : "were", others == 1 ? "differs" : "differ");
  switch (from) {
    case From::kThere:
      return "as it is there";
    case From::kThereOutside:
      return fmt::format(
          "as it is there ({}), with the postgresql.auto.conf of {}, without its port and "
          "addresses",
          configuration.config_file, auto_conf_of);
    case From::kStandby:
      return fmt::format("of {}, without its port and addresses", server_words(configuration));
    case From::kOtherBackup:
      return fmt::format("of {}, from backup {}", server_words(configuration), backup);
    case From::kBackup:
      break;
  }
  return fmt::format("of {}", server_words(configuration));
}

std::optional<repo::Backup> find_newest_of_this_server(const std::string& directory,
                                                       const repo::Repository& repository,
                                                       const repo::LineageName& lineage) {
  return find_newest(repository, lineage, [&](const repo::Backup& backup) {
    return is_of_this_server(backup, directory);
  });
}

std::optional<repo::Backup> find_own_backup(const ChoiceOptions& options,
                                            const repo::Repository& repository,
                                            const repo::Backup& backup) {
  if (options.is_copy || is_of_this_server(backup, options.directory)) return backup;
  if (std::optional<repo::Backup> own =
          find_newest_of_this_server(options.directory, repository, backup.lineage))
    return own;
  const auto is_a_primarys = [&](const repo::Backup& other) {
    return !options.is_standbys_place && !is_of_standby(other);
  };
  return is_a_primarys(backup) ? backup : find_newest(repository, backup.lineage, is_a_primarys);
}

ConfigurationChoice choose_configuration(const ChoiceOptions& options,
                                         const repo::Repository& repository,
                                         const repo::Backup& backup,
                                         const std::optional<repo::Backup>& own,
                                         Reporter& reporter) {
  ConfigurationChoice choice;
  choice.is_own = own.has_value();
  read_files(repository, backup, choice);
  for (const std::string& passed_over : choice.configuration.passed_over)
    reporter.warning(fmt::format("the configuration in backup {} is not understood as a whole: {}",
                                 backup.id, passed_over));
  if (options.is_copy) return choice;
  if (own && own->id != backup.id) {
    ConfigurationChoice other{.from = From::kOtherBackup};
    if (const std::optional<Error> error = error_of([&] { read_files(repository, *own, other); })) {
      reporter.warning(fmt::format("the configuration in backup {} cannot be read: {}", own->id,
                                   error->message()));
      choice.is_own = false;
    } else {
      for (const HeldFile& file : choice.inner) other.left.insert(file.entry.path);
      for (const HeldFile& file : other.inner) other.left.insert(file.entry.path);
      choice = std::move(other);
    }
  }
  const std::string& directory = options.directory;
  const cluster::ConfigurationRoles recorded = roles_in(directory, choice.configuration);
  const std::optional<cluster::ConfigurationRoles> used =
      find_used_configuration(directory, backup.major, options.debian_clusters);
  const bool is_another = used && !are_same(*used, recorded);
  std::optional<std::set<std::string>> there =
      is_another ? whole_configuration(directory, *used) : std::nullopt;
  if (there)
    take_used(choice, *used, directory);
  else
    there = whole_configuration(directory, recorded);
  if (there) {
    choice.from = From::kThere;
    choice.left = *std::move(there);
    choice.inner.clear();
    if (!choice.is_own) choice.outside.clear();
  } else if (is_another && !is_of_this_server(own ? *own : backup, directory) &&
             is_whole_outside(directory, *used)) {
    choice.auto_conf_of = server_words(choice.configuration);
    take_used(choice, *used, directory);
    choice.from = From::kThereOutside;
    choice.is_own = false;
  } else if (!choice.is_own && is_of_standby(backup)) {
    choice.from = From::kStandby;
  }
  return choice;
}

}  // namespace holdfast::restore
