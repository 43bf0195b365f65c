#include "restore/configuration_places.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "restore/tablespaces.h"

namespace holdfast::restore {
namespace {

// A copy has its files where it lies itself, under their usual names.
constexpr std::array<std::string_view, 4> kOwnPlaces = {"data_directory", "hba_file", "ident_file",
                                                        "external_pid_file"};

// "rest" of "<directory>/rest"; nullopt for another path.
std::optional<std::string> rest_below(const std::string& path, const std::string& directory) {
  if (directory.empty() || !path.starts_with(directory + "/")) return std::nullopt;
  return path.substr(directory.size() + 1);
}

// Whether this process could make a file of that path, with its directories.
bool can_write(const std::string& path) {
  std::string directory = parent_path(path);
  while (!lstat_if_exists(directory) && directory != "/") directory = parent_path(directory);
  return access(directory.c_str(), W_OK | X_OK) == 0;
}

std::string relative_name(const std::string& path, const std::string& directory) {
  return std::filesystem::path(path).lexically_relative(directory).string();
}

std::string find_named(std::span<const HeldFile> outside, std::string_view name) {
  for (const HeldFile& file : outside)
    if (base_name(file.entry.path) == name) return file.entry.path;
  return {};
}

// The value of `name` in that file from outside, as a path.
std::string named_by(std::span<const HeldFile> outside, const std::string& config_file,
                     std::string_view name) {
  for (const HeldFile& file : outside) {
    if (file.entry.path != config_file) continue;
    if (std::optional<std::string> value = pg::ConfFile(as_text(file.content)).value(name);
        value && !value->empty())
      return absolute_path(value->starts_with('/') ? *value
                                                   : join_path(parent_path(config_file), *value));
  }
  return {};
}

bool is_kept(std::span<const HeldFile> outside, const std::string& path) {
  return std::ranges::any_of(outside,
                             [&](const HeldFile& file) { return file.entry.path == path; });
}

}  // namespace

repo::Configuration configuration_of(const repo::Backup& backup,
                                     std::span<const HeldFile> outside) {
  if (backup.configuration) return *backup.configuration;
  repo::Configuration guessed{
      .files = {"pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf", "postgresql.conf"},
      .archives = true,  // else its WAL would not be here
      .of_standby = backup.from_standby,
      .host = backup.host,
      .data_directory = backup.data_directory};
  const std::string config_file = find_named(outside, "postgresql.conf");
  auto place = [&](std::string path, std::string_view name) {
    if (path.empty() || !is_kept(outside, path)) path = find_named(outside, name);
    return path.empty() ? join_path(backup.data_directory, name) : path;
  };
  guessed.config_file = place(config_file, "postgresql.conf");
  guessed.hba_file = place(named_by(outside, config_file, "hba_file"), "pg_hba.conf");
  guessed.ident_file = place(named_by(outside, config_file, "ident_file"), "pg_ident.conf");
  return guessed;
}

ConfigurationPlaces::ConfigurationPlaces(const repo::Configuration& configuration,
                                         std::span<const HeldFile> outside, Options options)
    : configuration_(configuration), outside_(outside), options_(std::move(options)) {
  for (const HeldFile& file : outside_) {
    const std::string& path = file.entry.path;
    if (!options_.is_copy && lstat_if_exists(path)) left_.insert(path);
    moved_[path] = place_of_outside(path);
  }
}

// Of a copy: the usual name of one of the three files; empty for another.
std::string ConfigurationPlaces::role_place(const std::string& path) const {
  const std::pair<const std::string&, const char*> roles[] = {
      {configuration_.config_file, "postgresql.conf"},
      {configuration_.hba_file, "pg_hba.conf"},
      {configuration_.ident_file, "pg_ident.conf"}};
  for (const auto& [role, name] : roles)
    if (path == role || path == stored(role)) return join_path(options_.directory, name);
  return {};
}

std::string ConfigurationPlaces::place_of_outside(const std::string& path) const {
  std::string apart = fmt::format("{}/{}{}", options_.directory, kOutsideDirectory, path);
  if (!options_.is_copy) return left_.contains(path) || can_write(path) ? path : apart;
  if (std::string role = role_place(path); !role.empty()) return role;
  for (const repo::Configuration::Link& link : configuration_.links) {
    std::string place = join_path(options_.directory, link.path);
    if (path == link.leads_to) return place;
    if (const std::optional<std::string> rest = rest_below(path, link.leads_to))
      return join_path(place, *rest);
  }
  if (!inner(stored(configuration_.config_file))) {
    if (const std::optional<std::string> rest =
            rest_below(path, parent_path(stored(configuration_.config_file)))) {
      std::string place = join_path(options_.directory, *rest);
      const bool is_a_role = place == join_path(options_.directory, "postgresql.conf") ||
                             place == join_path(options_.directory, "pg_hba.conf") ||
                             place == join_path(options_.directory, "pg_ident.conf");
      if (!is_a_role && !is_there(place)) return place;
    }
  }
  return apart;
}

// The path below the data directory of something that lies in it.
std::optional<std::string> ConfigurationPlaces::inner(const std::string& path) const {
  return rest_below(path, configuration_.data_directory);
}

// The name under which the backup keeps it: of what is named by a link in the data directory, where
// that leads.
std::string ConfigurationPlaces::stored(const std::string& path) const {
  const std::optional<std::string> rest = inner(path);
  if (!rest) return path;
  for (const repo::Configuration::Link& link : configuration_.links) {
    if (*rest == link.path) return link.leads_to;
    if (const std::optional<std::string> below = rest_below(*rest, link.path))
      return join_path(link.leads_to, *below);
  }
  return path;
}

std::string ConfigurationPlaces::of(const std::string& path) const {
  if (options_.is_copy)
    if (std::string role = role_place(path); !role.empty()) return role;
  if (const std::optional<std::string> rest = inner(path))
    return join_path(options_.directory, *rest);
  if (const auto found = moved_.find(path); found != moved_.end()) return found->second;
  // A directory, or a file that the backup does not have.
  if (options_.is_copy) return place_of_outside(path);
  for (const auto& [from, to] : moved_)
    if (const std::optional<std::string> rest = rest_below(from, path); rest && to != from)
      return to.substr(0, to.size() - rest->size() - 1);
  // An empty directory goes where the files beside it go (Debian's conf.d).
  for (const auto& [from, to] : moved_)
    if (to != from && parent_path(from) == parent_path(path) && !is_there(path))
      return join_path(parent_path(to), base_name(path));
  return path;
}

ConfigurationFiles ConfigurationPlaces::files() const {
  ConfigurationFiles files{.config_file = of(configuration_.config_file),
                           .hba_file = of(configuration_.hba_file),
                           .ident_file = of(configuration_.ident_file)};
  files.outside = files.config_file != join_path(options_.directory, "postgresql.conf") ||
                  files.hba_file != join_path(options_.directory, "pg_hba.conf") ||
                  files.ident_file != join_path(options_.directory, "pg_ident.conf");
  return files;
}

// --- Reading the files as the server would have ------------------------------------------------

bool ConfigurationPlaces::is_there(const std::string& path) const {
  return options_.made_up.contains(path) || lstat_if_exists(path);
}

// Where the contents of a file of the data directory lie now, that was not moved yet.
std::string ConfigurationPlaces::current(const std::string& stored_path) const {
  const std::optional<std::string> rest = inner(stored_path);
  return rest ? join_path(options_.directory, *rest) : stored_path;
}

std::optional<std::string> ConfigurationPlaces::text_of(const std::string& path) const {
  const std::string kept = stored(path);
  if (!inner(kept) && !left_.contains(kept)) {
    for (const HeldFile& file : outside_)
      if (file.entry.path == kept) return std::string(as_text(file.content));
    // In place it may be there, though the backup could not keep it.
    if (options_.is_copy) return std::nullopt;
  }
  const std::string place = current(kept);
  if (const auto made_up = options_.made_up.find(place); made_up != options_.made_up.end())
    return std::string(as_text(made_up->second));
  return cluster::host_configuration().text(place);
}

std::optional<std::vector<std::string>> ConfigurationPlaces::names_in(
    const std::string& path) const {
  const std::string kept = stored(path);
  std::vector<std::string> names;
  for (const HeldFile& file : outside_)
    if (parent_path(file.entry.path) == kept) names.push_back(base_name(file.entry.path));
  if (inner(kept) || !options_.is_copy) {
    const std::string place = current(kept);
    for (const auto& [made_up, content] : options_.made_up)
      if (parent_path(made_up) == place) names.push_back(base_name(made_up));
    if (const auto on_disk = cluster::host_configuration().names(place))
      names.insert(names.end(), on_disk->begin(), on_disk->end());
  }
  std::ranges::sort(names);
  names.erase(std::ranges::unique(names).begin(), names.end());
  return names;
}

cluster::ConfigurationTree ConfigurationPlaces::read_tree() const {
  return cluster::read_configuration_tree(
      {.config_file = configuration_.config_file,
       .hba_file = configuration_.hba_file,
       .ident_file = configuration_.ident_file},
      configuration_.data_directory,
      {.text = [this](const std::string& path) { return text_of(path); },
       .names = [this](const std::string& path) { return names_in(path); }});
}

// --- Writing -----------------------------------------------------------------------------------

// Not one that is there and stays, by the backup or without a word of it.
bool ConfigurationPlaces::is_laid(const std::string& stored_path) const {
  return inner(stored_path) ? !options_.leaves_inner
                            : moved_.contains(stored_path) && !left_.contains(stored_path);
}

// By what name `file`, at its new place, finds `path`.
std::string ConfigurationPlaces::called_from(const std::string& file,
                                             const std::string& path) const {
  return options_.is_copy ? relative_name(path, parent_path(file)) : path;
}

ConfigurationPlaces::Written ConfigurationPlaces::rewritten(
    const cluster::ConfigurationFile& file) const {
  const std::string to = of(file.path);
  Written written{
      .text = cluster::rename_configuration_references(
          file.text, file.kind, file.path,
          [&](const cluster::ConfigurationReference& reference) -> std::optional<std::string> {
            const std::string place = of(reference.path);
            const std::string as_it_is = absolute_path(
                reference.name.starts_with('/') ? reference.name
                                                : join_path(parent_path(to), reference.name));
            if (as_it_is == place) return std::nullopt;
            return called_from(to, place);
          }),
      .not_taken_over = {}};
  if (file.kind != cluster::ConfigurationKind::kSettings) return written;
  if (options_.is_foreign) {
    // It may be a copy that was made a standby.
    const std::optional<std::string> saved =
        text_of(join_path(configuration_.data_directory, kSavedCopySettingsName));
    written.text =
        remove_settings_block(written.text, pg::ConfBlock::kCopy, settings_of(saved.value_or("")));
  }
  pg::ConfFile conf(written.text);
  if (options_.is_copy) conf.comment_out(kOwnPlaces);
  if (options_.is_foreign) {
    written.not_taken_over = conf.comment_out(kAddressNames);
  }
  written.text = conf.to_text();
  return written;
}

MadeUpFiles ConfigurationPlaces::preview() const {
  MadeUpFiles files = options_.made_up;
  for (const cluster::ConfigurationFile& file : read_tree().files)
    if (is_laid(stored(file.path))) files[of(file.path)] = to_bytes(rewritten(file).text);
  return files;
}

// A file of the server's that the backup could not keep has no link either.
void ConfigurationPlaces::lay_link(const repo::Configuration::Link& link,
                                   const std::optional<OwnerIds>& owner, Reporter& reporter) const {
  const std::string path = join_path(options_.directory, link.path);
  if (lstat_if_exists(path)) return;
  const std::string place = of(link.leads_to);
  if (place == path) return;
  if (!lstat_if_exists(place)) {
    reporter.warning(
        fmt::format("the link \"{}\" to \"{}\" is not laid: nothing is there", path, link.target));
    return;
  }
  std::string target = place == link.leads_to ? link.target : place;
  if (inner(link.leads_to))
    target = link.target.starts_with('/') ? called_from(path, place) : link.target;
  make_owned_directories(parent_path(path), 0700, owner);
  if (symlink(target.c_str(), path.c_str()) != 0) throw_errno("create symbolic link", path);
  // A backup's word is not enough for where a link leads.
  if (resolved_path(path) != resolved_path(place)) {
    remove_file(path);
    reporter.warning(fmt::format(
        "the link \"{}\" to \"{}\" is not laid: it does not lead to \"{}\"", path, target, place));
    return;
  }
  set_owner(path, owner);
}

bool ConfigurationPlaces::is_left_and_other(const HeldFile& file) const {
  if (!left_.contains(file.entry.path)) return false;
  std::optional<Bytes> there;
  unreadable_of([&] { there = read_if_exists(file.entry.path); });
  return there != file.content;
}

ConfigurationPlaces::Laid ConfigurationPlaces::lay(const Owners& owners,
                                                   const std::optional<OwnerIds>& cluster_owner,
                                                   Reporter& reporter) const {
  Laid laid;
  const cluster::ConfigurationTree tree = read_tree();
  std::map<std::string, Written> texts;  // by the name that the backup keeps
  for (const cluster::ConfigurationFile& file : tree.files) {
    if (!is_laid(stored(file.path))) continue;
    Written written = rewritten(file);
    for (const pg::ConfSetting& setting : written.not_taken_over) {
      // Of several assignments the last is the one that held.
      std::erase_if(laid.not_taken_over,
                    [&](const pg::ConfSetting& other) { return other.name == setting.name; });
      laid.not_taken_over.push_back(setting);
    }
    const std::string to = of(file.path);
    if (inner(stored(file.path))) {
      const std::string from = current(stored(file.path));
      if (to != from || written.text != file.text) {
        const std::optional<struct stat> status = stat_if_exists(from);
        write_owned_file(to, as_bytes(written.text), status ? status->st_mode & 07777 : 0600,
                         cluster_owner);
      }
    }
    texts.emplace(stored(file.path), std::move(written));
  }

  for (const HeldFile& file : outside_) {
    const std::string& path = file.entry.path;
    const std::string& to = moved_.at(path);
    if (left_.contains(path)) {
      if (!is_left_and_other(file)) {
        reporter.note(fmt::format("\"{}\" is there and is left as it is", path));
        continue;
      }
      // The server runs by it; what the cluster had is at hand beside.
      ++laid.others;
      const std::string beside =
          fmt::format("{}/{}{}", options_.directory, kOutsideDirectory, path);
      make_owned_directories(parent_path(beside), 0700, cluster_owner);
      write_owned_file(beside, file.content, file.entry.mode, cluster_owner);
      reporter.warning(
          fmt::format("\"{}\" is there and is left as it is, but it differs from the "
                      "backup's, which was laid at \"{}\": compare them",
                      path, beside));
      continue;
    }
    const auto text = texts.find(path);
    const bool in_cluster = rest_below(to, options_.directory).has_value();
    make_owned_directories(parent_path(to), in_cluster ? 0700 : 0755,
                           in_cluster ? cluster_owner : owners.of_entry(file.entry.owner));
    write_owned_file(to, text == texts.end() ? ByteView(file.content) : as_bytes(text->second.text),
                     file.entry.mode, owners.of_entry(file.entry.owner));
    laid.outside.push_back(to);
    if (!options_.is_copy && to != path)
      reporter.warning(fmt::format(
          "\"{}\" cannot be written by this user; it was laid at \"{}\" instead", path, to));
  }

  // The server refuses an include_dir that is not there; Debian's conf.d is empty on most hosts.
  std::set<std::string> directories(configuration_.directories.begin(),
                                    configuration_.directories.end());
  for (const cluster::ConfigurationFile& file : tree.files)
    for (const cluster::ConfigurationReference& reference :
         cluster::configuration_references(file.text, file.kind, file.path))
      if (reference.is_directory) directories.insert(reference.path);
  for (const std::string& directory : directories) {
    // In place a link leads to it, which is laid last.
    const std::string place = of(options_.is_copy ? directory : stored(directory));
    if (stat_if_exists(place) || !can_write(place)) continue;
    const bool in_cluster = rest_below(place, options_.directory).has_value();
    make_owned_directories(place, in_cluster ? 0700 : 0755, cluster_owner);
  }
  for (const repo::Configuration::Link& link : configuration_.links)
    lay_link(link, cluster_owner, reporter);
  return laid;
}

}  // namespace holdfast::restore
