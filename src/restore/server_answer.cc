#include "restore/server_answer.h"

#include <chrono>
#include <optional>

#include <fmt/core.h>

#include "base/error.h"
#include "base/task_group.h"
#include "cluster/written_wal.h"
#include "pg/wal_page.h"
#include "repo/wal_tip.h"

namespace holdfast::restore {
namespace {

using recovery::TimeAnswer;
using recovery::TimeQuestion;
using std::chrono::milliseconds;

// An asynchronous commit is written out by the WAL writer within three of its rounds of 0.2 s.
constexpr int kFlushAttempts = 50;
constexpr milliseconds kFlushPause{100};

// Where the archive has a time that is as late the server is asked only whether that is wrong, of
// so much of what is not archived: archiving may have stood for days.
constexpr uint64_t kSegmentsAsked = 64;

TimeAnswer unproven(std::string why) { return {.told = std::move(why)}; }
TimeAnswer disproven(std::string why) {
  return {.says = TimeAnswer::Says::kNotReached, .told = std::move(why)};
}

TimeAnswer ask(cluster::Connection& connection, const repo::Repository& repository,
               const repo::Lineage& lineage, const TimeQuestion& question,
               const std::stop_token& stop) {
  const pg::WalTip archived =
      repo::read_wal_tip(repo::WalArchive(repository, lineage), question.timeline);
  // The clock before the place: what is committed up to the one lies before the other.
  const Time now = parse_time(connection.query_value("SELECT pg_catalog.clock_timestamp()"));
  cluster::ProductionAnswer answer = cluster::ask_production(connection, lineage.system_identifier);
  if (!answer.production) return unproven(std::move(answer.why_not));
  if (answer.production->timeline != question.timeline)
    return unproven(fmt::format("The server that conninfo leads to is on timeline {}.",
                                pg::to_string(answer.production->timeline)));
  if (const std::optional<cluster::NotTheArchives> other = cluster::why_not_the_archives(
          *answer.production, archived, pg::WalSegmentSize(lineage.wal_segment_bytes),
          cluster::wal_files_by_sql(connection)))
    return unproven(other->why);
  if (question.time > now)
    return disproven(
        fmt::format("It lies in the future: the server's clock says {}.", to_local(now)));
  pg::Lsn inserted =
      pg::parse_lsn(connection.query_value("SELECT pg_catalog.pg_current_wal_insert_lsn()"));
  // At the beginning of a page the server says where behind its header the next record will stand
  // (XLogBytePosToRecPtr, xlog.c): nothing has been inserted there yet.
  const uint64_t header = inserted.value % lineage.wal_segment_bytes < pg::kWalBlockBytes ? 40 : 24;
  if (inserted.value % pg::kWalBlockBytes == header) inserted = inserted - header;
  for (int attempt = 0; answer.production->flushed < inserted && attempt < kFlushAttempts;
       ++attempt) {
    wait_for(stop, kFlushPause);
    throw_if_stopped(stop);
    answer.production->flushed =
        pg::parse_lsn(connection.query_value("SELECT pg_catalog.pg_current_wal_flush_lsn()"));
  }
  const pg::WalSegmentSize size(lineage.wal_segment_bytes);
  if (question.seen)
    answer.production->flushed =
        std::min(answer.production->flushed,
                 pg::end_lsn(pg::segment_of(question.archived_to, size) + kSegmentsAsked, size));
  std::optional<pg::TransactionEnd> missing;
  const std::optional<std::string> problem = cluster::read_written_wal(
      *answer.production, question.archived_to, size, cluster::wal_files_by_sql(connection),
      [&](const pg::TransactionEnd& end) {
        const bool is_later =
            question.exclusive ? end.time >= question.time : end.time > question.time;
        if (end.committed && !is_later) missing = end;
      },
      stop);
  if (missing)
    return disproven(fmt::format("The server that runs has committed what is not archived, at {}.",
                                 to_local(missing->time)));
  if (question.seen && *question.seen > now)
    return disproven(fmt::format("The server's clock says {}.", to_local(now)));
  if (problem) return unproven(*problem);
  if (answer.production->flushed < inserted)
    return unproven(fmt::format("The server has written only up to {} of {}.",
                                pg::to_string(answer.production->flushed),
                                pg::to_string(inserted)));
  return {.says = TimeAnswer::Says::kReached, .told = {}};
}

}  // namespace

recovery::AskServer ask_running_server(const std::string& conninfo,
                                       const repo::Repository& repository,
                                       const repo::Lineage& lineage, std::stop_token stop) {
  return [conninfo, &repository, &lineage, stop = std::move(stop)](const TimeQuestion& question) {
    if (conninfo.empty()) return unproven("No conninfo is configured by which it could be asked.");
    TimeAnswer answer;
    const std::optional<Error> error = error_of([&] {
      cluster::Connection connection = cluster::Connection::connect(
          {.conninfo = conninfo, .application_name = "holdfast restore"}, stop);
      answer = ask(connection, repository, lineage, question, stop);
    });
    if (error) return unproven(fmt::format("The server could not be asked: {}.", error->message()));
    return answer;
  };
}

}  // namespace holdfast::restore
