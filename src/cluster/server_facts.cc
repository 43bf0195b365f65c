#include "cluster/server_facts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <pwd.h>
#include <set>
#include <sys/stat.h>

#include <fmt/format.h>

#include "base/bytes.h"
#include "base/containment.h"
#include "base/file.h"
#include "pg/version.h"

namespace holdfast::cluster {
namespace {

template <typename T>
T parse_number(std::string_view text, std::string_view what) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(
        {.code = ErrorCode::kInvalidText, .message = fmt::format("invalid {} \"{}\"", what, text)});
  return value;
}

// A value that the server always has.
const std::string& required(const Row& row, size_t column, std::string_view what) {
  if (column < row.size())
    if (const Value& value = row[column]) return *value;
  throw Error({.code = ErrorCode::kServer, .message = fmt::format("the server gave no {}", what)});
}

// "2026-11-22 08:22:39.544793+00", which DateStyle ISO and TimeZone UTC make.
std::optional<Time> optional_time(const Value& value) {
  if (!value) return std::nullopt;
  return parse_time(*value);
}

// The settings by name, in the unit in which pg_settings counts them.
class ServerSettings {
 public:
  explicit ServerSettings(Connection& connection) {
    for (Row& row : connection.query("SELECT name, setting FROM pg_settings"))
      values_[required(row, 0, "setting's name")] = row[1].value_or("");
  }
  // Empty when the server does not have the setting.
  std::string text(const std::string& name) const {
    auto found = values_.find(name);
    return found == values_.end() ? std::string() : found->second;
  }
  // Throws kPermission when the server hides the setting from this role.
  std::string visible_text(const std::string& name, const Connection& connection) const {
    if (auto found = values_.find(name); found != values_.end()) return found->second;
    throw Error(
        {.code = ErrorCode::kPermission,
         .message = fmt::format("the server does not show the setting \"{}\" to role \"{}\"", name,
                                connection.role()),
         .detail = "Settings that name files are shown to members of pg_read_all_settings alone.",
         .hint = "As a superuser, in the database that conninfo names, run:\n" +
                 backup_role_grants(connection.server_major(), connection.role())});
  }
  bool on(const std::string& name) const { return text(name) == "on"; }
  template <typename T>
  T number(const std::string& name) const {
    return parse_number<T>(text(name), fmt::format("setting {}", name));
  }

