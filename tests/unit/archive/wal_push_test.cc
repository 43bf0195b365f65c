#include "archive/wal_push.h"

#include <algorithm>

#include "archive/intake.h"
#include "repo/doomed.h"
#include "repo/intent.h"
#include "unit/archive/world.h"

namespace holdfast::archive {
namespace {

using Names = std::vector<std::string>;

class WalPush : public World {
 protected:
  WalPush() {
    wal_ = test::WalBuilder({.size = kSize, .system_identifier = kSystem});
    write_wal(wal_, 8);
    server_.put(wal_, 1, 8);
  }
  Server server_;
  test::WalBuilder wal_;
};

TEST_F(WalPush, StoresASegmentWithWhatItsRecordsSay) {
  PushResult result = push(server_, segment_name(1, 2));
  EXPECT_FALSE(result.was_there);
  EXPECT_EQ(result.bytes, kSize.bytes());
  EXPECT_EQ(result.lineage, lineage_.name);

  pg::WalFileName file = pg::parse_wal_file_name(segment_name(1, 2), kSize);
  std::optional<repo::WalSegmentInfo> info = archive().segment_info(file);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->host, "alpha");
  EXPECT_EQ(info->pgdata, server_.data_directory());
  EXPECT_EQ(info->pushed, clock_.now());
  EXPECT_EQ(info->system_identifier, kSystem);
  EXPECT_EQ(info->sha256, repo::wal_content_sha256(wal_.segment(1)));
  EXPECT_EQ(info->start_lsn, pg::start_lsn(2, kSize));
  EXPECT_EQ(info->readable_end, pg::end_lsn(2, kSize));
  EXPECT_GT(info->commits.count, 10U);
  EXPECT_LT(info->commits.first_time, info->commits.last_time);
  EXPECT_EQ(info->commits.highest_time, info->commits.last_time);

