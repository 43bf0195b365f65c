// archive_fixture.h: a repository in memory with WAL that a WalBuilder wrote, and backups that are
// commit objects alone: all that a plan reads.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <variant>

#include "pg/wal_reader.h"
#include "repo/backup.h"
#include "repo/wal_archive.h"
#include "store/memory_store.h"
#include "support/fake_clock.h"
#include "support/fake_random.h"
#include "support/wal_builder.h"

namespace holdfast::test {

// 2026-11-22 08:00:00 UTC and `minutes` behind it.
inline Time at_minute(double minutes) {
  return Time{std::chrono::seconds{1795334400}} +
         Microseconds{static_cast<int64_t>(minutes * 60e6)};
}
inline int64_t to_postgres_microseconds(Time time) {
  return time.time_since_epoch().count() - 946684800'000000;
}

class ArchiveFixture {
 public:
  static constexpr uint64_t kSystemIdentifier = 7'000'000'000'000'000'001;

  ArchiveFixture()
      : repository_(repo::Repository::create(store_, {}, clock_, random_)),
        lineage_(repository_.create_lineage({.name = {.cluster = "main", .major = 15, .count = 1},
                                             .system_identifier = kSystemIdentifier,
                                             .catalog_version = 202209061,
                                             .wal_segment_bytes = 1 << 20,
                                             .block_bytes = 8192,
                                             .blocks_per_segment = 131072,
                                             .created = clock_.now()})),
        archive_(repository_, lineage_) {}

  static void add_commit(WalBuilder& wal, uint32_t xid, double minute) {
    wal.add_commit(xid, to_postgres_microseconds(at_minute(minute)));
  }
  static pg::Lsn add_restore_point(WalBuilder& wal, const std::string& name, double minute) {
    Bytes text = to_bytes(name);
    text.resize(64);
    return wal.add_data(
        pg::kRmXlog, 0x70, 0,
        ByteWriter().i64(to_postgres_microseconds(at_minute(minute))).bytes(text).view());
  }
  static pg::Lsn add_tablespace(WalBuilder& wal, uint32_t oid, const std::string& path) {
    return wal.add_data(pg::kRmTablespace, 0x00, 0,
                        ByteWriter().u32(oid).bytes(as_bytes(path)).u8(0).view());
  }
  static pg::Lsn add_max_connections(WalBuilder& wal, uint32_t value) {
    return wal.add_data(
        pg::kRmXlog, 0x60, 0,
        ByteWriter().u32(value).u32(8).u32(10).u32(0).u32(64).u32(1).u8(0).u8(0).u16(0).view());
  }

  // Segment `index` of `wal`, under the timeline's name.
  void put_segment(const WalBuilder& wal, size_t index, bool partial = false) {
    const Bytes content = wal.segment(index);
    const pg::SegmentName name = wal.name(index);
    const pg::WalFileName file{
        .kind = partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment, .segment = name};
    codec::Compressor compressor{codec::CompressionSetting()};
    archive_.put_segment(file, describe(content, name, !partial), content, compressor);
  }
  // All complete segments but those whose numbers are left out.
  void put_segments(const WalBuilder& wal, const std::set<uint64_t>& left_out = {}) {
    for (size_t index = 0; index < wal.segment_count(); ++index) {
      if (!left_out.contains(wal.name(index).segment_number)) put_segment(wal, index);
    }
  }
  void put_history(uint32_t timeline, std::string_view text) {
    archive_.put_file({.kind = pg::WalFileKind::kHistory,
                       .segment = {.timeline = {timeline}, .segment_number = 0}},
                      {.file_name = pg::history_file_name({timeline}),
                       .bytes = text.size(),
                       .sha256 = repo::wal_content_sha256(as_bytes(text)),
                       .system_identifier = kSystemIdentifier,
                       .host = "db1",
                       .pushed = clock_.now()},
                      as_bytes(text));
  }

  struct BackupSpan {
    pg::Lsn start, stop;
    double stop_minute = 0;
    uint32_t timeline = 1;
    bool damaged = false;
  };
  // Its id is "20261122T08<minute>00Z-aaaaaa".
  std::string put_backup(const BackupSpan& span) {
    repo::Backup backup;
    backup.id = fmt::format("20261122T08{:02}00Z-aaaaaa", static_cast<int>(span.stop_minute));
    backup.lineage = lineage_.name;
    backup.system_identifier = kSystemIdentifier;
    backup.major = 15;
    backup.catalog_version = lineage_.catalog_version;
    backup.start_lsn = span.start;
    backup.stop_lsn = span.stop;
    backup.checkpoint_lsn = span.start;
    backup.start_timeline = backup.stop_timeline = {span.timeline};
    backup.start_time = at_minute(span.stop_minute - 1);
    backup.stop_time = backup.finished = at_minute(span.stop_minute);
    backup.started = backup.start_time;
    backup.damaged = span.damaged;
    backup.wal_segment_bytes = lineage_.wal_segment_bytes;
    backup.block_bytes = lineage_.block_bytes;
    backup.blocks_per_segment = lineage_.blocks_per_segment;
    backup.start_segment = pg::segment_file_name(
        {.timeline = {span.timeline}, .segment_number = pg::segment_of(span.start, size())},
        size());
    backup.stop_segment =
        pg::segment_file_name({.timeline = {span.timeline},
                               .segment_number = pg::last_segment_before_end(span.stop, size())},
                              size());
    backup.floors.max_connections = 100;
    HF_CHECK(repository_.create_document("backup", repo::backup_name(lineage_.name, backup.id),
                                         repo::to_json(backup)));
    return backup.id;
  }

