// Imports of base backups that are made here: WAL by WalBuilder, tars by GNU tar. Real servers are
// in tests/integration.
#include "backup/import.h"

#include <map>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include "backup/import_wal.h"
#include "base/process.h"
#include "codec/digest.h"
#include "pg/crc32c.h"
#include "support/archive_fixture.h"
#include "support/error_of.h"
#include "support/golden.h"
#include "unit/backup/made_up_cluster.h"

namespace holdfast::backup {
namespace {

using test::at_minute;
using test::error_of;
using test::make_page;
using test::make_pages;

constexpr uint64_t kRegion = repo::kLeafBytes;

class ImportTest : public testing::Test, protected test::ArchiveFixture {
 protected:
  ImportTest() {
    make_wal();
    for (const char* name : {"base", "base/5", "global", "pg_wal", "pg_tblspc"})
      make_directories(path(name));
    put("PG_VERSION", as_bytes("15\n"));
    put("global/pg_control", control(kSystemIdentifier));
    put("base/5/1259", make_pages(0, 20));
    put("backup_label",
        as_bytes(fmt::format("START WAL LOCATION: {} (file {})\nCHECKPOINT LOCATION: {}\n"
                             "BACKUP METHOD: streamed\nBACKUP FROM: primary\n"
                             "START TIME: 2026-11-22 09:01:00 CET\nLABEL: by hand\n"
                             "START TIMELINE: 1\n",
                             pg::to_string(start_),
                             pg::segment_file_name({{1}, pg::segment_of(start_, size())}, size()),
                             pg::to_string(checkpoint_))));
  }

  // Segments 1 to 4; the backup begins in the second and ends in the third.
  void make_wal() {
    add_commit(wal_, 700, 0);
    wal_.fill_to(pg::start_lsn(2, size()) + 8192 + 24);
    start_ = wal_.end_lsn();
    add_commit(wal_, 701, 1);
    Bytes copy = test::golden("pg-15/pg_control");
    copy.erase(copy.begin(), copy.begin() + 40);
    copy.resize(88);
    store_le(copy.data(), start_.value);
    store_le<int64_t>(copy.data() + 64, at_minute(2).time_since_epoch().count() / 1'000'000);
    checkpoint_ = wal_.add_data(pg::kRmXlog, 0x10, 0, copy);
    add_commit(wal_, 702, 7);
    add_commit(wal_, 703, 5);  // not in the order of their times
    wal_.fill_to(pg::start_lsn(3, size()) + 2 * 8192 + 24);
    wal_.add_data(pg::kRmXlog, 0x50, 0, ByteWriter().u64(start_.value).view());
    stop_ = wal_.end_lsn();
    add_commit(wal_, 704, 9);
    wal_.fill_to(pg::start_lsn(5, size()) + 24 + 16);
  }
  static Bytes control(uint64_t system_identifier, uint32_t checksums = 1) {
    Bytes bytes = test::golden("pg-15/pg_control");
    store_le(bytes.data(), system_identifier);
    store_le<uint32_t>(bytes.data() + 228, 1 << 20);
    store_le<uint32_t>(bytes.data() + 252, checksums);
    store_le(bytes.data() + 288, pg::crc32c(ByteView(bytes).first(288)));
    return bytes;
  }

