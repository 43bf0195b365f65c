// whole_repository.h: a repository in memory with everything that a recovery needs: WAL whose
// records run over the ends of segments, and backups of files with a pg_control of their cluster;
// and, when asked, a sample of every kind of object that the format knows.
#pragma once

#include <map>
#include <set>
#include <string>

#include "pg/crc32c.h"
#include "repo/cluster_names.h"
#include "repo/layout.h"
#include "repo/layout_table.h"
#include "repo/marks.h"
#include "repo/wal_archive.h"
#include "support/golden.h"
#include "support/pieces_of.h"
#include "support/test_repository.h"
#include "support/wal_builder.h"

namespace holdfast::test {

class WholeRepository {
 public:
  static constexpr uint64_t kSystemIdentifier = 7'000'000'000'000'000'001;
  static constexpr uint32_t kSegmentBytes = 1 << 20;

  explicit WholeRepository(Sealing sealing = Sealing::kNone, uint64_t seed = 1)
      : random(seed),
        key(test_key(sealing)),
        repository(repo::Repository::create(store, key, clock, random)),
        lineage(repository.create_lineage({.name = {.cluster = "main", .major = 15, .count = 1},
                                           .system_identifier = kSystemIdentifier,
                                           .catalog_version = 202209061,
                                           .wal_segment_bytes = kSegmentBytes,
                                           .block_bytes = 8192,
                                           .blocks_per_segment = 131072,
                                           .created = clock.now()})),
        archive(repository, lineage) {
    wal_.add_commit(700, postgres_time());
  }

  // Writes WAL up to within the segment of that number.
  void write_wal(uint64_t segment_number) {
    const pg::Lsn end = pg::start_lsn(segment_number, size()) + 5000;
    for (size_t length = 5000; wal_.end_lsn() < end; length = 3000 + (length * 7) % 90000) {
      wal_.add_filler(length);
      clock.advance(std::chrono::seconds(1));
      wal_.add_commit(++xid_, postgres_time());
    }
  }
  // Completes the segment in which the WAL ends.
  void switch_segment() { wal_.add_switch(); }
  // Archives the complete segments that are not archived yet, but those left out.
  void archive_wal(const std::set<uint64_t>& left_out = {}) {
    const size_t complete = wal_.bytes().size() / kSegmentBytes;
    for (; archived_ < complete; ++archived_)
      if (!left_out.contains(wal_.name(archived_).segment_number)) put_segment(archived_);
  }
  void put_segment(size_t index, bool partial = false) {
    put_content(index, wal_.segment(index), partial);
  }
  // `number`: of the content; 0: the object in wal/.
  void put_content(size_t index, ByteView content, bool partial, uint64_t number = 0) {
    const pg::WalFileName file{
        .kind = partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment,
        .segment = wal_.name(index)};
    archive.put_segment(
        file,
        test::describe_segment(content, file,
                               {.host = "db1", .pgdata = "/data", .pushed = clock.now()}),
        test::pieces_of(content), {}, number);
  }
  std::string segment_object(uint64_t number) const {
    return archive.object_name({.kind = pg::WalFileKind::kSegment,
                                .segment = {.timeline = {1}, .segment_number = number}});
  }

  // The files of a backup, with a pg_control that is the cluster's.
  static std::vector<SampleFile> files(uint64_t seed) {
    std::vector<SampleFile> all = sample_files(seed);
    for (SampleFile& file : all) {
      if (file.path == "global/pg_control") file.content = control_file();
      // Where a test may write.
      if (file.path == "pg_wal") {
        file.type = repo::EntryType::kDirectory;
        file.target.clear();
      }
    }
    all.push_back({.path = "global", .type = repo::EntryType::kDirectory});
    all.push_back({.path = "postgresql.conf", .content = to_bytes("shared_buffers = '128MB'\n")});
    std::erase_if(all, [](const SampleFile& f) { return f.root == repo::ManifestRoot::kOutside; });
    std::ranges::sort(all, [](const SampleFile& a, const SampleFile& b) {
      return a.root != b.root ? a.root < b.root : repo::compare_paths(a.path, b.path) < 0;
    });
    return all;
  }

