// Wanderings: random walks over a few servers and one repository, and the short ways into what has
// once been wrong.
//
// A walk is drawn from a seed: what people, tools and accidents do to the servers, one step after
// the other, and after each what must be true (tests/support/walk_world.h). A gambit is a fixed
// opening of the same steps that leads straight to a place where rows were once lost, archiving
// stood still, or something untrue was said; walks begin with one now and then.
//
// A walk that fails prints its seed, its steps, and the line that walks it again:
//
//   HOLDFAST_SEED=7 HOLDFAST_WALK_STEPS=40 HOLDFAST_WALK_MAJOR=15
//
// How the processes of servers and programs come to meet is not drawn: a fault that needs a race
// may need the line several times. HOLDFAST_WALK_LOG prints the steps of walks that did not fail
// too.
//
// Each run has a seed: its walks are drawn from it and those behind it, and it decides which
// gambits are played on which of two majors. It is HOLDFAST_SEED or the same one each time, so that
// a change is not held up by what an earlier one did. The long suite draws it: it plays all gambits
// on each major, and walks there for HOLDFAST_WALK_MINUTES, in two tests, for two processes;
// without it for an hour over all majors.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <random>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/wal_directory.h"
#include "codec/digest.h"
#include "pg/timeline_history.h"
#include "support/file_faults.h"
#include "support/holdfast_command.h"
#include "support/postgres_server.h"
#include "support/walk_world.h"

