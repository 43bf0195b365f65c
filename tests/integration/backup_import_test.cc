// "backup import": base backups that pg_basebackup, "backup export" and GNU tar made are backups
// like our own; what is not whole, or of another cluster, is refused and leaves nothing.
#include <csignal>
#include <fcntl.h>
#include <iostream>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "pg/control_file.h"
#include "support/holdfast_command.h"
#include "support/oracle.h"
#include "support/postgres_server.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

// 15 brings its client programs here, which take base backups of older servers too, and so does 19.
constexpr int kClientMajor = 15;

class ImportScene : public RecoveryScene {
 public:
  using RecoveryScene::RecoveryScene;

  // "pg_basebackup -Ft -D <path(name)> WORDS". Returns the path.
  std::string pg_basebackup(const std::string& name, std::vector<std::string> words) {
    const std::string into = path(name);
    words.insert(
        words.begin(),
        {test_installation(std::max(server().major(), kClientMajor)).program("pg_basebackup"), "-d",
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

// Clusters that several cases use: each takes base backups of its own, and leaves the server at
// work.
class BackupImport : public testing::Test {
 protected:
  static void TearDownTestSuite() {
    newer_.reset();
    scene_.reset();
  }
  // Of 15, with a tablespace "side" and rows in it.
  static ImportScene& scene() {
    if (!scene_) {
      scene_ = std::make_unique<ImportScene>(
          RecoveryScene::Options{.major = kClientMajor, .wal_segment_mib = 1});
      scene_->make_tablespace_directory("side");
      scene_->server().sql(
          fmt::format("CREATE TABLESPACE side LOCATION '{}'", scene_->path("side")));
      scene_->server().sql(
          "CREATE TABLE kept TABLESPACE side AS SELECT generate_series(1, 1000) AS id");
    }
    return *scene_;
  }
  // Of 17, of which there is no pg_basebackup here.
  static ImportScene& newer() {
    if (!newer_) {
      newer_ =
          std::make_unique<ImportScene>(RecoveryScene::Options{.major = 17, .wal_segment_mib = 1});
      newer_->server().sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id");
    }
    return *newer_;
  }

 private:
  static std::unique_ptr<ImportScene> scene_, newer_;
};
std::unique_ptr<ImportScene> BackupImport::scene_, BackupImport::newer_;

std::string id_of(const Json& imported) { return imported.at("backup").at("id").as_string(); }

// A cluster that is written to, with a tablespace: imported, destroyed, recovered to its last
// commit.
void expect_every_commit_comes_back(int major, const std::vector<std::string>& words, bool churn) {
  // What "-X fetch" asks for at the end must still be there.
  ImportScene scene({.major = major, .wal_segment_mib = 1, .config = {"wal_keep_size = 512MB"}});
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
  EXPECT_NE(listed.out.find("  imported  "), std::string::npos) << listed.out;
  const Captured verified = scene.run({"verify"});
  EXPECT_EQ(verified.status.code, 0) << describe(verified);

  scene.destroy();
  const std::unique_ptr<RestoredServer> restored = scene.restore_in_place();
  cluster::Connection there = restored->connect();
  const Findings findings = compare(there, ledger, Moment::end_of_everything());
  for (const std::string& complaint : findings.complaints) ADD_FAILURE() << complaint;
  EXPECT_GE(findings.present, 200);
}

TEST_F(BackupImport, OfAnOldServerWithStreamedWalAndGzipBringsEveryCommitBack) {
  expect_every_commit_comes_back(13, {"-X", "stream", "-z"}, false);
}
// 19 writes LSNs with zeros before them, and a manifest of version 2.
TEST_F(BackupImport, OfTheNewestServerThatHasTheProgramBringsEveryCommitBack) {
  expect_every_commit_comes_back(newest_major() >= 19 ? newest_major() : kClientMajor,
                                 {"-X", "none"}, false);
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
  for (const char* same :
       {"start_lsn", "stop_lsn", "checkpoint_lsn", "start_segment", "stop_segment", "parameters",
        "files", "bytes", "data_checksums", "from_standby", "label", "system_identifier"})
    EXPECT_EQ(one.at(same).dump(), other.at(same).dump()) << same;
  for (const char* same : {"path", "mode", "user", "group"})
    EXPECT_EQ(one.at("data_directory").at(same).dump(), other.at("data_directory").at(same).dump());
  // Where its file system was mounted no tar tells.
  for (const char* same : {"oid", "path"})
    EXPECT_EQ(one.at("tablespaces").items().at(0).at(same).dump(),
              other.at("tablespaces").items().at(0).at(same).dump());
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
TEST_F(BackupImport, OfAnExportedBackupIsTheSameFileByFile) { expect_round_trip(18); }
TEST_P(LongBackupImport, OfAnExportedBackupIsTheSameFileByFile) { expect_round_trip(GetParam()); }

TEST_F(BackupImport, OfATarMadeByHandOrFromStdinIsRestorable) {
  ImportScene& scene = newer();
  const size_t before = scene.backup_count();
  const std::string tar = scene.tar_by_hand("by_hand.tar");
  scene.server().sql("INSERT INTO kept VALUES (1001)");
  scene.archive_current_segment();
  // The label stands last; from a pipe, compressed, nothing can be seen before.
  scene.with_shell(fmt::format("gzip -c {} | {} -q backup import --tar -", tar, scene.command()));
  const std::string id = id_of(scene.must({"backup", "import", "--tar", tar}));
  EXPECT_EQ(scene.backup_count(), before + 2);
  const std::unique_ptr<RestoredServer> restored = scene.restore_into("restored", {"--backup", id});
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "1001");
}

TEST_F(BackupImport, WithItsOwnWalNeedsNoArchiveOfTheServer) {
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

TEST_F(BackupImport, RefusesWhatIsNotWhole) {
  ImportScene& scene = this->scene();
  const size_t before = scene.backup_count();
  const std::string tars = scene.pg_basebackup("to refuse", {"-X", "fetch"});
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
  ImportScene& other = newer();
  const size_t of_other = other.backup_count();
  expect_refused(other, tars, 1, {"is of another cluster", "--new-lineage"});
  const Captured piped = run({.arguments = {"/bin/sh", "-c",
                                            fmt::format("cat '{}' | {} -q backup import --tar -",
                                                        base, other.command())}});
  EXPECT_EQ(piped.status.code, 1) << describe(piped);
  EXPECT_EQ(other.backup_count(), of_other);

  // All of that done, it is whole.
  scene.must({"backup", "import", "--tar", tars});
  EXPECT_EQ(scene.backup_count(), before + 1);
}

TEST_F(BackupImport, ADamagedPageIsMarkedAndCountsForNothing) {
  ImportScene& scene = newer();
  scene.server().sql("CREATE TABLE harmed AS SELECT generate_series(1, 5000) AS id");
  scene.server().sql("CHECKPOINT");
  const std::string file = join_path(scene.server().data_directory(),
                                     scene.server().value("SELECT pg_relation_filepath('harmed')"));
  const std::string whole =
      id_of(scene.must({"backup", "import", "--tar", scene.tar_by_hand("whole.tar")}));
  // An LSN of before the backup, so replay does not make the page whole.
  pwrite_all(open_file(file, O_WRONLY), as_bytes("damage"), 2 * 8192 + 5000, file);
  const std::string tar = scene.tar_by_hand("damaged.tar");
  scene.archive_current_segment();
  const Captured ran = scene.run({"backup", "import", "--tar", tar});
  EXPECT_EQ(ran.status.code, 3) << describe(ran);
  EXPECT_NE(ran.out.find("damaged: block 2 of"), std::string::npos) << describe(ran);
  const Captured listed = scene.run({"backup", "list"});
  EXPECT_NE(listed.out.find("damaged\n"), std::string::npos) << listed.out;
  const Json planned =
      scene.must({"restore", "--into", scene.path("not"), "--to-latest", "--dry-run"});
  EXPECT_NE(planned.dump().find(whole), std::string::npos) << planned.dump();
  // Of the others' base backups it is no part.
  scene.server().sql("DROP TABLE harmed");
  scene.server().sql("CHECKPOINT");
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
                     .environment = {{"TMPDIR", scene.path("tmp")}},
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

TEST_F(BackupImport, ThatIsInterruptedOrKilledLeavesNothingAndWorksTheNextTime) {
  ImportScene& scene = this->scene();
  make_directory(scene.path("tmp"));
  const auto left = [&] { return list_directory(scene.path("tmp")).size(); };
  const size_t before = scene.backup_count();
  const std::string tars = scene.pg_basebackup("to interrupt", {"-X", "fetch"});
  const std::string base = join_path(tars, "base.tar");
  EXPECT_EQ(HeldImport(scene, base).end(SIGINT).code, 130);
  EXPECT_TRUE(list_directory(join_path(scene.repository(), ".tmp")).empty());
  EXPECT_EQ(left(), 0U);
  EXPECT_EQ(scene.backup_count(), before);
  EXPECT_TRUE(HeldImport(scene, base).end(SIGKILL).signalled);
  EXPECT_EQ(left(), 1U);
  EXPECT_EQ(scene.backup_count(), before);
  const Captured next = run({.arguments = {holdfast_program(), "--config", scene.config_file(),
                                           "backup", "import", "--tar", tars},
                             .environment = {{"TMPDIR", scene.path("tmp")}}});
  EXPECT_EQ(next.status.code, 0) << describe(next);
  EXPECT_NE(next.err.find("which an import that was killed had left"), std::string::npos)
      << next.err;
  EXPECT_EQ(left(), 0U);
  EXPECT_EQ(scene.backup_count(), before + 1);
  const std::unique_ptr<RestoredServer> restored = scene.restore_into(
      "interrupted", {"--to-immediate", "--backup",
                      scene.must({"backup", "show", "latest"}).at("backup").at("id").as_string()});
  EXPECT_EQ(restored->value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
}

TEST_F(BackupImport, IsVerifiedExportedDrilledDeletedAndExpiredLikeAnyOther) {
  ImportScene& scene = this->scene();
  const std::string tars = scene.pg_basebackup("to manage", {"-X", "stream"});
  const std::string first = id_of(scene.must({"backup", "import", "--tar", tars}));
  scene.must({"backup", "export", first, "--tar", scene.path("exported")});
  const Json second = scene.must({"backup", "import", "--tar", scene.path("exported")});
  EXPECT_NE(id_of(second), first);
  const Json one = scene.must({"backup", "show", first}).at("backup");
  for (const char* same : {"start_lsn", "stop_lsn", "files", "bytes", "tablespaces"})
    EXPECT_EQ(one.at(same).dump(), second.at("backup").at(same).dump()) << same;
  scene.must({"backup", "delete", first, "--yes"});
  const Captured gone = scene.run({"backup", "show", first});
  EXPECT_NE(gone.status.code, 0) << describe(gone);
  // One lists what the first alone had used, the next removes it.
  scene.configure_grace("0s");
  scene.must({"expire"});
  scene.must({"expire"});
  const Captured verified = scene.run({"verify", "--deep"});
  EXPECT_EQ(verified.status.code, 0) << describe(verified);
  make_directory(scene.path("drills"));
  const Captured drilled =
      scene.run({"drill", "--drill-directory", scene.path("drills"), "--backup", id_of(second)});
  EXPECT_EQ(drilled.status.code, 0) << describe(drilled);
  EXPECT_NE(drilled.out.find(id_of(second)), std::string::npos) << drilled.out;
}

// A standby writes no record at a backup's end: it ends where pg_control says that the pages are
// from, and the server says the same in its manifest.
TEST_F(BackupImport, OfAStandbyEndsAtItsMinimumRecoveryPointAndBringsEveryCommitBack) {
  ImportScene& scene = this->scene();
  const std::string data = scene.path("standby");
  run_checked({.arguments = {test_installation(kClientMajor).program("pg_basebackup"), "-d",
                             scene.server().conninfo(), "-D", data, "-R", "-c", "fast", "-T",
                             scene.path("side") + "=" + scene.path("side of the standby")}});
  give_to_server_user(data);
  give_to_server_user(scene.path("side of the standby"));
  PostgresServer standby({.major = kClientMajor, .data_directory = data});
  Ledger ledger(scene.path("standby ledger"));
  cluster::Connection connection = scene.server().connect();
  make_oracle_tables(connection, 3, "side");
  Load load({.conninfo = scene.server().conninfo(), .churn = false, .tablespace = "side"}, ledger);
  load.wait_for_commits(100);
  const auto replay = [&] {
    const std::string lsn = scene.server().value("SELECT pg_current_wal_flush_lsn()");
    EXPECT_TRUE(comes_true([&] {
      return standby.value("SELECT pg_last_wal_replay_lsn() >= '" + lsn + "'") == "t";
    })) << standby.log();
  };
  // Pages that were written behind the restartpoint with which the backup begins.
  scene.server().sql("CHECKPOINT");
  replay();
  standby.sql("CHECKPOINT");
  load.wait_for_commits(100);
  replay();
  const std::string tars = scene.path("of the standby");
  run_checked({.arguments = {test_installation(kClientMajor).program("pg_basebackup"), "-d",
                             standby.conninfo(), "-D", tars, "-Ft", "-X", "fetch", "-c", "fast"}});
  load.wait_for_commits(50);
  load.stop();
  standby.stop();
  const Json with_manifest = scene.must({"backup", "import", "--tar", tars});
  EXPECT_TRUE(with_manifest.at("backup").at("from_standby").as_bool());
  remove_file(join_path(tars, "backup_manifest"));
  const Json without = scene.must({"backup", "import", "--tar", tars});
  EXPECT_FALSE(without.at("compared_with_manifest").as_bool());
  EXPECT_TRUE(without.at("backup").at("from_standby").as_bool());
  const auto stop = [](const Json& imported) {
    return pg::parse_lsn(imported.at("backup").at("stop_lsn").as_string());
  };
  // As the copied pg_control says.
  const std::string of_control = scene.path("control");
  make_directories(of_control);
  run_checked({.arguments = {"tar", "-xf", join_path(tars, "base.tar"), "-C", of_control,
                             "global/pg_control"}});
  const pg::ControlFile control =
      pg::parse_control_file(read_file(join_path(of_control, "global/pg_control")));
  EXPECT_EQ(stop(without), control.minimum_recovery_lsn);
  // The server reads it once more, at the end: never less.
  EXPECT_GE(stop(with_manifest), stop(without));
  EXPECT_GT(stop(without), pg::parse_lsn(without.at("backup").at("checkpoint_lsn").as_string()));

  // What the primary archives of the same segment does not contradict what came with the tar.
  scene.archive_current_segment();
  for (const Json& imported : {with_manifest, without}) {
    const std::unique_ptr<RestoredServer> at_its_end = scene.restore_into(
        "end of " + id_of(imported), {"--backup", id_of(imported), "--to-immediate"});
    EXPECT_EQ(at_its_end->value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
    EXPECT_EQ(at_its_end->value("SELECT pg_catalog.pg_is_in_recovery()"), "f");
  }
  const std::unique_ptr<RestoredServer> restored =
      scene.restore_into("all", {"--backup", id_of(without)});
  cluster::Connection there = restored->connect();
  const Findings findings = compare(there, ledger, Moment::end_of_everything());
  for (const std::string& complaint : findings.complaints) ADD_FAILURE() << complaint;
  EXPECT_GE(findings.present, 250);
}

// Through a pipe, as GNU tar reads holes: in zeros.
TEST(LongBackupImportMemory, IsBoundedForAMemberOfGigabytesAndFor200000Members) {
  constexpr long kLimitKib = 256 << 10;
  ImportScene scene({.major = kClientMajor, .wal_segment_mib = 1});
  const std::string data = scene.server().data_directory();
  const std::string made = scene.path("made");
  make_directory(made);
  const auto expect_bounded = [&](const std::string& what) {
    cluster::Connection connection = scene.server().connect();
    connection.query("SELECT pg_backup_start('large', true)");
    const std::string label = connection.query_value("SELECT labelfile FROM pg_backup_stop()");
    scene.archive_current_segment();
    // Nobody writes, so what is read behind the end is what was there before.
    write_file_durably(join_path(made, "backup_label"), as_bytes(label));
    const long peak =
        peak_kib({.arguments = {"/bin/sh", "-c",
                                fmt::format("tar -cf - -C {} --exclude='./pg_wal/*' "
                                            "--exclude=./postmaster.pid . -C {} backup_label | "
                                            "{} -q --jobs 4 backup import --tar -",
                                            data, made, scene.command())},
                  .output = scene.path("out"),
                  .error = "&1"});
    std::cout << fmt::format("{}: {} MiB at most\n", what, peak >> 10);
    EXPECT_LT(peak, kLimitKib) << what;
    EXPECT_GT(peak, 4 << 10) << "nothing was measured";
  };
  const std::string large = join_path(data, "base/5/large");
  ASSERT_EQ(ftruncate(open_file(large, O_WRONLY | O_CREAT).get(), off_t{5} << 30), 0);
  expect_bounded("5 GiB");
  const Json one = scene.must({"backup", "show", "latest"}).at("backup");
  EXPECT_GT(one.at("bytes").as_u64(), uint64_t{5} << 30);
  remove_file(large);
  for (int file = 0; file < 200'000; ++file)
    ASSERT_EQ(ftruncate(open_file(fmt::format("{}/base/5/{}", data, 1'000'000 + file),
                                  O_WRONLY | O_CREAT | O_EXCL)
                            .get(),
                        file % 2 * 8192),
              0);
  expect_bounded("200,000 files");
  EXPECT_GT(scene.must({"backup", "show", "latest"}).at("backup").at("files").as_u64(), 200'000U);
}

}  // namespace
}  // namespace holdfast::test
