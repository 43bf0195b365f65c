#include "restore/restore.h"

#include <algorithm>
#include <array>
#include <fcntl.h>
#include <functional>
#include <map>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "cluster/data_directory.h"
#include "cluster/start_barrier.h"
#include "pg/conf_file.h"
#include "pg/control_file.h"
#include "pg/crc32c.h"
#include "repo/intent.h"
#include "restore/outside.h"
#include "restore/prepare.h"
#include "restore/state.h"
#include "restore/target_lock.h"
#include "support/archive_fixture.h"
#include "support/error_of.h"
#include "support/fault_store.h"
#include "support/golden.h"
#include "support/recording_reporter.h"

namespace holdfast::restore {
namespace {

using repo::EntryType;
using repo::ManifestRoot;
using test::at_minute;
using test::RecordingReporter;
using test::WalBuilder;

constexpr uint32_t kBlock = 8192;
constexpr const char* kVersionDirectory = "PG_15_202209061";

Bytes pattern(size_t size, unsigned seed) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>((i * 7 + seed * 31 + i / 251) & 0xFF);
  return bytes;
}

// A server's own, with another system identifier.
Bytes control_file_of(uint64_t system_identifier,
                      std::optional<pg::ClusterState> state = std::nullopt) {
  Bytes bytes = test::golden("pg-15/pg_control");
  store_le(bytes.data(), system_identifier);
  store_le(bytes.data() + 40, uint64_t{0x200028});  // redo, in a segment that old clusters have
  if (state) store_le(bytes.data() + 16, static_cast<uint32_t>(*state));
  store_le(bytes.data() + 288, pg::crc32c(ByteView(bytes).first(288)));
  return bytes;
}

struct MadeUpFile {
  ManifestRoot root = ManifestRoot::kData;
  std::string path;
  EntryType type = EntryType::kFile;
  Bytes content = {};
  std::string target = {};
  mode_t mode = 0600;
};

// A backup of a small cluster, and the WAL behind it.
class RestoreTest : public testing::Test, protected test::ArchiveFixture {
 protected:
  RestoreTest() {
    make_directory(old_tablespace_);
    files_ = {{.path = "PG_VERSION", .content = to_bytes("15\n")},
              {.path = "base", .type = EntryType::kDirectory, .mode = 0700},
              {.path = "base/1", .type = EntryType::kDirectory, .mode = 0700},
              {.path = "base/1/16384", .content = pattern(3 * kBlock, 1), .mode = 0640},
              {.path = "base/1/16385", .content = Bytes(5 * kBlock)},
              {.path = "base/1/16386", .content = {}},
              {.path = "base/1/odd", .content = pattern(kBlock + 100, 2)},
              {.path = "global", .type = EntryType::kDirectory, .mode = 0700},
              {.path = "pg_tblspc", .type = EntryType::kDirectory, .mode = 0700},
              {.path = "pg_tblspc/16400",
               .type = EntryType::kSymlink,
               .target = old_tablespace_,
               .mode = 0777},
              {.path = fmt::format("pg_tblspc/16400/{}", kVersionDirectory),
               .type = EntryType::kDirectory,
               .mode = 0700},
              {.path = fmt::format("pg_tblspc/16400/{}/16500", kVersionDirectory),
               .content = pattern(kBlock, 3)},
              {.path = "pg_wal", .type = EntryType::kDirectory, .mode = 0700},
              {.path = "postgresql.auto.conf",
               .content = to_bytes("work_mem = '8MB'\nrecovery_target_xid = '7'\n")},
              {.path = "postgresql.conf", .content = to_bytes("shared_buffers = '128MB'\n")},
              {.path = "standby.signal", .content = {}},
              {.root = ManifestRoot::kDataLast,
               .path = "backup_label",
               .content = to_bytes("START WAL LOCATION: 0/100028\n")},
              {.root = ManifestRoot::kDataLast,
               .path = "global/pg_control",
               .content = control_file_of(kSystemIdentifier)},
              {.root = ManifestRoot::kDataLast,
               .path = "tablespace_map",
               .content = to_bytes(fmt::format("16400 {}\n", old_tablespace_))}};
    // 40 MiB, nearly all of it zeros.
    Bytes sparse(size_t{40} << 20);
    std::ranges::copy(pattern(2 * kBlock, 4), sparse.begin());
    std::ranges::copy(pattern(kBlock, 5), sparse.begin() + (34 << 20));
    files_.push_back({.path = "base/1/sparse", .content = std::move(sparse)});
  }

  // Takes the backup of files_ and archives WAL with it: one segment, or what `more` adds.
  void take_backup(const std::function<void(WalBuilder&)>& more = {}) {
    WalBuilder wal;
    const pg::Lsn start = pg::Lsn{wal.end_lsn().value + 40};
    add_commit(wal, 11, 10);
    const pg::Lsn stop = wal.end_lsn();
    if (more) more(wal);
    add_commit(wal, 12, 15);
    wal.add_switch();
    put_segments(wal);

    std::ranges::sort(files_, [](const MadeUpFile& a, const MadeUpFile& b) {
      return repo::manifest_less(entry_of(a), entry_of(b));
    });
    repo::BackupWriter writer(repository(), lineage(), "20261122T081200Z-aaaaaa", {}, clock_);
    repo::ExtentWriter extents = writer.make_worker();
    const uint32_t owner = writer.manifest().owner(
        {.user = "nobody-of-that-name", .group = "nor-that", .uid = geteuid(), .gid = getegid()});
    repo::Backup backup;
    for (const MadeUpFile& file : files_) {
      repo::ManifestEntry entry = entry_of(file);
      entry.owner = owner;
      entry.size = file.content.size();
      if (file.type == EntryType::kFile) entry.location = store_file(extents, file);
      writer.manifest().add(entry);
      if (file.root == ManifestRoot::kOutside) backup.external_files.push_back(file.path);
    }
    writer.finish_worker(std::move(extents));
    writer.seal_contents();
    backup.id = writer.id();
    backup.lineage = lineage().name;
    backup.system_identifier = kSystemIdentifier;
    backup.major = 15;
    backup.catalog_version = lineage().catalog_version;
    backup.start_lsn = backup.checkpoint_lsn = start;
    backup.stop_lsn = stop;
    backup.start_timeline = backup.stop_timeline = {1};
    backup.start_time = backup.stop_time = backup.started = backup.finished = at_minute(12);
    backup.start_segment = backup.stop_segment = "000000010000000000000001";
    backup.wal_segment_bytes = lineage().wal_segment_bytes;
    backup.block_bytes = kBlock;
    backup.blocks_per_segment = lineage().blocks_per_segment;
    backup.data_directory = standbys_directory_.value_or(data_directory_);
    backup.from_standby = standbys_directory_.has_value();
    backup.host = host_name();
    backup.data_mode = 0750;
    backup.data_mount = data_mount_;
    backup.wal_directory = wal_directory_;
    backup.tablespaces = {{.oid = 16400, .path = tablespace_path_, .mount = tablespace_mount_}};
    backup.floors = {.max_connections = 150,
                     .max_worker_processes = 8,
                     .max_wal_senders = 10,
                     .max_locks_per_transaction = 64};
    writer.commit(backup);
  }

  RestoreOptions options() const {
    RestoreOptions made;
    made.where = Where::kInto;
    made.directory = into_;
    made.restore_command = "holdfast wal get %f \"%p\"";
    made.jobs = 3;
    return made;
  }
  RestoreOptions in_place(const std::string& directory) const {
    RestoreOptions made = options();
    made.where = Where::kInPlace;
    made.directory = directory;
    made.yes = true;
    return made;
  }
  RestoreResult run(const RestoreOptions& made) {
    return restore(made, repository(), clock_, reporter_, {});
  }
  Error failure(const RestoreOptions& made) {
    return test::error_of([&] { run(made); });
  }
  // Of a restore that is refused before it writes: its dry run is refused with the same.
  Error refusal(const RestoreOptions& made) {
    const std::optional<Error> on_paper = holdfast::error_of([&] {
      const Preview paper = preview(made, repository(), clock_, reporter_, {});
      if (paper.refusal) throw Error(*paper.refusal);
    });
    Error error = failure(made);
    EXPECT_EQ(on_paper ? on_paper->message() : "nothing", error.message()) << "of the dry run";
    EXPECT_EQ(on_paper ? on_paper->code() : ErrorCode::kInternal, error.code());
    return error;
  }
  std::string path(std::string_view name) const { return join_path(root_.path(), name); }
  static std::string text(const std::string& file) { return read_text_file(file); }
  static void write(const std::string& file, std::string_view content) {
    write_file_durably(file, as_bytes(content));
  }
  void expect_laid(const std::string& directory) const {
    for (const MadeUpFile& file : files_) {
      if (file.root == ManifestRoot::kOutside || file.path == "standby.signal" ||
          file.path.ends_with(".conf") || file.path == "tablespace_map")
        continue;
      SCOPED_TRACE(file.path);
      const std::string laid = join_path(directory, file.path);
      const std::optional<struct stat> status = lstat_if_exists(laid);
      ASSERT_TRUE(status);
      if (file.type == EntryType::kSymlink) continue;
      // The label is no file of the cluster's: the group may read it as the server's own.
      EXPECT_EQ(stat_if_exists(laid)->st_mode & 07777,
                file.path == "backup_label" ? mode_t{0640} : file.mode);
      if (file.type == EntryType::kFile) {
        EXPECT_TRUE(read_file(laid) == file.content);
      }
    }
  }
  // A data directory of the same cluster, as a crash left it.
  std::string make_old_directory(uint64_t system_identifier = kSystemIdentifier) {
    const std::string directory = path("old");
    for (const char* name : {"", "/global", "/base", "/base/5", "/pg_tblspc"})
      make_directory(directory + name);
    write_file_durably(directory + "/global/pg_control", control_file_of(system_identifier));
    write(directory + "/PG_VERSION", "15\n");
    write(directory + "/base/5/1259", "old");
    make_directory(path("wal-disk"));
    make_directory(path("wal-disk/archive_status"));
    EXPECT_EQ(symlink(path("wal-disk").c_str(), (directory + "/pg_wal").c_str()), 0);
    WalBuilder wal;
    wal.add_filler(100);
    for (const char* name : {"000000010000000000000001", "000000010000000000000002"})
      write_file_durably(path(std::string("wal-disk/") + name), wal.segment(0));
    write(path("wal-disk/archive_status/000000010000000000000001.done"), "");
    write(path("wal-disk/archive_status/000000010000000000000002.ready"), "");
    EXPECT_EQ(symlink(old_tablespace_.c_str(), (directory + "/pg_tblspc/16400").c_str()), 0);
    make_directory(join_path(old_tablespace_, kVersionDirectory));
    write(fmt::format("{}/{}/stale", old_tablespace_, kVersionDirectory), "old");
    write(join_path(old_tablespace_, "somebody-elses"), "kept");
    return directory;
  }

