// check: archiving is proven, or the very cause is named for which it does not work. Each cause is
// made on a real server.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <regex>
#include <set>
#include <sys/stat.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

struct Item {
  std::string outcome, message, detail, hint;
};
// What one run found.
struct Found {
  int status = 0;
  Json document;

  bool proven() const { return document.at("proven").as_bool(); }
  std::string cause() const {
    const Json& cause = document.at("cause");
    return cause.is_null() ? "" : cause.as_string();
  }
  std::string summary() const { return document.at("summary").as_string(); }
  bool has(const std::string& name) const {
    return std::ranges::any_of(document.at("checks").items(), [&](const Json& check) {
      return check.at("name").as_string() == name;
    });
  }
  // The last of that name.
  Item item(const std::string& name) const {
    Item found;
    for (const Json& check : document.at("checks").items())
      if (check.at("name").as_string() == name)
        found = {check.at("outcome").as_string(), check.at("message").as_string(),
                 check.at("detail").as_string(), check.at("hint").as_string()};
    return found;
  }
};

class CheckScene : public RecoveryScene {
 public:
  explicit CheckScene(const Options& options) : RecoveryScene(options) {}

  Found check(const std::vector<std::string>& words = {}) const {
    std::vector<std::string> all = {"check", "--json"};
    all.insert(all.end(), words.begin(), words.end());
    const Captured ran = run(all);
    said_ = describe(ran);
    Found found{.status = ran.status.signalled ? -1 : ran.status.code,
                .document = Json::parse(ran.out, said_)};
    said_.clear();
    for (const Json& check : found.document.at("checks").items())
      said_ += fmt::format("{} {}: {} [{}] [{}]\n", check.at("outcome").as_string(),
                           check.at("name").as_string(), check.at("message").as_string(),
                           check.at("detail").as_string(), check.at("hint").as_string());
    return found;
  }
  // What the last run found, for messages.
  const std::string& said() const { return said_; }

  void expect_proven(const std::vector<std::string>& words = {}) const {
    const Found found = check(words);
    EXPECT_EQ(found.status, 0) << said();
    EXPECT_TRUE(found.proven()) << said();
    EXPECT_EQ(found.cause(), "");
  }
  // The cause, its message, and a part of its DETAIL and of its HINT.
  void expect_cause(const std::string& cause, const std::string& message, const std::string& detail,
                    const std::string& hint, const std::vector<std::string>& words = {}) const {
    const Found found = check(words);
    EXPECT_EQ(found.status, 1) << said();
    EXPECT_FALSE(found.proven()) << said();
    ASSERT_EQ(found.cause(), cause) << said();
    const Item item = found.item(cause);
    EXPECT_TRUE(std::regex_match(item.message, std::regex(masked(message)))) << said();
    EXPECT_NE(item.detail.find(detail), std::string::npos) << said();
    EXPECT_NE(item.hint.find(hint), std::string::npos) << said();
    EXPECT_TRUE(found.summary().starts_with("Archiving is not proven: ")) << said();
    EXPECT_TRUE(found.summary().ends_with(item.hint)) << said();
  }

  // ALTER SYSTEM and a reload; waits until the setting is in force.
  void set(const std::string& name, const std::string& value) {
    server().sql(fmt::format("ALTER SYSTEM SET {} = {}", name, cluster::quote_literal(value)));
    server().sql("SELECT pg_reload_conf()");
    EXPECT_TRUE(comes_true([&] { return server().value("SHOW " + name) == value; })) << name;
  }
  void reset_archive_command() { set("archive_command", own_command()); }
  // What init has set.
  const std::string& own_command() {
    if (own_command_.empty()) own_command_ = server().value("SHOW archive_command");
    return own_command_;
  }
  // Restarts with lines behind all others.
  void restart_with(const std::string& lines) {
    const std::string file = join_path(server().data_directory(), "postgresql.auto.conf");
    server().stop();
    write_file_durably(file, as_bytes(read_text_file(file) + lines));
    server().start();
  }
  void wait_until_all_is_archived() {
    EXPECT_TRUE(comes_true([&] {
      return server().value(
                 "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE "
                 "'%.ready'") == "0";
    }));
  }

 private:
  // $SEGMENT and $TIME stand for any.
  static std::string masked(const std::string& message) {
    static const std::regex kSpecial(R"([.^|()\[\]{}*+?\\])");
    std::string text = std::regex_replace(message, kSpecial, R"(\$&)");
    text = std::regex_replace(text, std::regex(R"(\$SEGMENT)"), "[0-9A-F]{24}");
    text = std::regex_replace(text, std::regex(R"(\$TOOK)"), "[0-9.]+ (ms|s)");
    return std::regex_replace(text, std::regex(R"(\$HEX)"), "[0-9a-f]{32}");
  }

  mutable std::string said_;
  std::string own_command_;
};

class CheckEachMajor : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Holdfast, CheckEachMajor, testing::ValuesIn(test_majors()),
                         [](const testing::TestParamInfo<int>& major) {
                           return fmt::format("PostgreSQL{}", major.param);
                         });

