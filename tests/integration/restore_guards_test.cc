// What a restore in place must not clear: what is not its own, what is in use, what it cannot give
// back.
#include <algorithm>
#include <csignal>
#include <filesystem>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/error_of.h"
#include "support/file_faults.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

// The configuration of the scene with one text for another.
std::string other_configuration(const RecoveryScene& scene, const std::string& from,
                                const std::string& to) {
  std::string text = read_text_file(scene.config_file());
  text.replace(text.find(from), from.size(), to);
  std::string file = scene.path("other.toml");
  write_file_durably(file, as_bytes(text));
  return file;
}

bool counts(PostgresServer& server, const char* table, const char* rows) {
  return server.value(fmt::format("SELECT pg_catalog.count(*) FROM public.{}", table)) == rows;
}

// While a restore saves the old WAL: systemd starts the server that died, and somebody types the
// restore once more. And then the restore is killed.
TEST(RestoreGuards, NothingStartsAndNobodyElseRestoresWhileTheOldWalIsSaved) {
  for (const int major : {15, 17}) {
    RecoveryScene scene({.major = major, .wal_segment_mib = 1});
    const std::string data = scene.server().data_directory();
    const std::string control = join_path(data, "global/pg_control");
    scene.must({"backup"});
    scene.server().sql("CREATE TABLE last AS SELECT generate_series(1, 100) AS id");
    const std::string segment =
        scene.server().value("SELECT pg_walfile_name(pg_current_wal_lsn())");
    scene.crash();
    {
      HeldCommand restore(scene, {"-q", "restore", "--in-place", "--yes"}, "pg_wal/" + segment);
      EXPECT_FALSE(lstat_if_exists(control));
      error_of([&] { scene.server().start(); });
      EXPECT_FALSE(scene.server().is_running());
      EXPECT_NE(scene.server().log().find("could not find the database system"), std::string::npos)
          << scene.server().log();
      const std::vector<std::string> before = contents(data);
      for (const std::vector<std::string>& second :
           {std::vector<std::string>{"restore", "--in-place", "--yes"},
            {"restore", "--in-place", "--yes", "--delta", "--start"},
            {"restore", "--in-place", "--resume"}}) {
        const Captured refused = scene.run(second);
        EXPECT_EQ(refused.status.code, 5) << describe(refused);
        EXPECT_NE(refused.err.find(fmt::format("Its process id is {}.", restore.process().pid())),
                  std::string::npos)
            << refused.err;
      }
      EXPECT_EQ(contents(data), before);
      restore.process().signal(SIGKILL);
      restore.wait();
    }
    // What is refused, or is killed and then run again, gives the server back as it was.
    EXPECT_FALSE(lstat_if_exists(control));
    const Captured refused =
        scene.run({"restore", "--in-place", "--yes", "--to", "2000-01-01T00:00:00Z"});
    EXPECT_EQ(refused.status.code, 4) << describe(refused);
    EXPECT_FALSE(lstat_if_exists(join_path(data, "holdfast_restore.in_progress")));
    scene.server().start();
    EXPECT_TRUE(counts(scene.server(), "last", "100"));
    scene.crash();
    HeldCommand restore(scene, {"-q", "restore", "--in-place", "--yes"}, "pg_wal/" + segment);
    restore.process().signal(SIGKILL);
    restore.wait();
    EXPECT_EQ(scene.restore_in_place()->value("SELECT pg_catalog.count(*) FROM public.last"),
              "100");
  }
}