  // As it was before the last steps: a marker, and no pg_control.
  static void interrupt(const std::string& directory, const std::string& place,
                        const std::string& token, bool keeps_configuration = false) {
    remove_file(join_path(directory, "global/pg_control"));
    write_marker(directory,
                 {.directory = identity_of_directory(directory),
                  .token = token,
                  .places = {place},
                  .keeps_configuration = keeps_configuration},
                 std::nullopt);
    write(fmt::format("{}/{}/{}", place, kVersionDirectory, kTokenName), token + "\n");
  }

  TemporaryDirectory root_;
  const std::string into_ = join_path(root_.path(), "new/data");
  const std::string old_tablespace_ = join_path(root_.path(), "ts");
  // As the backup has them.
  std::string data_directory_ = join_path(root_.path(), "original");
  std::string data_mount_, tablespace_mount_, wal_directory_;
  std::optional<std::string> standbys_directory_;  // of the one that is backed up
  std::string tablespace_path_ = old_tablespace_;
  test::FakeClock clock_;
  RecordingReporter reporter_;
  std::vector<MadeUpFile> files_;

 private:
  static repo::ManifestEntry entry_of(const MadeUpFile& file) {
    repo::ManifestEntry entry;
    entry.root = file.root;
    entry.path = file.path;
    entry.type = file.type;
    entry.mode = file.mode;
    entry.target = file.target;
    return entry;
  }
  static repo::FileLocation store_file(repo::ExtentWriter& extents, const MadeUpFile& file) {
    repo::FileMapBuilder map;
    repo::LeafBuilder leaf(extents, kBlock);
    for (uint64_t index = 0; index < repo::leaf_count_of(file.content.size()); ++index) {
      leaf.begin(repo::file_tag(file.path), index);
      const uint64_t start = index * repo::kLeafBytes;
      leaf.add(start / kBlock,
               ByteView(file.content)
                   .subspan(start, std::min(repo::kLeafBytes, file.content.size() - start)));
      map.add(extents, leaf.finish(), kBlock);
    }
    return map.finish(extents, file.content.size(), kBlock);
  }
};

TEST_F(RestoreTest, LaysEveryFileAsItWas) {
  take_backup();
  const RestoreResult result = run(options());
  expect_laid(into_);
  EXPECT_EQ(result.directory, into_);
  EXPECT_FALSE(result.started);
  EXPECT_EQ(stat_if_exists(into_)->st_mode & 07777, 0750U);
  EXPECT_TRUE(is_directory(join_path(into_, "pg_wal/archive_status")));
  EXPECT_TRUE(lstat_if_exists(join_path(into_, "recovery.signal")));
  EXPECT_FALSE(lstat_if_exists(join_path(into_, "standby.signal")));
  EXPECT_FALSE(lstat_if_exists(join_path(into_, kMarkerName)));
  // Holes stay holes.
  EXPECT_LT(stat_if_exists(join_path(into_, "base/1/sparse"))->st_blocks * 512, 1 << 20);
  uint64_t bytes = 0, count = 0;
  for (const MadeUpFile& file : files_) {
    bytes += file.content.size();
    if (file.type == EntryType::kFile && file.path != "standby.signal") ++count;
  }
  EXPECT_EQ(result.bytes, bytes);
  EXPECT_EQ(result.files, count);
  EXPECT_EQ(reporter_.total_bytes(), bytes);
}

TEST_F(RestoreTest, TablespacesOfACopyLieBelowIt) {
  take_backup();
  run(options());
  const std::string moved = join_path(into_, "holdfast_tablespaces/16400");
  const std::string way = "../holdfast_tablespaces/16400";
  EXPECT_EQ(read_link(join_path(into_, "pg_tblspc/16400")), way);
  EXPECT_EQ(text(join_path(into_, "tablespace_map")), fmt::format("16400 {}\n", way));
  EXPECT_TRUE(read_file(fmt::format("{}/{}/16500", moved, kVersionDirectory)) ==
              pattern(kBlock, 3));
  EXPECT_TRUE(is_empty_directory(old_tablespace_));
}

TEST_F(RestoreTest, AMovedTablespaceLiesWhereItIsToAndTheServerIsTold) {
  take_backup();
  const std::string moved = path("disk/fast");
  RestoreOptions made = options();
  made.tablespaces = {{.was = old_tablespace_, .to = moved}};
  const RestoreResult copy = run(made);
  expect_laid(into_);
  EXPECT_EQ(read_link(join_path(into_, "pg_tblspc/16400")), moved);
  EXPECT_EQ(text(join_path(into_, "tablespace_map")), fmt::format("16400 {}\n", moved));
  EXPECT_TRUE(lstat_if_exists(fmt::format("{}/{}/16500", moved, kVersionDirectory)));
  EXPECT_TRUE(is_empty_directory(old_tablespace_));
  ASSERT_EQ(copy.tablespaces.size(), 1U);
  EXPECT_EQ(copy.tablespaces[0].place, moved);

  // In place the old one's files go, and what is not the cluster's stays.
  const std::string directory = make_old_directory();
  made = in_place(directory);
  made.tablespaces = {{.was = "16400", .to = path("disk/other")}};
  run(made);
  expect_laid(directory);
  EXPECT_EQ(read_link(join_path(directory, "pg_tblspc/16400")), path("disk/other"));
  EXPECT_EQ(text(join_path(directory, "tablespace_map")),
            fmt::format("16400 {}\n", path("disk/other")));
  EXPECT_FALSE(lstat_if_exists(join_path(old_tablespace_, kVersionDirectory)));
  EXPECT_EQ(text(join_path(old_tablespace_, "somebody-elses")), "kept");

  // And once more, to where it is now.
  run(made);
  expect_laid(directory);
}

TEST_F(RestoreTest, ATablespaceThatCannotBeMovedThereIsRefusedUntouched) {
  take_backup();
  const std::string directory = make_old_directory();
  RestoreOptions made = in_place(directory);
  made.tablespaces = {{.was = "16400", .to = path("full")}};
  make_directory(path("full"));
  write(path("full/file"), "mine");
  EXPECT_EQ(refusal(made).message(),
            fmt::format("tablespace directory \"{}\" is not empty", path("full")));
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "global/pg_control")));
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "base/5/1259")));
  made.where = Where::kInto;
  made.directory = into_;
  EXPECT_EQ(refusal(made).code(), ErrorCode::kAlreadyExists);
  EXPECT_FALSE(lstat_if_exists(into_));
}

TEST_F(RestoreTest, AnInterruptedRestoreKnowsThePlacesThatItBeganToFill) {
  take_backup();
  const std::string directory = make_old_directory();
  for (const bool is_copy : {true, false}) {
    RestoreOptions made = is_copy ? options() : in_place(directory);
    const std::string moved = path(is_copy ? "moved-copy" : "moved");
    made.tablespaces = {{.was = "16400", .to = moved}};
    run(made);
    interrupt(made.directory, moved, "00112233");
    write(fmt::format("{}/{}/stale", moved, kVersionDirectory), "half");
    run(made);
    expect_laid(made.directory);
    EXPECT_FALSE(lstat_if_exists(fmt::format("{}/{}/stale", moved, kVersionDirectory)));
    // A whole restore claims nothing any more.
    EXPECT_FALSE(lstat_if_exists(join_path(made.directory, kMarkerName)));
  }
}

TEST_F(RestoreTest, APlaceOutsideIsClearedOnlyWhenItSaysWhoseItIs) {
  take_backup();
  const std::string moved = path("moved");
  const std::string version = join_path(moved, kVersionDirectory);
  RestoreOptions made = options();
  made.tablespaces = {{.was = "16400", .to = moved}};
  run(made);
  EXPECT_FALSE(lstat_if_exists(join_path(version, kTokenName)));
  interrupt(into_, moved, "00112233");
  const std::string copied = path("copied");
  run_checked({.arguments = {"cp", "-a", into_, copied}});
  const auto expect_refused = [&](const std::string& directory, bool with_place) {
    RestoreOptions again = options();
    again.directory = directory;
    if (with_place) again.tablespaces = made.tablespaces;
    const Error refused = refusal(again);
    EXPECT_EQ(refused.code(), ErrorCode::kAlreadyExists);
    EXPECT_NE(refused.message().find(version), std::string::npos) << refused.message();
    EXPECT_EQ(read_file(join_path(version, "16500")), pattern(kBlock, 3));
  };
  // A copy of the directory has the note too.
  expect_refused(copied, false);
  // Another cluster lies there by now: with no token, or with one of a restore of its own.
  for (const char* other : {"", "99999999\n"}) {
    remove_file_if_exists(join_path(version, kTokenName));
    if (*other != '\0') write(join_path(version, kTokenName), other);
    expect_refused(into_, false);
    expect_refused(into_, true);
  }
  write(join_path(version, kTokenName), "00112233\n");
  run(made);
  expect_laid(into_);
  EXPECT_FALSE(lstat_if_exists(join_path(version, kTokenName)));
}

TEST_F(RestoreTest, ATablespaceInUseIsNotCleared) {
  take_backup();
  const std::string directory = make_old_directory();
  const std::string version = join_path(old_tablespace_, kVersionDirectory);
  const Process user(
      {.arguments = {"sleep", "100"}, .directory = "/", .output = version + "/open"});
  for (const bool delta : {false, true}) {
    RestoreOptions made = in_place(directory);
    made.delta = delta;
    const Error refused = refusal(made);
    EXPECT_EQ(refused.code(), ErrorCode::kBusy);
    EXPECT_EQ(refused.message(), fmt::format("tablespace directory \"{}\" is in use", version));
    EXPECT_NE(refused.detail().find(std::to_string(user.pid())), std::string::npos);
    EXPECT_EQ(test::error_of([&] { preview(made, repository(), clock_, reporter_, {}); }).code(),
              ErrorCode::kBusy);
  }
  EXPECT_EQ(text(version + "/stale"), "old");
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "global/pg_control")));
}

// "cp -a", and the original is not running.
TEST_F(RestoreTest, ATablespaceThatTheOriginalLinksToIsNotCleared) {
  take_backup();
  const std::string directory = make_old_directory();
  run_checked({.arguments = {"cp", "-a", directory, data_directory_}});
  const Error refused = refusal(in_place(directory));
  EXPECT_EQ(refused.code(), ErrorCode::kConflict);
  EXPECT_NE(refused.message().find(data_directory_), std::string::npos) << refused.message();
  EXPECT_EQ(text(fmt::format("{}/{}/stale", old_tablespace_, kVersionDirectory)), "old");
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "global/pg_control")));
  remove_tree(data_directory_);
  run(in_place(directory));
}

