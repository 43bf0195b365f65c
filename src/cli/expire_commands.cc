#include "cli/expire_commands.h"

#include <array>
#include <cstdio>
#include <string_view>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "expire/delete.h"
#include "expire/expire.h"
#include "store/open_store.h"
#include "view/expire.h"

namespace holdfast::cli {
namespace {

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

Microseconds grace(const config::Settings& settings) {
  const Microseconds grace = parse_duration(settings.text("repo.grace"));
  if (grace >= Microseconds{0}) return grace;
  throw Error({.code = ErrorCode::kConfiguration,
               .message = fmt::format("invalid grace period \"{}\"", settings.text("repo.grace")),
               .hint = "Give a duration such as 24h."});
}

// Asks on a terminal; elsewhere --yes must have been given.
void confirm_deletion(const std::string& what) {
  const Error refused({.code = ErrorCode::kUsage,
                       .message = "backup delete was not confirmed",
                       .detail = "Nothing was changed.",
                       .hint = "Confirm it with --yes, or see with --dry-run what would go."});
  if (isatty(STDIN_FILENO) != 1) throw Error(refused);
  std::fputs(fmt::format("{}Go on? (yes/no) ", what).c_str(), stderr);
  std::array<char, 16> answer{};
  if (std::fgets(answer.data(), answer.size(), stdin) == nullptr ||
      std::string_view(answer.data()) != "yes\n")
    throw Error(refused);
}

}  // namespace

int run_backup_delete(const Call& call) {
  const OpenRepository opened(call);
  opened.lineages();
  const expire::Deletion deletion =
      expire::plan_deletion({.cluster = call.settings.cluster(),
                             .ids = call.arguments.words,
                             .delete_last = call.arguments.delete_last},
                            opened.repository);
  const bool does = !call.arguments.dry_run;
  if (does) {
    if (!call.arguments.yes) confirm_deletion(view::text(deletion, false));
    expire::carry_out(deletion, opened.repository,
                      *store::open_remover(call.settings.repository_url()));
  }
  print(call.arguments.json ? view::json(deletion, does).dump() + "\n"
                            : view::text(deletion, does));
  return 0;
}

int run_backup_pin(const Call& call) {
  const OpenRepository opened(call);
  opened.lineages();
  const bool pinned = !call.arguments.off;
  const repo::Backup backup =
      expire::pin(call.settings.cluster(), call.arguments.words.front(), pinned, opened.repository);
  if (call.arguments.json)
    print(Json::object()
              .set("schema", "holdfast.backup_pin.v1")
              .set("id", backup.id)
              .set("pinned", pinned)
              .dump() +
          "\n");
  else
    print(pinned ? fmt::format("Backup {} is pinned: it cannot be deleted before \"holdfast backup "
                               "pin --off {}\".\n",
                               backup.id, backup.id)
                 : fmt::format("Backup {} is not pinned any more.\n", backup.id));
  return 0;
}

int run_expire(const Call& call) {
  const OpenRepository opened(call);
  opened.lineages();
  const std::string url = call.settings.repository_url();
  const expire::ExpireResult result =
      expire::expire({.cluster = call.settings.cluster(),
                      .grace = grace(call.settings),
                      .dry_run = call.arguments.dry_run,
                      .sweep_uploads = [url] { return store::sweep_uploads(url); }},
                     opened.repository, *store::open_remover(url), call.reporter, call.stop);
  print(call.arguments.json ? view::json(result).dump() + "\n" : view::text(result));
  for (const expire::ExpiredLineage& lineage : result.lineages)
    if (!lineage.damaged_backups.empty()) return exit_status(ErrorCode::kCorrupt);
  return 0;
}

}  // namespace holdfast::cli
