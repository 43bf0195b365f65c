#include "cluster/data_directory.h"

#include <algorithm>
#include <fcntl.h>
#include <map>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "cluster/wal_directory.h"
#include "support/error_of.h"
#include "support/newer_major.h"
#include "support/recording_reporter.h"
#include "support/wal_builder.h"

namespace holdfast::cluster {
namespace {

using test::error_of;
using test::RecordingReporter;

constexpr std::string_view kVersionDirectory = "PG_15_202209061";

// A made-up data directory of PostgreSQL 15, and beside it a directory for tablespaces.
class DataDirectoryTest : public testing::Test {
 protected:
  DataDirectoryTest() {
    std::string pattern = testing::TempDir() + "data_directory_test.XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw_errno("create", pattern);
    base_ = pattern;
    root_ = base_ + "/data";
    make_directory(root_);
    for (const char* name : {"base", "global", "pg_tblspc", "pg_wal", "pg_xact"})
      make_directory(root_ + "/" + name);
    make_file("PG_VERSION", "15\n");
  }
  ~DataDirectoryTest() override { remove_tree(base_); }

  void make_file(const std::string& path, std::string_view content = "x") {
    make_directories(parent_path(root_ + "/" + path));
    write_file_durably(root_ + "/" + path, as_bytes(content));
  }
  void make_link(const std::string& target, const std::string& path) {
    ASSERT_EQ(symlink(target.c_str(), (root_ + "/" + path).c_str()), 0);
  }

  std::vector<DataEntry> walk() {
    std::vector<DataEntry> entries;
    totals_ = walk_data_directory(root_, reporter_,
                                  [&](const DataEntry& entry) { entries.push_back(entry); });
    return entries;
  }
  static std::vector<std::string> paths(const std::vector<DataEntry>& entries) {
    std::vector<std::string> names;
    for (const DataEntry& entry : entries) names.push_back(entry.path);
    return names;
  }