TEST_F(RestoreTest, ASecondRestoreInOneDirectoryIsRefused) {
  take_backup();
  const std::string directory = make_old_directory();
  make_directories(into_);
  RestoreOptions delta = in_place(directory);
  delta.delta = true;
  for (const RestoreOptions& made : {in_place(directory), delta, options()}) {
    const TargetLock first = TargetLock::take(made.directory);
    for (const Error& refused :
         {refusal(made), test::error_of([&] { resume(made, repository(), clock_, reporter_, {}); }),
          test::error_of([&] { finish({.data_directory = made.directory}, reporter_, {}); })}) {
      EXPECT_EQ(refused.code(), ErrorCode::kBusy);
      EXPECT_EQ(refused.message(), fmt::format("another restore works in \"{}\"", made.directory));
      EXPECT_EQ(refused.detail(), fmt::format("Its process id is {}.", getpid()));
    }
  }
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "base/5/1259")));
  EXPECT_TRUE(is_empty_directory(into_));
  run(options());
}

// The directory is made by the one and by the other.
TEST_F(RestoreTest, ADirectoryThatHasComeMeanwhileIsNotCleared) {
  take_backup();
  for (RestoreOptions made : {options(), in_place(path("absent"))}) {
    made.on_plan = [&](const recovery::Plan&) {
      make_directories(made.directory);
      write(join_path(made.directory, "PG_VERSION"), "15\n");
    };
    EXPECT_EQ(failure(made).code(), ErrorCode::kAlreadyExists);
    EXPECT_EQ(text(join_path(made.directory, "PG_VERSION")), "15\n");
  }
}

TEST_F(RestoreTest, WhatTheProgramNeedsIsNeverCleared) {
  take_backup();
  const std::string directory = make_old_directory();
  const std::string version = join_path(old_tablespace_, kVersionDirectory);
  for (const std::string& own :
       {join_path(directory, "holdfast_repo"), path("wal-disk/key"), join_path(version, "repo")}) {
    for (const bool delta : {false, true}) {
      RestoreOptions made = in_place(directory);
      made.delta = delta;
      made.own_files = {{.what = "the repository", .path = own}};
      const Error refused = refusal(made);
      EXPECT_EQ(refused.code(), ErrorCode::kUsage);
      EXPECT_TRUE(refused.message().starts_with("the repository lies in ")) << refused.message();
      EXPECT_EQ(test::error_of([&] { preview(made, repository(), clock_, reporter_, {}); }).code(),
                ErrorCode::kUsage);
    }
  }
  EXPECT_EQ(text(version + "/stale"), "old");
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "global/pg_control")));
  EXPECT_FALSE(lstat_if_exists(join_path(directory, kMarkerName)));
}

TEST_F(RestoreTest, ABackupThatIsNotWholeClearsNothing) {
  take_backup();
  const std::string directory = make_old_directory();
  RestoreOptions made = in_place(directory);
  std::string read;
  made.read_backup = [&](const repo::Backup& backup) {
    read = backup.id;
    return std::string("A pack is damaged.");
  };
  const Error refused = failure(made);  // a dry run does not read it
  EXPECT_EQ(refused.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(refused.detail(), "A pack is damaged.");
  EXPECT_EQ(read, "20261122T081200Z-aaaaaa");
  EXPECT_EQ(text(join_path(directory, "base/5/1259")), "old");
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "global/pg_control")));
  EXPECT_FALSE(lstat_if_exists(join_path(directory, kMarkerName)));

  // Nobody has anything to lose.
  write(join_path(directory, "global/pg_control"), "damaged");
  run(made);
  expect_laid(directory);

  std::string pack;
  store::for_each_entry(store(), {.prefix = repo::lineage_folder(lineage().name) + "packs/"},
                        [&](const store::ListEntry& entry) {
                          pack = entry.name;
                          return true;
                        });
  store().remove(pack);
  made.read_backup = {};
  const Error missing = refusal(made);
  EXPECT_EQ(missing.code(), ErrorCode::kCorrupt);
  EXPECT_NE(missing.detail().find(pack), std::string::npos) << missing.detail();
  EXPECT_EQ(test::error_of([&] { preview(made, repository(), clock_, reporter_, {}); }).code(),
            ErrorCode::kCorrupt);
  expect_laid(directory);
}

TEST_F(RestoreTest, FromTheSalvageOnNoServerStartsAndARefusalTakesThatBack) {
  take_backup();
  const std::string directory = make_old_directory();
  const std::string version = join_path(old_tablespace_, kVersionDirectory);
  for (const bool delta : {false, true}) {
    RestoreOptions made = in_place(directory);
    made.delta = delta;
    bool was_barred = false;
    made.salvage = [&](const std::string&, bool) {
      was_barred = !lstat_if_exists(join_path(directory, "global/pg_control")) &&
                   lstat_if_exists(join_path(directory, kMarkerName));
      return SalvagedWal();
    };
    made.on_plan = [](const recovery::Plan&) {
      throw Error({.code = ErrorCode::kInterrupted, .message = "stopped"});
    };
    EXPECT_EQ(failure(made).message(), "stopped");
    EXPECT_TRUE(was_barred);
    EXPECT_TRUE(lstat_if_exists(join_path(directory, "global/pg_control")));
    EXPECT_FALSE(lstat_if_exists(join_path(directory, kMarkerName)));
    EXPECT_FALSE(lstat_if_exists(join_path(version, kTokenName)));
  }
  EXPECT_EQ(text(version + "/stale"), "old");
}

// kill -9 before anything is cleared: the next command puts back what it finds, also one that is
// refused.
TEST_F(RestoreTest, WhatAKilledRestoreHasBarredIsPutBackByTheNext) {
  take_backup();
  const std::string directory = make_old_directory();
  const std::string version = join_path(old_tablespace_, kVersionDirectory);
  const Bytes control = read_file(join_path(directory, "global/pg_control"));
  const auto kill_one = [&] {
    write_marker(directory,
                 {.directory = identity_of_directory(directory),
                  .token = "00112233",
                  .places = {old_tablespace_},
                  .is_untouched = true},
                 std::nullopt);
    write(join_path(version, kTokenName), "00112233\n");
    cluster::bar_start(directory);
  };
  kill_one();
  RestoreOptions made = in_place(directory);
  made.yes = false;
  EXPECT_EQ(failure(made).code(), ErrorCode::kUsage);
  EXPECT_EQ(read_file(join_path(directory, "global/pg_control")), control);
  EXPECT_FALSE(lstat_if_exists(join_path(directory, kMarkerName)));
  EXPECT_FALSE(lstat_if_exists(join_path(version, kTokenName)));
  kill_one();
  // Its WAL is still saved: nothing was cleared.
  EXPECT_EQ(run(in_place(directory)).moved_aside.size(), 1U);
  expect_laid(directory);
  EXPECT_FALSE(lstat_if_exists(join_path(directory, cluster::kBarredControlFile)));
}

TEST_F(RestoreTest, ACopyIsConfiguredToStandAlone) {
  take_backup();
  RestoreOptions made = options();
  made.target = {.kind = recovery::TargetKind::kTime, .time = at_minute(13)};
  made.port = 5499;
  run(made);
  const pg::ConfFile conf(text(join_path(into_, "postgresql.auto.conf")));
  const std::pair<const char*, std::string> expected[] = {
      {"work_mem", "8MB"},
      {"archive_mode", "off"},
      {"listen_addresses", ""},
      {"port", "5499"},
      {"unix_socket_directories", "pg_stat_tmp"},
      {"unix_socket_group", ""},
      {"primary_conninfo", ""},
      {"max_logical_replication_workers", "0"},
      {"max_connections", "150"},
      {"restore_command", "holdfast wal get %f \"%p\" --until 000000010000000000000001"},
      {"recovery_target_time", "2026-11-22 08:13:00.000000+00"},
      {"recovery_target_xid", ""},
      {"recovery_target_timeline", "1"},
      {"recovery_target_action", "promote"}};
  for (const auto& [name, value] : expected) EXPECT_EQ(conf.value(name), value) << name;
  // Nothing names the directory itself: it can be moved and cloned.
  EXPECT_EQ(text(join_path(into_, "postgresql.conf")), "shared_buffers = '128MB'\n");
  EXPECT_EQ(conf.to_text().find(into_), std::string::npos);
  EXPECT_TRUE(is_directory(join_path(into_, "holdfast_socket")));

  RestoreOptions archiving = options();
  archiving.directory = path("archiving");
  archiving.archive = true;
  run(archiving);
  EXPECT_EQ(pg::ConfFile(text(path("archiving/postgresql.auto.conf"))).value("archive_mode"),
            std::nullopt);
}

// In its file, where it holds for every later start, and on the command line, which wins over a
// file that was changed.
TEST_F(RestoreTest, ACopyHasNoSettingThatActsOnTheLiving) {
  auto file = std::ranges::find(files_, "postgresql.conf", &MadeUpFile::path);
  file->content = to_bytes(
      "archive_mode = on\narchive_cleanup_command = 'cleanup %r'\n"
      "recovery_end_command = 'switch'\nprimary_conninfo = 'host=production'\n"
      "primary_slot_name = 'ours'\nsynchronous_standby_names = '*'\n"
      "max_logical_replication_workers = 4\nlisten_addresses = '*'\n"
      "unix_socket_directories = '/var/run/postgresql'\n");
  take_backup();
  run(options());
  const pg::ConfFile conf(text(join_path(into_, "postgresql.auto.conf")));
  std::map<std::string, std::string> command_line;
  const RestoredState state = read_state(into_).value();
  for (const auto& [name, value] : state.command_line) command_line[name] = value;
  const std::pair<const char*, std::string> expected[] = {{"archive_mode", "off"},
                                                          {"archive_cleanup_command", ""},
                                                          {"recovery_end_command", ""},
                                                          {"primary_conninfo", ""},
                                                          {"primary_slot_name", ""},
                                                          {"synchronous_standby_names", ""},
                                                          {"max_logical_replication_workers", "0"},
                                                          {"unix_socket_group", ""},
                                                          {"bonjour", "off"},
                                                          {"huge_pages", "off"},
                                                          {"promote_trigger_file", ""},
                                                          {"listen_addresses", ""}};
  for (const auto& [name, value] : expected) {
    EXPECT_EQ(conf.value(name), value) << name;
    ASSERT_TRUE(command_line.contains(name)) << name;
    EXPECT_EQ(command_line[name], value) << name;
  }
  EXPECT_EQ(conf.value("unix_socket_directories"), "pg_stat_tmp");
  EXPECT_EQ(command_line["unix_socket_directories"], join_path(into_, "holdfast_socket"));
}