TEST_P(CheckEachMajor, ProvesArchivingByTheRecordThatItHasJustWritten) {
  CheckScene scene({.major = GetParam(), .wal_segment_mib = 1});
  scene.wait_until_all_is_archived();
  const std::vector<std::string> before = scene.archived_segments();
  const Found found = scene.check();
  ASSERT_EQ(found.status, 0) << scene.said();
  ASSERT_TRUE(found.proven()) << scene.said();
  const std::string segment = found.document.at("segment").as_string();
  EXPECT_EQ(std::ranges::count(before, segment), 0);
  EXPECT_TRUE(scene.wal_object(segment)) << segment;
  EXPECT_NE(found.item("proof").message.find("restore point \"holdfast proof 2"),
            std::string::npos);
  EXPECT_EQ(found.summary(),
            "Archiving works: segment " + segment + " was read back. See to the warning above.");
  EXPECT_EQ(found.item("last backup").message, "there is no backup yet");
  for (const char* name : {"server", "repository", "lineage", "data directory", "wal_level",
                           "archive_mode", "archive_command", "server's user", "archiver",
                           "full_page_writes", "data checksums", "room for pg_wal"})
    EXPECT_EQ(found.item(name).outcome, "ok") << name << "\n" << scene.said();

  // Nothing stays but the segment.
  EXPECT_EQ(scene.archived_segments().size(), before.size() + 1);
  EXPECT_TRUE(comes_true([&] {  // the archiver may be about to end
    return list_directory(join_path(scene.repository(), ".tmp")).empty();
  }));
  EXPECT_EQ(scene.server().value("SELECT count(*) FROM pg_stat_activity WHERE application_name "
                                 "LIKE 'holdfast check%'"),
            "0");

  EXPECT_EQ(scene.check({"--max-backup-age", "1h"}).cause(), "last backup");
  // The same as text, and with a backup.
  scene.must({"backup"});
  const Captured text = scene.run({"--progress", "none", "check", "--max-backup-age", "1h"});
  EXPECT_EQ(text.status.code, 0) << describe(text);
  EXPECT_TRUE(std::regex_search(
      text.out, std::regex("\nok       proof: segment [0-9A-F]{24} was in the repository after ")))
      << text.out;
  EXPECT_TRUE(std::regex_search(
      text.out, std::regex("\nArchiving works: segment [0-9A-F]{24} was read back.\n$")))
      << text.out;
  // Of cron nobody hears while all is well; an age that is asked for and missed is a failure.
  const Captured silent =
      scene.run({"-q", "check", "--max-backup-age", "1h", "--max-archive-lag", "1h"});
  EXPECT_EQ(silent.status.code, 0) << describe(silent);
  EXPECT_EQ(silent.out + silent.err, "");
  const Found old = scene.check({"--max-backup-age", "1us"});
  EXPECT_EQ(old.status, 1);
  EXPECT_TRUE(old.proven());
  EXPECT_EQ(old.cause(), "last backup") << scene.said();
  EXPECT_TRUE(std::regex_match(
      old.summary(),
      std::regex("Archiving works, but backup [0-9TZ-]+[0-9a-f]{6} was taken [0-9.]+ "
                 "(ms|s) ago, and at most 1 us is asked for. Run \"holdfast "
                 "--config [^ ]+ backup\".")))
      << old.summary();
  const Captured alarm = scene.run({"-q", "check", "--max-backup-age", "1us"});
  EXPECT_EQ(alarm.status.code, 1);
  EXPECT_TRUE(alarm.out.starts_with("failed   last backup: backup ")) << alarm.out;
  const Found undrilled = scene.check({"--max-drill-age", "1h"});
  EXPECT_EQ(undrilled.status, 1);
  EXPECT_EQ(undrilled.item("last drill").message, "there is no drill yet");

  // Where it is known that nothing can come, nothing is written.
  scene.set("archive_command", "");
  const char* current = "SELECT pg_walfile_name(pg_current_wal_lsn())";
  const std::string before_it = scene.server().value(current);
  scene.expect_cause("archive_command", "archive_command is empty", "keeps every segment in pg_wal",
                     "init --configure-server\"");
  EXPECT_EQ(scene.server().value(current), before_it);
}

