#include "archive/wal_get.h"

#include <algorithm>

#include "archive/wal_spool.h"
#include "support/pieces_of.h"
#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

class WalGet : public World {
 protected:
  WalGet() {
    wal_ = test::WalBuilder({.size = kSize, .system_identifier = kSystem});
    write_wal(wal_, 6);
    primary_.put(wal_, 1, 6);
  }
  // The Error of a call against another store or with other options.
  Error error_of_get(const GetOptions& options, store::Store& source,
                     const repo::KeySource& key = {}) {
    return test::error_of([&] { archive::get(options, source, key, reporter_, {}); });
  }
  Server primary_{"alpha"};
  Server asking_{"beta"};
  test::WalBuilder wal_;
};

TEST_F(WalGet, PlacesTheSegmentWholeAndOverwritesWhatIsThere) {
  push_all(primary_, 1, 1, 3);
  Server::write(asking_.path("RECOVERYXLOG"), as_bytes("what an earlier call placed"));
  for (uint64_t number : {2, 3, 3}) {  // the last one is asked for again at the end of recovery
    GetResult result = get(asking_, segment_name(1, number));
    EXPECT_EQ(result.outcome, GetOutcome::kPlaced);
    EXPECT_FALSE(result.from_spool);
    EXPECT_EQ(placed(asking_), wal_.segment(number - 1));
  }
  EXPECT_FALSE(stat_if_exists(asking_.path("RECOVERYXLOG.holdfast")));
}

TEST_F(WalGet, PlacesHistoryAndBackupHistoryFiles) {
  const std::string backup = segment_name(1, 2) + ".00000028.backup";
  for (const std::string& name : {std::string("00000002.history"), backup}) {
    primary_.put(name, "1\t0/200000\tno recovery target specified\n");
    push(primary_, name);
    EXPECT_EQ(get(asking_, name).outcome, GetOutcome::kPlaced);
    EXPECT_EQ(as_text(placed(asking_)), "1\t0/200000\tno recovery target specified\n");
  }
  EXPECT_EQ(get(asking_, segment_name(1, 3) + ".00000028.backup").outcome, GetOutcome::kAbsent);
}

// --- absence is proven

TEST_F(WalGet, TheEndOfTheArchiveIsAbsence) {
  EXPECT_EQ(get(asking_, segment_name(1, 1)).outcome, GetOutcome::kAbsent);  // nothing archived yet
  push_all(primary_, 1, 1, 3);
  EXPECT_EQ(get(asking_, segment_name(1, 4)).outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get(asking_, segment_name(1, 7)).outcome,
            GetOutcome::kAbsent);  // prefetch asks far ahead
  EXPECT_TRUE(nothing_placed(asking_));
}

TEST_F(WalGet, AMissingSegmentWithALaterOneIsAHole) {
  push_all(primary_, 1, 2, 3);
  push(primary_, segment_name(1, 6));
  for (uint64_t number : {1, 4, 5}) {
    Error error = get_error(asking_, segment_name(1, number));
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << number;
    EXPECT_EQ(error.message(),
              "WAL segment \"" + segment_name(1, number) + "\" is missing in the archive");
    EXPECT_NE(error.detail().find(segment_name(1, number == 1 ? 2 : 6)), std::string::npos)
        << error.detail();
    EXPECT_NE(error.hint().find("wal push"), std::string::npos);
  }
  EXPECT_TRUE(nothing_placed(asking_));
}

