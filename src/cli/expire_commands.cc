#include "cli/expire_commands.h"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/prompt.h"
#include "cluster/connection.h"
#include "cluster/data_directory.h"
#include "cluster/server_facts.h"
#include "expire/change_key.h"
#include "expire/claims.h"
#include "expire/delete.h"
#include "expire/expire.h"
#include "repo/key_objects.h"
#include "store/open_store.h"
#include "view/claims.h"
#include "view/expire.h"

namespace holdfast::cli {
namespace {

// What holds without the command line: whoever names a shorter one there has an emergency.
Microseconds configured_grace(const Call& call) {
  config::Sources sources = call.arguments.sources;
  std::erase_if(sources.options, [](const auto& option) { return option.first == "repo.grace"; });
  return grace_of(config::Settings::load(sources));
}

// Asks on a terminal; elsewhere --yes must have been given.
void confirm_removal(const Call& call, std::string_view command, const std::string& what) {
  call.reporter.clear();
  if (!agrees(what, call.stop))
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("{} was not confirmed", command),
                 .detail = "Nothing was changed.",
                 .hint = "Confirm it with --yes, or see with --dry-run what would go."});
}

// The new key, read as the settings of its kind are. A key file that does not exist is made, as
// init does.
repo::KeySource new_key(const Call& call) {
  const Arguments& arguments = call.arguments;
  config::Sources sources = arguments.sources;
  std::erase_if(sources.options, [](const auto& option) {
    return option.first == "repo.key_file" || option.first == "repo.passphrase_file";
  });
  if (arguments.new_key_file.empty()) {
    sources.options["repo.passphrase_file"] = arguments.new_passphrase_file;
  } else {
    sources.options["repo.key_file"] = arguments.new_key_file;
    if (!lstat_if_exists(arguments.new_key_file)) {
      repo::create_key_file(arguments.new_key_file, system_random());
      call.reporter.warning(
          fmt::format("made key file \"{}\": without it nobody can read the repository; keep a "
                      "copy of it in another place",
                      arguments.new_key_file));
    }
  }
  return config::Settings::load(sources).key();
}

int change_key(const Call& call, bool keep_current) {
  const std::string url = call.settings.repository_url();
  const std::unique_ptr<store::Store> store = store::open_store(url);
  // Opened before a new key file is made: a wrong key changes nothing.
  const repo::KeySource current = call.settings.key();
  repo::Repository::open(*store, current, call.settings.repository_id());
  const repo::KeySource replacement = new_key(call);
  const expire::ChangedKey changed =
      expire::change_key(*store, current, replacement, keep_current, *store::open_remover(url));
  const std::string& file = call.arguments.new_key_file.empty() ? call.arguments.new_passphrase_file
                                                                : call.arguments.new_key_file;
  if (call.arguments.json) {
    Json removed = Json::array();
    for (const Bytes16& id : changed.removed) removed.push(to_hex(id.view()));
    print(call, Json::object()
                    .set("schema", "holdfast.change_key.v1")
                    .set("added", to_hex(changed.added.view()))
                    .set("removed", std::move(removed)));
  } else {
    print(call,
          unless_quiet(
              call, true,
              keep_current
                  ? fmt::format("The key in \"{}\" opens the repository too.\n", file)
                  : fmt::format(
                        "The key in \"{}\" opens the repository; the old one no longer does. Next: "
                        "name it in the configuration, for archive_command too.\n",
                        file)));
  }
  return 0;
}

// As its server says it; else its data directory, which outlives the server.
std::optional<expire::ClusterPlace> ask_place(const Call& call) {
  std::optional<expire::ClusterPlace> place;
  const std::string& conninfo = call.settings.text("cluster.conninfo");
  if (!conninfo.empty())
    error_of([&] {
      cluster::Connection connection = cluster::Connection::connect(
          {.conninfo = conninfo, .application_name = "holdfast backup delete"}, call.stop);
      const cluster::ServerFacts facts = cluster::read_server_facts(connection);
      place = {.system_identifier = facts.system_identifier, .timeline = facts.timeline};
    });
  const std::string& directory = call.settings.text("cluster.pgdata");
  if (!place && !directory.empty())
    error_of([&] {
      const pg::ControlFile control = cluster::read_control_file(directory).control;
      place = {.system_identifier = control.system_identifier, .timeline = control.timeline};
    });
  return place;
}

}  // namespace

Microseconds grace_of(const config::Settings& settings) {
  const Microseconds grace = settings.duration("repo.grace");
  if (grace >= Microseconds{0}) return grace;
  throw Error({.code = ErrorCode::kConfiguration,
               .message = fmt::format("invalid grace period \"{}\"", settings.text("repo.grace")),
               .hint = "Give a duration such as 24h."});
}

int run_repo_list_keys(const Call& call) {
  const std::unique_ptr<store::Store> store = store::open_store(call.settings.repository_url());
  const repo::KeySource mine = call.settings.key();
  const repo::Repository repository =
      repo::Repository::open(*store, mine, call.settings.repository_id());
  if (!repository.sealed())
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("the repository at \"{}\" is not sealed", store->url()),
                 .detail = "It has no keys.",
                 .hint = "Make a new one with \"holdfast init --encrypt\"."});
  const std::vector<Bytes16> opened = repo::key_objects_opened_by(*store, mine, repository.id());
  const std::vector<repo::KeyObject> keys = repo::list_key_objects(*store, repository.id());
  print(call, view::json(keys, opened), view::text(keys, opened));
  return 0;
}
int run_repo_change_key(const Call& call) { return change_key(call, false); }
int run_repo_add_key(const Call& call) { return change_key(call, true); }