// A snapshot, or a copy that is mounted read-only, is all that there is of the repository.
TEST(RestoreGuards, ARepositoryThatTakesNothingBringsTheClusterBack) {
  RecoveryScene scene({.wal_segment_mib = 1});
  scene.server().sql("CREATE TABLE t AS SELECT generate_series(1, 10) AS id");
  scene.must({"backup"});
  scene.server().sql("INSERT INTO t VALUES (11)");
  scene.archive_current_segment();
  scene.server().sql("INSERT INTO t VALUES (12)");
  const std::string segment = scene.server().value("SELECT pg_walfile_name(pg_current_wal_lsn())");
  scene.crash();
  run_checked({.arguments = {"chmod", "-R", "a-w", scene.repository()}});
  const std::vector<std::string> before = contents(scene.server().data_directory());
  for (const std::vector<std::string>& more : {std::vector<std::string>{"--dry-run"}, {"--yes"}}) {
    std::vector<std::string> words = {"restore", "--in-place"};
    words.insert(words.end(), more.begin(), more.end());
    const Captured refused = scene.run(words);
    EXPECT_EQ(refused.status.code, 1) << describe(refused);
    EXPECT_NE(refused.err.find("add --without-own-wal to the command"), std::string::npos)
        << refused.err;
  }
  EXPECT_EQ(contents(scene.server().data_directory()), before);
  EXPECT_EQ(scene.run({"restore", "--in-place", "--dry-run", "--without-own-wal"}).status.code, 0);
  {
    const auto restored = scene.restore_in_place({"--without-own-wal"});
    EXPECT_EQ(restored->value("SELECT pg_catalog.max(id) FROM public.t"), "11");
    const Json& aside = restored->result().at("moved_aside");
    const bool is_kept = std::ranges::any_of(aside.items(), [&](const Json& one) {
      return one.at("to").as_string().ends_with(segment) &&
             lstat_if_exists(one.at("to").as_string());
    });
    EXPECT_TRUE(is_kept) << aside.dump();
  }
  run_checked({.arguments = {"chmod", "-R", "u+w", scene.repository()}});
}

// "cp -a" of a data directory, whose tablespaces are the original's.
TEST(RestoreGuards, ACopyIsNotRestoredOverTheTablespacesOfTheOriginal) {
  RecoveryScene scene({.wal_segment_mib = 1});
  const std::string place = scene.make_tablespace_directory("space");
  scene.server().sql(fmt::format("CREATE TABLESPACE space LOCATION '{}'", place));
  scene.server().sql("CREATE TABLE t TABLESPACE space AS SELECT generate_series(1, 1000) AS id");
  scene.must({"backup"});
  scene.server().stop();
  const std::string data = scene.server().data_directory();
  const std::string copy = scene.path("copy");
  run_checked({.arguments = {"cp", "-a", data, copy}});
  scene.server().start();
  scene.server().sql("INSERT INTO t SELECT generate_series(1, 500)");
  const std::string config =
      other_configuration(scene, data + "\"\nconninfo", copy + "\"\nconninfo");
  const std::vector<std::string> before = contents(copy);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{}, {"--delta"}, {"--dry-run"}}) {
    std::vector<std::string> all = {"--config", config, "restore", "--in-place", "--yes"};
    all.insert(all.end(), words.begin(), words.end());
    const Captured refused = holdfast(all);
    EXPECT_EQ(refused.status.code, 5) << describe(refused);
    EXPECT_NE(refused.err.find(place + "/PG_"), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find(data), std::string::npos) << refused.err;
  }
  EXPECT_EQ(contents(copy), before);
  scene.server().sql("INSERT INTO t VALUES (1)");
  scene.server().sql("CHECKPOINT");
  EXPECT_TRUE(counts(scene.server(), "t", "1501"));
  // The original is not in its own way: its dry run says only that it runs.
  const Captured own = scene.run({"restore", "--in-place", "--dry-run"});
  EXPECT_EQ((own.out + own.err).find("is in use"), std::string::npos) << describe(own);
}

TEST(RestoreGuards, ARepositoryBelowTheDataDirectoryIsNeitherBackedUpNorCleared) {
  RecoveryScene scene({.wal_segment_mib = 1});
  const std::string data = scene.server().data_directory();
  scene.must({"backup"});
  const std::string inside = join_path(data, "holdfast_repo");
  run_checked({.arguments = {"cp", "-a", scene.repository(), inside}});
  std::filesystem::create_directory_symlink(inside, scene.path("link"));
  for (const std::string& url : {inside, scene.path("link")}) {
    const std::string config =
        other_configuration(scene, "\"" + scene.repository() + "\"", "\"" + url + "\"");
    const auto status = [&](std::vector<std::string> words) {
      words.insert(words.begin(), {"--config", config});
      const Captured ran = holdfast(words);
      EXPECT_NE((ran.out + ran.err).find("the repository lies in"), std::string::npos)
          << describe(ran);
      return ran.status.code;
    };
    if (!scene.server().is_running()) scene.server().start();
    EXPECT_EQ(status({"init"}), 2);
    EXPECT_EQ(status({"backup"}), 2);
    EXPECT_NE(status({"check", "--archive-timeout", "5s"}), 0);
    scene.crash();
    const std::vector<std::string> before = contents(data);
    for (const char* way : {"--dry-run", "--delta", "--start"})
      EXPECT_EQ(status({"restore", "--in-place", "--yes", way}), 2);
    EXPECT_EQ(contents(data), before);
  }
}