TEST_F(WalGet, BehindTheRecoveryTargetAHoleOrDamageStopsNobody) {
  push_all(primary_, 1, 1, 3);
  push_all(primary_, 1, 5, 6);
  auto question = [&](uint64_t number, const std::string& until) {
    GetOptions options = get_options(asking_, segment_name(1, number));
    options.until = until;
    return options;
  };
  auto answer = [&](uint64_t number, uint64_t until) {
    return archive::get(question(number, segment_name(1, until)), store_, {}, reporter_, {})
        .outcome;
  };
  auto error = [&](uint64_t number, uint64_t until) {
    return error_of_get(question(number, segment_name(1, until)), store_).code();
  };
  EXPECT_EQ(answer(4, 3), GetOutcome::kAbsent);
  EXPECT_NE(reporter_.warnings().back().find("behind the recovery target"), std::string::npos);
  EXPECT_EQ(error(4, 4), ErrorCode::kCorrupt);
  EXPECT_EQ(error(4, 5), ErrorCode::kCorrupt);

  store_.edit(object_of(segment_name(1, 5)),
              [](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; });
  EXPECT_EQ(answer(5, 3), GetOutcome::kAbsent);
  EXPECT_TRUE(nothing_placed(asking_));
  EXPECT_EQ(error(5, 5), ErrorCode::kCorrupt);
  EXPECT_EQ(answer(6, 3), GetOutcome::kPlaced);
  EXPECT_EQ(answer(7, 3), GetOutcome::kAbsent);

  EXPECT_EQ(error_of_get(question(4, "00000002.history"), store_).code(), ErrorCode::kUsage);
}

TEST_F(WalGet, FindsALaterSegmentInAnotherFolder) {
  // 4096 segments of 1 MiB to a folder: the next one is in the folder behind.
  test::WalBuilder far({.size = kSize, .system_identifier = kSystem, .first_segment = 5000});
  write_wal(far, 5000);
  primary_.put(far, 5000, 5000);
  push(primary_, segment_name(1, 5000));
  EXPECT_EQ(get_error(asking_, segment_name(1, 3)).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(get_error(asking_, segment_name(1, 4999)).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(get(asking_, segment_name(1, 5001)).outcome, GetOutcome::kAbsent);
}

TEST_F(WalGet, ATimelineHoldsNothingBeforeItsBeginning) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 6);
  server.put(fork.promoted, 3, 6);
  server.put("00000002.history", fork.history);
  push_all(server, 1, 1, 3);
  push_all(server, 2, 3, 4);
  EXPECT_EQ(get(asking_, segment_name(2, 2)).outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get(asking_, segment_name(2, 3)).outcome, GetOutcome::kPlaced);
  EXPECT_EQ(get(asking_, segment_name(2, 5)).outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get(asking_, segment_name(1, 4)).outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get(asking_, segment_name(3, 3)).outcome, GetOutcome::kAbsent);
}

TEST_F(WalGet, TheFirstSegmentOfATimelineIsAHoleWhenTheSecondIsThere) {
  Fork fork;
  Server server("alpha");
  server.put(fork.promoted, 3, 6);
  server.put("00000002.history", fork.history);
  push(server, segment_name(2, 4));
  EXPECT_EQ(get_error(asking_, segment_name(2, 3)).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(get(asking_, segment_name(2, 2)).outcome, GetOutcome::kAbsent);
}

TEST_F(WalGet, WhatAnArchivedTimelineCameFromIsMissedWhenItIsNotThere) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 1);
  server.put(fork.promoted, 3, 4);
  server.put("00000002.history", fork.history);
  push(server, segment_name(1, 1));
  push_all(server, 2, 3, 4);
  // Segment 2 of timeline 1 is on the way to timeline 2; segment 3 has a copy there.
  Error error = get_error(asking_, segment_name(1, 2));
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_NE(error.detail().find("Timeline 2"), std::string::npos);
  EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kAbsent);
}

// Archivers send a history before the segments of its timeline: in a failover it is all that there
// is of the new one, and the old one's last segments are nowhere.
TEST_F(WalGet, AHistoryProvesWhatItsTimelineCameFromWhetherItHasWalOrNot) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 1);
  server.put(fork.promoted, 3, 3);
  server.put("00000002.history", fork.history);
  push(server, segment_name(1, 1));
  EXPECT_EQ(get(asking_, segment_name(1, 2)).outcome, GetOutcome::kAbsent);
  push(server, "00000002.history");
  for (uint64_t number : {2, 3}) {
    const Error error = get_error(asking_, segment_name(1, number));
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << number;
    EXPECT_NE(error.detail().find("Timeline 2 left timeline 1"), std::string::npos)
        << error.detail();
  }
  EXPECT_EQ(get(asking_, segment_name(1, 4)).outcome, GetOutcome::kAbsent);
  // A standby waits for the one, which may come; the other is the new primary's, which streams it.
  Server::write(asking_.data_directory() + "/standby.signal", {});
  GetOptions options = get_options(asking_, segment_name(1, 3));
  options.timeout = std::chrono::hours(1);
  EXPECT_EQ(archive::get(options, store_, {}, reporter_, {}).outcome, GetOutcome::kAbsent);
  remove_file(asking_.data_directory() + "/standby.signal");
  push(server, segment_name(2, 3));
  EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kAbsent);
}

