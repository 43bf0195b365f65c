#include "config/settings.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "support/error_of.h"

namespace holdfast::config {
namespace {

using test::error_of;

class SettingsTest : public ::testing::Test {
 protected:
  std::string file(std::string_view text) {
    const std::string path = join_path(place_.path(), "holdfast.toml");
    write_file_durably(path, as_bytes(text));
    return path;
  }
  std::string place(std::string_view name) const { return join_path(place_.path(), name); }

 private:
  TemporaryDirectory place_;
};

constexpr std::string_view kTwoClusters = R"(jobs = 4
[repo]
url = "/srv/backup"
[cluster.main]
conninfo = "host=/run/postgresql"
[cluster.shop]
pgdata = "/data/shop"
)";

TEST_F(SettingsTest, TheCommandLineWinsThenTheEnvironmentThenTheFileThenTheDefault) {
  Sources sources{.config_file = file("[repo]\nurl = \"/from/file\"\ncompression = \"lz4\"\n")};
  EXPECT_EQ(Settings::load(sources).text("repo.url"), "/from/file");
  sources.environment["HOLDFAST_REPO"] = "/from/environment";
  EXPECT_EQ(Settings::load(sources).text("repo.url"), "/from/environment");
  sources.options["repo.url"] = "/from/option";
  const Settings settings = Settings::load(sources);
  EXPECT_EQ(settings.text("repo.url"), "/from/option");
  EXPECT_EQ(settings.value("repo.url").origin, Origin::kOption);
  EXPECT_EQ(settings.text("repo.compression"), "lz4");
  EXPECT_EQ(settings.text("jobs"), "2");
}

TEST_F(SettingsTest, AFileNamedByTheEnvironmentIsRead) {
  Sources sources;
  sources.environment["HOLDFAST_CONFIG"] = file("[repo]\nurl = \"/there\"\n");
  const Settings settings = Settings::load(sources);
  EXPECT_EQ(settings.text("repo.url"), "/there");
  EXPECT_EQ(settings.config_file(), sources.environment["HOLDFAST_CONFIG"]);
}

TEST_F(SettingsTest, ANamedFileThatIsAbsentIsAnError) {
  const Error error = error_of([&] { Settings::load({.config_file = place("none.toml")}); });
  EXPECT_EQ(error.code(), ErrorCode::kConfiguration);
  EXPECT_EQ(error.message(), "configuration file \"" + place("none.toml") + "\" does not exist");
}

TEST_F(SettingsTest, OneConfiguredClusterIsChosenByItself) {
  EXPECT_EQ(Settings::load({.config_file = file("[cluster.shop]\npgdata = \"/d\"\n")}).cluster(),
            "shop");
  EXPECT_EQ(Settings::load({.config_file = file("jobs = 1\n")}).cluster(), "main");
}

TEST_F(SettingsTest, TwoConfiguredClustersNeedAChoice) {
  Sources sources{.config_file = file(kTwoClusters)};
  const Settings unchosen = Settings::load(sources);
  EXPECT_FALSE(unchosen.has_cluster());
  EXPECT_EQ(unchosen.text("cluster.pgdata"), "");
  const Error error = error_of([&] { unchosen.cluster(); });
  EXPECT_EQ(error.message(), "no cluster was chosen");
  EXPECT_NE(error.detail().find("main, shop"), std::string::npos);
  EXPECT_EQ(error.hint(), "Choose one with --cluster NAME.");

  sources.options["cluster"] = "shop";
  const Settings settings = Settings::load(sources);
  EXPECT_EQ(settings.text("cluster.pgdata"), "/data/shop");
  EXPECT_EQ(settings.text("cluster.conninfo"), "");
  EXPECT_EQ(settings.integer("jobs"), 4);
}

TEST_F(SettingsTest, AnUnknownKeyIsRefusedWithItsPlaceAndTheNearest) {
  const struct {
    const char* text;
    const char* key;
    const char* place;
    const char* nearest;
  } cases[] = {
      {"job = 2\n", "job", "line 1, column 7", "jobs"},
      {"[repo]\nurll = \"/x\"\n", "repo.urll", "line 2, column 8", "repo.url"},
      {"[cluster.main]\npgdta = \"/x\"\n", "cluster.pgdta", "line 2, column 9", "cluster.pgdata"}};
  for (const auto& c : cases) {
    const Error error = error_of([&] { Settings::load({.config_file = file(c.text)}); });
    EXPECT_EQ(error.code(), ErrorCode::kConfiguration);
    EXPECT_NE(error.message().find(c.key), std::string::npos) << error.message();
    EXPECT_NE(error.detail().find(c.place), std::string::npos) << error.detail();
    EXPECT_EQ(error.hint(), std::string("The nearest that is known is \"") + c.nearest + "\".");
  }
}

TEST_F(SettingsTest, TextThatIsNoTomlIsRefusedWithLineAndColumn) {
  const Error error = error_of([&] { Settings::load({.config_file = file("[repo]\nurl = \n")}); });
  EXPECT_EQ(error.code(), ErrorCode::kConfiguration);
  EXPECT_NE(error.message().find("line 2"), std::string::npos) << error.message();
}

TEST_F(SettingsTest, NumbersOutOfRangeSayWhereTheyCameFrom) {
  for (const char* text : {"0", "65", "x", "2x", ""}) {
    Sources sources;
    sources.options["jobs"] = text;
    const Error error = error_of([&] { Settings::load(sources); });
    EXPECT_EQ(error.message(), std::string("invalid value \"") + text + "\" for \"jobs\"");
    EXPECT_EQ(error.detail(), "It came from the option --jobs.");
    EXPECT_EQ(error.hint(), "Give a whole number from 1 to 64.");
  }
}

TEST_F(SettingsTest, AnythingElseThatIsMalformedIsRefusedToo) {
  for (const auto& [key, text] : std::map<std::string, std::string>{
           {"repo.grace", "soon"}, {"repo.id", "12"}, {"repo.compression", "gzip"}}) {
    Sources sources;
    sources.options[key] = text;
    const Error error = error_of([&] { Settings::load(sources); });
    EXPECT_EQ(exit_status(error.code()), 2) << key;
    EXPECT_NE(error.message().find(text), std::string::npos) << error.message();
    ASSERT_EQ(error.context().size(), 1u);
    EXPECT_NE(error.context()[0].find(key), std::string::npos) << error.context()[0];
  }
}

TEST_F(SettingsTest, APassphraseIsTheFirstLineOfItsFile) {
  write_file_durably(place("secret"), as_bytes("correct horse\r\nsecond line\n"));
  Sources sources;
  sources.options["repo.passphrase_file"] = place("secret");
  EXPECT_EQ(Settings::load(sources).key().passphrase, "correct horse");
  write_file_durably(place("secret"), as_bytes("\n"));
  EXPECT_EQ(error_of([&] { Settings::load(sources).key(); }).code(), ErrorCode::kConfiguration);
}

TEST_F(SettingsTest, APassphraseFileThatEverybodyCanReadIsRefused) {
  write_file_durably(place("secret"), as_bytes("correct horse\n"));
  ASSERT_EQ(chmod(place("secret").c_str(), 0644), 0);
  Sources sources;
  sources.options["repo.passphrase_file"] = place("secret");
  const Error error = error_of([&] { Settings::load(sources).key(); });
  EXPECT_EQ(error.code(), ErrorCode::kPermission);
  EXPECT_EQ(error.hint(), "Run: chmod 0600 " + place("secret"));
  ASSERT_EQ(chmod(place("secret").c_str(), 0640), 0);
  EXPECT_EQ(Settings::load(sources).key().passphrase, "correct horse");
}

TEST_F(SettingsTest, APassphraseCommandIsRunByTheShell) {
  Sources sources{.config_file = file("[repo]\npassphrase_command = \"echo it is $((40 + 2))\"\n")};
  EXPECT_EQ(Settings::load(sources).key().passphrase, "it is 42");
  Sources failing{.config_file = file("[repo]\npassphrase_command = \"echo no >&2; exit 3\"\n")};
  const Error error = error_of([&] { Settings::load(failing).key(); });
  EXPECT_NE(error.message().find("exited with status 3"), std::string::npos) << error.message();
  EXPECT_EQ(error.detail(), "no\n");
}

TEST_F(SettingsTest, TwoKeysFromOnePlaceAreRefusedAndAnOptionReplacesTheFilesKey) {
  write_file_durably(place("secret"), as_bytes("words\n"));
  Sources sources{.config_file =
                      file("[repo]\npassphrase_command = \"echo x\"\npassphrase_file = \"" +
                           place("secret") + "\"\n")};
  EXPECT_EQ(error_of([&] { Settings::load(sources).key(); }).message(),
            "the repository's key is given twice");
  sources.config_file = file("[repo]\npassphrase_command = \"exit 1\"\n");
  sources.options["repo.passphrase_file"] = place("secret");
  EXPECT_EQ(Settings::load(sources).key().passphrase, "words");
}

TEST_F(SettingsTest, TheServersCommandLineNamesWhatDecidesAndDoublesPercentSigns) {
  Sources sources{.config_file = file(kTwoClusters)};
  sources.options["cluster"] = "shop";
  sources.options["repo.url"] = "/srv/100% safe";
  sources.environment["HOLDFAST_KEY_FILE"] = "/etc/holdfast/key";
  EXPECT_EQ(Settings::load(sources).command_line_for_server(),
            "--config " + sources.config_file +
                " --repo '/srv/100%% safe' --key-file /etc/holdfast/key --cluster shop");
}

TEST_F(SettingsTest, ARepositoryIdIsThirtyTwoHexadecimalDigits) {
  Sources sources;
  EXPECT_FALSE(Settings::load(sources).repository_id());
  sources.options["repo.id"] = "00112233445566778899aabbccddeeff";
  EXPECT_EQ(to_hex(Settings::load(sources).repository_id()->view()),
            "00112233445566778899aabbccddeeff");
  sources.options["repo.id"] = "0011";
  EXPECT_EQ(error_of([&] { Settings::load(sources).repository_id(); }).code(),
            ErrorCode::kConfiguration);
}

TEST(SettingsReference, ThePageIsMadeFromTheTable) {
  EXPECT_EQ(read_text_file(HOLDFAST_TESTS_DIR "/../docs/reference/settings.md"),
            settings_reference())
      << "write settings_reference() to docs/reference/settings.md";
}

}  // namespace
}  // namespace holdfast::config
