#include "recovery/plan.h"

#include <map>

#include <gtest/gtest.h>

#include "recovery/windows.h"
#include "repo/marks.h"
#include "support/archive_fixture.h"
#include "support/counting_store.h"
#include "support/error_of.h"

namespace holdfast::recovery {
namespace {

using test::ArchiveFixture;
using test::at_minute;
using test::WalBuilder;

// Six segments of timeline 1. In segment k transaction 10k+1 commits at minute 10k and 10k+2 at
// minute 10k+5. Backup A ends in segment 1 at minute 12 (08:12), backup B in segment 3 at minute 32
// (08:32).
// The last line of a hint on a fork of timeline 2.
constexpr const char* kNeverAgain =
    "\nTimeline 2 is never followed again, if it was a test's or a copy's and no server of the "
    "cluster went on on it, after: holdfast wal set-aside 000000020000000000000005 --onward && "
    "holdfast wal set-aside 00000002.history";

constexpr const char* kNeverBehind =
    "\nWhat timeline 1 has behind that place is never asked about again, if no server goes on on "
    "it, after: holdfast wal set-aside 000000010000000000000005 --onward";

class PlanTest : public testing::Test, protected ArchiveFixture {
 protected:
  PlanTest() {
    for (uint32_t k = 1; k <= 6; ++k) {
      first_records_[k] = wal_.end_lsn() + 40;
      add_commit(wal_, 10 * k + 1, 10 * k);
      after_first_commit_[k] = wal_.end_lsn();
      if (k == 2) name_lsn_ = add_restore_point(wal_, "before release", 22);
      if (k == 4) add_tablespace(wal_, 16999, "/srv/fast");
      if (k == 5) add_max_connections(wal_, 300);
      if (k == 5) at_fork_ = std::make_unique<WalBuilder>(wal_);
      second_commits_[k] = wal_.end_lsn();
      add_commit(wal_, 10 * k + 2, 10 * k + 5);
      after_second_commit_[k] = wal_.end_lsn();
      wal_.add_switch();
    }
    fork_ = at_fork_->end_lsn();
  }
  void put_all(const std::set<uint64_t>& left_out = {}) {
    put_segments(wal_, left_out);
    a_ =
        put_backup({.start = first_records_[1], .stop = after_first_commit_[1], .stop_minute = 12});
    b_ =
        put_backup({.start = first_records_[3], .stop = after_first_commit_[3], .stop_minute = 32});
  }
  // Timeline 2 from there on: its recovery ended at that minute, transaction 71 commits at
  // minute 70.
  WalBuilder put_timeline_that_began(double minute) {
    put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
    WalBuilder second = *at_fork_;
    second.set_timeline({2});
    add_end_of_recovery(second, 2, 1, minute);
    add_commit(second, 71, 70);
    second.add_switch();
    put_segment(second, 4);
    return second;
  }
  // Timeline 2, forked off timeline 1 in segment 5 before transaction 52: transaction 71 commits in
  // it at minute 70, 72 in segment 6.
  WalBuilder make_timeline_2(uint32_t id = 2) {
    WalBuilder second = *at_fork_;
    second.set_timeline({id});
    add_end_of_recovery(second, id, 1, 66);
    add_commit(second, 71, 70);
    second.add_switch();
    add_commit(second, 72, 72);
    second.add_switch();
    return second;
  }
  void put_timeline_2() {
    put_history(2, fmt::format("1\t{}\tbefore transaction 52\n", pg::to_string(fork_)));
    const WalBuilder second = make_timeline_2();
    put_segment(second, 4);
    put_segment(second, 5);
  }
  Plan plan(const Target& target) { return make_plan(repository(), lineage(), target); }
  Error refusal(const Target& target) {
    return test::error_of([&] { plan(target); });
  }
  static std::string ranges_of(const Plan& plan) {
    std::string text;
    for (const WalRange& range : plan.ranges)
      text += fmt::format("{}:{}-{} ", range.timeline.value, range.first, range.last);
    return text;
  }

  WalBuilder wal_;
  std::unique_ptr<WalBuilder> at_fork_;
  std::map<uint32_t, pg::Lsn> first_records_, after_first_commit_, second_commits_,
      after_second_commit_;
  pg::Lsn name_lsn_, fork_;
  std::string a_, b_;
};

Target to_time(double minute, bool exclusive = false) {
  return {.kind = TargetKind::kTime, .time = at_minute(minute), .exclusive = exclusive};
}
Target to_lsn(pg::Lsn lsn, bool exclusive = false) {
  return {.kind = TargetKind::kLsn, .lsn = lsn, .exclusive = exclusive};
}
Target to_xid(uint64_t xid) { return {.kind = TargetKind::kXid, .xid = xid}; }
Target to_name(std::string name) { return {.kind = TargetKind::kName, .name = std::move(name)}; }

class NewerMajor : public testing::Test, protected ArchiveFixture {
 protected:
  NewerMajor() : ArchiveFixture(test::kNewerMajor) {
    for (uint32_t k = 1; k <= 4; ++k) {
      first_records_[k] = wal_.end_lsn() + 40;
      add_commit(wal_, k, 10 * k);
      stops_[k] = wal_.end_lsn();
      wal_.add_switch();
    }
    id_ = put_backup({.start = first_records_[2], .stop = stops_[2], .stop_minute = 22});
  }
  Plan plan(const Target& target) { return make_plan(repository(), lineage(), target); }