  std::string path(const std::string& name) const { return join_path(data(), name); }
  std::string data() const { return join_path(root_.path(), "data"); }
  std::string tars() const { return join_path(root_.path(), "tars"); }
  void put(const std::string& name, ByteView content) const {
    make_directories(parent_path(path(name)));
    write_file_durably(path(name), content);
  }
  // base.tar of what lies there now; "." or what is named.
  void make_tar(const std::vector<std::string>& what = {"."}) const {
    make_directories(tars());
    std::vector<std::string> words = {"tar", "-cf", join_path(tars(), "base.tar"), "-C", data()};
    words.insert(words.end(), what.begin(), what.end());
    run_checked({.arguments = words});
  }
  void append_to_tar(const std::string& from, const std::vector<std::string>& what) const {
    std::vector<std::string> words = {"tar", "-rf", join_path(tars(), "base.tar"), "-C", from};
    words.insert(words.end(), what.begin(), what.end());
    run_checked({.arguments = words});
  }
  // backup_manifest of what lies there now.
  void make_manifest(const std::string& algorithm, const std::vector<std::string>& files,
                     pg::Lsn end) const {
    std::string lines = "{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n";
    for (const std::string& file : files) {
      const Bytes content = read_file(path(file));
      std::string checksum;
      if (algorithm == "CRC32C") {
        checksum = to_hex(ByteWriter().u32(pg::crc32c(content)).view());
      } else {
        codec::Sha2 digest(std::stoi(algorithm.substr(3)));
        digest.update(content);
        checksum = to_hex(digest.finish());
      }
      lines += fmt::format(
          "{{ \"Path\": \"{}\", \"Size\": {}, \"Checksum-Algorithm\": \"{}\", \"Checksum\": "
          "\"{}\" }}{}\n",
          file, content.size(), algorithm, checksum, &file == &files.back() ? "" : ",");
    }
    lines += fmt::format(
        "],\n\"WAL-Ranges\": [\n{{ \"Timeline\": 1, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" "
        "}}\n],\n",
        pg::to_string(start_), pg::to_string(end));
    write_file_durably(join_path(tars(), "backup_manifest"),
                       as_bytes(fmt::format("{}\"Manifest-Checksum\": \"{}\"}}\n", lines,
                                            to_hex(codec::sha256(as_bytes(lines)).view()))));
  }
  ImportOptions options(const std::string& tar = {}) {
    return {.cluster = "main",
            .tar = tar.empty() ? tars() : tar,
            .pgdata = "/srv/main",
            .jobs = 3,
            .compression = {},
            .tool_version = "test",
            .archive_wal = [&](const std::string& directory, pg::Lsn) {
              std::vector<std::string> names;
              for (const DirectoryEntry& entry : list_directory(directory))
                names.push_back(entry.name);
              put_segments(wal_);
              return names;
            }};
  }
  ImportResult import(const std::string& tar = {}) {
    return import_backup(options(tar), repository(), reporter_, {});
  }
  Error import_error() {
    return error_of([&] { import(); });
  }
  void expect_refused(ErrorCode code, const std::string& message) {
    const Error error = import_error();
    EXPECT_EQ(error.code(), code) << error.message() << " " << error.detail();
    EXPECT_NE(error.message().find(message), std::string::npos) << error.message();
    EXPECT_FALSE(error.hint().empty()) << error.message();
    EXPECT_TRUE(repo::list_backup_ids(repository(), lineage().name).empty());
  }
  std::map<std::string, repo::ManifestEntry> entries_of(const repo::Backup& backup) {
    std::map<std::string, repo::ManifestEntry> entries;
    repo::ManifestReader manifest(repository(), lineage().name, backup.id, backup.manifest_sha256,
                                  nullptr);
    while (std::optional<repo::ManifestEntry> entry = manifest.next())
      entries[entry->path] = *entry;
    return entries;
  }
  Bytes content_of(const repo::ManifestEntry& entry) {
    repo::ExtentReader extents(repository(), lineage().name);
    repo::FileReader reader(extents, 8192);
    reader.open(entry.location, entry.size);
    Bytes bytes(entry.size);
    EXPECT_EQ(reader.read_range(0, bytes), bytes.size());
    return bytes;
  }

  test::WalBuilder wal_;
  pg::Lsn start_, checkpoint_, stop_;
  TemporaryDirectory root_;
  test::RecordingReporter reporter_;
};

TEST_F(ImportTest, KeepsEveryFileAndTellsWhatTheBackupIs) {
  put_segments(wal_);
  Bytes large = make_pages(0, 2 * kRegion / 8192 + 3);
  put("base/5/2619", large);
  put("base/5/3456", {});
  put("odd name\n", as_bytes("x"));
  put("pg_stat_tmp/global.stat", as_bytes("left out"));
  put("postmaster.pid", as_bytes("left out"));
  make_tar();
  const repo::Backup backup = import().backup;
  EXPECT_EQ(backup.origin, "tar");
  EXPECT_EQ(backup.start_lsn, start_);
  EXPECT_EQ(backup.stop_lsn, stop_);
  EXPECT_EQ(backup.checkpoint_lsn, checkpoint_);
  EXPECT_EQ(backup.start_time, at_minute(2));
  EXPECT_EQ(backup.stop_time, at_minute(7));
  EXPECT_EQ(backup.id.substr(0, 16), "20261122T080200Z");
  EXPECT_EQ(backup.label, "by hand");
  EXPECT_EQ(backup.data_directory, "/srv/main");
  EXPECT_EQ(backup.floors.max_connections, 42);
  EXPECT_TRUE(backup.data_checksums);
  EXPECT_FALSE(backup.damaged);
  const std::optional<repo::Backup> read =
      repo::read_backup(repository(), lineage().name, backup.id);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->origin, "tar");