// For every minute, and for a monitoring that reads one line.
TEST(CheckReadOnly, WritesNothingAndAlarmsByWhatIsSeen) {
  CheckScene scene({.major = 17, .sealing = Sealing::kPassphrase, .wal_segment_mib = 1});
  scene.must({"backup"});
  scene.wait_until_all_is_archived();
  const auto everything = [&] {
    std::string all = scene.server().value("SELECT pg_current_wal_insert_lsn()");
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scene.repository()))
      names.insert(entry.path().string() + " " +
                   std::to_string(lstat_if_exists(entry.path().string())->st_mtim.tv_nsec));
    for (const std::string& name : names) all += "\n" + name;
    return all;
  };
  scene.server().sql("CHECKPOINT");
  const std::string before = everything();
  const Found found = scene.check({"--read-only", "--max-backup-age", "1h"});
  EXPECT_EQ(found.status, 0) << scene.said();
  EXPECT_FALSE(found.proven());
  EXPECT_TRUE(found.summary().starts_with("Nothing is wrong, as far as it can be told"))
      << scene.said();
  EXPECT_EQ(found.item("last archived").outcome, "ok") << scene.said();
  EXPECT_FALSE(found.has("proof"));
  EXPECT_TRUE(std::regex_match(
      found.item("passphrase").message,
      std::regex("opening the repository by it took [0-9.]+ (ms|s), and each call of wal push and "
                 "wal get takes that too")))
      << scene.said();
  EXPECT_NE(found.item("passphrase").hint.find("repo add-key"), std::string::npos);

  const Captured well = scene.run({"check", "--read-only", "--nagios", "--max-backup-age", "1h"});
  EXPECT_EQ(well.status.code, 0) << describe(well);
  EXPECT_TRUE(std::regex_match(
      well.out, std::regex("HOLDFAST OK - cluster main: Nothing is wrong[^|\n]* \\| "
                           "archive_lag=0\\.000s;;;0 waiting=0;;;0 backup_age=[0-9.]+s;;3600;0 "
                           "wal_room=[0-9]+B;;;0 repository_room=[0-9]+B;;;0\n")))
      << well.out;
  EXPECT_EQ(well.err, "");
  EXPECT_EQ(everything(), before);

  const Captured late = scene.run({"check", "--read-only", "--nagios", "--max-backup-age", "1us"});
  EXPECT_EQ(late.status.code, 2) << describe(late);
  EXPECT_TRUE(late.out.starts_with("HOLDFAST CRITICAL - cluster main: Not all is well: backup "))
      << late.out;

  // It says that it archives, and does not do it here.
  scene.set("archive_command", "/bin/true");
  scene.server().sql("CREATE TABLE elsewhere AS SELECT 1 AS a");
  scene.server().sql("SELECT pg_switch_wal()");
  scene.wait_until_all_is_archived();
  const Found elsewhere = scene.check({"--read-only"});
  EXPECT_EQ(elsewhere.status, 1);
  EXPECT_EQ(elsewhere.cause(), "last archived") << scene.said();
  scene.set("archive_command", "/bin/false");
  scene.server().sql("CREATE TABLE nowhere AS SELECT 1 AS a");
  scene.server().sql("SELECT pg_switch_wal()");
  EXPECT_TRUE(comes_true([&] {
    return scene.server().value("SELECT failed_count > 0 FROM pg_stat_archiver") == "t";
  }));
  EXPECT_EQ(scene.check({"--read-only"}).cause(), "archiver") << scene.said();
  const Found lag = scene.check({"--read-only", "--max-archive-lag", "1us"});
  EXPECT_EQ(lag.cause(), "archive lag") << scene.said();

  // Of a program that is not there the server counts no failure.
  scene.set("archive_command", "/nowhere/holdfast wal push %p");
  scene.server().sql("SELECT pg_stat_reset_shared('archiver')");
  EXPECT_TRUE(comes_true([&] {
    return scene.server().value(
               "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'archiver'") == "0";
  }));
  EXPECT_EQ(scene.check({"--read-only"}).cause(), "archiver") << scene.said();

  // Where something else manages the configuration, the lines are told.
  const std::string file = join_path(scene.server().data_directory(), "postgresql.conf");
  write_file_durably(file, as_bytes(read_text_file(file) + "allow_alter_system = off\n"));
  scene.server().sql("SELECT pg_reload_conf()");
  EXPECT_TRUE(comes_true([&] { return scene.server().value("SHOW allow_alter_system") == "off"; }));
  const Captured told = scene.run({"init", "--configure-server", "--replace"});
  EXPECT_EQ(told.status.code, 1) << describe(told);
  EXPECT_NE(told.err.find("where the server's configuration is managed, and restart the server:"),
            std::string::npos)
      << told.err;
  EXPECT_NE(told.err.find("archive_command = '"), std::string::npos) << told.err;

  // What tells nothing is UNKNOWN.
  const Captured unknown = scene.run({"check", "--nagios", "--max-backup-age", "soon"});
  EXPECT_EQ(unknown.status.code, 3) << describe(unknown);
  EXPECT_TRUE(unknown.out.starts_with("HOLDFAST UNKNOWN - ")) << unknown.out;
  EXPECT_EQ(std::ranges::count(unknown.out, '\n'), 1);
}

