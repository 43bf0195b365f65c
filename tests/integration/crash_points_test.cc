// Every command is killed (SIGKILL, with all it has started) as it begins one of the calls by which
// it changes what a file system keeps. Nothing earlier may be lost, and the next run must work.
//
// A full run lists the calls; then each is the end of a run of its own: 25 of them, by a seed that
// is printed, or every one with HOLDFAST_LONG.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <set>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/call_tracer.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

constexpr size_t kPoints = 25;

// Which of `calls` to be killed at, counted from 1; at most `limit`, the last always among them.
std::vector<uint64_t> choose_points(const std::string& what, const std::vector<std::string>& calls,
                                    size_t limit = kPoints) {
  std::vector<uint64_t> points;
  for (uint64_t point = 1; point <= calls.size(); ++point) points.push_back(point);
  if (std::getenv("HOLDFAST_LONG") == nullptr && points.size() > limit) {
    const char* given = std::getenv("HOLDFAST_SEED");
    const uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
    std::mt19937_64 engine(seed);
    std::ranges::shuffle(points, engine);
    points.resize(limit - 1);
    points.push_back(calls.size());
    std::ranges::sort(points);
    std::cout << fmt::format("{}: {} of {} calls, seed {} (HOLDFAST_SEED repeats it)\n", what,
                             points.size(), calls.size(), seed);
  } else {
    std::cout << fmt::format("{}: all {} calls\n", what, calls.size());
  }
  return points;
}

// Path and digest of each file. Of a repository only what it keeps: ".tmp" holds uploads that have
// not come to their end, also the server's own.
std::set<std::string> kept(const std::string& directory) {
  const std::vector<std::string> files = contents(directory);
  return {files.begin(), files.end()};
}
void expect_nothing_lost(const std::set<std::string>& before, const std::set<std::string>& after) {
  for (const std::string& file : before) EXPECT_TRUE(after.contains(file)) << file;
}

class CrashPoints : public testing::Test {
 protected:
  CrashPoints() : scene_({.wal_segment_mib = 1, .config = {"wal_keep_size = 128MB"}}) {
    // A third of the files: the other two databases are copies.
    scene_.server().sql("UPDATE pg_database SET datistemplate = false");
    scene_.server().sql("DROP DATABASE template0");
    scene_.server().sql("DROP DATABASE template1");
    scene_.server().sql("CREATE TABLE kept AS SELECT g FROM generate_series(1, 1000) g");
    scene_.must({"backup"});
    first_segment_ = scene_.archive_current_segment();
    second_segment_ = scene_.archive_current_segment();
  }

  std::string clusters() { return join_path(scene_.repository(), "clusters"); }
  std::string data() { return scene_.server().data_directory(); }
  TracedRun traced(const std::vector<std::string>& words, const std::string& directory = {},
                   std::optional<uint64_t> kill_at = std::nullopt) {
    std::vector<std::string> all = {holdfast_program(), "--config", scene_.config_file()};
    all.insert(all.end(), words.begin(), words.end());
    return trace(all, directory, kill_at);
  }
  // The calls of a run that succeeds.
  std::vector<std::string> calls_of(const std::vector<std::string>& words,
                                    const std::string& directory = {}) {
    const TracedRun run = traced(words, directory);
    EXPECT_TRUE(run.status.ok()) << run.output;
    EXPECT_FALSE(run.calls.empty());
    return run.calls;
  }
  // Killed at call `point`, or, when this run made fewer calls, done.
  void kill_at(uint64_t point, const std::vector<std::string>& words,
               const std::string& directory = {}) {
    const TracedRun run = traced(words, directory, point);
    if (!run.killed()) {
      EXPECT_TRUE(run.status.ok()) << run.output;
      EXPECT_LT(run.calls.size(), point);
    }
  }
  std::vector<std::string> backups() {
    std::vector<std::string> ids;
    const Json list = scene_.must({"backup", "list"});
    for (const Json& backup : list.at("backups").items())
      ids.push_back(backup.at("id").as_string());
    return ids;
  }
  bool has_backup(const std::string& id) {
    const std::vector<std::string> ids = backups();
    return std::ranges::find(ids, id) != ids.end();
  }
  void expect_restorable(const std::string& backup) {
    const std::string into = scene_.path("restorable");
    scene_.must({"restore", "--into", into, "--backup", backup});
    EXPECT_TRUE(lstat_if_exists(join_path(into, "global/pg_control"))) << backup;
    remove_tree(into);
  }
  void expect_rows(const RestoredServer& server) {
    EXPECT_EQ(server.value("SELECT pg_catalog.count(*) FROM public.kept"), "1000");
  }

