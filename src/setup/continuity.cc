#include "setup/continuity.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "recovery/plan.h"
#include "recovery/survey.h"
#include "recovery/wal_path.h"
#include "recovery/windows.h"
#include "repo/backup.h"
#include "repo/backup_order.h"
#include "repo/wal_archive.h"

namespace holdfast::setup {
namespace {

// Segments without a commit that are passed over to find one.
constexpr uint64_t kSegmentsTried = 64;

CheckItem broken(std::string message, std::string detail, std::string hint) {
  return {.name = "continuity",
          .outcome = CheckOutcome::kFailed,
          .message = std::move(message),
          .detail = std::move(detail),
          .hint = std::move(hint)};
}

class Continuity {
 public:
  Continuity(const repo::WalArchive& archive, const repo::Backup& backup,
             const pg::TimelineHistory& history, const recovery::LeftAt& left)
      : archive_(archive),
        backup_(backup),
        first_(pg::segment_of(backup.start_lsn, archive.segment_size())),
        path_(archive, history, first_, left),
        survey_(archive, path_) {}

  CheckItem look(std::optional<Time> server_started) {
    if (const std::optional<pg::SegmentName> hole = path_.first_hole(first_))
      return broken(
          fmt::format("WAL segment {} is missing, which recovery from the newest good "
                      "backup needs",
                      name_of(*hole)),
          fmt::format("Nothing that was committed behind it can be recovered: {}.", leads()),
          "Take a backup now: \"holdfast backup\". \"holdfast wal list\" shows all that is "
          "missing.");
    if (const std::vector<pg::SegmentName> others = survey_.find_other_history(); !others.empty())
      return broken(
          fmt::format("WAL segment {} is of another history than the one before it",
                      name_of(others.front())),
          fmt::format("Nothing that was committed behind it can be recovered: {}.", leads()),
          fmt::format("\"holdfast wal set-aside {} --onward\" takes it and all behind it out of "
                      "service, so that the server's own can be archived; then take a backup: "
                      "\"holdfast backup\".",
                      name_of(others.front())));
    if (const std::optional<pg::SegmentName> next = recovery::set_aside_behind(archive_, path_))
      return broken(
          fmt::format("WAL segment {} was set aside, and nothing is archived in its place",
                      name_of(*next)),
          fmt::format("Nothing that was committed in it or behind it can be recovered: {}.",
                      leads()),
          fmt::format("\"holdfast wal set-aside {} --off\" serves it again (with --onward all that "
                      "was taken in one step); or take a backup: \"holdfast backup\".",
                      name_of(*next)));
    if (std::optional<CheckItem> minimal = look_for_minimal(server_started)) return *minimal;
    return {.name = "continuity",
            .message = fmt::format("from backup {} on no WAL is missing", backup_.id),
            .detail = not_looked_into_};
  }

 private:
  std::string name_of(pg::SegmentName segment) const {
    return pg::segment_file_name(segment, archive_.segment_size());
  }
  std::string leads() const {
    return fmt::format("backup {}, of {}, leads up to there only", backup_.id,
                       to_local(backup_.stop_time));
  }

  std::optional<CheckItem> look_for_minimal(std::optional<Time> server_started) {
    // It runs at a level at which it archives, and did so when the backup was begun.
    if (server_started && *server_started < backup_.start_time) return std::nullopt;
    uint64_t last = path_.last().value_or(0);
    if (last < first_) return std::nullopt;
    if (server_started) last = first_behind(*server_started, last);
    const uint64_t from = last - std::min(last - first_, recovery::kSegmentsLookedInto - 1);
    if (from > first_)
      not_looked_into_ = fmt::format(
          "Whether WAL before {} was written with wal_level minimal, only \"holdfast verify\" "
          "tells.",
          pg::to_string(pg::start_lsn(from, archive_.segment_size())));
    const std::vector<recovery::Survey::MinimalPlace> places = survey_.find_minimal(from, last);
    if (places.empty()) return std::nullopt;
    return broken(
        fmt::format("from {} on WAL was written with wal_level minimal, and no recovery goes past "
                    "that",
                    pg::to_string(places.front().from)),
        fmt::format("Nothing that was committed since can be recovered: {}.", leads()),
        "Take a backup now: \"holdfast backup\".");
  }

