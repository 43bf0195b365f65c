#include "setup/configured_directory.h"

#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/connection.h"
#include "cluster/data_directory.h"

namespace holdfast::setup {

namespace {

void require_its_system(const std::string& directory, const cluster::ServerFacts& facts) {
  pg::ControlFile control;
  const std::optional<Error> unread =
      error_of([&] { control = cluster::read_control_file(directory).control; });
  if (unread || control.system_identifier == facts.system_identifier) return;
  throw Error(
      {.code = ErrorCode::kWrongCluster,
       .message = fmt::format("data directory \"{}\" is not the server's", directory),
       .detail = fmt::format("Its system identifier is {}, that of the server is {}.",
                             control.system_identifier, facts.system_identifier),
       .hint = "Correct pgdata or conninfo in the configuration." + cluster::environment_hint()});
}

}  // namespace

void check_configured_directory(const std::string& configured, const cluster::ServerFacts& facts) {
  if (configured.empty()) return;
  std::optional<struct stat> ours = stat_if_exists(configured);
  std::optional<struct stat> servers = stat_if_exists(facts.data_directory);
  bool is_same = ours && servers
                     ? ours->st_dev == servers->st_dev && ours->st_ino == servers->st_ino
                     : absolute_path(configured) == absolute_path(facts.data_directory);
  if (is_same) return require_its_system(configured, facts);
  throw Error(
      {.code = ErrorCode::kWrongCluster,
       .message = fmt::format("\"{}\" is not the data directory of the server", configured),
       .detail = fmt::format("The server's data directory is \"{}\".", facts.data_directory),
       .hint = "Correct pgdata or conninfo in the configuration; pgdata may be left out." +
               cluster::environment_hint()});
}

}  // namespace holdfast::setup
