#include "repo/configuration.h"

#include <functional>

#include <gtest/gtest.h>

namespace holdfast::repo {
namespace {

Configuration example() {
  return {.config_file = "/etc/pg/my.conf",
          .hba_file = "/data/hba-site",
          .ident_file = "/data/pg_ident.conf",
          .files = {"hba-site", "pg_ident.conf"},
          .directories = {"/etc/pg/conf.d"},
          .links = {{.path = "server.key", .target = "../key", .leads_to = "/key"}},
          .command_line = {{"archive_mode", "on"}, {"x.y", ""}},
          .archives = true,
          .of_standby = true,
          .host = "db2",
          .data_directory = "/data"};
}

TEST(Configuration, ReadsBackAllThatItWrites) {
  const std::string text = to_json(example()).dump();
  EXPECT_EQ(configuration_from_json(Json::parse(text, "x")), example());
  EXPECT_EQ(writable(example()), example());
}

std::optional<Configuration> read_spoilt(const std::function<void(Configuration&)>& spoil) {
  Configuration configuration = example();
  spoil(configuration);
  return configuration_from_json(Json::parse(to_json(configuration).dump(), "x"));
}

// A backup is not lost for a matter of form.
TEST(Configuration, PassesOverWhatIsNotOfItsShape) {
  const std::function<void(Configuration&)> spoils[] = {
      [](Configuration& c) { c.files[0] = "/etc/shadow"; },
      [](Configuration& c) { c.files[0] = "../shadow"; },
      [](Configuration& c) { c.files[0] = "a//b"; },
      [](Configuration& c) { c.directories[0] = "conf.d"; },
      [](Configuration& c) { c.links[0].path = "../x"; },
      [](Configuration& c) { c.links[0].target = ""; },
      [](Configuration& c) { c.links[0].leads_to = "key"; },
      [](Configuration& c) { c.command_line[0].first = "a b"; }};
  for (const auto& spoil : spoils) {
    const std::optional<Configuration> read = read_spoilt(spoil);
    ASSERT_TRUE(read);
    EXPECT_EQ(read->passed_over.size(), 1U);
    EXPECT_EQ(read->files.size() + read->directories.size() + read->links.size() +
                  read->command_line.size(),
              5U)
        << to_json(*read).dump();
  }
}

TEST(Configuration, IsAbsentWhereItsPlacesAreNone) {
  const std::function<void(Configuration&)> spoils[] = {
      [](Configuration& c) { c.config_file = "my.conf"; },
      [](Configuration& c) { c.hba_file = ""; },
      [](Configuration& c) { c.ident_file = "/data/../etc/shadow"; },
      [](Configuration& c) { c.data_directory = "/"; }};
  for (const auto& spoil : spoils) EXPECT_FALSE(read_spoilt(spoil));
  for (const char* text : {"1", "{}", "{\"config_file\": 7}"})
    EXPECT_FALSE(configuration_from_json(Json::parse(text, "x"))) << text;
}

TEST(Configuration, IsWrittenWithoutWhatIsNoTextOrDoesNotFit) {
  Configuration configuration = example();
  configuration.files.emplace_back("caf\xE9.conf");
  for (int i = 0; i < 2000; ++i)
    configuration.links.push_back({.path = std::to_string(i),
                                   .target = std::string(1000, 't'),
                                   .leads_to = "/" + std::string(1000, 'l')});
  const Configuration written = writable(configuration);
  EXPECT_LE(to_json(written).dump().size(), kMaxConfigurationBytes);
  EXPECT_EQ(written.files, example().files);
  EXPECT_FALSE(written.links.empty());
  EXPECT_EQ(written.links[0], example().links[0]);
  EXPECT_EQ(written.passed_over.size(), 1 + configuration.links.size() - written.links.size());
}

}  // namespace
}  // namespace holdfast::repo
