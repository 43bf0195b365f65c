#include "backup/preflight.h"

#include <functional>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::backup {
namespace {

using test::error_of;
using test::TestRepository;

cluster::ServerFacts good_facts() {
  cluster::ServerFacts facts;
  facts.system_identifier = test::test_lineage().system_identifier;
  facts.catalog_version = 202209061;
  facts.major = 15;
  facts.wal_level = "replica";
  facts.archive_mode = cluster::ArchiveMode::kOn;
  facts.archive_command = "holdfast wal push %p";
  return facts;
}

TEST(CheckServer, LetsAPrimaryWithArchivingAndAStandbyPass) {
  check_server(good_facts());
  cluster::ServerFacts facts = good_facts();
  facts.wal_level = "logical";
  facts.archive_mode = cluster::ArchiveMode::kAlways;
  facts.archive_command.clear();
  facts.archive_library = "some_library";
  check_server(facts);
  // What a standby says of archiving is not what its primary does.
  facts = good_facts();
  facts.in_recovery = true;
  facts.archive_mode = cluster::ArchiveMode::kOff;
  facts.archive_command.clear();
  check_server(facts);
  // Its files are copied unread.
  facts = good_facts();
  facts.major = 20;
  check_server(facts);
}

TEST(CheckServer, SaysWhatIsWrongAndWhatToDo) {
  const struct {
    std::function<void(cluster::ServerFacts&)> change;
    ErrorCode code;
    const char* message;
    const char* hint;
  } cases[] = {
      {[](auto& facts) {
         facts.major = 20;
         facts.in_recovery = true;
       },
       ErrorCode::kUnsupported, "PostgreSQL 20 is newer than this program",
       "Install a newer Holdfast, which reads the same repository."},
      {[](auto& facts) { facts.wal_level = "minimal"; }, ErrorCode::kServer,
       "wal_level of the server is \"minimal\"",
       "Run \"holdfast init --configure-server\", then restart the server."},
      {[](auto& facts) { facts.archive_mode = cluster::ArchiveMode::kOff; }, ErrorCode::kServer,
       "archive_mode of the server is \"off\"",
       "Run \"holdfast init --configure-server\", then restart the server."},
      {[](auto& facts) { facts.archive_command.clear(); }, ErrorCode::kServer,
       "archive_command of the server is not set", "Run \"holdfast init --configure-server\"."}};
  for (const auto& c : cases) {
    cluster::ServerFacts facts = good_facts();
    c.change(facts);
    Error error = error_of([&] { check_server(facts); });
    EXPECT_EQ(error.code(), c.code);
    if (c.message != nullptr) {
      EXPECT_EQ(error.message(), c.message);
    }
    if (c.hint != nullptr) {
      EXPECT_EQ(error.hint(), c.hint);
    }
  }
}

TEST(LineageOf, FindsTheServersLineageOnly) {
  TestRepository stored;
  EXPECT_EQ(lineage_of(stored.repository, "main", good_facts()).name, stored.lineage.name);

  Error error = error_of([&] { lineage_of(stored.repository, "other", good_facts()); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "the repository has no cluster \"other\"");

  cluster::ServerFacts foreign = good_facts();
  foreign.system_identifier = 42;
  error = error_of([&] { lineage_of(stored.repository, "main", foreign); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);
  EXPECT_EQ(error.detail(),
            "Its system identifier is 42, that of lineage 15-1 is 7301234567890123456.");
}

class CheckDataDirectory : public testing::Test {
 protected:
  CheckDataDirectory() {
    make_directory(path("data"));
    make_directory(path("other"));
    facts_.data_directory = path("data");
  }
  std::string path(const char* name) const { return join_path(base_.path(), name); }
  Error error(const std::string& configured) {
    return error_of([&] { check_data_directory(configured, facts_); });
  }

  TemporaryDirectory base_;
  cluster::ServerFacts facts_ = good_facts();
};

TEST_F(CheckDataDirectory, TakesTheServersOwnUnlessOneIsGiven) {
  EXPECT_EQ(check_data_directory("", facts_), path("data"));
  EXPECT_EQ(check_data_directory(path("data") + "/", facts_), path("data"));
  // The same directory by another path.
  ASSERT_EQ(symlink(path("data").c_str(), path("link").c_str()), 0);
  EXPECT_EQ(check_data_directory(path("link"), facts_), path("link"));
}

TEST_F(CheckDataDirectory, RefusesAnotherDirectory) {
  Error refused = error(path("other"));
  EXPECT_EQ(refused.code(), ErrorCode::kWrongCluster);
  EXPECT_EQ(refused.message(), "\"" + path("other") + "\" is not the data directory of the server");
  EXPECT_EQ(refused.detail(), "The server's data directory is \"" + path("data") + "\".");
}

TEST_F(CheckDataDirectory, RefusesADirectoryThatIsNotOnThisHost) {
  // The server's is: then the other is a wrong one.
  EXPECT_EQ(error(path("missing")).code(), ErrorCode::kWrongCluster);
  facts_.data_directory = path("missing");
  EXPECT_EQ(error(path("missing")).code(), ErrorCode::kNotFound);
  EXPECT_EQ(error("").hint(), "Run the backup on the server's own host.");
}

TEST_F(CheckDataDirectory, NamesTheOwnerOfADirectoryThatItMayNotRead) {
  ASSERT_EQ(chmod(path("data").c_str(), 0), 0);
  Error refused({.message = ""});
  // Root may read everything: look as somebody else.
  uid_t self = geteuid();
  if (self == 0) {
    ASSERT_EQ(chmod(base_.path().c_str(), 0755), 0);
    ASSERT_EQ(seteuid(65534), 0);
  }
  refused = error("");
  if (self == 0) {
    ASSERT_EQ(seteuid(0), 0);
  }
  EXPECT_EQ(refused.code(), ErrorCode::kPermission);
  EXPECT_EQ(refused.message(), "cannot read the data directory \"" + path("data") + "\"");
  EXPECT_NE(refused.hint().find("runuser -u "), std::string::npos);
}

TEST(CheckControlFile, TellsACopyOfTheClusterFromTheServersOwnDirectory) {
  cluster::ServerFacts facts = good_facts();
  pg::ControlFile control;
  control.system_identifier = facts.system_identifier;
  control.catalog_version = facts.catalog_version;
  control.state = pg::ClusterState::kInProduction;
  control.redo_lsn = {0x5000028};
  check_control_file(control, facts, "/data");
  check_control_file(control, facts, "/data", {0x5000028});

  // A standby that was not yet told of the checkpoint, and one that was.
  Error error = error_of([&] { check_control_file(control, facts, "/data", {0x6000028}); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);
  EXPECT_NE(error.detail().find("0/5000028"), std::string::npos);
  control.state = pg::ClusterState::kInArchiveRecovery;
  error = error_of([&] { check_control_file(control, facts, "/data", {0x5000028}); });
  EXPECT_NE(error.detail().find("in archive recovery"), std::string::npos);
  // The server that is backed up is the standby itself.
  cluster::ServerFacts standby = facts;
  standby.in_recovery = true;
  check_control_file(control, standby, "/data", {0x5000028});
  control.state = pg::ClusterState::kInProduction;
  error = error_of([&] { check_control_file(control, standby, "/data", {0x5000028}); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);

  control.system_identifier = 42;
  error = error_of([&] { check_control_file(control, facts, "/data"); });
  EXPECT_EQ(error.code(), ErrorCode::kWrongCluster);
  EXPECT_NE(error.detail().find("Its system identifier is 42"), std::string::npos);
}

TEST(CheckLabel, TakesPlainTextOfAThousandCharacters) {
  check_label("");
  check_label("nightly, before the move");
  check_label(std::string(1000, 'x'));
  for (const std::string& label : {std::string(1001, 'x'), std::string("two\nlines"),
                                   std::string("caf\xC3\xA9"), std::string("tab\t")})
    EXPECT_EQ(error_of([&] { check_label(label); }).code(), ErrorCode::kUsage) << label;
}

}  // namespace
}  // namespace holdfast::backup
