#include "cli/arguments.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/fake_clock.h"

namespace holdfast::cli {
namespace {

using test::error_of;

Arguments parse(std::vector<const char*> words) {
  words.insert(words.begin(), "holdfast");
  return parse_arguments(static_cast<int>(words.size()), words.data(), test::FakeClock());
}

TEST(Arguments, GlobalOptionsStandBeforeOrAfterTheCommand) {
  for (const std::vector<const char*>& words :
       {std::vector<const char*>{"--repo", "/r", "-c", "shop", "-j", "3", "--json", "backup"},
        {"backup", "--repo", "/r", "-c", "shop", "-j", "3", "--json"},
        {"--repo=/r", "backup", "--cluster", "shop", "--jobs=3", "--json"}}) {
    const Arguments arguments = parse(words);
    EXPECT_EQ(arguments.command, "backup");
    EXPECT_TRUE(arguments.json);
    EXPECT_EQ(arguments.sources.options.at("repo.url"), "/r");
    EXPECT_EQ(arguments.sources.options.at("cluster"), "shop");
    EXPECT_EQ(arguments.sources.options.at("jobs"), "3");
  }
}

TEST(Arguments, OfInitAreTypedAgainForItsHints) {
  EXPECT_EQ(parse({"-c", "shop", "init", "--configure-server", "--replace"}).typed_command,
            "holdfast -c shop init");
  EXPECT_EQ(error_of([] { parse({"init", "--replace"}); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(parse({"restore", "--into", "/a b", "--lineage", "15-1"}).lineage, "15-1");
}

TEST(Arguments, AClusterToBeRemovedIsTheOneThatIsChosen) {
  EXPECT_EQ(parse({"cluster", "remove", "shpp"}).sources.options.at("cluster"), "shpp");
}

TEST(Arguments, EveryCommandIsKnownByItsName) {
  const struct {
    std::vector<const char*> words;
    const char* command;
  } cases[] = {{{"init"}, "init"},
               {{"info"}, "info"},
               {{"backup", "--full"}, "backup"},
               {{"backup", "list"}, "backup list"},
               {{"cluster", "list"}, "cluster list"},
               {{"cluster", "remove", "shpp"}, "cluster remove"},
               {{"lineage", "list"}, "lineage list"},
               {{"lineage", "remove", "15-2"}, "lineage remove"},
               {{"repo", "remove-key", "1f"}, "repo remove-key"},
               {{"backup", "show", "latest"}, "backup show"},
               {{"wal", "push", "pg_wal/x"}, "wal push"},
               {{"wal", "get", "x", "pg_wal/RECOVERYXLOG"}, "wal get"},
               {{"wal", "get", "--read-ahead-worker"}, "wal get"},
               {{"wal", "list"}, "wal list"},
               {{"restore", "--into", "/d"}, "restore"},
               {{"verify", "--deep", "latest", "20261122"}, "verify"},
               {{"finish", "/d"}, "finish"},
               {{"demo", "--keep"}, "demo"}};
  for (const auto& c : cases) EXPECT_EQ(parse(c.words).command, c.command);
}

TEST(Arguments, HintsCarryWhatSaysWhere) {
  EXPECT_EQ(parse({"backup", "-c", "shop", "--jobs", "3", "--repo", "/srv/my repo"})
                .commands.complete("\"holdfast check\""),
            "\"holdfast --repo '/srv/my repo' -c shop check\"");
  EXPECT_EQ(parse({"backup"}).commands.complete("\"holdfast check\""), "\"holdfast check\"");
}

TEST(Arguments, HelpAndVersionAreCommandsToo) {
  EXPECT_EQ(parse({"help"}).output, parse({"--help"}).output);
  EXPECT_EQ(parse({"help", "backup", "list"}).output, parse({"backup", "list", "--help"}).output);
  EXPECT_EQ(parse({"version"}).output, parse({"-V"}).output);
  EXPECT_EQ(parse({"help"}).command, "");
  EXPECT_EQ(error_of([] { parse({"help", "restor"}); }).hint(),
            "Did you mean \"holdfast restore\"? See \"holdfast --help\".");
}

TEST(Arguments, AMistypedWordIsAnsweredByTheOneThatWasMeant) {
  const struct {
    std::vector<const char*> words;
    const char* message;
    const char* hint;
  } cases[] = {
      {{"bakcup"},
       "unknown command \"bakcup\"",
       "Did you mean \"holdfast backup\"? See \"holdfast --help\"."},
      {{"-c", "shop", "bakcup", "--full"},
       "unknown command \"bakcup\"",
       "Did you mean \"holdfast backup\"? See \"holdfast --help\"."},
      {{"config", "show"}, "unknown command \"config\"", "See \"holdfast --help\"."},
      {{"backup", "lits"},
       "unexpected argument \"lits\"",
       "Did you mean \"holdfast backup list\"? See \"holdfast backup --help\"."},
      {{"backup", "--fulll"},
       "unknown option \"--fulll\"",
       "Did you mean \"--full\"? See \"holdfast backup --help\"."},
      {{"backup", "--clutser", "x"},
       "unknown option \"--clutser\"",
       "Did you mean \"--cluster\"? See \"holdfast backup --help\"."},
  };
  for (const auto& c : cases) {
    const Error error = error_of([&] { parse(c.words); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(error.message(), c.message);
    EXPECT_EQ(error.hint(), c.hint);
  }
}

TEST(Arguments, WhatACommandAboveWouldDoIsRefused) {
  for (const std::vector<const char*>& words :
       {std::vector<const char*>{"drill", "list", "--destroy", "--confirm", "shop"},
        {"backup", "list", "--label", "A"},
        {"backup", "--label", "A", "list"}}) {
    const Error error = error_of([&] { parse(words); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_TRUE(error.message().starts_with("unknown option \"--")) << error.message();
  }
}

TEST(Arguments, EveryPageOfHelpFitsAndTellsTheGlobalOptions) {
  for (const std::vector<const char*>& words : {std::vector<const char*>{"--help"},
                                                {"backup", "--help"},
                                                {"backup", "list", "--help"},
                                                {"wal", "--help"},
                                                {"restore", "--help"},
                                                {"verify", "--help"},
                                                {"expire", "--help"}}) {
    const std::string page = parse(words).output;
    for (const char* part :
         {"Usage: holdfast", "-c, --cluster NAME", "--json", "Examples:", "--jobs"})
      EXPECT_NE(page.find(part), std::string::npos) << part << " in " << page;
    for (size_t at = 0; at < page.size();) {
      const size_t end = page.find('\n', at);
      EXPECT_LE(end - at, 80U) << page.substr(at, end - at);
      at = end + 1;
    }
  }
}

TEST(Arguments, ATimeInWordsIsPrintedBackAsItWasUnderstood) {
  const Arguments words = parse({"restore", "--into", "/d", "--to", "10 minutes ago"});
  EXPECT_EQ(to_rfc3339(words.target.time), "2026-11-22T08:12:39.000000Z");
  EXPECT_EQ(words.understood, "--to \"10 minutes ago\" is " + to_local(words.target.time));
  EXPECT_EQ(parse({"restore", "--into", "/d", "--to", "2026-11-22 08:12+00"}).understood, "");
}

TEST(Arguments, ARestoreKeepsWhatWasTypedButItsTarget) {
  EXPECT_EQ(
      parse({"-c", "main", "restore", "--into", "/srv/a copy", "--to=2026-11-22 08:22",
             "--exclusive", "--timeline", "2", "--backup", "latest", "--start", "--port", "5433"})
          .target.command,
      "holdfast -c main restore --into '/srv/a copy' --start --port 5433");
  EXPECT_EQ(parse({"restore", "--to-latest", "--in-place", "--yes"}).target.command,
            "holdfast restore --in-place --yes");
}

TEST(Arguments, WhatCannotBeCarriedOutIsAUsageError) {
  const struct {
    std::vector<const char*> words;
    const char* part;  // of the message
  } cases[] = {
      {{"bakcup"}, "bakcup"},
      {{"backup", "stray"}, "stray"},
      {{"backup", "--ful"}, "--ful"},
      {{"backup", "--checkpoint", "slow"}, "slow"},
      {{"backup", "show"}, "ID"},
      {{"wal"}, "subcommand"},
      {{"wal", "push"}, "PATH"},
      {{"wal", "get", "x"}, "wal get needs a file's name and a path"},
      {{"restore"}, "restore needs to know where to"},
      {{"restore", "--into", "/d", "--in-place"}, "restore needs to know where to"},
      {{"restore", "--into", "/d", "--to-xid", "7", "--to-latest"},
       "more than one recovery target"},
      {{"restore", "--into", "/d", "--to-xid", "2"}, "invalid transaction id \"2\""},
      {{"restore", "--into", "/d", "--to-xid", "7x"}, "invalid transaction id \"7x\""},
      {{"restore", "--into", "/d", "--exclusive"}, "--exclusive needs a target"},
      {{"restore", "--into", "/d", "--to-name", "n", "--exclusive"}, "--exclusive needs a target"},
      {{"restore", "--into", "/d", "--port", "0"}, "port"},
      {{"restore", "--into", "/d", "--action", "dance"}, "dance"}};
  for (const auto& c : cases) {
    const Error error = error_of([&] { parse(c.words); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage) << c.words.front();
    EXPECT_NE(error.message().find(c.part), std::string::npos) << error.message();
    EXPECT_NE(error.hint().find("--help"), std::string::npos);
  }
}

TEST(Arguments, TargetsAreRead) {
  using recovery::TargetKind;
  EXPECT_EQ(parse({"restore", "--into", "/d"}).target.kind, TargetKind::kLatest);
  EXPECT_EQ(parse({"restore", "--into", "/d", "--to-immediate"}).target.kind,
            TargetKind::kImmediate);
  const recovery::Target lsn =
      parse({"restore", "--into", "/d", "--to-lsn", "0/3000148", "--exclusive", "--timeline", "3"})
          .target;
  EXPECT_EQ(lsn.kind, TargetKind::kLsn);
  EXPECT_EQ(pg::to_string(lsn.lsn), "0/3000148");
  EXPECT_TRUE(lsn.exclusive);
  EXPECT_EQ(lsn.timeline->value, 3U);
  const recovery::Target time =
      parse({"restore", "--into", "/d", "--to", "2026-11-22 08:22:39.5+00", "--backup", "latest"})
          .target;
  EXPECT_EQ(to_rfc3339(time.time), "2026-11-22T08:22:39.500000Z");
  EXPECT_EQ(time.backup, "latest");
  EXPECT_EQ(parse({"restore", "--into", "/d", "--to-xid", "4294967295"}).target.xid, 4294967295U);
  EXPECT_EQ(parse({"restore", "--into", "/d", "--to-name", "before upgrade"}).target.name,
            "before upgrade");
}

TEST(Arguments, VersionAndHelpAreOutputWithoutACommand) {
  EXPECT_TRUE(parse({"--version"}).output.starts_with("holdfast 0."));
  EXPECT_TRUE(parse({"--version"}).command.empty());
  EXPECT_NE(parse({"restore", "--help"}).output.find("--to-xid XID"), std::string::npos);
  EXPECT_NE(parse({}).output.find("backup"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::cli
