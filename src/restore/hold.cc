#include "restore/hold.h"

#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/process.h"

namespace holdfast::restore {
namespace {

// How long deletion spares what a restore and the recovery behind it read.
constexpr std::chrono::hours kIntentLife{7 * 24};

}  // namespace

// A restore must work from a repository that this user can only read, and from one whose disk is
// full, so either is no more than a warning: the one reason to catch here.
void hold_off_deletion(const Hold& hold, const repo::Repository& repository,
                       const repo::LineageName& lineage, const Clock& clock, Reporter& reporter) {
  try {
    const Time now = repository.store().now();  // it too may have to write
    Json uses = Json::array();
    uses.push(hold.backup);
    Json body = Json::object();
    body.set("what", hold.what)
        .set("backup", Json())
        .set("uses", std::move(uses))
        .set("objects_from", to_rfc3339(now))
        .set("timeline", hold.timeline.value)
        .set("wal_from", pg::to_string(hold.wal_from))
        .set("host", host_name())
        .set("pid", static_cast<int64_t>(getpid()))
        .set("started", to_rfc3339(clock.now()))
        .set("valid_until", to_rfc3339(now + kIntentLife));
    repository.create_document("intent", repo::intent_name(lineage, repository.random().bytes16()),
                               body);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kPermission && error.code() != ErrorCode::kNoSpace) throw;
    reporter.warning(
        fmt::format("the repository cannot be written to, so nothing keeps others from expiring "
                    "what is {}: {}",
                    hold.done, error.message()));
  }
}

}  // namespace holdfast::restore