TEST_F(WalGet, AnUnfinishedSegmentAndABackupsHistoryFileAreWitnessesToo) {
  push_all(primary_, 1, 1, 2);
  primary_.put(segment_name(1, 5) + ".partial", wal_.segment(4));
  push(primary_, segment_name(1, 5) + ".partial");
  for (uint64_t number : {3, 4})
    EXPECT_EQ(get_error(asking_, segment_name(1, number)).code(), ErrorCode::kCorrupt) << number;
  const std::string backup = segment_name(1, 6) + ".00000028.backup";
  primary_.put(backup, "START WAL LOCATION: 0/600028\n");
  push(primary_, backup);
  for (uint64_t number : {5, 6}) {
    const Error error = get_error(asking_, segment_name(1, number));
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << number;
    EXPECT_EQ(error.detail(),
              "A backup began in \"" + segment_name(1, 6) + "\", as its history file tells.");
  }
  EXPECT_EQ(get(asking_, segment_name(1, 7)).outcome, GetOutcome::kAbsent);
}

TEST_F(WalGet, AHistoryFileIsAbsentOnlyWhenNothingOfItsTimelineOrALaterOneIsThere) {
  EXPECT_EQ(get(asking_, "00000001.history").outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get(asking_, "00000002.history").outcome, GetOutcome::kAbsent);
  push(primary_, segment_name(1, 1));
  EXPECT_EQ(get(asking_, "00000001.history").outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get(asking_, "00000002.history").outcome, GetOutcome::kAbsent);
  primary_.put("00000003.history", "1\t0/200000\tx\n");
  push(primary_, "00000003.history");
  Error error = get_error(asking_, "00000002.history");
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(),
            "timeline history file \"00000002.history\" is missing in the archive");
  EXPECT_EQ(get(asking_, "00000004.history").outcome, GetOutcome::kAbsent);
}

// --- everything else is an error

TEST_F(WalGet, NeverTakesAFailureForAbsence) {
  push_all(primary_, 1, 1, 2);
  const std::string absent_name = segment_name(1, 3);
  store::MemoryStore empty;
  store::MemoryStore other;
  repo::Repository::create(other, {}, clock_);
  Server stranger("gamma", 42);
  Server resized("delta");
  Bytes control = read_file(resized.data_directory() + "/global/pg_control");
  store_le(control.data() + 228, uint32_t{16} << 20);
  store_le(control.data() + 288, pg::crc32c(ByteView(control).first(288)));
  Server::write(resized.data_directory() + "/global/pg_control", control);
  Server headless("epsilon");
  remove_file(headless.data_directory() + "/global/pg_control");

  Error error = error_of_get(get_options(asking_, absent_name), empty);
  EXPECT_EQ(error.code(), ErrorCode::kNotFound) << "an empty directory in place of the repository";
  error = error_of_get(get_options(asking_, absent_name), other);
  EXPECT_EQ(error.code(), ErrorCode::kNotFound) << "another repository: " << error.message();
  GetOptions options = get_options(asking_, absent_name);
  options.repository_id = Bytes16{};
  EXPECT_EQ(error_of_get(options, store_).code(), ErrorCode::kWrongCluster)
      << "not the expected repository";
  EXPECT_EQ(get_error(stranger, absent_name).code(), ErrorCode::kWrongCluster);
  EXPECT_EQ(get_error(resized, absent_name).code(), ErrorCode::kWrongCluster);
  EXPECT_EQ(get_error(headless, absent_name).code(), ErrorCode::kNotFound);
  options = get_options(asking_, absent_name);
  options.cluster = "other";
  EXPECT_EQ(error_of_get(options, store_).code(), ErrorCode::kNotFound);
  EXPECT_EQ(error_of_get(get_options(asking_, absent_name), store_, {.passphrase = "x"}).code(),
            ErrorCode::kConfiguration);
  for (const char* name : {"", "x", "00000001000000000000000", "000000010000000000000003.gz",
                           "RECOVERYXLOG", "../00000002.history"})
    EXPECT_EQ(get_error(asking_, name).code(), ErrorCode::kInvalidText) << name;
  options = get_options(asking_, segment_name(1, 1));
  options.destination = asking_.data_directory() + "/nowhere/RECOVERYXLOG";
  EXPECT_EQ(error_of_get(options, store_).code(), ErrorCode::kNotFound);
}