// Back to before a mistake, by a backup that has rotted: what is there is worth more.
TEST(RestoreGuards, ABackupThatHasRottedClearsNothing) {
  RecoveryScene scene({.wal_segment_mib = 1});
  const std::string data = scene.server().data_directory();
  scene.server().sql("CREATE TABLE t AS SELECT generate_series(1, 1000) AS id");
  scene.must({"backup"});
  scene.archive_current_segment();
  scene.server().stop();
  std::string pack;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(scene.repository()))
    if (entry.is_regular_file() && entry.path().string().find("/packs/") != std::string::npos &&
        (pack.empty() || entry.file_size() > std::filesystem::file_size(pack)))
      pack = entry.path().string();
  Bytes content = read_file(pack);
  content[content.size() / 2] ^= std::byte{1};
  write_file_durably(pack, content);

  const std::vector<std::string> before = contents(data);
  const Captured refused = scene.run({"restore", "--in-place", "--yes"});
  EXPECT_EQ(refused.status.code, 3) << describe(refused);
  EXPECT_NE(refused.err.find("was left as it is"), std::string::npos) << refused.err;
  EXPECT_EQ(contents(data), before);
  scene.server().start();
  EXPECT_TRUE(counts(scene.server(), "t", "1000"));
  scene.crash();

  content[content.size() / 2] ^= std::byte{1};
  write_file_durably(pack, content);
  scene.must({"verify"});  // takes the mark of damage away
  scene.must({"restore", "--in-place", "--yes"});
}

// The same of the WAL that would be replayed: where it rots, recovery ends, and what lay behind is
// gone with the old directory.
TEST(RestoreGuards, WalThatHasRottedClearsNothing) {
  RecoveryScene scene({.wal_segment_mib = 1});
  const std::string data = scene.server().data_directory();
  scene.must({"backup"});
  scene.server().sql("CREATE TABLE t (id int)");
  std::vector<std::string> segments;
  for (int i = 0; i < 3; ++i) {
    scene.server().sql("INSERT INTO t SELECT generate_series(1, 100)");
    segments.push_back(scene.archive_current_segment());
  }
  scene.server().stop();
  // The server has recycled it.
  remove_file_if_exists(join_path(data, "pg_wal/" + segments[1]));
  const std::string object = scene.wal_object(segments[1]).value();
  Bytes content = read_file(object);
  content[content.size() / 2] ^= std::byte{1};
  write_file_durably(object, content);

  const std::vector<std::string> before = contents(data);
  const Captured refused = scene.run({"restore", "--in-place", "--yes"});
  EXPECT_EQ(refused.status.code, 3) << describe(refused);
  EXPECT_NE(refused.err.find(fmt::format("WAL file \"{}\" cannot be replayed, and \"{}\" was left "
                                         "as it is",
                                         segments[1], data)),
            std::string::npos)
      << refused.err;
  EXPECT_EQ(contents(data), before);
  scene.server().start();
  EXPECT_TRUE(counts(scene.server(), "t", "300"));
}

// A former primary's directory, while production is reached by conninfo.
TEST(RestoreGuards, NoSecondProductionIsMadeWhileOneAnswers) {
  RecoveryScene scene({.wal_segment_mib = 1});
  scene.must({"backup"});
  const std::string data = scene.server().data_directory(), former = scene.path("former");
  scene.server().stop();
  run_checked({.arguments = {"cp", "-a", data, former}});
  scene.server().start();
  const std::string config =
      other_configuration(scene, data + "\"\nconninfo", former + "\"\nconninfo");
  const std::vector<std::string> before = contents(former);
  const Captured refused =
      holdfast({"--config", config, "restore", "--in-place", "--yes", "--start"});
  EXPECT_EQ(refused.status.code, 5) << describe(refused);
  EXPECT_NE(refused.err.find("a primary of it answers at conninfo"), std::string::npos)
      << refused.err;
  EXPECT_EQ(contents(former), before);

  // It was not reached when the files were laid.
  const Captured laid = holdfast(
      {"--config", config, "restore", "--in-place", "--yes", "--conninfo", "host=/nowhere"});
  EXPECT_EQ(laid.status.code, 0) << describe(laid);
  const Captured resumed = holdfast({"--config", config, "restore", "--resume", "--in-place"});
  EXPECT_EQ(resumed.status.code, 5) << describe(resumed);
  EXPECT_NE(resumed.err.find("a primary of it answers at conninfo"), std::string::npos)
      << resumed.err;
}

}  // namespace
}  // namespace holdfast::test