  WalBuilder wal_;
  std::map<uint32_t, pg::Lsn> first_records_, stops_;
  std::string id_;
};

TEST_F(NewerMajor, IsRecoveredToItsEndAndToABackupsEndAndNowhereElse) {
  put_segments(wal_);
  const Plan latest = plan({});
  EXPECT_EQ(latest.backup.id, id_);
  EXPECT_EQ(latest.segments, 3U);
  EXPECT_EQ(latest.target.kind, TargetKind::kLatest);
  EXPECT_EQ(latest.end_lsn, pg::end_lsn(4, size()));
  EXPECT_FALSE(latest.last_record);
  const Plan immediate = plan({.kind = TargetKind::kImmediate});
  EXPECT_EQ(immediate.segments, 1U);
  EXPECT_EQ(immediate.end_lsn, stops_[2]);
  for (const Target& target :
       {to_time(25), to_lsn(stops_[3]), to_xid(3), to_name("before release")}) {
    const Error error = test::error_of([&] { plan(target); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << to_string(target);
    EXPECT_EQ(error.message(), "PostgreSQL 20 is newer than this program");
    EXPECT_NE(error.detail().find("--to-immediate"), std::string::npos) << error.detail();
  }
}

TEST_F(NewerMajor, IsRefusedOverAHoleAsAnyOther) {
  put_segments(wal_, {3});
  EXPECT_EQ(test::error_of([&] { plan({}); }).code(), ErrorCode::kTargetUnreachable);
}

TEST_F(PlanTest, EachTargetGetsTheNewestBackupThatEndsBeforeItAndTheSegmentsUpToIt) {
  put_all();
  const struct {
    const char* what;
    Target target;
    std::string backup;
    const char* ranges;
    TargetKind kind;
    bool to_the_end;
    double last_commit;
  } cases[] = {
      {"latest", {}, b_, "1:3-6 ", TargetKind::kLatest, false, 65},
      {"immediate",
       {.kind = TargetKind::kImmediate},
       b_,
       "1:3-3 ",
       TargetKind::kImmediate,
       false,
       0},
      {"time in the WAL behind B", to_time(45), b_, "1:3-5 ", TargetKind::kTime, false, 45},
      {"the same, exclusive", to_time(45, true), b_, "1:3-4 ", TargetKind::kTime, false, 40},
      {"between two commits", to_time(42), b_, "1:3-4 ", TargetKind::kTime, false, 40},
      {"time before B's end", to_time(31), a_, "1:1-3 ", TargetKind::kTime, false, 30},
      {"exactly B's end", to_time(32), b_, "1:3-3 ", TargetKind::kTime, false, 30},
      {"exactly B's end, exclusive", to_time(32, true), a_, "1:1-3 ", TargetKind::kTime, false, 30},
      {"exactly A's end", to_time(12), a_, "1:1-1 ", TargetKind::kTime, false, 10},
      {"time of the last commit", to_time(65), b_, "1:3-6 ", TargetKind::kLatest, true, 65},
      {"time just before the last commit", to_time(64), b_, "1:3-6 ", TargetKind::kTime, false, 60},
      {"LSN", to_lsn(second_commits_[4]), b_, "1:3-4 ", TargetKind::kLsn, false, 40},
      {"LSN at B's end", to_lsn(after_first_commit_[3]), b_, "1:3-3 ", TargetKind::kLsn, false, 30},
      {"LSN before B's end", to_lsn(after_first_commit_[3] - 1), a_, "1:1-3 ", TargetKind::kLsn,
       false, 30},
      {"transaction", to_xid(52), b_, "1:3-5 ", TargetKind::kXid, false, 55},
      {"transaction before B", to_xid(22), a_, "1:1-2 ", TargetKind::kXid, false, 25},
      {"restore point", to_name("before release"), a_, "1:1-2 ", TargetKind::kName, false, 20},
      {"named backup", {.backup = a_}, a_, "1:1-6 ", TargetKind::kLatest, false, 65},
      {"prefix of a backup",
       {.backup = a_.substr(0, 13)},
       a_,
       "1:1-6 ",
       TargetKind::kLatest,
       false,
       65},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    const Plan made = plan(c.target);
    EXPECT_EQ(made.backup.id, c.backup);
    EXPECT_EQ(ranges_of(made), c.ranges);
    EXPECT_EQ(made.target.kind, c.kind);
    EXPECT_EQ(made.ran_to_the_end, c.to_the_end);
    EXPECT_EQ(made.timeline, pg::TimelineId{1});
    EXPECT_GT(made.stored_wal_bytes, 0U);
    EXPECT_FALSE(made.why_this_backup.empty());
    if (c.last_commit > 0) {
      EXPECT_EQ(made.last_commit, at_minute(c.last_commit));
    }
  }
}

TEST_F(PlanTest, ThePlanNamesWhatTheWalDemands) {
  put_all();
  const Plan latest = plan({});
  ASSERT_EQ(latest.tablespaces_created.size(), 1U);
  EXPECT_EQ(latest.tablespaces_created[0].path, "/srv/fast");
  EXPECT_EQ(latest.floors.max_connections, 300);
  EXPECT_EQ(latest.floors.max_locks_per_transaction, 64);
  EXPECT_EQ(latest.end_lsn, pg::end_lsn(6, size()));
  EXPECT_EQ(latest.segments, 4U);

  const Plan before = plan(to_time(31));
  EXPECT_TRUE(before.tablespaces_created.empty());
  EXPECT_EQ(before.floors.max_connections, 100);
  EXPECT_EQ(before.end_lsn, second_commits_[3]);
}

// What the server wrote behind its last switch of segments is not archived: that there was nothing
// up to the target is known by what came at that time or later, or by the server itself.
TEST_F(PlanTest, ATimeBehindTheLastCommitIsReachedByProofAlone) {
  put_all();
  const Error error = refusal(to_time(90));
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(),
            fmt::format("the archived WAL does not reach {}", to_local(at_minute(90))));
  EXPECT_EQ(error.detail(),
            fmt::format("The last that is known of it is of {}, and it ends at {}. Transactions "
                        "that ended up to the target may be missing. No server that could tell was "
                        "asked.",
                        to_local(at_minute(65)), pg::to_string(pg::end_lsn(6, size()))));
  EXPECT_EQ(error.hint(),
            "If the server still runs, let it archive what it wrote (SELECT pg_switch_wal()), then "
            "run this again: holdfast restore --to '2026-11-22 09:30:00.000000+00'\n"
            "To take what is archived: holdfast restore --to-latest");
  EXPECT_EQ(refusal(to_time(65.5)).code(), ErrorCode::kTargetUnreachable);

  // The server is asked of what lies behind the end of the archive, and believed.
  std::vector<TimeQuestion> asked;
  TimeAnswer answer{.says = TimeAnswer::Says::kReached, .told = {}};
  auto ask = [&](const TimeQuestion& question) {
    asked.push_back(question);
    return answer;
  };
  const Plan made = make_plan(repository(), lineage(), to_time(90), ask);
  EXPECT_TRUE(made.ran_to_the_end);
  EXPECT_EQ(made.target.kind, TargetKind::kLatest);
  ASSERT_FALSE(made.notes.empty());
  EXPECT_EQ(made.notes.back(),
            fmt::format("no transaction after {} is archived, and the server has ended none up to "
                        "then: recovery goes to the end of the archived WAL",
                        to_local(at_minute(90))));
  ASSERT_EQ(asked.size(), 1U);
  EXPECT_EQ(asked[0].timeline, pg::TimelineId{1});
  EXPECT_EQ(asked[0].archived_to, pg::end_lsn(6, size()));
  EXPECT_EQ(asked[0].time, at_minute(90));
  answer = {.told = "It has committed something."};
  const Error told = test::error_of([&] { make_plan(repository(), lineage(), to_time(90), ask); });
  EXPECT_TRUE(told.detail().ends_with("may be missing. It has committed something."))
      << told.detail();
}

// What is archived is told by clocks, and one may have been ahead: what a server that answers has
// ended is later than all of it by its place alone.
TEST_F(PlanTest, AServerThatAnswersIsAskedWhateverTheArchiveSays) {
  put_all();
  std::vector<TimeQuestion> asked;
  TimeAnswer answer;
  auto ask = [&](const TimeQuestion& question) {
    asked.push_back(question);
    return answer;
  };
  const auto plan_to = [&](double minute) {
    return make_plan(repository(), lineage(), to_time(minute), ask);
  };
  // In front of a later transaction, and at the end.
  const std::pair<double, double> times[] = {{42, 45}, {64, 65}, {65, 65}};
  for (const auto& [minute, seen] : times) {
    SCOPED_TRACE(minute);
    asked.clear();
    answer = {.told = "It does not answer."};
    const Plan as_archived = plan_to(minute);
    EXPECT_TRUE(as_archived.warnings.empty());
    ASSERT_EQ(asked.size(), 1U);
    EXPECT_EQ(asked[0].archived_to, pg::end_lsn(6, size()));
    EXPECT_EQ(asked[0].seen, at_minute(seen));
    answer = {.says = TimeAnswer::Says::kReached, .told = {}};
    EXPECT_EQ(plan_to(minute).end_lsn, as_archived.end_lsn);

    answer = {.says = TimeAnswer::Says::kNotReached, .told = "It has committed something."};
    const Error error = test::error_of([&] { plan_to(minute); });
    EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
    EXPECT_EQ(error.message(), fmt::format("the archived WAL may lack transactions up to {}",
                                           to_local(at_minute(minute))));
    EXPECT_EQ(error.detail(),
              fmt::format("It has a time of {}, and it ends at {}. It has committed something. A "
                          "clock was wrong.",
                          to_local(at_minute(seen)), pg::to_string(pg::end_lsn(6, size()))));
    const std::string archived =
        minute == 65 ? "--to-latest"
                     : fmt::format("--to-lsn {} --exclusive", pg::to_string(as_archived.end_lsn));
    EXPECT_TRUE(error.hint().ends_with("\nTo take what is archived: holdfast restore " + archived))
        << error.hint();
  }
  // Also in front of a hole, where nobody knows what lies in it but the server.
  store().remove(archive().object_name(
      {.kind = pg::WalFileKind::kSegment, .segment = {.timeline = {1}, .segment_number = 6}}));
  put_history(2, "1\t0/700100\tx\n");
  EXPECT_EQ(
      test::error_of([&] { plan_to(55); }).message(),
      fmt::format("the archived WAL may lack transactions up to {}", to_local(at_minute(55))));
  EXPECT_EQ(asked.back().archived_to, pg::end_lsn(5, size()));
  answer = {};
  EXPECT_EQ(plan_to(55).target.kind, TargetKind::kLsn);
}

// A time is proven by the last that the WAL tells, or by one behind which none is earlier.
TEST_F(PlanTest, ATimeBehindWhichTimesGoBackProvesNothing) {
  add_restore_point(wal_, "ahead", 190);
  wal_.add_switch();
  add_commit(wal_, 81, 70);
  wal_.add_switch();
  put_all();
  const Error error = refusal(to_time(75));
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.detail().find(
                fmt::format("The last that is known of it is of {} (before it lies a time of {}: a "
                            "clock was wrong), and it ends at ",
                            to_local(at_minute(70)), to_local(at_minute(190)))),
            0U)
      << error.detail();
  EXPECT_TRUE(plan(to_time(70)).ran_to_the_end);
  // A clock that is right by now.
  add_checkpoint(wal_, 80);
  wal_.add_switch();
  put_segments(wal_, {1, 2, 3, 4, 5, 6, 7, 8});
  EXPECT_TRUE(plan(to_time(75)).ran_to_the_end);
  EXPECT_EQ(refusal(to_time(85)).code(), ErrorCode::kTargetUnreachable);
}

// A checkpoint has the time at which it began, and transactions take their place a little later
// than their time: neither is a clock that goes back.
TEST_F(PlanTest, TimesThatGoBackAsTheyDoWithAnyClockProve) {
  add_restore_point(wal_, "late", 90);
  add_commit(wal_, 81, 89.999);
  add_checkpoint(wal_, 85);
  wal_.add_switch();
  put_all();
  EXPECT_TRUE(plan(to_time(90)).ran_to_the_end);
}

TEST_F(PlanTest, ATimeIsReachedWhereARecordOfThatTimeOrLaterIsArchived) {
  const std::function<void(WalBuilder&)> records[] = {
      [](WalBuilder& wal) { add_checkpoint(wal, 80); },
      [](WalBuilder& wal) { add_restore_point(wal, "late", 80); },
      [](WalBuilder& wal) { add_end_of_recovery(wal, 2, 1, 80); }};
  for (const auto& add : records) {
    ArchiveFixture archive;
    WalBuilder wal;
    wal.add_filler(8);
    wal.add_filler(8);
    const pg::Lsn start = wal.previous_lsn(), stop = wal.end_lsn();
    archive.put_backup({.start = start, .stop = stop, .stop_minute = 2});
    archive.add_commit(wal, 70, 60);
    wal.add_switch();
    add(wal);
    wal.add_switch();
    wal.add_filler(8);
    wal.add_switch();
    archive.put_segments(wal);
    auto plan_to = [&](double minute) {
      return make_plan(archive.repository(), archive.lineage(), to_time(minute));
    };
    EXPECT_TRUE(plan_to(70).ran_to_the_end);
    EXPECT_TRUE(plan_to(80).ran_to_the_end);
    EXPECT_EQ(plan_to(70).last_commit, at_minute(60));
    EXPECT_EQ(test::error_of([&] { plan_to(81); }).code(), ErrorCode::kTargetUnreachable);
  }
  // The end of the backup itself is a moment of which all is known.
  ArchiveFixture archive;
  WalBuilder wal;
  wal.add_filler(8);
  wal.add_filler(8);
  const pg::Lsn start = wal.previous_lsn(), stop = wal.end_lsn();
  archive.put_backup({.start = start, .stop = stop, .stop_minute = 2});
  wal.add_switch();
  archive.put_segments(wal);
  EXPECT_TRUE(make_plan(archive.repository(), archive.lineage(), to_time(2)).ran_to_the_end);
}

// The clock is ahead for transactions 81 and 82, and right again for 83: recovery stops before 81,
// though 83 ended before the target.
TEST_F(PlanTest, CommitTimesThatGoBackAreAWarningWithTheLsnThatReachesThem) {
  add_commit(wal_, 81, 190);
  add_commit(wal_, 82, 191);
  wal_.add_switch();
  const pg::Lsn behind = wal_.end_lsn() + 40;
  add_commit(wal_, 83, 72);
  wal_.add_switch();
  add_commit(wal_, 84, 80);
  wal_.add_switch();
  put_all();
  const Plan made = plan(to_time(75));
  ASSERT_EQ(made.warnings.size(), 1U);
  EXPECT_TRUE(made.warnings[0].starts_with("commit times go back: recovery stops at "))
      << made.warnings[0];
  EXPECT_TRUE(made.warnings[0].ends_with("If they are wanted: holdfast restore --to-lsn " +
                                         pg::to_string(behind)))
      << made.warnings[0];
  EXPECT_TRUE(plan(to_time(64)).warnings.empty());
  EXPECT_EQ(plan(to_lsn(behind)).last_commit, at_minute(191));
}

// All that lies behind is later than the target too, but of the first two nobody knows when they
// were committed.
TEST_F(PlanTest, AClockThatWasAheadAtTheTargetIsAWarningWithTheLsnBehindIt) {
  add_commit(wal_, 81, 190);
  const pg::Lsn ahead = wal_.end_lsn();
  add_commit(wal_, 82, 191);
  wal_.add_switch();
  add_commit(wal_, 83, 80);
  wal_.add_switch();
  put_all();
  const Plan made = plan(to_time(75));
  ASSERT_EQ(made.warnings.size(), 1U);
  EXPECT_NE(made.warnings[0].find(fmt::format("before a transaction of {}, but behind it lies one "
                                              "of {}: a clock was ahead",
                                              to_local(at_minute(190)), to_local(at_minute(80)))),
            std::string::npos)
      << made.warnings[0];
  EXPECT_TRUE(
      made.warnings[0].ends_with("With it: holdfast restore --to-lsn " + pg::to_string(ahead)))
      << made.warnings[0];
  EXPECT_TRUE(plan(to_time(64)).warnings.empty());
}

TEST_F(PlanTest, DamageBehindATimeDoesNotKeepItFromBeingReached) {
  put_all();
  const std::string damaged = archive().object_name(
      {.kind = pg::WalFileKind::kSegment, .segment = {.timeline = {1}, .segment_number = 6}});
  store().remove(damaged);
  HF_CHECK(store().create(damaged, as_bytes("no segment")));
  const Plan made = plan(to_time(53));
  EXPECT_EQ(made.target.kind, TargetKind::kTime);
  ASSERT_EQ(made.notes.size(), 1U);
  EXPECT_TRUE(made.notes[0].starts_with("whether times go back behind the target cannot be told: "))
      << made.notes[0];
}

TEST_F(PlanTest, ABackupThatIsAheadOfItsPlaceByItsClockIsAWarning) {
  put_all();
  const std::string ahead =
      put_backup({.start = first_records_[5], .stop = after_first_commit_[5], .stop_minute = 59});
  const Plan made = plan(to_time(57));
  EXPECT_EQ(made.backup.id, b_);
  ASSERT_EQ(made.warnings.size(), 1U);
  EXPECT_TRUE(made.warnings[0].starts_with("backup " + ahead + " ended at ")) << made.warnings[0];
  const size_t at = made.warnings[0].rfind("--to-lsn ");
  ASSERT_NE(at, std::string::npos);
  const pg::Lsn named =
      pg::parse_lsn(made.warnings[0].substr(at + 9, made.warnings[0].find(' ', at + 9) - at - 9));
  EXPECT_EQ(plan(to_lsn(named, true)).backup.id, ahead);
}

// --- How much is read

// A backup's end and an LSN in an archive that goes on for `behind` segments, and with it timeline
// 2, which left where the backup ended.
class LongArchive : public ArchiveFixture {
 public:
  explicit LongArchive(uint32_t behind, bool from_standby = false) : counting_(store()) {
    WalBuilder wal;
    wal.add_filler(8);
    const pg::Lsn start = wal.end_lsn() + 40;
    add_commit(wal, 11, 10);
    put_backup(
        {.start = start, .stop = wal.end_lsn(), .stop_minute = 12, .from_standby = from_standby});
    fork_ = wal.end_lsn();
    WalBuilder second = wal;
    second.set_timeline({2});
    for (WalBuilder* each : {&wal, &second}) {
      for (uint32_t k = 0; k < behind; ++k) {
        each->add_switch();
        add_commit(*each, 20 + k, 20 + k);
        if (k == 0) lsn_ = each->previous_lsn();
      }
      each->add_switch();
    }
    put_segments(wal);
    put_segments(second);
    put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  }
  pg::Lsn lsn() const { return lsn_; }
  uint64_t calls_for(const Target& target) {
    const repo::Repository counted = repo::Repository::open(counting_, {});
    const uint64_t before = counting_.calls();
    make_plan(counted, lineage(), target);
    return counting_.calls() - before;
  }