// A bulk load, as the manual advises: nothing is missing by name, and no recovery gets past it. And
// what is said of a lineage whose document is lost.
TEST(CheckContinuity, FailsAfterAnExcursionToMinimalUntilThereIsABackup) {
  CheckScene scene({.major = 15, .wal_segment_mib = 1});
  scene.must({"backup"});
  EXPECT_EQ(scene.check().status, 0) << scene.said();
  scene.restart_with("wal_level = minimal\nmax_wal_senders = 0\narchive_mode = off\n");
  scene.server().sql("CREATE TABLE bulk AS SELECT generate_series(1, 10000) AS id");
  scene.restart_with("wal_level = replica\nmax_wal_senders = 10\narchive_mode = on\n");
  scene.server().sql("CREATE TABLE later AS SELECT 1 AS id");
  scene.server().sql("SELECT pg_switch_wal()");
  scene.wait_until_all_is_archived();
  for (const std::vector<std::string>& words : {std::vector<std::string>{}, {"--read-only"}}) {
    const Found found = scene.check(words);
    EXPECT_EQ(found.status, 1);
    EXPECT_EQ(found.cause(), "continuity") << scene.said();
    EXPECT_NE(found.item("continuity").message.find("wal_level minimal"), std::string::npos)
        << scene.said();
  }
  const Captured info = scene.run({"info"});
  EXPECT_NE(info.out.find("lies behind WAL of wal_level minimal"), std::string::npos)
      << describe(info);
  const std::string copy = join_path(parent_path(scene.repository()), "copy");
  EXPECT_EQ(scene.run({"restore", "--dry-run", "--into", copy, "--to-latest"}).status.code, 4);
  scene.must({"backup"});
  EXPECT_EQ(scene.check().status, 0) << scene.said();

  const std::string lineage = join_path(scene.repository(), "clusters/main/15-1/");
  for (const char* name : {"lineage.json", "lineage.copy.json"})
    write_file_durably(lineage + name, as_bytes("{"));
  const Captured listed = scene.run({"backup", "list"});
  EXPECT_EQ(listed.status.code, 3) << describe(listed);
  EXPECT_EQ(listed.out.find("There is no backup"), std::string::npos) << describe(listed);
  EXPECT_NE(listed.out.find("is unreadable, and nobody knows which backups it has"),
            std::string::npos)
      << describe(listed);
  const Captured verified = scene.run({"verify"});
  EXPECT_EQ(verified.status.code, 3) << describe(verified);
  EXPECT_EQ(verified.out.find("every backup can still be restored"), std::string::npos)
      << describe(verified);
}

TEST(CheckSettings, AreNamedWhenTheyKeepTheServerFromArchiving) {
  CheckScene scene({.wal_segment_mib = 1});
  scene.expect_proven();
  scene.restart_with("archive_mode = off\n");
  scene.expect_cause("archive_mode", "archive_mode is \"off\"", "archives nothing",
                     "then restart the server");
  scene.server().sql("ALTER SYSTEM SET archive_mode = on");
  scene.expect_cause("archive_mode", "archive_mode is \"off\" until the server is restarted",
                     "say \"on\" already", "Restart the server");
  scene.restart_with("wal_level = minimal\nmax_wal_senders = 0\narchive_mode = off\n");
  scene.expect_cause("wal_level", "wal_level is \"minimal\"", "cannot be recovered from",
                     "then restart the server");
  scene.server().sql("ALTER SYSTEM SET wal_level = replica");
  scene.expect_cause("wal_level", "wal_level is \"minimal\" until the server is restarted",
                     "say \"replica\" already", "Restart the server");
  scene.restart_with("archive_mode = on\nmax_wal_senders = 10\n");
  scene.expect_proven();
  // What will be wrong after the next restart is told before it.
  scene.server().sql("ALTER SYSTEM SET archive_mode = off");
  const Found turned_off = scene.check();
  EXPECT_EQ(turned_off.status, 0) << scene.said();
  EXPECT_EQ(turned_off.item("archive_mode").message,
            "\"on\", but \"off\" from the next restart on");
  EXPECT_EQ(turned_off.item("archive_mode").outcome, "warning");
  scene.server().sql("ALTER SYSTEM SET archive_mode = on");

  const std::string own = scene.own_command();
  scene.set("archive_command", "");
  scene.expect_cause("archive_command", "archive_command is empty", "fills its disk",
                     "init --configure-server\"");
  scene.server().sql("ALTER SYSTEM SET archive_command = " + cluster::quote_literal(own));
  scene.expect_cause("archive_command",
                     "archive_command is empty until the configuration is reloaded", own,
                     "SELECT pg_reload_conf()");
  scene.server().sql("ALTER SYSTEM SET archive_library = 'basic_archive'");
  scene.server().sql("ALTER SYSTEM SET archive_command = ''");
  scene.server().sql("SELECT pg_reload_conf()");
  EXPECT_TRUE(
      comes_true([&] { return scene.server().value("SHOW archive_library") == "basic_archive"; }));
  scene.expect_cause("archive_library", "the server archives by the library \"basic_archive\"",
                     "not run while archive_library is set", "ALTER SYSTEM RESET archive_library");
}