  // Takes a backup, whose WAL goes to the next segment and is archived. Its id.
  std::string take_backup(uint64_t seed = 1) {
    clock.advance(std::chrono::minutes(1));
    repo::Backup backup;
    const pg::Lsn start = wal_.end_lsn();
    backup.start_time = backup.started = clock.now();
    const std::string id = repo::make_backup_id(clock.now(), random);
    repo::BackupWriter writer(repository, lineage, id, {}, clock);
    repo::ExtentWriter worker = writer.make_worker();
    write_files(files(seed), worker, writer.manifest(), lineage.block_bytes);
    writer.finish_worker(std::move(worker));
    writer.seal_contents();
    write_wal(pg::segment_of(start, size()) + 1);
    const pg::Lsn stop = wal_.end_lsn();
    switch_segment();
    archive_wal();
    clock.advance(std::chrono::seconds(1));
    backup.start_lsn = backup.checkpoint_lsn = start;
    backup.stop_lsn = stop;
    backup.start_timeline = backup.stop_timeline = {1};
    backup.stop_time = backup.finished = clock.now();
    backup.start_segment = pg::segment_file_name(
        {.timeline = {1}, .segment_number = pg::segment_of(start, size())}, size());
    backup.stop_segment = pg::segment_file_name(
        {.timeline = {1}, .segment_number = pg::last_segment_before_end(stop, size())}, size());
    backup.data_checksums = true;
    backup.data_directory = "/var/lib/postgresql/15/gone";
    backup.host = "db1.example";
    backup.tool = "0.1.0";
    backup.floors.max_connections = 100;
    writer.commit(backup);
    clock.advance(std::chrono::minutes(1));
    return id;
  }

  // One object at least of each kind that is not there already, but records of verification.
  void add_every_kind(const std::string& backup_id) {
    using enum repo::ObjectKind;
    const repo::LineageName& name = lineage.name;
    const std::string folder = repo::lineage_folder(name);
    const std::string id = to_hex(random.bytes16().view());
    const std::string hex8 = id.substr(0, 8);
    repo::put_mark(repository, name, backup_id, repo::MarkKind::kPinned, "for the test");
    const pg::Lsn left_at = wal_.end_lsn();  // behind it a history would prove that WAL is missing
    wal_.add_filler(5000);
    put_segment(wal_.bytes().size() / kSegmentBytes, true);
    put_small({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = {2}}},
              fmt::format("1\t{}\tno reason\n", pg::to_string(left_at)));
    put_small({.kind = pg::WalFileKind::kBackupHistory,
               .segment = {.timeline = {1}, .segment_number = 2},
               .offset = 40},
              "START WAL LOCATION: 0/200028\n");
    put_small({.kind = pg::WalFileKind::kBackupHistory,
               .segment = {.timeline = {1}, .segment_number = 3},
               .offset = 40},
              "START WAL LOCATION: 0/300028\n", 1);
    const std::string wal_part = segment_object(9) + ".part/00000000-00002000." + id;
    put_sections(kWalPiece, wal_part);
    const std::string segment = pg::segment_file_name(wal_.name(0), size());
    Bytes wrong = wal_.segment(0);
    wrong.back() ^= std::byte{1};
    put_content(0, wrong, false, 1);
    put_document("set-aside", fmt::format("{}amended/00000001/{}/{}.json", folder, segment, id),
                 Json::object()
                     .set("file", segment)
                     .set("content", "1")
                     .set("sha256", to_hex(repo::wal_content_sha256(wrong).view()))
                     .set("what", "set aside")
                     .set("at", to_rfc3339(clock.now()))
                     .set("by", "db1")
                     .set("detail", "for the test"));
    put_sections(kRedirect, fmt::format("{}redirects/{}/{}", folder, id, id));
    put_sections(kWalIndex, fmt::format("{0}index/00000001/{1}-{1}.1.{2}", folder,
                                        "000000010000000000000002", hex8));
    put_sections(kCatalogNames, fmt::format("{}names/00000001/0000000000200000.{}", folder, hex8));
    put_document("intent", fmt::format("{}intents/{}.json", folder, id));
    put_document("intent", fmt::format("{}intents/{}.ended.json", folder, id));
    put_document("intent", fmt::format("{}intents/{}.ended.{}.json", folder, id, hex8));
    put_document("doomed", fmt::format("{}doomed/{}.json", folder, id));
    put_document("doomed", fmt::format("{}doomed/{}.done.json", folder, id));
    put_document("lease", "clusters/main/leases/expire/1.json");
    put_document("drill", "clusters/main/drills/" + id + ".json");
    HF_CHECK(repo::put_cluster_name(repository, "main", "shop", 1));
    clock.advance(std::chrono::minutes(1));
  }

