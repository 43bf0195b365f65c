#include "setup/init.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "base/nearest.h"
#include "cluster/connection.h"
#include "cluster/server_facts.h"
#include "pg/version.h"
#include "repo/cluster_names.h"
#include "repo/layout.h"
#include "setup/configured_directory.h"
#include "setup/server_settings.h"

namespace holdfast::setup {
namespace {

repo::Lineage describe_lineage(const std::string& cluster, const cluster::ServerFacts& facts,
                               cluster::Connection& connection) {
  std::string text = connection.query_value("SELECT blocks_per_segment FROM pg_control_init()");
  uint32_t blocks = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), blocks);
  if (error != std::errc() || end != text.data() + text.size() || blocks == 0)
    throw Error({.code = ErrorCode::kServer,
                 .message = fmt::format("the server gave an invalid segment size \"{}\"", text)});
  return {.name = {.cluster = cluster, .major = facts.major},
          .system_identifier = facts.system_identifier,
          .catalog_version = facts.catalog_version,
          .wal_segment_bytes = facts.wal_segment_size.bytes(),
          .block_bytes = facts.block_size,
          .blocks_per_segment = blocks,
          .created = system_clock().now()};
}

// A name with a letter wrong would be a second cluster beside the one that is meant. What the
// repository holds needs no configuration.
void refuse_unconfigured(const std::optional<repo::Repository>& repository,
                         const InitOptions& options) {
  const std::vector<std::string>& configured = options.configured_clusters;
  if (configured.empty() || std::ranges::count(configured, options.cluster) > 0) return;
  std::vector<std::string> held;
  if (repository) {
    if (!repository->lineage_folders(options.cluster).empty()) return;
    held = repository->clusters();
  }
  held.insert(held.end(), configured.begin(), configured.end());
  const std::optional<std::string> meant = meant_word(options.cluster, held);
  throw Error(
      {.code = ErrorCode::kConfiguration,
       .message = fmt::format("cluster \"{}\" is not configured", options.cluster),
       .detail = fmt::format("Configuration file \"{}\" has: {}. The repository has no \"{}\" "
                             "either.",
                             options.config_file, fmt::join(configured, ", "), options.cluster),
       .hint = fmt::format("{}For a new cluster write a section [cluster.{}] into that file first.",
                           meant ? fmt::format("Did you mean \"{}\"? ", *meant) : "",
                           options.cluster)});
}

void refuse_other_cluster(const repo::Repository& repository, const InitOptions& options,
                          const cluster::ServerFacts& facts) {
  if (options.new_lineage) return;
  std::optional<repo::Lineage> newest = repository.newest_lineage(options.cluster);
  if (!newest) return;
  throw Error(
      {.code = ErrorCode::kWrongCluster,
       .message = fmt::format("cluster \"{}\" of the repository is another one", options.cluster),
       .detail = fmt::format("The server's system identifier is {}, that of lineage {} is {}.",
                             facts.system_identifier, repo::to_string(newest->name),
                             newest->system_identifier),
       .hint = "After pg_upgrade or a new initdb add --new-lineage; for a cluster of its own give "
               "another name with -c."});
}

// A server that archives by an earlier name of the cluster archives into it.
InitOptions by_what_it_is_called(InitOptions options,
                                 const std::optional<repo::Repository>& repository) {
  if (!repository || !options.place_of) return options;
  options.place_of = [ask = options.place_of, &repository,
                      options](const std::string& command) -> std::optional<ArchivePlace> {
    std::optional<ArchivePlace> place = ask(command);
    if (place && place->repository == options.repository &&
        repo::folder_of_cluster(*repository, place->cluster) ==
            repo::folder_of_cluster(*repository, options.cluster))
      place->cluster = options.cluster;
    return place;
  };
  return options;
}

// The same server under a second name, or one whose name's objects were lost: its WAL would go to
// one of two clusters, and its backups be of the other.
void refuse_second_cluster(const repo::Repository& repository, const InitOptions& options,
                           const cluster::ServerFacts& facts) {
  if (options.second_cluster) return;
  const std::string own = repo::folder_of_cluster(repository, options.cluster);
  for (const std::string& other : repository.clusters())
    if (repo::folder_of_cluster(repository, other) != own &&
        repository.find_lineage(other, facts.system_identifier))
      throw Error(
          {.code = ErrorCode::kConflict,
           .message =
               fmt::format("this server is in the repository as cluster \"{}\" already", other),
           .detail = fmt::format("Its system identifier is {}. \"{}\" would be a second cluster, "
                                 "with backups and WAL of its own.",
                                 facts.system_identifier, options.cluster),
           .hint = fmt::format("Use -c {0}; \"holdfast cluster rename {0} {1}\" gives it the "
                               "other name. If a second one is meant, as for a server that was "
                               "copied, run: {2}{3} --second-cluster",
                               other, options.cluster, options.typed_command,
                               options.configure_server ? " --configure-server" : "")});
}

std::optional<repo::Repository> open_if_there(store::Store& target, const InitOptions& options) {
  bool is_there = false;
  // The place itself may not be there yet; one that is and does not answer is refused when it is
  // made.
  error_of({ErrorCode::kNotFound, ErrorCode::kStoreUnavailable}, [&] {
    is_there = target.info(std::string(repo::kRepositoryName)) ||
               target.info(std::string(repo::kRepositoryCopyName));
  });
  if (!is_there) return std::nullopt;
  return repo::Repository::open(target, options.key, options.expected_id);
}