 private:
  std::map<std::string, std::string> values_;
};

ArchiveMode parse_archive_mode(const std::string& text) {
  if (text == "on") return ArchiveMode::kOn;
  if (text == "always") return ArchiveMode::kAlways;
  return ArchiveMode::kOff;
}

// 16 shows its files of the three kinds in pg_file_settings, pg_hba_file_rules and
// pg_ident_file_mappings; a server before 16 has no includes in the latter two.
std::vector<std::string> included_files(Connection& connection, const ServerFacts& facts) {
  std::string sql = "SELECT DISTINCT sourcefile FROM pg_file_settings";
  if (facts.major >= 16) {
    sql += " UNION SELECT DISTINCT file_name FROM pg_hba_file_rules";
    sql += " UNION SELECT DISTINCT file_name FROM pg_ident_file_mappings";
  }
  std::set<std::string> files;
  for (const Row& row : connection.query(sql))
    if (const Value& file = row.at(0); file && !file->empty()) files.insert(*file);
  for (const std::string& own : {facts.config_file, facts.hba_file, facts.ident_file})
    files.erase(own);
  return {files.begin(), files.end()};
}

// A value behind which the session has put another one is the reset value.
std::vector<std::pair<std::string, std::string>> command_line_settings(Connection& connection) {
  const std::array<Value, 1> parameters = {kGivenSetting};
  std::vector<std::pair<std::string, std::string>> settings;
  for (Row& row : connection.query(
           "SELECT name, reset_val FROM pg_settings "
           "WHERE (source = 'command line' OR source = 'environment variable' AND name = 'port') "
           "AND name NOT IN ('data_directory', 'config_file', 'hba_file', 'ident_file') "
           "AND name <> ALL (string_to_array(coalesce(current_setting($1, true), ''), ',')) "
           "ORDER BY name COLLATE \"C\"",
           parameters))
    settings.emplace_back(required(row, 0, "setting's name"), row[1].value_or(""));
  return settings;
}

std::optional<std::string> owner_name(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0)
    return std::nullopt;  // on another host, or not for us to see
  std::array<char, 4096> buffer;
  passwd entry{};
  passwd* found = nullptr;
  if (getpwuid_r(status.st_uid, &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr)
    return std::string(entry.pw_name);
  return fmt::format("{}", status.st_uid);
}

void read_files(Connection& connection, const ServerSettings& settings, ServerFacts& facts) {
  facts.data_directory = settings.visible_text("data_directory", connection);
  facts.config_file = settings.visible_text("config_file", connection);
  facts.hba_file = settings.visible_text("hba_file", connection);
  facts.ident_file = settings.visible_text("ident_file", connection);
  facts.included_files = included_files(connection, facts);
  facts.command_line = command_line_settings(connection);
  facts.unix_user = owner_name(facts.data_directory);
}

void read_settings(const ServerSettings& settings, ServerFacts& facts) {
  facts.wal_level = settings.text("wal_level");
  facts.archive_mode = parse_archive_mode(settings.text("archive_mode"));
  facts.archive_command = settings.text("archive_command");
  if (facts.archive_command == "(disabled)") facts.archive_command.clear();
  facts.archive_library = settings.text("archive_library");
  facts.wal_segment_size = pg::WalSegmentSize(settings.number<uint64_t>("wal_segment_size"));
  facts.block_size = settings.number<uint32_t>("block_size");
  facts.data_checksums = settings.on("data_checksums");
  facts.full_page_writes = settings.on("full_page_writes");
  facts.summarize_wal = settings.on("summarize_wal");
  facts.log_destination = settings.text("log_destination");
  facts.logging_collector = settings.on("logging_collector");
  facts.log_directory = settings.text("log_directory");
  facts.log_timezone = settings.text("log_timezone");
  facts.unix_socket_directories = settings.text("unix_socket_directories");
  facts.port = settings.number<uint16_t>("port");
}

// The checkpoint's timeline can lag behind the one that a standby replays or a primary was just
// promoted to.
void read_position(Connection& connection, ServerFacts& facts) {
  Row control = connection.query_row(
      "SELECT s.system_identifier, s.catalog_version_no, c.checkpoint_lsn, c.redo_lsn, "
      "c.timeline_id, "
      "r.min_recovery_end_timeline, pg_is_in_recovery() "
      "FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r");
  facts.system_identifier =
      parse_signed_system_identifier(required(control, 0, "system identifier"));
  facts.catalog_version =
      parse_number<uint32_t>(required(control, 1, "catalog version"), "catalog version");
  facts.checkpoint_lsn = pg::parse_lsn(required(control, 2, "checkpoint position"));
  facts.redo_lsn = pg::parse_lsn(required(control, 3, "REDO position"));
  facts.in_recovery = required(control, 6, "recovery state") == "t";
  if (facts.in_recovery) {
    uint32_t checkpoint_timeline =
        parse_number<uint32_t>(required(control, 4, "timeline"), "timeline");
    uint32_t recovery_timeline = parse_number<uint32_t>(control[5].value_or("0"), "timeline");
    facts.timeline = {std::max(checkpoint_timeline, recovery_timeline)};
    Row row = connection.query_row("SELECT pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn()");
    facts.insert_lsn = pg::parse_lsn(row[0].value_or("0/0"));
    facts.flush_lsn = std::max(facts.insert_lsn, pg::parse_lsn(row[1].value_or("0/0")));
    return;
  }
  Row row = connection.query_row(
      "SELECT pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn(), "
      "pg_walfile_name(pg_current_wal_insert_lsn())");
  facts.insert_lsn = pg::parse_lsn(required(row, 0, "insert position"));
  facts.flush_lsn = pg::parse_lsn(required(row, 1, "flush position"));
  pg::WalFileName name =
      pg::parse_wal_file_name(required(row, 2, "WAL file name"), facts.wal_segment_size);
  if (name.kind != pg::WalFileKind::kSegment)
    throw Error(
        {.code = ErrorCode::kServer,
         .message = fmt::format("the server gave an unknown WAL file name \"{}\"", *row[2])});
  facts.timeline = name.segment.timeline;
}

std::vector<Tablespace> read_tablespaces(Connection& connection,
                                         const std::string& data_directory) {
  std::vector<Tablespace> tablespaces;
  for (const Row& row :
       connection.query("SELECT oid, spcname, pg_tablespace_location(oid) FROM pg_tablespace "
                        "WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid")) {
    std::string location = row[2].value_or("");
    if (location.starts_with("../"))  // in a copy's data directory
      location = absolute_path(fmt::format("{}/pg_tblspc/{}", data_directory, location));
    if (!location.starts_with('/')) location.clear();  // "pg_tblspc/16385": in place
    tablespaces.push_back({.oid = parse_number<uint32_t>(required(row, 0, "tablespace"), "OID"),
                           .name = required(row, 1, "tablespace's name"),
                           .location = std::move(location)});
  }
  return tablespaces;
}

}  // namespace

bool ArchiverStatus::is_failing() const {
  if (!last_failed_time) return false;
  return !last_archived_time || *last_failed_time > *last_archived_time;
}

ServerFacts read_server_facts(Connection& connection) {
  ServerFacts facts;
  facts.major = connection.server_major();
  facts.version = connection.server_version();
  ServerSettings settings(connection);
  read_settings(settings, facts);
  read_files(connection, settings, facts);
  read_position(connection, facts);
  facts.tablespaces = read_tablespaces(connection, facts.data_directory);
  if (facts.logging_collector)
    facts.current_log_file = connection.query_row("SELECT pg_current_logfile()").front();
  return facts;
}

ArchiverStatus read_archiver_status(Connection& connection) {
  Row row = connection.query_row(
      "SELECT archived_count, last_archived_wal, last_archived_time, failed_count, "
      "last_failed_wal, last_failed_time "
      "FROM pg_stat_archiver");
  return {.archived_count =
              parse_number<uint64_t>(required(row, 0, "archived count"), "archived count"),
          .last_archived_wal = row[1],
          .last_archived_time = optional_time(row[2]),
          .failed_count = parse_number<uint64_t>(required(row, 3, "failed count"), "failed count"),
          .last_failed_wal = row[4],
          .last_failed_time = optional_time(row[5])};
}

uint64_t parse_signed_system_identifier(std::string_view text) {
  return static_cast<uint64_t>(parse_number<int64_t>(text, "system identifier"));
}

void require_apart_from(const ServerFacts& facts, const std::string& repository) {
  std::set<std::string> directories = {facts.data_directory};
  for (const Tablespace& tablespace : facts.tablespaces)
    if (!tablespace.location.empty())
      directories.insert(join_path(tablespace.location, pg::tablespace_version_directory(
                                                            facts.major, facts.catalog_version)));
  require_apart({{.what = "the repository", .path = repository}}, directories,
                "backed up with the cluster, and cleared by a restore in place");
}

Time start_time(Connection& connection) {
  const Row row = connection.query_row(
      "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint");
  return Time{Microseconds{parse_number<int64_t>(required(row, 0, "start"), "time of start")}};
}

}  // namespace holdfast::cluster