  Bytes content;
  EXPECT_TRUE(archive().read_segment(
      file, [&](ByteView piece) { content.insert(content.end(), piece.begin(), piece.end()); }));
  EXPECT_EQ(content, wal_.segment(1));
}

TEST_F(WalPush, AnswersTheSameContentAgainFromAnyServer) {
  push(server_, segment_name(1, 2));
  EXPECT_TRUE(push(server_, segment_name(1, 2)).was_there);
  Server standby("beta");
  standby.put(wal_, 2, 2);
  EXPECT_TRUE(push(standby, segment_name(1, 2)).was_there);
  EXPECT_EQ(archived(), Names{segment_name(1, 2)});
}

// A server of a major that is not known: what it writes is kept and given back, byte for byte.
TEST_F(WalPush, KeepsTheWalOfANewerMajorUnread) {
  Server::write(server_.data_directory() + "/global/pg_control", test::newer_control_file(kSystem));
  const std::string name = segment_name(1, 2);
  server_.put(name, test::newer_wal(wal_.segment(1)));
  push(server_, name);
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_EQ(reporter_.warnings().front(),
            "WAL segment \"" + name +
                "\" is of a newer PostgreSQL than this program knows (page magic D130): it is "
                "archived as the server offers it, unread");
  EXPECT_EQ(archived(), Names{name});
  EXPECT_TRUE(push(server_, name).was_there);
  Bytes content;
  EXPECT_TRUE(archive().read_segment(pg::parse_wal_file_name(name, kSize), [&](ByteView piece) {
    content.insert(content.end(), piece.begin(), piece.end());
  }));
  EXPECT_EQ(content, test::newer_wal(wal_.segment(1)));
  // Another content under the name is refused as ever.
  Server other("beta");
  Server::write(other.data_directory() + "/global/pg_control", test::newer_control_file(kSystem));
  Bytes different = test::newer_wal(wal_.segment(1));
  different[different.size() / 2] ^= std::byte{1};
  other.put(name, different);
  EXPECT_EQ(push_error(other, name).code(), ErrorCode::kConflict);
  // What is cut, or no server says of that it is finished, is kept as a partial one.
  server_.put(segment_name(1, 3), ByteView(test::newer_wal(wal_.segment(2))).first(1 << 19));
  push(server_, segment_name(1, 3));
  server_.put(segment_name(1, 9), test::newer_wal(wal_.segment(8)), false);
  push(server_, segment_name(1, 9));
  for (const uint64_t number : {3, 9})
    EXPECT_EQ(archive().partials({.timeline = {1}, .segment_number = number}).size(), 1U) << number;
  EXPECT_FALSE(archive().segment_info(pg::parse_wal_file_name(segment_name(1, 9), kSize)));
}

// Who hears "already there" lets go of his copy.
TEST_F(WalPush, ReadsWhatIsThereBeforeItSaysSoAndAmendsWhatDoesNotHold) {
  const std::string name = segment_name(1, 2);
  push(server_, name);
  damage(object_of(name), 400);  // of the content: its metadata can be read
  EXPECT_FALSE(push(server_, name).was_there);
  EXPECT_NE(reporter_.warnings().at(0).find("is damaged, and is amended"), std::string::npos);
  get(server_, name);
  EXPECT_EQ(placed(server_), wal_.segment(1));
  EXPECT_TRUE(push(server_, name).was_there);

  // History and backup history files, which are objects of another kind.
  server_.put("00000002.history", "1\t0/300100\tno recovery target specified\n");
  const std::string backup = name + ".00000028.backup";
  server_.put(backup, "START WAL LOCATION: 0/200028\n");
  for (const std::string& file : {std::string("00000002.history"), backup}) {
    push(server_, file);
    damage(object_of(file), 60);
    if (const auto copy = repo::copy_of_history(object_of(file))) damage(*copy, 60);
    EXPECT_FALSE(push(server_, file).was_there) << file;
    get(server_, file);
    EXPECT_EQ(placed(server_), read_file(server_.path(file)));
    EXPECT_TRUE(push(server_, file).was_there) << file;
  }
}

// Nothing needed it, so it was listed for removal; now a server offers it.
TEST_F(WalPush, AnswersAlreadyThereOnlyOfWhatStays) {
  const std::string name = segment_name(1, 2);
  push(server_, name);
  repo::put_doomed_list(repository_, lineage_.name, {object_of(name)}, clock_.now());
  auto claims = [&] {
    return repo::read_valid_intents(repository_, lineage_.name, clock_.now(), Microseconds{0});
  };
  {
    repo::HeldIntent expiry(repository_, lineage_.name, {.what = std::string(repo::kExpireIntent)},
                            clock_);
    const Error error = push_error(server_, name);
    EXPECT_EQ(error.code(), ErrorCode::kBusy);
    EXPECT_EQ(error.message(), "\"" + name + "\" is archived, and about to be removed");
  }
  EXPECT_TRUE(push(server_, name).was_there);
  const std::vector<repo::Intent> held = claims();
  ASSERT_FALSE(held.empty());
  EXPECT_EQ(held[0].what, "push");
  EXPECT_EQ(held[0].wal_from, pg::start_lsn(2, kSize));
  // Removed between the question and the answer, it is put again.
  store_.remove(object_of(name));
  EXPECT_FALSE(push(server_, name).was_there);
}

TEST_F(WalPush, RefusesOtherContentUnderATakenNameAndKeepsTheFirst) {
  Fork fork;
  server_.put(fork.first, 1, 4);
  push_all(server_, 1, 1, 3);
  Server clone("beta");
  clone.put(fork.second, 1, 4);
  EXPECT_TRUE(push(clone, segment_name(1, 2)).was_there);  // still common

  Error error = push_error(clone, segment_name(1, 3));
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.message(),
            "WAL segment \"" + segment_name(1, 3) + "\" is already archived with other content");
  for (const std::string& word :
       {std::string("alpha"), std::string("beta"), server_.data_directory(), clone.data_directory(),
        std::string("2026-11-22T08:22:39")})
    EXPECT_NE(error.detail().find(word), std::string::npos) << word;
  EXPECT_NE(error.hint().find("archive_mode = off"), std::string::npos);
  EXPECT_TRUE(push(server_, segment_name(1, 3)).was_there);
}

TEST_F(WalPush, RefusesASegmentThatDoesNotJoinItsArchivedNeighbours) {
  Fork fork;
  Server first("alpha");
  Server second("beta");
  first.put(fork.first, 1, 6);
  second.put(fork.second, 1, 6);
  push_all(first, 1, 1, 3);
  Error error = push_error(second, segment_name(1, 4));
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.message(), "WAL segment \"" + segment_name(1, 4) +
                                 "\" does not join the archived segment \"" + segment_name(1, 3) +
                                 "\"");
  EXPECT_NE(error.detail().find("host \"alpha\""), std::string::npos);
  EXPECT_NE(error.detail().find("host \"beta\""), std::string::npos);

  // The neighbour behind counts as much as the one before.
  push(first, segment_name(1, 6));
  error = push_error(second, segment_name(1, 5));
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_NE(error.message().find(segment_name(1, 6)), std::string::npos);
  push_all(first, 1, 4, 5);
}