  RecoveryScene scene_;
  std::string first_segment_, second_segment_;
};

TEST_F(CrashPoints, OfABackupLeaveTheEarlierOnesAndTheNextRunWorks) {
  const std::vector<std::string> command = {"backup"};
  const std::vector<std::string> calls = calls_of(command);
  int number = 0;
  for (const uint64_t point : choose_points("backup", calls)) {
    SCOPED_TRACE(fmt::format("killed at call {}, {}", point, calls[point - 1]));
    const std::set<std::string> before = kept(clusters());
    const std::vector<std::string> ids = backups();
    kill_at(point, command);
    expect_nothing_lost(before, kept(clusters()));
    const std::vector<std::string> after = backups();
    EXPECT_TRUE(std::ranges::includes(after, ids));
    // One that is listed is whole, although its maker was killed.
    if (after.size() > ids.size()) expect_restorable(after.back());
    scene_.must(command);
    EXPECT_EQ(backups().size(), after.size() + 1);
    if (++number % 8 == 0) expect_restorable(ids.front());
    if (HasFailure()) return;
  }
  for (const std::string& id : {backups().front(), backups().back()})
    expect_rows(*scene_.restore_into("started", {"--backup", id}));
}

TEST_F(CrashPoints, OfDeletionAndExpiryLeaveWhatLivesAndTheNextRunWorks) {
  scene_.configure_grace("0s");
  const std::vector<std::string> command = {"expire"};
  const std::string first = backups().front();
  scene_.must({"backup"});
  const std::set<std::string> whole = kept(clusters());
  const std::string aside = scene_.path("aside");
  auto copy = [](const std::string& from, const std::string& to) {
    remove_tree(to);
    run_checked({.arguments = {"cp", "-a", from, to}});
  };
  // From the repository as it was before each of: the deletion, the run that lists, the run that
  // removes.
  const std::vector<std::string> deletion = {"backup", "delete", first, "--yes"};
  const std::string living = [&] {
    for (const std::string& id : backups())
      if (id != first) return id;
    return std::string();
  }();
  for (int phase = 0; phase < 3; ++phase) {
    const std::vector<std::string>& what = phase == 0 ? deletion : command;
    copy(scene_.repository(), aside);
    const std::vector<std::string> calls = calls_of(what);
    for (const uint64_t point :
         choose_points(fmt::format("deletion, phase {}", phase), calls, kPoints / 3)) {
      SCOPED_TRACE(fmt::format("phase {}, killed at call {}, {}", phase, point, calls[point - 1]));
      copy(aside, scene_.repository());
      kill_at(point, what);
      EXPECT_TRUE(has_backup(living));
      // The rest is done by the runs that follow.
      if (phase == 0 && has_backup(first)) scene_.must(deletion);
      for (int more = 0; more < 3; ++more) scene_.must(command);
      EXPECT_EQ(backups(), std::vector<std::string>{living});
      expect_restorable(living);
      if (HasFailure()) return;
    }
    copy(aside, scene_.repository());
    scene_.must(what);
  }
  EXPECT_LT(kept(clusters()).size(), whole.size());
  expect_rows(*scene_.restore_into("started", {}));
}