 private:
  test::CountingStore counting_;
  pg::Lsn fork_, lsn_;
};

TEST(PlanReads, NoMoreForAPlaceHoweverMuchLiesBehindIt) {
  for (const bool from_standby : {false, true}) {
    LongArchive shorter(6, from_standby), longer(60, from_standby);
    const pg::TimelineId first{1}, second{2};
    const Target targets[] = {{.kind = TargetKind::kImmediate},
                              {.kind = TargetKind::kImmediate, .timeline = second},
                              {.kind = TargetKind::kLsn, .lsn = shorter.lsn(), .timeline = second},
                              {.kind = TargetKind::kLsn, .lsn = shorter.lsn(), .timeline = first}};
    for (const Target& target : targets) {
      const uint64_t calls = shorter.calls_for(target);
      EXPECT_EQ(longer.calls_for(target), calls) << to_string(target);
      EXPECT_GT(calls, 5U);
    }
    EXPECT_GT(longer.calls_for({.timeline = second}), shorter.calls_for({.timeline = second}) + 50);
  }
}

// --- What lies behind the archived WAL

// Segments 5 and 6 are not archived.
class PlanBehindTheEnd : public PlanTest {
 protected:
  PlanBehindTheEnd() {
    put_all({5, 6});
    EXPECT_EQ(plan({}).end_lsn, pg::end_lsn(4, size()));
  }
  void expect_hole() {
    for (const Target& target : {Target{}, to_time(90), Target{.timeline = pg::TimelineId{1}}}) {
      const Error error = refusal(target);
      EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
      EXPECT_EQ(error.message(), "WAL segment \"000000010000000000000005\" is not in the archive");
      EXPECT_NE(error.hint().find("holdfast wal salvage"), std::string::npos) << error.hint();
      EXPECT_NE(error.hint().find("\nUp to the hole recovery is possible: holdfast restore "
                                  "--to-lsn 0/4"),
                std::string::npos)
          << error.hint();
    }
    EXPECT_EQ(plan(to_time(42)).target.kind, TargetKind::kTime);
  }
};

TEST_F(PlanBehindTheEnd, ATimelineThatLeftProvesThatWalIsMissing) {
  put_history(2, "1\t0/700100\tx\n");
  expect_hole();
}

TEST_F(PlanBehindTheEnd, AnUnfinishedSegmentProvesThatWalIsMissing) {
  WalBuilder wal = wal_;
  add_commit(wal, 71, 70);
  put_segment(wal, 6, true);
  expect_hole();
}

TEST_F(PlanBehindTheEnd, TheHistoryFileOfABackupProvesThatWalIsMissing) {
  put_backup_history({.timeline = {1}, .segment_number = 6});
  expect_hole();
}

// Salvaged from a server whose disk had damaged segment 5 in its midst: what of it can be read is
// there, and what comes behind it is.
TEST_F(PlanBehindTheEnd, WhatLiesInAnUnfinishedSegmentBeforeAHoleIsReached) {
  WalBuilder wal = *at_fork_;
  const pg::Lsn last = add_restore_point(wal, "read", 51);
  put_segment(wal, 4, true);
  put_segment(wal_, 5, true);
  const Error error = refusal({});
  EXPECT_EQ(error.message(),
            "WAL segment \"000000010000000000000005\" is not whole in the archive");
  EXPECT_NE(error.hint().find(fmt::format("\nUp to the hole recovery is possible: holdfast restore "
                                          "--to-lsn {}",
                                          pg::to_string(last))),
            std::string::npos)
      << error.hint();
  const Plan made = plan(to_lsn(last));
  ASSERT_TRUE(made.tail);
  EXPECT_EQ(made.tail->segment.segment_number, 5U);
  EXPECT_EQ(target_segment(made), "000000010000000000000005");
  EXPECT_EQ(plan(to_time(50)).tail->segment.segment_number, 5U);
}

// A standby's, of which the last segment was never archived whole; its primary wrote on, and died.
TEST_F(PlanBehindTheEnd, ABackupThatEndsInAnUnfinishedSegmentNeedsNothingBehindIt) {
  WalBuilder wal = *at_fork_;
  put_segment(wal, 4, true);
  const std::string id = put_backup(
      {.start = first_records_[4], .stop = wal.end_lsn(), .stop_minute = 51, .from_standby = true});
  EXPECT_EQ(plan({.kind = TargetKind::kImmediate}).backup.id, id);
  put_history(2, "1\t0/700100\tx\n");
  const Plan made = plan({.kind = TargetKind::kImmediate, .timeline = pg::TimelineId{1}});
  EXPECT_EQ(made.backup.id, id);
  EXPECT_EQ(made.tail->segment.segment_number, 5U);
  EXPECT_EQ(plan({.kind = TargetKind::kLsn,
                  .lsn = wal.end_lsn(),
                  .timeline = pg::TimelineId{1},
                  .backup = id})
                .tail->segment.segment_number,
            5U);
  EXPECT_EQ(refusal({.timeline = pg::TimelineId{1}}).code(), ErrorCode::kTargetUnreachable);
}

// Its primary was shut down: behind the checkpoint at which the recovery begins there is nothing.
TEST_F(PlanBehindTheEnd, ABackupThatIsItsBeginningAloneHasNoTarget) {
  WalBuilder wal = *at_fork_;
  const pg::Lsn checkpoint = add_checkpoint(wal, 51);
  const pg::Lsn stop = wal.end_lsn();
  put_segment(wal, 4, true);
  const std::string id =
      put_backup({.start = checkpoint, .stop = stop, .stop_minute = 51, .from_standby = true});
  for (const Target& target : {Target{}, Target{.kind = TargetKind::kImmediate},
                               Target{.kind = TargetKind::kLsn, .lsn = stop}}) {
    const Plan made = plan(target);
    EXPECT_EQ(made.backup.id, id);
    EXPECT_EQ(made.target.kind, TargetKind::kLatest) << to_string(target);
    EXPECT_FALSE(made.last_record);
  }
  // As soon as anything lies behind it there is a place again.
  add_restore_point(wal, "behind", 52);
  put_segment(wal, 4, true);
  EXPECT_TRUE(plan({}).last_record);
  EXPECT_EQ(plan({.kind = TargetKind::kImmediate}).target.kind, TargetKind::kImmediate);
}

// As before one that is not there.
TEST_F(PlanTest, WhatLiesBeforeADamagedSegmentIsReached) {
  put_all();
  const std::string damaged = archive().object_name(
      {.kind = pg::WalFileKind::kSegment, .segment = {.timeline = {1}, .segment_number = 5}});
  store().remove(damaged);
  HF_CHECK(store().create(damaged, as_bytes("no segment")));
  const Plan made = plan(to_time(45));
  EXPECT_EQ(made.target.kind, TargetKind::kLsn);
  EXPECT_EQ(made.last_commit, at_minute(45));
  EXPECT_EQ(target_segment(made), "000000010000000000000004");
  ASSERT_EQ(made.notes.size(), 1U);
  EXPECT_TRUE(
      made.notes[0].starts_with("WAL segment \"000000010000000000000005\" is damaged, and "))
      << made.notes[0];
  EXPECT_EQ(plan(to_lsn(pg::end_lsn(4, size()))).target.lsn, made.target.lsn);
  EXPECT_EQ(refusal(to_time(46)).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(refusal({}).code(), ErrorCode::kCorrupt);
}

TEST_F(PlanTest, AnEndThatIsWhereAnotherTimelineBeganIsProven) {
  put_all();
  put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(pg::end_lsn(6, size()))));
  EXPECT_EQ(plan({}).last_commit, at_minute(65));
  EXPECT_EQ(plan({.timeline = pg::TimelineId{1}}).last_commit, at_minute(65));
  // Of timeline 2 nothing is archived although timeline 3 left it later.
  put_history(3, fmt::format("1\t{}\tx\n2\t0/800100\tx\n", pg::to_string(pg::end_lsn(6, size()))));
  EXPECT_EQ(refusal({}).message(),
            "WAL segment \"000000020000000000000007\" is not in the archive");
  EXPECT_EQ(refusal({.timeline = pg::TimelineId{2}}).message(),
            "WAL segment \"000000020000000000000007\" is not in the archive");
  EXPECT_EQ(plan({.timeline = pg::TimelineId{1}}).last_commit, at_minute(65));
}

// The segment in which timeline 2 left timeline 1 is archived as timeline 2's alone.
TEST_F(PlanTest, WhatATimelineLacksAtItsEndMayBeHeldByTheOneThatLeftIt) {
  put_all({5, 6});
  put_timeline_2();
  EXPECT_EQ(plan({}).last_commit, at_minute(72));
  const Error error = refusal({.timeline = pg::TimelineId{1}});
  EXPECT_EQ(error.message(), "WAL segment \"000000010000000000000005\" is not in the archive");
  EXPECT_NE(error.hint().find(fmt::format(
                "Timeline 2, which left it there, has what is missing: holdfast restore --to-lsn "
                "{} --exclusive --timeline 2",
                pg::to_string(fork_))),
            std::string::npos)
      << error.hint();
}

// --- Which timeline

TEST_F(PlanTest, AnAbandonedTimelineWithLaterCommitsIsNotLeftBehindUnasked) {
  put_all();
  put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  WalBuilder second = *at_fork_;
  second.set_timeline({2});
  add_end_of_recovery(second, 2, 1, 63);
  second.add_switch();
  put_segment(second, 4);
  const Error error = refusal({});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(),
            "timeline 1 has later commits than timeline 2, which would be followed");
  EXPECT_EQ(error.hint(),
            std::string("To go along timeline 2: holdfast restore --to-latest --timeline 2\n"
                        "To go along timeline 1: holdfast restore --to-latest --timeline 1") +
                kNeverAgain + kNeverBehind);
  EXPECT_EQ(plan({.timeline = pg::TimelineId{2}}).last_commit, at_minute(50));
  EXPECT_EQ(plan({.timeline = pg::TimelineId{1}}).last_commit, at_minute(65));
  // A server that is on it says that it is the one: it was recovered to there, and is quiet.
  EXPECT_EQ(plan({.cluster = ClusterEnd{.timeline = {2}, .end = fork_, .whose = "the server"}})
                .last_commit,
            at_minute(50));
  // A backup that leads to both says nothing of which is meant.
  EXPECT_EQ(refusal({.backup = b_}).hint(),
            fmt::format("To go along timeline 2: holdfast restore --to-latest --timeline 2 "
                        "--backup {0}\n"
                        "To go along timeline 1: holdfast restore --to-latest --timeline 1 "
                        "--backup {0}{1}{2}",
                        b_, kNeverAgain, kNeverBehind));

  // Before the fork both have the same.
  EXPECT_EQ(plan(to_time(42)).timeline, pg::TimelineId{2});
  // Behind it a time means what was there at that time.
  put_backup({.start = first_records_[3], .stop = after_first_commit_[3], .stop_minute = 33});
  const Error between = refusal(to_time(61));
  EXPECT_EQ(between.message(), error.message());
  EXPECT_EQ(plan({.kind = TargetKind::kTime, .time = at_minute(61), .timeline = pg::TimelineId{1}})
                .last_commit,
            at_minute(60));
}

// A drill's timeline has the later commit, and a server went on on the one that it left.
TEST_F(PlanTest, TheNewestBackupsTimelineIsNotLeftUnasked) {
  put_all();
  put_timeline_that_began(66);
  EXPECT_EQ(plan({}).timeline, pg::TimelineId{2});
  const std::string newest = put_backup({.start = first_records_[6],
                                         .stop = after_first_commit_[6],
                                         .stop_minute = 59,
                                         .committed = store().now() + std::chrono::hours(1)});
  const Error error = refusal({});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(),
            "the newest backup is of timeline 1, and timeline 2 would be followed");
  EXPECT_TRUE(error.hint().starts_with(
      "To go along timeline 1: holdfast restore --to-latest --timeline 1\n"
      "To go along timeline 2: holdfast restore --to-latest --timeline 2\n"))
      << error.hint();
  EXPECT_EQ(plan({.timeline = pg::TimelineId{1}}).backup.id, newest);
  EXPECT_EQ(plan({.timeline = pg::TimelineId{2}}).last_commit, at_minute(70));
}

// However it is found since, that it was taken is true.
TEST_F(PlanTest, ADamagedBackupTellsAsWellWhereItsServerLived) {
  put_all();
  put_timeline_that_began(66);
  const std::string newest = put_backup({.start = first_records_[6],
                                         .stop = after_first_commit_[6],
                                         .stop_minute = 59,
                                         .committed = store().now() + std::chrono::hours(1)});
  repo::put_mark(repository(), lineage().name, newest, repo::MarkKind::kDamaged, "A pack is gone.");
  EXPECT_EQ(refusal({}).message(),
            "the newest backup is of timeline 1, and timeline 2 would be followed");
}

// What is behind the parting began with timeline 2: that timeline 3 left that one later says
// nothing of timeline 1.
TEST_F(PlanTest, ABackupIsOlderThanATimelineOnlyIfItIsOlderThanThatOneAtTheParting) {
  put_all();
  WalBuilder second = put_timeline_that_began(66);
  put_backup({.start = first_records_[6],
              .stop = after_first_commit_[6],
              .stop_minute = 59,
              .committed = store().now() + std::chrono::hours(1)});
  put_history(
      3, fmt::format("1\t{}\tx\n2\t{}\ty\n", pg::to_string(fork_), pg::to_string(second.end_lsn())),
      store().now() + std::chrono::hours(2));
  second.set_timeline({3});
  add_end_of_recovery(second, 3, 2, 80);
  second.add_switch();
  put_segment(second, 5);
  EXPECT_EQ(refusal({}).message(),
            "the newest backup is of timeline 1, and timeline 3 would be followed");
}

// What is damaged hides its own commits, and not those before it.
TEST_F(PlanTest, CommitsBeforeADamagedSegmentOfAnotherTimelineAreNotLeftUnasked) {
  put_all();
  put_timeline_that_began(52);
  const std::string damaged = archive().object_name(
      {.kind = pg::WalFileKind::kSegment, .segment = {.timeline = {1}, .segment_number = 6}});
  store().remove(damaged);
  HF_CHECK(store().create(damaged, as_bytes("no segment")));
  EXPECT_EQ(refusal({}).message(),
            "timeline 1 has other commits beside timeline 2, which would be followed");
  EXPECT_EQ(refusal(to_time(60)).code(), ErrorCode::kTargetUnreachable);
  const std::vector<std::string> warnings = plan({.timeline = pg::TimelineId{2}}).warnings;
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_TRUE(warnings[0].starts_with("what timeline 1 holds cannot be told: ")) << warnings[0];
}

// A test copy's timeline, or that of a standby promoted by mistake, beside production's: each has
// that location, a transaction of that number, and a restore point of that name.
TEST_F(PlanTest, APlaceThatTwoTimelinesHaveIsAskedFor) {
  add_restore_point(wal_, "same", 66);
  wal_.add_switch();
  put_all();
  put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  WalBuilder second = *at_fork_;
  second.set_timeline({2});
  add_commit(second, 52, 70);
  add_restore_point(second, "same", 71);
  second.add_switch();
  put_segment(second, 4);
  const std::pair<Target, std::string> targets[] = {
      {to_lsn(after_second_commit_[5]),
       fmt::format("--to-lsn {}", pg::to_string(after_second_commit_[5]))},
      {to_xid(52), "--to-xid 52"},
      {to_name("same"), "--to-name same"}};
  for (const auto& [target, words] : targets) {
    SCOPED_TRACE(words);
    const Error error = refusal(target);
    EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
    EXPECT_TRUE(error.message().starts_with("timeline 1 has such a place too: "))
        << error.message();
    EXPECT_EQ(error.hint(),
              fmt::format("To go along timeline 2: holdfast restore {0} --timeline 2\n"
                          "To go along timeline 1: holdfast restore {0} --timeline 1{1}",
                          words, kNeverAgain));
    for (const uint32_t timeline : {1U, 2U}) {
      Target named = target;
      named.timeline = pg::TimelineId{timeline};
      EXPECT_EQ(plan(named).timeline, pg::TimelineId{timeline});
    }
  }
  // Before they part it is one place, and what one of them has alone is plain.
  EXPECT_EQ(plan(to_lsn(first_records_[5])).timeline, pg::TimelineId{2});
  EXPECT_EQ(plan(to_xid(51)).timeline, pg::TimelineId{2});
  EXPECT_EQ(plan(to_name("before release")).timeline, pg::TimelineId{2});
}