int run_repo_remove_key(const Call& call) {
  const std::string url = call.settings.repository_url();
  const std::unique_ptr<store::Store> store = store::open_store(url);
  const repo::KeySource mine = call.settings.key();
  // With the pinned id, if there is one.
  repo::Repository::open(*store, mine, call.settings.repository_id());
  const repo::KeyObject key =
      expire::find_removable_key(*store, mine, call.arguments.words.front());
  const std::string id = to_hex(key.id.view());
  const bool does = !call.arguments.dry_run;
  if (does) {
    if (!call.arguments.yes)
      confirm_removal(
          call, "repo remove-key",
          fmt::format("Key {}{} will no longer open the repository: whoever has no other "
                      "one, an archiving server too, is shut out.\n",
                      id, key.made ? ", added at " + to_local(*key.made) : ""));
    expire::remove_key(*store, mine, key.id, *store::open_remover(url));
  }
  print(call,
        Json::object().set("schema", "holdfast.remove_key.v1").set("key", id).set("removed", does),
        does ? fmt::format("Key {} no longer opens the repository. Who kept a copy of its object "
                           "and has its file or passphrase can still read what was sealed.\n",
                           id)
             : fmt::format("Key {} would be removed; the one that is configured opens the "
                           "repository without it. Nothing was changed.\n",
                           id));
  return 0;
}

int run_backup_delete(const Call& call) {
  const OpenRepository opened(call);
  expire::Deletion deletion = expire::plan_deletion({.cluster = call.settings.cluster(),
                                                     .ids = call.arguments.words,
                                                     .delete_last = call.arguments.delete_last,
                                                     .lineage = lineage_choice(call),
                                                     .ask_place = [&] { return ask_place(call); }},
                                                    opened.repository);
  const bool does = !call.arguments.dry_run;
  if (does) {
    if (!call.arguments.yes) confirm_removal(call, "backup delete", view::question(deletion));
    deletion = expire::carry_out(std::move(deletion), opened.repository,
                                 *store::open_remover(call.settings.repository_url()));
  }
  print(call, view::json(deletion, does),
        unless_quiet(call, does && deletion.left.empty(), view::text(deletion, does)));
  if (deletion.left.empty()) return 0;
  for (const expire::Deletion::Left& left : deletion.left)
    call.reporter.warning(fmt::format("backup {} stays: {}{}", left.id, left.why.message(),
                                      left.why.detail().empty() ? "" : ". " + left.why.detail()));
  return exit_status(deletion.left.front().why.code());
}

int run_backup_undelete(const Call& call) {
  const OpenRepository opened(call);
  const repo::Backup backup =
      expire::undelete(call.settings.cluster(), call.arguments.words.front(), opened.repository);
  if (call.arguments.json)
    print(call, Json::object().set("schema", "holdfast.backup_undelete.v1").set("id", backup.id));
  else
    print(call,
          unless_quiet(call, true,
                       fmt::format("Backup {} is there again, as if it had not been deleted.\n",
                                   backup.id)));
  return 0;
}

int run_backup_pin(const Call& call) {
  const OpenRepository opened(call);
  const bool pinned = !call.arguments.off;
  const repo::Backup backup = expire::pin({.cluster = call.settings.cluster(),
                                           .id = call.arguments.words.front(),
                                           .lineage = lineage_choice(call)},
                                          pinned, opened.repository);
  if (call.arguments.json)
    print(call, Json::object()
                    .set("schema", "holdfast.backup_pin.v1")
                    .set("id", backup.id)
                    .set("pinned", pinned));
  else
    print(call,
          unless_quiet(
              call, true,
              pinned ? fmt::format(
                           "Backup {} is pinned: it cannot be deleted before \"holdfast backup "
                           "pin --off {}\".\n",
                           backup.id, backup.id)
                     : fmt::format("Backup {} is not pinned any more.\n", backup.id)));
  return 0;
}

int run_claims(const Call& call) {
  const OpenRepository opened(call);
  const std::string cluster = call.settings.cluster();
  if (call.arguments.claim.empty()) {
    const std::vector<expire::Claim> claims = expire::list_claims(cluster, opened.repository);
    print(call, view::json(claims), view::text(claims));
  } else {
    const expire::Claim ended = expire::end_claim(cluster, call.arguments.claim, opened.repository);
    print(call, view::json(ended), unless_quiet(call, true, view::text(ended)));
  }
  return 0;
}

int run_expire(const Call& call) {
  const OpenRepository opened(call);
  const std::string url = call.settings.repository_url();
  const Microseconds grace = grace_of(call.settings), configured = configured_grace(call);
  std::optional<Microseconds> shorter;
  if (grace < configured) shorter = grace;
  if (shorter && !call.arguments.yes && !call.arguments.dry_run)
    confirm_removal(call, "a shorter grace period",
                    fmt::format("What nothing uses is removed {}, and what was deleted before that "
                                "cannot be taken back.\n",
                                *shorter == Microseconds{0} ? std::string("at once")
                                                            : "after " + to_human(*shorter)));
  const expire::ExpireResult result =
      expire::expire({.cluster = call.settings.cluster(),
                      .grace = std::max(grace, configured),
                      .short_grace = shorter,
                      .dry_run = call.arguments.dry_run,
                      .sweep_uploads = [url] { return store::sweep_uploads(url); }},
                     opened.repository, *store::open_remover(url), call.reporter, call.stop);
  const bool is_damaged = std::ranges::any_of(
      result.lineages,
      [](const expire::ExpiredLineage& lineage) { return !lineage.damaged_backups.empty(); });
  print(call, view::json(result),
        unless_quiet(call, !is_damaged && !result.dry_run, view::text(result)));
  return is_damaged ? exit_status(ErrorCode::kCorrupt) : 0;
}

}  // namespace holdfast::cli