TEST_F(RestoreTest, ADirectoryWithOtherFilesIsRefusedUntouched) {
  take_backup();
  make_directories(into_);
  write(join_path(into_, "precious"), "mine");
  const Error error = refusal(options());
  EXPECT_EQ(error.code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(error.message(), fmt::format("directory \"{}\" is not empty", into_));
  EXPECT_EQ(error.hint(),
            "Name a directory that does not exist or is empty. To restore over the cluster's own "
            "data directory use --in-place.");
  EXPECT_EQ(list_directory(into_).size(), 1U);
}

TEST_F(RestoreTest, AnUnreachableTargetWritesNothing) {
  take_backup();
  RestoreOptions made = options();
  made.target = {.kind = recovery::TargetKind::kTime, .time = at_minute(1)};
  EXPECT_EQ(refusal(made).code(), ErrorCode::kTargetUnreachable);
  EXPECT_FALSE(lstat_if_exists(into_));
}

TEST_F(RestoreTest, ARecoveryThatWouldWriteIntoATablespaceOfThisHostIsRefused) {
  make_directory(path("live"));
  const std::string live = path("live");
  take_backup([&](WalBuilder& wal) { add_tablespace(wal, 16999, live); });
  const Error error = refusal(options());
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(
      error.message(),
      fmt::format("recovery would write into tablespace directory \"{}\" of this host", live));
  EXPECT_FALSE(error.hint().empty());
  EXPECT_FALSE(lstat_if_exists(into_));
  // Where it is not, recovery needs it.
  remove_empty_directory(live);
  run(options());
  EXPECT_TRUE(is_empty_directory(live));
}

TEST_F(RestoreTest, ADamagedExtentLeavesNothingThatStarts) {
  take_backup();
  std::string largest;
  uint64_t bytes = 0;
  store::for_each_entry(store(), {.prefix = repo::lineage_folder(lineage().name) + "packs/"},
                        [&](const store::ListEntry& entry) {
                          if (entry.bytes > bytes) {
                            largest = entry.name;
                            bytes = entry.bytes;
                          }
                          return true;
                        });
  // In the middle of the first extent, which is a file's.
  store().edit(largest, [](Bytes& content) { content[300] ^= std::byte{1}; });
  const Error error = failure(options());
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_FALSE(error.context().empty());
  EXPECT_FALSE(lstat_if_exists(join_path(into_, "global/pg_control")));
  EXPECT_TRUE(lstat_if_exists(join_path(into_, kMarkerName)));
}

TEST_F(RestoreTest, WhateverStoreCallFailsTheSameRestoreCanBeRunAgain) {
  take_backup();
  for (uint64_t nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    test::FaultStore faulty(store(), nth);
    bool failed = false;
    try {
      const repo::Repository opened = repo::Repository::open(faulty, {});
      restore(options(), opened, clock_, reporter_, {});
    } catch (const Error& error) {
      failed = true;
      EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << error.message();
      EXPECT_FALSE(lstat_if_exists(join_path(into_, "global/pg_control")));
    }
    if (!faulty.fired()) {
      EXPECT_FALSE(failed);
      EXPECT_GT(nth, 10U);
      break;
    }
    if (nth % 7 == 0 && failed) {  // over what the failed one left
      run(options());
      expect_laid(into_);
    }
    remove_tree(into_);
  }
  expect_laid(into_);
}

TEST_F(RestoreTest, AnInterruptedRestoreEndsAsOneAndCanBeRunAgain) {
  take_backup();
  std::stop_source source;
  source.request_stop();
  const Error error = test::error_of(
      [&] { restore(options(), repository(), clock_, reporter_, source.get_token()); });
  EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  EXPECT_FALSE(lstat_if_exists(join_path(into_, "global/pg_control")));
  run(options());
  expect_laid(into_);
}

// The archive's history would put another server's rows in the place of this one's.
TEST_F(RestoreTest, InPlaceRefusesWhereTheArchiveHoldsAnotherHistoryThanTheDirectory) {
  take_backup();
  const std::string directory = make_old_directory();
  RestoreOptions made = in_place(directory);
  uint64_t number = 0;
  made.salvage = [&](const std::string&, bool) {
    SalvagedWal salvaged{.unsaved = {"000000010000000000000002"}};
    salvaged.conflicts.push_back({.from = {.timeline = {1}, .segment_number = number},
                                  .error = Error({.code = ErrorCode::kConflict,
                                                  .message = "already archived with other content",
                                                  .detail = "It was pushed by host \"beta\"."})});
    return salvaged;
  };
  const Error error = refusal(made);
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_NE(error.message().find("the archive holds another history"), std::string::npos);
  EXPECT_NE(error.detail().find("host \"beta\""), std::string::npos);
  for (const char* way : {"--to-lsn", "--without-own-wal"})
    EXPECT_NE(error.hint().find(way), std::string::npos) << error.hint();
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "base/5/1259")));
  EXPECT_EQ(test::error_of([&] { preview(made, repository(), clock_, reporter_, {}); }).message(),
            error.message());
  // To the end an end that this server has passed is none, however far; up to a target it is in
  // nobody's way.
  number = 1000;
  EXPECT_EQ(test::error_of([&] { preview(made, repository(), clock_, reporter_, {}); }).message(),
            error.message());
  made.target.kind = recovery::TargetKind::kImmediate;
  preview(made, repository(), clock_, reporter_, {});
  made.target.kind = recovery::TargetKind::kLatest;
  number = 0;
  made.without_own_wal = true;
  EXPECT_EQ(run(made).moved_aside.size(), 1U);
  expect_laid(directory);
}

TEST_F(RestoreTest, InPlaceSavesOldWalClearsTheRestAndKeepsWhatIsNotItsOwn) {
  take_backup();
  const std::string directory = make_old_directory();
  RestoreOptions made = in_place(directory);
  std::string salvaged;
  made.salvage = [&](const std::string& pg_wal, bool) {
    salvaged = pg_wal;
    EXPECT_TRUE(lstat_if_exists(join_path(directory, "base/5/1259")));
    return SalvagedWal{.unsaved = {"000000010000000000000002"}};
  };
  const RestoreResult result = run(made);
  EXPECT_EQ(salvaged, join_path(directory, "pg_wal"));
  expect_laid(directory);
  EXPECT_FALSE(lstat_if_exists(join_path(directory, "base/5")));
  // pg_wal stays a link to its disk, emptied; what could not be saved is beside the directory.
  EXPECT_EQ(read_link(join_path(directory, "pg_wal")), path("wal-disk"));
  EXPECT_FALSE(lstat_if_exists(path("wal-disk/000000010000000000000001")));
  ASSERT_EQ(result.moved_aside.size(), 1U);
  EXPECT_EQ(result.moved_aside[0].second,
            directory + ".holdfast-salvage-20261122T082239Z/000000010000000000000002");
  EXPECT_TRUE(lstat_if_exists(result.moved_aside[0].second));
  // The tablespace is where it was, with this backup's files alone, and what else lies in its
  // directory.
  EXPECT_EQ(read_link(join_path(directory, "pg_tblspc/16400")), old_tablespace_);
  EXPECT_FALSE(lstat_if_exists(fmt::format("{}/{}/stale", old_tablespace_, kVersionDirectory)));
  EXPECT_EQ(text(join_path(old_tablespace_, "somebody-elses")), "kept");
  EXPECT_EQ(text(join_path(directory, "tablespace_map")),
            fmt::format("16400 {}\n", old_tablespace_));
  // It is the cluster itself: it archives as it did.
  const pg::ConfFile conf(text(join_path(directory, "postgresql.auto.conf")));
  EXPECT_EQ(conf.value("archive_mode"), std::nullopt);
  EXPECT_EQ(conf.value("recovery_target_timeline"), "1");
  EXPECT_EQ(pg::ConfFile(text(join_path(directory, "postgresql.conf"))).value("data_directory"),
            std::nullopt);
}

// The four files of a server that is configured otherwise than it was at the backup.
void put_configuration(const std::string& directory) {
  const std::pair<const char*, const char*> files[] = {
      {"postgresql.conf", "work_mem = 11MB\ninclude_dir 'conf.d'\n"},
      {"conf.d/more.conf", "max_connections = 500\n"},
      {"postgresql.auto.conf", "port = 6000\n"},
      {"pg_hba.conf", "local all all peer\n"},
      {"pg_ident.conf", ""}};
  make_directories(directory + "/conf.d");
  for (const auto& [name, content] : files)
    write_file_durably(join_path(directory, name), as_bytes(content));
}

TEST_F(RestoreTest, InPlaceTheConfigurationThatIsThereStaysWhenItIsWhole) {
  take_backup();
  const std::string directory = make_old_directory();
  put_configuration(directory);
  for (const bool delta : {false, true}) {
    RestoreOptions made = in_place(directory);
    made.delta = delta;
    const RestoreResult result = run(made);
    expect_laid(directory);
    EXPECT_EQ(result.configuration, "as it is there");
    EXPECT_EQ(text(join_path(directory, "postgresql.conf")),
              "work_mem = 11MB\ninclude_dir 'conf.d'\n");
    EXPECT_EQ(text(join_path(directory, "conf.d/more.conf")), "max_connections = 500\n");
    const pg::ConfFile conf(text(join_path(directory, "postgresql.auto.conf")));
    EXPECT_EQ(conf.value("port"), "6000");
    EXPECT_EQ(conf.value("work_mem"), std::nullopt);
    EXPECT_EQ(conf.value("max_connections"), std::nullopt);  // 500 is more than the WAL needs
  }
}

TEST_F(RestoreTest, InPlaceAConfigurationThatIsNotWholeIsTheBackups) {
  take_backup();
  const std::string directory = make_old_directory();
  for (const char* lost : {"pg_hba.conf", "postgresql.auto.conf", "postgresql.conf", "conf.d"}) {
    put_configuration(directory);
    if (lost == std::string("conf.d")) {
      // A line that the server would refuse.
      write(join_path(directory, "conf.d/more.conf"), "max_connections = \n");
    } else {
      remove_file(join_path(directory, lost));
    }
    const RestoreResult result = run(in_place(directory));
    EXPECT_NE(result.configuration, "as it is there") << lost;
    EXPECT_EQ(text(join_path(directory, "postgresql.conf")), "shared_buffers = '128MB'\n") << lost;
    EXPECT_FALSE(lstat_if_exists(join_path(directory, "conf.d"))) << lost;
  }
}

// What it has begun to lay may be another server's; what it left as it was is not.
TEST_F(RestoreTest, AnInterruptedRestoreKeepsTheConfigurationOnlyIfItHadKeptIt) {
  take_backup();
  const std::string directory = make_old_directory();
  for (const bool kept : {false, true}) {
    put_configuration(directory);
    interrupt(directory, old_tablespace_, "00112233", kept);
    EXPECT_EQ(run(in_place(directory)).configuration == "as it is there", kept);
  }
}