  pg::WalSegmentSize size() const { return archive_.segment_size(); }
  const repo::Repository& repository() const { return repository_; }
  const repo::Lineage& lineage() const { return lineage_; }
  const repo::WalArchive& archive() const { return archive_; }
  store::MemoryStore& store() { return store_; }

 private:
  static repo::WalSegmentInfo describe(ByteView content, pg::SegmentName name, bool complete) {
    const pg::WalSegmentScan scan = pg::scan_segment(content, name);
    const pg::WalSegmentSummary& summary = scan.summary;
    const pg::WalSegmentSize size = summary.segment_size;
    repo::WalSegmentInfo info;
    info.file_name =
        complete ? pg::segment_file_name(name, size) : pg::partial_file_name(name, size);
    info.timeline = name.timeline;
    info.bytes = content.size();
    info.complete = complete;
    info.sha256 = repo::wal_content_sha256(content);
    info.system_identifier = summary.system_identifier;
    info.wal_magic = summary.page_magic;
    info.segment_bytes = size.bytes();
    info.host = "db1";
    info.pgdata = "/data";
    info.start_lsn = pg::start_lsn(name.segment_number, size);
    info.first_record = summary.first_record_lsn.value_or(pg::Lsn{});
    info.last_record = summary.last_record_lsn.value_or(pg::Lsn{});
    info.last_record_end = summary.last_complete_record_end_lsn.value_or(pg::Lsn{});
    info.previous_record = summary.first_record_previous_lsn.value_or(pg::Lsn{});
    info.carried_in = summary.remaining_length_at_start;
    info.carried_out = summary.remaining_length_at_end;
    info.ends_with_switch = summary.stop == pg::WalStop::kSwitch;
    const bool to_the_end =
        summary.stop == pg::WalStop::kSegmentEnd || summary.stop == pg::WalStop::kSwitch;
    info.readable_end = to_the_end ? pg::end_lsn(name.segment_number, size) : summary.stop_lsn;
    info.highest_page_timeline = summary.last_page_timeline;
    for (const pg::WalEvent& event : scan.events) add(info, event);
    return info;
  }
  static void add(repo::WalSegmentInfo& info, const pg::WalEvent& event) {
    if (const auto* end = std::get_if<pg::TransactionEnd>(&event)) {
      repo::WalCommits& commits = info.commits;
      const bool first = commits.count++ == 0;
      if (first) commits.first_time = commits.lowest_time = commits.highest_time = end->time;
      if (first) commits.lowest_xid = commits.highest_xid = end->xid;
      commits.last_time = end->time;
      commits.lowest_time = std::min(commits.lowest_time, end->time);
      commits.highest_time = std::max(commits.highest_time, end->time);
      commits.lowest_xid = std::min(commits.lowest_xid, end->xid);
      commits.highest_xid = std::max(commits.highest_xid, end->xid);
      commits.last_lsn = end->lsn;
    } else if (const auto* point = std::get_if<pg::RestorePoint>(&event)) {
      info.restore_points.push_back({.name = point->name, .lsn = point->lsn, .time = point->time});
    } else if (const auto* created = std::get_if<pg::TablespaceCreate>(&event)) {
      info.creates_tablespaces.push_back(
          {.oid = created->oid, .path = created->path, .lsn = created->lsn});
    } else if (const auto* change = std::get_if<pg::ParameterChange>(&event)) {
      info.parameter_floors =
          repo::ParameterFloors{.max_connections = change->max_connections,
                                .max_worker_processes = change->max_worker_processes,
                                .max_wal_senders = change->max_wal_senders,
                                .max_prepared_transactions = change->max_prepared_transactions,
                                .max_locks_per_transaction = change->max_locks_per_transaction};
    }
  }

  FakeClock clock_;
  FakeRandom random_;
  store::MemoryStore store_;
  repo::Repository repository_;
  repo::Lineage lineage_;
  repo::WalArchive archive_;
};

}  // namespace holdfast::test
