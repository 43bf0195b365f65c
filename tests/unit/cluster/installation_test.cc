#include "cluster/installation.h"

#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "cluster/connection.h"
#include "cluster/server_facts.h"
#include "cluster/server_process.h"
#include "support/error_of.h"

namespace holdfast::cluster {
namespace {

using test::error_of;

TEST(Installation, ReadsTheVersionThatAServerProgramPrints) {
  const struct {
    const char* output;
    std::optional<std::string> version;
  } cases[] = {
      {"postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n", "15.20"},
      {"postgres (PostgreSQL) 18.4\n", "18.4"},
      {"postgres (PostgreSQL) 19beta1\n", "19beta1"},
      {"postgres (PostgreSQL) devel\n", std::nullopt},
      {"psql (PostgreSQL) 15.20\n", std::nullopt},
      {"", std::nullopt},
  };
  for (const auto& c : cases) EXPECT_EQ(parse_postgres_version(c.output), c.version) << c.output;
}

class GivenDirectoryTest : public testing::Test {
 protected:
  GivenDirectoryTest() {
    std::string pattern = testing::TempDir() + "installation_test.XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) throw_errno("create", pattern);
    directory_ = pattern;
  }
  ~GivenDirectoryTest() override { remove_tree(directory_); }
  void make_program(std::string_view script) {
    write_file_durably(directory_ + "/postgres", as_bytes(fmt::format("#!/bin/sh\n{}\n", script)),
                       0700);
  }
  std::string directory_;
};

TEST_F(GivenDirectoryTest, IsTakenWhenItHoldsTheWantedMajor) {
  make_program("echo 'postgres (PostgreSQL) 16.14'");
  Installation installation = find_installation(16, directory_);
  EXPECT_EQ(installation.major, 16);
  EXPECT_EQ(installation.version, "16.14");
  EXPECT_EQ(installation.program("initdb"), directory_ + "/initdb");
}

TEST_F(GivenDirectoryTest, IsRefusedWithAnotherMajorOrWithoutAServer) {
  Error missing = error_of([&] { find_installation(16, directory_); });
  EXPECT_EQ(missing.code(), ErrorCode::kNotFound);
  EXPECT_EQ(missing.message(), fmt::format("no PostgreSQL server program in \"{}\"", directory_));

  make_program("exit 1");
  EXPECT_EQ(error_of([&] { find_installation(16, directory_); }).code(), ErrorCode::kNotFound);

  make_program("echo 'postgres (PostgreSQL) 15.20'");
  Error wrong = error_of([&] { find_installation(16, directory_); });
  EXPECT_EQ(wrong.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(wrong.message(),
            fmt::format("the programs in \"{}\" are those of PostgreSQL 15, not 16", directory_));
  EXPECT_EQ(wrong.hint(), "Install PostgreSQL 16, or set bindir to where it is.");
}

TEST(Installation, SaysWhereItLookedWhenThereIsNone) {
  Error error = error_of([] { find_installation(9); });
  EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  EXPECT_EQ(error.message(), "PostgreSQL 9 is not installed on this host");
  EXPECT_NE(error.detail().find("\"/usr/lib/postgresql/9/bin\" holds none"), std::string::npos)
      << error.detail();
}

TEST(AsUser, LetsNobodyRunServersAsRoot) {
  const SpawnOptions postgres{.arguments = {"/bin/postgres"}};
  if (geteuid() == 0) {
    Error error = error_of([&] { as_user(postgres, std::nullopt); });
    EXPECT_EQ(error.code(), ErrorCode::kPermission);
    EXPECT_EQ(error.message(), "\"postgres\" cannot be run as root");
    EXPECT_EQ(error_of([&] { as_user(postgres, "root"); }).code(), ErrorCode::kPermission);
    EXPECT_EQ(as_user(postgres, "nobody").arguments.front(), "setpriv");
  } else {
    EXPECT_EQ(as_user(postgres, std::nullopt).arguments, postgres.arguments);
    EXPECT_EQ(error_of([&] { as_user(postgres, "root"); }).code(), ErrorCode::kPermission);
  }
  EXPECT_EQ(error_of([&] { as_user(postgres, "no such user"); }).code(), ErrorCode::kNotFound);
}

TEST(Quoting, KeepsEveryCharacterOfANameOrText) {
  EXPECT_EQ(quote_identifier("a\"b c"), "\"a\"\"b c\"");
  EXPECT_EQ(quote_literal("it's"), "'it''s'");
  EXPECT_EQ(conninfo_pair("password", "a'b\\c d"), "password='a\\'b\\\\c d'");
}

TEST(SystemIdentifier, IsUnsignedBehindTheSignThatSqlShows) {
  EXPECT_EQ(parse_signed_system_identifier("7123456789012345678"), 7123456789012345678u);
  EXPECT_EQ(parse_signed_system_identifier("-1"), UINT64_MAX);
  EXPECT_EQ(error_of([] { parse_signed_system_identifier("x"); }).code(), ErrorCode::kInvalidText);
}

TEST(BackupRoleGrants, NameTheFunctionsOfTheMajor) {
  EXPECT_NE(backup_role_grants(14, "b").find("pg_start_backup(text, boolean, boolean)"),
            std::string::npos);
  EXPECT_NE(backup_role_grants(15, "b").find("pg_backup_start(text, boolean)"), std::string::npos);
  const std::string page = read_text_file(HOLDFAST_TESTS_DIR "/../docs/reference/rights.md");
  for (const int major : {14, 15, 16, 18})
    EXPECT_NE(page.find(backup_role_grants(major, "backup")), std::string::npos) << major;
  EXPECT_NE(backup_role_grants(15, "odd\"role").find("\"odd\"\"role\""), std::string::npos);
}

TEST(ArchiverStatus, IsFailingWhenTheLastAttemptFailed) {
  const Time earlier{std::chrono::seconds(100)};
  const Time later{std::chrono::seconds(200)};
  const struct {
    std::optional<Time> archived;
    std::optional<Time> failed;
    bool failing;
  } cases[] = {{std::nullopt, std::nullopt, false},
               {later, earlier, false},
               {earlier, later, true},
               {std::nullopt, earlier, true},
               {later, std::nullopt, false}};
  for (const auto& c : cases) {
    ArchiverStatus status;
    status.last_archived_time = c.archived;
    status.last_failed_time = c.failed;
    EXPECT_EQ(status.is_failing(), c.failing);
  }
}

}  // namespace
}  // namespace holdfast::cluster
