#include "cluster/server_log.h"

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace holdfast::cluster {
namespace {

std::vector<ArchiverWords> all_of(const std::vector<std::string>& lines) {
  ArchiverWordsParser parser;
  std::vector<ArchiverWords> found;
  for (const std::string& line : lines)
    if (std::optional<ArchiverWords> words = parser.feed(line)) found.push_back(*std::move(words));
  return found;
}
using Lines = std::vector<std::string>;

constexpr const char* kLinePrefix = "2026-11-26 07:00:00.123 UTC [4711] ";

TEST(ArchiverWords, AreWhatTheCommandSaidBeforeTheServerTellsOfIt) {
  const std::vector<ArchiverWords> found = all_of(
      {std::string(kLinePrefix) + "LOG:  checkpoint starting: time",
       std::string(kLinePrefix) + "ERROR:  relation \"t\" does not exist at character 15",
       std::string(kLinePrefix) + "STATEMENT:  SELECT * FROM t",
       "cp: cannot stat 'x': No such file", "ERROR:  could not open \"/repo\": Permission denied",
       "HINT:  Check its owner.",
       std::string(kLinePrefix) + "LOG:  archive command failed with exit code 1",
       std::string(kLinePrefix) + "DETAIL:  The failed archive command was: cp pg_wal/1 /x",
       "sh: 1: /nowhere: not found",
       std::string(kLinePrefix) + "FATAL:  archive command failed with exit code 127",
       std::string(kLinePrefix) + "FATAL:  archive command was terminated by signal 9: Killed"});
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].message, "archive command failed with exit code 1");
  EXPECT_EQ(found[0].lines, (Lines{"cp: cannot stat 'x': No such file",
                                   "ERROR:  could not open \"/repo\": Permission denied",
                                   "HINT:  Check its owner."}));
  EXPECT_FALSE(found[0].ended_archiver);
  EXPECT_EQ(found[1].lines, (Lines{"sh: 1: /nowhere: not found"}));
  EXPECT_TRUE(found[1].ended_archiver);
  EXPECT_EQ(found[2].message, "archive command was terminated by signal 9: Killed");
  EXPECT_TRUE(found[2].lines.empty());
  EXPECT_TRUE(found[2].ended_archiver);
}

TEST(ArchiverWords, AreBoundedHoweverMuchWasSaid) {
  Lines lines;
  for (int i = 0; i < 100; ++i) lines.push_back(fmt::format("{} {}", i, std::string(5000, 'x')));
  lines.push_back(std::string(kLinePrefix) + "LOG:  archive command failed with exit code 1");
  const std::vector<ArchiverWords> found = all_of(lines);
  ASSERT_EQ(found.size(), 1U);
  ASSERT_EQ(found[0].lines.size(), ArchiverWordsParser::kMaxLines);
  EXPECT_TRUE(found[0].lines.front().starts_with("92 x"));
  for (const std::string& line : found[0].lines)
    EXPECT_LE(line.size(), ArchiverWordsParser::kMaxLineBytes);
}

TEST(EnvironmentOf, IsWhatTheProcessWasStartedWith) {
  const std::vector<std::string> variables = environment_of(getpid());
  ASSERT_FALSE(variables.empty());
  for (const std::string& variable : variables)
    EXPECT_NE(variable.find('='), std::string::npos) << variable;
  EXPECT_TRUE(environment_of(-1).empty());
}

}  // namespace
}  // namespace holdfast::cluster