TEST(CheckCommand, OfAnotherToolIsJudgedByWhatComesOfIt) {
  CheckScene scene({.wal_segment_mib = 1});
  const std::string own = scene.own_command();
  scene.wait_until_all_is_archived();

  // A script of the user's that calls Holdfast is as good as Holdfast.
  write_file_durably(
      scene.path("archive.sh"),
      as_bytes("#!/bin/sh\nexec " + std::regex_replace(own, std::regex("%p"), "\"$$1\"") + "\n"),
      0700);
  scene.set("archive_command", scene.path("archive.sh") + " %p");
  const Found script = scene.check();
  EXPECT_EQ(script.status, 0) << scene.said();
  EXPECT_EQ(script.item("archive_command").outcome, "warning");

  // One that hides a push's failure is not blessed because a push has just succeeded.
  // Nothing is tolerated here: what hides the failure of a push is what `check` must name.
  scene.set("archive_command", own + " || true");
  scene.expect_cause("archive_command", "archive_command hides the exit status of \"wal push\"",
                     "what follows, \"|| true\": at 0 it counts a segment as archived",
                     "Leave out what follows: run ALTER SYSTEM SET archive_command = ");
  EXPECT_EQ(scene.run({"check", "--read-only"}).status.code, 1);
  scene.set("archive_command", "nice " + own + "; logger done");
  EXPECT_EQ(scene.check().item("archive_command").message,
            "archive_command may hide the exit status of \"wal push\"");

  // Success is not enough: the segment has to be in this repository.
  scene.set("archive_command", "true");
  scene.expect_cause("proof", "the server archived segment $SEGMENT, but not into this repository",
                     "archive_command is \"true\".", "ALTER SYSTEM SET archive_command = ");

  // A failure is told in the words that the command left in the server's log.
  scene.set("archive_command", "echo the tape has run out >&2; exit 3");
  scene.expect_cause("proof", "archive command failed with exit code 3",
                     "The command said: the tape has run out", "Run archive_command by hand");
  scene.set("archive_command", "true");
  scene.wait_until_all_is_archived();

  // A status above 125 is counted by nobody.
  const std::string counted = scene.server().value("SELECT failed_count FROM pg_stat_archiver");
  scene.set("archive_command", "echo this ends the archiver >&2; exit 200");
  scene.expect_cause("proof", "archive command failed with exit code 200",
                     "pg_stat_archiver does not show it.\nThe command said: this ends the archiver",
                     "Run archive_command by hand");
  EXPECT_EQ(scene.server().value("SELECT failed_count FROM pg_stat_archiver"), counted);
}

// A repository's file system is not mounted, and configuration management runs init.
TEST(CheckCommand, NamesItsRepositorySoThatNoOtherIsFilledInItsPlace) {
  CheckScene scene({.wal_segment_mib = 1});
  const std::string own = scene.own_command();
  const std::string unpinned = std::regex_replace(own, std::regex(" --repo-id [^ ]+"), "");
  ASSERT_NE(unpinned, own);
  const auto refused = [&](std::vector<std::string> words, const std::string& reason) {
    const Captured ran = scene.run(words);
    EXPECT_EQ(ran.status.code, 1) << describe(ran);
    EXPECT_NE(ran.err.find(reason), std::string::npos) << ran.err;
    return ran.err;
  };

  // As an earlier version wrote it: it works, check says what it lacks, and init writes it anew.
  scene.set("archive_command", unpinned);
  const Found found = scene.check();
  EXPECT_EQ(found.status, 0) << scene.said();
  EXPECT_EQ(found.item("archive_command").outcome, "note") << scene.said();
  EXPECT_NE(found.item("archive_command").hint.find("init --configure-server\""), std::string::npos)
      << scene.said();
  scene.must({"init", "--configure-server"});
  EXPECT_TRUE(comes_true([&] { return scene.server().value("SHOW archive_command") == own; }));
  scene.archive_current_segment();

  const std::string mounted = scene.path("mounted");
  rename_path(scene.repository(), mounted);
  make_directory(scene.repository());
  const std::string err = refused({"init"}, "and no repository is there");
  EXPECT_NE(err.find("It names the repository with the id "), std::string::npos) << err;
  EXPECT_NE(err.find("mount it and run this again"), std::string::npos) << err;
  refused({"init", "--configure-server"}, "init --configure-server --new-repository\n");
  // Also where it does not, and where the server's counters are lost, as in a crash.
  scene.set("archive_command", unpinned);
  refused({"init"}, "It has archived, last \"0000000100000000000000");
  scene.server().sql("SELECT pg_stat_reset_shared('archiver')");
  refused({"init"}, "It has archived, last \"0000000100000000000000");
  EXPECT_TRUE(list_directory(scene.repository()).empty());

  // One that is made all the same is not filled by the command that names the other.
  scene.set("archive_command", own);
  scene.must({"init", "--new-repository"});
  scene.server().sql("CREATE TABLE t (id int)");
  scene.server().sql("SELECT pg_switch_wal()");
  EXPECT_TRUE(comes_true([&] {
    return scene.server().value("SELECT failed_count > 0 FROM pg_stat_archiver") == "t";
  }));
  refused({"init", "--configure-server"}, "the server archives into another repository");
  remove_tree(scene.repository());
  rename_path(mounted, scene.repository());
  EXPECT_EQ(scene.check().status, 0) << scene.said();
}