namespace holdfast::test {
namespace {

using cluster::ShutdownMode;
using Server = WalkWorld::Server;
using Role = WalkWorld::Role;
using Point = WalkWorld::Point;

// --- Gambits ------------------------------------------------------------------------------------

// A backup of a standby leaves the beginning of a segment in the archive; the standby has more of
// it by the time it restarts without its primary.
void restart_behind_an_archived_beginning(WalkWorld& world, bool crash) {
  Server &n1 = world.server("n1"), &n2 = world.server("n2");
  world.write(3);
  world.checkpoint();
  world.wait_for_standby(n2);
  world.back_up(n2);
  world.synchronize_with("n2");
  world.write(5);
  world.destroy(n1);
  if (crash)
    world.kill(n2);
  else
    world.stop(n2, ShutdownMode::kFast);
  world.start(n2);
  world.promote(n2);
}
void standby_crashes(WalkWorld& world) { restart_behind_an_archived_beginning(world, true); }
void standby_restarts(WalkWorld& world) { restart_behind_an_archived_beginning(world, false); }

// The same beginning, and a standby that archives all that it restores.
void standby_archives_a_beginning(WalkWorld& world) {
  Server& n2 = world.server("n2");
  world.archive_always(n2, true);
  world.wait_for_standby(n2);
  world.write(3);
  world.checkpoint();
  world.wait_for_standby(n2);
  world.back_up(n2);
  world.write(2);
  const uint64_t growing = world.current_segment(*world.primary());
  world.stop(n2, ShutdownMode::kFast);
  world.start(n2);
  world.write(2);
  comes_true([&] { return world.is_archived(1, growing); }, std::chrono::seconds(2));
}

// Somebody archives the segment that is being written.
void growing_segment_is_pushed(WalkWorld& world) {
  Server& n1 = world.server("n1");
  world.write(3);
  world.push(n1, world.segment_name(1, world.current_segment(n1)));
  world.write(3);
}

// A failover while the archive lags: the new timeline's history is archived, and WAL before it not.
void history_without_what_leads_to_it(WalkWorld& world) {
  Server &n1 = world.server("n1"), &n2 = world.server("n2");
  world.hold_archiving(n1);
  for (int i = 0; i < 3; ++i) {
    world.write(2);
    world.switch_wal();
  }
  world.write();
  world.wait_for_standby(n2);
  world.kill(n1);
  world.promote(n2);
  comes_true([&] { return world.wal_object("00000002.history").has_value(); });
  world.kill(n2);
  world.expect_truthful_get();
  world.expect_recovery(WalkWorld::latest());
  world.expect_truthful_words();
  world.release_archiving(n1);
  world.salvage(n1);
  world.start(n2);
  world.expect_archiving(n2);
  world.expect_recovery(WalkWorld::latest(), 2);
}

// A base backup from outside is taken in while the WAL that it brings is being removed.
void import_meets_expire(WalkWorld& world) {
  Server& n1 = world.server("n1");
  const std::string old = world.backups().front().id;
  const std::string tar = world.take_tar(n1);
  world.write(2);
  world.switch_wal();
  world.back_up(n1);
  world.delete_backup(old);
  world.make_objects_older();
  world.must(n1, {"expire"});
  const bool is_due = comes_true([&] {
    const Json on_paper = world.must(n1, {"expire", "--dry-run"});
    return std::ranges::any_of(on_paper.at("lineages").items(), [](const Json& lineage) {
      return !lineage.at("taken_off").items().empty();
    });
  });
  if (!is_due) world.complain("what was deleted is never taken off");
  world.make_objects_older();
  // Who uses what has been looked at.
  HeldCommand expire(world.path(""), world.config_file(n1), {"-q", "expire"}, "/wal/",
                     HeldCommand::Before::kRemoving);
  // It may wait for the other one.
  Process import({.arguments = {holdfast_program(), "-q", "--config", world.config_file(n1),
                                "backup", "import", "--tar", tar},
                  .output = world.path("import.log"),
                  .error = "&1"});
  import.wait(std::chrono::seconds(3));
  const Captured expired = expire.release();
  if (!expired.status.ok()) world.complain(describe(expired));
  const ExitStatus imported = import.wait();
  world.note(fmt::format("an import, while expire removes what it had found before: {}",
                         to_string(imported)));
  if (!imported.ok()) world.note(read_text_file(world.path("import.log")));
}

// Of two standbys one was promoted, and is gone; the other has not heard of it, and is promoted
// while the repository is away for a while.
void promotion_in_an_outage(WalkWorld& world) {
  Server &n1 = world.server("n1"), &n2 = world.server("n2"), &n3 = world.server("n3");
  world.write(2);
  world.wait_for_standby(n2);
  world.wait_for_standby(n3);
  world.stop(n3, ShutdownMode::kFast);
  world.destroy(n1);
  world.promote(n2);
  world.write();
  world.expect_archiving(n2);
  world.destroy(n2);
  world.take_repository_away();
  world.start(n3);
  world.promote_in_outage(n3, std::chrono::seconds(6));
}

// The repository is away for longer than anybody waits for it, twice: a promotion asks for the
// history of the timeline that it leaves, too, which the second time is one.
void promotions_in_long_outages(WalkWorld& world) {
  Server &n1 = world.server("n1"), &n2 = world.server("n2"), &n3 = world.server("n3");
  world.write(2);
  world.wait_for_standby(n2);
  world.wait_for_standby(n3);
  world.destroy(n1);
  world.promote_in_outage(n2, std::chrono::seconds(14));
  world.write();
  world.expect_archiving(n2);
  world.follow(n3);
  world.wait_for_standby(n3);
  world.destroy(n2);
  world.promote_in_outage(n3, std::chrono::seconds(14));
  world.write();
}

// Recovered to too late a moment; again, to one before the first recovery's.
void recovery_before_the_last_one(WalkWorld& world) {
  Server& n1 = world.server("n1");
  world.write(2);
  const Point early = world.restore_point();
  world.write(2);
  const Point late = world.restore_point();
  world.write(2);
  world.expect_archiving(n1);
  world.stop(n1, ShutdownMode::kFast);
  world.restore_in_place(n1, WalkWorld::by_name(late));
  world.write();
  world.expect_archiving(n1);
  world.kill(n1);
  world.restore_in_place(n1, WalkWorld::by_name(early));
  world.write();
  world.expect_archiving(n1);
  world.back_up(n1);
  world.write();
  world.kill(n1);
  world.restore_in_place(n1, WalkWorld::latest());
}

// A file of a timeline without its history lies in the pg_wal that is salvaged.
void salvage_of_a_stray_file(WalkWorld& world) {
  Server& n1 = world.server("n1");
  world.back_up(n1);
  world.stop(n1, ShutdownMode::kFast);
  const std::string wal = join_path(n1.data, "pg_wal");
  std::string stray;
  for (const DirectoryEntry& entry : list_directory(wal))
    if (entry.name.ends_with(".backup")) stray = entry.name;
  write_file_durably(join_path(wal, "00000002" + stray.substr(8)),
                     read_file(join_path(wal, stray)));
  world.salvage(n1);
  world.expect_recovery(WalkWorld::latest());
  if (!world.restore_in_place(n1, WalkWorld::latest()))
    world.complain("the end of a healthy cluster cannot be reached");
}

// What a server recycles at a promotion keeps its content: under which name of the new timeline it
// comes to lie is chance, which is made here: each under its own number.
void recycle(WalkWorld& world, const Server& server) {
  const uint32_t timeline = world.history().line(server.line).timeline;
  const std::string wal = join_path(server.data, "pg_wal");
  const uint64_t last = *world.archived(1).rbegin();
  uint64_t own = pg::segment_of(world.history().line(server.line).fork, world.segment_size());
  for (const WalkRow& row : world.history().line(server.line).rows)
    own = pg::segment_of(row.end, world.segment_size());
  for (uint64_t segment = own + 1; segment <= last; ++segment) {
    const std::string from = world.segment_name(1, segment),
                      to = world.segment_name(timeline, segment);
    const Captured got =
        world.run(server, {"wal", "get", from, "pg_wal/" + to, "--read-ahead", "0"}, server.data);
    if (!got.status.ok()) world.complain(describe(got));
  }
}
void recover_before_empty_segments(WalkWorld& world) {
  Server& n1 = world.server("n1");
  world.write(2);
  const Point point = world.restore_point();
  for (int i = 0; i < 5; ++i) {
    world.write();
    world.switch_wal();
  }
  world.expect_archiving(n1);
  world.stop(n1, ShutdownMode::kFast);
  world.restore_in_place(n1, WalkWorld::by_name(point));
  world.write();
  world.kill(n1);
  recycle(world, n1);
}
void recycled_segments_before_a_recovery(WalkWorld& world) {
  recover_before_empty_segments(world);
  Server& n1 = world.server("n1");
  if (!world.restore_in_place(n1, WalkWorld::latest()))
    world.complain("acknowledged rows are given up");
}
void recycled_segments_are_salvaged(WalkWorld& world) {
  recover_before_empty_segments(world);
  Server& n1 = world.server("n1");
  world.salvage(n1);
  world.start(n1);
  for (int i = 0; i < 6; ++i) {
    world.write();
    world.switch_wal();
  }
}

// A copy that was put into its final place.
void copy_is_renamed(WalkWorld& world) {
  Server& n1 = world.server("n1");
  const Json made = world.must(n1, {"restore", "--into", world.path("made"), "--start"});
  const cluster::Installation installation = test_installation(world.major());
  const auto pg_ctl = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {installation.program("pg_ctl"), "-w"});
    const Captured ran = run({.arguments = words});
    if (!ran.status.ok())
      world.complain(fmt::format("{}: {}", fmt::join(words, " "), describe(ran)));
  };
  pg_ctl({"-D", world.path("made"), "-m", "fast", "stop"});
  rename_path(world.path("made"), world.path("final"));
  pg_ctl({"-D", world.path("final"), "-l", world.path("final.log"), "-o",
          fmt::format("-c unix_socket_directories={} -p 6699", world.path("")), "start"});
  cluster::Connection there = cluster::Connection::connect(
      {.conninfo = fmt::format("host={} port=6699 user=postgres", world.path(""))}, {});
  const std::string data = there.query_value("SHOW data_directory");
  pg_ctl({"-D", world.path("final"), "-m", "immediate", "stop"});
  if (absolute_path(data) != absolute_path(world.path("final")))
    world.complain(fmt::format("started on \"final\", the server runs on \"{}\"", data));
}