TEST_F(WalPush, JoinsOverARecordThatWasLostInACrash) {
  test::WalBuilder wal({.size = kSize, .system_identifier = kSystem});
  const pg::Lsn end = pg::end_lsn(1, kSize);
  wal.fill_to(end - 104);
  wal.add_lost_record(20000, 104);  // the next segment begins anew
  ASSERT_GT(wal.end_lsn(), end);
  write_wal(wal, 2);
  server_.put(wal, 1, 2);
  push_all(server_, 1, 1, 2);
  EXPECT_TRUE(archive()
                  .segment_info(pg::parse_wal_file_name(segment_name(1, 2), kSize))
                  ->starts_with_overwrite);
  EXPECT_GT(archive().segment_info(pg::parse_wal_file_name(segment_name(1, 1), kSize))->carried_out,
            0U);
}

TEST_F(WalPush, ADamagedNeighbourDoesNotStopArchiving) {
  push(server_, segment_name(1, 1));
  store_.edit(object_of(segment_name(1, 1)), [](Bytes& bytes) { bytes[150] ^= std::byte{1}; });
  EXPECT_FALSE(push(server_, segment_name(1, 2)).was_there);
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_NE(reporter_.warnings()[0].find("is damaged"), std::string::npos);
}

TEST_F(WalPush, RefusesWhatIsNotTheFileThatItsNameSays) {
  test::WalBuilder other({.size = kSize, .system_identifier = 42});
  write_wal(other, 1);
  const std::string name = segment_name(1, 1);
  const struct {
    const char* what;
    Bytes content;
    ErrorCode code;
    const char* message;
  } cases[] = {
      {"another system", other.segment(0), ErrorCode::kWrongCluster,
       "WAL segment \"{}\" is from another cluster than its data directory"},
      {"recycled", wal_.segment(4), ErrorCode::kCorrupt,
       "WAL segment \"{}\" holds other WAL than its name says"},
      {"zeros", Bytes(kSize.bytes()), ErrorCode::kCorrupt, "not the start of a WAL segment"},
      {"empty", Bytes(), ErrorCode::kCorrupt, "not the start of a WAL segment"},
      {"text", to_bytes(std::string(kSize.bytes(), 'x')), ErrorCode::kCorrupt,
       "not the start of a WAL segment"},
  };
  // Of what no server in production offers.
  remove_file(server_.path("archive_status/" + name + ".ready"));
  for (const auto& c : cases) {
    server_.put(name, c.content, false);
    Error error = push_error(server_, name);
    EXPECT_EQ(error.code(), c.code) << c.what;
    EXPECT_EQ(error.message(), fmt::format(fmt::runtime(c.message), name)) << c.what;
    EXPECT_FALSE(error.hint().empty()) << c.what;
  }
  EXPECT_EQ(archived(), Names{});
}

TEST_F(WalPush, RefusesAFileThatIsNotThereOrHasNoWalName) {
  EXPECT_EQ(push_error(server_, segment_name(1, 99)).code(), ErrorCode::kNotFound);
  server_.put("000000010000000000000001.gz", "x");
  Error error = push_error(server_, "000000010000000000000001.gz");
  EXPECT_EQ(error.code(), ErrorCode::kInvalidText);
  EXPECT_EQ(error.message(), "\"000000010000000000000001.gz\" is not the name of a WAL file");
}

TEST_F(WalPush, RefusesASystemThatHasNoLineage) {
  Server other("gamma", 42);
  test::WalBuilder wal({.size = kSize, .system_identifier = 42});
  write_wal(wal, 1);
  other.put(wal, 1, 1);
  Error error = push_error(other, segment_name(1, 1));
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);
  EXPECT_EQ(error.message(), "system identifier 42 does not belong to cluster \"main\"");
  EXPECT_NE(error.hint().find("init --new-lineage"), std::string::npos);

  PushOptions options = push_options(server_, segment_name(1, 1));
  options.cluster = "other";
  error = test::error_of([&] { archive::push(options, repository_, reporter_, {}, clock_); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "the repository has no cluster \"other\"");
}

