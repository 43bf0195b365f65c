// "backup import": base backups that pg_basebackup, "backup export" and GNU tar made are backups
// like our own; what is not whole, or of another cluster, is refused and leaves nothing.
#include <csignal>
#include <fcntl.h>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/oracle.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

// 15 is the newest that brings its client programs here; they take base backups of older servers.
constexpr int kClientMajor = 15;

class ImportScene : public RecoveryScene {
 public:
  using RecoveryScene::RecoveryScene;

  // "pg_basebackup -Ft -D <path(name)> WORDS". Returns the path.
  std::string pg_basebackup(const std::string& name, std::vector<std::string> words) {
    const std::string into = path(name);
    words.insert(words.begin(), {test_installation(kClientMajor).program("pg_basebackup"), "-d",
                                 server().conninfo(), "-D", into, "-Ft", "-c", "fast"});
    run_checked({.arguments = words});
    return into;
  }
  // The functions for online backups, and GNU tar: a data directory as one tar, WAL left out.
  std::string tar_by_hand(const std::string& name, const std::vector<std::string>& words = {}) {
    const bool is_old = server().major() < 15;
    cluster::Connection connection = server().connect();
    connection.query(is_old ? "SELECT pg_start_backup('by hand', true, false)"
                            : "SELECT pg_backup_start('by hand', true)");
    const std::string tar = path(name);
    std::vector<std::string> all = {"tar",
                                    "-cf",
                                    tar,
                                    "-C",
                                    server().data_directory(),
                                    "--exclude=./pg_wal/*",
                                    "--exclude=./postmaster.pid"};
    all.insert(all.end(), words.begin(), words.end());
    all.emplace_back(".");
    run_checked({.arguments = all});
    const std::string made = path("by hand");
    make_directory(made);
    write_file_durably(
        join_path(made, "backup_label"),
        as_bytes(connection.query_value(is_old ? "SELECT labelfile FROM pg_stop_backup(false)"
                                               : "SELECT labelfile FROM pg_backup_stop()")));
    run_checked({.arguments = {"tar", "-rf", tar, "-C", made, "backup_label"}});
    remove_tree(made);
    return tar;
  }
  size_t backup_count() const { return must({"backup", "list"}).at("backups").items().size(); }
  std::string with_shell(const std::string& line) const {
    return run_checked({.arguments = {"/bin/sh", "-c", line}});
  }
  std::string command() const {
    return fmt::format("{} --config {}", holdfast_program(), config_file());
  }
};

// It is refused with that status and those words, and no backup is there.
void expect_refused(ImportScene& scene, const std::string& tar, int status,
                    const std::vector<std::string>& words) {
  const size_t before = scene.backup_count();
  const Captured ran = scene.run({"-q", "backup", "import", "--tar", tar});
  EXPECT_EQ(ran.status.code, status) << tar << ": " << describe(ran);
  for (const std::string& word : words)
    EXPECT_NE(ran.err.find(word), std::string::npos) << word << " is not in: " << ran.err;
  EXPECT_NE(ran.err.find("HINT:"), std::string::npos) << ran.err;
  EXPECT_EQ(scene.backup_count(), before);
}

// A cluster that is written to, with a tablespace: imported, destroyed, recovered to its last
// commit.
void expect_every_commit_comes_back(int major, const std::vector<std::string>& words, bool churn) {
  ImportScene scene({.major = major, .wal_segment_mib = 1});
  scene.make_tablespace_directory("side");
  scene.server().sql(fmt::format("CREATE TABLESPACE side LOCATION '{}'", scene.path("side")));
  Ledger ledger(scene.path("ledger"));
  cluster::Connection connection = scene.server().connect();
  make_oracle_tables(connection, 3, "side");
  Load load({.conninfo = scene.server().conninfo(), .churn = churn, .tablespace = "side"}, ledger);
  load.wait_for_commits(100);
  const std::string tars = scene.pg_basebackup("tars", words);
  load.wait_for_commits(50);
  const Json imported = scene.must({"backup", "import", "--tar", tars});
  load.wait_for_commits(50);
  load.stop();
  scene.archive_current_segment();
  EXPECT_TRUE(imported.at("compared_with_manifest").as_bool());
  const Json& backup = imported.at("backup");
  EXPECT_EQ(backup.at("origin").as_string(), "tar");
  EXPECT_FALSE(backup.at("damaged").as_bool());
  EXPECT_EQ(backup.at("tablespaces").items().size(), 1U);
  const std::string id = backup.at("id").as_string();
  const Captured listed = scene.run({"backup", "list"});
  EXPECT_NE(listed.out.find("full, imported"), std::string::npos) << listed.out;
  const Captured verified = scene.run({"verify"});
  EXPECT_EQ(verified.status.code, 0) << describe(verified);

  scene.destroy();
  const std::unique_ptr<RestoredServer> restored = scene.restore_in_place();
  cluster::Connection there = restored->connect();
  const Findings findings = compare(there, ledger, Moment::end_of_everything());
  for (const std::string& complaint : findings.complaints) ADD_FAILURE() << complaint;
  EXPECT_GE(findings.present, 200);
}