// The newest backup is a standby's.
void primary_from_a_backup_of_a_standby(WalkWorld& world) {
  Server &n1 = world.server("n1"), &n2 = world.server("n2");
  world.write(2);
  world.checkpoint();
  world.wait_for_standby(n2);
  world.back_up(n2);
  world.write();
  world.kill(n1);
  if (!world.restore_in_place(n1, WalkWorld::latest()))
    world.complain("acknowledged rows are given up");
  const std::string command = world.value(n1, "SHOW archive_command");
  if (command.find("n1.toml") == command.npos)
    world.complain(fmt::format("n1 archives as \"{}\"", command));
}

// The recovery that went to the wrong moment is done again at once, while what has read WAL ahead
// for the first one has not come to its end.
void recovery_after_a_recovery(WalkWorld& world) {
  Server& n1 = world.server("n1");
  world.write();
  const Point point = world.restore_point();
  for (int i = 0; i < 4; ++i) {
    world.write();
    world.switch_wal();
  }
  world.expect_archiving(n1);
  world.stop(n1, ShutdownMode::kFast);
  world.must(n1, {"restore", "--in-place", "--yes", "--to-name", point.name});
  // A server that Holdfast starts has nothing of the environment.
  const std::string held = world.path("held");
  make_directory(held);
  const std::string last = world.segment_name(1, *world.archived(1).rbegin());
  auto environment = environment_of({}, "");
  environment.insert(environment.end(),
                     {{"HF_PAUSE_AT", last + ".fetching"}, {"HF_PAUSE_DIRECTORY", held}});
  world.set_environment(std::move(environment));
  const bool is_started = world.try_start(n1);
  world.set_environment({});
  if (!is_started ||
      !comes_true([&] { return world.value(n1, "SELECT pg_catalog.pg_is_in_recovery()") == "f"; }))
    world.complain(world.server_log(n1));
  world.adopt(n1);
  if (!comes_true([&] { return lstat_if_exists(join_path(held, "reached")).has_value(); }))
    world.complain("the walk itself is wrong: nobody reads ahead");
  world.stop(n1, ShutdownMode::kFast);
  // The one that reads ahead is let go a while later, and not before is anything cleared.
  const std::string lock =
      fmt::format("{}/pg_wal/{}/{}", n1.data, cluster::kSpoolDirectory, cluster::kSpoolLock);
  bool is_cleared = false;
  TaskGroup reading;
  reading.start([&](const std::stop_token&) {
    is_cleared =
        comes_true([&] { return !lstat_if_exists(lock).has_value(); }, std::chrono::seconds(4));
    write_file_durably(join_path(held, "go"), {});
  });
  const bool is_restored = world.restore_in_place(n1, WalkWorld::latest());
  reading.wait();
  if (!is_restored) world.complain("acknowledged rows are given up");
  if (is_cleared) world.complain("cleared under somebody who reads WAL ahead");
}

