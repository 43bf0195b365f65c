// settings.cc: the table, and the three places that values come from.
#include "config/settings.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "base/process.h"
#include "config/toml_file.h"
#include "repo/layout.h"

namespace holdfast::config {
namespace {

constexpr std::array kTable = {
    Setting{"jobs", "HOLDFAST_JOBS", "--jobs", "N", "2",
            "worker threads of backup and restore, 1 to 64", 1, 64},
    Setting{"rate", "HOLDFAST_RATE", "--rate", "BYTES", "",
            "how many bytes a second backup and verify read and restore writes at most, as in "
            "50MiB; unlimited unless set"},
    Setting{"repo.url", "HOLDFAST_REPO", "--repo", "URL", "",
            "where the repository is: a directory"},
    Setting{"repo.id", "HOLDFAST_REPO_ID", "--repo-id", "HEX", "",
            "the repository's id; when set, a repository with another id is refused"},
    Setting{"repo.compression", "HOLDFAST_COMPRESSION", "--compression", "NAME[:LEVEL]", "zstd:3",
            "how new objects are compressed: zstd, lz4 or none"},
    Setting{"repo.key_file", "HOLDFAST_KEY_FILE", "--key-file", "FILE", "",
            "file with the key that opens a sealed repository"},
    Setting{"repo.passphrase_file", "HOLDFAST_PASSPHRASE_FILE", "--passphrase-file", "FILE", "",
            "file whose first line is the passphrase of a sealed repository"},
    Setting{"repo.passphrase_command", "HOLDFAST_PASSPHRASE_COMMAND", "", "COMMAND", "",
            "shell command that prints the passphrase of a sealed repository"},
    Setting{"repo.grace", "HOLDFAST_GRACE", "--grace", "DURATION", "24h",
            "how long expire waits before it removes what nothing uses, twice"},
    Setting{
        "verify.within", "HOLDFAST_VERIFY_WITHIN", "--verify-within", "DURATION", "30d",
        "within how long verify reads again what it has read before, a part at each run; with 0 "
        "only verify --deep does"},
    Setting{"wal.look_ahead", "HOLDFAST_WAL_LOOK_AHEAD", "--look-ahead", "N", "16",
            "how many waiting segments one wal push takes along, 0 to 256", 0, 256},
    Setting{"wal.read_ahead", "HOLDFAST_WAL_READ_AHEAD", "--read-ahead", "N", "16",
            "how many segments wal get fetches before they are asked for, 0 to 256", 0, 256},
    Setting{"wal.timeout", "HOLDFAST_WAL_TIMEOUT", "--timeout", "DURATION", "60s",
            "how long wal get tries again when the repository does not answer; a standby, for a "
            "timeline's history, three times as long"},
    Setting{"wal.spool", "HOLDFAST_WAL_SPOOL", "--spool", "DIR", "",
            "where wal get keeps what it read ahead; a directory below the asking server's pg_wal "
            "unless set"},
    Setting{"drill.directory", "HOLDFAST_DRILL_DIRECTORY", "--drill-directory", "DIR", "",
            "where drills restore to, in a directory of their own; TMPDIR, else /tmp, unless set"},
    Setting{"cluster.pgdata", "HOLDFAST_PGDATA", "--pgdata", "DIR", "",
            "the cluster's data directory; the server is asked unless set"},
    Setting{
        "cluster.conninfo", "HOLDFAST_CONNINFO", "--conninfo", "TEXT", "",
        "libpq connection string of the cluster's server; what it leaves out comes from libpq's "
        "environment"},
    Setting{"cluster.bindir", "HOLDFAST_BINDIR", "--bindir", "DIR", "",
            "directory of PostgreSQL's programs; found by the cluster's major unless set"},
};

const Setting* find_setting(std::string_view key) {
  const Setting* found = std::ranges::find(kTable, key, &Setting::key);
  return found == kTable.end() ? nullptr : found;
}

std::string_view nearest_key(std::string_view key) {
  return std::ranges::min(kTable, {}, [&](const Setting& s) { return edit_distance(s.key, key); })
      .key;
}

std::string origin_text(const Setting& setting, Origin origin, const std::string& config_file) {
  switch (origin) {
    case Origin::kOption:
      return fmt::format("option {}", setting.option);
    case Origin::kEnvironment:
      return fmt::format("environment variable {}", setting.environment);
    case Origin::kFile:
      return fmt::format("\"{}\" in configuration file \"{}\"", setting.key, config_file);
    case Origin::kDefault:
      break;
  }
  return fmt::format("default of \"{}\"", setting.key);
}

// One that cannot be read cannot be used either, whatever the system calls it.
std::optional<Bytes> read_configuration(const std::string& file) {
  std::optional<Bytes> text;
  const std::optional<Error> unreadable = error_of({ErrorCode::kIo, ErrorCode::kPermission}, [&] {
    text = read_if_exists(file, size_t{1} << 20);
  });
  if (unreadable)
    throw Error({.code = ErrorCode::kConfiguration,
                 .message = unreadable->message(),
                 .detail = unreadable->detail(),
                 .hint = unreadable->hint()});
  return text;
}

std::string first_line(std::string_view text) {
  text = text.substr(0, text.find('\n'));
  if (text.ends_with('\r')) text.remove_suffix(1);
  return std::string(text);
}

std::string checked_passphrase(std::string_view text, const std::string& from) {
  std::string line = first_line(text);
  if (line.empty())
    throw Error({.code = ErrorCode::kConfiguration,
                 .message = fmt::format("{} gives no passphrase", from),
                 .detail = "Its first line is empty.",
                 .hint = "Put the passphrase in the first line."});
  return line;
}

}  // namespace

std::string command_word(std::string_view text) {
  std::string doubled;
  for (char c : text) {
    doubled += c;
    if (c == '%') doubled += c;
  }
  return shell_quote(doubled);
}

std::span<const Setting> settings_table() { return kTable; }

Settings Settings::load(const Sources& sources) {
  Settings result;
  auto from_environment = [&](std::string_view name) -> std::string {
    auto found = sources.environment.find(std::string(name));
    return found == sources.environment.end() ? std::string() : found->second;
  };

  // The file.
  std::string file =
      sources.config_file.empty() ? from_environment("HOLDFAST_CONFIG") : sources.config_file;
  const bool named = !file.empty();
  if (!named) file = kDefaultConfigFile;
  std::optional<TomlFile> toml;
  if (std::optional<Bytes> text = read_configuration(file)) {
    result.config_file_ = absolute_path(file);
    toml = parse_toml(as_text(*text), result.config_file_);
  } else if (named) {
    throw Error(
        {.code = ErrorCode::kConfiguration,
         .message = fmt::format("configuration file \"{}\" does not exist", file),
         .hint = "Name an existing file with --config or HOLDFAST_CONFIG, or leave both out."});
  }

  // Which cluster.
  if (toml)
    for (const auto& [name, keys] : toml->clusters) result.clusters_.push_back(name);
  if (auto chosen = sources.options.find("cluster"); chosen != sources.options.end())
    result.cluster_ = chosen->second;
  else if (std::string chosen_there = from_environment("HOLDFAST_CLUSTER"); !chosen_there.empty())
    result.cluster_ = chosen_there;
  else if (result.clusters_.size() <= 1)
    result.cluster_ = result.clusters_.empty() ? "main" : result.clusters_.front();
  if (!result.cluster_.empty()) repo::check_cluster_name(result.cluster_);

  // Unknown keys.
  auto check_key = [&](std::string_view key, const TomlValue& value) {
    if (find_setting(key) == nullptr)
      throw Error(
          {.code = ErrorCode::kConfiguration,
           .message = fmt::format("unknown setting \"{}\" in configuration file \"{}\"", key,
                                  result.config_file_),
           .detail = fmt::format("It stands in line {}, column {}.", value.line, value.column),
           .hint = fmt::format("The nearest that is known is \"{}\".", nearest_key(key))});
  };
  if (toml) {
    for (const auto& [key, value] : toml->values) check_key(key, value);
    for (const auto& [name, keys] : toml->clusters) {
      repo::check_cluster_name(name);
      for (const auto& [key, value] : keys) check_key(fmt::format("cluster.{}", key), value);
    }
  }

  // The values.
  for (const Setting& setting : kTable) {
    Value value{.text = std::string(setting.default_value), .origin = Origin::kDefault};
    const std::string key(setting.key);
    if (toml) {
      if (auto found = toml->values.find(key); found != toml->values.end())
        value = {.text = found->second.text, .origin = Origin::kFile};
      if (key.starts_with("cluster."))
        if (auto cluster = toml->clusters.find(result.cluster_); cluster != toml->clusters.end())
          if (auto found = cluster->second.find(key.substr(8)); found != cluster->second.end())
            value = {.text = found->second.text, .origin = Origin::kFile};
    }
    if (std::string text = from_environment(setting.environment); !text.empty())
      value = {.text = std::move(text), .origin = Origin::kEnvironment};
    if (auto found = sources.options.find(key); found != sources.options.end())
      value = {.text = found->second, .origin = Origin::kOption};
    result.values_.emplace(key, std::move(value));
    result.check_value(setting);
  }
  return result;
}

const std::string& Settings::cluster() const {
  if (cluster_.empty())
    throw Error({.code = ErrorCode::kConfiguration,
                 .message = "no cluster was chosen",
                 .detail = fmt::format("Configuration file \"{}\" has {}: {}.", config_file_,
                                       clusters_.size(), fmt::join(clusters_, ", ")),
                 .hint = "Choose one with --cluster NAME."});
  return cluster_;
}

const Value& Settings::value(std::string_view key) const {
  auto found = values_.find(key);
  HF_CHECK(found != values_.end());
  return found->second;
}

int Settings::integer(std::string_view key) const {
  int number = 0;
  const std::string& digits = text(key);
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  HF_CHECK(error == std::errc() && stop == digits.data() + digits.size());
  return number;
}

Microseconds Settings::duration(std::string_view key) const { return parse_duration(text(key)); }

uint64_t Settings::bytes(std::string_view key) const {
  return is_set(key) ? parse_bytes(text(key)) : 0;
}

void Settings::check_value(const Setting& setting) const {
  const Value& given = value(setting.key);
  const std::string origin = origin_text(setting, given.origin, config_file_);
  if (setting.value_name == "N") {
    const char* end = given.text.data() + given.text.size();
    int64_t number = 0;
    const auto [stop, error] = std::from_chars(given.text.data(), end, number);
    if (error != std::errc() || stop != end || number < setting.lowest || number > setting.highest)
      throw Error(
          {.code = ErrorCode::kConfiguration,
           .message = fmt::format("invalid value \"{}\" for \"{}\"", given.text, setting.key),
           .detail = fmt::format("It came from the {}.", origin),
           .hint =
               fmt::format("Give a whole number from {} to {}.", setting.lowest, setting.highest)});
    return;
  }
  Context checking("reading \"{}\" from the {}", setting.key, origin);
  if (setting.value_name == "DURATION") duration(setting.key);
  if (setting.value_name == "BYTES") bytes(setting.key);
  if (setting.key == "repo.compression") compression();
  if (setting.key == "repo.id") repository_id();
}

codec::CompressionSetting Settings::compression() const {
  return codec::parse_compression(text("repo.compression"));
}

std::optional<Bytes16> Settings::repository_id() const {
  if (!is_set("repo.id")) return std::nullopt;
  std::optional<Bytes> bytes = parse_hex(text("repo.id"));
  if (!bytes || bytes->size() != 16)
    throw Error({.code = ErrorCode::kConfiguration,
                 .message = fmt::format("invalid repository id \"{}\"", text("repo.id")),
                 .detail = "A repository id is 32 hexadecimal digits.",
                 .hint = "\"holdfast info\" prints it."});
  Bytes16 id;
  std::ranges::copy(*bytes, id.bytes.begin());
  return id;
}

std::string Settings::repository_url() const {
  const std::string& url = text("repo.url");
  if (url.empty())
    throw Error(
        {.code = ErrorCode::kConfiguration,
         .message = "no repository was named",
         .hint =
             "Name it with --repo URL, with HOLDFAST_REPO, or as url in the section [repo] of the "
             "configuration file."});
  return url.find("://") == std::string::npos ? absolute_path(url) : url;
}

repo::KeySource Settings::key() const {
  constexpr std::array kKeys = {"repo.key_file", "repo.passphrase_file", "repo.passphrase_command"};
  std::vector<std::string_view> given;
  // A place that wins over another wins for the key as a whole: an option replaces what the file
  // says.
  Origin highest = Origin::kDefault;
  for (std::string_view key : kKeys)
    if (is_set(key)) highest = std::max(highest, value(key).origin);
  for (std::string_view key : kKeys)
    if (is_set(key) && value(key).origin == highest) given.push_back(key);
  if (given.size() > 1)
    throw Error({.code = ErrorCode::kConfiguration,
                 .message = "the repository's key is given twice",
                 .detail = fmt::format("Both \"{}\" and \"{}\" are set.", given[0], given[1]),
                 .hint = "Keep one of them."});
  repo::KeySource key;
  if (given.empty()) return key;
  const std::string& text_of = text(given.front());
  if (given.front() == "repo.key_file") {
    key.key_file = repo::read_key_file(text_of);
  } else if (given.front() == "repo.passphrase_file") {
    const std::optional<struct stat> status = stat_if_exists(text_of);
    if (!status)
      throw Error({.code = ErrorCode::kNotFound,
                   .message = fmt::format("passphrase file \"{}\" does not exist", text_of),
                   .hint = "Check passphrase_file in the configuration."});
    if (S_ISREG(status->st_mode))
      repo::require_private("passphrase file", text_of, status->st_mode);
    key.passphrase = checked_passphrase(read_text_file(text_of, size_t{64} << 10),
                                        fmt::format("file \"{}\"", text_of));
  } else {
    Captured captured = run({.arguments = {"/bin/sh", "-c", text_of}});
    if (!captured.status.ok())
      throw Error({.code = ErrorCode::kConfiguration,
                   .message = fmt::format("passphrase command \"{}\" {}", text_of,
                                          to_string(captured.status)),
                   .detail = captured.err,
                   .hint = "It must print the passphrase and exit with status 0."});
    key.passphrase = checked_passphrase(captured.out, fmt::format("command \"{}\"", text_of));
  }
  return key;
}

std::string Settings::command_line_for_server() const {
  std::string words;
  if (!config_file_.empty()) words += fmt::format(" --config {}", command_word(config_file_));
  constexpr std::array kPassedOn = {"repo.url", "repo.id", "repo.compression", "repo.key_file",
                                    "repo.passphrase_file"};
  for (std::string_view key : kPassedOn) {
    const Value& given = value(key);
    if (given.origin != Origin::kOption && given.origin != Origin::kEnvironment) continue;
    std::string text = given.text;
    if (key == "repo.url") text = repository_url();
    if (key.ends_with("_file")) text = absolute_path(text);
    words += fmt::format(" {} {}", find_setting(key)->option, command_word(text));
  }
  words += fmt::format(" --cluster {}", command_word(cluster()));
  return words.substr(1);
}

std::string settings_reference() {
  std::string page =
      "# Settings\n\n"
      "The command line wins, then the environment, then the configuration file, then the default. "
      "The file is the one that `--config` names, else\n"
      "`HOLDFAST_CONFIG`, else `/etc/holdfast/holdfast.toml`; it is TOML. Keys that begin with "
      "`cluster.` stand in a section of their cluster,\n"
      "`[cluster.main]`; the others in the section before the dot. `-c NAME`, `--cluster NAME` or "
      "`HOLDFAST_CLUSTER` chooses the cluster when several are configured.\n\n"
      "| setting | option | environment | default | meaning |\n|---|---|---|---|---|\n";
  for (const Setting& setting : kTable)
    page += fmt::format("| `{}` | {} | `{}` | {} | {} |\n", setting.key,
                        setting.option.empty()
                            ? std::string("-")
                            : fmt::format("`{} {}`", setting.option, setting.value_name),
                        setting.environment,
                        setting.default_value.empty() ? std::string("-")
                                                      : fmt::format("`{}`", setting.default_value),
                        setting.meaning);
  return page;
}

}  // namespace holdfast::config
