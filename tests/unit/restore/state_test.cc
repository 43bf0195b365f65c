#include "restore/state.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "restore/hold.h"
#include "restore/marker.h"
#include "support/error_of.h"

namespace holdfast::restore {
namespace {

RestoredState example() {
  return {
      .cluster = "main",
      .lineage = "15-1",
      .is_copy = true,
      .backup = "20261122T081200Z-aaaaaa",
      .major = 15,
      .wal_segment_bytes = 16 << 20,
      .target = "restore point \"it's\"",
      .action = recovery::TargetAction::kPause,
      .timeline = {7},
      .port = 5433,
      .archive = false,
      .first_segment = 3,
      .last_segment = 9,
      .target_segment = "000000010000000000000009",
      .end_record = {0x9000060},
      .ends_in_tail = true,
      .servers_own = {{"work_mem", "7MB"}},
      .command_line = {{"port", "5433"}, {"unix_socket_directories", "/srv/a, b"}},
      .only_in_sandbox = true,
      .sandbox = cluster::Sandbox{.program = {},
                                  .covers = {{.path = "/var/lib/main", .by = {}},
                                             {.path = "/srv/fast", .by = "/srv/copy/1"}},
                                  .private_network = false},
      .created = {{.oid = 16400, .path = "/srv/fast", .lsn = {0x5000060}, .place = "/srv/copy/1"}},
      .made_here = {"/srv/fast"},
      .production = {"/var/lib/main", "/srv/fast"},
      .claim = "00112233445566778899aabbccddeeff"};
}

TEST(RestoredState, ReadsBackAllThatItWrites) {
  const TemporaryDirectory directory;
  EXPECT_FALSE(read_state(directory.path()));
  RestoredState state = example();
  write_state(directory.path(), state, std::nullopt);
  state.directory = identity_of_directory(directory.path());
  state.place = directory.path();
  const std::optional<RestoredState> read = read_state(directory.path());
  ASSERT_TRUE(read);
  EXPECT_EQ(to_json(*read).dump(), to_json(state).dump());
  EXPECT_EQ(read->servers_own, state.servers_own);
  EXPECT_EQ(read->command_line, state.command_line);
  EXPECT_EQ(read->sandbox->covers, state.sandbox->covers);
  EXPECT_EQ(read->archive, false);
  EXPECT_EQ(read->action, recovery::TargetAction::kPause);
  EXPECT_TRUE(read->is_same_restore(state));
  remove_state(directory.path());
  EXPECT_FALSE(read_state(directory.path()));

  RestoredState plain;
  plain.backup = "x";
  EXPECT_FALSE(restored_state_from_json(Json::parse(to_json(plain).dump(), "x")).sandbox);
  EXPECT_FALSE(restored_state_from_json(Json::parse(to_json(plain).dump(), "x")).archive);
}

// "cp -a": the claim is the original's, and whoever finishes the copy does not end it.
TEST(RestoredState, ACopyOfTheDirectoryHasNoClaim) {
  const TemporaryDirectory directory;
  const std::string laid = join_path(directory.path(), "c"),
                    copy = join_path(directory.path(), "d");
  make_directory(laid);
  RestoredState state = example();
  state.created.front().place = laid + "/holdfast_tablespaces/16400";
  write_state(laid, state, std::nullopt);
  run_checked({.arguments = {"cp", "-a", laid, copy}});
  EXPECT_EQ(read_state(laid)->claim, example().claim);
  EXPECT_EQ(claim_of_recovery_in(laid), example().claim);
  EXPECT_EQ(read_state(copy)->claim, "");
  EXPECT_EQ(claim_of_recovery_in(copy), "");
  // What lies in it came along.
  EXPECT_EQ(read_state(laid)->created.front().place, laid + "/holdfast_tablespaces/16400");
  EXPECT_EQ(read_state(copy)->created.front().place, copy + "/holdfast_tablespaces/16400");
  // It is renamed, and is what it was.
  rename_path(laid, laid + ".old");
  EXPECT_EQ(read_state(laid + ".old")->claim, example().claim);
}

TEST(RestoredState, IsAnotherRestoreByWhateverWasAskedForOtherwise) {
  const RestoredState state = example();
  RestoredState other = state;
  other.last_segment = 12;  // the archive has grown
  EXPECT_TRUE(other.is_same_restore(state));
  for (int what = 0; what < 6; ++what) {
    other = state;
    if (what == 0) other.backup = "20261122T081200Z-bbbbbb";
    if (what == 1) other.target = "the end of the archived WAL";
    if (what == 2) other.action = recovery::TargetAction::kPromote;
    if (what == 3) other.port = 0;
    if (what == 4) other.archive.reset();
    if (what == 5) other.timeline = {8};
    EXPECT_FALSE(other.is_same_restore(state)) << what;
  }
}

TEST(RestoredState, RefusesWhatItDidNotWrite) {
  const TemporaryDirectory directory;
  const std::string path = join_path(directory.path(), kStateName);
  const std::string good = to_json(example()).dump();
  const std::pair<const char*, const char*> changes[] = {
      {"holdfast.restored.v1", "holdfast.restored.v2"},
      {"\"pause\"", "\"stop\""},
      {"\"first_segment\"", "\"segment\""},
      {"\"timeline\": 7", "\"timeline\": 4294967296"}};
  for (const auto& [from, to] : changes) {
    std::string text = good;
    ASSERT_NE(text.find(from), std::string::npos) << from;
    text.replace(text.find(from), std::string_view(from).size(), to);
    write_file_durably(path, as_bytes(text));
    const ErrorCode code = test::error_of([&] { read_state(directory.path()); }).code();
    EXPECT_TRUE(code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupported) << from;
  }
}

}  // namespace
}  // namespace holdfast::restore
