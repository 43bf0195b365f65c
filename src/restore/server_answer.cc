#include "restore/server_answer.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/task_group.h"
#include "cluster/server_facts.h"
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

// How long the archiver may take: for one file, and for all that waits.
constexpr std::chrono::seconds kFilePatience{10};
constexpr std::chrono::minutes kArchiverPatience{1};
constexpr milliseconds kFirstPause{20};
constexpr milliseconds kLongestPause{200};
// pg_stat_archiver may be behind by that much (PGSTAT_STAT_INTERVAL).
constexpr std::chrono::seconds kStatisticsDelay{1};

TimeAnswer unproven(std::string why) { return {.told = std::move(why)}; }
TimeAnswer disproven(std::string why) {
  return {.says = TimeAnswer::Says::kNotReached, .told = std::move(why)};
}

TimeAnswer in_the_future(std::string_view whose, Time now) {
  return {.says = TimeAnswer::Says::kFuture,
          .told = fmt::format("The clock of {} says {}.", whose, to_local(now))};
}

std::set<std::string> files_to_archive(cluster::Connection& connection) {
  std::set<std::string> names;
  for (const cluster::Row& row :
       connection.query("SELECT name FROM pg_catalog.pg_ls_archive_statusdir() "
                        "WHERE name LIKE '%.ready'"))
    names.insert(row.at(0).value_or(""));
  return names;
}

bool has_archived_within(cluster::Connection& connection,
                         std::chrono::steady_clock::duration time) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(time + kStatisticsDelay);
  return connection.query_value(fmt::format(
             "SELECT coalesce(last_archived_time > pg_catalog.clock_timestamp() - interval '{} s', "
             "false) FROM pg_catalog.pg_stat_archiver",
             seconds.count())) == "t";
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
          cluster::wal_files_of_server(connection)))
    return unproven(other->why);
  if (question.time > now) return in_the_future("the server", now);
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
      *answer.production, question.archived_to, size, cluster::wal_files_of_server(connection),
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

recovery::AskServer ask_ended_server(const SalvagedWal::End& end, pg::WalSegmentSize size,
                                     const Clock& clock, recovery::AskServer otherwise) {
  return [end, size, &clock, otherwise = std::move(otherwise)](const TimeQuestion& question) {
    // An archive that goes on behind it was written by a server that lived on: this is a snapshot.
    const pg::Lsn filled = pg::end_lsn(pg::segment_of(end.last_record_end, size), size);
    if (question.timeline != end.timeline || question.archived_to < end.last_record_end ||
        question.archived_to > filled)
      return otherwise(question);
    if (const Time now = clock.now(); question.time > now)
      return in_the_future("this machine", now);
    return TimeAnswer{.says = TimeAnswer::Says::kReached, .told = {}};
  };
}

namespace {

// `failure`: why it could not be asked.
std::optional<recovery::ClusterEnd> ask_where_it_is(const std::string& conninfo,
                                                    uint64_t system_identifier,
                                                    const std::stop_token& stop,
                                                    std::optional<Error>& failure) {
  std::optional<recovery::ClusterEnd> cluster;
  if (conninfo.empty()) return cluster;
  failure = error_of([&] {
    cluster::Connection connection = cluster::Connection::connect(
        {.conninfo = conninfo, .application_name = "holdfast restore"}, stop);
    const cluster::ProductionAnswer answer = cluster::ask_production(connection, system_identifier);
    if (answer.production)
      cluster = {.timeline = answer.production->timeline,
                 .end = answer.production->flushed,
                 .whose = "the server that conninfo leads to",
                 .goes_on = true};
    else if (const auto standby = cluster::ask_standby(connection, system_identifier))
      cluster = {.timeline = standby->timeline,
                 .end = standby->flushed,
                 .whose = "the standby that conninfo leads to"};
    if (cluster && cluster->timeline.value > 1)
      error_of([&] {
        cluster->history =
            cluster::wal_files_of_server(connection)(pg::history_file_name(cluster->timeline));
      });
  });
  return cluster;
}

// A server that turns somebody away is a server; one that does not know the name is another's.
bool is_answer(const Error& failure) {
  return failure.detail().find("FATAL:") != std::string::npos &&
         failure.detail().find("does not exist") == std::string::npos;
}

}  // namespace

std::optional<recovery::ClusterEnd> ask_where_it_is(const std::string& conninfo,
                                                    uint64_t system_identifier,
                                                    const std::stop_token& stop) {
  std::optional<Error> failure;
  return ask_where_it_is(conninfo, system_identifier, stop, failure);
}

void require_no_production(const std::string& conninfo, uint64_t system_identifier,
                           const std::stop_token& stop) {
  std::optional<Error> failure;
  const std::optional<recovery::ClusterEnd> production =
      ask_where_it_is(conninfo, system_identifier, stop, failure);
  if (!production && failure && is_answer(*failure))
    throw Error({.code = ErrorCode::kBusy,
                 .message = "a server answers at conninfo and cannot be asked whether it is the "
                            "cluster's",
                 .detail = failure->detail(),
                 .hint =
                     "If it is, a restore in place would make a second one. If it is not, or is "
                     "to be replaced: add --action promote to the restore."});
  if (!production || !production->goes_on) return;
  throw Error(
      {.code = ErrorCode::kBusy,
       .message = "the cluster lives: a primary of it answers at conninfo",
       .detail = fmt::format("It is on timeline {}, and has written up to {}. A restore in place "
                             "would make a second one, which archives into the same lineage.",
                             pg::to_string(production->timeline), pg::to_string(production->end)),
       .hint = "To build a standby here, use pg_basebackup --write-recovery-conf. For a copy: "
               "restore --into DIR. To replace that server, stop it first; or, if it is meant that "
               "there are two, add --action promote to the restore."});
}

bool wait_for_archiver(const std::string& conninfo, const repo::Lineage& lineage,
                       std::chrono::steady_clock::time_point since, const Clock& clock,
                       Reporter& reporter, const std::stop_token& stop) {
  if (conninfo.empty()) return false;
  bool has_archived = false;
  // A server that cannot be asked, or not about that, leaves things as they are.
  error_of([&] {
    cluster::Connection connection = cluster::Connection::connect(
        {.conninfo = conninfo, .application_name = "holdfast restore"}, stop);
    if (!cluster::ask_production(connection, lineage.system_identifier).production) return;
    std::set<std::string> waiting = files_to_archive(connection);
    has_archived = has_archived_within(connection, clock.steady() - since);
    if (waiting.empty()) return;
    reporter.phase("waiting for WAL that the server archives", 0);
    const auto began = clock.steady();
    auto last_one = began;
    for (milliseconds pause = kFirstPause; !waiting.empty();
         pause = std::min(pause * 2, kLongestPause)) {
      const auto now = clock.steady();
      if (now - last_one > kFilePatience || now - began > kArchiverPatience ||
          cluster::read_archiver_status(connection).is_failing())
        return;
      wait_for(stop, pause);
      throw_if_stopped(stop);
      const std::set<std::string> still = files_to_archive(connection);
      if (std::erase_if(waiting, [&](const std::string& name) { return !still.contains(name); }) >
          0) {
        has_archived = true;
        last_one = clock.steady();
      }
    }
    reporter.phase("planning", 0);
  });
  return has_archived;
}

}  // namespace holdfast::restore