TEST_F(RestoreTest, TheDirectoryOfAStandbyBecomesAPrimarysOnlyByAWord) {
  take_backup();
  const std::string directory = make_old_directory();
  write(join_path(directory, "standby.signal"), "");
  const Error refused = refusal(in_place(directory));
  EXPECT_EQ(refused.code(), ErrorCode::kConflict);
  EXPECT_EQ(refused.message(), fmt::format("\"{}\" is the data directory of a standby", directory));
  EXPECT_NE(refused.hint().find("--action promote"), std::string::npos) << refused.hint();
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "global/pg_control")));
  RestoreOptions made = in_place(directory);
  made.action_is_named = true;
  run(made);
  EXPECT_FALSE(lstat_if_exists(join_path(directory, "standby.signal")));
}

// It may have been promoted since it was backed up: what is there says so.
TEST_F(RestoreTest, WhatAServerWasItsLastBackupTellsOnlyWhereTheDirectoryDoesNot) {
  const std::string directory = make_old_directory();
  standbys_directory_ = directory;
  take_backup();
  const auto expect_refused = [&] {
    const Error refused = refusal(in_place(directory));
    EXPECT_EQ(refused.message(),
              fmt::format("\"{}\" is the data directory of a standby", directory));
    EXPECT_NE(refused.detail().find("when backup"), std::string::npos) << refused.detail();
  };
  // A standby's, of which the signal is lost.
  const std::string control = join_path(directory, "global/pg_control");
  for (const auto state :
       {pg::ClusterState::kShutDownInRecovery, pg::ClusterState::kInArchiveRecovery}) {
    write_file_durably(control, control_file_of(kSystemIdentifier, state));
    expect_refused();
  }
  write_file_durably(control, control_file_of(kSystemIdentifier, pg::ClusterState::kInProduction));
  EXPECT_TRUE(run(in_place(directory)).in_place);
  remove_tree(directory);
  make_directory(directory);
  expect_refused();
}

// What would be laid there is hidden when the disk is mounted again.
TEST_F(RestoreTest, InPlaceLaysNothingWhereADiskIsNotMounted) {
  tablespace_mount_ = parent_path(old_tablespace_);
  const std::string directory = make_old_directory();
  data_directory_ = data_mount_ = directory;
  take_backup();
  const auto empty = [](const std::string& place) {
    remove_tree(place);
    make_directory(place);
  };
  empty(old_tablespace_);
  RestoreOptions made = in_place(directory);
  const Error tablespace = refusal(made);
  EXPECT_EQ(tablespace.code(), ErrorCode::kConflict);
  EXPECT_EQ(tablespace.message(), "the file system of tablespace 16400 is not mounted");
  const std::string word = fmt::format("--tablespace 16400={}", old_tablespace_);
  EXPECT_NE(tablespace.hint().find(word), std::string::npos) << tablespace.hint();
  // A cluster that is there says that its directory is where it is meant to be.
  made.tablespaces = {{.was = "16400", .to = old_tablespace_}};
  EXPECT_TRUE(run(made).in_place);
  // The mount points alone.
  empty(old_tablespace_);
  empty(directory);
  EXPECT_EQ(refusal(made).message(), "the file system of the data directory is not mounted");
  EXPECT_TRUE(is_empty_directory(directory));
  made.without_own_wal = true;
  EXPECT_TRUE(run(made).in_place);
  made = options();
  EXPECT_FALSE(run(made).in_place);
}

// The data directory's disk is lost, and that of pg_wal is not.
TEST_F(RestoreTest, InPlaceDoesNotPassOverWalOnADiskOfItsOwn) {
  const std::string directory = make_old_directory();
  data_directory_ = directory;
  wal_directory_ = path("wal-disk");
  take_backup();
  remove_tree(old_tablespace_);
  remove_tree(directory);
  const RestoreOptions made = in_place(directory);
  const Error refused = refusal(made);
  EXPECT_EQ(refused.code(), ErrorCode::kConflict);
  EXPECT_EQ(refused.message(), fmt::format("the WAL of the server of \"{}\" lies in \"{}\"",
                                           directory, wal_directory_));
  // What the hint says works.
  const std::string commands =
      fmt::format("mkdir -p {0} && ln -s {1} {0}/pg_wal", directory, wal_directory_);
  EXPECT_NE(refused.hint().find(commands), std::string::npos) << refused.hint();
  run_checked({.arguments = {"sh", "-c", commands}});
  EXPECT_EQ(run(made).moved_aside.size(), 1U);
  EXPECT_EQ(read_link(join_path(directory, "pg_wal")), wal_directory_);
  // Nothing is in it.
  remove_tree(directory);
  remove_tree(old_tablespace_);
  EXPECT_TRUE(run(made).in_place);
  const std::string words =
      fmt::format("\"{}/pg_wal\" was a link to \"{}\"", directory, wal_directory_);
  EXPECT_TRUE(std::ranges::any_of(reporter_.warnings(), [&](const std::string& warning) {
    return warning.starts_with(words);
  }));
}

TEST_F(RestoreTest, InPlaceNamesTheClusterThatWasMovedAside) {
  const std::string directory = make_old_directory();
  data_directory_ = directory;
  take_backup();
  remove_tree(old_tablespace_);
  const std::string aside = directory + ".broken";
  rename_path(directory, aside);
  const auto is_named = [&] {
    return std::ranges::any_of(reporter_.warnings(), [&](const std::string& warning) {
      return warning.starts_with(
                 fmt::format("\"{}\" is a data directory of this cluster", aside)) &&
             warning.ends_with("holdfast wal salvage " + aside);
    });
  };
  preview(in_place(directory), repository(), clock_, reporter_, {});
  EXPECT_TRUE(is_named());
  EXPECT_TRUE(run(in_place(directory)).in_place);
}

// The server would write onto what it finds there: another cluster's files, or its own of a time
// that is not yet.
TEST_F(RestoreTest, InPlaceLetsNoTablespaceOfTheWalComeOntoFiles) {
  const std::string place = path("disk");
  take_backup([&](WalBuilder& wal) { add_tablespace(wal, 16999, place); });
  const std::string directory = make_old_directory();
  const std::string file = fmt::format("{}/{}/5/16390", place, kVersionDirectory);
  make_directories(parent_path(file));
  write(file, "somebody's");
  const RestoreOptions made = in_place(directory);
  const Error refused = refusal(made);
  EXPECT_EQ(refused.code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(refused.message(),
            fmt::format("tablespace directory \"{}/{}\" is not empty", place, kVersionDirectory));
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "base/5/1259")));
  // Where the old directory leads there it is its own, and cleared.
  EXPECT_EQ(symlink(place.c_str(), join_path(directory, "pg_tblspc/16999").c_str()), 0);
  EXPECT_TRUE(run(made).in_place);
  EXPECT_FALSE(lstat_if_exists(file));
}

// Two recoveries to one target have one history, word for word.
TEST_F(RestoreTest, ATimelineIsTakenByItsHistoryOrByItsWal) {
  take_backup();
  const std::string directory = make_old_directory();
  const std::string history = "1\t0/1000200\tbefore 2026-11-22\n";
  write(join_path(directory, "pg_wal/00000002.history"), history);
  const auto taken = [&] {
    return find_taken_timeline(directory, {2}, repository(), lineage().name.cluster);
  };
  EXPECT_FALSE(taken());
  put_history(2, history);
  EXPECT_FALSE(taken());
  WalBuilder wal;
  wal.set_timeline({2});
  add_commit(wal, 71, 70);
  wal.add_switch();
  put_segment(wal, 0);
  const std::optional<Error> by_wal = taken();
  ASSERT_TRUE(by_wal);
  EXPECT_EQ(by_wal->message(), "timeline 2 is taken: this server cannot archive");
  EXPECT_TRUE(by_wal->detail().starts_with("WAL segment \"000000020000000000000001\" was archived"))
      << by_wal->detail();
  write(join_path(directory, "pg_wal/00000002.history"), history + "#");
  EXPECT_TRUE(
      taken()->detail().starts_with(R"(Host "db1" has archived another "00000002.history")"))
      << taken()->detail();
}

// By hand it is started by somebody who does not know of holdfast.
TEST_F(RestoreTest, TheServerItselfTakesTheSettingsOutWhenItsRecoveryHasEnded) {
  take_backup();
  const std::string directory = make_old_directory();
  put_configuration(directory);
  write(join_path(directory, "conf.d/more.conf"),
        "max_connections = 500\nrecovery_end_command = 'rm /tmp/trigger'\n");
  for (const bool is_copy : {false, true}) {
    RestoreOptions made = is_copy ? options() : in_place(directory);
    made.end_command = "holdfast finish --recovery-ended .";
    for (int again = 0; again < (is_copy ? 1 : 2); ++again) {
      run(made);
      const pg::ConfFile conf(text(join_path(made.directory, "postgresql.auto.conf")));
      const std::string own = made.end_command + " || exit 1";
      EXPECT_EQ(
          conf.value("recovery_end_command"),
          is_copy ? own : fmt::format("(rm /tmp/trigger); status=$?; ({}); exit $status", own));
    }
    const FinishOptions ended{.data_directory = made.directory, .recovery_ended = true};
    EXPECT_EQ(test::error_of([&] { finish(ended, reporter_, {}); }).code(), ErrorCode::kConflict);
    EXPECT_FALSE(cluster::has_left_recovery_settings(made.directory));
    remove_file(join_path(made.directory, "recovery.signal"));
    EXPECT_TRUE(cluster::has_left_recovery_settings(made.directory));
    const std::string claim = read_state(made.directory).value().claim;
    EXPECT_FALSE(claim.empty());
    const TargetLock held_by_who_started_it = TargetLock::take(made.directory);
    EXPECT_EQ(finish(ended, reporter_, {}).claim, claim);
    const pg::ConfFile conf(text(join_path(made.directory, "postgresql.auto.conf")));
    EXPECT_EQ(conf.value("restore_command"), std::nullopt);
    EXPECT_EQ(conf.value("recovery_end_command"), is_copy ? std::optional("") : std::nullopt);
    EXPECT_FALSE(lstat_if_exists(join_path(made.directory, kStateName)));
    EXPECT_FALSE(cluster::has_left_recovery_settings(made.directory));
  }
}

TEST_F(RestoreTest, WithoutASalvageUnarchivedWalIsMovedAside) {
  take_backup();
  const RestoreResult result = run(in_place(make_old_directory()));
  ASSERT_EQ(result.moved_aside.size(), 1U);
  EXPECT_TRUE(result.moved_aside[0].first.ends_with("000000010000000000000002"));
}

TEST_F(RestoreTest, InPlaceMakesADirectoryThatIsGone) {
  take_backup();
  const std::string directory = path("gone/15/main");
  run(in_place(directory));
  expect_laid(directory);
  EXPECT_EQ(stat_if_exists(directory)->st_mode & 07777, 0750U);
}

