#include "restore/configuration_choice.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "cluster/configuration_tree.h"
#include "restore/configuration_places.h"
#include "restore/prepare.h"
#include "restore/tablespaces.h"

namespace holdfast::restore {
namespace {

// Newer backups that are looked through for a configuration of the cluster's own.
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

// Paths below the directory that are the configuration which is there, when it is whole.
std::optional<std::set<std::string>> whole_configuration(const std::string& directory,
                                                         const repo::Configuration& configuration) {
  if (!lstat_if_exists(join_path(directory, "postgresql.auto.conf")) ||
      !may_keep_configuration(directory))
    return std::nullopt;
  const cluster::ConfigurationTree tree = cluster::read_configuration_tree(
      roles_in(directory, configuration), directory, cluster::host_configuration());
  if (!tree.missing.empty() || !tree.invalid.empty()) return std::nullopt;
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

}  // namespace

bool is_of_this_server(const repo::Backup& backup, const std::string& directory) {
  const std::string& host = backup.configuration ? backup.configuration->host : backup.host;
  const std::string& was =
      backup.configuration ? backup.configuration->data_directory : backup.data_directory;
  return host == host_name() && !was.empty() && resolved_path(was) == resolved_path(directory);
}

std::string ConfigurationChoice::words(size_t others) const {
  if (others > 0)
    return fmt::format("{}, but {} outside the data directory {} there and left, and {}", words(),
                       others == 1 ? "1 file" : fmt::format("{} files", others),
                       others == 1 ? "was" : "were", others == 1 ? "differs" : "differ");
  switch (from) {
    case From::kThere:
      return "as it is there";
    case From::kStandby:
      return fmt::format("of {}, without its port and addresses", server_words(configuration));
    case From::kOtherBackup:
      return fmt::format("of {}, from backup {}", server_words(configuration), backup);
    case From::kBackup:
      break;
  }
  return fmt::format("of {}", server_words(configuration));
}

std::optional<repo::Backup> find_own_backup(const ChoiceOptions& options,
                                            const repo::Repository& repository,
                                            const repo::Backup& backup) {
  auto is_own = [&](const repo::Backup& other) {
    return options.is_copy || is_of_this_server(other, options.directory) ||
           (!options.is_standbys_place && !is_of_standby(other));
  };
  if (is_own(backup)) return backup;
  const std::vector<std::string> ids = repo::list_backup_ids(repository, backup.lineage);
  const size_t oldest = ids.size() - std::min(ids.size(), kBackupsLookedAt);
  for (size_t at = ids.size(); at > oldest; --at) {
    std::optional<repo::Backup> other =
        repo::read_backup_if_possible(repository, backup.lineage, ids[at - 1], [](const Error&) {});
    if (other && is_own(*other)) return other;
  }
  return std::nullopt;
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
  if (std::optional<std::set<std::string>> there =
          whole_configuration(options.directory, choice.configuration)) {
    choice.from = From::kThere;
    choice.left = *std::move(there);
    choice.inner.clear();
    if (!choice.is_own) choice.outside.clear();
  } else if (!choice.is_own && is_of_standby(backup)) {
    choice.from = From::kStandby;
  }
  return choice;
}

}  // namespace holdfast::restore
