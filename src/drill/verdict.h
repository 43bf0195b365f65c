// verdict.h: a drill's findings put together, and judged.
#pragma once

#include <optional>
#include <string>

#include "drill/loss.h"
#include "repo/drill_report.h"
#include "restore/restore.h"

namespace holdfast::drill {

// What is known of it from the plan, and from the restore that was carried out, into the report.
void describe_plan(repo::DrillReport& report, const recovery::Plan& plan);
void describe_restore(repo::DrillReport& report, const restore::RestoreResult& restored);
void take_loss(repo::DrillReport& report, const Loss& loss);

// Where the WAL that was recovered ends: the new timeline's switch point. nullopt without one.
std::optional<pg::Lsn> recovered_end(const std::string& data_directory,
                                     pg::TimelineId new_timeline);
// Up to where that and what the server wrote are one: that end, or where their timelines part
// before it. 0 where a history cannot be read: then nothing is known to be common.
pg::Lsn common_end(const Production& production, const std::string& data_directory,
                   pg::TimelineId new_timeline, const ReadWalFile& read);

// Whether all came back that had to: by the archive's metadata, by the target, and by the server's
// position at T0. Fails when there is nothing to compare; `why_no_server` says why not there.
repo::DrillCheck check_recovered(const repo::DrillReport& report,
                                 const restore::RestoreResult& restored,
                                 const std::string& why_no_server);

// Sets passed, and in words what was missed.
void judge(repo::DrillReport& report);

}  // namespace holdfast::drill