TEST_F(RestoreTest, InPlaceRefusesWhatItMustNotClear) {
  take_backup();
  const std::string directory = make_old_directory(kSystemIdentifier + 1);
  const Error other = refusal(in_place(directory));
  EXPECT_EQ(other.code(), ErrorCode::kWrongCluster);
  EXPECT_EQ(other.message(), fmt::format("data directory \"{}\" is of another cluster", directory));
  EXPECT_EQ(other.hint(),
            fmt::format("Check --cluster and cluster.pgdata, or restore elsewhere with --into DIR. "
                        "If that is the empty cluster which a package has made, or nothing in it "
                        "is needed, stop its server, move it away with \"mv {0} {0}.old\", and "
                        "run the command again.",
                        directory));

  write_file_durably(join_path(directory, "global/pg_control"), control_file_of(kSystemIdentifier));
  RestoreOptions unconfirmed = in_place(directory);
  unconfirmed.yes = false;
  const Error usage = failure(unconfirmed);
  EXPECT_EQ(usage.code(), ErrorCode::kUsage);
  EXPECT_EQ(usage.message(), fmt::format("data directory \"{}\" would be cleared", directory));
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "base/5/1259")));

  make_directory(path("home"));
  write(path("home/letter.txt"), "dear");
  const Error foreign = refusal(in_place(path("home")));
  EXPECT_EQ(foreign.code(), ErrorCode::kConflict);
  EXPECT_EQ(foreign.message(),
            fmt::format("directory \"{}\" holds other files than a cluster's", path("home")));
  EXPECT_TRUE(lstat_if_exists(path("home/letter.txt")));

  // A tablespace whose files the data directory does not show to be its own.
  remove_file(join_path(directory, "pg_tblspc/16400"));
  const Error tablespace = refusal(in_place(directory));
  EXPECT_EQ(tablespace.code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(tablespace.message(), fmt::format("tablespace directory \"{}/{}\" is not empty",
                                              old_tablespace_, kVersionDirectory));
  EXPECT_TRUE(lstat_if_exists(join_path(directory, "global/pg_control")));
}

// A path is mistyped: "/srv" has a "base" in it.
TEST_F(RestoreTest, ADirectoryWithoutAControlFileIsClearedOnlyWhenNothingInItIsAStrangers) {
  files_.push_back({.path = "notes", .type = EntryType::kDirectory, .mode = 0700});
  files_.push_back({.path = "notes/plan.txt", .content = to_bytes("the administrator's")});
  take_backup();
  const std::string srv = path("srv");
  for (const char* name : {"", "/base", "/base/images", "/mail", "/www", "/global"})
    make_directory(srv + name);
  write(srv + "/mail/inbox", "precious");
  const auto refused_with = [&](ErrorCode code, std::string_view message) {
    for (const bool delta : {false, true}) {
      RestoreOptions made = in_place(srv);
      made.delta = delta;
      const Error refused = refusal(made);
      EXPECT_EQ(refused.code(), code) << refused.message();
      EXPECT_NE(refused.message().find(message), std::string::npos) << refused.message();
      EXPECT_EQ(text(srv + "/mail/inbox"), "precious");
      EXPECT_FALSE(lstat_if_exists(join_path(srv, kMarkerName)));
      const bool says_the_way =
          refused.hint().find(fmt::format("holdfast wal salvage {}", srv)) != std::string::npos;
      EXPECT_EQ(says_the_way, code == ErrorCode::kConflict) << refused.hint();
    }
  };
  refused_with(ErrorCode::kConflict, "holds other files than a cluster's");
  // Names that anybody may have are no evidence, nor are a cluster's files of configuration.
  for (const char* name : {"postgresql.conf", "pg_hba.conf", "pg_ident.conf"})
    write(join_path(srv, name), "");
  refused_with(ErrorCode::kConflict, "holds other files than a cluster's");
  // A destroyed cluster among them.
  for (const char* name : {"pg_wal", "pg_xact", "pg_tblspc", "lost+found", "notes"})
    make_directory(join_path(srv, name));
  ASSERT_EQ(symlink("/nowhere", join_path(srv, "link").c_str()), 0);
  refused_with(ErrorCode::kConflict, "not known to be the cluster's: \"mail\", \"www\"");
  write(srv + "/PG_VERSION", "14\n");
  refused_with(ErrorCode::kWrongCluster, "is of another cluster");
  write(srv + "/PG_VERSION", "15\n");
  write(srv + "/global/pg_control", "damaged");
  refused_with(ErrorCode::kConflict, "\"mail\", \"www\"");

  for (const char* name : {"mail", "www"})
    rename_path(join_path(srv, name), path(std::string("moved-") + name));
  run(in_place(srv));
  expect_laid(srv);
  EXPECT_FALSE(lstat_if_exists(srv + "/base/images"));
  EXPECT_EQ(text(path("moved-mail/inbox")), "precious");
}

// With pg_wal on a disk of its own that is what is left of a cluster whose directory was removed.
TEST_F(RestoreTest, ADirectoryOfWhichOnlyPgWalIsLeftIsShownByTheWalInIt) {
  take_backup();
  const std::string left = path("left"), disk = path("disk");
  make_directory(left);
  make_directory(disk);
  ASSERT_EQ(symlink(disk.c_str(), (left + "/pg_wal").c_str()), 0);
  const uint64_t own = lineage().system_identifier;
  for (const uint64_t system : {own + 1, own}) {
    WalBuilder wal({.system_identifier = system});
    wal.add_filler(100);
    wal.add_switch();
    const Bytes segment = wal.segment(0);
    write(disk + "/000000010000000000000009", as_text(segment));
    if (system != own) {
      EXPECT_NE(refusal(in_place(left)).message().find("holds other files than a cluster's"),
                std::string::npos);
    }
  }
  run(in_place(left));
  expect_laid(left);
}

// It is shown by its marker, or by the names; a copy's directory was empty when it was begun.
TEST_F(RestoreTest, WhatWasPutIntoAnInterruptedRestoreIsNotClearedUnlessItIsInPlace) {
  take_backup();
  run(options());
  for (const std::string& directory : {into_, make_old_directory()}) {
    interrupt(directory, old_tablespace_, "00112233");
    write(join_path(directory, "report.ods"), "mine");
  }
  const Error refused = refusal(options());
  EXPECT_EQ(refused.code(), ErrorCode::kConflict);
  EXPECT_NE(refused.message().find("\"report.ods\""), std::string::npos) << refused.message();
  EXPECT_EQ(text(join_path(into_, "report.ods")), "mine");
  remove_file(join_path(into_, "report.ods"));
  run(options());
  // The restore in place had begun to clear this one, and was told to.
  run(in_place(path("old")));
  expect_laid(path("old"));
}

TEST_F(RestoreTest, WhatOthersKeepWherePgWalLeadsStays) {
  take_backup();
  const std::string directory = make_old_directory();
  make_directory(path("wal-disk/others"));
  write(path("wal-disk/others/file"), "kept");
  for (const bool delta : {false, true}) {
    write_file_durably(path("wal-disk/000000010000000000000007"), Bytes(16));
    RestoreOptions made = in_place(directory);
    made.delta = delta;
    made.salvage = [](const std::string&, bool) { return SalvagedWal(); };
    run(made);
    EXPECT_EQ(text(path("wal-disk/others/file")), "kept");
    EXPECT_FALSE(lstat_if_exists(path("wal-disk/000000010000000000000007")));
  }
}

// Where WAL that cannot be archived is to go is found out while nothing is gone.
TEST_F(RestoreTest, AnUnmakeablePlaceForUnsavedWalLeavesTheClusterAsItWas) {
  take_backup();
  const std::string directory = make_old_directory();
  const std::string beside = directory + ".holdfast-salvage-20261122T082239Z";
  const std::string within = directory + "/holdfast_salvage-20261122T082239Z";
  const std::string control = join_path(directory, "global/pg_control");
  const std::string first = "000000010000000000000001", second = "000000010000000000000002";
  const Bytes wal = read_file(path("wal-disk/" + second));
  RestoreOptions made = in_place(directory);
  made.salvage = [&](const std::string&, bool) { return SalvagedWal{.unsaved = {first, second}}; };
  const auto expect_untouched = [&] {
    EXPECT_EQ(read_file(control), control_file_of(kSystemIdentifier));
    EXPECT_FALSE(lstat_if_exists(join_path(directory, kMarkerName)));
    EXPECT_EQ(text(join_path(directory, "base/5/1259")), "old");
    for (const std::string& name : {first, second})
      EXPECT_EQ(read_file(path("wal-disk/" + name)), wal) << name;
    EXPECT_TRUE(lstat_if_exists(path("wal-disk/archive_status/" + second + ".ready")));
  };
  // Neither beside the directory nor in it; then only the second file cannot be moved.
  for (const bool delta : {false, true}) {
    made.delta = delta;
    write(beside, "a file");
    write(within, "a file");
    failure(made);
    expect_untouched();
    remove_file(beside);
    make_directories(join_path(beside, second));
    failure(made);
    expect_untouched();
    EXPECT_FALSE(lstat_if_exists(join_path(beside, first)));
    remove_tree(beside);
    remove_file(within);
  }

  // In the directory, if need be: there it stays, whatever is restored over it.
  write(beside, "a file");
  made.delta = false;
  const RestoreResult result = run(made);
  ASSERT_EQ(result.moved_aside.size(), 2U);
  EXPECT_EQ(result.moved_aside[1].second, join_path(within, second));
  expect_laid(directory);
  for (const bool delta : {false, true}) {
    made.delta = delta;
    made.salvage = [](const std::string&, bool) { return SalvagedWal(); };
    run(made);
    EXPECT_EQ(read_file(join_path(within, second)), wal);
  }
}

TEST_F(RestoreTest, ConfigurationFilesFromOutsideGoBackInPlaceUnlessTheyAreThere) {
  const std::string etc = path("etc/15/main");
  files_.push_back({.root = ManifestRoot::kOutside,
                    .path = etc + "/postgresql.conf",
                    .content = to_bytes("include_dir = 'conf.d'\n"),
                    .mode = 0644});
  files_.push_back({.root = ManifestRoot::kOutside,
                    .path = etc + "/conf.d/more.conf",
                    .content = to_bytes("max_connections = 500\n"),
                    .mode = 0644});
  files_.push_back({.root = ManifestRoot::kOutside,
                    .path = etc + "/pg_hba.conf",
                    .content = to_bytes("local all all peer\n"),
                    .mode = 0640});
  std::erase_if(files_, [](const MadeUpFile& file) { return file.path == "postgresql.conf"; });
  take_backup();
  make_directories(etc);
  write(etc + "/pg_hba.conf", "changed since\n");
  const RestoreResult result = run(in_place(path("data")));
  EXPECT_EQ(text(etc + "/postgresql.conf"), "include_dir = 'conf.d'\n");
  EXPECT_EQ(stat_if_exists(etc + "/postgresql.conf")->st_mode & 07777, 0644U);
  EXPECT_EQ(text(etc + "/conf.d/more.conf"), "max_connections = 500\n");
  EXPECT_EQ(text(etc + "/pg_hba.conf"), "changed since\n");
  EXPECT_EQ(result.outside_files,
            (std::vector<std::string>{etc + "/conf.d/more.conf", etc + "/postgresql.conf"}));
  // 500 is in force already, so the floor of 150 changes nothing.
  EXPECT_EQ(pg::ConfFile(text(path("data/postgresql.auto.conf"))).value("max_connections"),
            std::nullopt);
  EXPECT_EQ(text(path("data/holdfast_outside") + etc + "/pg_hba.conf"), "local all all peer\n");
  const std::vector<std::string> warnings = reporter_.warnings();
  EXPECT_TRUE(std::ranges::any_of(warnings, [&](const std::string& warning) {
    return warning.starts_with(
        fmt::format("\"{}/pg_hba.conf\" is there and is left as it is, but it differs", etc));
  }));
  EXPECT_TRUE(result.configuration.ends_with(
      "but 1 file outside the data directory was there and left, and differs"))
      << result.configuration;
}