TEST(BackupImport, OfAnOldServerWithStreamedWalAndGzipBringsEveryCommitBack) {
  expect_every_commit_comes_back(13, {"-X", "stream", "-z"}, false);
}
class LongBackupImport : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, LongBackupImport, testing::Values(13, 14, 15),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });
TEST_P(LongBackupImport, BringsEveryCommitBackHoweverItWasTaken) {
  const std::vector<std::vector<std::string>> ways = {
      {"-X", "none"},
      {"-X", "stream"},
      {"-X", "fetch", "-z"},
      {"-X", "stream", "--manifest-checksums=SHA512"},
      {"-X", "fetch", "--manifest-checksums=NONE"}};
  for (const std::vector<std::string>& way : ways)
    expect_every_commit_comes_back(GetParam(), way, true);
}

// What was exported comes back file by file, also with odd names, and without the original.
void expect_round_trip(int major) {
  ImportScene scene({.major = major, .wal_segment_mib = 1});
  scene.make_tablespace_directory("its place");
  scene.server().sql("CREATE TABLESPACE \"spaced out\" LOCATION " +
                     cluster::quote_literal(scene.path("its place")));
  scene.server().sql("CREATE DATABASE \"quo\"\"te\" TABLESPACE \"spaced out\"");
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 3000) AS id", "quo\"te");
  scene.server().sql("CREATE UNLOGGED TABLE fleeting AS SELECT generate_series(1, 3000) AS id");
  write_file_durably(
      join_path(scene.server().data_directory(), std::string(200, 'n') + " with space\n"),
      as_bytes("kept"));
  scene.must({"backup"});
  const std::string first =
      scene.must({"backup", "show", "latest"}).at("backup").at("id").as_string();
  scene.must({"backup", "export", "latest", "--tar", scene.path("tars")});
  const Json imported = scene.must({"backup", "import", "--tar", scene.path("tars")});
  EXPECT_FALSE(imported.at("compared_with_manifest").as_bool());
  EXPECT_TRUE(imported.at("archived_wal").items().empty());  // it is archived
  const std::string second = imported.at("backup").at("id").as_string();
  EXPECT_NE(first, second);
  EXPECT_EQ(scene.backup_count(), 2U);
  const Json one = scene.must({"backup", "show", first}).at("backup");
  const Json other = scene.must({"backup", "show", second}).at("backup");
  for (const char* same : {"start_lsn", "stop_lsn", "checkpoint_lsn", "start_segment",
                           "stop_segment", "data_directory", "tablespaces", "parameters", "files",
                           "bytes", "data_checksums", "from_standby", "label", "system_identifier"})
    EXPECT_EQ(one.at(same).dump(), other.at(same).dump()) << same;
  // As laid, before any server has run on it.
  scene.must({"restore", "--into", scene.path("one"), "--backup", first, "--to-immediate"});
  scene.must({"restore", "--into", scene.path("other"), "--backup", second, "--to-immediate"});
  const auto without_settings = [&](const std::string& name) {
    std::vector<std::string> all = contents(scene.path(name));
    std::erase_if(all, [](const std::string& line) {
      return line.find("postgresql.auto.conf") != std::string::npos ||
             line.find("postgresql.conf") != std::string::npos ||
             line.find("tablespace_map") != std::string::npos || line.find("holdfast") == 0;
    });
    return all;
  };
  EXPECT_EQ(without_settings("one"), without_settings("other"));
  EXPECT_GT(without_settings("one").size(), 500U);
  scene.must({"backup", "delete", first, "--yes"});
  scene.destroy();
  const std::unique_ptr<RestoredServer> restored = scene.restore_in_place();
  EXPECT_EQ(restored->connect("quo\"te").query_value("SELECT pg_catalog.count(*) FROM public.kept"),
            "3000");
}
TEST(BackupImport, OfAnExportedBackupIsTheSameFileByFile) { expect_round_trip(18); }
TEST_P(LongBackupImport, OfAnExportedBackupIsTheSameFileByFile) { expect_round_trip(GetParam()); }