// Two timelines on which servers wrote at the same time are two clusters: which is production
// nobody tells by the last commit.
TEST_F(PlanTest, ATimelineThatLivedOnBesideIsNotLeftUnasked) {
  add_restore_point(wal_, "idle", 66);
  wal_.add_switch();
  put_all();
  put_timeline_that_began(63);
  EXPECT_EQ(plan({.timeline = pg::TimelineId{2}}).last_commit, at_minute(70));
  const Error error = refusal({});
  EXPECT_EQ(error.message(),
            "timeline 1 has other commits beside timeline 2, which would be followed");
  EXPECT_EQ(error.hint(),
            std::string("To go along timeline 2: holdfast restore --to-latest --timeline 2\n"
                        "To go along timeline 1: holdfast restore --to-latest --timeline 1") +
                kNeverAgain + kNeverBehind);
}

// Timeline 2 left timeline 1 in segment 5; then the server of timeline 1 was rolled back to before
// that, and wrote anew what is archived now.
TEST_F(PlanTest, ATimelineThatLeftAnotherLineIsOnNoBackupsWay) {
  put_all({5, 6});
  put_timeline_that_began(66);
  WalBuilder anew = *at_fork_;
  add_commit(anew, 99, 55);
  const pg::Lsn stop = anew.end_lsn();
  anew.add_switch();
  const Target second{.timeline = pg::TimelineId{2}};
  EXPECT_EQ(plan(second).timeline, pg::TimelineId{2});
  // What differs lies behind the fork: nothing against it.
  put_segment(anew, 4);
  EXPECT_EQ(plan(second).timeline, pg::TimelineId{2});

  put_history(3, fmt::format("1\t{}\tx\n", pg::to_string(stop)));
  WalBuilder third = *at_fork_;
  add_commit(third, 98, 54);
  ASSERT_EQ(third.end_lsn(), stop);
  third.set_timeline({3});
  add_end_of_recovery(third, 3, 1, 66);
  third.add_switch();
  put_segment(third, 4);
  const Target on_third{.timeline = pg::TimelineId{3}};
  // For a backup from before it is a way, for one that ended on the new line it is none.
  EXPECT_EQ(plan(on_third).timeline, pg::TimelineId{3});
  put_backup({.start = first_records_[5], .stop = fork_, .stop_minute = 53});
  EXPECT_EQ(refusal(on_third).message(),
            "timeline 3 left another line of timeline 1 than the archived one");
}

// Two that were promoted at one place, of a common parent: both end of a primary that was shut
// down.
TEST_F(PlanTest, TwoTimelinesThatLeftOneParentAtOnePlaceArePartedThere) {
  put_segments(wal_, {5, 6});
  b_ = put_backup({.start = first_records_[3], .stop = after_first_commit_[3], .stop_minute = 32});
  for (const uint32_t id : {2U, 3U}) {
    put_history(id, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
    WalBuilder own = *at_fork_;
    own.set_timeline({id});
    add_end_of_recovery(own, id, 1, 66);
    add_commit(own, 70 + id, id == 2 ? 80 : 70);
    own.add_switch();
    put_segment(own, 4);
  }
  EXPECT_EQ(refusal({}).message(),
            "timeline 2 has later commits than timeline 3, which would be followed");
  const Plan third = plan({.timeline = pg::TimelineId{3}});
  EXPECT_EQ(third.abandoned.size(), 1U);
  EXPECT_EQ(refusal({.cluster = ClusterEnd{.timeline = {2},
                                           .end = pg::end_lsn(5, size()),
                                           .whose = "the server"}})
                .message(),
            "the server is on timeline 2, and timeline 3 would be followed");
}

// Nothing was committed there behind the fork, but a backup was taken, of a server that lived.
TEST_F(PlanTest, TheNewestBackupsTimelineIsNotLeftWhereItWasQuiet) {
  put_segments(wal_, {5, 6});
  a_ = put_backup({.start = first_records_[1], .stop = after_first_commit_[1], .stop_minute = 12});
  WalBuilder quiet = *at_fork_;
  const pg::Lsn start = add_restore_point(quiet, "idle", 52);
  const pg::Lsn stop = quiet.end_lsn();
  quiet.add_switch();
  put_segment(quiet, 4);
  put_timeline_that_began(66);
  EXPECT_EQ(plan({}).timeline, pg::TimelineId{2});
  put_backup({.start = start,
              .stop = stop,
              .stop_minute = 59,
              .committed = store().now() + std::chrono::hours(1)});
  EXPECT_EQ(refusal({}).message(),
            "the newest backup is of timeline 1, and timeline 2 would be followed");
}

// A copy's backup is the newest, and production has committed on beside it.
TEST_F(PlanTest, ABackupsEndIsAskedForWhereItsTimelineLivedBesideAnother) {
  add_restore_point(wal_, "idle", 66);
  wal_.add_switch();
  put_all();
  const WalBuilder second = put_timeline_that_began(63);
  const std::string copys = put_backup({.start = fork_,
                                        .stop = second.end_lsn(),
                                        .stop_minute = 59,
                                        .timeline = 2,
                                        .committed = store().now() + std::chrono::hours(1)});
  for (const Target& target : {Target{.kind = TargetKind::kImmediate}, Target{.backup = "latest"},
                               Target{.kind = TargetKind::kImmediate, .backup = "latest"}}) {
    const Error error = refusal(target);
    EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable) << to_string(target);
    EXPECT_TRUE(error.message().starts_with("timeline 1 has "));
  }
  EXPECT_EQ(plan({.backup = copys}).timeline, pg::TimelineId{2});
  EXPECT_EQ(plan({.kind = TargetKind::kImmediate, .backup = copys}).backup.id, copys);
  EXPECT_EQ(plan({.kind = TargetKind::kImmediate, .timeline = pg::TimelineId{1}}).backup.id, b_);
}

// Where a timeline began an unfinished segment tells too; where nothing tells it is not guessed.
TEST_F(PlanTest, ATimelineWhoseBeginningIsNotKnownHasNotTakenOver) {
  put_all();
  put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  WalBuilder second = *at_fork_;
  second.set_timeline({2});
  WalBuilder untold = second;
  add_commit(untold, 71, 70);
  put_segment(untold, 4, true);
  EXPECT_EQ(refusal({}).message(),
            "timeline 1 has other commits beside timeline 2, which would be followed");
  EXPECT_EQ(refusal({.backup = b_}).message(),
            "timeline 1 has other commits beside timeline 2, which would be followed");
}
TEST_F(PlanTest, WhereATimelineBeganAnUnfinishedSegmentTells) {
  put_all();
  put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  WalBuilder second = *at_fork_;
  second.set_timeline({2});
  add_end_of_recovery(second, 2, 1, 66);
  add_commit(second, 71, 70);
  put_segment(second, 4, true);
  EXPECT_EQ(plan({}).timeline, pg::TimelineId{2});
}

// What it holds, and where it left the others, only its history tells.
TEST_F(PlanTest, ALaterTimelineWhoseHistoryIsDamagedIsNotLeftUnasked) {
  put_all();
  put_history(2, "not a history\n");
  const WalBuilder second = make_timeline_2();
  put_segment(second, 4);
  put_segment(second, 5);
  EXPECT_EQ(refusal({}).message(), "timeline 2 may have gone on, and its history cannot be read");
  EXPECT_EQ(plan({.timeline = pg::TimelineId{1}}).last_commit, at_minute(65));
}
TEST_F(PlanTest, ALaterTimelineWhoseHistoryIsLostIsNotLeftUnasked) {
  put_all();
  put_segment(make_timeline_2(), 4);
  const Error error = refusal({});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(), "timeline 2 may have gone on, and its history is not in the archive");
  EXPECT_NE(
      error.hint().find("\nTo go along timeline 1: holdfast restore --to-latest --timeline 1"),
      std::string::npos)
      << error.hint();
  EXPECT_TRUE(
      error.hint().ends_with("after: holdfast wal set-aside 000000020000000000000005 "
                             "--onward"))
      << error.hint();
  EXPECT_EQ(plan({.timeline = pg::TimelineId{1}}).last_commit, at_minute(65));
  // The cluster's own server says which one it is on.
  EXPECT_EQ(plan({.cluster = ClusterEnd{.timeline = {1}, .end = fork_, .whose = "the server"}})
                .last_commit,
            at_minute(65));
}

