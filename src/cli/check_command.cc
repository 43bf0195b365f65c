#include "cli/check_command.h"

#include <memory>
#include <unistd.h>

#include "base/users.h"
#include "setup/check.h"
#include "store/open_store.h"
#include "view/check.h"

namespace holdfast::cli {

int run_check(const Call& call) {
  const config::Settings& settings = call.settings;
  setup::CheckOptions options{.cluster = settings.cluster(),
                              .conninfo = settings.text("cluster.conninfo"),
                              .pgdata = settings.text("cluster.pgdata"),
                              .archive_command = archive_command(settings),
                              .tool_version = HOLDFAST_VERSION,
                              .user = user_name(geteuid()),
                              .archive_timeout = std::chrono::duration_cast<std::chrono::seconds>(
                                  parse_duration(call.arguments.check_timeout))};
  if (!call.arguments.max_backup_age.empty())
    options.max_backup_age = parse_duration(call.arguments.max_backup_age);
  std::unique_ptr<store::Store> store;
  auto open = [&] {
    store = store::open_store(settings.repository_url());
    return repo::Repository::open(*store, settings.key(), settings.repository_id());
  };
  const setup::CheckResult result =
      setup::check(options, open, call.clock, call.reporter, call.stop);
  print(call, call.arguments.commands.complete_sentences(view::json(result)), view::text(result));
  return result.proven && result.cause() == nullptr ? 0 : 1;
}

}  // namespace holdfast::cli
