#include "cli/lineage_commands.h"

#include <optional>
#include <string>

#include <fmt/format.h>

#include "base/error.h"
#include "cli/expire_commands.h"
#include "cli/prompt.h"
#include "expire/lineages.h"
#include "store/open_store.h"
#include "view/lineages.h"

namespace holdfast::cli {
namespace {

// Asks for the name on a terminal; elsewhere --yes must have been given.
void confirm_by_name(const Call& call, const expire::Removal& removal, const std::string& name) {
  if (call.arguments.yes) return;
  call.reporter.clear();
  const std::optional<std::string> typed =
      ask(fmt::format("{}Type its name to go on: ", view::text(removal, false)), call.stop);
  if (typed == name) return;
  throw Error({.code = ErrorCode::kUsage,
               .message = fmt::format("{} was not confirmed", call.arguments.command),
               .detail = "Nothing was removed.",
               .hint = "Confirm it with --yes, or see with --dry-run what would go."});
}

int remove(const Call& call, expire::RemoveOptions options, const std::string& name) {
  const OpenRepository opened(call);
  options.grace = grace_of(call.settings);
  options.typed_command = call.arguments.typed_command;
  expire::Removal removal = expire::plan_removal(options, opened.repository);
  const bool does = !call.arguments.dry_run;
  if (does) {
    confirm_by_name(call, removal, name);
    removal = expire::carry_out_removal(options, opened.repository,
                                        *store::open_remover(call.settings.repository_url()),
                                        call.reporter, call.stop);
  }
  print(call, view::json(removal, does), view::text(removal, does));
  return 0;
}

}  // namespace

int run_cluster_list(const Call& call) {
  const OpenRepository opened(call);
  const std::vector<expire::ClusterSummary> clusters =
      expire::summarize_clusters(opened.repository);
  print(call, view::json(clusters), view::text(clusters));
  return 0;
}

int run_cluster_remove(const Call& call) {
  const std::string& name = call.arguments.words.front();
  return remove(call, {.cluster = name}, name);
}

int run_cluster_rename(const Call& call) {
  const OpenRepository opened(call);
  const expire::Renaming renaming = expire::rename_cluster(
      opened.repository, call.arguments.words.front(), call.arguments.words.back());
  print(call, view::json(renaming), view::text(renaming));
  return 0;
}

int run_lineage_list(const Call& call) {
  const OpenRepository opened(call);
  const expire::ClusterSummary cluster =
      expire::summarize_cluster(opened.repository, opened.cluster);
  print(call, view::json(cluster), view::text(cluster));
  return 0;
}

int run_lineage_remove(const Call& call) {
  const std::string& name = call.arguments.words.front();
  return remove(call, {.cluster = call.settings.cluster(), .lineage = name}, name);
}

}  // namespace holdfast::cli