// A standby that archives always closes the timeline that its primary has left.
void follower_closes_a_timeline(WalkWorld& world) {
  Server &n1 = world.server("n1"), &n2 = world.server("n2"), &n3 = world.server("n3");
  world.archive_always(n3, true);
  world.write(3);
  world.wait_for_standby(n2);
  world.wait_for_standby(n3);
  world.destroy(n1);
  world.hold_archiving(n2);
  world.promote(n2);
  world.follow(n3);
  world.write();
  world.wait_for_standby(n3);
  world.release_archiving(n2);
  world.expect_archiving(n2);
}

// An archived segment is lost.
void segment_is_lost(WalkWorld& world) {
  Server& n1 = world.server("n1");
  for (int i = 0; i < 5; ++i) {
    world.write(2);
    world.switch_wal();
  }
  world.expect_archiving(n1);
  const uint64_t lost = *world.archived(1).rbegin() - 3;
  world.note("a segment is lost: " + world.segment_name(1, lost));
  remove_file(world.wal_object(world.segment_name(1, lost)).value());
  world.expect_truthful_info();
  world.expect_truthful_words();
  // That window's end is no word only.
  const Json info = world.must(n1, {"info"});
  const Json& lineage = info.at("clusters").items().at(0).at("lineages").items().at(0);
  const std::string end = lineage.at("recoverable").items().at(0).at("end_time").as_string();
  Point last;
  for (const WalkRow& row : world.history().line(0).rows)
    if (row.begun <= parse_rfc3339(end).value()) last.lsn = row.end, last.time = row.done;
  world.expect_recovery({.words = {"--to", end}, .point = last, .by_time = true}, 1);
  world.back_up(n1);
}

// Restored by somebody who cannot see the server's processes.
void restore_from_another_container(WalkWorld& world) {
  Server& n1 = world.server("n1");
  world.write();
  const Captured ran =
      run({.arguments = {"unshare", "--user", "--map-current-user", "--pid", "--ipc", "--fork",
                         "--mount-proc", holdfast_program(), "-q", "--config",
                         world.config_file(n1), "restore", "--in-place", "--yes"}});
  world.note(
      fmt::format("holdfast restore --in-place in another pid namespace: {}", ran.status.code));
  if (ran.status.code != 5) world.complain(describe(ran));
}

// The owner of a standby rebuilds it with the tool that is there.
void standby_is_restored_in_place(WalkWorld& world) {
  Server &n1 = world.server("n1"), &n2 = world.server("n2");
  world.write();
  world.expect_archiving(n1);
  world.stop(n2, ShutdownMode::kFast);
  Captured ran = world.run(n2, {"restore", "--in-place", "--yes", "--start"});
  const bool was_refused = !ran.status.ok();
  if (was_refused)
    ran = world.run(n2, {"restore", "--in-place", "--yes", "--start", "--action", "promote"});
  if (ran.status.ok()) {
    world.adopt_stray(n2);
    world.stop(n2, ShutdownMode::kFast);
  }
  world.write();
  world.expect_archiving(n1);
  world.kill(n1);
  if (!world.restore_in_place(n1, WalkWorld::latest()))
    world.complain("acknowledged rows are given up");
  if (!was_refused) world.complain("a standby was made a primary by a restore without a word");
}

// A moment ago.
void copy_as_of_a_moment_ago(WalkWorld& world) {
  world.write(3);
  const Point before = world.restore_point();
  world.write();
  world.expect_recovery(WalkWorld::by_time(before));
}

// The first page of a segment that waits is lost in the crash.
void waiting_segment_is_damaged(WalkWorld& world) {
  Server& n1 = world.server("n1");
  world.hold_archiving(n1);
  world.write(2);
  const std::string name = world.segment_name(1, world.current_segment(n1));
  world.switch_wal();
  world.write();
  world.kill(n1);
  const std::string file = join_path(n1.data, "pg_wal/" + name);
  Bytes bytes = read_file(file);
  std::fill_n(bytes.begin(), 4096, std::byte{0});
  write_file_durably(file, bytes);
  world.note(fmt::format("the first page of {} is zeros", name));
  const Captured salvaged = world.salvage(n1);
  if (salvaged.status.ok()) world.complain(describe(salvaged));
  const Captured ran = world.run(n1, {"restore", "--in-place", "--yes"});
  bool is_kept = false;
  for (const std::string& one : contents(world.path("")))
    is_kept = is_kept ||
              (one.find(name) != one.npos && one.ends_with(to_hex(codec::sha256(bytes).view())));
  if (!is_kept) world.complain(fmt::format("{} is deleted: {}", name, describe(ran)));
  world.destroy(n1);
}

