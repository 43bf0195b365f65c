#include "archive/wal_set_aside.h"

#include "archive/wal_list.h"
#include "recovery/plan.h"
#include "recovery/windows.h"
#include "repo/backup.h"
#include "repo/marks.h"
#include "repo/needed_wal.h"
#include "support/closed_store.h"
#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

using Names = std::vector<std::string>;

class WalSetAside : public World {
 protected:
  WalSetAside() {
    write_wal(wal_, 6);
    server_.put(wal_, 1, 6);
    push_all(server_, 1, 1, 2);
    // What another server pushed, which lost its way behind segment 2.
    stray_.put(fork_.second, 1, 6);
  }
  SetAsideResult set_aside_onward(const std::string& file, std::stop_token stop = {},
                                  bool off = false) {
    clock_.advance(std::chrono::seconds(1));
    return archive::set_aside({.file = file, .cluster = "main", .off = off, .onward = true},
                              repository_, std::move(stop));
  }
  SetAsideResult set_aside(const std::string& file, bool off = false) {
    clock_.advance(std::chrono::seconds(1));
    return archive::set_aside({.file = file, .cluster = "main", .off = off}, repository_, {});
  }
  // A commit object alone, from the beginning of the first segment to within the last.
  std::string put_backup(uint64_t first, uint64_t last, uint64_t stop = 0x1000) {
    clock_.advance(std::chrono::seconds(1));
    repo::Backup made;
    made.id = repo::make_backup_id(clock_.now(), repository_.random());
    made.lineage = lineage_.name;
    made.system_identifier = kSystem;
    made.major = 15;
    made.start_lsn = made.checkpoint_lsn = pg::start_lsn(first, kSize) + 0x28;
    made.stop_lsn = pg::start_lsn(last, kSize) + stop;
    made.start_timeline = made.stop_timeline = {1};
    made.wal_segment_bytes = lineage_.wal_segment_bytes;
    made.block_bytes = lineage_.block_bytes;
    made.blocks_per_segment = lineage_.blocks_per_segment;
    made.start_segment = segment_name(1, first);
    made.stop_segment = segment_name(1, last);
    made.started = made.finished = made.start_time = made.stop_time = clock_.now();
    // No time takes part: a copy of the repository has others.
    made.wal = repo::read_own_wal(
        repository_, lineage_,
        {.timeline = made.stop_timeline, .start_lsn = made.start_lsn, .end_lsn = made.stop_lsn});
    EXPECT_TRUE(repository_.create_document("backup", repo::backup_name(lineage_.name, made.id),
                                            repo::to_json(made)));
    clock_.advance(std::chrono::seconds(1));
    return made.id;
  }
  WalListing listing() { return list({.cluster = "main"}, repository_, reporter_, {}); }
  Bytes got(const std::string& name) {
    EXPECT_EQ(get(asking_, name).outcome, GetOutcome::kPlaced);
    return placed(asking_);
  }
  static pg::WalFileName file(const std::string& name) {
    return pg::parse_wal_file_name(name, kSize);
  }

  Fork fork_;
  Server server_{"alpha"}, stray_{"stray"}, asking_{"beta"};
  test::WalBuilder wal_{{.size = kSize, .system_identifier = kSystem}};
};

