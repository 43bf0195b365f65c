#include "repo/lineage_choice.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;

constexpr uint64_t kOtherSystem = 42;

// "main" with its lineage 15-1, and 15-2, which somebody made later.
class LineageChosen : public testing::Test {
 protected:
  LineageChosen() {
    Lineage other = test::test_lineage();
    other.system_identifier = kOtherSystem;
    other.created = target.clock.now() + std::chrono::hours(1);
    other_ = target.repository.create_lineage(other);
  }
  void put_backup(const Lineage& lineage, const std::string& id) {
    test::make_backup(target.repository, lineage, id, test::sample_files(1), target.clock);
  }
  std::string chosen(const LineageChoice& choice) {
    return to_string(choose_lineage(target.repository, "main", choice).name);
  }
  Error refusal(const LineageChoice& choice) {
    return error_of([&] { chosen(choice); });
  }
  static std::function<std::optional<uint64_t>()> is(std::optional<uint64_t> system) {
    return [system] { return system; };
  }

  test::TestRepository target;
  const uint64_t own = test::test_lineage().system_identifier;
  Lineage other_;
  const std::string first = "20261122T082239Z-1f2e3d", second = "20261123T082239Z-2f2e3d";
};

TEST_F(LineageChosen, IsTheOneWithBackupsWhateverWasMadeLater) {
  EXPECT_EQ(chosen({}), "15-2") << "no backup at all: the newest";
  put_backup(target.lineage, first);
  EXPECT_EQ(chosen({}), "15-1");
  EXPECT_EQ(chosen({.backup = "latest"}), "15-1");
}

TEST_F(LineageChosen, IsNobodysGuessWhereTwoHaveBackups) {
  put_backup(target.lineage, first);
  put_backup(other_, second);
  const Error error = refusal({.ask_system = is(std::nullopt), .command = "holdfast restore"});
  EXPECT_EQ(error.code(), ErrorCode::kUsage);
  EXPECT_EQ(error.message(),
            "cluster \"main\" has backups in 2 lineages, and nothing tells which one is meant");
  EXPECT_EQ(error.hint(),
            "Say which is meant: holdfast restore --lineage 15-1, or holdfast restore --lineage "
            "15-2");
  EXPECT_NE(error.detail().find("Lineage 15-1 (system identifier 7301234567890123456"),
            std::string::npos)
      << error.detail();
  EXPECT_EQ(refusal({.backup = "latest"}).code(), ErrorCode::kUsage);

  EXPECT_EQ(chosen({.lineage = "15-1"}), "15-1");
  EXPECT_EQ(chosen({.ask_system = is(own)}), "15-1");
  EXPECT_EQ(chosen({.ask_system = is(kOtherSystem)}), "15-2");
  EXPECT_EQ(chosen({.lineage = "15-2", .ask_system = is(own)}), "15-2") << "a word counts most";
  // One that is of none of them tells nothing.
  EXPECT_EQ(refusal({.ask_system = is(7)}).code(), ErrorCode::kUsage);

  EXPECT_EQ(chosen({.backup = first.substr(0, 10), .ask_system = is(kOtherSystem)}), "15-1");
  EXPECT_EQ(chosen({.backup = second}), "15-2");
  EXPECT_EQ(refusal({.backup = "2026"}).message(),
            "\"2026\" is the beginning of backups of lineages 15-1 and 15-2");
}

TEST_F(LineageChosen, WithoutBackupsNamesThoseThatHaveSome) {
  put_backup(target.lineage, first);
  for (const LineageChoice& choice :
       {LineageChoice{.lineage = "15-2"}, LineageChoice{.ask_system = is(kOtherSystem)}}) {
    const Error error = refusal(choice);
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_EQ(error.message(), "lineage 15-2 of cluster \"main\" has no backup");
    EXPECT_NE(error.detail().find("has 1 backup, the last " + first), std::string::npos)
        << error.detail();
    EXPECT_EQ(error.hint(), "Say which is meant: --lineage 15-1");
  }
  const Error unknown = refusal({.lineage = "16-1"});
  EXPECT_EQ(unknown.code(), ErrorCode::kNotFound);
  EXPECT_EQ(unknown.detail(), "It has: 15-1, 15-2.");
}

}  // namespace
}  // namespace holdfast::repo
