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
  if (!lasting.empty()) file.set_block(lasting, pg::ConfBlock::kCopy);
  file.set_block(recovery);
  configured.text = file.to_text();
  return configured;
}

std::string remove_settings_block(std::string_view auto_conf, pg::ConfBlock block,
                                  const ConfSettings& saved) {
  pg::ConfFile file(auto_conf);
  if (!file.remove_block(block)) file.remove_settings(saved);
  return file.to_text();
}

ConfSettings settings_of(std::string_view text) {
  ConfSettings settings;
  const pg::ConfFile file(text);
  for (const pg::ConfLine& line : file.lines()) {
    if (line.kind == pg::ConfLineKind::kSetting)
      settings.push_back({.name = line.name, .value = line.value});
  }
  return settings;
}

ConfSettings raised_to_floors(const repo::ParameterFloors& floors,
                              const std::map<std::string, std::string>& in_force, int major) {
  // With the servers' defaults, 13 to 19.
  const struct {
    const char* name;
    int64_t floor;
    int64_t by_default;
  } parameters[] = {
      {"max_connections", floors.max_connections, 100},
      {"max_worker_processes", floors.max_worker_processes, 8},
      {"max_wal_senders", floors.max_wal_senders, 10},
      {"max_prepared_transactions", floors.max_prepared_transactions, 0},
      {"max_locks_per_transaction", floors.max_locks_per_transaction, major >= 19 ? 128 : 64}};
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

// --- Reading ------------------------------------------------------------------------------------

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

std::optional<Bytes> content_of(const std::string& path, const MadeUpFiles& made_up) {
  const auto known = made_up.find(path);
  return known != made_up.end() ? std::optional(known->second) : read_if_exists(path);
}

void read_settings(std::string_view text, const std::string& path, int depth,
                   const MadeUpFiles& made_up, std::map<std::string, std::string>& settings);

void read_file_settings(const std::string& path, int depth, const MadeUpFiles& made_up,
                        std::map<std::string, std::string>& settings) {
  if (depth > kMaxIncludeDepth) return;
  if (const std::optional<Bytes> bytes = content_of(path, made_up))
    read_settings(as_text(*bytes), path, depth, made_up, settings);
}

void read_settings(std::string_view text, const std::string& path, int depth,
                   const MadeUpFiles& made_up, std::map<std::string, std::string>& settings) {
  const pg::ConfFile file(text);
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
  if (const std::optional<Bytes> bytes = content_of(auto_conf_path(directory), made_up))
    read_settings(remove_settings_block(as_text(*bytes), pg::ConfBlock::kRecovery,
                                        read_saved_settings(directory)),
                  auto_conf_path(directory), 0, made_up, settings);
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

void save_settings(const std::string& directory, const char* name, std::string text,
                   const ConfSettings& settings, const Owners& owners) {
  append_settings(text, settings);
  write_owned_file(join_path(directory, name), as_bytes(text), cluster::file_mode_in(directory),
                   owners.of_cluster());
}

ConfSettings saved_settings(const std::string& directory, const char* name) {
  return settings_of(text_of(join_path(directory, name)));
}

// True when there was something to take out.
bool take_out(const std::string& directory, pg::ConfBlock block, const char* saved_name) {
  const std::string before = text_of(auto_conf_path(directory));
  const std::string after =
      remove_settings_block(before, block, saved_settings(directory, saved_name));
  if (after != before) rewrite(auto_conf_path(directory), after, std::nullopt);
  if (remove_file_if_exists(join_path(directory, saved_name))) fsync_directory(directory);
  return after != before;
}

}  // namespace

ConfSettings copy_settings(const CopySettings& copy) {
  ConfSettings settings = {{.name = "listen_addresses", .value = ""},
                           {.name = "port", .value = std::to_string(copy.port)},
                           {.name = "unix_socket_directories", .value = copy.socket_directory},
                           {.name = "unix_socket_permissions", .value = "0700"},
                           {.name = "unix_socket_group", .value = ""},
                           {.name = "bonjour", .value = "off"},
                           {.name = "ssl", .value = "off"},
                           {.name = "archive_cleanup_command", .value = ""},
                           {.name = "recovery_end_command", .value = ""},
                           {.name = "primary_conninfo", .value = ""},
                           {.name = "primary_slot_name", .value = ""},
                           {.name = "synchronous_standby_names", .value = ""},
                           {.name = "max_logical_replication_workers", .value = "0"},
                           {.name = "huge_pages", .value = "off"},
                           {.name = "log_destination", .value = "stderr"},
                           {.name = "log_directory", .value = "log"}};
  if (!copy.archive) settings.push_back({.name = "archive_mode", .value = "off"});
  if (copy.major < 16) settings.push_back({.name = "promote_trigger_file", .value = ""});
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

  if (!lasting.empty())
    save_settings(directory, kSavedCopySettingsName,
                  "# The settings that keep this copy apart; holdfast finish --production takes "
                  "them out of postgresql.auto.conf.\n",
                  lasting, owners);
  save_settings(directory, kSavedSettingsName,
                "# The settings of a recovery that holdfast started; it takes them out of "
                "postgresql.auto.conf when the recovery has ended.\n",
                recovery, owners);
  write_owned_file(join_path(directory, kRecoverySignal), {}, cluster::file_mode_in(directory),
                   owners.of_cluster());
}

ConfSettings read_saved_settings(const std::string& directory) {
  return saved_settings(directory, kSavedSettingsName);
}

std::string end_command_behind(const std::string& theirs, const std::string& ours) {
  std::string guarded = ours + " || exit 1";
  if (theirs.empty()) return guarded;
  return fmt::format("({}); status=$?; ({}); exit $status", theirs, guarded);
}

bool remove_recovery_configuration(const std::string& directory) {
  return take_out(directory, pg::ConfBlock::kRecovery, kSavedSettingsName);
}

ConfSettings remove_copy_configuration(const std::string& directory) {
  const ConfSettings saved = saved_settings(directory, kSavedCopySettingsName);
  return take_out(directory, pg::ConfBlock::kCopy, kSavedCopySettingsName) ? saved : ConfSettings();
}

}  // namespace holdfast::restore