TEST_F(WalGet, ADamagedObjectIsNeverPlaced) {
  push_all(primary_, 1, 1, 2);
  const Bytes whole = *store_.read(object_of(segment_name(1, 2)), 0, UINT64_MAX >> 1);
  for (size_t at = 0; at < whole.size(); at += 1 + whole.size() / 60) {
    store_.edit(object_of(segment_name(1, 2)), [&](Bytes& bytes) {
      bytes = whole;
      bytes[at] ^= std::byte{0x10};
    });
    Error error = get_error(asking_, segment_name(1, 2));
    EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported)
        << at << ": " << error.message();
    EXPECT_TRUE(nothing_placed(asking_)) << at;
  }
  store_.edit(object_of(segment_name(1, 2)), [&](Bytes& bytes) { bytes.resize(bytes.size() / 2); });
  EXPECT_EQ(get_error(asking_, segment_name(1, 2)).code(), ErrorCode::kCorrupt);
  // Nor is one that was put under another's name.
  const Bytes first = *store_.read(object_of(segment_name(1, 1)), 0, UINT64_MAX >> 1);
  store_.edit(object_of(segment_name(1, 2)), [&](Bytes& bytes) { bytes = first; });
  EXPECT_EQ(get_error(asking_, segment_name(1, 2)).code(), ErrorCode::kCorrupt);
  EXPECT_TRUE(nothing_placed(asking_));
}

TEST_F(WalGet, NothingIsAtTheDestinationBeforeAllWasCompared) {
  // Whole and in order, but not the content of which the metadata tell: the digest alone shows it,
  // behind the last of several pieces.
  push_all(primary_, 1, 1, 2);
  repo::WalSegmentInfo info =
      *archive().segment_info(pg::parse_wal_file_name(segment_name(1, 1), kSize));
  Bytes content(size_t{9} << 20);
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::byte>(i * i >> 9);
  info.bytes = content.size();
  archive().put_segment(pg::parse_wal_file_name(segment_name(1, 3), kSize), info,
                        test::pieces_of(content));
  class Watching : public test::FaultStore {
   public:
    Watching(store::Store& below, std::string destination)
        : FaultStore(below, UINT64_MAX), destination_(std::move(destination)) {}
    std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                    std::span<std::byte> into) override {
      EXPECT_FALSE(stat_if_exists(destination_));
      return FaultStore::read_into(name, offset, into);
    }

   private:
    std::string destination_;
  } watching(store_, asking_.path("RECOVERYXLOG"));
  Error error = error_of_get(get_options(asking_, segment_name(1, 3)), watching);
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_NE(error.detail().find("SHA-256"), std::string::npos) << error.detail();
  EXPECT_TRUE(nothing_placed(asking_));
}

TEST_F(WalGet, AnyFailedStoreCallIsAnErrorOrTheRightAnswer) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 3);
  server.put(fork.promoted, 3, 6);
  server.put("00000002.history", fork.history);
  push_all(server, 1, 1, 2);
  push_all(server, 2, 3, 4);
  const struct {
    std::string name;
    GetOutcome outcome;
  } cases[] = {{segment_name(2, 4), GetOutcome::kPlaced},
               {segment_name(2, 5), GetOutcome::kAbsent},
               {segment_name(2, 2), GetOutcome::kAbsent},
               {"00000002.history", GetOutcome::kPlaced},
               {"00000003.history", GetOutcome::kAbsent}};
  for (const auto& c : cases) {
    for (uint64_t nth = 1;; ++nth) {
      test::FaultStore faulty(store_, test::Fault{.first = nth, .count = test::Fault::kAllFurther});
      try {
        GetResult result = archive::get(get_options(asking_, c.name), faulty, {}, reporter_, {});
        EXPECT_FALSE(faulty.fired()) << c.name << " " << nth;
        EXPECT_EQ(result.outcome, c.outcome) << c.name;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << c.name << " " << nth;
        EXPECT_TRUE(nothing_placed(asking_)) << c.name << " " << nth;
      }
      remove_file_if_exists(asking_.path("RECOVERYXLOG"));
      if (!faulty.fired()) break;
    }
  }
}