// The last file that the server has archived, by whatever command; nullopt: none, or it may not be
// asked. Its counters are lost in a crash, the marks in pg_wal when their segments go.
std::optional<std::string> last_archived(cluster::Connection& connection) {
  std::optional<std::string> last;
  error_of([&] {
    last = cluster::read_archiver_status(connection).last_archived_wal;
    if (!last)
      last = connection
                 .query_row(
                     "SELECT max(replace(name, '.done', '')) FROM "
                     "pg_catalog.pg_ls_archive_statusdir() WHERE name LIKE '%.done'")
                 .at(0);
  });
  return last;
}

// No repository is there. Where the server has archived into one at this place its file system is
// most likely not mounted, and a new one below the mount point would be filled until it is.
void require_word_for_new_repository(const ArchiveSettings& settings, const InitOptions& options,
                                     cluster::Connection& connection) {
  const std::string mount = "If its file system is not mounted, mount it and run this again.";
  if (options.expected_id)
    throw Error({.code = ErrorCode::kConflict,
                 .message = fmt::format("no repository is at \"{}\"", options.repository),
                 .detail = fmt::format("The configuration demands the one with the id {}.",
                                       to_hex(options.expected_id->view())),
                 .hint = mount + " A new one has another id: leave repo.id out to make it."});
  const std::string& command = settings.archive_command.next();
  if (options.new_repository || !is_our_archive_command(command)) return;
  const std::optional<ArchivePlace> place = options.place_of(command);
  if (!place || place->repository != options.repository) return;
  std::string why;
  if (place->id)
    why = fmt::format("It names the repository with the id {}.", to_hex(place->id->view()));
  else if (const std::optional<std::string> last = last_archived(connection))
    why = fmt::format("It has archived, last \"{}\".", *last);
  else
    return;
  throw Error(
      {.code = ErrorCode::kConflict,
       .message = fmt::format("the server archives into \"{}\", and no repository is there",
                              options.repository),
       .detail = fmt::format("archive_command is \"{}\". {}", command, why),
       .hint = fmt::format("{} If that repository is gone, and another one is to begin here, run: "
                           "{}{} --new-repository",
                           mount, options.typed_command,
                           options.configure_server ? " --configure-server" : "")});
}

}  // namespace

InitResult init(const InitOptions& options, store::Store& target, Reporter& reporter,
                std::stop_token stop) {
  repo::check_cluster_name(options.cluster);

  // Refuse what would be refused, before anything is made. Of the repository repo.json is put last,
  // so where it stands there is a whole one.
  std::optional<repo::Repository> there = open_if_there(target, options);
  refuse_unconfigured(there, options);
  cluster::Connection connection = cluster::Connection::connect(
      {.conninfo = options.conninfo, .application_name = "holdfast init"}, std::move(stop));
  cluster::ServerFacts facts = cluster::read_server_facts(connection);
  if (pg::is_newer_major(facts.major)) {
    if (facts.wal_segment_size != pg::WalSegmentSize())
      pg::require_known_major(facts.major,
                              "Its WAL segments have another size than the default, which only its "
                              "control file tells, and that is not read of this major.");
    reporter.warning(pg::newer_major_notice(facts.major));
  }
  check_configured_directory(options.pgdata, facts);
  ArchiveSettings settings = read_archive_settings(connection);
  if (!there) require_word_for_new_repository(settings, options, connection);
  const auto id = [&] { return there ? std::optional(there->id()) : std::nullopt; };
  if (options.configure_server) {
    refuse_foreign_archiving(settings, by_what_it_is_called(options, there), id());
    refuse_fixed_settings(settings, wanted_command(options, id()), options.replace);
  }

  cluster::require_apart_from(facts, target.url());
  InitResult result;
  result.repository_created = !there;
  if (!there) {
    const repo::KeySource key = options.make_place(facts.data_directory);
    there = repo::Repository::create(target, key, system_clock());
  }
  const repo::Repository& repository = *there;
  result.repository_id = repository.id();
  result.sealed = repository.sealed();

  // The lineage of this system identifier.
  std::optional<repo::Lineage> known =
      repository.find_lineage(options.cluster, facts.system_identifier);
  if (!known) {
    refuse_other_cluster(repository, options, facts);
    refuse_second_cluster(repository, options, facts);
    known = repository.create_lineage(describe_lineage(options.cluster, facts, connection),
                                      options.new_lineage);
    result.lineage_created = true;
  }
  result.lineage = *known;
  repository.complete_copies(known->name);

  // The server last: it has where to archive to when it begins.
  SettingsPlan plan = plan_settings(settings, wanted_command(options, id()),
                                    options.configure_server && options.replace);
  if (options.configure_server) apply_changes(connection, plan.to_make);
  if (const std::optional<Error> elsewhere = error_of(
          [&] { refuse_foreign_archiving(settings, by_what_it_is_called(options, there), id()); });
      elsewhere && !options.configure_server)
    result.archives_elsewhere = elsewhere->message();
  result.changes_made = options.configure_server || plan.to_make.empty();
  result.changes = std::move(plan.to_make);
  result.changes.insert(result.changes.end(), plan.to_restart.begin(), plan.to_restart.end());
  for (const SettingChange& change : result.changes) result.restart_needed |= change.needs_restart;
  return result;
}

}  // namespace holdfast::setup
