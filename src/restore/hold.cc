#include "restore/hold.h"

#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/process.h"

namespace holdfast::restore {
namespace {

repo::Intent intent_of(const Hold& hold, const Clock& clock) {
  return {.what = hold.what,
          .uses = hold.backup.empty() ? std::vector<std::string>() : std::vector{hold.backup},
          .timeline = hold.timeline,
          .wal_from = hold.wal_from,
          .host = host_name(),
          .pid = process_id(),
          .started = clock.now()};
}

}  // namespace

// A restore must work from a repository that this user can only read, and from one whose disk is
// full, so either is no more than a warning.
std::unique_ptr<repo::HeldIntent> hold_off_deletion(const Hold& hold,
                                                    const repo::Repository& repository,
                                                    const repo::LineageName& lineage,
                                                    const Clock& clock, Reporter& reporter) {
  std::unique_ptr<repo::HeldIntent> held;
  const std::optional<Error> error = error_of({ErrorCode::kPermission, ErrorCode::kNoSpace}, [&] {
    held = std::make_unique<repo::HeldIntent>(repository, lineage, intent_of(hold, clock), clock);
  });
  if (error)
    reporter.warning(
        fmt::format("the repository cannot be written to, so nothing keeps others from expiring "
                    "what is {}: {}",
                    hold.done, error->message()));
  // It may have been deleted between the plan and the intent.
  if (!hold.backup.empty() && !repo::read_backup(repository, lineage, hold.backup))
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("backup \"{}\" was deleted at this moment", hold.backup),
                 .hint = "Run the command again: it chooses another backup."});
  return held;
}

void let_go(repo::HeldIntent* held, const Hold& hold, bool recovered,
            const repo::Repository& repository, const repo::LineageName& lineage,
            const Clock& clock, Reporter& reporter) {
  if (held == nullptr) return;
  if (recovered) return held->end();
  // What was to be done is done, and is not called interrupted.
  const std::optional<Error> error = error_of(even_interrupted, [&] {
    repo::Intent recovery = intent_of(hold, clock);
    recovery.what = "recovery";
    recovery.uses.clear();
    recovery.valid_until = repository.store().now() + repo::kLongestIntentLife;
    repo::put_intent(repository, lineage, recovery);
    held->end();
  });
  if (error)
    reporter.warning(fmt::format("the WAL to be replayed is kept from expiry for {} only: {}",
                                 to_human(repo::kIntentLife), error->message()));
}

}  // namespace holdfast::restore
