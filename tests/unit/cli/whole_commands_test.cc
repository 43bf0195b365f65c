#include "cli/whole_commands.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"

namespace holdfast::cli {
namespace {

WholeCommands commands() {
  return WholeCommands({{.names = {"--config"}, .words = "--config /srv/h.toml"},
                        {.names = {"-c", "--cluster"}, .words = "-c shop"}},
                       {"init", "backup", "wal"});
}

TEST(WholeCommands, GiveEachCommandWhatThisCallWasTold) {
  const struct {
    const char* text;
    const char* whole;
  } cases[] = {
      {"Next: run \"holdfast backup\".\n",
       "Next: run \"holdfast --config /srv/h.toml -c shop backup\".\n"},
      {"holdfast init", "holdfast --config /srv/h.toml -c shop init"},
      {"Either:\n    holdfast backup list\n",
       "Either:\n    holdfast --config /srv/h.toml -c shop backup list\n"},
      {"first \"holdfast wal list\" (holdfast backup), then it",
       "first \"holdfast --config /srv/h.toml -c shop wal list\" (holdfast --config /srv/h.toml -c "
       "shop backup), then it"},
      {"runuser -u postgres -- holdfast backup",
       "runuser -u postgres -- holdfast --config /srv/h.toml -c shop backup"},
      // What it has already.
      {"begin it with \"holdfast init -c other\"",
       "begin it with \"holdfast --config /srv/h.toml init -c other\""},
      {"\"holdfast backup --cluster=other\", else \"holdfast backup\"",
       "\"holdfast --config /srv/h.toml backup --cluster=other\", else \"holdfast --config "
       "/srv/h.toml -c shop backup\""},
      {"\"holdfast -c other backup\"", "\"holdfast -c other backup\""},
      // No command of ours, or one that needs nothing.
      {"See \"holdfast backup --help\".", "See \"holdfast backup --help\"."},
      {"made by:  holdfast 0.2.0", "made by:  holdfast 0.2.0"},
      {"label:    holdfast backup", "label:    holdfast backup"},
      {"'/usr/bin/holdfast wal push %p'", "'/usr/bin/holdfast wal push %p'"},
      {"holdfast keeps it", "holdfast keeps it"},
      {"", ""},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(commands().complete(c.text), c.whole);
    EXPECT_EQ(commands().complete(c.whole), c.whole) << "twice";
  }
  EXPECT_EQ(WholeCommands().complete("\"holdfast backup\""), "\"holdfast backup\"");
}

// Whoever reads that a file of the server's WAL is to be archived is not in its pg_wal.
TEST(WholeCommands, NameAFileOfTheServersWalWithItsWholePath) {
  const TemporaryDirectory place("holdfast-test");
  const std::string data = join_path(place.path(), "the data"), wal = join_path(data, "pg_wal");
  make_directory(data);
  make_directory(wal);
  write_file_durably(join_path(wal, "00000002.history"), {});
  const std::string path = shell_quote(join_path(wal, "00000002.history"));
  const struct {
    std::string text, whole;
  } cases[] = {
      {"Archive it again: holdfast wal push 00000002.history",
       "Archive it again: holdfast wal push " + path},
      {"\"holdfast wal push pg_wal/00000002.history\" does",
       "\"holdfast wal push " + path + "\" does"},
      {"By holdfast wal push 00000002.history. Then it",
       "By holdfast wal push " + path + ". Then it"},
  };
  const char* others[] = {"holdfast wal push 00000003.history",  // another server's
                          "holdfast wal push /old/pg_wal/00000002.history",
                          "holdfast wal push from the pg_wal of a server, then holdfast wal list",
                          "holdfast wal get 00000002.history pg_wal/x"};
  WholeCommands known({}, {"wal"});
  known.set_data_directory(data);
  for (const auto& c : cases) {
    EXPECT_EQ(known.complete(c.text), c.whole);
    EXPECT_EQ(known.complete(c.whole), c.whole) << "twice";
    EXPECT_EQ(WholeCommands({}, {"wal"}).complete(c.text), c.text) << "nobody knows where";
  }
  for (const char* other : others) EXPECT_EQ(known.complete(other), other);
}

TEST(WholeCommands, StandInTheSentencesOfADocumentToo) {
  const Json document =
      Json::object()
          .set("label", "\"holdfast backup\"")
          .set("checks",
               Json::array().push(Json::object().set("hint", "Run \"holdfast backup\".")));
  EXPECT_EQ(commands().complete_sentences(document).dump(0),
            "{\"label\":\"\\\"holdfast backup\\\"\",\"checks\":[{\"hint\":\"Run \\\"holdfast "
            "--config /srv/h.toml -c shop backup\\\".\"}]}");
}

}  // namespace
}  // namespace holdfast::cli