// In a disaster people are root.
void root_recovers(WalkWorld& world) {
  Server& n1 = world.server("n1");
  const auto must_as_root = [&](const std::vector<std::string>& words) {
    const Captured ran = world.run_as_root(n1, words);
    if (!ran.status.ok()) world.complain(describe(ran));
  };
  world.write(2);
  world.stop(n1, ShutdownMode::kImmediate);
  must_as_root({"restore", "--in-place", "--yes", "--start"});
  world.adopt(n1);
  make_directory(world.path("drills"));
  world.write();  // or a drill has nothing to compare
  world.expect_archiving(n1);
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"verify"},
                                             {"drill", "--drill-directory", world.path("drills")},
                                             {"backup", "--label", "by root"},
                                             {"backup", "pin", "latest"},
                                             {"restore", "--into", world.path("of_root")},
                                             {"expire"}}) {
    must_as_root(words);
    world.expect_archiving(n1);
  }
  const uid_t owner = lstat_if_exists(world.repository())->st_uid;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(world.repository()))
    if (lstat_if_exists(entry.path().string())->st_uid != owner)
      world.complain(fmt::format("\"{}\" is root's", entry.path().string()));
}

struct Gambit {
  const char* name;
  int servers;
  void (*play)(WalkWorld&);
};
constexpr Gambit kGambits[] = {
    {"AStandbyCrashesBehindAnArchivedBeginning", 2, standby_crashes},
    {"AStandbyRestartsBehindAnArchivedBeginning", 2, standby_restarts},
    {"AStandbyArchivesABeginning", 2, standby_archives_a_beginning},
    {"AGrowingSegmentIsPushed", 1, growing_segment_is_pushed},
    {"AHistoryIsArchivedWithoutWhatLeadsToIt", 2, history_without_what_leads_to_it},
    {"AnImportMeetsExpire", 1, import_meets_expire},
    {"APromotionInAnOutage", 3, promotion_in_an_outage},
    {"PromotionsInLongOutages", 3, promotions_in_long_outages},
    {"ARecoveryToBeforeTheLastOne", 1, recovery_before_the_last_one},
    {"AStrayFileIsSalvaged", 1, salvage_of_a_stray_file},
    {"RecycledSegmentsBeforeARecovery", 1, recycled_segments_before_a_recovery},
    {"RecycledSegmentsAreSalvaged", 1, recycled_segments_are_salvaged},
    {"ACopyIsRenamed", 1, copy_is_renamed},
    {"APrimaryFromABackupOfAStandby", 2, primary_from_a_backup_of_a_standby},
    {"ARecoveryRightAfterARecovery", 1, recovery_after_a_recovery},
    {"AFollowerClosesATimeline", 3, follower_closes_a_timeline},
    {"ASegmentIsLost", 1, segment_is_lost},
    {"ARestoreFromAnotherContainer", 1, restore_from_another_container},
    {"AStandbyIsRestoredInPlace", 2, standby_is_restored_in_place},
    {"ACopyAsOfAMomentAgo", 1, copy_as_of_a_moment_ago},
    {"AWaitingSegmentIsDamaged", 1, waiting_segment_is_damaged},
    {"RootRecovers", 1, root_recovers},
};

// --- Wandering ----------------------------------------------------------------------------------

// Draws one step after the other, of those that are possible.
class Wanderer {
 public:
  Wanderer(WalkWorld& world, uint64_t seed) : world_(world), engine_(seed) {}

  void walk(int steps) {
    for (int i = 1; i <= steps; ++i) {
      step();
      if (i % 5 == 0)
        world_.expect_all_is_well();
      else
        world_.expect_all_rows();
      if (i % 7 == 0) look_elsewhere();
    }
    come_home();
  }

 private:
  struct Step {
    int weight;
    bool (Wanderer::*take)();  // false: not possible now
  };

  uint64_t draw(uint64_t below) { return engine_() % below; }
  template <typename T>
  const T& one_of(const std::vector<T>& all) {
    return all[draw(all.size())];
  }
  Server* running_primary() {
    Server* one = world_.primary();
    return one != nullptr && one->is_running ? one : nullptr;
  }

  void step() {
    static constexpr Step kSteps[] = {
        {12, &Wanderer::write},
        {5, &Wanderer::switch_wal},
        {4, &Wanderer::note_a_point},
        {1, &Wanderer::checkpoint},
        {3, &Wanderer::back_up},
        {2, &Wanderer::hold_or_release},
        {2, &Wanderer::lose_or_find_repository},
        {2, &Wanderer::restart_primary},
        {2, &Wanderer::restart_standby},
        {2, &Wanderer::fail_over},
        {2, &Wanderer::switch_over},
        {4, &Wanderer::old_primary},
        {4, &Wanderer::make_standby},
        {1, &Wanderer::archive_always},
        {4, &Wanderer::restore_in_place},
        {1, &Wanderer::salvage},
        {2, &Wanderer::push_by_hand},
        {2, &Wanderer::import_or_export},
        {2, &Wanderer::delete_and_expire},
        {2, &Wanderer::synchronize},
        {1, &Wanderer::drill},
    };
    uint64_t all = 0;
    for (const Step& one : kSteps) all += static_cast<uint64_t>(one.weight);
    for (;;) {
      uint64_t at = draw(all);
      const Step* drawn = kSteps;
      while (at >= static_cast<uint64_t>(drawn->weight))
        at -= static_cast<uint64_t>((drawn++)->weight);
      if ((this->*drawn->take)()) return;
    }
  }