// What the cluster's own server wrote says which one it is on.
TEST_F(PlanTest, TheClustersOwnTimelineIsNotLeftUnasked) {
  put_all();
  put_timeline_that_began(66);
  ASSERT_EQ(plan({}).timeline, pg::TimelineId{2});
  const auto on = [](uint32_t timeline, pg::Lsn end) {
    return ClusterEnd{.timeline = {timeline}, .end = end, .whose = "the server"};
  };
  const pg::Lsn end = pg::end_lsn(6, size());
  const Error left = refusal({.cluster = on(1, end)});
  EXPECT_EQ(left.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(left.message(), "the server is on timeline 1, and timeline 2 would be followed");
  EXPECT_TRUE(left.hint().starts_with(
      "To go along timeline 1: holdfast restore --to-latest --timeline 1\n"))
      << left.hint();
  // A server that runs, or whose last WAL is lost, may have written anything.
  ClusterEnd runs = on(1, fork_);
  runs.goes_on = true;
  EXPECT_EQ(refusal({.cluster = runs}).message(), left.message());
  // A backup that leads to both says nothing; nor does the word for the newest.
  EXPECT_EQ(refusal({.backup = a_, .cluster = on(1, end)}).message(), left.message());
  // It wrote nothing of its own behind the parting, or is on that timeline, or another was named.
  EXPECT_EQ(plan({.cluster = on(1, fork_)}).timeline, pg::TimelineId{2});
  EXPECT_EQ(plan({.cluster = on(2, end)}).timeline, pg::TimelineId{2});
  EXPECT_EQ(plan({.timeline = pg::TimelineId{2}, .cluster = on(1, end)}).timeline,
            pg::TimelineId{2});
}

// Where it parts from the others its own history tells, and that it wrote is true all the same.
TEST_F(PlanTest, AClustersTimelineOfWhichNothingIsArchivedIsNotLeftInSilence) {
  put_all();
  ClusterEnd cluster{.timeline = {2}, .end = pg::end_lsn(6, size()), .whose = "the server"};
  const auto warnings = [&] { return plan({.cluster = cluster}).warnings; };
  const std::string nothing = "the server is on timeline 2, of which nothing is archived";
  EXPECT_EQ(warnings(),
            std::vector<std::string>({nothing + ": what it committed is not recovered"}));
  const pg::Lsn end = pg::end_lsn(6, size());
  cluster.history = to_bytes(fmt::format("1\t{}\tx\n", pg::to_string(end)));
  EXPECT_EQ(warnings(),
            std::vector<std::string>({fmt::format(
                "{}: what it committed behind {} is not recovered", nothing, pg::to_string(end))}));
  // Another server has written on where it left.
  cluster.history = to_bytes(fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  EXPECT_EQ(refusal({.cluster = cluster}).message(), nothing);
  EXPECT_TRUE(plan({.timeline = pg::TimelineId{1}, .cluster = cluster}).warnings.empty());
  EXPECT_TRUE(plan({.kind = TargetKind::kLsn, .lsn = first_records_[5], .cluster = cluster})
                  .warnings.empty());
  // The run saves what it wrote, and asks then.
  cluster.is_saved_first = true;
  EXPECT_TRUE(warnings().empty());
}

// Who goes to the end does not mean one that lies before what the cluster has.
TEST_F(PlanTest, AnEndBeforeThePartingLeavesTheClustersTimelineToo) {
  put_all();
  put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  const ClusterEnd cluster{
      .timeline = {1}, .end = pg::end_lsn(6, size()), .whose = "the server", .goes_on = true};
  EXPECT_EQ(refusal({.cluster = cluster}).message(),
            "the server is on timeline 1, and timeline 2 would be followed");
  EXPECT_EQ(plan({.kind = TargetKind::kLsn, .lsn = first_records_[5], .cluster = cluster}).end_lsn,
            first_records_[5]);
}

// What was forked off a copy's timeline later is no answer: the copy lived beside.
TEST_F(PlanTest, ATimelineThatWasForkedOffACopysHasNotTakenOver) {
  add_restore_point(wal_, "idle", 66);
  wal_.add_switch();
  put_all();
  const WalBuilder second = put_timeline_that_began(63);
  put_history(3, fmt::format("1\t{}\tx\n2\t{}\tx\n", pg::to_string(fork_),
                             pg::to_string(second.end_lsn())));
  WalBuilder third = second;
  third.set_timeline({3});
  add_end_of_recovery(third, 3, 2, 75);
  add_commit(third, 91, 80);
  third.add_switch();
  put_segment(third, 5);
  EXPECT_EQ(refusal({}).message(),
            "timeline 1 has other commits beside timeline 3, which would be followed");
  // Nor is a place on it plain, whatever the others have of that name or number.
  EXPECT_EQ(refusal(to_xid(91)).message(),
            "timeline 1 has other commits beside timeline 3, which would be followed");
  EXPECT_EQ(plan({.timeline = pg::TimelineId{3}}).last_commit, at_minute(80));
  EXPECT_EQ(plan(to_xid(51)).timeline, pg::TimelineId{3});
}

// Of a place, too, the newest backup's timeline is not left unasked.
TEST_F(PlanTest, APlaceBesideTheNewestBackupsTimelineIsAskedFor) {
  put_all();
  put_timeline_that_began(66);
  EXPECT_EQ(plan(to_xid(71)).timeline, pg::TimelineId{2});
  put_backup({.start = first_records_[6],
              .stop = after_first_commit_[6],
              .stop_minute = 59,
              .committed = store().now() + std::chrono::hours(1)});
  EXPECT_EQ(refusal(to_xid(71)).message(),
            "the newest backup is of timeline 1, and timeline 2 would be followed");
  EXPECT_EQ(plan(to_xid(51)).timeline, pg::TimelineId{2});
}

TEST_F(PlanTest, ATimeAtWhichTheNewerTimelineHadBegunIsOnIt) {
  put_all();
  WalBuilder second = put_timeline_that_began(66);
  EXPECT_EQ(plan({}).last_commit, at_minute(70));
  EXPECT_EQ(plan(to_time(68)).last_commit, at_minute(50));
  EXPECT_EQ(refusal(to_time(61)).message(),
            "timeline 1 has later commits than timeline 2, which would be followed");

  // It is so still when a third one has left the second.
  const pg::Lsn left = second.end_lsn();
  put_history(3, fmt::format("1\t{}\tx\n2\t{}\ty\n", pg::to_string(fork_), pg::to_string(left)));
  second.set_timeline({3});
  add_end_of_recovery(second, 3, 2, 80);
  add_commit(second, 91, 82);
  second.add_switch();
  put_segment(second, 5);
  EXPECT_EQ(plan({}).timeline, pg::TimelineId{3});
  EXPECT_EQ(plan(to_time(68)).last_commit, at_minute(50));
  EXPECT_EQ(refusal(to_time(61)).code(), ErrorCode::kTargetUnreachable);
}

// With a checkpoint, whose time has whole seconds: the older one's last commit is of the same.
TEST_F(PlanTest, ATimelineThatBeganInTheSecondOfTheOthersLastCommitHadBegun) {
  add_commit(wal_, 71, 67 + 0.2 / 60);
  wal_.add_switch();
  put_all();
  put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  WalBuilder second = *at_fork_;
  second.set_timeline({2});
  add_checkpoint(second, 67);
  add_commit(second, 72, 70);
  second.add_switch();
  put_segment(second, 4);
  EXPECT_EQ(plan(to_time(68)).timeline, pg::TimelineId{2});
  EXPECT_EQ(refusal(to_time(66.5)).code(), ErrorCode::kTargetUnreachable);
}

TEST_F(PlanTest, WhatCannotBeReachedIsRefusedWithTheNearestThatCan) {
  put_all();
  const std::string to_the_end =
      "The farthest that can be reached is the end of the archived WAL: holdfast restore "
      "--to-latest";
  const struct {
    const char* what;
    Target target;
    std::string message, hint;
  } cases[] = {
      {"before all backups", to_time(5), "the target is before the end of the oldest backup",
       "The earliest that can be reached is the end of that backup: holdfast restore --to "
       "'2026-11-22 08:12:00.000000+00'"},
      {"before the named backup",
       {.kind = TargetKind::kTime, .time = at_minute(20), .backup = b_},
       "the target is before the end of the named backup",
       fmt::format(
           "The earliest that can be reached is the end of that backup: holdfast restore --to "
           "'2026-11-22 08:32:00.000000+00' --backup {}\nAn older backup reaches the target: "
           "holdfast restore --to '2026-11-22 08:20:00.000000+00'",
           b_)},
      {"LSN before all backups", to_lsn(first_records_[1]),
       "the target is before the end of the oldest backup",
       fmt::format("The earliest that can be reached is the end of that backup: holdfast restore "
                   "--to-lsn {}",
                   pg::to_string(after_first_commit_[1]))},
      {"LSN behind the end", to_lsn({0x10000000}), "WAL location 0/10000000 is not archived",
       to_the_end},
      {"unknown transaction", to_xid(4711), "transaction 4711 has no end in the archived WAL",
       "Check the number; subtransactions cannot be targets.\n" + to_the_end},
      {"a number in a segment's range that did not end", to_xid(50),
       "transaction 50 has no end in the archived WAL",
       "Check the number; subtransactions cannot be targets.\n" + to_the_end},
      {"transaction before the oldest backup's end", to_xid(11),
       "transaction 11 ended before the end of the oldest backup",
       fmt::format("The earliest that can be reached is the end of that backup: holdfast restore "
                   "--to-lsn {}",
                   pg::to_string(after_first_commit_[1]))},
      {"unknown restore point", to_name("Before release"),
       "there is no restore point \"Before release\" in the archived WAL",
       "Check the spelling; upper and lower case differ.\n" + to_the_end},
      {"restore point before the named backup",
       {.kind = TargetKind::kName, .name = "before release", .backup = b_},
       "there is no restore point \"before release\" in the archived WAL",
       "Check the spelling; upper and lower case differ.\n" + to_the_end + " --backup " + b_},
      {"unknown timeline",
       {.timeline = pg::TimelineId{7}},
       "timeline 7 is not in the archive",
       "Name one of those with --timeline, or leave it out: holdfast restore --to-latest"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    const Error error = refusal(c.target);
    EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
    EXPECT_EQ(error.message(), c.message);
    EXPECT_EQ(error.hint(), c.hint);
    EXPECT_FALSE(error.detail().empty());
  }
}

TEST_F(PlanTest, TheNearestThatARefusalNamesCanBeReached) {
  put_all();
  EXPECT_EQ(plan(to_time(12)).backup.id, a_);
  EXPECT_EQ(plan(to_lsn(after_first_commit_[1])).backup.id, a_);
  const Plan end = plan(to_lsn(pg::Lsn{0x700000}));
  EXPECT_EQ(end.target.kind, TargetKind::kLatest);
  EXPECT_TRUE(end.ran_to_the_end);
}

TEST_F(PlanTest, AHoleIsRefusedUnlessTheTargetLiesBeforeIt) {
  put_all({5});
  for (const Target& target :
       {Target{}, to_time(62), to_time(90), to_lsn(second_commits_[6]), to_xid(62)}) {
    const Error error = refusal(target);
    EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable) << to_string(target);
    EXPECT_EQ(error.message(), "WAL segment \"000000010000000000000005\" is not in the archive");
    EXPECT_EQ(error.detail(), fmt::format("Later segments are, up to \"000000010000000000000006\": "
                                          "recovery from backup {} would end before it and "
                                          "lose what comes after.",
                                          b_));
    EXPECT_TRUE(
        error.hint().starts_with("It may still lie in the pg_wal directory of the server "));
    EXPECT_NE(error.hint().find("\nUp to the hole recovery is possible: holdfast restore --to-lsn "
                                "0/4"),
              std::string::npos)
        << error.hint();
  }
  EXPECT_EQ(ranges_of(plan(to_time(42))), "1:3-4 ");
  // The place that the hint names: the last record before the hole.
  const Error error = refusal({});
  const std::string hint = error.hint();
  const pg::Lsn named = pg::parse_lsn(std::string_view(hint).substr(hint.rfind(' ') + 1));
  EXPECT_EQ(ranges_of(plan(to_lsn(named))), "1:3-4 ");
}

// The end, which is the way out where the WAL is whole, cannot be reached either.
TEST_F(PlanTest, ARefusalNamesNoCommandThatWouldBeRefusedToo) {
  put_all({5});
  EXPECT_EQ(refusal(to_xid(4711)).hint(), "Check the number; subtransactions cannot be targets.");
  EXPECT_EQ(refusal(to_name("nowhere")).hint(), "Check the spelling; upper and lower case differ.");
}

TEST_F(PlanTest, HolesAreNamedWholeAndThoseBehindTheTargetInThePlan) {
  put_all({4, 5});
  EXPECT_EQ(refusal({}).detail(),
            fmt::format("Neither are those behind it, 2 in all up to \"000000010000000000000005\". "
                        "Later segments are, up to \"000000010000000000000006\": recovery from "
                        "backup {} would end before it and lose what comes after.",
                        b_));
  const Plan made = plan(to_time(31));
  ASSERT_EQ(made.absent.size(), 1U);
  EXPECT_EQ(made.absent[0].timeline, pg::TimelineId{1});
  EXPECT_EQ(made.absent[0].first, 4U);
  EXPECT_EQ(made.absent[0].last, 5U);
}

TEST_F(PlanTest, ATargetOfAnotherTimelineIsRefusedWithTheWholeCommandThatReachesIt) {
  put_all();
  put_timeline_2();
  const Target target{.kind = TargetKind::kXid,
                      .xid = 62,
                      .exclusive = true,
                      .command = "holdfast -c main restore --into '/srv/a copy' --start"};
  const Error error = refusal(target);
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.hint(),
            "Check the number; subtransactions cannot be targets.\n"
            "Timeline 1 has it: holdfast -c main restore --into '/srv/a copy' --start --to-xid 62 "
            "--exclusive --timeline 1\n"
            "The farthest that can be reached is the end of the archived WAL: holdfast -c main "
            "restore --into '/srv/a copy' --start --to-latest");
  EXPECT_EQ(refusal(to_lsn(pg::Lsn{0x10000000})).hint(),
            "The farthest that can be reached is the end of the archived WAL: holdfast restore "
            "--to-latest");
}

TEST_F(PlanTest, ThePlanKnowsTheNextTimelineAndWhetherItsHistoryIsLost) {
  put_all();
  EXPECT_EQ(plan({}).next_timeline, pg::TimelineId{2});
  put_timeline_2();
  EXPECT_EQ(plan({}).next_timeline, pg::TimelineId{3});
  const Plan old = plan({.timeline = pg::TimelineId{1}});
  EXPECT_EQ(old.next_timeline, pg::TimelineId{3});
  EXPECT_FALSE(old.lost_history_of);
  // Timeline 3 was there: its history names it.
  put_history(4, fmt::format("1\t{}\tx\n3\t{}\tx\n", pg::to_string(fork_),
                             pg::to_string(pg::end_lsn(6, size()))));
  EXPECT_EQ(plan({.timeline = pg::TimelineId{1}}).lost_history_of, pg::TimelineId{3});
}

TEST_F(PlanTest, ARecoveryThatComesByWhereTwoHistoriesContradictEachOtherIsRefused) {
  put_all();
  put_timeline_2();
  put_history(3, fmt::format("1\t{}\tx\n2\t{}\tx\n", pg::to_string(second_commits_[4]),
                             pg::to_string(pg::end_lsn(6, size()))));
  for (const Target& target : {Target{}, Target{.timeline = pg::TimelineId{2}},
                               Target{.timeline = pg::TimelineId{3}}, to_time(99)}) {
    const Error error = refusal(target);
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << to_string(target);
    EXPECT_EQ(error.message(), "the history of timeline 3 contradicts that of timeline 2");
    for (const char* file : {"00000002.history", "00000003.history"})
      EXPECT_NE(error.hint().find(fmt::format("holdfast wal set-aside {}", file)),
                std::string::npos)
          << error.hint();
    const std::string command =
        fmt::format("holdfast restore --to-lsn {} --timeline 1", pg::to_string(second_commits_[4]));
    EXPECT_TRUE(error.hint().ends_with("Up to there recovery is possible: " + command))
        << error.hint();
  }
  // Neither what ends before the place, nor another timeline, is concerned.
  Target there = to_lsn(second_commits_[4]);
  there.timeline = pg::TimelineId{1};
  for (const Target& target : {there, Target{.timeline = pg::TimelineId{1}}, to_time(31)}) {
    const Plan made = plan(target);
    EXPECT_TRUE(std::ranges::any_of(made.notes, [](const std::string& note) {
      return note ==
             "the history of timeline 3 contradicts that of timeline 2 on where timeline 1 "
             "ended; this recovery does not come by there";
    })) << to_string(target);
  }
}

TEST_F(PlanTest, ATimelineWhoseHistoryIsLostCannotBeReached) {
  put_all();
  put_segment(make_timeline_2(), 5);  // its history is not archived
  const Error error = refusal({.timeline = pg::TimelineId{2}});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(), "timeline history file \"00000002.history\" is not in the archive");
  EXPECT_TRUE(error.hint().ends_with("or leave --timeline out: holdfast restore --to-latest"))
      << error.hint();
}

// What was loaded meanwhile is in no WAL, and a server goes no further.
TEST_F(PlanTest, NothingIsRecoveredPastWalOfLevelMinimal) {
  WalBuilder wal;
  std::map<uint32_t, pg::Lsn> commits;
  pg::Lsn from;
  for (uint32_t k = 1; k <= 4; ++k) {
    add_commit(wal, k, 10 * k);
    if (k == 1) a_ = put_backup({.start = wal.end_lsn(), .stop = wal.end_lsn(), .stop_minute = 12});
    if (k == 2) {
      from = wal.end_lsn();
      wal.add_parameters(100, pg::WalLevel::kMinimal);
    }
    commits[k] = wal.end_lsn();
    add_commit(wal, 50 + k, 10 * k + 5);
    if (k == 3) wal.add_parameters(100, pg::WalLevel::kReplica);
    if (k == 4) b_ = put_backup({.start = wal.end_lsn(), .stop = wal.end_lsn(), .stop_minute = 47});
    wal.add_switch();
  }
  add_commit(wal, 99, 60);
  wal.add_switch();
  put_segments(wal);
  for (const Target& target :
       {Target{.backup = a_}, to_time(25), to_time(35), to_lsn(commits[3]), to_lsn(from)}) {
    const Error error = refusal(target);
    EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable) << error.message();
    EXPECT_NE(error.message().find("wal_level \"minimal\""), std::string::npos) << error.message();
    EXPECT_NE(error.hint().find(fmt::format("--to-lsn {} --exclusive", pg::to_string(from))),
              std::string::npos)
        << error.hint();
  }
  EXPECT_EQ(plan(to_time(15)).backup.id, a_);
  EXPECT_EQ(plan(to_lsn(from, true)).last_commit, at_minute(20));
  EXPECT_EQ(plan({}).backup.id, b_) << "which was taken behind it";
}

