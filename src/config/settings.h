// settings.h: every setting of Holdfast, in one table.
//
// A setting has a name (its key in the configuration file), an environment variable and an option
// of the same meaning. The command line wins, then the environment, then the file, then the
// default. The table is what the help texts, the file's reader and the reference page
// (docs/reference/settings.md, compared by a test) are made from.
//
//   [repo]                 keys "repo.*"
//   [wal]                  keys "wal.*"
//   [cluster.main]         keys "cluster.*", one table per cluster
//   jobs = 2               keys without a dot stand at the top
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"
#include "codec/compression.h"
#include "repo/keys.h"

namespace holdfast::config {

struct Setting {
  std::string_view key;            // "repo.url"
  std::string_view environment;    // "HOLDFAST_REPO"
  std::string_view option;         // "--repo"; empty: no option
  std::string_view value_name;     // "URL"
  std::string_view default_value;  // empty: none
  std::string_view meaning;        // a sentence without its full stop
  // Of a whole number; `value_name` is "N".
  int64_t lowest = 0, highest = 0;
};
std::span<const Setting> settings_table();

// Where a value came from; for messages and for the commands that are written into a server's
// configuration.
enum class Origin : uint8_t { kDefault, kFile, kEnvironment, kOption };

struct Value {
  std::string text;
  Origin origin = Origin::kDefault;
};

// What main gathered: options that were given, by key; the environment; --config.
struct Sources {
  std::map<std::string, std::string> options = {};      // by setting key
  std::map<std::string, std::string> environment = {};  // HOLDFAST_* only
  std::string config_file;  // --config; empty: HOLDFAST_CONFIG, else the default place if it exists
};

class Settings {
 public:
  // Reads the configuration file, if there is one, and lays environment and options over it.
  // `cluster` of the result is the one that -c names, else HOLDFAST_CLUSTER, else the only one
  // configured, else "main". Throws kConfiguration: a file that is named and absent, TOML that does
  // not parse (line, column), an unknown key (with the nearest), a wrong type, a number, duration,
  // compression or id that is none (whether this command uses it or not). Where two clusters are
  // configured and none is chosen, the settings of a cluster have their defaults.
  static Settings load(const Sources& sources);

  // Throws kConfiguration where two are configured and none was chosen.
  const std::string& cluster() const;
  bool has_cluster() const { return !cluster_.empty(); }
  const std::vector<std::string>& configured_clusters() const { return clusters_; }
  // The file that was read; empty when none was.
  const std::string& config_file() const { return config_file_; }

  // The value of a setting; cluster keys are those of cluster(). REQUIRES: the key is in the table.
  const Value& value(std::string_view key) const;
  const std::string& text(std::string_view key) const { return value(key).text; }
  bool is_set(std::string_view key) const { return !text(key).empty(); }
  int integer(std::string_view key) const;
  Microseconds duration(std::string_view key) const;
  uint64_t bytes(std::string_view key) const;  // 0 when it is not set
  codec::CompressionSetting compression() const;
  std::optional<Bytes16> repository_id() const;
  std::string repository_url()
      const;  // throws kConfiguration when none is set; a relative path is made absolute

  // The key: key_file, or the passphrase from passphrase_file or passphrase_command. Empty when
  // none is set; more than one set: kConfiguration.
  repo::KeySource key() const;

  // How another process reaches the same repository: the options to put behind the program in
  // archive_command and restore_command, for a shell, percent signs doubled:
  // --config FILE when a file was read, and every option or environment setting that decided
  // repository, key or cluster.
  std::string command_line_for_server() const;

 private:
  void check_value(const Setting& setting) const;

  std::string cluster_;
  std::vector<std::string> clusters_;
  std::string config_file_;
  std::map<std::string, Value, std::less<>> values_;
};

// A word for a shell inside archive_command or restore_command, where "%" begins a placeholder.
std::string command_word(std::string_view text);

inline constexpr std::string_view kDefaultConfigFile = "/etc/holdfast/holdfast.toml";

// The table as a page for docs/reference, and as a commented configuration file.
std::string settings_reference();

}  // namespace holdfast::config