  // The first segment that holds a commit behind that time, as far as times ascend; else the last.
  uint64_t first_behind(Time time, uint64_t last) const {
    const auto is_behind = [&](uint64_t number) {
      for (uint64_t tried = number; tried <= last && tried < number + kSegmentsTried; ++tried)
        if (const std::optional<repo::WalSegmentInfo> here = survey_.info_at(tried);
            here && here->commits.count > 0)
          return here->commits.first_time > time;
      return true;
    };
    uint64_t low = first_, high = last;
    while (low < high) {
      const uint64_t middle = low + (high - low) / 2;
      if (is_behind(middle))
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }

  const repo::WalArchive& archive_;
  const repo::Backup& backup_;
  const uint64_t first_;
  const recovery::WalPath path_;
  const recovery::Survey survey_;
  std::string not_looked_into_;
};

}  // namespace

pg::TimelineHistory archived_history(const repo::Repository& repository,
                                     const repo::Lineage& lineage, pg::TimelineId timeline) {
  const std::string name = pg::history_file_name(timeline);
  std::optional<pg::TimelineHistory> history;
  const std::optional<Error> damage = damage_of([&] {
    const std::optional<Bytes> text =
        repo::WalArchive(repository, lineage)
            .read_file({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}});
    if (text) history = pg::parse_timeline_history(timeline, as_text(*text));
    if (!text && timeline.value == 1) history.emplace(timeline);
  });
  if (history) return *history;
  if (damage)
    throw Error(
        {.code = damage->code(),
         .message = fmt::format("timeline history file \"{}\" cannot be used: {}", name,
                                damage->message()),
         .detail = "Without it no recovery follows the server to its timeline.",
         .hint = fmt::format("The server still has it: \"holdfast wal push pg_wal/{}\" in its "
                             "data directory archives it anew.",
                             name)});
  throw Error(
      {.code = ErrorCode::kNotFound,
       .message = fmt::format("timeline history file \"{}\" is not in the repository", name),
       .detail = "Without it no recovery follows the server to its timeline.",
       .hint = "Look into the server's log for what archive_command said of it."});
}

NewestBackups find_newest_backups(
    const repo::Repository& repository, const repo::LineageName& lineage,
    const std::optional<pg::TimelineHistory>& history,
    const std::function<void(const std::string& id, const Error& error)>& unreadable) {
  const std::vector<std::string> ids = repo::backup_ids_in_order(repository, lineage);
  NewestBackups newest{.looked_at = std::min(ids.size(), kBackupsLookedAt)};
  for (size_t i = 0; i < newest.looked_at; ++i) {
    const std::string& id = ids[ids.size() - 1 - i];
    const std::optional<repo::Backup> backup = repo::read_backup_if_possible(
        repository, lineage, id, [&](const Error& error) { unreadable(id, error); });
    if (!backup || !backup->is_good()) continue;
    if (!newest.good) newest.good = backup;
    const bool leads = !history || history->is_ancestor(backup->stop_timeline, backup->stop_lsn);
    if (leads && !newest.leading) newest.leading = backup;
  }
  return newest;
}

CheckItem look_at_continuity(const repo::Repository& repository, const repo::Lineage& lineage,
                             pg::TimelineId timeline, std::optional<Time> server_started) {
  const repo::WalArchive archive(repository, lineage);
  const pg::TimelineHistory history = archived_history(repository, lineage, timeline);
  const std::optional<repo::Backup> newest =
      find_newest_backups(repository, lineage.name, history, [](const std::string&, const Error&) {
      }).leading;
  if (!newest)
    return broken(fmt::format("no good backup leads to timeline {}, on which the server is",
                              pg::to_string(timeline)),
                  "Nothing that it commits can be recovered.",
                  "Take a backup now: \"holdfast backup\".");
  // Who wrote the WAL of the backup's own timeline has had starts of its own.
  if (newest->stop_timeline != timeline) server_started.reset();
  if (const std::optional<pg::TimelineId> lost =
          recovery::find_next_timeline(archive, timeline).lost_history_of) {
    const std::string name = pg::history_file_name(*lost);
    return broken(
        fmt::format(
            "no recovery could be opened: files of timeline {} or a later one are archived, "
            "and \"{}\" is not",
            pg::to_string(*lost), name),
        "A server that ends its recovery takes the first timeline that nobody has used, and which "
        "that is cannot be proven.",
        fmt::format("Archive it from the pg_wal directory of a server that was on that timeline: "
                    "\"holdfast wal push {}\"; or, where no server of the cluster ever was, take "
                    "what is archived of it out of service: \"holdfast wal set-aside {}{}\".",
                    name, archive.first_file(*lost).value_or(name),
                    archive.first_segment(*lost) ? " --onward" : ""));
  }
  return Continuity(archive, *newest, history,
                    recovery::left_at(recovery::read_histories(
                        archive, [](pg::TimelineId, const std::optional<Error>&) {})))
      .look(server_started);
}

}  // namespace holdfast::setup