TEST_F(WalSetAside, AWrongSegmentIsNotThereAndTheRightOneFillsItsName) {
  Server right("alpha");
  right.put(fork_.first, 1, 6);
  // Its neighbours are not archived yet, so nobody saw that it is another's.
  push(stray_, segment_name(1, 4));
  push_all(right, 1, 1, 2);
  EXPECT_EQ(push_error(right, segment_name(1, 3)).code(), ErrorCode::kConflict);
  EXPECT_EQ(get_error(asking_, segment_name(1, 3)).code(), ErrorCode::kCorrupt);  // a hole

  const SetAsideResult done = set_aside(segment_name(1, 4));
  ASSERT_TRUE(done.changed);
  EXPECT_EQ(done.changed->host, "stray");
  EXPECT_FALSE(done.served || done.was_so);
  EXPECT_EQ(get(asking_, segment_name(1, 4)).outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kAbsent) << "it proves nothing";
  EXPECT_EQ(archive().last_segment({1}), 2U);
  const WalLineage listed = listing().lineages.front();
  EXPECT_TRUE(listed.timelines.front().gaps.empty());
  ASSERT_EQ(listed.set_aside.size(), 1U);
  EXPECT_EQ(listed.set_aside[0].file, segment_name(1, 4));

  // The stray one offers it again: it does not come back into service.
  const Error refused = push_error(stray_, segment_name(1, 4));
  EXPECT_EQ(refused.code(), ErrorCode::kConflict);
  EXPECT_NE(refused.hint().find("--off"), std::string::npos);
  EXPECT_FALSE(archive().segment_info(file(segment_name(1, 4))));
  push_all(right, 1, 3, 6);
  EXPECT_EQ(got(segment_name(1, 4)), fork_.first.segment(3));
  EXPECT_TRUE(push(right, segment_name(1, 4)).was_there);
  EXPECT_EQ(archive().contents(file(segment_name(1, 4))).size(), 2U);
  EXPECT_EQ(push_error(stray_, segment_name(1, 5)).code(), ErrorCode::kConflict);

  // And back: the one that went last.
  EXPECT_EQ(set_aside(segment_name(1, 4)).changed->number, 1U);
  EXPECT_FALSE(archive().segment_info(file(segment_name(1, 4))));
  const SetAsideResult back = set_aside(segment_name(1, 4), true);
  EXPECT_EQ(back.served->number, 1U);
  EXPECT_EQ(got(segment_name(1, 4)), fork_.first.segment(3));
}

// What is archived under the names anew does not make a backup of the old line good again.
TEST_F(WalSetAside, ABackupOfALineThatWasTakenOutOfServiceIsNoBackup) {
  push_all(stray_, 1, 3, 6);
  const std::string of_stray = put_backup(3, 4), before = put_backup(1, 2);
  const auto broken = [&] {
    Names ids;
    for (const auto& [id, why] :
         recovery::look_at_wal(repository_, lineage_, [](const std::string&, const Error&) {
         }).broken)
      ids.push_back(id);
    return ids;
  };
  const auto planned = [&](const std::string& backup) {
    return recovery::make_plan(repository_, lineage_, {.backup = backup}, {}).backup.id;
  };
  EXPECT_TRUE(broken().empty());
  EXPECT_EQ(set_aside_onward(segment_name(1, 3)).broken_backups, Names{of_stray});
  EXPECT_TRUE(repo::read_marks(repository_, lineage_.name, of_stray).damaged);
  push_all(server_, 1, 3, 6);
  const std::string anew = put_backup(3, 4);

  // Also when somebody has called it good since.
  repo::put_mark(repository_, lineage_.name, of_stray, repo::MarkKind::kVerified, "");
  EXPECT_EQ(broken(), Names{of_stray});
  EXPECT_EQ(planned(""), anew);
  EXPECT_EQ(planned(before), before);
  const Error refused = test::error_of([&] { planned(of_stray); });
  EXPECT_EQ(refused.code(), ErrorCode::kTargetUnreachable);
  EXPECT_NE(refused.detail().find(segment_name(1, 3)), std::string::npos) << refused.detail();

  // Nor when the marks are undone: what came later is served all the same.
  EXPECT_EQ(set_aside_onward(segment_name(1, 3), {}, true).served->number, 1U);
  EXPECT_EQ(broken(), Names{of_stray});
  EXPECT_EQ(planned(""), anew);
}

