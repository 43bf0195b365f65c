#include "restore/hold.h"

#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "base/process.h"
#include "restore/state.h"

namespace holdfast::restore {
namespace {

repo::Intent intent_of(const Hold& hold, const Clock& clock) {
  return {.what = hold.what,
          .uses = hold.backup.empty() ? std::vector<std::string>() : std::vector{hold.backup},
          .timeline = hold.timeline,
          .wal_from = hold.wal_from,
          .detail = hold.directory,
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

RecoveryHold::RecoveryHold(const Hold& hold, const repo::Repository& repository,
                           const repo::LineageName& lineage, const Clock& clock, Reporter& reporter)
    : repository_(repository), lineage_(lineage) {
  const std::optional<Error> error = error_of([&] {
    repo::Intent recovery = intent_of(hold, clock);
    recovery.what = "recovery";
    recovery.uses.clear();
    recovery.place = repo::place_of(repository, hold.directory);
    recovery.valid_until = repository.store().now() + repo::kLongestIntentLife;
    claim_ = to_hex(repo::put_intent(repository, lineage, recovery).view());
  });
  if (error)
    reporter.warning(
        fmt::format("the WAL to be replayed is kept from expiry only until this command ends: {}",
                    error->message()));
}

RecoveryHold::~RecoveryHold() {
  if (!is_kept_) end();
}

void RecoveryHold::end() { end_recovery_hold(std::exchange(claim_, {}), repository_, lineage_); }

std::string claim_of_recovery_in(const std::string& directory) {
  std::string claim;
  // What is damaged names none, and the restore that replaces it goes on.
  error_of([&] {
    if (const std::optional<RestoredState> state = read_state(directory)) claim = state->claim;
  });
  return claim;
}

void end_recovery_hold(const std::string& claim, const repo::Repository& repository,
                       const repo::LineageName& lineage) {
  const std::optional<Bytes16> id = parse_hex_array<16>(claim);
  if (!id) return;
  // What was to be done is done, and is not called interrupted. The claim runs out by itself.
  const std::optional<Error> error = error_of(even_interrupted, [&] {
    repo::put_intent_end(repository, lineage, *id, repository.store().now());
  });
  if (error) log_debug("could not end an intent: {}", error->message());
}

}  // namespace holdfast::restore