// A sealed repository beside the scene's own: no server is asked. A passphrase takes a second to
// try, so most points are tried with key files.
TEST_F(CrashPoints, OfAChangeOfTheKeyLeaveOneThatOpensAndTheNextRunFinishes) {
  const std::string repository = scene_.path("sealed"), aside = scene_.path("sealed.aside");
  const std::string old_key = scene_.path("old.key"), new_key = scene_.path("new.key");
  const struct {
    std::string option;
    std::string old_text, new_text;
    size_t points;
  } kinds[] = {{"key-file", std::string(64, 'a') + "\n", std::string(64, 'b') + "\n", kPoints},
               {"passphrase-file", "the first of two passphrases\n", "and the second\n", 3}};
  const auto set_back = [&](const std::string& from, const std::string& to) {
    remove_tree(to);
    run_checked({.arguments = {"cp", "-a", from, to}});
  };
  for (const auto& kind : kinds) {
    SCOPED_TRACE(kind.option);
    write_file_durably(old_key, as_bytes(kind.old_text));
    write_file_durably(new_key, as_bytes(kind.new_text));
    for (const std::string& file : {old_key, new_key}) ASSERT_EQ(chmod(file.c_str(), 0600), 0);
    const auto with = [&](const std::string& key, std::vector<std::string> words) {
      const std::vector<std::string> options = {"--repo", repository, "--" + kind.option, key};
      words.insert(words.end(), options.begin(), options.end());
      return words;
    };
    const std::vector<std::string> command =
        with(old_key, {"repo", "change-key", "--new-" + kind.option, new_key});
    const auto opens = [&](const std::string& key) {
      const Captured ran = scene_.run(with(key, {"repo", "list-keys"}));
      if (!ran.status.ok()) {
        EXPECT_EQ(ran.status.code, 2) << describe(ran);
        EXPECT_NE(ran.err.find("does not open the repository"), std::string::npos) << describe(ran);
      }
      return ran.status.ok();
    };
    remove_tree(repository);
    scene_.must(with(old_key, {"init", "--encrypt"}));
    set_back(repository, aside);
    const std::vector<std::string> calls = calls_of(command);
    for (const uint64_t point : choose_points("change-key, " + kind.option, calls, kind.points)) {
      SCOPED_TRACE(fmt::format("killed at call {}, {}", point, calls[point - 1]));
      set_back(aside, repository);
      kill_at(point, command);
      const bool old_opens = opens(old_key);
      EXPECT_TRUE(old_opens || opens(new_key));
      if (old_opens) scene_.must(command);
      EXPECT_FALSE(opens(old_key));
      const Json listed = scene_.must(with(new_key, {"repo", "list-keys"}));
      ASSERT_EQ(listed.at("keys").items().size(), 1u);
      EXPECT_TRUE(listed.at("keys").items()[0].at("configured").as_bool());
      EXPECT_EQ(listed.at("keys").items()[0].at("copies").as_i64(), 2);
      if (HasFailure()) return;
    }
  }
}

TEST_F(CrashPoints, OfWalPushLeaveTheEarlierSegmentsAndTheNextRunWorks) {
  const std::vector<std::string> command = {"wal", "push", "pg_wal/" + second_segment_};
  const Bytes content = read_file(join_path(data(), "pg_wal/" + second_segment_));
  // Once beside others of its timeline, once as the first, with folders to be made.
  for (const bool is_first : {false, true}) {
    const std::string wal =
        parent_path(parent_path(parent_path(scene_.wal_object(first_segment_).value())));
    const std::string aside = scene_.path("wal.aside");
    if (is_first) {
      rename_path(wal, aside);
    } else {
      remove_file(scene_.wal_object(second_segment_).value());
    }
    const std::vector<std::string> calls = calls_of(command, data());
    for (const uint64_t point : choose_points(is_first ? "first wal push" : "wal push", calls)) {
      SCOPED_TRACE(fmt::format("killed at call {}, {}", point, calls[point - 1]));
      if (is_first) {
        remove_tree(wal);
      } else {
        remove_file(scene_.wal_object(second_segment_).value());
      }
      const std::set<std::string> before = kept(clusters());
      kill_at(point, command, data());
      expect_nothing_lost(before, kept(clusters()));
      const std::optional<std::string> object = scene_.wal_object(second_segment_);
      const std::optional<Bytes> placed = object ? read_if_exists(*object) : std::nullopt;

      for (int again = 0; again < 2; ++again) {
        const Captured next = scene_.run(command, data());
        EXPECT_EQ(next.status.code, 0) << describe(next);
      }
      if (placed) {
        EXPECT_TRUE(read_file(*object) == *placed) << "the first did not stay";
      }
      const std::string got = scene_.path("got");
      const Captured get =
          scene_.run({"wal", "get", "--read-ahead", "0", second_segment_, got}, data());
      EXPECT_EQ(get.status.code, 0) << describe(get);
      EXPECT_TRUE(read_file(got) == content);
      remove_file(got);
      if (HasFailure()) return;
    }
    if (is_first) {
      remove_tree(wal);
      rename_path(aside, wal);
    }
  }
  expect_rows(*scene_.restore_into("started", {}));
}