TEST_F(RestoreTest, ConfigurationFilesFromOutsideMoveIntoACopy) {
  const std::string etc = "/etc/no-such-place/15/main";
  files_.push_back(
      {.root = ManifestRoot::kOutside,
       .path = etc + "/postgresql.conf",
       .content = to_bytes(fmt::format(
           "data_directory = '/var/lib/x'\nhba_file = '{0}/pg_hba.conf'\ninclude_dir = 'conf.d'\n"
           "include '{0}/conf.d/more.conf'\ninclude '/etc/no-such-place/shared.conf'\n"
           "external_pid_file = '/run/x.pid'\n",
           etc)),
       .mode = 0644});
  files_.push_back({.root = ManifestRoot::kOutside,
                    .path = etc + "/conf.d/more.conf",
                    .content = to_bytes("max_connections = 500\n")});
  files_.push_back({.root = ManifestRoot::kOutside,
                    .path = etc + "/pg_hba.conf",
                    .content = to_bytes("local all all peer\n")});
  files_.push_back({.root = ManifestRoot::kOutside,
                    .path = "/etc/no-such-place/shared.conf",
                    .content = to_bytes("work_mem = '1MB'\n")});
  std::erase_if(files_, [](const MadeUpFile& file) { return file.path == "postgresql.conf"; });
  take_backup();
  run(options());
  const std::string conf = text(join_path(into_, "postgresql.conf"));
  const pg::ConfFile parsed(conf);
  for (const char* place : {"data_directory", "hba_file", "external_pid_file"})
    EXPECT_EQ(parsed.value(place), std::nullopt) << place;
  EXPECT_NE(conf.find("include_dir = 'conf.d'\n"), std::string::npos);
  EXPECT_NE(conf.find("include 'conf.d/more.conf'\n"), std::string::npos);
  EXPECT_NE(conf.find("include 'holdfast_outside/etc/no-such-place/shared.conf'\n"),
            std::string::npos);
  EXPECT_EQ(text(join_path(into_, "conf.d/more.conf")), "max_connections = 500\n");
  EXPECT_EQ(text(join_path(into_, "pg_hba.conf")), "local all all peer\n");
}

TEST_F(RestoreTest, AnUnfinishedLastSegmentIsLaidIntoPgWal) {
  WalBuilder wal;
  take_backup([&](WalBuilder& building) {
    add_commit(building, 30, 14);
    wal = building;
  });
  // What take_backup added behind the copy.
  add_commit(wal, 12, 15);
  wal.add_switch();
  add_commit(wal, 40, 20);
  put_segment(wal, 1, true);
  const RestoreResult result = run(options());
  ASSERT_TRUE(result.plan.tail);
  EXPECT_TRUE(read_file(join_path(into_, "pg_wal/000000010000000000000002")) == wal.segment(1));
}

TEST_F(RestoreTest, ABackupWithoutItsLabelIsRefused) {
  std::erase_if(files_, [](const MadeUpFile& file) { return file.path == "backup_label"; });
  take_backup();
  const Error error = refusal(options());
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "backup 20261122T081200Z-aaaaaa has no backup_label");
  EXPECT_FALSE(lstat_if_exists(join_path(into_, "global/pg_control")));
}

// --- Delta --------------------------------------------------------------------------------------

// pg_control comes behind what the recovery needs: what fails before it leaves nothing that starts.
TEST_F(RestoreTest, AnErrorInTheLastFilesLeavesNothingThatStarts) {
  auto control = std::ranges::find(files_, "global/pg_control", &MadeUpFile::path);
  control->content = control_file_of(kSystemIdentifier + 1);
  take_backup();
  failure(options());
  EXPECT_TRUE(lstat_if_exists(join_path(into_, "PG_VERSION"))) << "it was laid";
  EXPECT_FALSE(lstat_if_exists(join_path(into_, "global/pg_control")));
}

TEST_F(RestoreTest, ADeltaWritesWhatDiffersByContentAndKeepsTheRest) {
  take_backup();
  run(options());
  auto in = [&](const char* name) { return join_path(into_, name); };
  const ino_t kept_inode = stat_if_exists(in("base/1/odd"))->st_ino;
  // Same size, same times.
  const struct stat before = *stat_if_exists(in("base/1/16384"));
  Bytes changed = pattern(3 * kBlock, 1);
  changed[kBlock + 3] ^= std::byte{1};
  pwrite_all(open_file(in("base/1/16384"), O_WRONLY), changed, 0, "16384");
  const std::array<struct timespec, 2> times = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, in("base/1/16384").c_str(), times.data(), 0), 0);
  // Where zeros were, in the middle of a hole.
  pwrite_all(open_file(in("base/1/sparse"), O_WRONLY), pattern(kBlock, 9), 20 << 20, "sparse");
  // Too long, too short, gone, another's.
  pwrite_all(open_file(in("base/1/16386"), O_WRONLY), pattern(10, 9), 0, "16386");
  ASSERT_EQ(truncate(in("PG_VERSION").c_str(), 1), 0);
  remove_file(in("base/1/16385"));
  write(in("base/1/99999"), "stray");
  make_directory(in("base/7"));
  write(in("base/7/1259"), "stray");
  write(in("postmaster.opts"), "stray");
  ASSERT_EQ(chmod(in("base/1/odd").c_str(), 0), 0);
  ASSERT_EQ(chmod(in("base/1").c_str(), 0755), 0);
  write(in("pg_tblspc/stray"), "stray");
  const std::string moved = fmt::format("holdfast_tablespaces/16400/{}/", kVersionDirectory);
  write(in((moved + "stray").c_str()), "stray");
  make_directory(in("holdfast_tablespaces/16401"));

  RestoreOptions made = options();
  made.delta = made.yes = true;
  const RestoreResult result = run(made);
  expect_laid(into_);
  for (const char* name : {"base/1/99999", "base/7", "postmaster.opts", "pg_tblspc/stray",
                           "holdfast_tablespaces/16401"})
    EXPECT_FALSE(lstat_if_exists(in(name))) << name;
  EXPECT_FALSE(lstat_if_exists(in((moved + "stray").c_str())));
  EXPECT_EQ(stat_if_exists(in("base/1/odd"))->st_ino, kept_inode);
  // The hole is one again.
  EXPECT_LT(stat_if_exists(in("base/1/sparse"))->st_blocks * 512, 1 << 20);
  ASSERT_TRUE(result.delta);
  EXPECT_EQ(result.delta->bytes_kept + result.delta->bytes_written, result.bytes);
  // A block of 16384, one of sparse, 16385, PG_VERSION, what configure() had changed, and the last
  // files.
  EXPECT_GE(result.delta->bytes_written, 7U * kBlock);
  EXPECT_LT(result.delta->bytes_written, 9U * kBlock);
  EXPECT_EQ(result.delta->files_kept, 3U);  // odd, the tablespace's, and postgresql.conf

  // Once more: nothing is left to be done but what a restore always writes.
  EXPECT_EQ(run(made).delta->files_kept, 8U);
  expect_laid(into_);
}

TEST_F(RestoreTest, ADeltaInPlaceSavesTheOldWalFirst) {
  take_backup();
  const std::string directory = make_old_directory();
  make_directory(join_path(directory, "base/1"));
  write_file_durably(join_path(directory, "base/1/16384"), pattern(3 * kBlock, 1));
  write_file_durably(fmt::format("{}/{}/16500", old_tablespace_, kVersionDirectory),
                     pattern(kBlock, 3));
  RestoreOptions made = in_place(directory);
  made.delta = true;
  made.salvage = [&](const std::string&, bool) {
    EXPECT_TRUE(lstat_if_exists(cluster::control_file_path(directory)));
    return SalvagedWal{.unsaved = {"000000010000000000000002"}};
  };
  const RestoreResult result = run(made);
  expect_laid(directory);
  EXPECT_FALSE(lstat_if_exists(join_path(directory, "base/5")));
  EXPECT_EQ(read_link(join_path(directory, "pg_wal")), path("wal-disk"));
  EXPECT_FALSE(lstat_if_exists(path("wal-disk/000000010000000000000001")));
  ASSERT_EQ(result.moved_aside.size(), 1U);
  EXPECT_TRUE(lstat_if_exists(result.moved_aside[0].second));
  EXPECT_FALSE(lstat_if_exists(fmt::format("{}/{}/stale", old_tablespace_, kVersionDirectory)));
  EXPECT_EQ(text(join_path(old_tablespace_, "somebody-elses")), "kept");
  ASSERT_TRUE(result.delta);
  EXPECT_EQ(result.delta->bytes_kept, 4U * kBlock + 3);  // and PG_VERSION
  EXPECT_EQ(result.delta->files_kept, 3U);
}

// A copy made by "cp -a" shares what its links lead to, and one made by hard links its files.
TEST_F(RestoreTest, ADeltaOverACopyTouchesNothingOfTheOriginal) {
  take_backup();
  const std::string original = make_old_directory();
  make_directories(into_);
  make_directory(join_path(into_, "pg_tblspc"));
  make_directory(path("original-global"));
  write_file_durably(path("original-global/pg_control"), control_file_of(kSystemIdentifier));
  const std::pair<std::string, std::string> links[] = {{old_tablespace_, "pg_tblspc/16400"},
                                                       {path("wal-disk"), "pg_wal"},
                                                       {path("original-global"), "global"},
                                                       {join_path(original, "base"), "base"}};
  for (const auto& [target, name] : links)
    ASSERT_EQ(symlink(target.c_str(), join_path(into_, name).c_str()), 0);
  ASSERT_EQ(link(join_path(original, "PG_VERSION").c_str(), join_path(into_, "PG_VERSION").c_str()),
            0);
  write(join_path(original, "PG_VERSION"), "15\n");
  remove_file(join_path(into_, "PG_VERSION"));
  write(path("shared"), "XX\n");
  ASSERT_EQ(link(path("shared").c_str(), join_path(into_, "PG_VERSION").c_str()), 0);

  RestoreOptions made = options();
  made.delta = made.yes = true;
  run(made);
  expect_laid(into_);
  EXPECT_EQ(text(path("shared")), "XX\n");
  EXPECT_TRUE(lstat_if_exists(path("original-global/pg_control")));
  EXPECT_TRUE(lstat_if_exists(path("wal-disk/000000010000000000000001")));
  EXPECT_TRUE(lstat_if_exists(join_path(original, "base/5/1259")));
  EXPECT_EQ(text(fmt::format("{}/{}/stale", old_tablespace_, kVersionDirectory)), "old");
  EXPECT_EQ(read_link(join_path(into_, "pg_tblspc/16400")), "../holdfast_tablespaces/16400");

  // Nor does it lay anything where the original has its tablespace, though a link leads there.
  remove_file(join_path(into_, "pg_tblspc/16400"));
  ASSERT_EQ(symlink(old_tablespace_.c_str(), join_path(into_, "pg_tblspc/16400").c_str()), 0);
  made.tablespaces = {{.was = "16400", .to = old_tablespace_}};
  EXPECT_EQ(refusal(made).message(),
            fmt::format("tablespace directory \"{}\" is not empty", old_tablespace_));
}