TEST_F(WalGet, AStoreThatComesBackWithinTheTimeoutIsWaitedFor) {
  push(primary_, segment_name(1, 1));
  test::FaultStore faulty(store_, test::Fault{.first = 1, .count = 2});
  GetOptions options = get_options(asking_, segment_name(1, 1));
  options.timeout = std::chrono::seconds(60);
  EXPECT_EQ(archive::get(options, faulty, {}, reporter_, {}).outcome, GetOutcome::kPlaced);
  EXPECT_TRUE(faulty.fired());
}

// --- a standby asks again, and an error would end it

TEST_F(WalGet, AStandbyIsToldNotThereForAnOutageOrAHole) {
  Server::write(asking_.data_directory() + "/standby.signal", {});
  push(primary_, segment_name(1, 1));
  push(primary_, segment_name(1, 3));
  EXPECT_EQ(get(asking_, segment_name(1, 2)).outcome, GetOutcome::kAbsent);
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_NE(reporter_.warnings()[0].find("is missing in the archive"), std::string::npos);

  test::FaultStore down(store_, test::Fault{.first = 1, .count = test::Fault::kAllFurther});
  EXPECT_EQ(archive::get(get_options(asking_, segment_name(1, 1)), down, {}, reporter_, {}).outcome,
            GetOutcome::kAbsent);
  EXPECT_EQ(reporter_.warnings().size(), 2U);
}

TEST_F(WalGet, AStandbyStillHearsOfEverythingElse) {
  Server::write(asking_.data_directory() + "/standby.signal", {});
  push(primary_, segment_name(1, 1));
  store_.edit(object_of(segment_name(1, 1)), [](Bytes& bytes) { bytes[5000] ^= std::byte{1}; });
  EXPECT_EQ(get_error(asking_, segment_name(1, 1)).code(), ErrorCode::kCorrupt);
}

// A mount point without the mount.
TEST_F(WalGet, ForAStandbyAPlaceWithoutARepositoryIsAnOutage) {
  store::MemoryStore empty;
  const GetOptions options = get_options(asking_, segment_name(1, 2));
  EXPECT_EQ(error_of_get(options, empty).code(), ErrorCode::kNotFound);
  Server::write(asking_.data_directory() + "/standby.signal", {});
  EXPECT_EQ(archive::get(options, empty, {}, reporter_, {}).outcome, GetOutcome::kAbsent);
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_NE(reporter_.warnings()[0].find("there is no repository"), std::string::npos)
      << reporter_.warnings()[0];
  // Another repository is none.
  GetOptions other = get_options(asking_, segment_name(1, 2));
  other.repository_id = Bytes16{};
  EXPECT_EQ(error_of_get(other, store_).code(), ErrorCode::kWrongCluster);
}

// The answer decides which timeline a standby begins that is promoted now.
TEST_F(WalGet, AStandbyThatCannotAskForAHistoryIsWarnedAndHearsItsOwnWitnesses) {
  Server::write(asking_.data_directory() + "/standby.signal", {});
  push(primary_, segment_name(1, 1));
  const GetOptions options = get_options(asking_, "00000003.history");
  auto answer = [&] {
    test::FaultStore down(store_, test::Fault{.first = 1, .count = test::Fault::kAllFurther});
    return archive::get(options, down, {}, reporter_, {}).outcome;
  };
  EXPECT_EQ(answer(), GetOutcome::kAbsent);
  ASSERT_EQ(reporter_.warnings().size(), 2U);
  EXPECT_TRUE(reporter_.warnings()[0].starts_with("that timeline 3 is free is not proven"))
      << reporter_.warnings()[0];
  // What it has seen of an older timeline says nothing, of that one or a later one it does.
  Server::write(asking_.path("00000002.history"), {});
  EXPECT_EQ(answer(), GetOutcome::kAbsent);
  Server::write(asking_.path("00000004.history"), {});
  const Error error = test::error_of([&] { answer(); });
  EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable);
  EXPECT_NE(error.detail().find("00000004.history"), std::string::npos) << error.detail();
  // The very file the server finds by itself.
  Server::write(asking_.path("00000003.history"), {});
  EXPECT_EQ(answer(), GetOutcome::kAbsent);
}