  // --- Steps ---

  bool write() {
    if (running_primary() == nullptr) return false;
    const bool is_large = draw(4) == 0;
    world_.write(1 + static_cast<int>(draw(is_large ? 3 : 6)), is_large ? 300 : 0);
    return true;
  }
  bool switch_wal() {
    if (running_primary() == nullptr) return false;
    world_.switch_wal();
    return true;
  }
  bool note_a_point() {
    if (running_primary() == nullptr) return false;
    world_.restore_point();
    return true;
  }
  bool checkpoint() {
    if (running_primary() == nullptr) return false;
    world_.checkpoint();
    return true;
  }
  // It waits for the archive, and one of a standby for its primary's archiving.
  bool back_up() {
    Server* primary = running_primary();
    if (primary == nullptr || world_.is_repository_away() || primary->is_held) return false;
    const std::vector<Server*> standbys = world_.having(Role::kStandby, true);
    if (standbys.empty() || draw(2) == 0) {
      world_.back_up(*primary);
      return true;
    }
    Server& standby = *one_of(standbys);
    if (standby.line != primary->line) return false;
    world_.checkpoint();
    world_.wait_for_standby(standby);
    world_.back_up(standby);
    return true;
  }
  bool hold_or_release() {
    Server* primary = running_primary();
    if (primary == nullptr) return false;
    if (primary->is_held)
      world_.release_archiving(*primary);
    else
      world_.hold_archiving(*primary);
    return true;
  }
  bool lose_or_find_repository() {
    if (world_.is_repository_away())
      world_.bring_repository_back();
    else
      world_.take_repository_away();
    return true;
  }
  void end(Server& server) {
    switch (draw(3)) {
      case 0:
        world_.kill(server);
        break;
      case 1:
        world_.stop(server, ShutdownMode::kImmediate);
        break;
      default:
        world_.stop(server, ShutdownMode::kFast);
        break;
    }
  }
  bool restart_primary() {
    Server* primary = world_.primary();
    if (primary == nullptr) return false;
    if (primary->is_running) end(*primary);
    world_.start(*primary);
    return true;
  }
  bool restart_standby() {
    const std::vector<Server*> standbys = world_.having(Role::kStandby);
    if (standbys.empty()) return false;
    Server& standby = *one_of(standbys);
    if (standby.is_running) end(standby);
    world_.start(standby);
    return true;
  }
  // The one that has the most.
  Server* best_standby() {
    const Server* primary = world_.primary();
    Server* best = nullptr;
    pg::Lsn most;
    for (Server* one : world_.having(Role::kStandby, true)) {
      if (primary != nullptr && one->line != primary->line) continue;
      const pg::Lsn has = world_.received(*one);
      if (best == nullptr || has > most) best = one, most = has;
    }
    return best;
  }
  void others_follow() {
    Server& primary = *world_.primary();
    for (Server* one : world_.having(Role::kStandby)) {
      if (one->line == primary.line) continue;
      // Not who has what the new line does not.
      if (one->is_running && draw(3) != 0 &&
          world_.received(*one) <= world_.history().line(primary.line).fork)
        world_.follow(*one);
      else if (draw(2) == 0)
        world_.clone(*one);
      else
        world_.destroy(*one);
    }
  }
  bool fail_over() {
    Server* primary = world_.primary();
    if (primary == nullptr || world_.is_repository_away()) return false;
    Server* standby = best_standby();
    if (standby == nullptr) return false;
    if (draw(3) == 0)
      world_.destroy(*primary);
    else if (primary->is_running)
      world_.kill(*primary);
    if (draw(3) == 0) {
      end(*standby);
      world_.start(*standby);
    }
    world_.promote(*standby);
    others_follow();
    return true;
  }
  bool switch_over() {
    Server* primary = running_primary();
    if (primary == nullptr || world_.is_repository_away()) return false;
    Server* standby = best_standby();
    if (standby == nullptr) return false;
    world_.wait_for_standby(*standby);
    const int before = primary->line;
    world_.stop(*primary, ShutdownMode::kFast);
    world_.promote(*standby);
    if (ids_of(world_.history().rows(before, pg::Lsn{UINT64_MAX})) !=
        ids_of(world_.history().rows(standby->line, pg::Lsn{UINT64_MAX})))
      world_.complain("a switchover has lost rows");
    others_follow();
    return true;
  }
  bool old_primary() {
    Server* primary = running_primary();
    const std::vector<Server*> old = world_.having(Role::kOld);
    if (primary == nullptr || old.empty() || world_.is_repository_away()) return false;
    Server& one = *one_of(old);
    // What it had not archived is nowhere else.
    if (draw(4) != 0) world_.salvage(one);
    switch (draw(3)) {
      case 0:
        world_.destroy(one);
        break;
      case 1:
        world_.clone(one);
        break;
      default:
        world_.rewind(one);
        break;
    }
    return true;
  }
  bool make_standby() {
    const std::vector<Server*> gone = world_.having(Role::kGone);
    if (running_primary() == nullptr || gone.empty() || world_.is_repository_away()) return false;
    Server& one = *one_of(gone);
    if (draw(2) == 0)
      world_.clone(one);
    else
      world_.restore_as_standby(one);
    return true;
  }
  bool archive_always() {
    const std::vector<Server*> standbys = world_.having(Role::kStandby);
    if (standbys.empty()) return false;
    Server& one = *one_of(standbys);
    world_.archive_always(one, !one.archives_always);
    return true;
  }
  WalkWorld::Target draw_target() {
    if (world_.points().empty() || draw(3) == 0) return WalkWorld::latest();
    const Point& point = one_of(world_.points());
    switch (draw(3)) {
      case 0:
        return WalkWorld::by_name(point);
      case 1:
        return WalkWorld::by_lsn(point);
      default:
        return WalkWorld::by_time(point);
    }
  }
  bool restore_in_place() {
    Server* primary = world_.primary();
    if (primary == nullptr || world_.is_repository_away()) return false;
    if (primary->is_running) end(*primary);
    if (!world_.restore_in_place(*primary, draw_target())) world_.start(*primary);
    return true;
  }
  bool salvage() {
    Server* primary = running_primary();
    if (primary == nullptr || world_.is_repository_away()) return false;
    end(*primary);
    world_.salvage(*primary);
    world_.start(*primary);
    return true;
  }
  bool push_by_hand() {
    std::vector<Server*> there = world_.having(Role::kPrimary);
    for (Server* one : world_.having(Role::kStandby)) there.push_back(one);
    if (there.empty() || world_.is_repository_away()) return false;
    const Server& server = *one_of(there);
    std::vector<std::string> names;
    for (const DirectoryEntry& entry : list_directory(join_path(server.data, "pg_wal")))
      if (entry.name.size() >= 16 && entry.name.starts_with("0000")) names.push_back(entry.name);
    if (names.empty()) return false;
    std::ranges::sort(names);
    world_.push(server, one_of(names));
    return true;
  }
  bool import_or_export() {
    Server* primary = running_primary();
    if (primary == nullptr || world_.is_repository_away() || primary->is_held) return false;
    if (tars_.empty() || draw(2) == 0) {
      tars_.push_back(world_.take_tar(*primary));
    } else {
      world_.import_tar(tars_.back());
      tars_.pop_back();
    }
    return true;
  }
  bool delete_and_expire() {
    if (world_.is_repository_away()) return false;
    const std::vector<WalkWorld::Backup> backups = world_.backups();
    if (backups.size() > 2) world_.delete_backup(one_of(backups).id);
    world_.expire();
    return true;
  }
  bool synchronize() {
    Server* primary = running_primary();
    if (primary == nullptr) return false;
    std::vector<std::string> names = {""};
    for (const Server* one : world_.having(Role::kStandby, true))
      if (one->line == primary->line) names.push_back(one->name);
    const std::string& name = one_of(names);
    if (!name.empty()) world_.wait_for_standby(world_.server(name));
    world_.synchronize_with(name);
    return true;
  }
  bool drill() {
    const Server* primary = running_primary();
    if (primary == nullptr || primary->is_held || world_.is_repository_away()) return false;
    world_.drill();
    return true;
  }