  std::string base_;
  std::string root_;
  RecordingReporter reporter_;
  WalkTotals totals_;
};

TEST_F(DataDirectoryTest, GivesEveryPathOnceInTheOrderOfATree) {
  for (const char* path :
       {"base/1/1259", "base/1-b", "base/1.c", "base/1/1259.1", "base/16384/2619_vm",
        "global/pg_control", "pg_xact/0000", "a/b/c", "a-b", "a.b", "a/b-c"})
    make_file(path);
  std::vector<std::string> given = paths(walk());
  EXPECT_EQ(std::ranges::adjacent_find(given), given.end());
  EXPECT_EQ(given, (std::vector<std::string>{"PG_VERSION",
                                             "a",
                                             "a/b",
                                             "a/b/c",
                                             "a/b-c",
                                             "a-b",
                                             "a.b",
                                             "base",
                                             "base/1",
                                             "base/1/1259",
                                             "base/1/1259.1",
                                             "base/1-b",
                                             "base/1.c",
                                             "base/16384",
                                             "base/16384/2619_vm",
                                             "global",
                                             "global/pg_control",
                                             "pg_tblspc",
                                             "pg_wal",
                                             "pg_xact",
                                             "pg_xact/0000"}));
  EXPECT_EQ(totals_.file_count, 12u);
  EXPECT_EQ(totals_.directory_count, 9u);
  EXPECT_TRUE(reporter_.warnings().empty());
}

TEST_F(DataDirectoryTest, TellsSizeModeOwnerAndTime) {
  make_file("base/1/1259", std::string(8192, 'p'));
  std::string path = root_ + "/base/1/1259";
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  const timespec times[2] = {{.tv_sec = 1000, .tv_nsec = 0},
                             {.tv_sec = 1700000000, .tv_nsec = 123456789}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  std::vector<DataEntry> entries = walk();
  auto found = std::ranges::find(entries, "base/1/1259", &DataEntry::path);
  ASSERT_NE(found, entries.end());
  EXPECT_EQ(found->type, EntryType::kFile);
  EXPECT_EQ(found->bytes, 8192u);
  EXPECT_EQ(found->mode, 0640u);
  EXPECT_EQ(found->owner, geteuid());
  EXPECT_EQ(to_rfc3339(found->modified_at), "2023-11-14T22:13:20.123456Z");
}

TEST_F(DataDirectoryTest, LeavesOutWhatABaseBackupLeavesOut) {
  for (const char* path :
       {"postmaster.pid", "postmaster.opts", "backup_label.old", "pg_wal/000000010000000000000001",
        "pg_internal.init", "base/1/pg_internal.init.7", "base/1/t3_16400", "base/1/16401",
        "base/1/16401_init", "base/1/16401_vm", "base/1/16402", "base/pgsql_tmp/x",
        "recovery.signal"})
    make_file(path);
  EXPECT_EQ(paths(walk()),
            (std::vector<std::string>{"PG_VERSION", "base", "base/1", "base/1/16401_init",
                                      "base/1/16402", "global", "pg_tblspc", "pg_wal", "pg_xact"}));
}

TEST_F(DataDirectoryTest, FollowsTablespacesIntoThisMajorsDirectoryOnly) {
  std::string target = base_ + "/space";
  make_directories(target + "/" + std::string(kVersionDirectory) + "/5");
  write_file_durably(target + "/" + std::string(kVersionDirectory) + "/5/16400", as_bytes("x"));
  make_directories(target + "/PG_14_202107181/5");
  make_directories(target + "/lost+found");
  make_link(target, "pg_tblspc/16385");
  std::vector<DataEntry> entries = walk();
  std::string space = "pg_tblspc/16385/" + std::string(kVersionDirectory);
  EXPECT_EQ(paths(entries), (std::vector<std::string>{"PG_VERSION", "base", "global", "pg_tblspc",
                                                      "pg_tblspc/16385", space, space + "/5",
                                                      space + "/5/16400", "pg_wal", "pg_xact"}));
  auto link = std::ranges::find(entries, "pg_tblspc/16385", &DataEntry::path);
  EXPECT_EQ(link->type, EntryType::kTablespaceLink);
  EXPECT_EQ(link->link_target, target);
  std::vector<TablespaceLink> links = read_tablespace_links(root_);
  ASSERT_EQ(links.size(), 1u);
  EXPECT_EQ(links[0].oid, 16385u);
  EXPECT_EQ(links[0].target, target);
}

TEST_F(DataDirectoryTest, WalksATablespaceInsideTheDataDirectoryOnce) {
  make_file("inside/" + std::string(kVersionDirectory) + "/5/16400");
  make_link(root_ + "/inside", "pg_tblspc/16385");
  std::vector<std::string> given = paths(walk());
  EXPECT_EQ(
      std::ranges::count_if(given, [](const std::string& path) { return path.ends_with("16400"); }),
      1);
  EXPECT_EQ(std::ranges::count(given, "inside"), 0);
}

TEST_F(DataDirectoryTest, RefusesATablespaceWhoseDirectoryIsMissing) {
  make_link(base_ + "/not-mounted", "pg_tblspc/16385");
  Error error = error_of([&] { walk(); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "the directory of tablespace 16385 is missing");
  EXPECT_EQ(error.hint(), "Mount the file system that holds the tablespace, then try again.");
}

TEST_F(DataDirectoryTest, KeepsALinkedWalDirectoryAsADirectory) {
  remove_tree(root_ + "/pg_wal");
  make_directories(base_ + "/wal/archive_status");
  make_link(base_ + "/wal", "pg_wal");
  std::vector<DataEntry> entries = walk();
  auto wal = std::ranges::find(entries, "pg_wal", &DataEntry::path);
  ASSERT_NE(wal, entries.end());
  EXPECT_EQ(wal->type, EntryType::kDirectory);
  EXPECT_EQ(wal->link_target, base_ + "/wal");
  EXPECT_EQ(std::ranges::count_if(
                entries, [](const DataEntry& entry) { return entry.path.starts_with("pg_wal/"); }),
            0);
}

TEST_F(DataDirectoryTest, WarnsOfWhatItLeavesOutAndRefusesToLoseData) {
  ASSERT_EQ(mkfifo((root_ + "/pipe").c_str(), 0600), 0);
  make_link("/etc/ssl", "certificates");
  std::vector<std::string> given = paths(walk());
  EXPECT_EQ(std::ranges::count(given, "pipe") + std::ranges::count(given, "certificates"), 0);
  EXPECT_EQ(reporter_.warnings(),
            (std::vector<std::string>{"\"certificates\" is a symbolic link and is left out; what "
                                      "it points to is not part of the backup",
                                      "\"pipe\" is a special file and is left out"}));

  make_directories(base_ + "/elsewhere");
  make_link(base_ + "/elsewhere", "base/5");
  Error error = error_of([&] { walk(); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error.message(), fmt::format("\"{}/base/5\" is a symbolic link", root_));
}

TEST_F(DataDirectoryTest, TakesVanishingFilesForDropped) {
  for (int i = 0; i < 20; ++i) make_file(fmt::format("base/1/{}", 20000 + i));
  make_file("base/2/1");
  RecordingReporter reporter;
  int removed = 0;
  WalkTotals totals = walk_data_directory(root_, reporter, [&](const DataEntry& entry) {
    // Each file removes the next one, and the directory that is to be walked later.
    if (entry.path.starts_with("base/1/"))
      removed += remove_file_if_exists(
          fmt::format("{}/base/1/{}", root_, std::stoi(entry.path.substr(7)) + 1));
    if (entry.path == "base/1/20000") remove_tree(root_ + "/base/2");
  });
  EXPECT_EQ(removed, 10);
  EXPECT_EQ(totals.vanished_count, 12u);  // ten files, and base/2 by its name and by its contents
}

TEST_F(DataDirectoryTest, RefusesWhatIsNoDataDirectory) {
  Error error = error_of([&] {
    RecordingReporter reporter;
    walk_data_directory(base_, reporter, [](const DataEntry&) {});
  });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), fmt::format("\"{}\" is not a PostgreSQL data directory", base_));
  EXPECT_FALSE(error.hint().empty());
}

TEST_F(DataDirectoryTest, IsWalkedOfANewerMajorByTheNumbersOfItsControlFile) {
  make_file("PG_VERSION", "20\n");
  const Bytes control = test::newer_control_file(7);
  make_file("global/pg_control", std::string(as_text(control)));
  EXPECT_EQ(tablespace_version_directory_of(root_), "PG_20_202710061");
  EXPECT_EQ(read_control_file(root_).bytes, control);
  EXPECT_EQ(std::ranges::count(paths(walk()), "PG_VERSION"), 1);
}

TEST_F(DataDirectoryTest, ReportsADamagedControlFileAfterReadingItTwice) {
  make_file("global/pg_control", std::string(8192, '\1'));
  EXPECT_EQ(error_of([&] { read_control_file(root_); }).code(), ErrorCode::kUnsupported);
  make_file("global/pg_control", "short");
  EXPECT_EQ(error_of([&] { read_control_file(root_); }).code(), ErrorCode::kCorrupt);
  remove_file(root_ + "/global/pg_control");
  EXPECT_EQ(error_of([&] { read_control_file(root_); }).code(), ErrorCode::kNotFound);
}

TEST_F(DataDirectoryTest, ListsWalFilesAndTellsWhichAreUnused) {
  const pg::WalSegmentSize size(uint64_t{1} << 20);
  test::WalBuilder wal({.size = size});
  wal.add_filler(20000);
  const Bytes first = wal.segment(0);
  const auto text = [](ByteView bytes) { return std::string(as_text(bytes)); };
  Bytes damaged = first;
  std::fill_n(damaged.begin(), 4096, std::byte{0});
  make_file("pg_wal/000000010000000000000001", text(first));
  make_file("pg_wal/000000010000000000000003", text(first));  // renamed for later use
  make_file("pg_wal/000000010000000000000004", text(first));  // the same, but it waits
  make_file("pg_wal/000000010000000000000005", std::string(1 << 20, '\0'));
  make_file("pg_wal/000000010000000000000006", std::string(1 << 20, '\0'));  // it waits
  make_file("pg_wal/000000010000000000000007", text(damaged));
  make_file("pg_wal/000000010000000000000008", "text");
  make_file("pg_wal/000000020000000000000001", text(first));  // of timeline 1, behind the switch
  make_file("pg_wal/000000020000000000000009.partial", text(first));
  make_file("pg_wal/00000002.history", "1\t0/100000\tno recovery target specified\n");
  make_file("pg_wal/000000010000000000000001.00000028.backup");
  make_file("pg_wal/xlogtemp.12");
  make_file("pg_wal/archive_status/000000010000000000000001.done", "");
  for (const char* name : {"000000010000000000000004", "000000010000000000000006"}) {
    make_file(fmt::format("pg_wal/archive_status/{}.ready", name), "");
    make_file(fmt::format("pg_wal/archive_status/{}.done", name), "");
  }

  struct Expected {
    ArchiveStatus status;
    bool unused;
  };
  const std::map<std::string, Expected> expected = {
      {"000000010000000000000001", {ArchiveStatus::kDone, false}},
      {"000000010000000000000001.00000028.backup", {ArchiveStatus::kNone, false}},
      {"000000010000000000000003", {ArchiveStatus::kNone, true}},
      {"000000010000000000000004", {ArchiveStatus::kReady, false}},
      {"000000010000000000000005", {ArchiveStatus::kNone, true}},
      {"000000010000000000000006", {ArchiveStatus::kReady, false}},
      {"000000010000000000000007", {ArchiveStatus::kNone, false}},
      {"000000010000000000000008", {ArchiveStatus::kNone, false}},
      {"000000020000000000000001", {ArchiveStatus::kNone, true}},
      {"000000020000000000000009.partial", {ArchiveStatus::kNone, false}},
      {"00000002.history", {ArchiveStatus::kNone, false}},
  };
  std::vector<WalDirectoryFile> files = list_wal_directory(root_ + "/pg_wal", size);
  ASSERT_EQ(files.size(), expected.size());
  auto want = expected.begin();
  for (const WalDirectoryFile& file : files) {
    EXPECT_EQ(file.name, want->first);
    EXPECT_EQ(file.status, want->second.status) << file.name;
    const std::optional<pg::Lsn> began =
        beginning_of(root_ + "/pg_wal", file.parsed.segment.timeline);
    EXPECT_EQ(file.is_unused(size, began), want->second.unused) << file.name;
    ++want;
  }
  EXPECT_EQ(error_of([&] { list_wal_directory(root_ + "/nowhere", size); }).code(),
            ErrorCode::kNotFound);
}

}  // namespace
}  // namespace holdfast::cluster
