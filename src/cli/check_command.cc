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
  setup::CheckOptions options{
      .cluster = settings.cluster(),
      .conninfo = settings.text("cluster.conninfo"),
      .pgdata = settings.text("cluster.pgdata"),
      .archive_command =
          [&](const std::optional<Bytes16>& id) { return archive_command(settings, id); },
      .place_of = archive_place_of,
      .tool_version = HOLDFAST_VERSION,
      .user = user_name(geteuid()),
      .read_only = call.arguments.read_only,
      .archive_timeout = std::chrono::duration_cast<std::chrono::seconds>(
          parse_duration(call.arguments.check_timeout))};
  const auto limit = [](const std::string& text) {
    return text.empty() ? std::nullopt : std::optional(parse_duration(text));
  };
  options.max_backup_age = limit(call.arguments.max_backup_age);
  options.max_archive_lag = limit(call.arguments.max_archive_lag);
  options.max_verify_age = limit(call.arguments.max_verify_age);
  options.max_drill_age = limit(call.arguments.max_drill_age);
  std::unique_ptr<store::Store> store;
  auto open = [&] {
    store = store::open_store(settings.repository_url());
    const repo::KeySource key = settings.key();
    options.key_is_passphrase = !key.passphrase.empty();
    return repo::Repository::open(*store, key, settings.repository_id());
  };
  const setup::CheckResult result =
      setup::check(options, open, call.clock, call.reporter, call.stop);
  if (call.arguments.nagios) {
    print(call, view::nagios_line(result, options.cluster));
    return view::nagios_status(result);
  }
  if (call.arguments.json)
    print(call, call.arguments.commands.complete_sentences(view::json(result)));
  else if (!call.arguments.quiet)
    print(call, view::text(result));
  else if (!result.is_well())
    print(call, view::text_of_what_is_wrong(result));
  return (result.proven || result.read_only) && result.cause() == nullptr ? 0 : 1;
}

}  // namespace holdfast::cli