// Each sync is a flush of the device, and a push is a process of its own.
TEST_F(CrashPoints, APushSyncsTheFoldersUpToTheRootOnlyWhenNobodyHas) {
  const std::string folder = parent_path(scene_.wal_object(second_segment_).value());
  auto syncs = [&] {
    remove_file(scene_.wal_object(second_segment_).value());
    return std::ranges::count(calls_of({"wal", "push", "pg_wal/" + second_segment_}, data()),
                              "fsync");
  };
  constexpr const char* kMark = "user.holdfast.durable";
  std::array<char, 64> mark{};
  if (getxattr(folder.c_str(), kMark, mark.data(), mark.size()) < 0 && errno == ENOTSUP) {
    EXPECT_GT(syncs(), 6);  // a file system that has no room for the mark
    return;
  }
  EXPECT_EQ(syncs(), 2);  // the object, and its folder
  for (std::string upper = folder; upper != scene_.repository(); upper = parent_path(upper))
    ASSERT_EQ(removexattr(upper.c_str(), kMark), 0) << upper;
  EXPECT_GT(syncs(), 6);
  EXPECT_EQ(syncs(), 2);
  // The mark of another folder, as a copy of the repository has it.
  for (std::string upper = folder; upper != scene_.repository(); upper = parent_path(upper))
    ASSERT_EQ(setxattr(upper.c_str(), kMark, "1:1", 3, 0), 0) << upper;
  EXPECT_GT(syncs(), 6);
}

TEST_F(CrashPoints, OfWalGetLeaveNoPartOfAFileAndTheNextRunWorks) {
  // Who asks is a server in recovery; what it looks like is all that counts.
  const std::string asking = scene_.path("asking");
  scene_.must({"restore", "--into", asking});
  const std::string destination = join_path(asking, "pg_wal/RECOVERYXLOG");
  const Bytes content = read_file(join_path(data(), "pg_wal/" + first_segment_));
  const std::set<std::string> before = kept(clusters());
  for (const char* read_ahead : {"0", "4"}) {
    const std::vector<std::string> command = {"wal",      "get",          "--read-ahead",
                                              read_ahead, first_segment_, "pg_wal/RECOVERYXLOG"};
    const std::vector<std::string> calls = calls_of(command, asking);
    for (const uint64_t point :
         choose_points(fmt::format("wal get, reading {} ahead", read_ahead), calls)) {
      SCOPED_TRACE(fmt::format("killed at call {}, {}", point, calls[point - 1]));
      remove_file_if_exists(destination);
      kill_at(point, command, asking);
      if (const std::optional<Bytes> placed = read_if_exists(destination)) {
        EXPECT_TRUE(*placed == content) << "a part of it was placed";
      }
      const Captured next = scene_.run(command, asking);
      EXPECT_EQ(next.status.code, 0) << describe(next);
      EXPECT_TRUE(read_file(destination) == content);
      if (HasFailure()) return;
    }
  }
  wait_until_deserted(asking);
  EXPECT_EQ(kept(clusters()), before);
}

// All but the state, which names the claim of this very recovery.
std::vector<std::string> laid(const std::string& directory) {
  std::vector<std::string> lines = contents(directory);
  std::erase_if(lines,
                [](const std::string& line) { return line.starts_with("holdfast_restore.json "); });
  return lines;
}

TEST_F(CrashPoints, OfARestoreElsewhereLeaveNothingThatStartsAndTheNextRunWorks) {
  const std::string into = scene_.path("into");
  const std::vector<std::string> command = {"restore", "--into", into};
  const std::vector<std::string> calls = calls_of(command);
  const std::vector<std::string> whole = laid(into);
  remove_tree(into);
  // At the end pg_control is laid and the marker goes: each of those calls.
  std::vector<uint64_t> points = choose_points("restore", calls);
  for (uint64_t point = calls.size() - 8; point < calls.size(); ++point)
    if (std::ranges::find(points, point) == points.end()) points.push_back(point);
  for (const uint64_t point : points) {
    SCOPED_TRACE(fmt::format("killed at call {}, {}", point, calls[point - 1]));
    const std::set<std::string> before = kept(clusters());
    kill_at(point, command);
    expect_nothing_lost(before, kept(clusters()));
    // What starts misses nothing.
    if (lstat_if_exists(join_path(into, "global/pg_control")))
      expect_nothing_lost({whole.begin(), whole.end()}, kept(into));
    const Captured again = scene_.run(command);  // over what the killed one has left
    EXPECT_TRUE(again.status.ok()) << describe(again);
    if (HasFailure()) return;
    EXPECT_EQ(laid(into), whole);
    EXPECT_FALSE(lstat_if_exists(join_path(into, "holdfast_restore.in_progress")));
    remove_tree(into);
    if (HasFailure()) return;
  }
  expect_rows(*scene_.restore_into("started", {}));
}