TEST_F(RestoreTest, ADeltaKeepsATablespaceThatLiesInTheDataDirectory) {
  const std::string directory = path("main");
  const std::string inside = join_path(directory, "zz/inside");
  for (MadeUpFile& file : files_) {
    if (file.path == "pg_tblspc/16400") file.target = inside;
    if (file.path == "tablespace_map") file.content = to_bytes(fmt::format("16400 {}\n", inside));
  }
  tablespace_path_ = inside;
  take_backup();
  RestoreOptions made = in_place(directory);
  run(made);
  made.delta = true;
  write(join_path(directory, "zz-stray"), "");
  run(made);
  expect_laid(directory);
  EXPECT_FALSE(lstat_if_exists(join_path(directory, "zz-stray")));
}

TEST_F(RestoreTest, ADeltaMovesATablespaceAndKnowsItAgain) {
  take_backup();
  RestoreOptions made = options();
  made.delta = made.yes = true;
  made.tablespaces = {{.was = "16400", .to = path("disk/fast")}};
  run(made);  // into nothing: everything is written
  expect_laid(into_);
  EXPECT_EQ(run(made).delta->files_kept, 8U);
  expect_laid(into_);
  made.tablespaces.clear();
  run(made);
  expect_laid(into_);
  EXPECT_EQ(read_link(join_path(into_, "pg_tblspc/16400")), "../holdfast_tablespaces/16400");
  // What was laid there may be in use by now; it is named, not removed.
  EXPECT_TRUE(lstat_if_exists(fmt::format("{}/{}/16500", path("disk/fast"), kVersionDirectory)));
  const std::vector<std::string> notes = reporter_.notes();
  EXPECT_EQ(std::ranges::count(notes,
                               fmt::format("tablespace 16400 lay in \"{}\", which is left as it is",
                                           path("disk/fast"))),
            1);
}

TEST_F(RestoreTest, ADeltaRefusesWhatIsNotACopyOfTheCluster) {
  take_backup();
  RestoreOptions made = options();
  made.delta = true;
  make_directories(into_);
  write(join_path(into_, "precious"), "mine");
  made.yes = true;
  EXPECT_EQ(refusal(made).message(),
            fmt::format("directory \"{}\" is not known to be a copy of the cluster", into_));
  make_directory(join_path(into_, "global"));
  write_file_durably(join_path(into_, "global/pg_control"), control_file_of(kSystemIdentifier + 1));
  EXPECT_EQ(refusal(made).code(), ErrorCode::kWrongCluster);
  write_file_durably(join_path(into_, "global/pg_control"), control_file_of(kSystemIdentifier));
  made.yes = false;
  EXPECT_EQ(failure(made).message(),
            fmt::format("data directory \"{}\" would be written over", into_));
  EXPECT_EQ(text(join_path(into_, "precious")), "mine");

  // Where the cluster itself lived.
  made.yes = true;
  made.directory = data_directory_;
  make_directories(join_path(data_directory_, "global"));
  write_file_durably(join_path(data_directory_, "global/pg_control"),
                     control_file_of(kSystemIdentifier));
  EXPECT_EQ(refusal(made).message(),
            fmt::format("\"{}\" is the cluster's own data directory", data_directory_));
  EXPECT_EQ(refusal(made).hint(), "Use --in-place --delta, or name another directory.");
}

TEST_F(RestoreTest, AnInterruptedDeltaCanBeRunAgainAsADeltaOrInFull) {
  take_backup();
  RestoreOptions delta = options();
  delta.delta = delta.yes = true;
  run(options());
  for (uint64_t nth = 1;; ++nth) {
    SCOPED_TRACE(nth);
    // Once begun, a directory may lack them.
    if (is_directory(join_path(into_, "base/1"))) {
      write(join_path(into_, "base/1/16384"), "other");
      write(join_path(into_, "base/1/sparse"), "other");
    }
    test::FaultStore faulty(store(), nth);
    bool failed = false;
    try {
      const repo::Repository opened = repo::Repository::open(faulty, {});
      restore(delta, opened, clock_, reporter_, {});
    } catch (const Error& error) {
      failed = true;
      EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << error.message();
    }
    if (!faulty.fired()) {
      EXPECT_FALSE(failed);
      EXPECT_GT(nth, 10U);
      break;
    }
    if (!failed) continue;
    // Either it had not begun, or nothing starts on it.
    EXPECT_TRUE(lstat_if_exists(join_path(into_, kMarkerName)).has_value() !=
                lstat_if_exists(join_path(into_, "global/pg_control")).has_value());
    if (nth % 5 != 0) continue;  // the next one goes on where this one was stopped
    const bool begun = lstat_if_exists(join_path(into_, kMarkerName)).has_value();
    run(nth % 10 == 0 && begun ? options() : delta);
    expect_laid(into_);
  }
  expect_laid(into_);
}

// Tells whether, when the first byte of a manifest is read, an intent names the backup.
class WatchedStore : public test::FaultStore {
 public:
  explicit WatchedStore(store::Store& below)
      : FaultStore(below, test::Fault{.first = test::Fault::kAllFurther}) {}
  std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) override {
    watch(name);
    return FaultStore::read(name, offset, length);
  }
  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override {
    watch(name);
    return FaultStore::read_into(name, offset, into);
  }
  std::function<bool()> is_held;
  std::optional<bool> was_held;

 private:
  void watch(const std::string& name) {
    if (!was_held && name.find("/manifests/") != std::string::npos) was_held = is_held();
  }
};

TEST_F(RestoreTest, ACopyIsNotLaidInsideWhatIsAnothers) {
  take_backup();
  for (const char* mark : {"other/global/pg_control", "other/repo.json"}) {
    make_directories(path("other/global"));
    write(path(mark), "of it");
    ASSERT_EQ(symlink(path("other").c_str(), path("link").c_str()), 0);
    for (const char* place : {"other/new", "other/global/deep/new", "link/new"}) {
      RestoreOptions made = options();
      made.directory = path(place);
      const Error error = refusal(made);
      EXPECT_EQ(error.code(), ErrorCode::kConflict) << error.message();
      EXPECT_EQ(error.detail(), fmt::format("That is \"{}\".", path("other")));
    }
    remove_tree(path("other"));
    remove_file(path("link"));
  }
}

TEST_F(RestoreTest, NothingOfTheBackupIsReadBeforeItIsKeptFromExpiry) {
  take_backup();
  auto intents = [&] {
    return repo::read_valid_intents(repository(), lineage().name, store().now(), Microseconds{0});
  };
  WatchedStore watched(store());
  watched.is_held = [&] {
    const std::vector<repo::Intent> valid = intents();
    return valid.size() == 1 && valid[0].uses.size() == 1 && valid[0].wal_from.has_value();
  };
  const repo::Repository through = repo::Repository::open(watched, {});
  restore(options(), through, clock_, reporter_, {});
  EXPECT_EQ(watched.was_held, true);
  // Laid and not started: its WAL stays for whoever starts it.
  ASSERT_EQ(intents().size(), 1u);
  EXPECT_EQ(intents()[0].what, "recovery");
  EXPECT_TRUE(intents()[0].uses.empty());

  // One that is refused behind that holds nothing.
  write(path("taken"), "a file");
  RestoreOptions refused = options();
  refused.directory = path("taken/below");
  const size_t before = intents().size();
  refusal(refused);
  EXPECT_LE(intents().size(), before + 1);
}

// A copy that lies there, and one whose recovery goes on, hold what is still to be replayed.
TEST_F(RestoreTest, GoingOnKeepsTheWalFromExpiry) {
  take_backup();
  run(options());
  auto uses_wal = [&] {
    std::vector<pg::Lsn> from;
    for (const repo::Intent& intent :
         repo::read_valid_intents(repository(), lineage().name, store().now(), Microseconds{0}))
      if (intent.wal_from) from.push_back(*intent.wal_from);
    return from;
  };
  for (const store::ListEntry& entry :
       store().list({.prefix = repo::intents_folder(lineage().name)}).entries)
    store().remove(entry.name);
  ASSERT_TRUE(uses_wal().empty());
  RestoreOptions going_on = options();
  going_on.bindir = path("no-server-here");
  EXPECT_NE(test::error_of([&] { resume(going_on, repository(), clock_, reporter_, {}); }).code(),
            ErrorCode::kInternal);
  ASSERT_EQ(uses_wal().size(), 1u);
  EXPECT_LE(uses_wal()[0], pg::end_lsn(1, pg::WalSegmentSize(lineage().wal_segment_bytes)));

  for (const store::ListEntry& entry :
       store().list({.prefix = repo::intents_folder(lineage().name)}).entries)
    store().remove(entry.name);
  run(options());  // nothing is laid again
  EXPECT_EQ(uses_wal().size(), 1u);
}

TEST_F(RestoreTest, AnUnknownClusterIsNamed) {
  RestoreOptions made = options();
  made.cluster = "other";
  const Error error = refusal(made);
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "the repository has no cluster \"other\"");
}

TEST_F(RestoreTest, APromotionThatWouldFailForALostHistoryIsRefusedBeforeAnythingIsWritten) {
  take_backup();
  put_history(3, "1\t0/200000\tx\n2\t0/200000\tx\n");  // and 00000002.history is lost
  const Error error = refusal(options());
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(), "timeline history file \"00000002.history\" is not in the archive");
  EXPECT_FALSE(lstat_if_exists(into_));
  RestoreOptions to_look = options();
  to_look.action = recovery::TargetAction::kPause;
  run(to_look);
  EXPECT_TRUE(std::ranges::any_of(reporter_.warnings(), [](const std::string& warning) {
    return warning.starts_with("the server could not be promoted at its target: ");
  }));
}

}  // namespace
}  // namespace holdfast::restore
