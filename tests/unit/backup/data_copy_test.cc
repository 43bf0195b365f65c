#include "backup/data_copy.h"

#include <map>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "unit/backup/made_up_cluster.h"

namespace holdfast::backup {
namespace {

using test::BackupScene;
using test::error_of;
using test::kStartLsn;
using test::MadeUpCluster;
using test::make_page;
using test::make_pages;
using test::ReadBack;
using testing::Test;

class DataCopyTest : public Test {
 protected:
  DataCopyResult copy() { return scene_.copy(options_); }

  MadeUpCluster cluster_;
  BackupScene scene_;
  DataCopyOptions options_ = BackupScene::options(cluster_);
};

TEST_F(DataCopyTest, KeepsEveryFileAndDirectoryInTheOrderOfTheManifest) {
  Bytes large = make_pages(0, 5000);
  cluster_.put("base/5/1259", large);
  cluster_.put("base/5/1259_fsm", make_pages(0, 3));
  cluster_.put("base/5-old/x", as_bytes("sorts behind what is below base/5"));
  cluster_.put("base/5/2619", {});
  cluster_.put("pg_wal/000000010000000000000001", as_bytes("left out"));
  cluster_.put("postmaster.pid", as_bytes("left out"));
  DataCopyResult result = copy();
  ReadBack read = scene_.commit();
  EXPECT_EQ(read.order,
            (std::vector<std::string>{"PG_VERSION", "base", "base/5", "base/5/1259",
                                      "base/5/1259_fsm", "base/5/2619", "base/5-old",
                                      "base/5-old/x", "global", "pg_tblspc", "pg_wal"}));
  EXPECT_TRUE(scene_.content(read.entries["base/5/1259"]) == large);
  EXPECT_TRUE(read.entries["base/5/1259"].pages_verified);
  EXPECT_FALSE(read.entries["PG_VERSION"].pages_verified);
  EXPECT_EQ(read.entries["base/5"].type, repo::EntryType::kDirectory);
  EXPECT_EQ(read.entries["base/5"].mode, 0700u);
  EXPECT_EQ(result.files, 5u);
  EXPECT_EQ(result.files, read.backup.files);
  EXPECT_EQ(result.bytes, read.backup.bytes);
  EXPECT_EQ(result.damaged_blocks, 0u);
  EXPECT_FALSE(read.backup.damaged);
}

TEST_F(DataCopyTest, KeepsNamesOfAnyBytes) {
  const std::string names[] = {"with space", "a=b",   "back\\slash", "line\nbreak", "tab\there",
                               "\xFF\xFE",   "#hash", "[x]",         " lead",       "quote\"'"};
  for (const std::string& name : names) cluster_.put("odd/" + name, as_bytes(name));
  copy();
  ReadBack read = scene_.commit();
  for (const std::string& name : names) {
    auto found = read.entries.find("odd/" + name);
    ASSERT_NE(found, read.entries.end()) << name;
    EXPECT_EQ(as_text(scene_.content(found->second)), name);
  }
}

TEST_F(DataCopyTest, CopiesManySmallFilesThroughASmallWindow) {
  for (int number = 0; number < 3000; ++number)
    cluster_.put_sparse("base/5/" + std::to_string(20000 + number), 0);
  for (int number = 0; number < 300; ++number)
    cluster_.write_at("base/5/" + std::to_string(20000 + number * 10), 0,
                      make_page(0, static_cast<uint64_t>(number)));
  // One large file at the front, for which the others must wait.
  Bytes large = make_pages(0, 3 * 2048);
  cluster_.put("base/5/10000", large);
  options_.window_entries = 7;
  options_.jobs = 4;
  EXPECT_EQ(copy().files, 3002u);
  ReadBack read = scene_.commit();
  EXPECT_TRUE(scene_.content(read.entries["base/5/10000"]) == large);
  for (int number = 0; number < 300; ++number)
    EXPECT_EQ(scene_.content(read.entries["base/5/" + std::to_string(20000 + number * 10)]),
              make_page(0, static_cast<uint64_t>(number)));
}

TEST_F(DataCopyTest, LeavesOutUnloggedRelationsExceptTheirInitForks) {
  for (const char* name :
       {"16400", "16400.1", "16400_fsm", "16400_vm", "16400_init", "16401", "16401_vm", "t3_16402"})
    cluster_.put(std::string("base/5/") + name, {});
  copy();
  ReadBack read = scene_.commit();
  std::vector<std::string> kept;
  for (const std::string& path : read.order)
    if (path.starts_with("base/5/")) kept.push_back(path.substr(7));
  EXPECT_EQ(kept, (std::vector<std::string>{"16400_init", "16401", "16401_vm"}));
}

TEST_F(DataCopyTest, LeavesOutAForkWhoseInitForkAppearsAfterItWasListed) {
  // The entries before it are pages that cannot be verified without asking, which is when the init
  // fork is made.
  Bytes page = make_page(0, 1, kStartLsn);
  test::damage(page);
  cluster_.put("base/5/1000", page);
  cluster_.put("base/5/16400", {});
  options_.jobs = 1;
  options_.current_lsn = [this] {
    cluster_.put("base/5/16400_init", {});
    return pg::Lsn{0x6000000};
  };
  copy();
  ReadBack read = scene_.commit();
  EXPECT_TRUE(read.entries.contains("base/5/1000"));
  EXPECT_FALSE(read.entries.contains("base/5/16400"));
}

TEST_F(DataCopyTest, RecordsDamagedBlocksAndGoesOn) {
  Bytes pages = make_pages(0, 40);
  for (uint32_t block : {0, 1, 2, 3, 4, 5, 39}) test::damage(pages, block * 8192 + 5000);
  cluster_.put("base/5/1259", pages);
  cluster_.put("base/5/2619", make_pages(0, 2));
  DataCopyResult result = copy();
  EXPECT_EQ(result.damaged_blocks, 7u);
  ASSERT_EQ(result.damaged.size(), 7u);
  EXPECT_EQ(result.damaged[6].path, "base/5/1259");
  EXPECT_EQ(result.damaged[6].block, 39u);
  EXPECT_EQ(result.damaged[6].reason, 1u);
  ReadBack read = scene_.commit();
  EXPECT_TRUE(read.backup.damaged);
  EXPECT_EQ(read.backup.damaged_blocks, 7u);
  EXPECT_EQ(read.damaged.size(), 7u);
  EXPECT_TRUE(read.entries["base/5/1259"].has_damaged_blocks);
  EXPECT_FALSE(read.entries["base/5/1259"].pages_verified);
  EXPECT_TRUE(read.entries["base/5/2619"].pages_verified);
  EXPECT_TRUE(scene_.content(read.entries["base/5/1259"]) == pages);
  // Five blocks by name, then one line for the file.
  std::vector<std::string> warnings = scene_.reporter.warnings();
  ASSERT_EQ(warnings.size(), 6u);
  EXPECT_EQ(warnings[0], "block 0 of \"base/5/1259\" is damaged: its checksum does not match");
  EXPECT_EQ(warnings[5], "\"base/5/1259\" has 7 damaged blocks in all");
}

TEST_F(DataCopyTest, RecordsARelationMapThatIsNotWhole) {
  cluster_.put("base/5/pg_filenode.map", Bytes(512));
  DataCopyResult result = copy();
  ASSERT_EQ(result.damaged.size(), 1u);
  EXPECT_EQ(result.damaged[0].path, "base/5/pg_filenode.map");
  EXPECT_EQ(result.damaged[0].block, 0u);
  EXPECT_EQ(result.damaged[0].reason, 1u);
  EXPECT_TRUE(scene_.commit().backup.damaged);
}

TEST_F(DataCopyTest, AcceptsABadPageOnlyWhenTheServerHasWrittenThatFarSinceTheStart) {
  const struct {
    const char* name;
    pg::Lsn lsn;
    bool is_damage;
  } cases[] = {{"1000", kStartLsn - 1, true},
               {"1001", kStartLsn, false},
               {"1002", pg::Lsn{0x6000000}, false},
               {"1003", pg::Lsn{0x6000001}, true},
               {"1004", pg::Lsn{UINT64_MAX}, true}};
  for (const auto& c : cases) {
    Bytes page = make_page(0, 1, c.lsn);
    test::damage(page);
    cluster_.put(std::string("base/5/") + c.name, page);
  }
  EXPECT_EQ(copy().damaged_blocks, 3u);
  ReadBack read = scene_.commit();
  for (const auto& c : cases)
    EXPECT_EQ(read.entries[std::string("base/5/") + c.name].has_damaged_blocks, c.is_damage)
        << c.name;
}

TEST_F(DataCopyTest, CountsEveryBlockOfAFileFullOfDamage) {
  constexpr uint32_t kBlocks = kMaxFaults + 500;
  Bytes pages(kBlocks * pg::kPageBytes, std::byte{0x55});
  for (uint32_t block = 0; block < kBlocks; ++block)
    store_le<uint32_t>(pages.data() + block * pg::kPageBytes, 0);  // an LSN before the start
  cluster_.put("base/5/1259", pages);
  EXPECT_EQ(copy().damaged_blocks, kBlocks);
  // The caller's own count stands in the commit.
  scene_.writer.seal_contents();
  repo::Backup backup;
  backup.damaged_blocks = kBlocks;
  EXPECT_EQ(scene_.writer.commit(backup).damaged_blocks, kBlocks);
}

// By the server's own rule (PageIsVerified): what it would refuse to read is damage with and
// without checksums.
TEST_F(DataCopyTest, WithoutChecksumsAPageIsJudgedByItsHeader) {
  Bytes changed = make_page(0);
  test::damage(changed);         // in its data, which nothing vouches for
  Bytes crossed = make_page(0);  // its data begin before its line pointers end
  store_le<uint16_t>(crossed.data() + 12, 8000);
  store_le<uint16_t>(crossed.data() + 14, 7000);
  Bytes behind = make_page(0);
  store_le<uint16_t>(behind.data() + 16, 9000);  // the special space behind the page's end
  Bytes not_new = make_page(0);
  store_le<uint16_t>(not_new.data() + 14, 0);
  cluster_.put("base/5/1000", changed);
  cluster_.put("base/5/1001", Bytes(pg::kPageBytes));
  cluster_.put("base/5/1002", crossed);
  cluster_.put("base/5/1003", behind);
  cluster_.put("base/5/1004", not_new);
  options_.source.has_checksums = false;
  const DataCopyResult result = copy();
  EXPECT_EQ(result.damaged_blocks, 3u);
  for (const repo::DamagedBlock& block : result.damaged)
    EXPECT_EQ(block.reason, static_cast<uint8_t>(FaultReason::kPageHeader)) << block.path;
  for (const std::string& warning : scene_.reporter.warnings())
    EXPECT_TRUE(warning.ends_with("is damaged: its page header is not valid")) << warning;
  ReadBack read = scene_.commit();
  EXPECT_TRUE(read.backup.damaged);
  for (const auto& [name, is_damaged] : std::map<std::string, bool>{
           {"1000", false}, {"1001", false}, {"1002", true}, {"1003", true}, {"1004", true}}) {
    const repo::ManifestEntry& entry = read.entries["base/5/" + name];
    EXPECT_EQ(entry.has_damaged_blocks, is_damaged) << name;
    EXPECT_FALSE(entry.pages_verified) << name;
  }
}

TEST_F(DataCopyTest, ChecksTheLastBlocksOfASegmentAndTheFirstOfTheNext) {
  constexpr uint64_t kSegment = uint64_t{1} << 30;
  cluster_.put_sparse("base/5/1259", kSegment);
  cluster_.put_sparse("base/5/1259.1", kSegment);
  cluster_.write_at("base/5/1259", kSegment - pg::kPageBytes, make_page(131071));
  cluster_.write_at("base/5/1259.1", 0, make_page(131072));
  cluster_.write_at("base/5/1259.1", kSegment - pg::kPageBytes, make_page(262143));
  // The number within the file would be wrong here.
  cluster_.write_at("base/5/1259.1", pg::kPageBytes, make_page(1));
  DataCopyResult result = copy();
  ASSERT_EQ(result.damaged_blocks, 1u);
  EXPECT_EQ(result.damaged[0].path, "base/5/1259.1");
  EXPECT_EQ(result.damaged[0].block, 1u);
  ReadBack read = scene_.commit();
  EXPECT_EQ(read.backup.bytes, 2 * kSegment + 3);
  EXPECT_LT(read.backup.stored_bytes, 256u << 10);
}

TEST_F(DataCopyTest, KeepsTablespacesUnderTheirLinks) {
  TemporaryDirectory elsewhere;
  std::string version = options_.source.version_directory;
  make_directories(elsewhere.path() + "/" + version + "/5");
  make_directories(elsewhere.path() + "/PG_14_202107181/5");
  write_file_durably(elsewhere.path() + "/" + version + "/5/16500", make_pages(0, 1));
  ASSERT_EQ(symlink(elsewhere.path().c_str(), cluster_.path("pg_tblspc/16400").c_str()), 0);
  copy();
  ReadBack read = scene_.commit();
  EXPECT_EQ(read.entries["pg_tblspc/16400"].type, repo::EntryType::kSymlink);
  EXPECT_EQ(read.entries["pg_tblspc/16400"].target, elsewhere.path());
  std::string path = "pg_tblspc/16400/" + version + "/5/16500";
  ASSERT_TRUE(read.entries.contains(path));
  EXPECT_TRUE(read.entries[path].pages_verified);
  EXPECT_EQ(scene_.content(read.entries[path]), make_pages(0, 1));
  EXPECT_FALSE(read.entries.contains("pg_tblspc/16400/PG_14_202107181"));
}

TEST_F(DataCopyTest, KeepsALinkedWalDirectoryAsADirectory) {
  TemporaryDirectory elsewhere;
  remove_empty_directory(cluster_.path("pg_wal"));
  ASSERT_EQ(symlink(elsewhere.path().c_str(), cluster_.path("pg_wal").c_str()), 0);
  copy();
  ReadBack read = scene_.commit();
  EXPECT_EQ(read.entries["pg_wal"].type, repo::EntryType::kDirectory);
}

TEST_F(DataCopyTest, WarnsOfSpecialFiles) {
  ASSERT_EQ(mkfifo(cluster_.path("a_pipe").c_str(), 0600), 0);
  copy();
  ASSERT_EQ(scene_.reporter.warnings().size(), 1u);
  EXPECT_NE(scene_.reporter.warnings()[0].find("\"a_pipe\""), std::string::npos);
}

TEST_F(DataCopyTest, EndsWithTheErrorOfAWorker) {
  // Too large for a map.
  cluster_.put_sparse("base/5/1259", uint64_t{3} << 40);
  for (int number = 0; number < 50; ++number)
    cluster_.put("base/5/" + std::to_string(20000 + number), {});
  options_.window_entries = 3;
  Error error = error_of([this] { copy(); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  ASSERT_FALSE(error.context().empty());
  EXPECT_EQ(error.context().front(), "copying file \"base/5/1259\"");
}

TEST_F(DataCopyTest, EndsWhenTheSourceIsWorthNothingAnyMore) {
  Bytes page = make_page(0, 1, kStartLsn);
  test::damage(page);
  cluster_.put("base/5/1259", page);
  options_.current_lsn = []() -> pg::Lsn {
    throw Error({.code = ErrorCode::kServerUnavailable, .message = "gone"});
  };
  EXPECT_EQ(error_of([this] { copy(); }).code(), ErrorCode::kServerUnavailable);
}

TEST_F(DataCopyTest, AStopIsAnInterruptionAndNothingIsCommitted) {
  cluster_.put("base/5/1259", make_pages(0, 10));
  std::stop_source stop;
  stop.request_stop();
  Error error = error_of([&] { scene_.copy(options_, stop.get_token()); });
  EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
  EXPECT_TRUE(repo::list_backup_ids(scene_.stored.repository, scene_.stored.lineage.name).empty());
}

TEST_F(DataCopyTest, MeasuresWhatItWouldCopy) {
  cluster_.put("base/5/1259", make_pages(0, 10));
  EXPECT_EQ(measure_data_directory(cluster_.root()), 10 * pg::kPageBytes + 3 + 8192);
}

}  // namespace
}  // namespace holdfast::backup