TEST(BackupImport, OfATarMadeByHandOrFromStdinIsRestorable) {
  ImportScene scene({.major = 17, .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id");
  const std::string tar = scene.tar_by_hand("by_hand.tar");
  scene.server().sql("INSERT INTO kept VALUES (1001)");
  scene.archive_current_segment();
  // The label stands last; from a pipe, compressed, nothing can be seen before.
  scene.with_shell(fmt::format("gzip -c {} | {} -q backup import --tar -", tar, scene.command()));
  scene.must({"backup", "import", "--tar", tar});
  EXPECT_EQ(scene.backup_count(), 2U);
  scene.crash();
  const std::unique_ptr<RestoredServer> restored = scene.restore_into("restored", {});
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "1001");
}

TEST(BackupImport, WithItsOwnWalNeedsNoArchiveOfTheServer) {
  // pg_basebackup puts its manifest into a tar that goes to stdout.
  ImportScene scene({.major = 15, .wal_segment_mib = 1, .archive = false});
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id");
  scene.with_shell(fmt::format("{} -d \"{}\" -D - -Ft -c fast -X fetch > {}",
                               test_installation(15).program("pg_basebackup"),
                               scene.server().conninfo(), scene.path("one.tar")));
  const Json imported = scene.must({"backup", "import", "--tar", scene.path("one.tar")});
  EXPECT_TRUE(imported.at("compared_with_manifest").as_bool());
  EXPECT_FALSE(imported.at("archived_wal").items().empty());
  const Captured again = scene.run({"backup", "import", "--tar", scene.path("one.tar")});
  EXPECT_EQ(again.status.code, 0) << describe(again);
  EXPECT_NE(again.err.find("begins at the same place"), std::string::npos) << again.err;
  scene.crash();
  const std::unique_ptr<RestoredServer> restored =
      scene.restore_into("restored", {"--to-immediate"});
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");

  // Streamed WAL ends within a segment: that one is kept apart, and the server can archive it.
  PostgresServer& server = scene.server();
  server.start();
  scene.pg_basebackup("streamed", {"-X", "stream"});
  const Json streamed = scene.must({"backup", "import", "--tar", scene.path("streamed")});
  EXPECT_FALSE(streamed.at("archived_wal").items().empty());
  for (const DirectoryEntry& entry : list_directory(server.data_directory() + "/pg_wal"))
    if (entry.name.size() == 24 &&
        entry.name <= streamed.at("backup").at("stop_segment").as_string()) {
      const Captured pushed =
          scene.run({"wal", "push", join_path(server.data_directory() + "/pg_wal", entry.name)});
      EXPECT_EQ(pushed.status.code, 0) << entry.name << describe(pushed);
    }
  // What it needs and nobody has.
  scene.pg_basebackup("none", {"-X", "none"});
  expect_refused(scene, scene.path("none"), 1, {"WAL that the base backup needs is missing"});
}

TEST(BackupImport, RefusesWhatIsNotWhole) {
  ImportScene scene({.major = 15, .wal_segment_mib = 1});
  scene.make_tablespace_directory("side");
  scene.server().sql(fmt::format("CREATE TABLESPACE side LOCATION '{}'", scene.path("side")));
  scene.server().sql("CREATE TABLE kept TABLESPACE side AS SELECT generate_series(1, 1000) AS id");
  const std::string tars = scene.pg_basebackup("tars", {"-X", "fetch"});
  const std::string base = join_path(tars, "base.tar");
  const std::string oid =
      scene.server().value("SELECT oid FROM pg_tablespace WHERE spcname = 'side'");
  const std::string side = join_path(tars, oid + ".tar");
  const auto size_of = [](const std::string& path) { return stat_if_exists(path)->st_size; };

  // A byte of a file's content, which only backup_manifest notices (it is no page).
  const Bytes whole = read_file(base);
  const std::string marker = "# PostgreSQL Client Authentication Configuration File";
  const size_t at = as_text(whole).find(marker);
  ASSERT_NE(at, std::string::npos);
  pwrite_all(open_file(base, O_WRONLY), as_bytes("!"), at, base);
  expect_refused(scene, tars, 3, {"the tar is not what its backup_manifest says", "pg_hba.conf"});
  pwrite_all(open_file(base, O_WRONLY), as_bytes("#"), at, base);
  // Cut, at the end of the archive, and within a member; in each of the tars.
  for (const std::string& tar : {base, side})
    for (const off_t cut : {size_of(tar) - 1024, size_of(tar) / 2}) {
      const Bytes all = read_file(tar);
      ASSERT_EQ(truncate(tar.c_str(), cut / 512 * 512), 0);
      expect_refused(scene, tars, 3, {"is not a whole tar archive"});
      write_file_durably(tar, all);
    }
  // A tablespace's tar is not there; or one too many is.
  rename_path(side, scene.path("aside"));
  expect_refused(scene, tars, 2,
                 {"the tar of tablespace " + oid + " is missing", scene.path("side")});
  expect_refused(scene, base, 2, {"the tar of tablespace " + oid + " is missing"});
  rename_path(scene.path("aside"), side);
  write_file_durably(join_path(tars, "99999.tar"), read_file(side));
  expect_refused(scene, tars, 2, {"is of no tablespace of the base backup"});
  remove_file(join_path(tars, "99999.tar"));
  // No such thing.
  expect_refused(scene, scene.path("nowhere"), 2, {"there is no file or directory"});
  expect_refused(scene, scene.server().data_directory(), 2, {"in plain format"});
  expect_refused(scene, scene.repository(), 2, {"is no base backup in tar format"});
  expect_refused(scene, scene.config_file(), 3, {"is not a whole tar archive"});
  expect_refused(scene, join_path(tars, oid + ".tar"), 2, {"the tar holds no base backup"});

  // Another cluster's.
  ImportScene other({.major = 15, .wal_segment_mib = 1});
  expect_refused(other, tars, 1, {"is of another cluster", "--new-lineage"});
  const Captured piped = run(
      {.arguments = {"/bin/sh", "-c",
                     fmt::format("cat {} | {} -q backup import --tar -", base, other.command())}});
  EXPECT_EQ(piped.status.code, 1) << describe(piped);
  EXPECT_EQ(other.backup_count(), 0U);

  // All of that done, it is whole.
  scene.must({"backup", "import", "--tar", tars});
  EXPECT_EQ(scene.backup_count(), 1U);
}

TEST(BackupImport, ADamagedPageIsMarkedAndCountsForNothing) {
  ImportScene scene({.major = 17, .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 5000) AS id");
  scene.server().sql("CHECKPOINT");
  const std::string file = join_path(scene.server().data_directory(),
                                     scene.server().value("SELECT pg_relation_filepath('kept')"));
  // An LSN of before the backup, so replay does not make the page whole.
  pwrite_all(open_file(file, O_WRONLY), as_bytes("damage"), 2 * 8192 + 5000, file);
  const std::string tar = scene.tar_by_hand("damaged.tar");
  scene.archive_current_segment();
  const Captured ran = scene.run({"backup", "import", "--tar", tar});
  EXPECT_EQ(ran.status.code, 3) << describe(ran);
  EXPECT_NE(ran.out.find("damaged: block 2 of"), std::string::npos) << describe(ran);
  const Captured listed = scene.run({"backup", "list"});
  EXPECT_NE(listed.out.find("damaged, 1 pages"), std::string::npos) << listed.out;
  const Captured restored = scene.run({"restore", "--into", scene.path("restored")});
  EXPECT_NE(restored.status.code, 0) << describe(restored);
}

// Half of a tar through a pipe that stays open.
class HeldImport {
 public:
  explicit HeldImport(ImportScene& scene, const std::string& tar) : fifo_(scene.path("fifo")) {
    EXPECT_EQ(mkfifo(fifo_.c_str(), 0600), 0);
    both_ends_ = open_file(fifo_, O_RDWR);
    process_ = std::make_unique<Process>(
        SpawnOptions{.arguments = {holdfast_program(), "--config", scene.config_file(), "-q",
                                   "backup", "import", "--tar", "-"},
                     .input = fifo_,
                     .output = "/dev/null",
                     .error = scene.path("held.log")});
    const Bytes content = read_file(tar);
    write_all(both_ends_, ByteView(content).first(content.size() / 2), fifo_);
    // It has begun to store.
    EXPECT_TRUE(
        comes_true([&] { return !list_directory(join_path(scene.repository(), ".tmp")).empty(); }));
  }
  ~HeldImport() { remove_file_if_exists(fifo_); }
  ExitStatus end(int signal) {
    process_->signal(signal);
    return process_->wait();
  }

 private:
  std::string fifo_;
  Fd both_ends_;
  std::unique_ptr<Process> process_;
};

TEST(BackupImport, ThatIsInterruptedOrKilledLeavesNothingAndWorksTheNextTime) {
  ImportScene scene({.major = 15, .wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id");
  const std::string tars = scene.pg_basebackup("tars", {"-X", "fetch"});
  const std::string base = join_path(tars, "base.tar");
  EXPECT_EQ(HeldImport(scene, base).end(SIGINT).code, 130);
  EXPECT_TRUE(list_directory(join_path(scene.repository(), ".tmp")).empty());
  EXPECT_EQ(scene.backup_count(), 0U);
  EXPECT_TRUE(HeldImport(scene, base).end(SIGKILL).signalled);
  EXPECT_EQ(scene.backup_count(), 0U);
  scene.must({"backup", "import", "--tar", tars});
  EXPECT_EQ(scene.backup_count(), 1U);
  scene.crash();
  const std::unique_ptr<RestoredServer> restored =
      scene.restore_into("restored", {"--to-immediate"});
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
}

}  // namespace
}  // namespace holdfast::test