// In the midst of its promotion it asks for its parent's history, and has no standby.signal any
// more.
TEST_F(WalGet, AServerThatIsPromotedInAnOutageReadsItsParentsHistoryItself) {
  push(primary_, segment_name(1, 1));
  auto answer = [&](const std::string& file) {
    test::FaultStore down(store_, test::Fault{.first = 1, .count = test::Fault::kAllFurther});
    return archive::get(get_options(asking_, file), down, {}, reporter_, {}).outcome;
  };
  // Timeline 1 has none.
  EXPECT_EQ(answer("00000001.history"), GetOutcome::kAbsent);
  EXPECT_EQ(test::error_of([&] { answer("00000002.history"); }).code(),
            ErrorCode::kStoreUnavailable);
  Server::write(asking_.path("00000002.history"), {});
  EXPECT_EQ(answer("00000002.history"), GetOutcome::kAbsent);
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_NE(reporter_.warnings()[0].find("for the server has it"), std::string::npos)
      << reporter_.warnings()[0];
  store::MemoryStore empty;
  EXPECT_EQ(
      archive::get(get_options(asking_, "00000002.history"), empty, {}, reporter_, {}).outcome,
      GetOutcome::kAbsent);
  // An archive that answers is heard.
  primary_.put("00000002.history", "1\t0/200000\tx\n");
  push(primary_, "00000002.history");
  EXPECT_EQ(get(asking_, "00000002.history").outcome, GetOutcome::kPlaced);
}

// Longer than for a segment, which it asks for again.
TEST_F(WalGet, AStandbyWaitsLongerForAHistory) {
  Server::write(asking_.data_directory() + "/standby.signal", {});
  push(primary_, segment_name(1, 1));
  auto time_of = [&](const std::string& file) {
    GetOptions options = get_options(asking_, file);
    options.timeout = std::chrono::milliseconds(300);
    test::FaultStore down(store_, test::Fault{.first = 1, .count = test::Fault::kAllFurther});
    const auto begun = std::chrono::steady_clock::now();
    EXPECT_EQ(archive::get(options, down, {}, reporter_, {}).outcome, GetOutcome::kAbsent);
    return std::chrono::steady_clock::now() - begun;
  };
  EXPECT_GE(time_of("00000002.history"), std::chrono::milliseconds(900));
  EXPECT_LT(time_of(segment_name(1, 2)), std::chrono::milliseconds(900));
}

TEST_F(WalGet, AGapInTheHistoriesThatIsThereForGoodCostsAStandbyNoTime) {
  Server::write(asking_.data_directory() + "/standby.signal", {});
  primary_.put("00000003.history", "1\t0/200000\tx\n");
  push(primary_, "00000003.history");
  GetOptions options = get_options(asking_, "00000002.history");
  options.timeout = std::chrono::minutes(10);
  // By the store's clock it came long ago.
  ASSERT_LT(clock_.now() + std::chrono::hours(1), system_clock().now());
  EXPECT_EQ(archive::get(options, store_, {}, reporter_, {}).outcome, GetOutcome::kAbsent);
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_NE(reporter_.warnings()[0].find("is missing in the archive"), std::string::npos);
}