// Metadata of 0.1.0 has no place for it: then the records are read, where there may be any.
TEST_F(PlanTest, WalOfLevelMinimalIsFoundInWhatAnOlderProgramArchived) {
  for (const uint64_t bytes : {0, 8, 40}) {  // of the record in the segment where it begins
    SCOPED_TRACE(bytes);
    ArchiveFixture archive;
    WalBuilder wal;
    add_commit(wal, 1, 10);
    const pg::Lsn stop = wal.end_lsn();
    wal.add_switch();
    add_max_connections(wal, 200);  // no change of that kind
    wal.add_switch();
    add_commit(wal, 2, 20);
    if (bytes > 0) wal.fill_to(pg::end_lsn(3, archive.size()) - bytes);
    const pg::Lsn from = wal.end_lsn();
    wal.add_parameters(100, pg::WalLevel::kMinimal);
    if (bytes == 0) wal.add_switch();
    add_commit(wal, 3, 30);
    wal.add_switch();
    for (size_t index = 0; index < wal.segment_count(); ++index)
      archive.put_segment_of_0_1_0(wal, index);
    archive.put_backup(
        {.start = pg::start_lsn(1, archive.size()) + 40, .stop = stop, .stop_minute = 12});
    const Error error =
        test::error_of([&] { make_plan(archive.repository(), archive.lineage(), {}); });
    EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable) << error.message();
    EXPECT_NE(error.message().find("wal_level \"minimal\""), std::string::npos) << error.message();
    const WalPicture picture = look_at_wal(archive.repository(), archive.lineage(),
                                           [](const std::string&, const Error&) {});
    ASSERT_EQ(picture.windows.size(), 1U);
    EXPECT_EQ(picture.windows[0].end_lsn, from);
    EXPECT_EQ(picture.windows[0].end_time, at_minute(20));
  }
}

// What `info` says is what a restore does.
TEST_F(PlanTest, WindowsByWhatIsListedEndWhereWalOfLevelMinimalBegins) {
  WalBuilder wal;
  pg::Lsn from;
  for (uint32_t k = 1; k <= 3; ++k) {
    if (k == 1) {
      add_commit(wal, k, 10);
      a_ = put_backup(
          {.start = pg::start_lsn(1, size()) + 40, .stop = wal.end_lsn(), .stop_minute = 12});
    }
    if (k == 2) {
      from = wal.end_lsn() + 40;
      wal.add_parameters(100, pg::WalLevel::kMinimal);
    }
    add_commit(wal, 50 + k, 10 * k + 5);
    wal.add_switch();
  }
  put_segments(wal);
  const WalPicture picture =
      look_at_wal(repository(), lineage(), [](const std::string&, const Error&) {});
  ASSERT_EQ(picture.windows.size(), 1U);
  EXPECT_EQ(picture.windows[0].end_lsn, from);
  EXPECT_EQ(picture.windows[0].end_time, at_minute(15)) << "what was committed behind it is lost";
  EXPECT_FALSE(picture.windows[0].looked_from);
  ASSERT_EQ(picture.gaps.size(), 1U);
  EXPECT_EQ(picture.gaps[0].problem, "behind WAL of wal_level minimal");
  EXPECT_TRUE(picture.gaps[0].costs());
}

// The server would look for a later one in the hole, so it is told the place.
TEST_F(PlanTest, ATimeThatIsReachedBeforeAHoleIsThePlaceOfTheLastRecordThere) {
  put_all({5});
  const Plan made = plan(to_time(45));
  EXPECT_EQ(made.target.kind, TargetKind::kLsn);
  EXPECT_GE(made.target.lsn, second_commits_[4]);
  EXPECT_FALSE(made.target.exclusive);
  EXPECT_EQ(made.last_commit, at_minute(45));
  EXPECT_EQ(ranges_of(made), "1:3-4 ");
  EXPECT_NE(made.notes.back().find("\"000000010000000000000005\" is not in the archive"),
            std::string::npos)
      << made.notes.back();
  EXPECT_EQ(refusal(to_time(46)).code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(plan(to_time(45, true)).target.kind, TargetKind::kTime);
}

TEST_F(PlanTest, ATimeThatIsReachedBeforeAForeignSegmentIsThePlaceOfTheLastRecordThere) {
  put_all({5});
  WalBuilder other;
  for (uint32_t k = 1; k <= 5; ++k) {
    add_commit(other, 90 + k, 10 * k + 3);
    other.add_switch();
  }
  put_segment(other, 4);
  EXPECT_EQ(plan(to_time(45)).target.kind, TargetKind::kLsn);
  EXPECT_EQ(refusal(to_time(46)).code(), ErrorCode::kCorrupt);
}

TEST_F(PlanTest, ABackupWithoutItsOwnWalIsRefused) {
  put_all({3});
  const Error error = refusal({.backup = b_});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(), "WAL segment \"000000010000000000000003\" is not in the archive");
  // The nearest is reached from the older backup.
  const std::string hint = error.hint();
  EXPECT_NE(hint.find("\nUp to the hole recovery is possible: holdfast restore --to-lsn 0/2"),
            std::string::npos)
      << hint;
  const pg::Lsn named = pg::parse_lsn(std::string_view(hint).substr(hint.rfind(' ') + 1));
  EXPECT_EQ(plan(to_lsn(named)).backup.id, a_);
  EXPECT_EQ(ranges_of(plan(to_time(21))), "1:1-2 ");
}

TEST_F(PlanTest, SegmentsOfTwoServersThatDoNotJoinAreRefused) {
  put_segments(wal_, {6});
  WalBuilder other = *at_fork_;  // another history of segments 5 and 6, under the same timeline
  add_commit(other, 99, 56);
  add_commit(other, 100, 57);
  other.add_switch();
  add_commit(other, 101, 60);
  other.add_switch();
  put_segment(other, 5);
  put_backup({.start = first_records_[3], .stop = after_first_commit_[3], .stop_minute = 32});
  const Error error = refusal({});
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(),
            "archived WAL segment \"000000010000000000000006\" is not the continuation of "
            "\"000000010000000000000005\"");
  // The place that the hint names can be reached.
  const std::string hint = error.hint();
  EXPECT_TRUE(hint.starts_with(
      "Recovery is possible up to the end of the first: holdfast restore --to-lsn 0/5"))
      << hint;
  const pg::Lsn named = pg::parse_lsn(std::string_view(hint).substr(hint.rfind(' ') + 1));
  EXPECT_EQ(ranges_of(plan(to_lsn(named))), "1:3-5 ");
}

// The server would take the end of its records for the end of WAL.
TEST_F(PlanTest, ASegmentThatIsArchivedShortEndsTheWay) {
  put_segments(wal_, {5});
  WalBuilder cut = *at_fork_;  // segment 5 up to before its second commit
  put_segment(cut, 4);
  put_backup({.start = first_records_[3], .stop = after_first_commit_[3], .stop_minute = 32});
  for (const Target& target : {Target{}, to_time(63), to_lsn(second_commits_[6]), to_xid(62)}) {
    const Error error = refusal(target);
    EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable) << to_string(target);
    EXPECT_EQ(
        error.message(),
        fmt::format("archived WAL segment \"000000010000000000000005\" can be read only up to {}",
                    pg::to_string(fork_)));
    EXPECT_NE(error.hint().find("holdfast restore --to-lsn 0/5"), std::string::npos)
        << error.hint();
  }
  // Before it, and in what there is of it, all is as ever.
  EXPECT_EQ(ranges_of(plan(to_time(42))), "1:3-4 ");
  EXPECT_EQ(ranges_of(plan(to_xid(51))), "1:3-5 ");
}

// A server that recycles files after a recovery keeps some of the timeline that it left under names
// of the new one.
TEST_F(PlanTest, AnOldFileUnderTheNameOfANewTimelineIsNoWalOfIt) {
  put_all();
  put_history(2, fmt::format("1\t{}\tbefore transaction 52\n", pg::to_string(fork_)));
  put_segment(make_timeline_2(), 4);
  WalBuilder old = wal_;
  old.set_timeline({2});  // the name's; its pages say 1
  put_segment(old, 5);
  const Error error = refusal({.timeline = pg::TimelineId{2}});
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(),
            "archived WAL segment \"000000020000000000000006\" holds no WAL of its timeline");
  EXPECT_NE(error.hint().find("holdfast wal set-aside 000000020000000000000006"), std::string::npos)
      << error.hint();
}

// A recovery along timeline 2 to a place before that began: timeline 3 goes on from timeline 1.
TEST_F(PlanTest, SwitchPointsThatGoDownLeadByTheServersRules) {
  put_all();
  const std::string late = pg::to_string(after_second_commit_[5]);
  put_history(2, fmt::format("1\t{}\tlate\n", late));
  WalBuilder second = wal_;
  second.set_timeline({2});
  add_commit(second, 81, 65.5);
  second.add_switch();
  put_segment(second, 6);
  put_history(3, fmt::format("1\t{}\tlate\n2\t{}\tearly\n", late, pg::to_string(fork_)));
  const WalBuilder third = make_timeline_2(3);
  for (const size_t index : {4, 5}) put_segment(third, index);
  const std::string behind =
      put_backup({.start = second_commits_[5], .stop = after_second_commit_[5], .stop_minute = 57});

  const Plan newest = plan({});
  EXPECT_EQ(newest.timeline, pg::TimelineId{3});
  EXPECT_EQ(ranges_of(newest), "1:3-4 3:5-6 ");
  EXPECT_EQ(newest.backup.id, b_) << "the newest ended behind where timeline 3 left timeline 1";
  EXPECT_EQ(newest.last_commit, at_minute(72));
  EXPECT_EQ(newest.next_timeline, pg::TimelineId{4});
  EXPECT_EQ(plan({.timeline = pg::TimelineId{1}}).backup.id, behind);
  for (const std::string& note : newest.notes)
    EXPECT_EQ(note.find("contradicts"), std::string::npos) << note;
}

TEST_F(PlanTest, DamagedBackupsAreOnlyUsedWhenNamed) {
  put_segments(wal_);
  a_ = put_backup({.start = first_records_[1], .stop = after_first_commit_[1], .stop_minute = 12});
  b_ = put_backup({.start = first_records_[3],
                   .stop = after_first_commit_[3],
                   .stop_minute = 32,
                   .damaged = true});
  EXPECT_EQ(plan({}).backup.id, a_);
  const Plan named = plan({.backup = b_});
  EXPECT_EQ(named.backup.id, b_);
  EXPECT_EQ(named.notes.front(),
            fmt::format("backup {} is marked damaged; it is used because it was named", b_));
}

TEST_F(PlanTest, WithoutBackupsOrWalItSaysWhatIsMissing) {
  const Error none = refusal({});
  EXPECT_EQ(none.code(), ErrorCode::kNotFound);
  EXPECT_EQ(none.message(), "there is no backup of cluster \"main\"");
  EXPECT_EQ(none.hint(), "Take one with holdfast backup, or check --repo and --cluster.");
  put_backup({.start = first_records_[3], .stop = after_first_commit_[3], .stop_minute = 32});
  const Error no_wal = refusal({});
  EXPECT_EQ(no_wal.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(no_wal.message(), "no WAL of cluster \"main\" is archived");
}

TEST_F(PlanTest, AnExclusiveTargetMustHaveASide) {
  put_all();
  for (TargetKind kind : {TargetKind::kLatest, TargetKind::kName, TargetKind::kImmediate}) {
    const Error error = refusal({.kind = kind, .name = "before release", .exclusive = true});
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(error.message(), "an exclusive target must be a time, an LSN or a transaction");
  }
}

TEST_F(PlanTest, TheNewestTimelineIsFollowedAndTheAbandonedOneNamed) {
  put_all();
  put_timeline_2();
  const Plan latest = plan({});
  EXPECT_EQ(latest.timeline, pg::TimelineId{2});
  EXPECT_EQ(ranges_of(latest), "1:3-4 2:5-6 ");
  EXPECT_EQ(latest.last_commit, at_minute(72));
  ASSERT_EQ(latest.abandoned.size(), 1U);
  EXPECT_EQ(latest.abandoned[0].timeline, pg::TimelineId{1});
  EXPECT_EQ(latest.abandoned[0].forked_at, fork_);
  EXPECT_EQ(latest.abandoned[0].last_commit, at_minute(65));
  EXPECT_EQ(latest.notes.back(), fmt::format("timeline 1 left this path at {} and is not followed; "
                                             "its last commit is of {} (--timeline 1)",
                                             pg::to_string(fork_), to_local(at_minute(65))));

  const Plan old = plan({.timeline = pg::TimelineId{1}});
  EXPECT_EQ(old.timeline, pg::TimelineId{1});
  EXPECT_EQ(ranges_of(old), "1:3-6 ");
  ASSERT_EQ(old.abandoned.size(), 1U);
  EXPECT_EQ(old.abandoned[0].timeline, pg::TimelineId{2});

  // A time at which the abandoned branch was the one that was there.
  EXPECT_EQ(refusal(to_time(61)).message(),
            "timeline 1 has later commits than timeline 2, which would be followed");
  const Plan between =
      plan({.kind = TargetKind::kTime, .time = at_minute(61), .timeline = pg::TimelineId{2}});
  EXPECT_EQ(between.last_commit, at_minute(50));
}

TEST_F(PlanTest, WhatOnlyAnotherTimelineHasIsPointedTo) {
  put_all();
  put_timeline_2();
  const Error xid = refusal(to_xid(62));
  EXPECT_EQ(xid.code(), ErrorCode::kTargetUnreachable);
  EXPECT_TRUE(xid.hint().find("Timeline 1 has it: holdfast restore --to-xid 62 --timeline 1\n") !=
              std::string::npos)
      << xid.hint();
  EXPECT_EQ(plan({.kind = TargetKind::kXid, .xid = 62, .timeline = pg::TimelineId{1}}).timeline,
            pg::TimelineId{1});
}

TEST_F(PlanTest, ABackupBehindTheForkBelongsToItsOwnTimelineAlone) {
  put_all();
  put_timeline_2();
  const std::string late =
      put_backup({.start = first_records_[6], .stop = after_first_commit_[6], .stop_minute = 59});
  EXPECT_EQ(plan({}).backup.id, b_);
  const Plan named = plan({.backup = late});
  EXPECT_EQ(named.backup.id, late);
  EXPECT_EQ(named.timeline, pg::TimelineId{1});
  ASSERT_EQ(named.warnings.size(), 1U);
  EXPECT_TRUE(named.warnings[0].starts_with("timeline 2 has later commits than timeline 1"));
  const Error error = refusal({.timeline = pg::TimelineId{2}, .backup = late});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(), "no such backup leads to timeline 2");
}