TEST_F(WalPush, TakesASegmentWithoutItsDataDirectory) {
  remove_tree(server_.data_directory() + "/global");
  EXPECT_FALSE(push(server_, segment_name(1, 1)).was_there);
  server_.put("00000002.history", "1\t0/200000\tno recovery target specified\n");
  EXPECT_FALSE(
      push(server_, "00000002.history").was_there);  // the segments beside it tell whose it is
}

TEST_F(WalPush, DamagedWalIsArchivedAsItIsWithAWarning) {
  Bytes damaged = wal_.segment(0);
  damaged[600'000] ^= std::byte{1};
  server_.put(segment_name(1, 1), damaged);
  EXPECT_FALSE(push(server_, segment_name(1, 1)).was_there);
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_NE(reporter_.warnings()[0].find("can be read only up to"), std::string::npos);
  EXPECT_FALSE(push(server_, segment_name(1, 2)).was_there);
}

// The server would offer it for ever, and nothing behind it.
TEST_F(WalPush, NoDamageOfAFileThatWaitsStopsArchiving) {
  const std::string name = segment_name(1, 1);
  Bytes damaged = wal_.segment(0);
  std::fill_n(damaged.begin(), 4096, std::byte{0});
  server_.put(name, damaged);
  EXPECT_EQ(push(server_, name).file, name);
  EXPECT_FALSE(reporter_.warnings().empty());
  EXPECT_EQ(archive().segment_info(pg::parse_wal_file_name(name, kSize))->readable_end,
            pg::start_lsn(1, kSize));
  push_all(server_, 1, 2, 3);
  Bytes cut = wal_.segment(3);
  cut.resize(500'000);
  server_.put(segment_name(1, 4), cut);
  EXPECT_EQ(push(server_, segment_name(1, 4)).file, segment_name(1, 4) + ".partial");
  // It is repaired by the whole one.
  server_.put(name, wal_.segment(0));
  EXPECT_FALSE(push(server_, name).was_there);
  get(server_, name);
  EXPECT_EQ(placed(server_), wal_.segment(0));
}

// --- a segment that ends early

class ShortSegment : public WalPush {
 protected:
  ShortSegment() : short_(cut(wal_.segment(2), 500'000)) { push_all(server_, 1, 1, 2); }
  static Bytes cut(Bytes segment, size_t bytes) {
    std::fill(segment.begin() + static_cast<ptrdiff_t>(bytes), segment.end(), std::byte{0});
    return segment;
  }
  static void set_state(const Server& server, pg::ClusterState state) {
    const std::string path = server.data_directory() + "/global/pg_control";
    Bytes control = read_file(path);
    store_le(control.data() + 16, static_cast<uint32_t>(state));
    store_le(control.data() + 288, pg::crc32c(ByteView(control).first(288)));
    Server::write(path, control);
  }
  std::optional<repo::WalSegmentInfo> served(const std::string& name) const {
    return archive().segment_info(pg::parse_wal_file_name(name, kSize));
  }
  const std::string name_ = segment_name(1, 3);
  Bytes short_;
};

TEST_F(ShortSegment, OfAStandbyOrPushedByHandIsKeptAsPartialAndStandsInNobodysWay) {
  struct Offer {
    const char* what;
    std::function<void(const Server&)> prepare;
  };
  const Offer offers[] = {
      {"by hand", [&](const Server& s) { s.put(name_, short_, false); }},
      {"of a standby",
       [&](const Server& s) {
         s.put(name_, short_);
         Server::write(s.data_directory() + "/standby.signal", {});
       }},
      {"in recovery",
       [&](const Server& s) {
         s.put(name_, short_);
         set_state(s, pg::ClusterState::kInArchiveRecovery);
       }},
      {"without its data directory",
       [&](const Server& s) {
         s.put(name_, short_);
         remove_tree(s.data_directory() + "/global");
       }},
  };
  for (const Offer& offer : offers) {
    const Server other("beta");
    offer.prepare(other);
    const PushResult result = push(other, name_);
    EXPECT_EQ(result.file, name_ + ".partial") << offer.what;
    EXPECT_NE(reporter_.notes().back().find("is kept as .partial"), std::string::npos);
    EXPECT_FALSE(served(name_)) << offer.what;
  }
  EXPECT_TRUE(reporter_.warnings().empty());
  EXPECT_FALSE(push(server_, name_).was_there);
  EXPECT_EQ(served(name_)->sha256, repo::wal_content_sha256(wal_.segment(2)));
}

TEST_F(ShortSegment, OfAServerInProductionIsRepairedByTheWholeOne) {
  server_.put(name_, short_);
  EXPECT_FALSE(push(server_, name_).was_there);
  EXPECT_NE(reporter_.warnings().back().find("can be read only up to"), std::string::npos);
  EXPECT_LT(served(name_)->readable_end, pg::end_lsn(3, kSize));
  // One that ends still earlier says nothing new, and a longer one goes on.
  server_.put(name_, cut(wal_.segment(2), 300'000));
  EXPECT_TRUE(push(server_, name_).was_there);
  server_.put(name_, cut(wal_.segment(2), 700'000));
  EXPECT_FALSE(push(server_, name_).was_there);
  server_.put(name_, wal_.segment(2));
  EXPECT_FALSE(push(server_, name_).was_there);
  EXPECT_TRUE(push(server_, name_).was_there);
  EXPECT_EQ(served(name_)->sha256, repo::wal_content_sha256(wal_.segment(2)));
  EXPECT_EQ(archive().contents(pg::parse_wal_file_name(name_, kSize)).size(), 3U);
  push_all(server_, 1, 4, 8);
  get(server_, name_);
  EXPECT_EQ(placed(server_), wal_.segment(2));
}

TEST_F(ShortSegment, IsThereWhenAWholeOneBeginsWithItsBytes) {
  push(server_, name_);
  for (const bool ready : {true, false}) {
    server_.put(name_, short_, ready);
    EXPECT_TRUE(push(server_, name_).was_there);
  }
  EXPECT_EQ(archived().size(), 3U);
}

TEST_F(ShortSegment, OfAnotherHistoryIsNoRepair) {
  Fork fork;
  Server first("alpha"), second("beta");
  const std::string name = segment_name(1, 4);
  first.put(fork.first, 1, 3);
  first.put(name, cut(fork.first.segment(3), 500'000));
  second.put(fork.second, 4, 4);
  // Behind another history.
  const std::string third = segment_name(1, 3);
  push(first, third);
  push(first, name);
  EXPECT_EQ(push_error(second, name).code(), ErrorCode::kConflict);
}

// Where the records of the first one end says what the second must link to.
TEST_F(ShortSegment, StillKeepsOutASegmentOfAnotherHistoryBehindIt) {
  Fork fork(8);
  Server first("alpha"), second("beta");
  first.put(fork.first, 1, 3);
  first.put(segment_name(1, 4), cut(fork.first.segment(3), 900'000));
  push_all(first, 1, 3, 4);
  // A server that had ended there and went on elsewhere links back to before it.
  test::WalBuilder diverged = fork.at_switch;
  diverged.fill_to(pg::start_lsn(4, kSize) + 100'000);
  diverged.add_filler(kSize.bytes());
  write_wal(diverged, 6, 77);
  second.put(segment_name(1, 5), diverged.segment(4));
  EXPECT_EQ(push_error(second, segment_name(1, 5)).code(), ErrorCode::kConflict);
}

// A standby with archive_mode = always closes its last segment at the end of the timeline.
TEST_F(ShortSegment, ThatEndsWhereItsTimelineWasLeftIsWhole) {
  Fork fork;
  Server standby("gamma");
  Server::write(standby.data_directory() + "/standby.signal", {});
  standby.put(fork.first, 1, 2);
  standby.put("00000002.history", fork.history);
  const size_t kept = fork.switch_lsn - pg::start_lsn(3, kSize);
  standby.put(name_, cut(fork.first.segment(2), kept));
  push(standby, "00000002.history");
  EXPECT_EQ(push(standby, name_).file, name_);
  EXPECT_TRUE(reporter_.warnings().empty());
  EXPECT_EQ(served(name_)->readable_end, fork.switch_lsn);
}

TEST_F(WalPush, AFileThatIsReadAgainIsTheOneThatWasChecked) {
  const std::string name = segment_name(1, 2);
  const Bytes content = read_file(server_.path(name));
  const repo::WalArchive into = archive();
  Intake intake(into, wal_source_of(server_.path(name), "", "alpha"), reporter_, clock_, {});
  OfferedFile offered = intake.read(name);
  ASSERT_FALSE(offered.content.empty());
  offered.content.clear();  // as of a segment that is too large to be kept

  Bytes changed = content;
  changed[700'000] ^= std::byte{1};
  server_.put(name, changed);
  repo::SegmentPass pass({}, 1);
  const auto put = [&] { return intake.put(offered, 0, pass, {}); };
  const Error error = test::error_of(put);
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_NE(error.message().find("was changed while it was read"), std::string::npos);
  changed.resize(changed.size() / 2);
  server_.put(name, changed);
  EXPECT_EQ(test::error_of(put).code(), ErrorCode::kIo);
  EXPECT_TRUE(archived().empty());

  server_.put(name, content);
  EXPECT_TRUE(put());
  push(server_, segment_name(1, 3));
  get(server_, name);
  EXPECT_EQ(placed(server_), content);
  EXPECT_TRUE(intake.accept(intake.read(name)).was_there);
}

// --- timelines

TEST_F(WalPush, ANewTimelineNeedsTheServersHistoryAndPutsItFirst) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 3);
  server.put(fork.promoted, 3, 5);
  push_all(server, 1, 1, 3);
  Error error = push_error(server, segment_name(2, 3));
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_NE(error.message().find("00000002.history"), std::string::npos);
  EXPECT_FALSE(error.hint().empty());

  server.put("00000002.history", fork.history);
  EXPECT_FALSE(push(server, segment_name(2, 3)).was_there);
  EXPECT_EQ(archived(), (Names{segment_name(1, 1), segment_name(1, 2), segment_name(1, 3),
                               "00000002.history", segment_name(2, 3)}));
  EXPECT_TRUE(push(server, "00000002.history").was_there);
  push_all(server, 2, 4, 5);
}

TEST_F(WalPush, ATimelineOfAnotherHistoryIsRefused) {
  Fork fork;
  Server first("alpha");
  first.put("00000002.history", fork.history);
  push(first, "00000002.history");
  Server second("beta");
  second.put("00000002.history", "1\t0/180000\tbefore transaction 700\n");
  second.put(fork.promoted, 3, 3);
  for (const std::string& name : {std::string("00000002.history"), segment_name(2, 3)}) {
    Error error = push_error(second, name);
    EXPECT_EQ(error.code(), ErrorCode::kConflict) << name;
    EXPECT_EQ(error.message(),
              "timeline history file \"00000002.history\" is already archived with other content");
    EXPECT_NE(error.detail().find("alpha"), std::string::npos);
    EXPECT_NE(error.detail().find("beta"), std::string::npos);
    // A standby may have taken the id because it could not ask: there is a way out.
    EXPECT_NE(error.hint().find("promoted while it could not ask the archive"), std::string::npos);
    EXPECT_NE(error.hint().find("holdfast -c NAME init --configure-server"), std::string::npos);
  }
  EXPECT_EQ(archived(), Names{"00000002.history"});
}

// It stands twice: as long as either can be read its name is taken, and a server that offers the
// same again has put what is missing.
TEST_F(WalPush, OneOfTheTwoOfAHistoryIsEnoughAndWhatIsMissingIsPutAgain) {
  Fork fork;
  Server first("alpha");
  const std::string name = "00000002.history";
  first.put(name, fork.history);
  push(first, name);
  const std::string object = object_of(name);
  const std::string copy = repo::copy_of_history(object).value();
  const Bytes whole = test::object_bytes(store_, object);
  EXPECT_EQ(test::object_bytes(store_, copy), whole);
  Server second("beta");
  second.put(name, "1\t0/180000\tbefore transaction 700\n");
  for (const std::string& place : {object, copy}) {
    SCOPED_TRACE(place);
    store_.remove(place);
    EXPECT_EQ(push_error(second, name).code(), ErrorCode::kConflict);
    get(first, name);
    EXPECT_EQ(placed(first), to_bytes(fork.history));
    EXPECT_TRUE(push(first, name).was_there);
    EXPECT_EQ(test::object_bytes(store_, place), whole);
    damage(place, 60);
    EXPECT_EQ(push_error(second, name).code(), ErrorCode::kConflict);
    EXPECT_TRUE(push(first, name).was_there);
    store_.remove(place);
    store_.create(place, whole);
  }
  // Without either it is free again.
  store_.remove(object);
  store_.remove(copy);
  EXPECT_FALSE(push(second, name).was_there);
}

// The WAL of the timeline that goes on from before the last switch joins that of the first.
TEST_F(WalPush, ATimelineThatBeganBeforeTheLastSwitchIsArchived) {
  Fork fork;
  Server server("alpha");
  server.put(fork.first, 1, 4);
  test::WalBuilder third = fork.at_switch;
  third.set_timeline({3});
  write_wal(third, 6, 444);
  server.put(third, 3, 5);
  // Timeline 2 left timeline 1 later; timeline 3 follows its history to before that.
  server.put("00000003.history", fmt::format("1\t{}\tlate\n2\t{}\tearly\n",
                                             pg::to_string(pg::start_lsn(4, kSize) + 4096),
                                             pg::to_string(fork.switch_lsn)));
  push_all(server, 1, 1, 4);
  push_all(server, 3, 3, 5);
  EXPECT_EQ(get(server, segment_name(3, 4)).outcome, GetOutcome::kPlaced);
}

TEST_F(WalPush, TheFirstSegmentOfATimelineMustJoinItsParent) {
  Fork fork;
  Server old_server("alpha");
  // Another cluster's segment 2, as if two had diverged before the switch.
  test::WalBuilder diverged({.size = kSize, .system_identifier = kSystem});
  write_wal(diverged, 3, 77);
  old_server.put(diverged, 2, 2);
  push(old_server, segment_name(1, 2));
  Server promoted("beta");
  promoted.put("00000002.history", fork.history);
  promoted.put(fork.promoted, 3, 3);
  Error error = push_error(promoted, segment_name(2, 3));
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_NE(error.message().find(segment_name(1, 2)), std::string::npos);
}

// PostgreSQL writes the first after a recovery to before the last switch. The second nobody reads;
// but a server that offers it would offer nothing else.
TEST_F(WalPush, AHistoryIsArchivedAsTheServerOffersItWhateverItsForm) {
  const std::string down = "1\t0/3018D48\tlate\n2\t0/3018C78\tearly\n";
  server_.put("00000003.history", down);
  EXPECT_FALSE(push(server_, "00000003.history").was_there);
  EXPECT_TRUE(reporter_.warnings().empty());
  server_.put("00000002.history", "2\t0/1\tits own timeline\n");
  EXPECT_FALSE(push(server_, "00000002.history").was_there);
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_NE(reporter_.warnings()[0].find("invalid timeline history file"), std::string::npos);
  get(server_, "00000003.history");
  EXPECT_EQ(as_text(placed(server_)), down);
}

// --- files that are no segments

TEST_F(WalPush, TwoPartialFilesOfOneNameAreBothKept) {
  Fork fork;
  Server first("alpha");
  Server second("beta");
  const std::string name = segment_name(1, 3) + ".partial";
  first.put(name, fork.first.segment(2));
  second.put(name, fork.second.segment(2));
  EXPECT_FALSE(push(first, name).was_there);
  EXPECT_FALSE(push(second, name).was_there);
  EXPECT_TRUE(push(first, name).was_there);
  EXPECT_EQ(archive().partials({.timeline = {1}, .segment_number = 3}).size(), 2U);
}

TEST_F(WalPush, BackupHistoryFilesAreKeptAndNeverReplaced) {
  const std::string name = segment_name(1, 2) + ".00000028.backup";
  server_.put(name, "START WAL LOCATION: 0/200028 (file ...)\n");
  EXPECT_FALSE(push(server_, name).was_there);
  EXPECT_TRUE(push(server_, name).was_there);
  // Of a server that was rolled back to where that backup began: nothing waits for it.
  server_.put(name, "another\n");
  EXPECT_FALSE(push(server_, name).was_there);
  EXPECT_TRUE(push(server_, name).was_there);
  const std::vector<repo::WalArchive::Content> contents =
      archive().contents({.kind = pg::WalFileKind::kBackupHistory,
                          .segment = {.timeline = {1}, .segment_number = 2},
                          .offset = 0x28});
  ASSERT_EQ(contents.size(), 2U);
  EXPECT_TRUE(archive().read_file_of(contents.front().object).value() ==
              to_bytes("START WAL LOCATION: 0/200028 (file ...)\n"));
}

// --- looking ahead

TEST_F(WalPush, LooksAheadAndLaterCallsAreAnsweredByIt) {
  PushResult result = push(server_, segment_name(1, 1), 4);
  EXPECT_EQ(result.looked_ahead.size(), 4U);
  EXPECT_EQ(archived().size(), 5U);
  for (uint64_t number = 2; number <= 5; ++number) {
    PushResult again = push(server_, segment_name(1, number), 4);
    EXPECT_TRUE(again.was_there) << number;
    EXPECT_TRUE(again.looked_ahead.empty()) << number;
  }
  EXPECT_EQ(push(server_, segment_name(1, 6), 4).looked_ahead.size(),
            2U);  // 7 and 8: no more are ready
  EXPECT_TRUE(reporter_.warnings().empty());
}

TEST_F(WalPush, LookAheadTakesOnlyAnUnbrokenChainThatIsReady) {
  remove_file(server_.path("archive_status/" + segment_name(1, 4) + ".ready"));
  EXPECT_EQ(push(server_, segment_name(1, 1), 8).looked_ahead.size(), 2U);
  EXPECT_EQ(archived(), (Names{segment_name(1, 1), segment_name(1, 2), segment_name(1, 3)}));
}

TEST_F(WalPush, LookAheadStopsAtTheFirstSegmentThatDoesNotJoin) {
  Fork fork;
  server_.put(fork.first, 1, 3);
  server_.put(fork.second, 4, 6);
  PushResult result = push(server_, segment_name(1, 1), 8);
  EXPECT_EQ(result.looked_ahead.size(), 2U);
  EXPECT_EQ(archived(), (Names{segment_name(1, 1), segment_name(1, 2), segment_name(1, 3)}));
  ASSERT_EQ(reporter_.warnings().size(), 1U);
  EXPECT_NE(reporter_.warnings()[0].find("does not join"), std::string::npos);
}

TEST_F(WalPush, ADivergedCloneIsRefusedLookAheadIncluded) {
  Fork fork;
  Server first("alpha");
  Server clone("beta");
  for (const Server* server : {&first, &clone}) server->put("00000002.history", fork.history);
  first.put(fork.promoted, 3, 6);
  // Promoted at the same place, to the same timeline; its WAL differs from its first segment on.
  test::WalBuilder clone_wal = fork.at_switch;
  clone_wal.set_timeline({2});
  write_wal(clone_wal, 6, 999);
  clone.put(clone_wal, 3, 6);
  push(first, segment_name(2, 3));
  EXPECT_EQ(push_error(clone, segment_name(2, 3)).code(), ErrorCode::kConflict);
  EXPECT_EQ(push_error(clone, segment_name(2, 4)).code(), ErrorCode::kConflict);
  EXPECT_EQ(archived(), (Names{"00000002.history", segment_name(2, 3)}));
}

TEST_F(WalPush, LookAheadNeverShowsAHoleWhateverStoreCallFails) {
  for (uint64_t nth = 1;; ++nth) {
    store::MemoryStore store;
    repo::Repository made = repo::Repository::create(store, {}, clock_);
    made.create_lineage(lineage_);
    test::FaultStore faulty(store, nth);
    bool pushed = false;
    try {
      repo::Repository repository = repo::Repository::open(faulty, {});
      PushOptions options = push_options(server_, segment_name(1, 1));
      options.look_ahead = 4;
      archive::push(options, repository, reporter_, {}, clock_);
      pushed = true;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable) << nth;
    }
    repo::WalArchive left(made, lineage_);
    uint64_t expected = 1;
    left.for_each_segment({1}, 0, [&](uint64_t number, uint64_t) {
      EXPECT_EQ(number, expected++) << nth;
      return true;
    });
    EXPECT_TRUE(!pushed || expected > 1U) << nth;
    // And the next run works.
    repo::Repository again = repo::Repository::open(store, {});
    archive::push(push_options(server_, segment_name(1, 1)), again, reporter_, {}, clock_);
    if (!faulty.fired()) break;
  }
}

TEST_F(WalPush, AnUploadWhoseAnswerWasLostIsFoundOut) {
  for (uint64_t nth = 1;; ++nth) {
    store::MemoryStore store;
    repo::Repository made = repo::Repository::create(store, {}, clock_);
    made.create_lineage(lineage_);
    test::FaultStore faulty(store, test::Fault{.first = nth, .lost_answer = true});
    bool failed = false;
    try {
      repo::Repository repository = repo::Repository::open(faulty, {});
      archive::push(push_options(server_, segment_name(1, 1)), repository, reporter_, {}, clock_);
    } catch (const Error&) {
      failed = true;
    }
    repo::WalArchive left(made, lineage_);
    // Success without the segment would be a lie.
    EXPECT_TRUE(failed || left.first_segment({1}) == 1U) << nth;
    // The archiver tries again.
    repo::Repository again = repo::Repository::open(store, {});
    archive::push(push_options(server_, segment_name(1, 1)), again, reporter_, {}, clock_);
    EXPECT_EQ(left.first_segment({1}), 1U) << nth;
    if (!faulty.fired()) break;
  }
}

}  // namespace
}  // namespace holdfast::archive