// So a standby whose archive has a hole streams at once, whenever it starts.
TEST_F(WalGet, AHoleThatIsThereForGoodCostsAStandbyNoTime) {
  Server::write(asking_.data_directory() + "/standby.signal", {});
  push(primary_, segment_name(1, 1));
  push(primary_, segment_name(1, 3));
  primary_.put("00000002.history", "1\t0/800000\tx\n");
  push(primary_, "00000002.history");
  // What stands behind the hole came long ago, by the store's clock: a segment, and a history.
  ASSERT_LT(clock_.now() + std::chrono::hours(1), system_clock().now());
  for (const uint64_t number : {2, 4}) {
    test::RecordingReporter reporter;
    GetOptions options = get_options(asking_, segment_name(1, number));
    options.timeout = std::chrono::minutes(10);
    EXPECT_EQ(archive::get(options, store_, {}, reporter, {}).outcome, GetOutcome::kAbsent);
    ASSERT_EQ(reporter.warnings().size(), 1U) << number;
    EXPECT_NE(reporter.warnings()[0].find("is missing in the archive"), std::string::npos);
  }
}

TEST_F(WalGet, AStandbyGetsASegmentThatFillsTheHoleInTime) {
  Server::write(asking_.data_directory() + "/standby.signal", {});
  push(primary_, segment_name(1, 1));
  push(primary_, segment_name(1, 3));
  GetOptions options = get_options(asking_, segment_name(1, 2));
  options.timeout = std::chrono::seconds(60);
  // The segment arrives when the hole was seen: with the listing that shows a later segment.
  class Filling : public test::FaultStore {
   public:
    Filling(store::Store& below, std::function<void()> fill)
        : FaultStore(below, UINT64_MAX), fill_(std::move(fill)) {}
    store::ListPage list(const store::ListRequest& request) override {
      store::ListPage page = FaultStore::list(request);
      if (request.prefix.find("/wal/") != std::string::npos && std::exchange(fill_next_, false))
        fill_();
      return page;
    }

   private:
    std::function<void()> fill_;
    bool fill_next_ = true;
  } filling(store_, [&] { push(primary_, segment_name(1, 2)); });
  EXPECT_EQ(archive::get(options, filling, {}, reporter_, {}).outcome, GetOutcome::kPlaced);
  EXPECT_TRUE(reporter_.warnings().empty());
}

// --- what stands for a segment and is none

// The server would rename it over a longer file of its own.
TEST_F(WalGet, NeverServesAPartialSegmentAsASegment) {
  push_all(primary_, 1, 1, 3);
  Bytes tail = wal_.segment(3);
  tail.resize(700'000);
  const std::string name = segment_name(1, 4) + ".partial";
  primary_.put(name, tail);
  push(primary_, name);
  EXPECT_EQ(get(asking_, segment_name(1, 4)).outcome, GetOutcome::kAbsent);
  Server::write(asking_.data_directory() + "/standby.signal", {});
  EXPECT_EQ(get(asking_, segment_name(1, 4)).outcome, GetOutcome::kAbsent);
  EXPECT_TRUE(nothing_placed(asking_));
  // By its own name it is what was archived, filled up.
  EXPECT_EQ(get(asking_, name).outcome, GetOutcome::kPlaced);
  tail.resize(kSize.bytes());
  EXPECT_EQ(placed(asking_), tail);
}

TEST_F(WalGet, DoesNotGuessBetweenTwoPartialSegments) {
  Fork fork;
  Server first("alpha");
  Server second("beta");
  const std::string name = segment_name(1, 3) + ".partial";
  first.put(fork.first, 1, 2);
  push_all(first, 1, 1, 2);
  first.put(name, fork.first.segment(2));
  second.put(name, fork.second.segment(2));
  push(first, name);
  push(second, name);
  EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kAbsent);
  EXPECT_EQ(get_error(asking_, name).code(), ErrorCode::kConflict);
}

