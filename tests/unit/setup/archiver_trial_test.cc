#include "setup/archiver_trial.h"

#include <cstdlib>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/error_of.h"

namespace holdfast::setup {
namespace {

TEST(InfoCommand, AsksTheProgramOfArchiveCommandWithItsOwnWords) {
  const struct {
    const char* command;
    const char* info;
    const char* push;
  } cases[] = {
      {"/usr/bin/holdfast --config /etc/h.toml --cluster main wal push %p",
       "/usr/bin/holdfast --config /etc/h.toml --cluster main info --json",
       "/usr/bin/holdfast --config /etc/h.toml --cluster main wal push pg_wal/SEGMENT --json"},
      {"holdfast --repo '/a%%b' wal push %p && touch /x", "holdfast --repo '/a%b' info --json",
       "holdfast --repo '/a%b' wal push pg_wal/SEGMENT --json"},
      {"holdfast --config 100% wal push \"%p\"", "holdfast --config 100% info --json",
       "holdfast --config 100% wal push pg_wal/SEGMENT --json"},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(info_command(c.command), c.info);
    EXPECT_EQ(push_command(c.command, "SEGMENT"), c.push);
  }
  EXPECT_FALSE(info_command("cp %p /archive/%f"));
  EXPECT_FALSE(push_command("holdfast wal pushes", "SEGMENT"));
}

// A program that stands in for holdfast, in a directory of its own. Root, who may not act as the
// server's user himself, runs it as another.
class ArchiverTrialTest : public testing::Test {
 protected:
  ArchiverTrialTest() { EXPECT_EQ(chmod(directory_.path().c_str(), 0755), 0); }
  ArchiverPlace place(const std::string& script, mode_t mode = 0755) const {
    const std::string program = join_path(directory_.path(), "holdfast");
    write_file_durably(program, as_bytes("#!/bin/sh\n" + script + "\n"), mode);
    EXPECT_EQ(chmod(program.c_str(), mode), 0);
    ArchiverPlace place{.archive_command = program + " --config x wal push %p",
                        .data_directory = directory_.path(),
                        .user = std::nullopt};
    if (geteuid() == 0) place.user = "nobody";
    return place;
  }
  TemporaryDirectory directory_;
};

TEST_F(ArchiverTrialTest, RunsWithTheServersEnvironmentAndNothingElse) {
  setenv("HOLDFAST_REPO", "/ours", 1);
  ArchiverPlace there =
      place("echo \"{\\\"message\\\": \\\"$HOLDFAST_REPO|$X|$(pwd)|$*\\\"}\"; exit 4");
  there.environment = {"X=of the server", "PATH=/usr/bin:/bin"};
  TrialAnswer answer = try_push(there, "SEGMENT", {});
  unsetenv("HOLDFAST_REPO");
  EXPECT_EQ(answer.status.code, 4);
  EXPECT_EQ(answer.error().message,
            "|of the server|" + directory_.path() + "|--config x wal push pg_wal/SEGMENT --json");
}

TEST_F(ArchiverTrialTest, TellsAProgramThatIsMissingFromOneThatFails) {
  TrialAnswer failing = try_info(place("echo one >&2; echo two >&2; exit 2"), {});
  EXPECT_FALSE(failing.has_no_program());
  EXPECT_EQ(failing.error().message, "one");
  EXPECT_EQ(failing.error().detail, "two");
  EXPECT_EQ(try_info(place("exit 2"), {}).error().message, "it exited with status 2");
  EXPECT_TRUE(try_info(place("exit 0", 0644), {}).has_no_program());
  ArchiverPlace nowhere = place("exit 0");
  nowhere.archive_command = "/nowhere/holdfast wal push %p";
  EXPECT_TRUE(try_info(nowhere, {}).has_no_program());
  TrialAnswer fine = try_info(place("echo '{\"url\": \"x\"}'"), {});
  EXPECT_TRUE(fine.status.ok());
  ASSERT_TRUE(fine.document);
  EXPECT_EQ(fine.document->at("url").as_string(), "x");
}

TEST_F(ArchiverTrialTest, AStopEndsTheWait) {
  std::stop_source stopped;
  stopped.request_stop();
  EXPECT_EQ(test::error_of([&] { try_info(place("exec sleep 600"), stopped.get_token()); }).code(),
            ErrorCode::kInterrupted);
}

}  // namespace
}  // namespace holdfast::setup
