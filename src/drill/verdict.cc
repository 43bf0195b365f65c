#include "drill/verdict.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/file.h"
#include "drill/checks.h"
#include "pg/timeline_history.h"
#include "recovery/sources.h"

namespace holdfast::drill {

using recovery::TargetKind;

void describe_plan(repo::DrillReport& report, const recovery::Plan& plan) {
  report.target = to_string(plan.target);
  report.backup = plan.backup.id;
  report.backup_time = plan.backup.stop_time;
  report.major = plan.backup.major;
  report.timeline = plan.timeline;
  report.segments = plan.segments;
}

void describe_restore(repo::DrillReport& report, const restore::RestoreResult& restored) {
  report.files = restored.files;
  report.bytes = restored.bytes;
  report.sandboxed = restored.sandboxed;
  report.plan_time = restored.plan_time;
  report.lay_time = restored.lay_time;
  report.replay_time = restored.replay_time;
  report.promote_time = restored.promote_time;
  report.last_recovered = restored.recovered_to_time;
}

void take_loss(repo::DrillReport& report, const Loss& loss) {
  report.lost_transactions = loss.transactions;
  report.lost_bytes = loss.wal_bytes;
  report.loss_note = loss.note;
  if (!loss.transactions) return;
  report.loss_time = Microseconds{};
  if (loss.earliest) report.loss_time = std::max(Microseconds{}, report.started - *loss.earliest);
}

namespace {

std::optional<pg::TimelineHistory> recovered_history(const std::string& data_directory,
                                                     pg::TimelineId new_timeline) {
  if (!new_timeline.is_valid()) return std::nullopt;
  const std::optional<Bytes> text = read_if_exists(
      fmt::format("{}/pg_wal/{}", data_directory, pg::history_file_name(new_timeline)));
  if (!text) return std::nullopt;
  pg::TimelineHistory history = pg::parse_timeline_history(new_timeline, as_text(*text));
  if (history.ancestors().empty()) return std::nullopt;
  return history;
}

}  // namespace

std::optional<pg::Lsn> recovered_end(const std::string& data_directory,
                                     pg::TimelineId new_timeline) {
  const std::optional<pg::TimelineHistory> history =
      recovered_history(data_directory, new_timeline);
  if (!history) return std::nullopt;
  return history->ancestors().back().switch_lsn;
}

pg::Lsn common_end(const Production& production, const std::string& data_directory,
                   pg::TimelineId new_timeline, const ReadWalFile& read) {
  const std::optional<pg::TimelineHistory> recovered =
      recovered_history(data_directory, new_timeline);
  if (!recovered) return {};
  pg::TimelineHistory own(production.timeline);
  if (production.timeline.value > 1) {
    const std::optional<Bytes> text = read(pg::history_file_name(production.timeline));
    if (!text) return {};
    own = pg::parse_timeline_history(production.timeline, as_text(*text));
  }
  const pg::Lsn end = recovered->ancestors().back().switch_lsn;
  return std::min(end, recovery::fork_of(own, *recovered).value_or(end));
}

repo::DrillCheck check_recovered(const repo::DrillReport& report,
                                 const restore::RestoreResult& restored,
                                 const std::string& why_no_server) {
  repo::DrillCheck check{.name = "recovered", .state = "passed", .what = "comparisons"};
  const recovery::Plan& plan = restored.plan;
  const std::optional<Time>& reached = restored.recovered_to_time;
  if (plan.target.kind == TargetKind::kLatest) {
    // The archive's own account of its last commit.
    if (plan.last_commit && (reached || *plan.last_commit > plan.backup.stop_time)) {
      ++check.count;
      if (!reached || *reached < *plan.last_commit)
        add_failure(check,
                    fmt::format("the archive holds a commit of {}, and the last that was recovered "
                                "is {}",
                                to_local(*plan.last_commit),
                                reached ? "of " + to_local(*reached) : "none"));
    }
    if (plan.last_record) {
      if (report.recovered_end && *report.recovered_end <= *plan.last_record)
        add_failure(check, fmt::format("the archive holds a record at {}, and what was recovered "
                                       "ends at {}",
                                       pg::to_string(*plan.last_record),
                                       pg::to_string(*report.recovered_end)));
    }
    if (report.flushed && report.lost_transactions) ++check.count;
  } else if (plan.target.kind == TargetKind::kTime) {
    if (reached) {
      ++check.count;
      if (*reached > plan.target.time)
        add_failure(check, fmt::format("the last transaction that was recovered is of {}, after "
                                       "the target",
                                       to_local(*reached)));
    }
  } else if (plan.target.kind != TargetKind::kImmediate && restored.recovered_to_lsn.is_valid()) {
    // The server itself ends with an error when it does not come to such a target.
    ++check.count;
  }
  if (check.count == 0)
    add_failure(check,
                fmt::format("there is nothing to compare: no transaction behind the backup was "
                            "recovered{}{}",
                            why_no_server.empty() ? "" : ". ", why_no_server));
  if (check.failure_count > 0) check.state = "failed";
  return check;
}

void judge(repo::DrillReport& report) {
  std::vector<std::string>& missed = report.missed;
  if (report.allowed_recovery_time && report.recovery_time > *report.allowed_recovery_time)
    missed.push_back(fmt::format("Recovery took {}, and {} was allowed.",
                                 to_human(report.recovery_time),
                                 to_human(*report.allowed_recovery_time)));
  if (report.allowed_loss_time) {
    const std::string allowed = to_human(*report.allowed_loss_time);
    if (!report.loss_time)
      missed.push_back(
          fmt::format("What would be lost is not known, and at most {} was allowed. {}", allowed,
                      report.loss_note));
    else if (*report.loss_time > *report.allowed_loss_time)
      missed.push_back(fmt::format("Commits of {} would be lost, and {} was allowed.",
                                   to_human(*report.loss_time), allowed));
  }
  for (const repo::DrillCheck& check : report.checks) {
    if (check.state != "failed") continue;
    std::string why = check.failures.empty() ? "" : check.failures.front();
    if (!why.ends_with('.')) why += '.';
    missed.push_back(fmt::format("The check \"{}\" failed: {}", check.name, why));
  }
  report.passed = missed.empty();
}

}  // namespace holdfast::drill
