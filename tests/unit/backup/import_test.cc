// Imports of base backups that are made here: WAL by WalBuilder, tars by GNU tar. Real servers are
// in tests/integration.
#include "backup/import.h"

#include <algorithm>
#include <atomic>
#include <fcntl.h>
#include <map>
#include <optional>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>
#include <lz4frame.h>
#include <zstd.h>

#include "backup/import_wal.h"
#include "base/locked_directory.h"
#include "base/process.h"
#include "base/task_group.h"
#include "codec/digest.h"
#include "pg/crc32c.h"
#include "repo/doomed.h"
#include "repo/needed_wal.h"
#include "support/archive_fixture.h"
#include "support/error_of.h"
#include "support/fault_store.h"
#include "support/golden.h"
#include "unit/backup/made_up_cluster.h"

namespace holdfast::backup {
namespace {

using test::at_minute;
using test::error_of;
using test::make_page;
using test::make_pages;

constexpr uint64_t kImportRegion = repo::kLeafBytes;

Bytes zstd(ByteView raw) {
  Bytes out(ZSTD_compressBound(raw.size()));
  out.resize(ZSTD_compress(out.data(), out.size(), raw.data(), raw.size(), 3));
  return out;
}
Bytes lz4(ByteView raw) {
  Bytes out(LZ4F_compressFrameBound(raw.size(), nullptr));
  out.resize(LZ4F_compressFrame(out.data(), out.size(), raw.data(), raw.size(), nullptr));
  return out;
}

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
  void forget(const std::string& id) {
    store().remove(repo::backup_name(lineage().name, id));
    store().remove(repo::backup_copy_name(lineage().name, id));
  }
  void expect_whole(const std::string& id) {
    const std::optional<repo::Backup> backup = repo::read_backup(repository(), lineage().name, id);
    ASSERT_TRUE(backup.has_value()) << id;
    for (const auto& [name, entry] : entries_of(*backup)) {
      if (entry.type != repo::EntryType::kFile) continue;
      EXPECT_TRUE(content_of(entry) == read_file(path(name))) << id << name;
    }
  }