// What a server in production archived short, and the asking one has more of.
class ShortSegmentAskedFor : public WalGet {
 protected:
  // Segment 3 can be read up to the 500,000th byte.
  ShortSegmentAskedFor() : short_(wal_.segment(2)) {
    std::fill(short_.begin() + 500'000, short_.end(), std::byte{0});
    primary_.put(segment_name(1, 3), short_);
    push_all(primary_, 1, 1, 3);
  }
  Bytes short_;
};

TEST_F(ShortSegmentAskedFor, NeverTakesThePlaceOfTheServersOwnLongerFile) {
  asking_.put(segment_name(1, 3), wal_.segment(2), false);
  for (const bool is_standby : {false, true}) {
    if (is_standby) Server::write(asking_.data_directory() + "/standby.signal", {});
    EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kAbsent);
    EXPECT_TRUE(nothing_placed(asking_));
    EXPECT_NE(reporter_.warnings().back().find("the server's own goes on behind that"),
              std::string::npos);
  }
  // One that is no longer, or of another history, is no reason.
  test::WalBuilder other({.size = kSize, .system_identifier = kSystem});
  write_wal(other, 3, 55);
  for (const Bytes& own : {short_, other.segment(2), Bytes(kSize.bytes())}) {
    asking_.put(segment_name(1, 3), own, false);
    EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kPlaced);
    EXPECT_EQ(placed(asking_), short_);
  }
}

TEST_F(ShortSegmentAskedFor, IsAHoleWhenSomethingLaterIsArchived) {
  EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kPlaced);
  push(primary_, segment_name(1, 4));
  const Error error = get_error(asking_, segment_name(1, 3));
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_NE(error.message().find("can be read only up to"), std::string::npos);
  // A target may lie in what there is of it; and a standby has other sources for the rest.
  GetOptions options = get_options(asking_, segment_name(1, 3));
  options.until = segment_name(1, 3);
  EXPECT_EQ(archive::get(options, store_, {}, reporter_, {}).outcome, GetOutcome::kPlaced);
  Server::write(asking_.data_directory() + "/standby.signal", {});
  EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kPlaced);
}

// What there is of it the restore has laid; that others come behind it is no hole on the way.
TEST_F(WalGet, AnUnfinishedSegmentInWhichTheTargetLiesIsAbsent) {
  push_all(primary_, 1, 1, 3);
  primary_.put(segment_name(1, 4) + ".partial", wal_.segment(3));
  push(primary_, segment_name(1, 4) + ".partial");
  push_all(primary_, 1, 5, 6);
  EXPECT_EQ(get_error(asking_, segment_name(1, 4)).code(), ErrorCode::kCorrupt);
  GetOptions options = get_options(asking_, segment_name(1, 4));
  options.until = segment_name(1, 5);
  EXPECT_EQ(error_of_get(options, store_).code(), ErrorCode::kCorrupt);
  options.until = segment_name(1, 4);
  EXPECT_EQ(archive::get(options, store_, {}, reporter_, {}).outcome, GetOutcome::kAbsent);
  EXPECT_TRUE(nothing_placed(asking_));
}

TEST_F(ShortSegmentAskedFor, IsNotReadAhead) {
  Spool spool(default_spool_directory(asking_.data_directory()), {.repository_id = repository_.id(),
                                                                  .system_identifier = kSystem,
                                                                  .segment_size = kSize,
                                                                  .life = {}});
  spool.prepare();
  EXPECT_TRUE(spool.fetch(archive(), {.timeline = {1}, .segment_number = 2}));
  EXPECT_FALSE(spool.fetch(archive(), {.timeline = {1}, .segment_number = 3}));
}

TEST_F(ShortSegmentAskedFor, IsServedWholeOnceItWasRepaired) {
  primary_.put(segment_name(1, 3), wal_.segment(2));
  EXPECT_FALSE(push(primary_, segment_name(1, 3)).was_there);
  push(primary_, segment_name(1, 4));
  EXPECT_EQ(get(asking_, segment_name(1, 3)).outcome, GetOutcome::kPlaced);
  EXPECT_EQ(placed(asking_), wal_.segment(2));
}

TEST_F(WalGet, FindsTheDataDirectoryByTheDestination) {
  const std::string data = asking_.data_directory();
  EXPECT_EQ(asking_data_directory(data + "/pg_wal/RECOVERYXLOG", "/nowhere"), data);
  EXPECT_EQ(asking_data_directory("/tmp/segment", data), data);
  EXPECT_EQ(asking_data_directory("/tmp/pg_wal/segment", data), "/tmp") << "whose it is not known";
  EXPECT_EQ(asking_data_directory("/tmp/segment", ""), ".");
}

}  // namespace
}  // namespace holdfast::archive