TEST_F(CrashPoints, OfADeltaLeaveNothingThatStartsAndTheNextRunWorksAsADeltaOrInFull) {
  const std::string into = scene_.path("into");
  const std::vector<std::string> full = {"restore", "--into", into};
  const std::vector<std::string> command = {"restore", "--into", into, "--delta", "--yes"};
  scene_.must(full);
  const std::vector<std::string> whole = laid(into);
  const auto spoil = [&] {
    for (const std::string& line : whole) {
      const std::string file = line.substr(0, line.find(' '));
      if (file.starts_with("base/") && file.ends_with("1"))
        write_file_durably(join_path(into, file), as_bytes("spoilt"));
    }
    write_file_durably(join_path(into, "base/stray"), {});
  };
  spoil();
  const std::vector<std::string> calls = calls_of(command);
  ASSERT_EQ(laid(into), whole);
  int number = 0;
  for (const uint64_t point : choose_points("restore --delta", calls)) {
    SCOPED_TRACE(fmt::format("killed at call {}, {}", point, calls[point - 1]));
    spoil();
    kill_at(point, command);
    // Under its other name too nothing was touched: for a restore that is none of a delta there is
    // nothing to do then, whatever the spoiler did.
    const bool is_whole =
        lstat_if_exists(join_path(into, "global/pg_control")).has_value() ||
        lstat_if_exists(join_path(into, "global/pg_control.holdfast")).has_value();
    const bool is_marked =
        lstat_if_exists(join_path(into, "holdfast_restore.in_progress")).has_value();
    // It had not begun, or had all but ended, or nothing starts on it.
    EXPECT_TRUE(is_whole || is_marked);
    scene_.must(!is_whole && ++number % 2 == 0 ? full : command);
    EXPECT_EQ(laid(into), whole);
    if (HasFailure()) return;
  }
}

TEST_F(CrashPoints, OfARestoreInPlaceLoseNoWalAndTheNextRunWorks) {
  // A row that only the old pg_wal holds.
  scene_.server().sql("ALTER SYSTEM SET archive_command = 'false'");
  scene_.server().sql("SELECT pg_reload_conf()");
  EXPECT_TRUE(comes_true([&] { return scene_.server().value("SHOW archive_command") == "false"; }));
  scene_.server().sql("CREATE TABLE unarchived AS SELECT 1 AS one");
  scene_.server().sql("SELECT pg_switch_wal()");
  scene_.server().sql("CREATE TABLE last AS SELECT 1 AS one");
  scene_.crash();
  const auto set_back = [&] {
    // A server that was killed leaves its socket's lock, whose pid can be another server's by now.
    for (const DirectoryEntry& entry : list_directory(scene_.directory()))
      if (entry.name.starts_with(".s.PGSQL."))
        remove_file(join_path(scene_.directory(), entry.name));
    for (const auto& [from, to] :
         std::map<std::string, std::string>{{scene_.path("data.crashed"), data()},
                                            {scene_.path("repo.crashed"), scene_.repository()}}) {
      remove_tree(to);
      run_checked({.arguments = {"cp", "-a", from, to}});
    }
  };
  run_checked({.arguments = {"cp", "-a", data(), scene_.path("data.crashed")}});
  run_checked({.arguments = {"cp", "-a", scene_.repository(), scene_.path("repo.crashed")}});

  const std::vector<std::string> command = {"restore", "--in-place", "--yes"};
  const std::vector<std::string> calls = calls_of(command);
  int number = 0;
  const std::vector<uint64_t> points = choose_points("restore in place", calls);
  for (const uint64_t point : points) {
    SCOPED_TRACE(fmt::format("killed at call {}, {}", point, calls[point - 1]));
    set_back();
    const std::set<std::string> before = kept(clusters());
    kill_at(point, command);
    expect_nothing_lost(before, kept(clusters()));
    // Every few times to the very end, which takes a server.
    if (++number % 6 == 0) {
      const std::unique_ptr<RestoredServer> server = scene_.restore_in_place();
      expect_rows(*server);
      EXPECT_EQ(server->value("SELECT one FROM public.unarchived"), "1");
      EXPECT_EQ(server->value("SELECT one FROM public.last"), "1");
    } else {
      scene_.must(command);
      EXPECT_TRUE(lstat_if_exists(join_path(data(), "global/pg_control")));
      EXPECT_TRUE(std::ranges::any_of(kept(clusters()), [](const std::string& file) {
        return file.find(".partial.") != std::string::npos;
      })) << "the last WAL was not saved";
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace holdfast::test