  test::WalBuilder wal_;
  pg::Lsn start_, checkpoint_, stop_;
  TemporaryDirectory root_;
  test::RecordingReporter reporter_;
};

TEST_F(ImportTest, KeepsEveryFileAndTellsWhatTheBackupIs) {
  put_segments(wal_);
  Bytes large = make_pages(0, 2 * kImportRegion / 8192 + 3);
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

// Nothing needed the WAL of an old base backup, so it was listed; an expiry that had looked before
// the import is removing it while the import finds it archived.
TEST_F(ImportTest, RestsOnNoWalThatAnExpiryIsRemoving) {
  put_segments(wal_);
  make_tar();
  const std::string wal = join_path(root_.path(), "wal");
  make_directories(join_path(wal, "pg_wal"));
  std::vector<std::string> objects;
  for (size_t index = 0; index < wal_.segment_count(); ++index) {
    const std::string name = pg::segment_file_name(wal_.name(index), size());
    write_file_durably(join_path(wal, "pg_wal/" + name), wal_.segment(index));
    append_to_tar(wal, {"pg_wal/" + name});
    objects.push_back(
        archive().object_name({.kind = pg::WalFileKind::kSegment, .segment = wal_.name(index)}));
  }
  const Bytes16 list = repo::put_doomed_list(repository(), lineage().name, objects, {});
  repo::HeldIntent expiry(repository(), lineage().name, {.what = std::string(repo::kExpireIntent)},
                          system_clock());
  ImportResult result;
  std::atomic<bool> has_ended = false;
  TaskGroup group;
  group.start([&](std::stop_token) {
    const struct AtEnd {
      std::atomic<bool>& flag;
      ~AtEnd() { flag = true; }
    } at_end{has_ended};
    result = import();
  });
  auto waits = [&] {
    return std::ranges::any_of(reporter_.notes(), [](const std::string& note) {
      return note.starts_with("waiting for the end of an expiry");
    });
  };
  while (!waits() && !has_ended) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_TRUE(waits());
  for (const std::string& object : objects) store().remove(object);
  repo::put_doomed_end(repository(), lineage().name, list, {.removed = objects.size()}, {});
  expiry.end();
  group.wait();
  EXPECT_FALSE(repo::find_missing_wal(
      repository(), lineage(),
      {.timeline = {1}, .start_lsn = result.backup.start_lsn, .end_lsn = result.backup.stop_lsn}));
}

TEST_F(ImportTest, WaitsForAnExpiryNoLongerThanItMay) {
  put_segments(wal_);
  make_tar();
  const std::string object =
      archive().object_name({.kind = pg::WalFileKind::kSegment, .segment = wal_.name(1)});
  repo::put_doomed_list(repository(), lineage().name, {object}, {});
  const repo::HeldIntent expiry(repository(), lineage().name,
                                {.what = std::string(repo::kExpireIntent)}, system_clock());
  ImportOptions impatient = options();
  impatient.expiry_timeout = {};
  const Error error = error_of([&] { import_backup(impatient, repository(), reporter_, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kBusy);
  EXPECT_EQ(error.message(), "an expiry may be removing WAL that the backup needs");
  EXPECT_TRUE(repo::list_backup_ids(repository(), lineage().name).empty());
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
  for (const char* name : {"postgresql.conf", "pg_hba.conf"}) put(name, {});
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

TEST_F(ImportTest, WithoutChecksumsPagesAreJudgedByTheirHeaders) {
  put_segments(wal_);
  put("global/pg_control", control(kSystemIdentifier, 0));
  Bytes pages = make_pages(0, 6);
  test::damage(pages);
  put("base/5/2000", pages);
  make_tar();
  ImportResult result = import();
  EXPECT_FALSE(result.backup.damaged);
  EXPECT_FALSE(result.backup.data_checksums);
  EXPECT_FALSE(entries_of(result.backup)["base/5/2000"].pages_verified);

  store_le<uint16_t>(pages.data() + 3 * pg::kPageBytes + 16, 9000);  // the special space
  put("base/5/2000", pages);
  make_tar();
  result = import();
  EXPECT_TRUE(result.backup.damaged);
  ASSERT_EQ(result.damaged.size(), 1U);
  EXPECT_EQ(result.damaged[0].block, 3U);
  EXPECT_EQ(result.damaged[0].reason, static_cast<uint8_t>(FaultReason::kPageHeader));
  EXPECT_FALSE(entries_of(result.backup)["base/5/2000"].pages_verified);
}

TEST_F(ImportTest, ComparesEveryFileWithTheManifestByEachKindOfChecksum) {
  put_segments(wal_);
  const std::vector<std::string> files = {"base/5/2619", "PG_VERSION", "backup_label",
                                          "global/pg_control", "base/5/1259"};
  for (const std::string algorithm : {"CRC32C", "SHA224", "SHA256", "SHA384", "SHA512"}) {
    // One of them in the second region of a file.
    const uint32_t blocks = algorithm == "SHA224" ? kImportRegion / 8192 + 3 : 3;
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

TEST_F(ImportTest, GivesItsWalToWhoArchivesItAlsoWhatIsArchivedAlready) {
  put_segment(wal_, 1);
  for (const size_t index : {1, 2})
    put("pg_wal/" + pg::segment_file_name(wal_.name(index), size()), wal_.segment(index));
  // Kept by the server for reuse under a future name.
  put("pg_wal/00000001000000000000000F", wal_.segment(0));
  make_tar();
  // What is there may be about to be removed: who archives it sees to that.
  EXPECT_EQ(import().archived_wal,
            (std::vector<std::string>{pg::segment_file_name(wal_.name(1), size()),
                                      pg::segment_file_name(wal_.name(2), size())}));
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

// --- Threads, forms, what is not there

TEST_F(ImportTest, ManyJobsStoreWhatOneDoes) {
  put_segments(wal_);
  // Members of several regions, so several jobs hold one; and many that pass in a moment.
  for (const char* name : {"base/5/3000", "base/5/3001"}) {
    Bytes pages = make_pages(0, kImportRegion / 8192 + 5);
    for (const uint32_t block : {3U, static_cast<uint32_t>(kImportRegion / 8192 + 1)})
      pages[block * pg::kPageBytes + 5000] ^= std::byte{0xFF};
    put(name, pages);
  }
  const Bytes page = make_page(0);
  for (int file = 0; file < 300; ++file) {
    const Fd fd =
        open_file(path(fmt::format("base/5/{}", 10'000 + file)), O_WRONLY | O_CREAT | O_EXCL);
    if (file % 3 != 0) write_all(fd, page, "a page");
  }
  make_tar();
  make_manifest("CRC32C",
                {"PG_VERSION", "backup_label", "global/pg_control", "base/5/1259", "base/5/3000",
                 "base/5/3001"},
                stop_);
  // Files that it does not name are told, so the comparison was made with all of them there.
  EXPECT_NE(import_error().detail().find("And 297 more files."), std::string::npos);
  remove_file(join_path(tars(), "backup_manifest"));
  ImportOptions with_one = options(), with_many = options();
  with_one.jobs = 1;
  with_many.jobs = 8;
  const ImportResult one = import_backup(with_one, repository(), reporter_, {});
  const ImportResult many = import_backup(with_many, repository(), reporter_, {});
  EXPECT_EQ(many.backup.files, one.backup.files);
  EXPECT_EQ(many.backup.bytes, one.backup.bytes);
  EXPECT_EQ(many.backup.damaged_blocks, 4U);
  EXPECT_EQ(many.damaged.size(), one.damaged.size());
  std::map<std::string, repo::ManifestEntry> of_one = entries_of(one.backup),
                                             of_many = entries_of(many.backup);
  ASSERT_EQ(of_many.size(), of_one.size());
  EXPECT_GT(of_many.size(), 300U);
  for (const auto& [name, entry] : of_many) {
    EXPECT_EQ(entry.size, of_one[name].size) << name;
    if (entry.type != repo::EntryType::kFile) continue;
    EXPECT_TRUE(content_of(entry) == content_of(of_one[name])) << name;
  }
}

TEST_F(ImportTest, TakesWholeTarsThatZstdAndLz4HaveMadeSmaller) {
  put_segments(wal_);
  put("base/5/2619", make_pages(0, kImportRegion / 8192 + 3));
  make_tar();
  const std::string plain = join_path(tars(), "base.tar");
  const Bytes tar = read_file(plain);
  remove_file(plain);
  const struct {
    const char* suffix;
    Bytes bytes;
  } cases[] = {{".zst", zstd(tar)}, {".lz4", lz4(tar)}};
  for (const auto& c : cases) {
    ASSERT_LT(c.bytes.size(), tar.size()) << c.suffix;
    write_file_durably(plain + c.suffix, c.bytes);
    std::map<std::string, repo::ManifestEntry> entries = entries_of(import().backup);
    for (const char* name : {"PG_VERSION", "base/5/1259", "base/5/2619"})
      EXPECT_TRUE(content_of(entries[name]) == read_file(path(name))) << c.suffix << name;
    // Without its end it is none.
    write_file_durably(plain + c.suffix, ByteView(c.bytes).first(c.bytes.size() - 20));
    EXPECT_EQ(import_error().code(), ErrorCode::kCorrupt) << c.suffix;
    remove_file(plain + c.suffix);
  }
}

TEST_F(ImportTest, WarnsOfConfigurationThatIsNotInTheTar) {
  put_segments(wal_);
  put("pg_hba.conf", as_bytes("local all all trust\n"));
  make_tar();
  EXPECT_EQ(import().not_included, std::vector<std::string>{"postgresql.conf"});
  EXPECT_EQ(reporter_.warnings(),
            std::vector<std::string>{
                "the configuration of the cluster is not in the tar: postgresql.conf; what is "
                "restored from this backup needs it from elsewhere"});
  put("postgresql.conf", as_bytes("port = 5432\n"));
  make_tar();
  EXPECT_TRUE(import().not_included.empty());
  EXPECT_EQ(reporter_.warnings().size(), 1U);
}

TEST_F(ImportTest, RemovesWhatAKilledImportHasLeftAndLeavesNothingItself) {
  put_segments(wal_);
  make_tar();
  constexpr LockedDirectory::Kind kSpools{.prefix = "holdfast-import-", .lock = "import.lock"};
  std::optional<LockedDirectory> other(std::in_place, temporary_root(), kSpools);
  const std::string left = other->path();
  write_file_durably(join_path(left, "segment"), as_bytes("WAL"));
  import();
  EXPECT_TRUE(is_directory(left)) << "that of another import which is at work";
  EXPECT_TRUE(reporter_.notes().empty() || reporter_.notes()[0].find(left) == std::string::npos);
  other.reset();
  import();
  EXPECT_FALSE(lstat_if_exists(left));
}

// The store refuses one call, or does what it is told and loses the answer. From the commit on the
// backup is there, also where the run fails behind it; before it never.
TEST_F(ImportTest, AnyFailedStoreCallLeavesNothingOrAWholeBackupAndTheNextRunWorks) {
  put_segments(wal_);
  make_tar();
  const auto ids = [&] { return repo::list_backup_ids(repository(), lineage().name); };
  for (const bool lost_answer : {false, true}) {
    uint64_t failed = 0, left_nothing = 0;
    for (uint64_t nth = 1;; ++nth) {
      test::FaultStore faulty(store(), test::Fault{.first = nth, .lost_answer = lost_answer});
      ImportOptions with_one = options();
      with_one.jobs = 1;  // so the calls come in one order
      bool is_imported = true;
      try {
        const repo::Repository other = repo::Repository::open(faulty, {});
        import_backup(with_one, other, reporter_, {});
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << error.message();
        is_imported = false;
        ++failed;
      }
      if (ids().empty()) ++left_nothing;
      EXPECT_LE(ids().size(), 1U);
      if (is_imported) {
        EXPECT_EQ(ids().size(), 1U) << nth;
      }
      for (const std::string& id : ids()) {
        expect_whole(id);
        forget(id);
      }
      if (!faulty.fired()) break;
    }
    EXPECT_GT(left_nothing, 10U) << lost_answer;
    EXPECT_GT(failed, left_nothing - 1) << lost_answer;
    expect_whole(import().backup.id);
    for (const std::string& id : ids()) forget(id);
  }
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

// A server that was rolled back writes the same places anew: the archived checkpoint is another's.
TEST_F(ImportTest, WalWhoseCheckpointIsNotThatOfPgControlIsRefused) {
  put_segments(wal_);
  backup::BackupSpan span{.timeline = {1}, .start_lsn = start_, .checkpoint_lsn = checkpoint_};
  span.control_time = read_backup_wal(archive(), span, {}).start_time;
  span.control_checkpoint = checkpoint_;
  EXPECT_EQ(read_backup_wal(archive(), span, {}).stop_lsn, stop_);
  span.control_time += std::chrono::seconds(1);
  const Error error = error_of([&] { read_backup_wal(archive(), span, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.message(), "the archived WAL is not that of the base backup");
}

TEST_F(ImportTest, ALabelWhoseCheckpointIsElsewhereIsRefused) {
  put_segments(wal_);
  const backup::BackupSpan span{
      .timeline = {1}, .start_lsn = start_, .checkpoint_lsn = checkpoint_ + 8};
  EXPECT_EQ(error_of([&] { read_backup_wal(archive(), span, {}); }).code(), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace holdfast::backup
