#include "view/drill.h"

#include <gtest/gtest.h>

namespace holdfast::view {
namespace {

repo::DrillReport report() {
  repo::DrillReport made;
  made.id = "20261122T082240Z-1f2e3d";
  made.cluster = "main";
  made.lineage = {.cluster = "main", .major = 15, .count = 1};
  made.target = "the end of the archived WAL";
  made.backup = "20261122T082239Z-1f2e3d";
  made.recovered = true;
  made.recovery_time = std::chrono::seconds(12);
  made.loss_time = Microseconds{};
  made.lost_transactions = 0;
  made.lost_bytes = 0;
  made.passed = true;
  return made;
}
bool has(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

TEST(DrillHtml, EscapesWhateverComesFromOutside) {
  repo::DrillReport made = report();
  const std::string evil = "<script>alert('&\"')</script>";
  made.passed = false;
  made.loss_note = made.host = made.cache = made.target = made.processor = evil;
  made.missed = {evil};
  made.checks = {{.name = evil,
                  .state = "failed",
                  .what = evil,
                  .failure_count = 1,
                  .failures = {evil},
                  .note = evil}};
  const std::string page = html(made);
  EXPECT_FALSE(has(page, "<script"));
  EXPECT_TRUE(has(page, "&lt;script&gt;alert('&amp;&quot;')&lt;/script&gt;"));
}

TEST(DrillList, CountsAsPassedWhatWasRunAndPassed) {
  repo::DrillReport made = report();
  for (const char* state : {"passed", "passed", "not run", "failed", "not run", "passed"})
    made.checks.push_back({.name = state, .state = state});
  const std::string list = text(std::vector{made});
  EXPECT_TRUE(has(list, "3 of 6, 2 not run")) << list;
  EXPECT_LE(list.find('\n'), 80u) << list;
  made.passed = false;
  made.missed = {"one thing", "another"};
  EXPECT_TRUE(text(made).ends_with("Failed: one thing; another\n")) << text(made);
}

TEST(DrillText, CountsOneOfAKindAsOne) {
  repo::DrillReport made = report();
  made.checks = {{.name = "sql", .state = "passed", .count = 1, .what = "statements"},
                 {.name = "indexes", .state = "passed", .count = 1, .what = "B-tree indexes"},
                 {.name = "tables", .state = "passed", .count = 2, .what = "tables"},
                 {.name = "recovered",
                  .state = "failed",
                  .what = "comparisons",
                  .failure_count = 1,
                  .failures = {"nothing to compare"}}};
  const std::string told = text(made);
  for (const char* words : {"passed, 1 statement in ", "passed, 1 B-tree index in ",
                            "passed, 2 tables in ", "recovered:      failed in "})
    EXPECT_TRUE(has(told, words)) << words << "\n" << told;
}

TEST(DrillHtml, StandsAlone) {
  const std::string page = html(report());
  for (const char* elsewhere : {"http:", "https:", "src=", "url(", "<script", "@import"})
    EXPECT_FALSE(has(page, elsewhere)) << elsewhere;
}

TEST(DrillWords, SayWhatWasLostAndNeverThatUnknownIsNothing) {
  repo::DrillReport made = report();
  EXPECT_TRUE(has(html(made), "Nothing that had been committed was lost."));
  EXPECT_TRUE(has(text(made), "loss:           nothing"));
  made.lost_transactions = 3;
  made.loss_time = std::chrono::seconds(17);
  EXPECT_TRUE(has(html(made), "3 transactions of the last 17 s would be lost."));
  EXPECT_TRUE(has(text(made), "17 s: 3 transactions"));
  made.lost_transactions.reset();
  made.loss_time.reset();
  made.loss_note = "Nobody answers.";
  EXPECT_TRUE(has(html(made), "It is not known whether"));
  EXPECT_TRUE(has(text(made), "unknown. Nobody answers."));
  EXPECT_TRUE(has(text(std::vector{made}), "unknown"));
}

TEST(DrillWords, OfOneThatCouldNotBeCarriedOutGiveNoFigures) {
  repo::DrillReport made = report();
  made.recovered = false;
  made.passed = false;
  made.error = "the disk is full";
  made.missed = {"It could not be carried out: the disk is full."};
  EXPECT_FALSE(has(html(made), "class=\"figures\""));
  EXPECT_TRUE(has(html(made), "could not be brought back from its backups: the disk is full"));
  EXPECT_FALSE(has(text(made), "recovery time"));
  EXPECT_TRUE(has(text(made), "Failed: It could not be carried out: the disk is full."));
}

}  // namespace
}  // namespace holdfast::view