  // Of what the archive promises, one thing.
  void look_elsewhere() {
    if (world_.is_repository_away()) return;
    const std::vector<WalkWorld::Backup> backups = world_.backups();
    if (draw(2) == 0)
      world_.expect_backup_restores(one_of(backups));
    else
      world_.expect_recovery(
          draw_target(),
          draw(2) == 0 ? std::nullopt
                       : std::optional(world_.history()
                                           .line(static_cast<int>(draw(
                                               static_cast<uint64_t>(world_.history().count()))))
                                           .timeline));
  }

  // The repository is there, the primary runs and archives: then everything is well.
  void come_home() {
    if (world_.is_repository_away()) world_.bring_repository_back();
    Server* primary = world_.primary();
    if (primary == nullptr) return;
    if (!primary->is_running) world_.start(*primary);
    if (primary->is_held) world_.release_archiving(*primary);
    world_.expect_all_is_well();
    world_.back_up(*primary);
    world_.write();
    world_.expect_archiving(*primary);
    for (const WalkWorld::Backup& backup : world_.backups()) world_.expect_backup_restores(backup);
    world_.expect_recovery(WalkWorld::latest(), world_.history().line(primary->line).timeline);
  }

  WalkWorld& world_;
  std::mt19937_64 engine_;
  std::vector<std::string> tars_;
};

// --- Playing ------------------------------------------------------------------------------------