// The end of a standby's backup may be an unfinished segment. The whole one that comes later is
// what it was taken with only when it begins with that.
TEST_F(WalSetAside, ABackupThatEndedInAnUnfinishedSegmentGoesOnInItsOwnAlone) {
  const std::string name = segment_name(1, 3);
  Bytes unfinished = wal_.segment(2);
  std::fill(unfinished.begin() + 600'000, unfinished.end(), std::byte{0});
  server_.put(name + ".partial", unfinished);
  push(server_, name + ".partial");
  const std::string id = put_backup(2, 3);
  const auto is_usable = [&] {
    return !holdfast::error_of(
        [&] { recovery::make_plan(repository_, lineage_, {.backup = id}, {}); });
  };
  EXPECT_TRUE(is_usable());
  Server other("beta");
  other.put(name, fork_.first.segment(2));
  push(other, name);
  EXPECT_FALSE(is_usable());
  set_aside(name);
  push(server_, name);
  EXPECT_EQ(got(name), wal_.segment(2));
  EXPECT_TRUE(is_usable());
}

// Nothing of the unfinished one need be left for that: the commit says how it begins.
TEST_F(WalSetAside, WhatIsLeftOfAnUnfinishedSegmentIsNotNeededToTellAnotherFromIt) {
  const std::string name = segment_name(1, 3);
  const std::string partial = name + ".partial";
  const auto unfinished = [](Bytes segment, ptrdiff_t bytes) {
    std::fill(segment.begin() + bytes, segment.end(), std::byte{0});
    return segment;
  };
  const auto remove_all = [&] {
    for (const std::string& object : test::object_names(store_))
      if (object.find(name) != std::string::npos) store_.remove(object);
  };
  server_.put(partial, unfinished(wal_.segment(2), 600'000));
  push(server_, partial);
  const std::string id = put_backup(2, 3, 500'000);
  const auto is_usable = [&] {
    return !holdfast::error_of(
        [&] { recovery::make_plan(repository_, lineage_, {.backup = id}, {}); });
  };
  // A server that was rolled back writes the segment anew, and what it wrote is archived alone,
  // unfinished and whole.
  Server other("beta");
  for (const std::string& file : {partial, name}) {
    SCOPED_TRACE(file);
    remove_all();
    other.put(file,
              file == name ? fork_.first.segment(2) : unfinished(fork_.first.segment(2), 700'000));
    push(other, file);
    EXPECT_FALSE(is_usable());
    remove_all();
    server_.put(file, file == name ? wal_.segment(2) : unfinished(wal_.segment(2), 700'000));
    push(server_, file);
    EXPECT_TRUE(is_usable());
  }
  // The object that cannot be read tells nothing, the commit does.
  remove_all();
  server_.put(partial, unfinished(wal_.segment(2), 600'000));
  push(server_, partial);
  for (const std::string& object : test::object_names(store_))
    if (object.find(partial) != std::string::npos)
      store_.edit(object, [](Bytes& bytes) { bytes.at(bytes.size() - 200) ^= std::byte{1}; });
  other.put(name, fork_.first.segment(2));
  push(other, name);
  EXPECT_FALSE(is_usable());
}

// A second run from the same file on is undone alone.
TEST_F(WalSetAside, EachRunOnwardIsUndoneByItself) {
  push_all(stray_, 1, 3, 5);
  set_aside_onward(segment_name(1, 3));
  push_all(server_, 1, 3, 4);
  EXPECT_EQ(set_aside_onward(segment_name(1, 3)).onward, Names{segment_name(1, 4)});
  const SetAsideResult back = set_aside_onward(segment_name(1, 3), {}, true);
  EXPECT_EQ(back.onward, Names{segment_name(1, 4)});
  EXPECT_EQ(got(segment_name(1, 3)), wal_.segment(2));
  EXPECT_EQ(got(segment_name(1, 4)), wal_.segment(3));
  EXPECT_FALSE(archive().segment_info(file(segment_name(1, 5))));
  // And then the first.
  EXPECT_EQ(set_aside_onward(segment_name(1, 3), {}, true).onward,
            (Names{segment_name(1, 4), segment_name(1, 5)}));
  EXPECT_TRUE(archive().segment_info(file(segment_name(1, 5))));
  EXPECT_EQ(got(segment_name(1, 3)), wal_.segment(2));
}

// What was damaged and is repaired is the WAL that the backup was taken with.
TEST_F(WalSetAside, ABackupWhoseSegmentWasRepairedStaysOne) {
  push(server_, segment_name(1, 1));
  push(server_, segment_name(1, 2));
  const std::string id = put_backup(1, 2);
  damage(object_of(segment_name(1, 2)), 60);
  push(server_, segment_name(1, 2));
  EXPECT_EQ(archive().contents(file(segment_name(1, 2))).size(), 2U);
  const auto broken =
      recovery::look_at_wal(repository_, lineage_, [](const std::string&, const Error&) {}).broken;
  EXPECT_FALSE(broken.contains(id));
}

// One command takes a line out of service, and one brings it back: but not what went before.
TEST_F(WalSetAside, WhatWentOnwardComesBackOnward) {
  push_all(server_, 1, 3, 6);
  set_aside(segment_name(1, 5));
  EXPECT_EQ(set_aside_onward(segment_name(1, 3)).onward,
            (Names{segment_name(1, 4), segment_name(1, 6)}));
  EXPECT_EQ(archive().last_segment({1}), 2U);
  const SetAsideResult back = set_aside_onward(segment_name(1, 3), {}, true);
  EXPECT_EQ(back.onward, (Names{segment_name(1, 4), segment_name(1, 6)}));
  EXPECT_FALSE(back.was_so);
  std::vector<uint64_t> there;
  archive().for_each_segment({1}, 0, [&](uint64_t number, uint64_t) {
    there.push_back(number);
    return true;
  });
  EXPECT_EQ(there, (std::vector<uint64_t>{1, 2, 3, 4, 6}));
  EXPECT_TRUE(set_aside_onward(segment_name(1, 3), {}, true).was_so);
}

TEST_F(WalSetAside, FreesTheIdOfATimelineThatNeverWas) {
  const Names files = {"00000002.history", segment_name(2, 3) + ".00000028.backup",
                       segment_name(2, 3) + ".partial"};
  server_.put("00000002.history", fork_.history);
  server_.put(files[1], "START WAL LOCATION: 0/300028\n");
  server_.put(files[2], fork_.promoted.segment(2));
  for (const std::string& name : files) push(server_, name);
  EXPECT_EQ(get(asking_, "00000002.history").outcome, GetOutcome::kPlaced);
  EXPECT_EQ(set_aside(files[0]).still_there, files[1]);
  Error error = get_error(asking_, "00000002.history");
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_NE(error.hint().find("holdfast wal set-aside " + files[1]), std::string::npos)
      << error.hint();
  set_aside(files[1]);
  error = get_error(asking_, "00000002.history");
  set_aside(error.hint().substr(error.hint().find(files[2]), files[2].size() + 33));
  EXPECT_EQ(get(asking_, "00000002.history").outcome, GetOutcome::kAbsent);
  EXPECT_EQ(archive().timelines(), std::vector<pg::TimelineId>{{1}});
  EXPECT_TRUE(archive().history_timelines().empty());
  // A server that takes the id has its own history archived.
  Server other("gamma");
  other.put("00000002.history", "1\t0/280000\tbefore transaction 800\n");
  EXPECT_FALSE(push(other, "00000002.history").was_there);
  EXPECT_EQ(as_text(got("00000002.history")), "1\t0/280000\tbefore transaction 800\n");
}

// Of an object that rotted, the same content is archived anew.
TEST_F(WalSetAside, ADamagedContentIsFilledAgain) {
  damage(object_of(segment_name(1, 2)), 5000);
  EXPECT_EQ(get_error(asking_, segment_name(1, 2)).code(), ErrorCode::kCorrupt);
  EXPECT_TRUE(set_aside(segment_name(1, 2)).changed->is_damaged);
  EXPECT_FALSE(push(server_, segment_name(1, 2)).was_there);
  EXPECT_EQ(got(segment_name(1, 2)), wal_.segment(1));
  // Where not even its metadata can be read nobody needs to be told.
  store_.edit(object_of(segment_name(1, 1)), [](Bytes& bytes) { bytes[150] ^= std::byte{1}; });
  EXPECT_FALSE(push(server_, segment_name(1, 1)).was_there);
  EXPECT_EQ(got(segment_name(1, 1)), wal_.segment(0));
}

// What the disk or its owner does not give holds no archiver up either.
TEST_F(WalSetAside, AContentThatMayNotBeReadIsFilledAgain) {
  test::ClosedStore closed(store_);
  closed.close(object_of(segment_name(1, 2)));
  const repo::Repository behind = repo::Repository::open(closed, {});
  const PushResult pushed =
      archive::push(push_options(server_, segment_name(1, 2)), behind, reporter_, {}, clock_);
  EXPECT_FALSE(pushed.was_there);
  EXPECT_NE(reporter_.warnings().back().find("cannot be read, and is amended"), std::string::npos);
  EXPECT_EQ(got(segment_name(1, 2)), wal_.segment(1));
}

// But what another server offers under that name is not taken for it: a clone's WAL joins, too.
TEST_F(WalSetAside, AContentThatMayNotBeReadIsNotFilledWithAnothers) {
  push_all(server_, 1, 3, 5);
  const auto offer = [&](const Server& server, uint64_t number) {
    test::ClosedStore closed(store_);
    closed.close(object_of(segment_name(1, number)));
    const repo::Repository behind = repo::Repository::open(closed, {});
    return holdfast::error_of([&] {
      archive::push(push_options(server, segment_name(1, number)), behind, reporter_, {}, clock_);
    });
  };
  // One in the midst, and the last one.
  for (const uint64_t number : {4, 5}) {
    const std::optional<Error> refused = offer(stray_, number);
    ASSERT_TRUE(refused) << number;
    EXPECT_EQ(refused->code(), ErrorCode::kConflict);
    EXPECT_EQ(refused->message(), "what is archived as \"" + segment_name(1, number) +
                                      "\" cannot be read, and may be another's");
    EXPECT_EQ(got(segment_name(1, number)), wal_.segment(number - 1));
    EXPECT_FALSE(offer(server_, number)) << number;
  }
  // Where the content alone is damaged the metadata tell, whoever has it.
  damage(object_of(segment_name(1, 3)), 5000);
  EXPECT_EQ(push_error(stray_, segment_name(1, 3)).code(), ErrorCode::kConflict);
  const Server standby("beta");
  standby.put(wal_, 3, 3);
  EXPECT_FALSE(push(standby, segment_name(1, 3)).was_there);
}

TEST_F(WalSetAside, APartialSegmentIsNamedByItsDigestWhereThereAreSeveral) {
  const std::string name = segment_name(1, 3) + ".partial";
  server_.put(name, fork_.first.segment(2));
  stray_.put(name, fork_.second.segment(2));
  push(server_, name);
  push(stray_, name);
  const Error error = test::error_of([&] { set_aside(name); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  const std::string digest =
      to_hex(repo::partial_digest(repo::wal_content_sha256(fork_.second.segment(2))).view());
  EXPECT_NE(error.detail().find(name + "." + digest), std::string::npos) << error.detail();
  set_aside(name + "." + digest);
  EXPECT_EQ(archive().partials({.timeline = {1}, .segment_number = 3}).size(), 1U);
  EXPECT_EQ(got(name), fork_.first.segment(2));
  EXPECT_EQ(push_error(stray_, name).code(), ErrorCode::kConflict);
  EXPECT_TRUE(set_aside(name, true).served);
  EXPECT_EQ(archive().partials({.timeline = {1}, .segment_number = 3}).size(), 2U);
}

TEST_F(WalSetAside, AMarkThatCannotBeReadCountsForNothing) {
  set_aside(segment_name(1, 2));
  const std::string folder = repo::amended_folder(lineage_.name, file(segment_name(1, 2)), kSize);
  std::string mark;
  store::for_each_entry(store_, {.prefix = folder}, [&](const store::ListEntry& entry) {
    mark = entry.name;
    return true;
  });
  damage(mark, 20);
  EXPECT_EQ(got(segment_name(1, 2)), wal_.segment(1));
  EXPECT_TRUE(push(server_, segment_name(1, 2)).was_there);
}

// Names of WAL files are the same in all lineages: whose file is meant must be said.
TEST_F(WalSetAside, AFileOfSeveralLineagesIsNamedWithItsLineage) {
  constexpr uint64_t kOther = kSystem + 1;
  repo::Lineage beside = lineage_;
  beside.system_identifier = kOther;
  beside = repository_.create_lineage(beside);
  test::WalBuilder wal({.size = kSize, .system_identifier = kOther});
  write_wal(wal, 3);
  Server other("gamma", kOther);
  other.put(wal, 1, 3);
  push_all(other, 1, 1, 3);
  const Error error = test::error_of([&] { set_aside(segment_name(1, 2)); });
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_NE(error.hint().find("--lineage 15-1"), std::string::npos) << error.hint();
  const auto of_lineage = [&](const std::string& lineage) {
    return archive::set_aside({.file = segment_name(1, 2), .cluster = "main", .lineage = lineage},
                              repository_, {});
  };
  EXPECT_EQ(of_lineage("15-1").lineage, lineage_.name);
  EXPECT_FALSE(archive().segment_info(file(segment_name(1, 2))));
  EXPECT_TRUE(repo::WalArchive(repository_, beside).segment_info(file(segment_name(1, 2))));
  // What one of them has alone needs no word.
  EXPECT_EQ(set_aside(segment_name(1, 3)).lineage, beside.name);
}

TEST_F(WalSetAside, WhatIsNotThereIsTold) {
  EXPECT_EQ(test::error_of([&] { set_aside(segment_name(1, 9)); }).code(), ErrorCode::kNotFound);
  EXPECT_EQ(test::error_of([&] { set_aside("nonsense"); }).code(), ErrorCode::kInvalidText);
  EXPECT_TRUE(set_aside(segment_name(1, 1), true).was_so);
  set_aside(segment_name(1, 1));
  EXPECT_TRUE(set_aside(segment_name(1, 1)).was_so);
}

// A virtual machine went back to its snapshot: the way that the refusal names leads on, in one
// step.
TEST_F(WalSetAside, AServerThatWasRolledBackArchivesAgainByFollowingTheHint) {
  push_all(server_, 1, 3, 6);
  stray_.put(segment_name(1, 6) + ".00000028.backup", "START WAL LOCATION: 0/600028\n");
  push(stray_, segment_name(1, 6) + ".00000028.backup");
  // The same data directory, with the files of the snapshot and what was written since.
  server_.put(fork_.second, 3, 6);
  const Error refused = push_error(server_, segment_name(1, 3));
  const std::string command = "holdfast wal set-aside " + segment_name(1, 3) + " --onward";
  EXPECT_NE(refused.hint().find(command), std::string::npos) << refused.hint();
  EXPECT_NE(refused.hint().find("This server was rolled back"), std::string::npos);

  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(test::error_of([&] { set_aside_onward(segment_name(1, 3), stop.get_token()); }).code(),
            ErrorCode::kInterrupted);
  const SetAsideResult done = set_aside_onward(segment_name(1, 3));
  EXPECT_EQ(done.onward, (Names{segment_name(1, 4), segment_name(1, 5), segment_name(1, 6),
                                segment_name(1, 6) + ".00000028.backup"}));
  EXPECT_EQ(archive().last_segment({1}), 2U);
  EXPECT_TRUE(set_aside_onward(segment_name(1, 3)).was_so);
  push_all(server_, 1, 3, 6);
  for (uint64_t number = 3; number <= 6; ++number)
    EXPECT_EQ(got(segment_name(1, number)), fork_.second.segment(number - 1)) << number;
  EXPECT_EQ(test::error_of([&] { set_aside_onward("00000002.history"); }).code(),
            ErrorCode::kNotFound);
}

// The same layout of records on both lines, as of a server that writes a heartbeat: they join.
TEST_F(WalSetAside, WhatIsArchivedBehindOneThatWasSetAsideIsOfItsLine) {
  test::WalBuilder undone({.size = kSize, .system_identifier = kSystem, .first_segment = 11});
  test::WalBuilder own = undone;
  for (int64_t at = 0; own.end_lsn() < pg::end_lsn(12, kSize); ++at) {
    undone.add_commit(700, at);
    own.add_commit(700, at + 1'000'000);
  }
  Server before("alpha"), after("alpha");
  before.put(undone, 11, 12);
  after.put(own, 11, 11);
  push_all(before, 1, 11, 12);
  set_aside(segment_name(1, 11));
  const Error error = push_error(after, segment_name(1, 11));
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_NE(error.detail().find("was set aside"), std::string::npos) << error.detail();
  EXPECT_NE(error.hint().find("holdfast wal set-aside " + segment_name(1, 12) + " --onward"),
            std::string::npos)
      << error.hint();
  // Its own copy of the next one proves that that is of its line.
  after.put(segment_name(1, 12), undone.segment(1));
  EXPECT_FALSE(push(after, segment_name(1, 11)).was_there);
}

// Two writers of further contents: exactly one is served.
TEST_F(WalSetAside, OfTwoThatFillTheNameOneIsRefused) {
  Server right("alpha");
  right.put(fork_.first, 1, 6);
  set_aside(segment_name(1, 2));
  Server other("gamma");
  test::WalBuilder different({.size = kSize, .system_identifier = kSystem});
  write_wal(different, 2, 99);
  other.put(segment_name(1, 2), different.segment(1));
  // Neither joins segment 1 but the right one.
  EXPECT_EQ(push_error(other, segment_name(1, 2)).code(), ErrorCode::kConflict);
  EXPECT_FALSE(archive().segment_info(file(segment_name(1, 2))));
}

}  // namespace
}  // namespace holdfast::archive