// After a recovery to before a mistake the only backup left is one of after it: the mistake would
// come back over what was committed since.
TEST_F(PlanTest, ATimelineThatNoBackupLeadsToIsNotLeftBehindUnasked) {
  put_segments(wal_);
  put_timeline_2();
  const std::string late =
      put_backup({.start = first_records_[6], .stop = after_first_commit_[6], .stop_minute = 59});
  const std::string message =
      "timeline 2 has later commits than timeline 1, which would be followed";
  const std::string along_1 = "To go along timeline 1: holdfast restore --to-latest --timeline 1\n";
  Error error = refusal({});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(), message);
  EXPECT_TRUE(error.detail().ends_with(
      "what is on timeline 2 would be left behind, for no backup leads there."))
      << error.detail();
  EXPECT_EQ(error.hint(), along_1 +
                              "While the server of timeline 2 runs, a backup of it makes that one "
                              "recoverable: holdfast backup");
  const Plan named = plan({.timeline = pg::TimelineId{1}});
  EXPECT_EQ(named.backup.id, late);
  EXPECT_TRUE(named.warnings.empty());

  // One that was deleted leads there.
  const std::string early =
      put_backup({.start = first_records_[3], .stop = after_first_commit_[3], .stop_minute = 32});
  EXPECT_EQ(plan({}).timeline, pg::TimelineId{2});
  repo::put_mark(repository(), lineage().name, early, repo::MarkKind::kDeleted, "Said so.");
  error = refusal({});
  EXPECT_EQ(error.message(), message);
  EXPECT_EQ(error.hint(),
            along_1 +
                "A backup that leads to timeline 2 was deleted. Until an expiry takes it, it can "
                "be had back: holdfast backup undelete " +
                early);
  repo::put_mark(repository(), lineage().name, early, repo::MarkKind::kUndeleted, "Said so.");
  EXPECT_EQ(plan({}).timeline, pg::TimelineId{2});
}

// A hole on the other timeline makes it no less the later one.
TEST_F(PlanTest, ATimelineThatCannotBeRecoveredIsNotLeftBehindUnasked) {
  put_all();
  put_history(2, fmt::format("1\t{}\tx\n", pg::to_string(fork_)));
  WalBuilder second = *at_fork_;
  second.set_timeline({2});
  add_end_of_recovery(second, 2, 1, 63);
  second.add_switch();
  put_segment(second, 4);
  ASSERT_TRUE(store().remove(archive().object_name(
      {.kind = pg::WalFileKind::kSegment, .segment = {.timeline = {1}, .segment_number = 5}})));
  EXPECT_EQ(refusal({}).hint(),
            std::string("To go along timeline 2: holdfast restore --to-latest --timeline 2\n"
                        "What keeps timeline 1 from being recovered, this tells: holdfast restore "
                        "--to-latest --timeline 1") +
                kNeverAgain + kNeverBehind);
}

TEST_F(PlanTest, ATimelineWithoutWalOfItsOwnEndsWhereItWasForkedOff) {
  put_all();
  put_history(2, fmt::format("1\t{}\tbefore transaction 52\n", pg::to_string(fork_)));
  const Target second{.timeline = pg::TimelineId{2}};
  const Plan made = plan(second);
  EXPECT_EQ(made.timeline, pg::TimelineId{1});
  EXPECT_EQ(made.target.kind, TargetKind::kLsn);
  EXPECT_EQ(made.target.lsn, fork_);
  EXPECT_TRUE(made.target.exclusive);
  EXPECT_EQ(made.last_commit, at_minute(50));
  EXPECT_EQ(plan(to_time(42)).target.kind, TargetKind::kTime);
  EXPECT_EQ(refusal(to_xid(52)).code(), ErrorCode::kTargetUnreachable);
}

TEST_F(PlanTest, TheFirstSegmentOfANewTimelineMustBeThereWhenLaterOnesAre) {
  put_all();
  put_history(2, fmt::format("1\t{}\tbefore transaction 52\n", pg::to_string(fork_)));
  put_segment(make_timeline_2(), 5);
  const Error error = refusal({});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(), "WAL segment \"000000020000000000000005\" is not in the archive");
}

TEST_F(PlanTest, AnUnfinishedLastSegmentIsTheEndOfThePath) {
  put_all();
  WalBuilder wal = wal_;
  add_commit(wal, 71, 70);
  put_segment(wal, 6, true);
  const pg::Lsn end = wal.end_lsn();
  const Plan latest = plan({});
  ASSERT_TRUE(latest.tail);
  EXPECT_EQ(latest.tail->segment.segment_number, 7U);
  EXPECT_EQ(latest.end_lsn, end);
  EXPECT_EQ(latest.last_commit, at_minute(70));
  EXPECT_EQ(latest.segments, 5U);
  EXPECT_EQ(ranges_of(latest), "1:3-6 ");
  EXPECT_FALSE(plan(to_time(61)).tail);
  EXPECT_TRUE(plan(to_time(69)).tail);

  // A longer one was salvaged later, and one of a server that went another way was archived too.
  add_commit(wal, 72, 71);
  put_segment(wal, 6, true);
  WalBuilder other;
  other.fill_to(pg::start_lsn(7, size()));
  for (uint32_t xid = 200; xid < 210; ++xid) add_commit(other, xid, 99);
  put_segment(other, 6, true);
  EXPECT_EQ(plan({}).last_commit, at_minute(71));
}

// Length says nothing where two copies hold different WAL.
TEST_F(PlanTest, OfUnfinishedSegmentsThatPartNoneIsChosenUnasked) {
  put_all();
  WalBuilder common = wal_;
  common.add_filler(3000);
  WalBuilder undone = common, own = common;
  add_commit(undone, 81, 80);
  undone.add_filler(9000);
  add_commit(own, 91, 90);
  put_segment(common, 6, true);
  put_segment(undone, 6, true);
  // One that goes on from the other is its continuation.
  EXPECT_EQ(plan({}).tail->info.readable_end, undone.end_lsn());
  put_segment(own, 6, true);
  const auto digest_of = [](const WalBuilder& wal) {
    return repo::partial_digest(repo::wal_content_sha256(wal.segment(6)));
  };
  const auto name_of = [&](const WalBuilder& wal) {
    return pg::partial_file_name(wal.name(6), size()) + "." + to_hex(digest_of(wal).view());
  };
  const Error error = refusal({});
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_NE(error.message().find("2 unfinished copies"), std::string::npos) << error.message();
  for (const WalBuilder* one : {&undone, &own}) {
    EXPECT_NE(error.detail().find(name_of(*one)), std::string::npos) << error.detail();
    EXPECT_NE(error.hint().find("holdfast wal set-aside " + name_of(*one)), std::string::npos);
  }
  EXPECT_EQ(look_at_wal(repository(), lineage(), [](const std::string&, const Error&) {})
                .windows.back()
                .end_lsn,
            pg::end_lsn(6, size()));
  EXPECT_FALSE(plan(to_time(62)).tail);  // a target before it does not need it

  // The one that was saved from the directory that is restored is meant.
  const Plan in_place = plan({.own_partials = {digest_of(own)}});
  EXPECT_EQ(in_place.tail->partial, digest_of(own));
  ASSERT_EQ(in_place.warnings.size(), 1U);
  EXPECT_NE(in_place.warnings[0].find(name_of(undone)), std::string::npos);
}

// A server is given what is archived under a segment's own name, however short it is.
TEST_F(PlanTest, AShortSegmentAndUnfinishedCopiesOfItThatGoFartherAreNoEnd) {
  put_all();
  WalBuilder cut = wal_, undone = wal_;
  cut.add_filler(3000);
  WalBuilder longer = cut;
  add_commit(longer, 91, 90);
  add_commit(undone, 81, 80);
  undone.add_filler(9000);
  put_segment(cut, 6);
  EXPECT_EQ(plan({}).end_lsn, cut.end_lsn());
  put_segment(undone, 6, true);
  const std::string name = pg::segment_file_name(cut.name(6), size());
  const Error parted = refusal({});
  EXPECT_EQ(parted.code(), ErrorCode::kTargetUnreachable);
  EXPECT_NE(parted.message().find("2 unfinished copies"), std::string::npos) << parted.message();
  EXPECT_NE(parted.hint().find("holdfast wal set-aside " + name + ".partial."), std::string::npos)
      << parted.hint();
  EXPECT_TRUE(parted.hint().ends_with("holdfast wal set-aside " + name)) << parted.hint();
  EXPECT_EQ(plan(to_time(62)).last_commit, at_minute(60)) << "a target before it does not need it";
  EXPECT_EQ(look_at_wal(repository(), lineage(), [](const std::string&, const Error&) {})
                .windows.back()
                .end_lsn,
            pg::end_lsn(6, size()));

  set_aside(undone, 6, 0, true);
  EXPECT_EQ(plan({}).end_lsn, cut.end_lsn());
  put_segment(longer, 6, true);
  const Error longer_is_there = refusal({});
  EXPECT_EQ(longer_is_there.code(), ErrorCode::kTargetUnreachable);
  EXPECT_NE(longer_is_there.message().find("an unfinished copy of it goes on"), std::string::npos)
      << longer_is_there.message();
  EXPECT_TRUE(longer_is_there.hint().starts_with("\"holdfast wal set-aside " + name + "\""))
      << longer_is_there.hint();
  EXPECT_EQ(plan(to_lsn(wal_.end_lsn() + 40)).end_lsn, wal_.end_lsn() + 40);
  set_aside(cut, 6);
  EXPECT_EQ(plan({}).last_commit, at_minute(90));
}

// What a quiet server writes: records of equal lengths at equal places, whoever wrote them.
class PlanOfARolledBackServer : public PlanTest {
 protected:
  PlanOfARolledBackServer() : old_(write(0)), own_(write(100)) {
    for (size_t index = 0; index < 6; ++index)
      put_segment_at(old_, index, 10 * static_cast<double>(index + 1) + 5);
    a_ = put_backup(
        {.start = pg::Lsn{old_.options().size.bytes() + 40}, .stop = stop_, .stop_minute = 12});
  }
  // In segment k a transaction commits at minute 10k, from segment 4 on so much later.
  WalBuilder write(double later) {
    WalBuilder wal;
    for (uint32_t k = 1; k <= 6; ++k) {
      add_commit(wal, k, 10 * k + (k >= 4 ? later : 0));
      if (k == 1) stop_ = wal.end_lsn();
      wal.add_switch();
    }
    wal.add_filler(3000);
    return wal;
  }
  WalPicture picture() {
    return look_at_wal(repository(), lineage(), [](const std::string&, const Error&) {});
  }
  // Which joins by its metadata, and is not reached.
  void expect_ends_before(uint64_t segment, double last_commit) {
    const std::string name =
        pg::segment_file_name({.timeline = {1}, .segment_number = segment}, size());
    const Error error = refusal({});
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_TRUE(error.message().starts_with(
        fmt::format("archived WAL segment \"{}\" is of another history than", name)))
        << error.message();
    EXPECT_NE(error.hint().find(fmt::format("holdfast wal set-aside {} --onward", name)),
              std::string::npos)
        << error.hint();
    EXPECT_NE(error.hint().find("holdfast restore --to-lsn"), std::string::npos) << error.hint();
    const WalPicture found = picture();
    ASSERT_EQ(found.gaps.size(), 1U);
    EXPECT_TRUE(found.gaps[0].is_of_other());
    EXPECT_EQ(found.gaps[0].first_segment, name);
    EXPECT_EQ(found.windows.at(0).end_time, at_minute(last_commit));
  }
  void expect_whole() {
    EXPECT_EQ(plan({}).last_commit, at_minute(60));
    EXPECT_TRUE(picture().gaps.empty());
  }

  pg::Lsn stop_;
  WalBuilder old_, own_;
};

TEST_F(PlanOfARolledBackServer, WhatIsArchivedBehindTheContentThatWentIsNotReached) {
  expect_whole();
  set_aside(old_, 3);
  put_segment_at(own_, 3, 150, 1);
  expect_ends_before(5, 140);
  EXPECT_EQ(plan(to_time(130)).last_commit, at_minute(30)) << "what lies before is reached";
  // One after the other, as each is refused: the border moves on.
  set_aside(old_, 4);
  put_segment_at(own_, 4, 160, 1);
  expect_ends_before(6, 150);
  // The unfinished one is of the old line, too.
  put_segment_at(old_, 6, 66, 0, true);
  set_aside(old_, 5);
  put_segment_at(own_, 5, 170, 1);
  const Plan made = plan({});
  EXPECT_EQ(made.last_commit, at_minute(160));
  EXPECT_FALSE(made.tail);
  EXPECT_TRUE(picture().gaps.empty());
}