  std::map<std::string, repo::ManifestEntry> entries = entries_of(backup);
  for (const char* name : {"PG_VERSION", "base/5/1259", "base/5/2619", "base/5/3456", "odd name\n",
                           "global/pg_control", "backup_label"}) {
    ASSERT_TRUE(entries.contains(name)) << name;
    EXPECT_TRUE(content_of(entries[name]) == read_file(path(name))) << name;
    EXPECT_EQ(entries[name].mode, 0600u) << name;
  }
  EXPECT_EQ(entries["backup_label"].root, repo::ManifestRoot::kDataLast);
  EXPECT_EQ(entries["global/pg_control"].root, repo::ManifestRoot::kDataLast);
  EXPECT_TRUE(entries["base/5/2619"].pages_verified);
  EXPECT_EQ(entries["pg_wal"].type, repo::EntryType::kDirectory);
  EXPECT_FALSE(entries.contains("pg_stat_tmp/global.stat"));
  EXPECT_FALSE(entries.contains("postmaster.pid"));
}

TEST_F(ImportTest, MakesUpDirectoriesAndLeavesOutForksOfUnloggedRelations) {
  put_segments(wal_);
  put("base/5/16384", make_pages(0, 2));
  put("base/5/16384_fsm", make_pages(0, 2));
  put("base/5/16384_init", {});
  make_tar({"base/5/16384", "base/5/16384_fsm", "base/5/16384_init", "PG_VERSION",
            "global/pg_control", "backup_label"});
  std::map<std::string, repo::ManifestEntry> entries = entries_of(import().backup);
  EXPECT_EQ(entries["base"].type, repo::EntryType::kDirectory);
  EXPECT_EQ(entries["base/5"].type, repo::EntryType::kDirectory);
  EXPECT_TRUE(entries.contains("base/5/16384_init"));
  EXPECT_FALSE(entries.contains("base/5/16384"));
  EXPECT_FALSE(entries.contains("base/5/16384_fsm"));
}

TEST_F(ImportTest, MarksDamagedPagesButNotThoseThatReplayMakesWhole) {
  put_segments(wal_);
  Bytes pages = make_pages(0, 6);
  const auto damaged_page = [&](uint32_t block, pg::Lsn lsn) {
    Bytes page = make_page(block, 1, lsn);
    test::damage(page);
    std::ranges::copy(page, pages.begin() + static_cast<ptrdiff_t>(block * pg::kPageBytes));
  };
  damaged_page(1, start_ - 8);  // from before
  damaged_page(2, start_ + 8);  // written meanwhile
  damaged_page(3, stop_ + 8);   // no server has written that
  put("base/5/2000", pages);
  make_tar();
  ImportResult result = import();
  EXPECT_TRUE(result.backup.damaged);
  ASSERT_EQ(result.damaged.size(), 2U);
  EXPECT_EQ(result.damaged[0].block, 1U);
  EXPECT_EQ(result.damaged[1].block, 3U);
  EXPECT_TRUE(entries_of(result.backup)["base/5/2000"].has_damaged_blocks);
  EXPECT_EQ(reporter_.warnings().size(), 2U);
}

TEST_F(ImportTest, WithoutChecksumsNoPageIsVerified) {
  put_segments(wal_);
  put("global/pg_control", control(kSystemIdentifier, 0));
  put("base/5/2000", test::page_like_bytes(40 * pg::kPageBytes, 3));
  make_tar();
  ImportResult result = import();
  EXPECT_FALSE(result.backup.damaged);
  EXPECT_FALSE(result.backup.data_checksums);
  EXPECT_FALSE(entries_of(result.backup)["base/5/2000"].pages_verified);
}

TEST_F(ImportTest, ComparesEveryFileWithTheManifestByEachKindOfChecksum) {
  put_segments(wal_);
  const std::vector<std::string> files = {"base/5/2619", "PG_VERSION", "backup_label",
                                          "global/pg_control", "base/5/1259"};
  for (const std::string algorithm : {"CRC32C", "SHA224", "SHA256", "SHA384", "SHA512"}) {
    // One of them in the second region of a file.
    const uint32_t blocks = algorithm == "SHA224" ? kRegion / 8192 + 3 : 3;
    Bytes pages = make_pages(0, blocks);
    put("base/5/2619", pages);
    make_tar();
    make_manifest(algorithm, files, stop_);
    ImportResult result = import();
    EXPECT_TRUE(result.was_compared);
    EXPECT_EQ(result.backup.stop_lsn, stop_);
    pages[(blocks - 1) * pg::kPageBytes + 5] ^= std::byte{1};
    put("base/5/2619", pages);
    make_tar();
    const Error error = import_error();
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_EQ(error.message(), "the tar is not what its backup_manifest says");
    EXPECT_EQ(error.detail(), fmt::format("\"base/5/2619\" has another {} checksum.", algorithm));
  }
}

TEST_F(ImportTest, RefusesFilesThatAreMissingShorterOrNotNamedByTheManifest) {
  put_segments(wal_);
  put("more", as_bytes("1234"));
  put("postgresql.auto.conf", as_bytes("changed by pg_basebackup -R"));
  make_tar();
  const std::vector<std::string> files = {"PG_VERSION", "backup_label", "global/pg_control",
                                          "base/5/1259", "more"};
  make_manifest("CRC32C", files, stop_);
  put("more", as_bytes("123"));
  make_tar();
  EXPECT_EQ(import_error().detail(), "\"more\" has 3 bytes, not 4.");
  remove_file(path("more"));
  make_tar();
  EXPECT_EQ(import_error().detail(), "\"more\" is missing.");
  put("most", as_bytes("1234"));
  make_tar();
  EXPECT_EQ(import_error().detail(), "\"more\" is missing. \"most\" does not stand in it.");
  EXPECT_TRUE(repo::list_backup_ids(repository(), lineage().name).empty());
}

TEST_F(ImportTest, RefusesWhatContradictsItself) {
  put_segments(wal_);
  make_tar();
  make_manifest("CRC32C", {"PG_VERSION", "backup_label", "global/pg_control", "base/5/1259"},
                stop_);
  start_ = start_ + 8;
  make_manifest("CRC32C", {"PG_VERSION"}, stop_);
  expect_refused(ErrorCode::kCorrupt, "backup_manifest is of another base backup than the tar");
  remove_file(join_path(tars(), "backup_manifest"));

  append_to_tar(data(), {"PG_VERSION"});
  expect_refused(ErrorCode::kCorrupt, "\"PG_VERSION\" stands twice in the tar");
  make_tar();
  append_to_tar(data(), {"backup_label"});
  expect_refused(ErrorCode::kCorrupt, "\"backup_label\" stands twice");
  // A file in the place of a directory.
  make_tar({"--exclude=./base", "."});
  const std::string other = join_path(root_.path(), "other");
  make_directories(join_path(other, "base"));
  write_file_durably(join_path(other, "base/5"), as_bytes("x"));
  append_to_tar(other, {"base/5"});
  append_to_tar(data(), {"base/5/1259"});
  expect_refused(ErrorCode::kCorrupt, "\"base/5\" is a file and a directory");
}

TEST_F(ImportTest, RefusesMembersThatNoBaseBackupHas) {
  put_segments(wal_);
  ASSERT_EQ(symlink("/etc/passwd", path("base/5/link").c_str()), 0);
  make_tar();
  expect_refused(ErrorCode::kUnsupported, "is a symbolic link");
  remove_file(path("base/5/link"));
  ASSERT_EQ(link(path("PG_VERSION").c_str(), path("another").c_str()), 0);
  make_tar();
  expect_refused(ErrorCode::kUnsupported, "is a hard link");
  remove_file(path("another"));
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  make_tar();
  expect_refused(ErrorCode::kUnsupported, "is a special file");
  remove_file(path("pipe"));
  make_tar();
  EXPECT_NO_THROW(import());
}

TEST_F(ImportTest, RefusesWhatIsNoBackupOfThisLineage) {
  put_segments(wal_);
  make_tar({"--exclude=./backup_label", "."});
  expect_refused(ErrorCode::kUsage, "the tar holds no base backup");
  make_tar({"--exclude=./global/pg_control", "."});
  expect_refused(ErrorCode::kUsage, "the tar holds no base backup");
  put("global/pg_control", control(kSystemIdentifier + 1));
  make_tar();
  expect_refused(ErrorCode::kWrongCluster, "is of another cluster");
  Bytes damaged = control(kSystemIdentifier);
  damaged[40] ^= std::byte{1};
  put("global/pg_control", damaged);
  make_tar();
  EXPECT_EQ(import_error().code(), ErrorCode::kCorrupt);
  put("global/pg_control", control(kSystemIdentifier));
  const std::string label = read_text_file(path("backup_label"));
  put("backup_label", as_bytes(label + "INCREMENTAL FROM LSN: 0/100028\n"));
  make_tar();
  expect_refused(ErrorCode::kUnsupported, "the base backup is incremental");
}

TEST_F(ImportTest, TakesTablespacesFromTarsOfTheirOwn) {
  put_segments(wal_);
  put("tablespace_map", as_bytes("16400 /srv/fast disk\n"));
  make_tar();
  expect_refused(ErrorCode::kUsage, "the tar of tablespace 16400 is missing");
  const std::string place = join_path(root_.path(), "place");
  make_directories(join_path(place, "PG_15_202209061/5"));
  make_directories(join_path(place, "PG_14_202107181/5"));
  write_file_durably(join_path(place, "PG_15_202209061/5/20000"), make_pages(0, 3));
  write_file_durably(join_path(place, "PG_14_202107181/5/1"), as_bytes("another's"));
  run_checked({.arguments = {"tar", "-czf", join_path(tars(), "16400.tar.gz"), "-C", place, "."}});
  std::map<std::string, repo::ManifestEntry> entries = entries_of(import().backup);
  EXPECT_EQ(entries["pg_tblspc/16400"].type, repo::EntryType::kSymlink);
  EXPECT_EQ(entries["pg_tblspc/16400"].target, "/srv/fast disk");
  EXPECT_TRUE(content_of(entries["pg_tblspc/16400/PG_15_202209061/5/20000"]) == make_pages(0, 3));
  EXPECT_TRUE(entries["pg_tblspc/16400/PG_15_202209061/5/20000"].pages_verified);
  EXPECT_FALSE(entries.contains("pg_tblspc/16400/PG_14_202107181/5/1"));
  EXPECT_EQ(as_text(content_of(entries["tablespace_map"])), "16400 /srv/fast disk\n");
  run_checked({.arguments = {"tar", "-cf", join_path(tars(), "16400.tar"), "-C", place, "."}});
  const Error error = import_error();
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_NE(error.message().find("holds one tar twice"), std::string::npos);
}

TEST_F(ImportTest, GivesWalThatIsNotArchivedToWhoArchivesIt) {
  put_segment(wal_, 1);
  for (const size_t index : {1, 2})
    put("pg_wal/" + pg::segment_file_name(wal_.name(index), size()), wal_.segment(index));
  // Kept by the server for reuse under a future name.
  put("pg_wal/00000001000000000000000F", wal_.segment(0));
  make_tar();
  EXPECT_EQ(import().archived_wal,
            std::vector<std::string>{pg::segment_file_name(wal_.name(2), size())});
}

TEST_F(ImportTest, RefusesABackupOfWhichWalIsMissing) {
  make_tar();
  put_segments(wal_, {3});
  expect_refused(ErrorCode::kNotFound,
                 "WAL that the base backup needs is missing: 000000010000000000000003");
  make_manifest("CRC32C", {"PG_VERSION", "backup_label", "global/pg_control", "base/5/1259"},
                stop_);
  expect_refused(ErrorCode::kNotFound,
                 "WAL that the base backup needs is missing: 000000010000000000000003");
}

TEST_F(ImportTest, IsStopped) {
  put_segments(wal_);
  make_tar();
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(
      error_of([&] { import_backup(options(), repository(), reporter_, stop.get_token()); }).code(),
      ErrorCode::kInterrupted);
}

// --- The WAL of a backup

TEST_F(ImportTest, ThePartialSegmentThatReachesFarthestCounts) {
  put_segment(wal_, 1);
  test::WalBuilder shorter = wal_;
  shorter.bytes().resize(shorter.offset_of(pg::start_lsn(3, size())) + 9000);
  put_segment(shorter, 2, true);
  const backup::BackupSpan span{
      .timeline = {1}, .start_lsn = start_, .checkpoint_lsn = checkpoint_};
  const Error error = error_of([&] { read_backup_wal(archive(), span, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "the WAL of the base backup ends before the backup does");
  put_segment(wal_, 2, true);
  EXPECT_EQ(read_backup_wal(archive(), span, {}).stop_lsn, stop_);
}

TEST_F(ImportTest, ABackupOfALaterTimelineNeedsItsHistory) {
  const Error error = error_of([&] {
    read_backup_wal(archive(), {.timeline = {2}, .start_lsn = start_, .checkpoint_lsn = start_},
                    {});
  });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "timeline history file \"00000002.history\" is missing");
}

TEST_F(ImportTest, ALabelWhoseCheckpointIsElsewhereIsRefused) {
  put_segments(wal_);
  const backup::BackupSpan span{
      .timeline = {1}, .start_lsn = start_, .checkpoint_lsn = checkpoint_ + 8};
  EXPECT_EQ(error_of([&] { read_backup_wal(archive(), span, {}); }).code(), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace holdfast::backup