  // The names of the objects by their kind.
  std::multimap<repo::ObjectKind, std::string> objects() {
    std::multimap<repo::ObjectKind, std::string> found;
    for (const std::string& name : object_names(store))
      if (const repo::KindOfObject* kind = repo::kind_of_object(name))
        found.emplace(kind->kind, name);
    return found;
  }
  // As a damaged disk or a stranger leaves it: other bytes, written later.
  void replace(const std::string& name, ByteView bytes) {
    clock.advance(std::chrono::seconds(1));
    store.remove(name);
    store.create(name, bytes);
    clock.advance(std::chrono::seconds(1));
  }

  pg::WalSegmentSize size() const { return archive.segment_size(); }
  WalBuilder& wal() { return wal_; }
  int64_t postgres_time() const {
    return clock.now().time_since_epoch().count() - 946684800'000000;
  }

  FakeClock clock;
  FakeRandom random;
  store::MemoryStore store{clock};
  repo::KeySource key;
  repo::Repository repository;
  repo::Lineage lineage;
  repo::WalArchive archive;

 private:
  static Bytes control_file() {
    Bytes control = golden("pg-15/pg_control");
    store_le(control.data(), kSystemIdentifier);
    store_le(control.data() + 228, kSegmentBytes);
    store_le(control.data() + 288, pg::crc32c(ByteView(control).first(288)));
    return control;
  }
  void put_small(const pg::WalFileName& file, std::string_view text, uint64_t number = 0) {
    archive.put_file(file,
                     {.file_name = "",
                      .bytes = text.size(),
                      .sha256 = repo::wal_content_sha256(as_bytes(text)),
                      .system_identifier = kSystemIdentifier,
                      .host = "db1",
                      .pushed = clock.now()},
                     as_bytes(text), number);
  }
  void put_document(std::string_view kind, const std::string& name,
                    Json body = Json::object().set("sample", true)) {
    HF_CHECK(repository.create_document(kind, name, std::move(body)));
  }
  void put_sections(repo::ObjectKind kind, const std::string& name) {
    const repo::KindOfObject* row = repo::kind_of_object(name);
    HF_CHECK(row != nullptr && row->kind == kind);
    codec::Compressor compressor({});
    repo::ObjectWriter writer(store, repository.keyring(), row->code, name, random);
    writer.section(1, ByteWriter().text(name).u32(7).view());
    writer.compressed_section(2, page_like_bytes(3000, 5), compressor);
    writer.commit();
  }

  WalBuilder wal_{WalBuilder::Options{.size = pg::WalSegmentSize(kSegmentBytes),
                                      .system_identifier = kSystemIdentifier}};
  uint32_t xid_ = 700;
  size_t archived_ = 0;
};

}  // namespace holdfast::test