TEST(CheckCommand, OfHoldfastIsTriedAsTheArchiverRunsIt) {
  CheckScene scene({.wal_segment_mib = 1});
  const std::string own = scene.own_command();
  const std::string words = own.substr(own.find(' '));
  scene.wait_until_all_is_archived();

  // The program is not there, or is no program.
  scene.set("archive_command", "/nowhere/holdfast" + words);
  scene.expect_cause("server's user",
                     fmt::format("archive_command, tried by hand as \"{}\": its program cannot be "
                                 "started",
                                 std::getenv("USER")),
                     "/nowhere/holdfast", "ALTER SYSTEM SET archive_command = ");
  write_file_durably(scene.path("holdfast"), as_bytes("#!/bin/sh\n"), 0600);
  scene.set("archive_command", scene.path("holdfast") + words);
  scene.expect_cause("server's user",
                     fmt::format("archive_command, tried by hand as \"{}\": its program cannot be "
                                 "started",
                                 std::getenv("USER")),
                     "Permission denied", "readable and executable");

  // Another configuration: no file, another repository, another cluster's name.
  scene.set("archive_command",
            std::regex_replace(own, std::regex("--config [^ ]+"), "--config /nowhere/h.toml"));
  scene.expect_cause("server's user",
                     fmt::format("archive_command, tried by hand as \"{}\": configuration file "
                                 "\"/nowhere/h.toml\" does not exist",
                                 std::getenv("USER")),
                     "", "Name an existing file");
  const std::string other = scene.path("other.toml");
  write_file_durably(other, as_bytes(std::regex_replace(
                                read_text_file(scene.config_file()), std::regex("url = \"[^\"]*\""),
                                fmt::format("url = \"{}\"", scene.path("other")))));
  ASSERT_TRUE(holdfast({"--config", other, "init"}).status.ok());
  const std::string to_other =
      std::regex_replace(own, std::regex("--config [^ ]+"), "--config " + other);
  const std::regex pin(" --repo-id [^ ]+");
  scene.set("archive_command", std::regex_replace(to_other, pin, ""));
  scene.expect_cause("server's user", "archive_command archives into another repository",
                     scene.path("other"), "the configuration that archive_command names");
  scene.set("archive_command", to_other);
  const Found pinned = scene.check();
  EXPECT_EQ(pinned.status, 1) << scene.said();
  EXPECT_NE(pinned.item("server's user").message.find("another repository than expected is at"),
            std::string::npos)
      << scene.said();
  scene.set("archive_command",
            std::regex_replace(own, pin, " --repo-id 00112233445566778899aabbccddeeff"));
  scene.expect_cause("archive_command", "archive_command archives into another repository",
                     "this repository's id is ", "init --configure-server --replace");
  // A new name that the configuration does not have is refused.
  const Captured typo = scene.run({"init", "-c", "mein", "--conninfo", scene.server().conninfo()});
  EXPECT_EQ(typo.status.code, 2) << describe(typo);
  EXPECT_NE(typo.err.find("Did you mean \"main\"?"), std::string::npos) << typo.err;
  // The same server by another name would have its WAL in one cluster and its backups in the other.
  std::vector<std::string> second = {"--repo",     scene.repository(),        "-c",  "second",
                                     "--conninfo", scene.server().conninfo(), "init"};
  const Captured refused = holdfast(second);
  EXPECT_EQ(refused.status.code, 1) << describe(refused);
  EXPECT_NE(refused.err.find("this server is in the repository as cluster \"main\" already"),
            std::string::npos)
      << refused.err;
  EXPECT_NE(refused.err.find(" init --second-cluster"), std::string::npos) << refused.err;
  second.push_back("--second-cluster");
  ASSERT_TRUE(holdfast(second).status.ok());
  scene.set("archive_command",
            std::regex_replace(own, std::regex("--cluster [^ ]+"), "--cluster second"));
  scene.expect_cause("server's user", "archive_command does not archive as cluster \"main\"",
                     "--cluster second", "Choose the cluster's name");

  // A server that is this repository's in nothing.
  scene.reset_archive_command();
  PostgresServer stranger({});
  scene.expect_cause("lineage", "the server is not cluster \"main\" of the repository",
                     "that of lineage 15-1 is", "init --new-lineage\"",
                     {"--conninfo", stranger.conninfo(), "--pgdata", stranger.data_directory()});
  scene.expect_cause("lineage", "the repository has no cluster \"third\"", "It has: main, second.",
                     "init -c third\"", {"-c", "third", "--conninfo", scene.server().conninfo()});
  scene.expect_proven();
}

