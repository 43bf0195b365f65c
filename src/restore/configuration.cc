#include "restore/configuration.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <dirent.h>
#include <set>
#include <unistd.h>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "cluster/data_directory.h"

namespace holdfast::restore {
namespace {

constexpr std::string_view kCopyComment =
    "# This cluster is a copy that holdfast restored: the settings below keep it apart from the "
    "cluster it was copied from.\n";
constexpr std::array<std::string_view, 8> kTargetNames = {
    "recovery_target",          "recovery_target_time",  "recovery_target_xid",
    "recovery_target_lsn",      "recovery_target_name",  "recovery_target_inclusive",
    "recovery_target_timeline", "recovery_target_action"};
// Files include files; the server ends at this depth too (guc-file.l, CONF_FILE_MAX_DEPTH).
constexpr int kMaxIncludeDepth = 10;

std::string auto_conf_path(const std::string& directory) {
  return join_path(directory, "postgresql.auto.conf");
}

std::string to_lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

void append_settings(std::string& text, const ConfSettings& settings) {
  for (const pg::ConfSetting& setting : settings)
    text += fmt::format("{} = {}\n", setting.name, pg::quote_conf_value(setting.value));
}

std::string include_keyword(pg::ConfLineKind kind) {
  return kind == pg::ConfLineKind::kInclude            ? "include"
         : kind == pg::ConfLineKind::kIncludeDirectory ? "include_dir"
                                                       : "include_if_exists";
}

bool is_include(pg::ConfLineKind kind) {
  return kind == pg::ConfLineKind::kInclude || kind == pg::ConfLineKind::kIncludeIfExists ||
         kind == pg::ConfLineKind::kIncludeDirectory;
}

std::string resolved(const std::string& value, const std::string& directory) {
  return absolute_path(value.starts_with('/') ? value : join_path(directory, value));
}

}  // namespace

// --- Text to text -------------------------------------------------------------------------------

Configured add_recovery_settings(std::string_view auto_conf, const ConfSettings& lasting,
                                 const ConfSettings& recovery) {
  pg::ConfFile file(auto_conf);
  file.remove_block();  // of an earlier restore of ours
  Configured configured;
  for (std::string_view name : kTargetNames) {
    if (std::optional<std::string> value = file.value(name); value && !value->empty())
      configured.stale.push_back(fmt::format("{} = '{}'", name, *value));
  }
  file.remove_names(kTargetNames);
  std::vector<std::string_view> names;
  for (const pg::ConfSetting& setting : lasting) names.push_back(setting.name);
  file.remove_names(names);

  std::string text = file.to_text();
  if (!lasting.empty()) {
    if (!text.empty() && !text.ends_with('\n')) text.push_back('\n');
    if (text.find(kCopyComment) == std::string::npos) text += kCopyComment;
    append_settings(text, lasting);
  }
  pg::ConfFile complete(text);
  complete.set_block(recovery);
  configured.text = complete.to_text();
  return configured;
}

std::string remove_recovery_settings(std::string_view auto_conf, const ConfSettings& saved) {
  pg::ConfFile file(auto_conf);
  if (!file.remove_block()) file.remove_settings(saved);
  return file.to_text();
}

ConfSettings raised_to_floors(const repo::ParameterFloors& floors,
                              const std::map<std::string, std::string>& in_force) {
  // With the servers' defaults, 13 to 18.
  const struct {
    const char* name;
    int64_t floor;
    int64_t by_default;
  } parameters[] = {{"max_connections", floors.max_connections, 100},
                    {"max_worker_processes", floors.max_worker_processes, 8},
                    {"max_wal_senders", floors.max_wal_senders, 10},
                    {"max_prepared_transactions", floors.max_prepared_transactions, 0},
                    {"max_locks_per_transaction", floors.max_locks_per_transaction, 64}};
  ConfSettings raised;
  for (const auto& parameter : parameters) {
    int64_t value = parameter.by_default;
    if (auto found = in_force.find(parameter.name); found != in_force.end()) {
      const std::string& text = found->second;
      int64_t number = 0;
      auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      // What cannot be read (a hexadecimal number) is replaced by what is known to do.
      value = error == std::errc() && rest == text.data() + text.size() ? number : -1;
    }
    if (value < parameter.floor)
      raised.push_back({.name = parameter.name, .value = std::to_string(parameter.floor)});
  }
  return raised;
}

std::string rewrite_includes(std::string_view text, const std::string& was,
                             const std::map<std::string, std::string>& moved) {
  const std::string old_directory = parent_path(was);
  const std::string new_directory = parent_path(moved.at(was));
  std::string rewritten;
  const pg::ConfFile file(text);
  for (const pg::ConfLine& line : file.lines()) {
    std::string target;
    if (is_include(line.kind)) {
      const std::string wanted = resolved(line.value, old_directory);
      // A directory has moved when a file in it has.
      for (const auto& [from, to] : moved) {
        if (from == wanted) target = to;
        if (line.kind == pg::ConfLineKind::kIncludeDirectory && parent_path(from) == wanted)
          target = parent_path(to);
        if (target.empty() && from.ends_with('/') && wanted.starts_with(from))
          target = to + wanted.substr(from.size());
      }
      if (!target.empty() && !line.value.starts_with('/') &&
          resolved(line.value, new_directory) == target)
        target.clear();
    }
    rewritten += target.empty() ? line.text
                                : fmt::format("{} {}\n", include_keyword(line.kind),
                                              pg::quote_conf_value(target));
  }
  return rewritten;
}

// --- Files from outside -------------------------------------------------------------------------

namespace {

// The server's three files among those from outside, by their usual names; empty where there is
// none.
std::string find_named(std::span<const HeldFile> outside, std::string_view name) {
  for (const HeldFile& file : outside)
    if (base_name(file.entry.path) == name) return file.entry.path;
  return {};
}

// What a configuration says of one of the others: the value of `name` in the old postgresql.conf,
// as a path.
std::string named_by(std::span<const HeldFile> outside, const std::string& config_file,
                     std::string_view name) {
  for (const HeldFile& file : outside) {
    if (file.entry.path != config_file) continue;
    if (std::optional<std::string> value = pg::ConfFile(as_text(file.content)).value(name);
        value && !value->empty())
      return resolved(*value, parent_path(config_file));
  }
  return {};
}

// Whether this process could make a file of that path, with its directories.
bool can_write(const std::string& path) {
  std::string directory = parent_path(path);
  while (!lstat_if_exists(directory) && directory != "/") directory = parent_path(directory);
  return access(directory.c_str(), W_OK | X_OK) == 0;
}

std::string below(const std::string& directory, const std::string& path) {
  return fmt::format("{}/{}{}", directory, kOutsideDirectory, path);
}

}  // namespace

OutsideResult place_outside_files(const std::string& directory, std::span<const HeldFile> outside,
                                  bool is_copy) {
  OutsideResult result;
  const std::string config_file = find_named(outside, "postgresql.conf");
  const std::string config_directory =
      config_file.empty() ? std::string() : parent_path(config_file) + "/";
  std::map<std::string, std::string>& moved = result.moved;
  for (const HeldFile& file : outside) {
    const std::string& path = file.entry.path;
    if (is_copy) {
      const bool beside = !config_directory.empty() && path.starts_with(config_directory);
      moved[path] = beside ? join_path(directory, path.substr(config_directory.size()))
                           : below(directory, path);
    } else if (lstat_if_exists(path)) {
      moved[path] = path;
      result.left.insert(path);
    } else {
      moved[path] = can_write(path) ? path : below(directory, path);
    }
  }

  ConfigurationFiles& files = result.files;
  auto place = [&](const std::string& path, std::string_view name) {
    auto found = moved.find(path);
    return found != moved.end() ? found->second : path.empty() ? join_path(directory, name) : path;
  };
  files.outside = !config_file.empty() && !is_copy;
  files.config_file = place(config_file, "postgresql.conf");
  std::string hba = named_by(outside, config_file, "hba_file"),
              ident = named_by(outside, config_file, "ident_file");
  if (!moved.contains(hba)) hba = find_named(outside, "pg_hba.conf");
  if (!moved.contains(ident)) ident = find_named(outside, "pg_ident.conf");
  files.hba_file = place(hba, "pg_hba.conf");
  files.ident_file = place(ident, "pg_ident.conf");
  return result;
}

OutsideResult lay_outside_files(const std::string& directory, std::span<const HeldFile> outside,
                                bool is_copy, const Owners& owners, Reporter& reporter) {
  // First all places, since the files name each other.
  OutsideResult result = place_outside_files(directory, outside, is_copy);
  for (const HeldFile& file : outside) {
    const std::string& path = file.entry.path;
    const std::string& to = result.moved.at(path);
    if (result.left.contains(path)) {
      reporter.note(fmt::format("\"{}\" is there and is left as it is", path));
      continue;
    }
    const bool is_conf = path.ends_with(".conf") && base_name(path) != "pg_hba.conf" &&
                         base_name(path) != "pg_ident.conf";
    const bool is_moved = to != path;
    Bytes content = is_conf && is_moved
                        ? to_bytes(rewrite_includes(as_text(file.content), path, result.moved))
                        : file.content;
    const bool in_cluster = to.starts_with(directory + "/");
    make_owned_directories(parent_path(to), in_cluster ? 0700 : 0755,
                           in_cluster ? owners.of_cluster() : owners.of_entry(file.entry.owner));
    write_owned_file(to, content, file.entry.mode, owners.of_entry(file.entry.owner));
    result.laid.push_back(to);
    // The server refuses an include_dir that is not there, and a backup keeps no empty directory;
    // Debian's conf.d is one on most hosts.
    const pg::ConfFile conf(is_conf ? as_text(content) : std::string_view());
    for (const pg::ConfLine& line : conf.lines()) {
      if (line.kind == pg::ConfLineKind::kIncludeDirectory && !line.value.starts_with('/'))
        make_owned_directories(resolved(line.value, parent_path(to)), 0755,
                               owners.of_entry(file.entry.owner));
    }
    if (!is_copy && is_moved)
      reporter.warning(fmt::format(
          "\"{}\" cannot be written by this user; it was laid at \"{}\" instead", path, to));
  }
  return result;
}

namespace {

// The names of the *.conf files in a directory, in order.
std::set<std::string> conf_names(const std::string& directory, const MadeUpFiles& made_up) {
  std::set<std::string> names;
  for (const DirectoryEntry& entry :
       list_directory_if_exists(directory).value_or(std::vector<DirectoryEntry>()))
    names.insert(entry.name);
  for (const auto& [path, content] : made_up)
    if (parent_path(path) == directory) names.insert(base_name(path));
  std::erase_if(names, [](const std::string& name) {
    return !name.ends_with(".conf") || name.starts_with('.');
  });
  return names;
}

void read_file_settings(const std::string& path, int depth, const MadeUpFiles& made_up,
                        std::map<std::string, std::string>& settings) {
  if (depth > kMaxIncludeDepth) return;
  const auto known = made_up.find(path);
  const std::optional<Bytes> bytes =
      known != made_up.end() ? std::optional(known->second) : read_if_exists(path);
  if (!bytes) return;
  const pg::ConfFile file(as_text(*bytes));
  for (const pg::ConfLine& line : file.lines()) {
    const std::string target =
        is_include(line.kind) ? resolved(line.value, parent_path(path)) : std::string();
    switch (line.kind) {
      case pg::ConfLineKind::kSetting:
        settings[to_lower(line.name)] = line.value;
        break;
      case pg::ConfLineKind::kInclude:
      case pg::ConfLineKind::kIncludeIfExists:
        read_file_settings(target, depth + 1, made_up, settings);
        break;
      case pg::ConfLineKind::kIncludeDirectory:
        for (const std::string& name : conf_names(target, made_up))
          read_file_settings(join_path(target, name), depth + 1, made_up, settings);
        break;
      case pg::ConfLineKind::kBlank:
      case pg::ConfLineKind::kInvalid:
        break;
    }
  }
}

}  // namespace

std::map<std::string, std::string> read_settings_in_force(const ConfigurationFiles& files,
                                                          const std::string& directory,
                                                          const MadeUpFiles& made_up) {
  std::map<std::string, std::string> settings;
  read_file_settings(files.config_file, 0, made_up, settings);
  read_file_settings(auto_conf_path(directory), 0, made_up, settings);
  return settings;
}

// --- Writing ------------------------------------------------------------------------------------

namespace {

// Changes a file of the cluster, or makes it; its mode stays.
void rewrite(const std::string& path, std::string_view text, const std::optional<OwnerIds>& owner) {
  const std::optional<struct stat> status = stat_if_exists(path);
  const mode_t mode = status ? status->st_mode & 07777 : cluster::file_mode_in(parent_path(path));
  write_owned_file(path, as_bytes(text), mode, status ? owner_of(path) : owner);
}

std::string text_of(const std::string& path) {
  const std::optional<Bytes> bytes = read_if_exists(path);
  return bytes ? std::string(as_text(*bytes)) : std::string();
}

}  // namespace

void pin_file_places(const std::string& directory, const std::string& old_directory,
                     const OutsideResult& outside, const Owners& owners) {
  const ConfigurationFiles& files = outside.files;
  std::map<std::string, std::string> moved = outside.moved;
  moved[old_directory + "/"] = directory + "/";
  std::string was = join_path(old_directory, "postgresql.conf");
  for (const auto& [from, to] : outside.moved) {
    if (to == files.config_file) was = from;
  }
  moved[was] = files.config_file;
  pg::ConfFile file(rewrite_includes(text_of(files.config_file), was, moved));
  const ConfSettings places = {
      {.name = "data_directory", .value = directory},
      {.name = "hba_file", .value = files.hba_file},
      {.name = "ident_file", .value = files.ident_file},
      {.name = "external_pid_file", .value = join_path(directory, "external.pid")}};
  file.set_block(places);
  rewrite(files.config_file, file.to_text(), owners.of_cluster());
}

ConfSettings copy_settings(const CopySettings& copy) {
  ConfSettings settings = {{.name = "listen_addresses", .value = ""},
                           {.name = "port", .value = std::to_string(copy.port)},
                           {.name = "unix_socket_directories", .value = copy.socket_directory},
                           {.name = "unix_socket_permissions", .value = "0700"},
                           {.name = "ssl", .value = "off"},
                           {.name = "archive_cleanup_command", .value = ""},
                           {.name = "recovery_end_command", .value = ""},
                           {.name = "primary_conninfo", .value = ""},
                           {.name = "primary_slot_name", .value = ""},
                           {.name = "synchronous_standby_names", .value = ""},
                           {.name = "max_logical_replication_workers", .value = "0"},
                           {.name = "log_directory", .value = "log"}};
  if (!copy.archive) settings.push_back({.name = "archive_mode", .value = "off"});
  // Until 14 a directory that Debian puts into /run, where production's is.
  if (copy.major < 15) settings.push_back({.name = "stats_temp_directory", .value = "pg_stat_tmp"});
  return settings;
}

void write_recovery_configuration(const std::string& directory, const ConfSettings& lasting,
                                  const ConfSettings& recovery, const Owners& owners,
                                  Reporter& reporter) {
  const std::string path = auto_conf_path(directory);
  const Configured configured = add_recovery_settings(text_of(path), lasting, recovery);
  if (!configured.stale.empty())
    reporter.note(
        fmt::format("taken out of postgresql.auto.conf, left from an earlier recovery: {}",
                    fmt::join(configured.stale, ", ")));
  rewrite(path, configured.text, owners.of_cluster());

  std::string saved =
      "# The settings of a recovery that holdfast started; it takes them out of "
      "postgresql.auto.conf when the recovery has ended.\n";
  append_settings(saved, recovery);
  write_owned_file(join_path(directory, kSavedSettingsName), as_bytes(saved),
                   cluster::file_mode_in(directory), owners.of_cluster());
  write_owned_file(join_path(directory, "recovery.signal"), {}, cluster::file_mode_in(directory),
                   owners.of_cluster());
}

ConfSettings read_saved_settings(const std::string& directory) {
  ConfSettings saved;
  const std::string text = text_of(join_path(directory, kSavedSettingsName));
  const pg::ConfFile file(text);
  for (const pg::ConfLine& line : file.lines()) {
    if (line.kind == pg::ConfLineKind::kSetting)
      saved.push_back({.name = line.name, .value = line.value});
  }
  return saved;
}

bool remove_recovery_configuration(const std::string& directory) {
  const std::string saved_path = join_path(directory, kSavedSettingsName);
  const ConfSettings saved = read_saved_settings(directory);
  const std::string before = text_of(auto_conf_path(directory));
  const std::string after = remove_recovery_settings(before, saved);
  if (after != before) rewrite(auto_conf_path(directory), after, std::nullopt);
  if (remove_file_if_exists(saved_path)) fsync_directory(directory);
  return after != before;
}

}  // namespace holdfast::restore
