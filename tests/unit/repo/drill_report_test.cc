#include "repo/drill_report.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

Time at(int seconds) { return Time(std::chrono::seconds(1'800'000'000 + seconds)); }

DrillReport full_report(const std::string& id) {
  DrillReport report;
  report.id = id;
  report.cluster = "main";
  report.lineage = {.cluster = "main", .major = 15, .count = 1};
  report.tool = "0.1.0";
  report.host = "db1";
  report.started = at(0);
  report.finished = at(60);
  report.target = "the end of the archived WAL";
  report.backup = "20261122T082239Z-1f2e3d";
  report.backup_time = at(-100);
  report.major = 15;
  report.timeline = {3};
  report.segments = 4;
  report.files = 900;
  report.bytes = 1 << 20;
  report.sandboxed = true;
  report.recovered = true;
  report.recovery_time = std::chrono::milliseconds(12345);
  report.plan_time = Microseconds(1);
  report.lay_time = Microseconds(2);
  report.replay_time = Microseconds(3);
  report.promote_time = Microseconds(4);
  report.write_time = Microseconds(5);
  report.check_time = std::chrono::seconds(40);
  report.recovered_end = pg::Lsn{0x500000028};
  report.last_recovered = at(-5);
  report.flushed = pg::Lsn{0x500000128};
  report.loss_time = std::chrono::seconds(4);
  report.lost_transactions = 7;
  report.lost_bytes = 256;
  report.loss_note = "Read.";
  report.allowed_recovery_time = std::chrono::minutes(5);
  report.checks = {{.name = "sql",
                    .state = "failed",
                    .count = 3,
                    .what = "statements",
                    .failure_count = 1,
                    .failures = {"line 2"},
                    .note = "A note.",
                    .took = Microseconds(99)}};
  report.missed = {"The check failed."};
  report.error = "an error";
  report.processor = "a processor";
  report.processors = 2;
  report.memory_bytes = uint64_t{8} << 30;
  report.directory = "/tmp";
  report.file_system = "ext4";
  report.cache = "Warm.";
  return report;
}

TEST(DrillReport, ReadsBackAllThatItHolds) {
  const DrillReport report = full_report("20261122T082240Z-1f2e3d");
  const Json body = to_json(report);
  EXPECT_EQ(to_json(drill_report_from_json(Json::parse(body.dump(), "report"))).dump(),
            body.dump());
  // What is not known stays so.
  DrillReport sparse;
  sparse.id = report.id;
  sparse.cluster = "main";
  sparse.lineage = report.lineage;
  const DrillReport read = drill_report_from_json(to_json(sparse));
  EXPECT_FALSE(read.loss_time);
  EXPECT_FALSE(read.recovered_end);
  EXPECT_FALSE(read.allowed_loss_time);
  EXPECT_TRUE(read.checks.empty());
}

TEST(DrillReport, IsRefusedWhenAMemberIsMissingOrNoSuchThing) {
  const Json body = to_json(full_report("20261122T082240Z-1f2e3d"));
  for (const auto& [left_out, unused] : body.members()) {
    Json less = Json::object();
    for (const auto& [key, value] : body.members())
      if (key != left_out) less.set(key, value);
    EXPECT_EQ(test::error_of([&] { drill_report_from_json(less); }).code(), ErrorCode::kCorrupt)
        << left_out;
  }
  for (const char* key : {"check_seconds", "lineage", "cluster", "started", "timeline"}) {
    for (const Json& wrong : {Json(-1.0), Json(1e300), Json("?"), Json(uint64_t{1} << 40)}) {
      Json changed = body;
      changed.set(key, wrong);
      EXPECT_EQ(test::error_of([&] { drill_report_from_json(changed); }).code(),
                ErrorCode::kCorrupt)
          << key << " " << wrong.dump();
    }
  }
}

TEST(DrillReports, AreListedInOrderAndFoundByTheirBeginning) {
  test::TestRepository test;
  const Repository& repository = test.repository;
  std::vector<std::string> unreadable;
  const auto tell = [&](const std::string& id, const Error&) { unreadable.push_back(id); };
  EXPECT_TRUE(read_drill_reports(repository, "main", 10, tell).empty());
  EXPECT_EQ(test::error_of([&] { resolve_drill_report(repository, "main", "latest"); }).code(),
            ErrorCode::kNotFound);
  const std::vector<std::string> ids = {"20261122T082240Z-1f2e3d", "20261122T082241Z-aaaaaa",
                                        "20261123T000000Z-000000"};
  for (const std::string& id : ids) put_drill_report(repository, full_report(id));
  EXPECT_EQ(test::error_of([&] { put_drill_report(repository, full_report(ids[0])); }).code(),
            ErrorCode::kAlreadyExists);
  const std::vector<DrillReport> newest = read_drill_reports(repository, "main", 2, tell);
  ASSERT_EQ(newest.size(), 2U);
  EXPECT_EQ(newest[0].id, ids[1]);
  EXPECT_EQ(newest[1].id, ids[2]);
  EXPECT_TRUE(unreadable.empty());
  // One that cannot be read does not hide the others.
  const auto flip = [](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; };
  test.store.edit(drill_name("main", ids[1]), flip);
  EXPECT_EQ(read_drill_reports(repository, "main", 3, tell).size(), 2U);
  EXPECT_EQ(unreadable, std::vector<std::string>{ids[1]});
  test.store.edit(drill_name("main", ids[1]), flip);
  EXPECT_EQ(resolve_drill_report(repository, "main", "latest").id, ids[2]);
  EXPECT_EQ(resolve_drill_report(repository, "main", "20261122T082241").id, ids[1]);
  EXPECT_EQ(test::error_of([&] { resolve_drill_report(repository, "main", "20261122"); }).code(),
            ErrorCode::kUsage);
  EXPECT_EQ(test::error_of([&] { resolve_drill_report(repository, "main", "2025"); }).code(),
            ErrorCode::kNotFound);
}

}  // namespace
}  // namespace holdfast::repo