// What went wrong, with the way there; empty when nothing did.
std::string play(WalkWorld& world, const std::function<void()>& steps) {
  try {
    steps();
    if (std::getenv("HOLDFAST_WALK_LOG") != nullptr)
      std::cout << fmt::format("  {}\n", fmt::join(world.log(), "\n  "));
    return {};
  } catch (const Error& error) {
    return fmt::format("{}\n{}\nThe way there:\n  {}\n", error.message(), error.detail(),
                       fmt::join(world.log(), "\n  "));
  }
}

void expect_promises_kept(const Gambit& gambit, int major) {
  WalkWorld world(major, gambit.servers);
  const std::string wrong = play(world, [&] {
    gambit.play(world);
    world.expect_all_is_well();
    if (Server* one = world.primary(); one != nullptr && one->is_running) {
      world.expect_backup_restores(world.backups().back());
      world.expect_recovery(WalkWorld::latest(), world.history().line(one->line).timeline);
    }
  });
  EXPECT_TRUE(wrong.empty()) << wrong;
}

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr && *text != '\0' ? std::stoull(text) : otherwise;
}

uint64_t seed_of_this_run(uint64_t otherwise = 1) {
  const uint64_t seed = number_from("HOLDFAST_SEED", otherwise);
  std::cout << fmt::format("seed {} (HOLDFAST_SEED repeats it)\n", seed);
  return seed;
}

// The one or the other of two, as HOLDFAST_WALK_MAJOR does not say.
int major_for(uint64_t number) {
  return static_cast<int>(number_from("HOLDFAST_WALK_MAJOR", number % 2 == 0 ? 15 : 17));
}

class WanderingGambits : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Each, WanderingGambits, testing::Range(size_t{0}, std::size(kGambits)),
                         [](const testing::TestParamInfo<size_t>& tested) {
                           return kGambits[tested.param].name;
                         });
TEST_P(WanderingGambits, KeepsWhatWasPromised) {
  // Two processes play every other one: each has both majors.
  expect_promises_kept(kGambits[GetParam()], major_for(seed_of_this_run() + GetParam() / 2));
}

// --- Walks --------------------------------------------------------------------------------------

struct Walk {
  int major;
  uint64_t seed;
  int steps;
};

void expect_walk_keeps_promises(const Walk& walk) {
  WalkWorld world(walk.major, walk.seed % 3 == 0 ? 2 : 3);
  Wanderer wanderer(world, walk.seed);
  const std::string wrong = play(world, [&] { wanderer.walk(walk.steps); });
  EXPECT_TRUE(wrong.empty())
      << wrong
      << fmt::format(
             "To walk it again:\n  HOLDFAST_SEED={} HOLDFAST_WALK_STEPS={} HOLDFAST_WALK_MAJOR={} "
             "make integration INTEGRATION_OPTIONS=--gtest_filter='*/Wanderings.*/First'\n",
             walk.seed, walk.steps, walk.major);
}

constexpr const char* kWalkNames[] = {"First", "Second", "Third", "Fourth"};
class Wanderings : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Walk, Wanderings, testing::Range(size_t{0}, std::size(kWalkNames)),
                         [](const testing::TestParamInfo<uint64_t>& tested) {
                           return kWalkNames[tested.param];
                         });
TEST_P(Wanderings, KeepEveryPromise) {
  const uint64_t seed = seed_of_this_run() + GetParam();
  expect_walk_keeps_promises({.major = major_for(seed),
                              .seed = seed,
                              .steps = static_cast<int>(number_from("HOLDFAST_WALK_STEPS", 15))});
}

// Two tests of each major, in this order, so that two processes have one of each.
class LongWanderings : public testing::TestWithParam<std::tuple<int, bool>> {};
INSTANTIATE_TEST_SUITE_P(EachMajor, LongWanderings,
                         testing::Combine(testing::ValuesIn(test_majors()),
                                          testing::Values(true, false)),
                         [](const testing::TestParamInfo<std::tuple<int, bool>>& tested) {
                           return fmt::format("PostgreSQL{}{}", std::get<0>(tested.param),
                                              std::get<1>(tested.param) ? "WithGambits" : "");
                         });
TEST_P(LongWanderings, KeepEveryPromise) {
  const auto [major, with_gambits] = GetParam();
  const uint64_t first = seed_of_this_run(std::random_device()() % 1000000);
  const auto end =
      std::chrono::steady_clock::now() +
      std::chrono::minutes(number_from("HOLDFAST_WALK_MINUTES", 54 / test_majors().size()));
  for (size_t i = 0; with_gambits && i < std::size(kGambits); ++i) {
    SCOPED_TRACE(kGambits[i].name);
    expect_promises_kept(kGambits[i], major);
  }
  uint64_t seed = first + (with_gambits ? 0 : 1000);
  int walked = 0;
  for (; std::chrono::steady_clock::now() < end && !HasFailure(); ++seed, ++walked)
    expect_walk_keeps_promises({.major = major, .seed = seed, .steps = 40});
  std::cout << fmt::format("{} walks on PostgreSQL {}, the last of seed {}\n", walked, major,
                           seed - 1);
}

}  // namespace
}  // namespace holdfast::test