TEST(CheckRepository, ThatCannotTakeASegmentIsToldInTheWordsOfWalPush) {
  CheckScene scene({.wal_segment_mib = 1});
  scene.wait_until_all_is_archived();
  const std::string push = fmt::format("wal push, tried by hand as \"{}\": ", std::getenv("USER"));
  {
    SCOPED_TRACE("it cannot be written to");
    const std::string uploads = join_path(scene.repository(), ".tmp");
    ASSERT_EQ(chmod(uploads.c_str(), 0500), 0);
    const Found found = scene.check();
    ASSERT_EQ(chmod(uploads.c_str(), 0750), 0);
    EXPECT_EQ(found.status, 1);
    EXPECT_EQ(found.cause(), "proof") << scene.said();
    EXPECT_TRUE(found.item("proof").message.starts_with(push + "could not create \"" + uploads))
        << scene.said();
    EXPECT_NE(found.item("proof").hint.find("Give its owner back what he may do: chmod"),
              std::string::npos);
  }
  {
    SCOPED_TRACE("it is not there");
    const std::string away = scene.path("repo.away");
    rename_path(scene.repository(), away);
    scene.expect_cause("repository",
                       fmt::format("repository directory \"{}\" is not there", scene.repository()),
                       "No such file or directory", "mounted");
    rename_path(away, scene.repository());
  }
  {
    SCOPED_TRACE("the server is down");
    scene.server().stop();
    const Found found = scene.check();
    EXPECT_EQ(found.status, 1);
    EXPECT_EQ(found.cause(), "server") << scene.said();
    EXPECT_EQ(found.item("server").message, "could not connect to the PostgreSQL server");
    EXPECT_NE(found.item("server").hint.find("Is the server running"), std::string::npos);
    EXPECT_EQ(found.item("repository").outcome, "ok");
    EXPECT_EQ(found.item("proof").outcome, "skipped");
    scene.server().start();
  }
  scene.expect_proven();
}

TEST(CheckRepository, ThatIsFullIsToldInTheWordsOfWalPush) {
  const char* disk = std::getenv("HOLDFAST_SMALL_DISK");
  ASSERT_TRUE(disk != nullptr && *disk != '\0') << "run this with tools/run_integration";
  const std::string repository = join_path(disk, "repo");
  CheckScene scene({.wal_segment_mib = 1});
  const std::vector<std::string> there = {"--repo", repository};
  scene.must({"init", "--configure-server", "--replace", there[0], there[1]});
  scene.expect_proven(there);
  const std::string filler = join_path(disk, "filler");
  {
    const Fd fd = open_file(filler, O_WRONLY | O_CREAT | O_EXCL);
    EXPECT_EQ(posix_fallocate(fd.get(), 0, static_cast<off_t>(free_bytes(disk))), 0);
  }
  const Found found = scene.check(there);
  remove_file(filler);
  EXPECT_EQ(found.status, 1);
  EXPECT_EQ(found.cause(), "proof") << scene.said();
  EXPECT_TRUE(std::regex_match(
      found.item("proof").message,
      std::regex("wal push, tried by hand as \"[a-z]+\": could not write .*: No space left on "
                 "device")))
      << scene.said();
  EXPECT_NE(found.item("proof").hint.find("Free space"), std::string::npos);
  EXPECT_EQ(found.item("room in repository").outcome, "warning");
  scene.expect_proven(there);
  scene.crash();
  remove_tree(repository);
}

TEST(CheckKey, IsTriedWithOurEyesAndWithTheServers) {
  CheckScene scene({.sealing = Sealing::kKeyFile, .wal_segment_mib = 1});
  scene.expect_proven();
  const std::string key = scene.key_file();
  const std::string ours = scene.path("our.key");
  write_file_durably(ours, as_bytes(read_text_file(key)));
  {
    SCOPED_TRACE("readable for us, not for the server");
    ASSERT_EQ(chmod(key.c_str(), 0), 0);
    const Found found = scene.check({"--key-file", ours});
    ASSERT_EQ(chmod(key.c_str(), 0600), 0);
    EXPECT_EQ(found.status, 1);
    EXPECT_EQ(found.item("repository").outcome, "ok");
    EXPECT_EQ(found.item("server's user").outcome, "warning") << scene.said();
    EXPECT_EQ(found.cause(), "proof") << scene.said();
    EXPECT_EQ(found.item("proof").message,
              fmt::format("wal push, tried by hand as \"{}\": could not open \"{}\": Permission "
                          "denied",
                          std::getenv("USER"), key))
        << scene.said();
  }
  {
    SCOPED_TRACE("the server's is another repository's");
    rename_path(key, scene.path("kept"));
    write_file_durably(key, as_bytes(std::string(32, 'k')));
    const Found found = scene.check({"--key-file", ours});
    EXPECT_EQ(found.cause(), "server's user") << scene.said();
    EXPECT_NE(found.item("server's user").message.find("this key file does not open"),
              std::string::npos)
        << scene.said();
    SCOPED_TRACE("ours too");
    const Found both = scene.check();
    EXPECT_EQ(both.status, 1);
    EXPECT_EQ(both.cause(), "repository") << scene.said();
    EXPECT_NE(both.item("repository").message.find("this key file does not open"),
              std::string::npos);
    EXPECT_EQ(both.item("server").outcome, "ok");
    SCOPED_TRACE("none");
    remove_file(key);
    const Found none = scene.check();
    EXPECT_EQ(none.cause(), "repository") << scene.said();
    EXPECT_NE(none.item("repository").message.find(key), std::string::npos) << scene.said();
    rename_path(scene.path("kept"), key);
  }
  scene.expect_proven();
}