TEST_F(PlanOfARolledBackServer, OfAContentThatCannotBeReadTheTimesTell) {
  set_aside(old_, 3);
  put_segment_at(own_, 3, 150, 1);
  store().edit(archive().object_name({.kind = pg::WalFileKind::kSegment, .segment = old_.name(3)}),
               [](Bytes& bytes) { bytes[120] ^= std::byte{1}; });
  expect_ends_before(5, 140);
}

TEST_F(PlanOfARolledBackServer, ALaterContentOfTheSameHistoryIsNoMixture) {
  const WalBuilder other = write(1);
  {
    SCOPED_TRACE("the same again, because the first has rotted");
    put_segment_at(old_, 1, 200, 1);
    expect_whole();
  }
  {
    SCOPED_TRACE("the right one, pushed behind a wrong one that joins too");
    put_segment_at(other, 3, 44, 1);
    set_aside(other, 3, 1);
    put_segment_at(old_, 3, 201, 2);
    expect_whole();
  }
  {
    SCOPED_TRACE("the repair of a short one, hours later");
    store().remove(
        archive().object_name({.kind = pg::WalFileKind::kSegment, .segment = old_.name(4)}));
    WalBuilder cut = old_;
    cut.bytes().resize(4 * size().bytes() + 100);
    put_segment_at(cut, 4, 55);
    put_segment_at(old_, 4, 202, 1);
    expect_whole();
  }
}

TEST_F(PlanTest, ADamagedHistoryOfAnotherTimelineIsPassedOver) {
  put_all();
  put_history(3, "not a history\n");
  const Plan made = plan({});
  EXPECT_EQ(made.timeline, pg::TimelineId{1});
  EXPECT_TRUE(made.notes.front().starts_with("timeline 3 is passed over: ")) << made.notes.front();
  EXPECT_EQ(refusal({.timeline = pg::TimelineId{3}}).code(), ErrorCode::kCorrupt);
}

TEST_F(PlanTest, OfSeveralRestorePointsOfOneNameTheNewestIsMeant) {
  add_restore_point(wal_, "nightly", 71);
  wal_.add_switch();
  const pg::Lsn newest = add_restore_point(wal_, "nightly", 81);
  wal_.add_switch();
  put_all();
  const Plan made = plan(to_name("nightly"));
  EXPECT_EQ(made.target.kind, TargetKind::kLsn);
  EXPECT_EQ(made.target.lsn, newest);
  EXPECT_FALSE(made.target.exclusive);
  EXPECT_EQ(made.notes.back(),
            fmt::format("2 restore points are named \"nightly\"; the newest is meant, of {}, at {}",
                        to_local(at_minute(81)), pg::to_string(newest)));
}

// Four billion transactions later the lower half of an id is another transaction's: the checkpoint
// before its end says of which epoch it is.
TEST_F(PlanTest, ATransactionIdWithItsEpochIsHeldAgainstTheWal) {
  constexpr uint64_t kEpoch = uint64_t{1} << 32;
  add_checkpoint(wal_, 71, 5 * kEpoch + 0xFFFFFFF0);
  add_commit(wal_, 0xFFFFFFF4, 72);
  add_commit(wal_, 90, 73);  // behind the wrap-around
  wal_.add_switch();
  put_all();
  for (const uint64_t xid : {uint64_t{90}, 6 * kEpoch + 90}) {
    EXPECT_EQ(plan(to_xid(xid)).last_commit, at_minute(73)) << xid;
    const auto settings = recovery_settings(plan(to_xid(xid)), "get", TargetAction::kPromote);
    EXPECT_TRUE(std::ranges::any_of(settings, [](const auto& setting) {
      return setting.first == "recovery_target_xid" && setting.second == "90";
    })) << "the server takes 32 bits";
  }
  EXPECT_EQ(plan(to_xid(5 * kEpoch + 0xFFFFFFF4)).last_commit, at_minute(72));
  const Error error = refusal(to_xid(5 * kEpoch + 90));
  EXPECT_EQ(error.code(), ErrorCode::kTargetUnreachable);
  EXPECT_EQ(error.message(), fmt::format("transaction {} is of another epoch than the archived WAL",
                                         5 * kEpoch + 90));
  EXPECT_NE(error.hint().find(fmt::format("holdfast restore --to-xid {}", 6 * kEpoch + 90)),
            std::string::npos)
      << error.hint();
}

// Records that begin in segment 7 and end in segment 8, which holds no other: what either segment's
// metadata has alone does not tell of them.
class PlanOverTheEndOfASegment : public PlanTest {
 protected:
  void fill_all_but(uint64_t bytes) { wal_.fill_to(pg::end_lsn(7, size()) - bytes); }
  void end_and_put() {
    wal_.add_switch();
    put_all();
  }
};

TEST_F(PlanOverTheEndOfASegment, ACommitCounts) {
  // The first segment holds a part of its header, the header alone, and some of its data.
  for (const uint64_t bytes : {8, 16, 24, 32}) {
    SCOPED_TRACE(bytes);
    ArchiveFixture archive;
    WalBuilder wal;
    wal.add_filler(8);
    wal.add_filler(8);
    const pg::Lsn start = wal.previous_lsn(), stop = wal.end_lsn();
    archive.put_backup({.start = start, .stop = stop, .stop_minute = 2});
    archive.add_commit(wal, 70, 60);
    wal.fill_to(pg::end_lsn(1, archive.size()) - bytes);
    const pg::Lsn shared = wal.end_lsn();
    archive.add_commit(wal, 77, 77);
    const pg::Lsn behind = wal.end_lsn();
    wal.add_switch();
    archive.put_segments(wal);
    auto plan_to = [&](const Target& target) {
      return make_plan(archive.repository(), archive.lineage(), target);
    };
    const Plan before = plan_to(to_time(70));
    EXPECT_EQ(before.target.kind, TargetKind::kTime);
    EXPECT_EQ(before.end_lsn, shared);
    EXPECT_EQ(before.last_commit, at_minute(60));
    EXPECT_EQ(before.segments, 2U);
    EXPECT_TRUE(plan_to(to_time(77)).ran_to_the_end);
    EXPECT_EQ(plan_to(to_xid(77)).end_lsn, behind);
    EXPECT_EQ(plan_to(to_xid(77)).last_commit, at_minute(77));
    EXPECT_EQ(plan_to(to_xid(70)).last_commit, at_minute(60));
    EXPECT_EQ(plan_to({}).last_commit, at_minute(77));
  }
}

TEST_F(PlanOverTheEndOfASegment, ARestorePointIsFound) {
  fill_all_but(64);
  const pg::Lsn shared = add_restore_point(wal_, "on the edge", 70);
  end_and_put();
  EXPECT_EQ(plan(to_name("on the edge")).backup.id, b_);
  EXPECT_EQ(plan(to_name("on the edge")).segments, 6U);
  EXPECT_LT(shared, pg::end_lsn(7, size()));
}

TEST_F(PlanOverTheEndOfASegment, ATablespaceAndParametersAreSeen) {
  fill_all_but(32);
  add_tablespace(wal_, 17000, "/srv/edge");
  end_and_put();
  ASSERT_EQ(plan({}).tablespaces_created.size(), 2U);
  EXPECT_EQ(plan({}).tablespaces_created[1].path, "/srv/edge");
}

// Longer than what metadata keeps of such a record, and longer than a segment.
TEST_F(PlanOverTheEndOfASegment, ALongCommitIsReadFromTheSegmentsThemselves) {
  for (const size_t bytes : {size_t{5000}, size_t{3} << 20}) {
    SCOPED_TRACE(bytes);
    ArchiveFixture archive;
    WalBuilder wal;
    wal.add_filler(8);
    wal.add_filler(8);
    const pg::Lsn start = wal.previous_lsn(), stop = wal.end_lsn();
    archive.put_backup({.start = start, .stop = stop, .stop_minute = 2});
    wal.fill_to(pg::end_lsn(1, archive.size()) - 64);
    // A commit with subtransactions, as many as fit: XACT_XINFO_HAS_SUBXACTS, their count, them.
    const auto count = narrow<uint32_t>(bytes / 4);
    ByteWriter commit;
    commit.i64(test::to_postgres_microseconds(at_minute(77))).u32(2).u32(count);
    for (uint32_t i = 0; i < count; ++i) commit.u32(100 + i);
    wal.add_data(pg::kRmTransaction, 0x80, 77, commit.view());
    wal.add_switch();
    archive.put_segments(wal);
    const Plan made = make_plan(archive.repository(), archive.lineage(), to_xid(77));
    EXPECT_EQ(made.last_commit, at_minute(77));
    EXPECT_GE(made.segments, bytes / (1 << 20) + 2);
  }
}

TEST(RecoverySettings, NameTheOneTargetLastAndUnsetTheOthers) {
  Plan plan;
  plan.timeline = {12};
  using Settings = std::vector<std::pair<std::string, std::string>>;
  auto settings = [&](const Target& target, TargetAction action) {
    plan.target = target;
    return recovery_settings(plan, "holdfast wal get %f %p", action);
  };
  EXPECT_EQ(settings(to_time(5), TargetAction::kPromote),
            (Settings{{"restore_command", "holdfast wal get %f %p"},
                      {"recovery_target", ""},
                      {"recovery_target_xid", ""},
                      {"recovery_target_lsn", ""},
                      {"recovery_target_name", ""},
                      {"recovery_target_time", "2026-11-22 08:05:00.000000+00"},
                      {"recovery_target_inclusive", "on"},
                      {"recovery_target_timeline", "12"},
                      {"recovery_target_action", "promote"}}));
  const struct {
    Target target;
    std::pair<std::string, std::string> setting;
  } cases[] = {{to_lsn({0x16B374D848}), {"recovery_target_lsn", "16/B374D848"}},
               {to_xid(77), {"recovery_target_xid", "77"}},
               {to_name("it's"), {"recovery_target_name", "it's"}},
               {{.kind = TargetKind::kImmediate}, {"recovery_target", "immediate"}}};
  for (const auto& c : cases) {
    const Settings made = settings(c.target, TargetAction::kPause);
    EXPECT_EQ(made.at(5), c.setting);
    for (size_t i = 1; i < 5; ++i) EXPECT_EQ(made.at(i).second, "");
    EXPECT_EQ(made.back(),
              (std::pair<std::string, std::string>{"recovery_target_action", "pause"}));
  }
  EXPECT_EQ(settings(to_xid(77), TargetAction::kShutdown).at(6).second, "on");
  Target exclusive = to_xid(77);
  exclusive.exclusive = true;
  EXPECT_EQ(settings(exclusive, TargetAction::kShutdown).at(6).second, "off");
}

TEST(RecoverySettings, WithoutATargetAnotherActionThanPromotionStopsAtTheLastRecord) {
  Plan plan;
  plan.timeline = {1};
  plan.last_record = pg::Lsn{0x4000060};
  EXPECT_EQ(recovery_settings(plan, "x", TargetAction::kPromote).at(5).second, "");
  const auto pause = recovery_settings(plan, "x", TargetAction::kPause);
  EXPECT_EQ(pause.at(5), (std::pair<std::string, std::string>{"recovery_target_lsn", "0/4000060"}));
}

TEST(Target, IsWrittenAsTheOptionsThatNameIt) {
  EXPECT_EQ(to_options({}), "--to-latest");
  EXPECT_EQ(to_options({.kind = TargetKind::kImmediate}), "--to-immediate");
  EXPECT_EQ(to_options(to_time(5, true)), "--to '2026-11-22 08:05:00.000000+00' --exclusive");
  Target name = to_name("it's");
  name.timeline = pg::TimelineId{12};
  name.backup = "latest";
  EXPECT_EQ(command_for(name),
            "holdfast restore --to-name 'it'\\''s' --timeline 12 --backup latest");
}

TEST(Target, ReadsAsASentencePart) {
  EXPECT_EQ(to_string(Target{}), "the end of the archived WAL");
  EXPECT_EQ(to_string(to_lsn({0x4000060}, true)), "just before WAL location 0/4000060");
  EXPECT_EQ(to_string(to_xid(7)), "the end of transaction 7");
  EXPECT_EQ(to_string(to_name("x")), "restore point \"x\"");
  EXPECT_EQ(to_string(to_time(5)),
            fmt::format("the last commit at or before {}", to_local(at_minute(5))));
}

TEST_F(PlanTest, ABackupThatWasFoundDamagedSinceIsPassedOverUntilItIsFoundGood) {
  put_all();
  repo::put_mark(repository(), lineage().name, b_, repo::MarkKind::kDamaged, "A pack is missing.");
  const Plan around = plan({});
  EXPECT_EQ(around.backup.id, a_);
  ASSERT_FALSE(around.notes.empty());
  EXPECT_TRUE(around.notes.front().starts_with("backup " + b_ + " is passed over: it was found"))
      << around.notes.front();
  EXPECT_EQ(plan({.backup = b_}).backup.id, b_);
  repo::put_mark(repository(), lineage().name, b_, repo::MarkKind::kVerified, "");
  EXPECT_EQ(plan({}).backup.id, b_);
}

TEST_F(PlanTest, ADamagedCommitObjectKeepsNoOtherBackupFromBeingUsed) {
  put_all();
  store().edit(repo::backup_name(lineage().name, b_),
               [](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; });
  const Plan around = plan({});
  EXPECT_EQ(around.backup.id, a_);
  ASSERT_FALSE(around.notes.empty());
  EXPECT_TRUE(around.notes.front().starts_with("backup " + b_ + " is passed over: damaged object"))
      << around.notes.front();
  EXPECT_EQ(refusal({.backup = b_}).code(), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace holdfast::recovery
