// archive_fixture.h: a repository in memory with WAL that a WalBuilder wrote, and backups that are
// commit objects alone: all that a plan reads.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "repo/backup.h"
#include "repo/wal_archive.h"
#include "store/memory_store.h"
#include "support/fake_clock.h"
#include "support/fake_random.h"
#include "support/newer_major.h"
#include "support/pieces_of.h"
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

  explicit ArchiveFixture(int major = 15)
      : repository_(repo::Repository::create(store_, {}, clock_, random_)),
        lineage_(
            repository_.create_lineage({.name = {.cluster = "main", .major = major, .count = 1},
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
  // A checkpoint of an idle server.
  static pg::Lsn add_checkpoint(WalBuilder& wal, double minute, uint64_t next_xid = 700) {
    ByteWriter checkpoint;
    checkpoint.u64(wal.end_lsn().value).u32(1).u32(1).u64(1).u64(next_xid);
    while (checkpoint.view().size() < 64) checkpoint.u64(0);
    checkpoint.i64(at_minute(minute).time_since_epoch().count() / 1'000'000);
    while (checkpoint.view().size() < 88) checkpoint.u64(0);
    return wal.add_data(pg::kRmXlog, 0x10, 0, checkpoint.view());
  }
  // What a server writes first on the timeline that its recovery began.
  static pg::Lsn add_end_of_recovery(WalBuilder& wal, uint32_t timeline, uint32_t previous,
                                     double minute) {
    return wal.add_data(pg::kRmXlog, 0x90, 0,
                        ByteWriter()
                            .i64(to_postgres_microseconds(at_minute(minute)))
                            .u32(timeline)
                            .u32(previous)
                            .view());
  }
  static pg::Lsn add_tablespace(WalBuilder& wal, uint32_t oid, const std::string& path) {
    return wal.add_data(pg::kRmTablespace, 0x00, 0,
                        ByteWriter().u32(oid).bytes(as_bytes(path)).u8(0).view());
  }
  static pg::Lsn add_max_connections(WalBuilder& wal, uint32_t value) {
    return wal.add_parameters(value, pg::WalLevel::kReplica);
  }

  // Segment `index` of `wal`, under the timeline's name.
  void put_segment(const WalBuilder& wal, size_t index, bool partial = false) {
    const Bytes content = pg::is_newer_major(lineage_.name.major) ? newer_wal(wal.segment(index))
                                                                  : wal.segment(index);
    const pg::SegmentName name = wal.name(index);
    const pg::WalFileName file{
        .kind = partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment, .segment = name};
    archive_.put_segment(
        file,
        test::describe_segment(content, file, {.host = "db1", .pgdata = "/data", .pushed = {}}),
        test::pieces_of(content));
  }
  // As it was archived at that minute, under the number of a further content.
  void put_segment_at(const WalBuilder& wal, size_t index, double minute, uint64_t number = 0,
                      bool partial = false) {
    const Bytes content = wal.segment(index);
    const pg::WalFileName file{
        .kind = partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment,
        .segment = wal.name(index)};
    archive_.put_segment(
        file,
        test::describe_segment(content, file,
                               {.host = "db1", .pgdata = "/data", .pushed = at_minute(minute)}),
        test::pieces_of(content), {}, number);
  }
  // As program 0.1.0 archived it, which did not know of minimal_from and of removals.
  void put_segment_of_0_1_0(const WalBuilder& wal, size_t index) {
    const Bytes content = wal.segment(index);
    const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = wal.name(index)};
    std::string metadata =
        repo::to_json(
            test::describe_segment(content, file, {.host = "db1", .pgdata = "/data", .pushed = {}}))
            .dump(0);
    for (const std::string_view key :
         {"minimal_from", "carries_moment", "carried_in_bytes", "carried_out_bytes"}) {
      const size_t at = metadata.find(fmt::format(",\"{}\":", key));
      HF_CHECK(at != std::string::npos);
      metadata.erase(at, metadata.find_first_of(",}", at + 1) - at);
    }
    const size_t removals = metadata.find(",\"removals\":[");
    metadata.erase(removals, metadata.find(']', removals) + 1 - removals);
    const std::string name = archive_.object_name(file);
    codec::Compressor compressor({});
    repo::ObjectWriter writer(store_, repository_.keyring(), repo::kWalSegmentKind, name, random_);
    writer.section(1, ByteWriter().text(name).text(metadata).view());
    writer.compressed_section(2, content, compressor);
    writer.commit();
  }
  // Sets the content of that number (of a .partial: of that digest) aside.
  void set_aside(const WalBuilder& wal, size_t index, uint64_t number = 0, bool partial = false) {
    const pg::WalFileName file{
        .kind = partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment,
        .segment = wal.name(index)};
    const Bytes32 sha256 = repo::wal_content_sha256(wal.segment(index));
    archive_.look_again();
    repo::put_wal_mark(
        repository_, lineage_.name, file, size(), archive_.amendments(file),
        {.file = {},
         .content = partial ? to_hex(repo::partial_digest(sha256).view()) : std::to_string(number),
         .sha256 = sha256,
         .at = {},
         .by = {},
         .detail = "for the test"});
    archive_.look_again();
  }
  // All complete segments but those whose numbers are left out.
  void put_segments(const WalBuilder& wal, const std::set<uint64_t>& left_out = {}) {
    for (size_t index = 0; index < wal.segment_count(); ++index) {
      if (!left_out.contains(wal.name(index).segment_number)) put_segment(wal, index);
    }
  }
  void put_history(uint32_t timeline, std::string_view text, std::optional<Time> pushed = {}) {
    archive_.put_file({.kind = pg::WalFileKind::kHistory,
                       .segment = {.timeline = {timeline}, .segment_number = 0}},
                      {.file_name = pg::history_file_name({timeline}),
                       .bytes = text.size(),
                       .sha256 = repo::wal_content_sha256(as_bytes(text)),
                       .system_identifier = kSystemIdentifier,
                       .host = "db1",
                       .pushed = pushed.value_or(store_.now())},
                      as_bytes(text));
  }

  void put_backup_history(pg::SegmentName segment) {
    const pg::WalFileName file{
        .kind = pg::WalFileKind::kBackupHistory, .segment = segment, .offset = 0x28};
    const std::string text = "START WAL LOCATION: somewhere\n";
    archive_.put_file(file,
                      {.file_name = pg::segment_file_name(segment, size()) + ".00000028.backup",
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
    bool from_standby = false;
    std::optional<Time> committed = {};
  };
  // Its id is "20261122T08<minute>00Z-aaaaaa".
  std::string put_backup(const BackupSpan& span) {
    repo::Backup backup;
    backup.id = fmt::format("20261122T08{:02}00Z-aaaaaa", static_cast<int>(span.stop_minute));
    backup.lineage = lineage_.name;
    backup.system_identifier = kSystemIdentifier;
    backup.major = lineage_.name.major;
    backup.catalog_version = lineage_.catalog_version;
    backup.start_lsn = span.start;
    backup.stop_lsn = span.stop;
    backup.checkpoint_lsn = span.start;
    backup.start_timeline = backup.stop_timeline = {span.timeline};
    backup.start_time = at_minute(span.stop_minute - 1);
    backup.stop_time = backup.finished = at_minute(span.stop_minute);
    backup.started = backup.start_time;
    backup.damaged = span.damaged;
    backup.from_standby = span.from_standby;
    backup.committed = span.committed;
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
  FakeClock clock_;
  FakeRandom random_;
  store::MemoryStore store_;
  repo::Repository repository_;
  repo::Lineage lineage_;
  repo::WalArchive archive_;
};

}  // namespace holdfast::test