// A copy of the cluster goes on beside it and archives first: the name is there, and is no proof.
TEST(CheckDiverged, FindsThatAnotherServerHasArchivedUnderTheName) {
  CheckScene scene({.wal_segment_mib = 1});
  scene.wait_until_all_is_archived();
  scene.server().stop();
  const std::string copy = scene.path("copy");
  run_checked({.arguments = {"cp", "-a", scene.server().data_directory(), copy}});
  {
    PostgresServer other({.data_directory = copy});
    for (int i = 0; i < 3; ++i) scene.archive_current_segment(other.connect());
    other.stop();
  }
  scene.server().start();
  scene.expect_cause("history", "the archive is not shown to be this server's",
                     "of another history than the archive", "it must not archive here");
}

// An archiver that stands still, as with a command that hangs.
TEST(CheckBacklog, IsCountedAndItsTrendIsTold) {
  CheckScene scene({.wal_segment_mib = 1});
  scene.wait_until_all_is_archived();
  scene.archive_current_segment();
  scene.wait_until_all_is_archived();
  const pid_t archiver = static_cast<pid_t>(std::stol(
      scene.server().value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'archiver'")));
  ASSERT_EQ(kill(archiver, SIGSTOP), 0);
  for (int i = 0; i < 6; ++i) {
    scene.server().sql("SELECT pg_create_restore_point('wait')");
    scene.server().sql("SELECT pg_switch_wal()");
  }
  const Found found = scene.check({"--archive-timeout", "1s"});
  ASSERT_EQ(kill(archiver, SIGCONT), 0);
  EXPECT_EQ(found.status, 1);
  EXPECT_EQ(found.cause(), "proof") << scene.said();
  EXPECT_EQ(found.item("archiver").outcome, "warning") << scene.said();
  EXPECT_TRUE(found.item("archiver")
                  .message.starts_with("6 files wait to be archived, the oldest "
                                       "since 20"))
      << scene.said();
  EXPECT_TRUE(std::regex_match(
      found.item("proof").message,
      std::regex("archiving is behind, and standing still: segment [0-9A-F]{24} did not come into "
                 "the repository within [0-9.]+ s")))
      << scene.said();
  EXPECT_TRUE(found.item("proof").detail.starts_with(
      "7 files wait in pg_wal/archive_status, 6 when this began; the server archived 0 meanwhile. "
      "The oldest has waited since 20"))
      << scene.said();
  scene.wait_until_all_is_archived();
  scene.expect_proven();
}

TEST(CheckStandby, ProvesWhatAStandbyCanAndSaysSoWhereItCannot) {
  CheckScene scene({.wal_segment_mib = 1});
  scene.must({"backup"});
  scene.archive_current_segment();
  // A standby that is fed by the archive.
  const std::string data = scene.path("standby");
  scene.must({"restore", "--into", data});
  remove_file_if_exists(join_path(data, "recovery.signal"));
  write_file_durably(join_path(data, "standby.signal"), {});
  const std::string conf = join_path(data, "postgresql.auto.conf");
  auto set = [&](const std::string& lines) {
    write_file_durably(conf, as_bytes(read_text_file(conf) + lines));
  };
  set(fmt::format("recovery_target_timeline = 'latest'\narchive_mode = on\narchive_command = {}\n",
                  cluster::quote_literal(scene.own_command())));
  auto standby = std::make_unique<PostgresServer>(PostgresServer::Options{.data_directory = data});
  auto replays = [&](const std::string& lsn) {
    return comes_true(
        [&] { return standby->value("SELECT pg_last_wal_replay_lsn() >= '" + lsn + "'") == "t"; });
  };
  const std::string lsn = scene.server().value("SELECT pg_current_wal_lsn()");
  scene.archive_current_segment();
  ASSERT_TRUE(replays(lsn)) << standby->log();
  const std::vector<std::string> there = {"--conninfo", standby->conninfo(), "--pgdata", data};
  scene.expect_cause("proof", "archiving cannot be proven from a standby",
                     "the newest whole one of this standby, was read back", "on the primary",
                     there);

  // With archive_mode = always it archives too, and its archiver's word stands for it.
  standby->stop();
  set("archive_mode = always\n");
  standby->start();
  const std::string next = scene.server().value("SELECT pg_current_wal_lsn()");
  scene.archive_current_segment();
  ASSERT_TRUE(replays(next)) << standby->log();
  ASSERT_TRUE(comes_true([&] {
    return standby->value("SELECT archived_count > 0 FROM pg_stat_archiver") == "t";
  })) << standby->log();
  EXPECT_TRUE(comes_true([&] { return scene.check(there).status == 0; })) << scene.said();
  standby->stop();
}

}  // namespace
}  // namespace holdfast::test
