// DROP DATABASE and DROP TABLESPACE take the files away before they commit: a recovery to just
// before has them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "pg/wal_reader.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

// The page of pg_database stands in the WAL as a whole, and compressed as the server does it.
std::string wal_compression(int major) {
  if (major == 15) return "off";
  return major >= 19 ? "zstd" : "on";
}

class HalfRemoval : public testing::TestWithParam<int> {
 protected:
  HalfRemoval()
      : scene_({.major = GetParam(),
                .wal_segment_mib = 1,
                .config = {"autovacuum = off", "wal_keep_size = 64MB",
                           "wal_compression = " + wal_compression(GetParam())}}) {}

  std::string moment() { return scene_.server().value("SELECT pg_catalog.clock_timestamp()"); }
  // Drops a database; returns its transaction's id, and where that ended.
  std::pair<std::string, pg::Lsn> drop_database(const std::string& name) {
    constexpr const char* kSegment =
        "SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn())";
    const std::string xid = scene_.server().value(
        "SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot())");
    const std::string first = scene_.server().value(kSegment);
    scene_.server().sql("DROP DATABASE " + name);
    for (const std::string& segment : {first, scene_.server().value(kSegment)}) {
      const Bytes content =
          read_file(fmt::format("{}/pg_wal/{}", scene_.server().data_directory(), segment));
      pg::WalReader reader(scene_.segment_size());
      const pg::SegmentName segment_name =
          pg::parse_wal_file_name(segment, scene_.segment_size()).segment;
      for (const pg::WalEvent& event : pg::scan_segment(reader, content, segment_name).events)
        if (const auto* end = std::get_if<pg::TransactionEnd>(&event);
            end != nullptr && std::to_string(end->xid) == xid)
          return {xid, end->lsn};
    }
    ADD_FAILURE() << "the end of transaction " << xid << " was not found";
    return {};
  }
  Json plan_of(std::vector<std::string> words) {
    words.insert(words.begin(), {"restore", "--dry-run", "--into", scene_.path("none")});
    return scene_.must(words).at("plan");
  }

  RecoveryScene scene_;
};
INSTANTIATE_TEST_SUITE_P(EachMajor, HalfRemoval, testing::ValuesIn(test_majors()),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

TEST_P(HalfRemoval, WhatWasThereJustBeforeADropIsThere) {
  PostgresServer& server = scene_.server();
  const std::string tablespace = scene_.make_tablespace_directory("fast");
  server.sql(fmt::format("CREATE TABLESPACE fast LOCATION '{}'", tablespace));
  server.sql("CREATE TABLE in_fast TABLESPACE fast AS SELECT generate_series(1, 10)");
  server.sql("CREATE DATABASE shop");
  server.sql("CREATE DATABASE store");
  server.connect("shop").query(
      "CREATE TABLE public.orders AS SELECT generate_series(1, 1000) AS id");
  scene_.must({"backup"});
  server.connect("shop").query("INSERT INTO public.orders VALUES (1001)");
  const std::string before_shop = moment();
  const auto [xid, end] = drop_database("shop");
  // Its page of pg_database was written since the last checkpoint: the row alone is in the WAL.
  server.sql("ALTER DATABASE store CONNECTION LIMIT 5");
  const auto [store_xid, store_end] = drop_database("store");
  server.sql("DROP TABLE in_fast");
  const std::string before_tablespace = moment();
  server.sql("DROP TABLESPACE fast");
  server.sql("CREATE TABLE later AS SELECT 1 AS one");
  scene_.archive_current_segment();

  {
    const std::unique_ptr<RestoredServer> copy =
        scene_.restore_into("by-time", {"--to", before_shop});
    EXPECT_EQ(copy->connect("shop").query_value("SELECT pg_catalog.count(*) FROM public.orders"),
              "1001");
    const Json& plan = copy->result().at("plan");
    const std::string note = plan.at("notes").items().back().as_string();
    EXPECT_TRUE(note.starts_with("database \"shop\" is taken away from ")) << note;
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"--to-xid", xid, "--exclusive"},
          {"--to-lsn", to_string(end), "--exclusive"}}) {
      EXPECT_EQ(plan_of(words).at("target").dump(), plan.at("target").dump()) << words[0];
      EXPECT_EQ(plan_of(words).at("notes").items().back().as_string(), note);
    }
  }
  {
    const std::unique_ptr<RestoredServer> copy =
        scene_.restore_into("before-store", {"--to-lsn", to_string(store_end), "--exclusive"});
    EXPECT_EQ(copy->connect("store").query_value("SELECT 1"), "1");
  }
  {
    const std::unique_ptr<RestoredServer> copy =
        scene_.restore_into("before-tablespace", {"--to", before_tablespace});
    copy->connect().query("CREATE TABLE public.again TABLESPACE fast AS SELECT 1 AS one");
    EXPECT_EQ(copy->value("SELECT one FROM public.again"), "1");
  }
  // Behind the end nothing is different.
  EXPECT_EQ(plan_of({"--to-xid", xid}).at("notes").dump().find("taken away"), std::string::npos);
}

class HalfDropped : public HalfRemoval {};
INSTANTIATE_TEST_SUITE_P(OneMajor, HalfDropped, testing::Values(15),
                         [](const testing::TestParamInfo<int>& tested) {
                           return std::to_string(tested.param);
                         });

TEST_P(HalfDropped, ADrillFailsOverADatabaseWhoseFilesAreGone) {
  PostgresServer& server = scene_.server();
  server.sql("CREATE DATABASE ruin");
  const std::string oid = server.value("SELECT oid FROM pg_database WHERE datname = 'ruin'");
  server.sql("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'ruin'");
  server.sql("CHECKPOINT");
  make_directory(scene_.path("drills"));
  const auto databases_check = [&](int status) {
    scene_.must({"backup"});
    const Captured ran =
        scene_.run({"drill", "--drill-directory", scene_.path("drills"), "--json"});
    EXPECT_EQ(ran.status.code, status) << describe(ran);
    return Json::parse(ran.out, "report").at("checks").items()[1];
  };
  EXPECT_EQ(databases_check(0).at("note").as_string(),
            "Not looked at, because nobody may connect to them: \"ruin\".");
  remove_tree(fmt::format("{}/base/{}", server.data_directory(), oid));
  const Json check = databases_check(6);
  EXPECT_EQ(check.at("name").as_string(), "databases");
  EXPECT_EQ(check.at("state").as_string(), "failed");
  EXPECT_EQ(check.at("failures").items()[0].as_string(),
            fmt::format("ruin: its files are gone, there is no \"base/{}\"", oid));
}

}  // namespace
}  // namespace holdfast::test
