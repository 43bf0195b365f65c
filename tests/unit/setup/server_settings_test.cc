#include "setup/server_settings.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::setup {
namespace {

using test::error_of;

const std::string kOurs = "/usr/bin/holdfast -c main wal push %p";
const std::string kPinned = "/usr/bin/holdfast -c main --repo-id 01 wal push %p";
const Bytes16 kId{.bytes = {std::byte{1}}};
const Bytes16 kOtherId{.bytes = {std::byte{2}}};

ArchiveSettings settings(const std::string& level, const std::string& mode,
                         const std::string& command) {
  return {.wal_level = {.running = level, .configured = {}},
          .archive_mode = {.running = mode, .configured = {}},
          .archive_command = {.running = command, .configured = {}},
          .archive_library = ""};
}
std::vector<std::string> texts(const std::vector<SettingChange>& changes) {
  std::vector<std::string> texts;
  for (const SettingChange& change : changes)
    texts.push_back(change.name + ": " + change.before + " -> " + change.after +
                    (change.needs_restart ? " (restart)" : ""));
  return texts;
}
using Texts = std::vector<std::string>;

// What `refuse_foreign_archiving` is told: cluster shop of /r, and where other commands go.
InitOptions shop() {
  return {.cluster = "shop",
          .conninfo = "",
          .pgdata = "",
          .key = {},
          .archive_command = [](const std::optional<Bytes16>& id) { return id ? kPinned : kOurs; },
          .repository = "/r",
          .place_of = [](const std::string& command) -> std::optional<ArchivePlace> {
            if (command.find("-c shop ") != std::string::npos)
              return ArchivePlace{.cluster = "shop", .repository = "/r"};
            if (command.find("-c other ") != std::string::npos)
              return ArchivePlace{.cluster = "other", .repository = "/r"};
            if (command.find("--repo-id 01 ") != std::string::npos)
              return ArchivePlace{.cluster = "shop", .repository = "/r", .id = kId};
            if (command.find("--repo-id 02 ") != std::string::npos)
              return ArchivePlace{.cluster = "shop", .repository = "/r", .id = kOtherId};
            if (command.find("--repo /s ") != std::string::npos)
              return ArchivePlace{.cluster = "shop", .repository = "/s"};
            return std::nullopt;
          },
          .typed_command = "holdfast -c shop init"};
}

TEST(PlanSettings, SetsWhatIsMissingAndLowersNothing) {
  const struct {
    ArchiveSettings settings;
    Texts expected;
  } cases[] = {
      {settings("minimal", "off", ""),
       {"wal_level: minimal -> replica (restart)", "archive_mode: off -> on (restart)",
        "archive_command:  -> " + kOurs}},
      {settings("replica", "on", kOurs), {}},
      {settings("logical", "always", kOurs), {}},
      {settings("logical", "on", ""), {"archive_command:  -> " + kOurs}},
      {settings("replica", "off", kOurs), {"archive_mode: off -> on (restart)"}},
      {settings("replica", "on", "holdfast wal push %p"),
       {"archive_command: holdfast wal push %p -> " + kOurs}},
  };
  for (const auto& c : cases) {
    SettingsPlan plan = plan_settings(c.settings, {.text = kOurs});
    EXPECT_EQ(texts(plan.to_make), c.expected);
    EXPECT_TRUE(plan.to_restart.empty());
  }
}

TEST(PlanSettings, SeesWhatIsSetAlreadyAndWaitsForARestart) {
  ArchiveSettings waiting = settings("minimal", "off", "");
  waiting.wal_level.configured = "logical";
  waiting.archive_mode.configured = "on";
  waiting.archive_command.configured = kOurs;
  SettingsPlan plan = plan_settings(waiting, {.text = kOurs});
  EXPECT_TRUE(plan.to_make.empty());
  EXPECT_EQ(texts(plan.to_restart), (Texts{"wal_level: minimal -> logical (restart)",
                                           "archive_mode: off -> on (restart)"}));
}

TEST(PlanSettings, SeesThatAFileTurnsArchivingOffAtTheNextRestart) {
  for (const char* off : {"off", "false", "no", "0"}) {
    ArchiveSettings turning = settings("replica", "on", kOurs);
    turning.archive_mode.configured = off;
    EXPECT_EQ(texts(plan_settings(turning, {.text = kOurs}).to_make),
              Texts{std::string("archive_mode: ") + off + " -> on (restart)"});
  }
}

// No file and no restart changes them: to say "restart the server" would be said for ever.
TEST(RefuseFixedSettings, NamesASettingOfTheCommandLineAndTheWayToChangeIt) {
  ArchiveSettings fixed = settings("replica", "off", "");
  fixed.archive_mode.on_command_line = true;
  fixed.archive_mode.configured = "on";
  EXPECT_EQ(fixed.archive_mode.next(), "off");
  EXPECT_TRUE(plan_settings(fixed, {.text = kOurs}).to_restart.empty());
  const Error error = error_of([&] { refuse_fixed_settings(fixed, {.text = kOurs}); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.message(), "archive_mode is set on the server's command line");
  EXPECT_NE(error.hint().find("-c archive_mode=..."), std::string::npos) << error.hint();
  EXPECT_NE(error.hint().find("archive_mode=on"), std::string::npos) << error.hint();

  fixed.archive_mode.running = "on";
  refuse_fixed_settings(fixed, {.text = kOurs});
  ArchiveSettings foreign = settings("replica", "on", "cp %p /there/%f");
  foreign.archive_command.on_command_line = true;
  EXPECT_EQ(
      error_of([&] { refuse_foreign_archiving(foreign, shop(), kId); }).hint().find("--replace"),
      std::string::npos);
}

TEST(IsOurArchiveCommand, KnowsTheProgramByItsName) {
  for (const char* ours :
       {"holdfast wal push %p", "/usr/local/bin/holdfast --repo /r wal push \"%p\"",
        "'/opt/hold fast/holdfast' wal push %p", "  holdfast -c main wal push %p"}) {
    // A quoted path with a blank is cut at the blank: taken for foreign, which is the safe side.
    bool has_blank_in_path = std::string_view(ours).find("hold fast") != std::string_view::npos;
    EXPECT_EQ(is_our_archive_command(ours), !has_blank_in_path) << ours;
  }
  for (const char* foreign :
       {"", "cp %p /archive/%f", "holdfast", "holdfast wal get %f %p",
        "/usr/bin/holdfast2 wal push %p", "test -f x && holdfast wal push %p"})
    EXPECT_FALSE(is_our_archive_command(foreign)) << foreign;
}

TEST(RefuseForeignArchiving, MovesNoArchivingThatGoesElsewhereUnlessItIsToldTo) {
  for (const char* same : {"", kOurs.c_str(), "/old/holdfast -c shop wal push %p"})
    refuse_foreign_archiving(settings("replica", "on", same), shop(), kId);

  const struct {
    const char *command, *message, *detail;
  } cases[] = {
      {"cp %p '/a b/%f'", "the server archives by another command already", ""},
      {"holdfast -c other wal push %p", "the server archives into cluster \"other\"",
       " It archives into cluster \"other\" of /r; this would be cluster \"shop\" of /r, and "
       "nothing more would come into that one."},
      {"holdfast --repo /s wal push %p", "the server archives into another repository",
       " It archives into cluster \"shop\" of /s; this would be cluster \"shop\" of /r, and "
       "nothing more would come into that one."},
      {"holdfast --config /gone wal push %p", "the server archives by another command already",
       " Where it archives to, and what else it does, cannot be told from here."},
  };
  for (const auto& c : cases) {
    for (const char* mode : {"on", "off"}) {
      const ArchiveSettings there = settings("replica", mode, c.command);
      const Error error = error_of([&] { refuse_foreign_archiving(there, shop(), kId); });
      EXPECT_EQ(error.code(), ErrorCode::kConflict);
      EXPECT_EQ(error.message(), c.message);
      EXPECT_EQ(error.detail(),
                "archive_command is \"" + std::string(c.command) + "\"." + c.detail);
      EXPECT_NE(error.hint().find("run: holdfast -c shop init --configure-server --replace"),
                std::string::npos)
          << error.hint();
      InitOptions told = shop();
      told.replace = true;
      refuse_foreign_archiving(there, told, kId);
    }
  }
}

// What lies in the place of the repository that the command names is another one.
TEST(RefuseForeignArchiving, TellsRepositoriesAtOnePlaceByTheirIds) {
  const ArchiveSettings of_this = settings("replica", "on", kPinned);
  const ArchiveSettings of_other =
      settings("replica", "on", "/usr/bin/holdfast -c main --repo-id 02 wal push %p");
  const std::string other(32, '0');
  refuse_foreign_archiving(of_this, shop(), kId);
  const std::optional<Bytes16> ids[] = {kId, std::nullopt};
  for (const std::optional<Bytes16>& id : ids) {
    const Error error = error_of([&] { refuse_foreign_archiving(of_other, shop(), id); });
    EXPECT_EQ(error.code(), ErrorCode::kConflict);
    EXPECT_EQ(error.message(), "the server archives into another repository");
    EXPECT_NE(error.detail().find(fmt::format(
                  "It archives into cluster \"shop\" of /r with the id 02{}; this would be cluster "
                  "\"shop\" of /r{}, and",
                  other.substr(2), id ? " with the id 01" + other.substr(2) : "")),
              std::string::npos)
        << error.detail();
    InitOptions anew = shop();
    anew.new_repository = true;
    refuse_foreign_archiving(of_other, anew, id);
  }
}

// An earlier version named no repository. On the command line only the user can change that.
TEST(PlanSettings, NamesTheRepositoryInACommandThatDoesNotWhereItCan) {
  const WantedCommand wanted = wanted_command(shop(), kId);
  EXPECT_EQ(wanted.text, kPinned);
  ArchiveSettings earlier = settings("replica", "on", kOurs);
  EXPECT_EQ(texts(plan_settings(earlier, wanted).to_make),
            Texts{"archive_command: " + kOurs + " -> " + kPinned});
  refuse_fixed_settings(earlier, wanted);
  EXPECT_TRUE(plan_settings(settings("replica", "on", kPinned), wanted).to_make.empty());
  earlier.archive_command.on_command_line = true;
  EXPECT_TRUE(plan_settings(earlier, wanted).to_make.empty());
  refuse_fixed_settings(earlier, wanted);
}

TEST(RefuseForeignArchiving, TakesALibraryOutOnlyWhenItIsToldTo) {
  ArchiveSettings by_library = settings("replica", "on", "");
  by_library.archive_library = "basic_archive";
  Error error = error_of([&] { refuse_foreign_archiving(by_library, shop(), kId); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_EQ(error.detail(), "archive_library is \"basic_archive\".");
  EXPECT_NE(error.hint().find("--replace"), std::string::npos) << error.hint();
  EXPECT_EQ(texts(plan_settings(by_library, {.text = kOurs}, true).to_make),
            (Texts{"archive_command:  -> " + kOurs, "archive_library: basic_archive -> "}));

  by_library.library_on_command_line = true;
  error = error_of([&] { refuse_fixed_settings(by_library, {.text = kOurs}, true); });
  EXPECT_NE(error.hint().find("command line"), std::string::npos) << error.hint();
  EXPECT_EQ(error.hint().find("--replace"), std::string::npos) << error.hint();
}

}  // namespace
}  // namespace holdfast::setup
