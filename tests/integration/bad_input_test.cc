// What a person reads who has typed something wrong, or whose server, repository or directory is
// not as it should be: the whole of message, DETAIL and HINT, and the exit status.
//
// What differs from run to run is masked: the scene's directory ($DIR), ids of backups ($ID),
// system identifiers ($SYSTEM, $OTHER), WAL locations ($LSN), segments ($SEGMENT), times ($TIME),
// process ids
// ($PID).
#include <algorithm>
#include <memory>
#include <regex>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

struct Said {
  int status = 0;
  std::string text;  // stderr, masked
  bool operator==(const Said&) const = default;
};
void PrintTo(const Said& said, std::ostream* out) {
  *out << "exit status " << said.status << "\n" << said.text;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

// A scene with one backup, whose server's system identifier is masked as $SYSTEM.
class BadScene : public RecoveryScene {
 public:
  explicit BadScene(const Options& options) : RecoveryScene(options) {
    system_ = server().value("SELECT system_identifier FROM pg_control_system()");
  }

  // -q: words of progress are no part of the answer.
  Said say(std::vector<std::string> words, const std::string& in = {}) {
    for (std::string& word : words) word = replaced(word, "$DIR", directory());
    words.insert(words.begin(), {"-q"});
    if (std::ranges::find(words, "--config") == words.end())
      words.insert(words.begin(), {"--config", config_file()});
    const Captured ran = holdfast(words, in);
    return {.status = ran.status.signalled ? -ran.status.code : ran.status.code,
            .text = masked(ran.err)};
  }
  std::string masked(std::string text) const {
    const std::pair<const char*, const char*> masks[] = {
        {"\\b\\d{8}T\\d{6}Z-[0-9a-f]{6}\\b", "$$ID"},
        {"\\b[0-9A-F]{24}\\b", "$$SEGMENT"},
        {"\\b[0-9]{19}\\b", "$$OTHER"},
        {"\\b[0-9A-F]/[0-9A-F]{3,8}\\b", "$$LSN"},
        {"\\b20\\d\\d-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d[.]\\d+( UTC|[+]00)", "$$TIME"},
        {"\\b[0-9a-f]{32}\\b", "$$HEX"},
        {"process id is [0-9]+", "process id is $$PID"},
        {"--pgdata \\S+ --conninfo '.*' init", "$$SERVER init"},
    };
    text = replaced(replaced(std::move(text), system_, "$SYSTEM"), directory(), "$DIR");
    for (const auto& [expression, mask] : masks)
      text = std::regex_replace(text, std::regex(expression), mask);
    return text;
  }

 private:
  std::string system_;
};

// --- Everything is as it should be, but the words -----------------------------------------------

struct Row {
  const char* name;
  std::vector<std::string> words;
  int status;
  const char* text;
};
void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class BadWords : public testing::TestWithParam<Row> {
 protected:
  static void TearDownTestSuite() { scene_.reset(); }
  static BadScene& scene() {
    if (!scene_) {
      scene_ = std::make_unique<BadScene>(RecoveryScene::Options{.wal_segment_mib = 1});
      scene_->must({"backup"});
      scene_->archive_current_segment();
      write_file_durably(scene_->path("no.toml"), as_bytes("[repo\n"));
      write_file_durably(scene_->path("unknown.toml"), as_bytes("[repo]\nurll = \"x\"\n"));
      write_file_durably(scene_->path("two.toml"),
                         as_bytes("[repo]\nurl = \"/x\"\n[cluster.a]\n[cluster.b]\n"));
      write_file_durably(scene_->path("empty"), {});
      write_file_durably(scene_->path("key.of.another"), as_bytes(std::string(32, 'k')));
      write_file_durably(scene_->path("no.key"), as_bytes("hello\n"));
      write_file_durably(scene_->path("open.key"), as_bytes(std::string(32, 'k')));
      EXPECT_EQ(chmod(scene_->path("open.key").c_str(), 0644), 0);
      make_directory(scene_->path("full"));
      write_file_durably(scene_->path("full/file"), {});
    }
    return *scene_;
  }
  static std::unique_ptr<BadScene> scene_;
};
std::unique_ptr<BadScene> BadWords::scene_;

TEST_P(BadWords, AreAnsweredByWhatIsWrongAndWhatToDo) {
  const Row& row = GetParam();
  EXPECT_EQ(scene().say(row.words), (Said{row.status, row.text}));
  EXPECT_FALSE(lstat_if_exists(scene().path("new"))) << "something was made";
}

const Row kRows[] = {
    // The command line.
    {"UnknownCommand", {"restor"}, 2, R"(ERROR:  unknown command "restor"
HINT:  Did you mean "holdfast restore"? See "holdfast --help".
)"},
    {"UnknownOption", {"backup", "--no-such"}, 2, R"(ERROR:  unknown option "--no-such"
HINT:  See "holdfast backup --help".
)"},
    {"UnknownOptionWithAValue",
     {"backup", "--jbos", "3"},
     2,
     R"(ERROR:  unknown option "--jbos"
HINT:  Did you mean "--jobs"? See "holdfast backup --help".
)"},
    {"UnknownOptionOfArchiveCommand",
     {"wal", "push", "--look-ahed", "3", "x"},
     1,
     R"(ERROR:  unknown option "--look-ahed"
HINT:  Did you mean "--look-ahead"? See "holdfast wal push --help".
)"},
    {"StrayWord", {"backup", "nonsense"}, 2, R"(ERROR:  unexpected argument "nonsense"
HINT:  See "holdfast backup --help".
)"},
    {"StrayWordOfInfo", {"info", "extra"}, 2, R"(ERROR:  unexpected argument "extra"
HINT:  See "holdfast info --help".
)"},
    {"StrayWordOfInit", {"init", "extra"}, 2, R"(ERROR:  unexpected argument "extra"
HINT:  See "holdfast init --help".
)"},
    {"StrayWordOfWalList", {"wal", "list", "extra"}, 2, R"(ERROR:  unexpected argument "extra"
HINT:  See "holdfast wal list --help".
)"},
    {"StrayWordOfBackupList",
     {"backup", "list", "extra"},
     2,
     R"(ERROR:  unexpected argument "extra"
HINT:  See "holdfast backup list --help".
)"},
    {"LossOfADrillToAMoment",
     {"drill", "--rpo", "1m", "--to-immediate"},
     2,
     R"(ERROR:  --rpo goes with a drill to the end of the archived WAL
DETAIL:  Another target leaves later commits out on purpose.
HINT:  Leave out --rpo or the target.
)"},
    {"DestructionThatIsKept",
     {"drill", "--destroy", "--keep"},
     2,
     R"(ERROR:  --destroy brings back all that is archived
DETAIL:  It goes with no target, and not with --keep.
HINT:  See "holdfast drill --help".
)"},
    {"DestructionWithoutADrill",
     {"drill", "--destroy", "--confirm", "main"},
     2,
     R"(ERROR:  no drill of cluster "main" has passed within the last day
DETAIL:  The cluster is destroyed only when it was shown to come back.
HINT:  Run "holdfast --config $DIR/holdfast.toml drill" first.
)"},
    {"ConfirmationOfNothing",
     {"drill", "--confirm", "main"},
     2,
     R"(ERROR:  --confirm goes with --destroy
HINT:  See "holdfast drill --help".
)"},
    {"NoDrillToShow", {"drill", "show", "latest"}, 1, R"(ERROR:  cluster "main" has no drill
DETAIL:  None is kept in the repository.
HINT:  Run "holdfast --config $DIR/holdfast.toml drill".
)"},
    {"DrillOfNoDuration", {"drill", "--rto", "soon"}, 2, R"(ERROR:  invalid duration "soon"
DETAIL:  A duration is a number followed by a unit.
HINT:  Write a number and a unit (ms, s, min, h, days, weeks), for example 90s, 5m, 24h, 14 days or "1 h 30 min".
)"},
    {"StrayWordOfDemo", {"demo", "extra"}, 2, R"(ERROR:  unexpected argument "extra"
HINT:  See "holdfast demo --help".
)"},
    {"NoSubcommand", {"wal"}, 2, R"(ERROR:  a subcommand is required
HINT:  See "holdfast wal --help".
)"},
    {"NoValue", {"info", "--jobs"}, 2, R"(ERROR:  option --jobs needs a value
HINT:  See "holdfast info --help".
)"},
    {"OptionTwice",
     {"info", "--config", "a", "--config", "b"},
     2,
     R"(ERROR:  option --config was given more than once
HINT:  See "holdfast info --help".
)"},
    {"WrongChoice",
     {"backup", "--checkpoint", "slow"},
     2,
     R"(ERROR:  --checkpoint: "slow" is not one of fast, spread
HINT:  See "holdfast backup --help".
)"},
    {"WrongProgress",
     {"info", "--progress", "fast"},
     2,
     R"(ERROR:  --progress: "fast" is not one of auto, bar, lines, json, none
HINT:  See "holdfast info --help".
)"},
    {"WrongNumber", {"backup", "--jobs", "0"}, 2, R"(ERROR:  invalid value "0" for "jobs"
DETAIL:  It came from the option --jobs.
HINT:  Give a whole number from 1 to 64.
)"},
    {"WrongDuration",
     {"backup", "--archive-timeout", "soon"},
     2,
     R"(ERROR:  invalid duration "soon"
DETAIL:  A duration is a number followed by a unit.
HINT:  Write a number and a unit (ms, s, min, h, days, weeks), for example 90s, 5m, 24h, 14 days or "1 h 30 min".
)"},
    {"WrongLabel", {"backup", "--label", "two\nlines"}, 2, R"(ERROR:  invalid backup label
DETAIL:  A label is at most 1000 printable ASCII characters.
)"},
    {"WrongCompression",
     {"backup", "--compression", "magic"},
     2,
     R"(ERROR:  invalid compression "magic"
DETAIL:  No such compression is known.
HINT:  Write zstd, lz4 or none; zstd takes a level from -7 to 19 and lz4 one from 0 to 12, as in "zstd:3".
CONTEXT:  reading "repo.compression" from the option --compression
)"},
    {"WrongClusterName", {"info", "-c", "a/b"}, 2, R"(ERROR:  invalid cluster name "a/b"
DETAIL:  A name has 1 to 63 characters: lower-case letters, digits, "_" and "-", beginning with a letter or digit.
HINT:  Choose a name such as "main" or "billing-15".
)"},
    {"EncryptWithoutKey",
     {"init", "--encrypt", "--repo", "$DIR/new"},
     2,
     R"(ERROR:  --encrypt needs a key
DETAIL:  Neither key_file nor passphrase_file nor passphrase_command is set.
HINT:  Name a key file, which is made if it does not exist: --key-file FILE.
)"},
    {"NoBackupId", {"backup", "show"}, 2, R"(ERROR:  ID is required
HINT:  See "holdfast backup show --help".
)"},
    {"NoDirectoryToFinish", {"finish"}, 2, R"(ERROR:  DIR is required
HINT:  See "holdfast finish --help".
)"},

    {"ExportToNowhere", {"backup", "export", "latest"}, 2, R"(ERROR:  --tar is required
HINT:  See "holdfast backup export --help".
)"},
    {"ExportIntoOtherFiles",
     {"backup", "export", "latest", "--tar", "$DIR/full"},
     1,
     R"(ERROR:  "$DIR/full" is not an empty directory
HINT:  Name a directory that does not exist or is empty, or - for stdout.
)"},
    {"ExportOfNoBackup",
     {"backup", "export", "nope", "--tar", "$DIR/new"},
     1,
     R"(ERROR:  cluster "main" has no backup "nope"
DETAIL:  It has 1 backup(s); nearest: "$ID".
HINT:  Give a backup's id, the beginning of one, or "latest". "holdfast --config $DIR/holdfast.toml backup list" shows them.
)"},
    {"NoDirectoryToSalvage", {"wal", "salvage"}, 2, R"(ERROR:  DIR is required
HINT:  See "holdfast wal salvage --help".
)"},
    {"NothingToSalvage",
     {"wal", "salvage", "$DIR/new"},
     1,
     R"(ERROR:  there is no directory "$DIR/new"
HINT:  Name the data directory of the server that is gone, or its pg_wal, or a copy of either.
)"},
    {"NoWalToSalvage",
     {"wal", "salvage", "$DIR/full"},
     1,
     R"(ERROR:  "$DIR/full" holds no WAL
DETAIL:  It has neither a directory "pg_wal" nor a WAL file.
HINT:  Name the data directory of the server that is gone, or its pg_wal, or a copy of either.
)"},
    {"SalvageOfARunningServer",
     {"wal", "salvage", "$DIR/data"},
     5,
     R"(ERROR:  a PostgreSQL server is running on "$DIR/data"
DETAIL:  Its process id is $PID.
HINT:  Stop it before salvaging the rest of its WAL: pg_ctl -D $DIR/data stop, or systemctl stop postgresql@<version>-<cluster>.
)"},
    {"TablespaceWithoutItsPlace",
     {"restore", "--into", "$DIR/new", "--tablespace", "/srv/fast"},
     2,
     R"(ERROR:  invalid value "/srv/fast" for --tablespace
DETAIL:  It is the tablespace's recorded path or its oid, an equals sign, and the new directory.
HINT:  Write --tablespace OLD=NEW, for example --tablespace /srv/fast=/srv/fast2 or --tablespace 16384=/srv/fast2.
)"},
    {"TablespaceAtARelativePlace",
     {"restore", "--into", "$DIR/new", "--tablespace", "/srv/fast=fast2"},
     2,
     R"(ERROR:  the new place "fast2" of a tablespace is relative
DETAIL:  The server finds a tablespace by its absolute path.
HINT:  Write --tablespace OLD=NEW, for example --tablespace /srv/fast=/srv/fast2 or --tablespace 16384=/srv/fast2.
)"},
    {"NoSuchTablespace",
     {"restore", "--into", "$DIR/new", "--tablespace", "16384=/srv/fast2"},
     1,
     R"(ERROR:  backup $ID has no tablespace "16384"
DETAIL:  It has no tablespace beside the built-in ones.
HINT:  Write --tablespace OLD=NEW, for example --tablespace /srv/fast=/srv/fast2 or --tablespace 16384=/srv/fast2.
)"},

    // The configuration.
    {"NoConfigFile",
     {"info", "--config", "$DIR/nowhere.toml"},
     2,
     R"(ERROR:  configuration file "$DIR/nowhere.toml" does not exist
HINT:  Name an existing file with --config or HOLDFAST_CONFIG, or leave both out.
)"},
    {"NoToml",
     {"info", "--config", "$DIR/no.toml"},
     2,
     R"(ERROR:  configuration file "$DIR/no.toml" cannot be used: line 1, column 6
DETAIL:  Error while parsing table header: expected ']', saw '\n'.
HINT:  It is TOML: sections such as [repo] and [cluster.main], and below them lines such as url = "/var/lib/holdfast". "holdfast help" names the settings.
)"},
    {"UnknownSetting",
     {"info", "--config", "$DIR/unknown.toml"},
     2,
     R"(ERROR:  unknown setting "repo.urll" in configuration file "$DIR/unknown.toml"
DETAIL:  It stands in line 2, column 8.
HINT:  The nearest that is known is "repo.url".
)"},
    {"WhichCluster",
     {"backup", "list", "--config", "$DIR/two.toml"},
     2,
     R"(ERROR:  no cluster was chosen
DETAIL:  Configuration file "$DIR/two.toml" has 2: a, b.
HINT:  Choose one with --cluster NAME.
)"},
    {"NoRepositoryNamed", {"info", "--config", "$DIR/empty"}, 2, R"(ERROR:  no repository was named
HINT:  Name it with --repo URL, with HOLDFAST_REPO, or as url in the section [repo] of the configuration file.
)"},

    // The repository.
    {"NoEngine",
     {"backup", "--repo", "s3://bucket/x"},
     2,
     R"(ERROR:  invalid repository "s3://bucket/x"
DETAIL:  This program has no engine for "s3://".
HINT:  Name a directory, as in /var/lib/holdfast or file:///var/lib/holdfast.
)"},
    {"RepositoryMissingForInfo",
     {"info", "--repo", "$DIR/new"},
     1,
     R"(ERROR:  repository directory "$DIR/new" is not there
DETAIL:  The system says: No such file or directory.
HINT:  Check the path, and that the file system which holds it is mounted. "holdfast --config $DIR/holdfast.toml --repo $DIR/new init" makes a new repository.
)"},
    {"RepositoryMissingForBackup",
     {"backup", "--repo", "$DIR/new"},
     1,
     R"(ERROR:  repository directory "$DIR/new" is not there
DETAIL:  The system says: No such file or directory.
HINT:  Check the path, and that the file system which holds it is mounted. "holdfast --config $DIR/holdfast.toml --repo $DIR/new init" makes a new repository.
)"},
    {"RepositoryMissingForRestore",
     {"restore", "--into", "$DIR/new", "--repo", "$DIR/new"},
     1,
     R"(ERROR:  repository directory "$DIR/new" is not there
DETAIL:  The system says: No such file or directory.
HINT:  Check the path, and that the file system which holds it is mounted. "holdfast --config $DIR/holdfast.toml --repo $DIR/new init" makes a new repository.
)"},
    {"NotARepository",
     {"backup", "list", "--repo", "$DIR/full"},
     1,
     R"(ERROR:  there is no repository at "$DIR/full"
DETAIL:  It has no "repo.json".
HINT:  Check that the file system is mounted and that the name is right. A new repository is made by "holdfast --config $DIR/holdfast.toml --repo $DIR/full init".
)"},
    {"WrongRepositoryId", {"info", "--repo-id", "zz"}, 2, R"(ERROR:  invalid repository id "zz"
DETAIL:  A repository id is 32 hexadecimal digits.
HINT:  "holdfast --config $DIR/holdfast.toml info" prints it.
CONTEXT:  reading "repo.id" from the option --repo-id
)"},
    {"AnotherRepository",
     {"info", "--repo-id", "00000000000000000000000000000000"},
     1,
     R"(ERROR:  another repository than expected is at "$DIR/repo"
DETAIL:  Its id is $HEX; expected was $HEX.
HINT:  Check the repository's place in the configuration, and what is mounted there.
)"},
    {"NoSuchClusterForBackup",
     {"backup", "-c", "other"},
     1,
     R"(ERROR:  the repository has no cluster "other"
DETAIL:  It has: main.
HINT:  Choose one with --cluster NAME. To begin this one, write a section [cluster.other] into the configuration, if there is one, and run "holdfast --config $DIR/holdfast.toml init -c other".
)"},
    {"NoSuchClusterForInfo",
     {"info", "-c", "other"},
     1,
     R"(ERROR:  the repository has no cluster "other"
DETAIL:  It has: main.
HINT:  Choose one with --cluster NAME. To begin this one, write a section [cluster.other] into the configuration, if there is one, and run "holdfast --config $DIR/holdfast.toml init -c other".
)"},
    {"NoSuchClusterForRestore",
     {"restore", "--into", "$DIR/new", "-c", "other"},
     1,
     R"(ERROR:  the repository has no cluster "other"
DETAIL:  It has: main.
HINT:  Choose one with --cluster NAME. To begin this one, write a section [cluster.other] into the configuration, if there is one, and run "holdfast --config $DIR/holdfast.toml init -c other".
)"},
    {"NoSuchClusterForWalList",
     {"wal", "list", "-c", "other"},
     1,
     R"(ERROR:  the repository has no cluster "other"
DETAIL:  It has: main.
HINT:  Choose one with --cluster NAME. To begin this one, write a section [cluster.other] into the configuration, if there is one, and run "holdfast --config $DIR/holdfast.toml init -c other".
)"},
    {"NoSuchBackup", {"backup", "show", "nope"}, 1, R"(ERROR:  cluster "main" has no backup "nope"
DETAIL:  It has 1 backup(s); nearest: "$ID".
HINT:  Give a backup's id, the beginning of one, or "latest". "holdfast --config $DIR/holdfast.toml backup list" shows them.
)"},

    // Keys.
    {"KeyForNothing",
     {"info", "--key-file", "$DIR/key.of.another"},
     2,
     R"(ERROR:  a key was given, but the repository at "$DIR/repo" is not sealed
DETAIL:  Everything in it can be read by whoever can read its files.
HINT:  Take the key out of the configuration if that is meant to be so; if it is not, this is not the repository that you sealed.
)"},
    {"NoKeyFile",
     {"info", "--key-file", "$DIR/new"},
     1,
     R"(ERROR:  key file "$DIR/new" does not exist
HINT:  Check key_file in the configuration. A lost key file cannot be made again: look for your copy of it, or open the repository by its passphrase if it has one.
)"},
    {"NotAKeyFile",
     {"info", "--key-file", "$DIR/no.key"},
     2,
     R"(ERROR:  "$DIR/no.key" is not a key file
DETAIL:  A key file holds 32 bytes, or 64 hexadecimal digits and a line end.
HINT:  Check key_file in the configuration.
)"},
    {"KeyFileForAll",
     {"info", "--key-file", "$DIR/open.key"},
     1,
     R"(ERROR:  key file "$DIR/open.key" is open to everybody
DETAIL:  Its mode is 0644.
HINT:  Run: chmod 0600 $DIR/open.key
)"},
    {"NoPassphraseFile",
     {"info", "--passphrase-file", "$DIR/new"},
     1,
     R"(ERROR:  passphrase file "$DIR/new" does not exist
HINT:  Check passphrase_file in the configuration.
)"},
    {"NoPassphrase",
     {"info", "--passphrase-file", "$DIR/empty"},
     2,
     R"(ERROR:  file "$DIR/empty" gives no passphrase
DETAIL:  Its first line is empty.
HINT:  Put the passphrase in the first line.
)"},
    {"TwoKeys",
     {"info", "--passphrase-file", "$DIR/no.key", "--key-file", "$DIR/key.of.another"},
     2,
     R"(ERROR:  the repository's key is given twice
DETAIL:  Both "repo.key_file" and "repo.passphrase_file" are set.
HINT:  Keep one of them.
)"},

    // The server.
    {"NoServer",
     {"backup", "--conninfo", "host=$DIR/full"},
     1,
     R"(ERROR:  could not connect to the PostgreSQL server
DETAIL:  connection to server on socket "$DIR/full/.s.PGSQL.5432" failed: No such file or directory
HINT:  Is the server running, and do host and port of conninfo name its socket directory (unix_socket_directories) or address? pg_lsclusters or "ps -fC postgres" shows what runs.
)"},
    {"NoServerForInit",
     {"init", "--conninfo", "host=$DIR/full"},
     1,
     R"(ERROR:  could not connect to the PostgreSQL server
DETAIL:  connection to server on socket "$DIR/full/.s.PGSQL.5432" failed: No such file or directory
HINT:  Is the server running, and do host and port of conninfo name its socket directory (unix_socket_directories) or address? pg_lsclusters or "ps -fC postgres" shows what runs.
)"},
    {"InitAmongOtherFiles",
     {"init", "--repo", "$DIR/full"},
     1,
     R"(ERROR:  "$DIR/full" is not empty
DETAIL:  There is "file", which is no repository's.
HINT:  Choose an empty or a new place for the repository.
)"},
    {"NoConninfo",
     {"backup", "--conninfo", "wrong=1"},
     2,
     R"(ERROR:  the server's connection string cannot be read
DETAIL:  invalid connection option "wrong".
HINT:  Write it as libpq reads it, for example conninfo = "host=/var/run/postgresql port=5432 user=postgres".
)"},
    {"NotItsDirectory",
     {"backup", "--pgdata", "$DIR/full"},
     1,
     R"(ERROR:  "$DIR/full" is not the data directory of the server
DETAIL:  The server's data directory is "$DIR/data".
HINT:  Correct pgdata or conninfo in the configuration; pgdata may be left out.
)"},
    {"NotItsDirectoryForInit",
     {"init", "--pgdata", "$DIR/full"},
     1,
     R"(ERROR:  "$DIR/full" is not the data directory of the server
DETAIL:  The server's data directory is "$DIR/data".
HINT:  Correct pgdata or conninfo in the configuration; pgdata may be left out.
)"},
    {"DirectoryMissing",
     {"backup", "--pgdata", "$DIR/new"},
     1,
     R"(ERROR:  "$DIR/new" is not the data directory of the server
DETAIL:  The server's data directory is "$DIR/data".
HINT:  Correct pgdata or conninfo in the configuration; pgdata may be left out.
)"},

    // wal push and wal get: whatever is wrong is 1 and 200.
    {"PushNothing", {"wal", "push"}, 1, R"(ERROR:  PATH is required
HINT:  See "holdfast wal push --help".
)"},
    {"PushFromNowhere",
     {"wal", "push", "$DIR/full/000000010000000000000001"},
     1,
     R"(ERROR:  could not open "$DIR/full/$SEGMENT": No such file or directory
CONTEXT:  reading WAL file "$DIR/full/$SEGMENT"
    archiving WAL file "$DIR/full/$SEGMENT"
)"},
    {"PushAStranger",
     {"wal", "push", "$DIR/full/file"},
     1,
     R"(ERROR:  could not find out to which cluster "$DIR/full" belongs
DETAIL:  There is neither a file "global/pg_control" beside it nor a WAL segment in it.
HINT:  The server runs archive_command in its data directory, with the file's path in it; by hand, go there first.
CONTEXT:  archiving WAL file "$DIR/full/file"
)"},
    {"PushMissing",
     {"wal", "push", "$DIR/data/pg_wal/0000000100000000000000EE"},
     1,
     R"(ERROR:  could not open "$DIR/data/pg_wal/$SEGMENT": No such file or directory
CONTEXT:  reading WAL file "$DIR/data/pg_wal/$SEGMENT"
    archiving WAL file "$DIR/data/pg_wal/$SEGMENT"
)"},
    {"PushWrongOption",
     {"wal", "push", "x", "--no-such"},
     1,
     R"(ERROR:  unknown option "--no-such"
HINT:  See "holdfast wal push --help".
)"},
    {"GetNothing", {"wal", "get"}, 200, R"(ERROR:  wal get needs a file's name and a path
HINT:  See "holdfast wal get --help".
)"},
    {"GetWrongOption",
     {"wal", "get", "a", "b", "--no-such"},
     200,
     R"(ERROR:  unknown option "--no-such"
HINT:  See "holdfast wal get --help".
)"},

    // restore.
    {"WhereTo", {"restore"}, 2, R"(ERROR:  restore needs to know where to
DETAIL:  Exactly one of --into DIR and --in-place must be given.
HINT:  See "holdfast restore --help".
)"},
    {"BothWheres",
     {"restore", "--into", "$DIR/new", "--in-place"},
     2,
     R"(ERROR:  restore needs to know where to
DETAIL:  Exactly one of --into DIR and --in-place must be given.
HINT:  See "holdfast restore --help".
)"},
    {"IntoAFullDirectory",
     {"restore", "--into", "$DIR/full"},
     1,
     R"(ERROR:  directory "$DIR/full" is not empty
DETAIL:  A restore elsewhere never writes among other files.
HINT:  Name a directory that does not exist or is empty. To restore over the cluster's own data directory use --in-place.
)"},
    {"IntoAFile", {"restore", "--into", "$DIR/empty"}, 1, R"(ERROR:  "$DIR/empty" is not a directory
HINT:  Name a directory that does not exist or is empty.
)"},
    {"InPlaceUnconfirmed",
     {"restore", "--in-place"},
     2,
     R"(ERROR:  restore --in-place was not confirmed
DETAIL:  The data directory of cluster "main" will be emptied and restored; WAL in it that is not archived is saved first.
HINT:  Confirm it with --yes, or restore elsewhere with --into DIR.
)"},
    {"InPlaceWhileItRuns",
     {"restore", "--in-place", "--yes"},
     5,
     R"(ERROR:  a PostgreSQL server is running on "$DIR/data"
DETAIL:  Its process id is $PID.
HINT:  Stop it before restoring over its data directory: pg_ctl -D $DIR/data stop, or systemctl stop postgresql@<version>-<cluster>.
)"},
    {"InPlaceOfSomethingElse",
     {"restore", "--in-place", "--yes", "--pgdata", "$DIR/full"},
     1,
     R"(ERROR:  directory "$DIR/full" holds other files than a cluster's
DETAIL:  A restore in place clears the directory, so it must be empty or a data directory. It has no valid global/pg_control, and of the names by which a data directory is known none.
HINT:  Check cluster.pgdata in the configuration. If it is the cluster's own directory, move what is not the cluster's out of it and run the command again. Or save its WAL with "holdfast --config $DIR/holdfast.toml --pgdata $DIR/full wal salvage $DIR/full", move the whole directory aside with "mv $DIR/full $DIR/full.old", and run the command again: it makes a new one.
)"},
    {"InPlaceOfAFile",
     {"restore", "--in-place", "--yes", "--pgdata", "$DIR/empty"},
     1,
     R"(ERROR:  "$DIR/empty" is not a directory
HINT:  Check cluster.pgdata in the configuration.
)"},
    {"UnknownBackup",
     {"restore", "--into", "$DIR/new", "--backup", "1999"},
     1,
     R"(ERROR:  cluster "main" has no backup "1999"
DETAIL:  It has 1 backup(s); nearest: "$ID".
HINT:  Give a backup's id, the beginning of one, or "latest". "holdfast --config $DIR/holdfast.toml backup list" shows them.
)"},
    {"WrongTime",
     {"restore", "--into", "$DIR/new", "--to", "soon"},
     2,
     R"(ERROR:  invalid time "soon"
DETAIL:  A time is a date, or a date and a time of day with or without a zone.
HINT:  Write it like 2026-11-22 08:22:39+00, 2026-11-22T08:22:39.5Z, "2026-11-22 08:22 Europe/Berlin" or 2026-11-22, or in words: now, "10 minutes ago", "today 08:22", "yesterday 14:00".
)"},
    {"NoSuchDay",
     {"restore", "--into", "$DIR/new", "--to", "2026-02-30 12:00"},
     2,
     R"(ERROR:  invalid time "2026-02-30 12:00"
DETAIL:  February 2026 has 28 days.
HINT:  Write it like 2026-11-22 08:22:39+00, 2026-11-22T08:22:39.5Z, "2026-11-22 08:22 Europe/Berlin" or 2026-11-22, or in words: now, "10 minutes ago", "today 08:22", "yesterday 14:00".
)"},
    {"TimeTooEarly",
     {"restore", "--into", "$DIR/new", "--to", "2020-01-01 00:00:00Z"},
     4,
     R"(ERROR:  the target is before the end of the oldest backup
DETAIL:  The target is $TIME; backup $ID ended at $TIME, and a backup can only be recovered to a time after its end.
HINT:  The earliest that can be reached is the end of that backup: holdfast --config $DIR/holdfast.toml -q restore --into $DIR/new --to '$TIME'
)"},
    {"TwoTargets",
     {"restore", "--into", "$DIR/new", "--to", "2020-01-01", "--to-latest"},
     2,
     R"(ERROR:  more than one recovery target was given
DETAIL:  A recovery ends at one place.
HINT:  See "holdfast restore --help".
)"},
    {"WrongLsn", {"restore", "--into", "$DIR/new", "--to-lsn", "xx"}, 2, R"(ERROR:  invalid LSN "xx"
DETAIL:  An LSN is two hexadecimal numbers of 1 to 8 digits, joined by a slash.
HINT:  Write it as pg_current_wal_lsn() prints it, for example 16/B374D848.
)"},
    {"LsnTooEarly",
     {"restore", "--into", "$DIR/new", "--to-lsn", "0/10"},
     4,
     R"(ERROR:  the target is before the end of the oldest backup
DETAIL:  The target is 0/10; backup $ID ended at $LSN, and a backup can only be recovered to a place behind its end.
HINT:  The earliest that can be reached is the end of that backup: holdfast --config $DIR/holdfast.toml -q restore --into $DIR/new --to-lsn $LSN
)"},
    {"LsnTooLate",
     {"restore", "--into", "$DIR/new", "--to-lsn", "F/10"},
     4,
     R"(ERROR:  WAL location F/10 is not archived
DETAIL:  The archived WAL of timeline 1 ends at $LSN.
HINT:  The farthest that can be reached is the end of the archived WAL: holdfast --config $DIR/holdfast.toml -q restore --into $DIR/new --to-latest
)"},
    {"WrongXid",
     {"restore", "--into", "$DIR/new", "--to-xid", "2"},
     2,
     R"(ERROR:  invalid transaction id "2"
DETAIL:  A transaction id is a whole number of 64 bits, as pg_current_xact_id() prints it, or its lower 32 bits, from 3 to 4294967295.
HINT:  See "holdfast restore --help".
)"},
    {"NoSuchXid",
     {"restore", "--into", "$DIR/new", "--to-xid", "77777"},
     4,
     R"(ERROR:  transaction 77777 has no end in the archived WAL
DETAIL:  Neither a commit nor an abort of it was found on timeline 1 between $LSN and $LSN. Transactions that only read have none.
HINT:  Check the number; subtransactions cannot be targets.
    The farthest that can be reached is the end of the archived WAL: holdfast --config $DIR/holdfast.toml -q restore --into $DIR/new --to-latest
)"},
    {"NoSuchName",
     {"restore", "--into", "$DIR/new", "--to-name", "nada"},
     4,
     R"(ERROR:  there is no restore point "nada" in the archived WAL
DETAIL:  Searched timeline 1 from $LSN on.
HINT:  Check the spelling; upper and lower case differ.
    The farthest that can be reached is the end of the archived WAL: holdfast --config $DIR/holdfast.toml -q restore --into $DIR/new --to-latest
)"},
    {"NoSuchTimeline",
     {"restore", "--into", "$DIR/new", "--timeline", "9"},
     4,
     R"(ERROR:  timeline 9 is not in the archive
DETAIL:  These are: 1.
HINT:  Name one of those with --timeline, or leave it out: holdfast --config $DIR/holdfast.toml -q restore --into $DIR/new --to-latest
)"},
    {"WrongTimeline",
     {"restore", "--into", "$DIR/new", "--timeline", "x"},
     2,
     R"(ERROR:  invalid timeline "x"
DETAIL:  A timeline is a decimal number from 1 to 4294967295 without leading zeros.
HINT:  File names show the timeline in hexadecimal: 0000000A is timeline 10.
)"},
    {"ExclusiveOfNothing",
     {"restore", "--into", "$DIR/new", "--exclusive"},
     2,
     R"(ERROR:  --exclusive needs a target of its kind
DETAIL:  It goes with --to, --to-lsn and --to-xid.
HINT:  See "holdfast restore --help".
)"},
    {"WrongPort",
     {"restore", "--into", "$DIR/new", "--port", "99999"},
     2,
     R"(ERROR:  --port: "99999" is not a number from 1 to 65535
HINT:  See "holdfast restore --help".
)"},
    {"WrongArchive",
     {"restore", "--into", "$DIR/new", "--archive", "maybe"},
     2,
     R"(ERROR:  --archive: "maybe" is not one of on, off
HINT:  See "holdfast restore --help".
)"},
    {"NoPrograms",
     {"restore", "--into", "$DIR/new", "--start", "--bindir", "$DIR/full"},
     1,
     R"(ERROR:  no PostgreSQL server program in "$DIR/full"
DETAIL:  "$DIR/full/postgres" is missing or does not answer to --version.
HINT:  Set bindir to the directory that holds postgres and initdb of PostgreSQL 15.
)"},

    // finish and demo.
    {"FinishNothing", {"finish", "$DIR/new"}, 1, R"(ERROR:  "$DIR/new" is not a data directory
DETAIL:  It has no global/pg_control.
HINT:  Name the directory that restore --into made, or the cluster's own.
)"},
    {"DemoInAFullDirectory",
     {"demo", "--directory", "$DIR/full"},
     1,
     R"(ERROR:  directory "$DIR/full" is not empty
HINT:  Name a directory that does not exist, or leave --directory out.
)"},
};
INSTANTIATE_TEST_SUITE_P(Holdfast, BadWords, testing::ValuesIn(kRows),
                         [](const auto& row) { return std::string(row.param.name); });

// --- The words are right, but something else is not ---------------------------------------------

class BadState : public testing::Test {
 protected:
  BadState() : scene_({.wal_segment_mib = 1}) {}
  void stop() { scene_.server().stop(); }
  // Starts the server with a line more in its configuration.
  void restart_with(const std::string& lines) {
    const std::string file = join_path(scene_.server().data_directory(), "postgresql.auto.conf");
    stop();
    write_file_durably(file, as_bytes(read_text_file(file) + lines));
    scene_.server().start();
  }
  // Runs `words` while `path` has the mode, and sets the old one again.
  Said with_mode(const std::string& path, mode_t mode, const std::vector<std::string>& words) {
    const mode_t before = stat_if_exists(path)->st_mode & 07777;
    EXPECT_EQ(chmod(path.c_str(), mode), 0);
    Said said = scene_.say(words);
    EXPECT_EQ(chmod(path.c_str(), before), 0);
    return said;
  }
  BadScene scene_;
};

TEST_F(BadState, OfAServerThatCannotBeRecoveredIsRefusedBeforeABackup) {
  restart_with("wal_level = minimal\nmax_wal_senders = 0\narchive_mode = off\n");
  EXPECT_EQ(scene_.say({"backup"}), (Said{1, R"(ERROR:  wal_level of the server is "minimal"
DETAIL:  Such WAL cannot be recovered from; wal_level must be "replica" or "logical".
HINT:  Run "holdfast --config $DIR/holdfast.toml init --configure-server", then restart the server.
)"}));
  restart_with("wal_level = replica\n");
  EXPECT_EQ(scene_.say({"backup"}), (Said{1, R"(ERROR:  archive_mode of the server is "off"
DETAIL:  Without the WAL that is written while it is taken a backup cannot be recovered.
HINT:  Run "holdfast --config $DIR/holdfast.toml init --configure-server", then restart the server.
)"}));
  restart_with("archive_mode = on\narchive_command = ''\n");
  EXPECT_EQ(scene_.say({"backup"}), (Said{1, R"(ERROR:  archive_command of the server is not set
DETAIL:  Without the WAL that is written while it is taken a backup cannot be recovered.
HINT:  Run "holdfast --config $DIR/holdfast.toml init --configure-server".
)"}));
  restart_with("archive_command = 'cp %p /nowhere'\n");
  const Said foreign = scene_.say({"init", "--configure-server"});
  EXPECT_EQ(foreign.status, 1);
  EXPECT_TRUE(
      foreign.text.starts_with("ERROR:  the server archives by another command already\n"
                               "DETAIL:  archive_command is \"cp %p /nowhere\".\n"
                               "HINT:  If Holdfast is to archive instead, run: holdfast "))
      << foreign.text;
  EXPECT_NE(foreign.text.find(" init --configure-server --replace. "), std::string::npos)
      << foreign.text;
  restart_with("archive_command = 'false'\n");
  EXPECT_EQ(scene_.say({"backup", "--archive-timeout", "1s"}),
            (Said{1, R"(ERROR:  WAL file "$SEGMENT" did not reach the archive within 1 s
DETAIL:  Without it the backup could not be recovered, so there is no new backup. The server's last failed attempt was to archive "$SEGMENT" at $TIME.
HINT:  Look for the output of archive_command in the server's log, or run "holdfast --config $DIR/holdfast.toml check", which names the cause.
)"}));
  EXPECT_EQ(scene_.say({"restore", "--into", "$DIR/new"}),
            (Said{1, R"(ERROR:  there is no backup of cluster "main"
DETAIL:  Looked at lineage 15-1 of $DIR/repo.
HINT:  Take one with holdfast --config $DIR/holdfast.toml backup, or check --repo and --cluster.
)"}));
  scene_.server().sql("CREATE ROLE weak LOGIN");
  const std::string weak = "host=" + scene_.directory() + " port=5432 user=weak dbname=postgres";
  const Said without_rights{
      1, R"(ERROR:  the server does not show the setting "data_directory" to role "weak"
DETAIL:  Settings that name files are shown to members of pg_read_all_settings alone.
HINT:  As a superuser, in the database that conninfo names, run:
    GRANT pg_monitor TO "weak";
    GRANT EXECUTE ON FUNCTION pg_backup_start(text, boolean), pg_backup_stop(boolean), pg_switch_wal(), pg_create_restore_point(text), pg_show_all_file_settings(), pg_hba_file_rules() TO "weak";
    GRANT SELECT ON pg_file_settings, pg_hba_file_rules TO "weak";
)"};
  EXPECT_EQ(scene_.say({"backup", "--conninfo", weak}), without_rights);
  EXPECT_EQ(scene_.say({"init", "--configure-server", "--conninfo", weak}), without_rights);
  stop();
  EXPECT_EQ(scene_.say({"backup"}), (Said{1, R"(ERROR:  could not connect to the PostgreSQL server
DETAIL:  connection to server on socket "$DIR/.s.PGSQL.5432" failed: No such file or directory
HINT:  Is the server running, and do host and port of conninfo name its socket directory (unix_socket_directories) or address? pg_lsclusters or "ps -fC postgres" shows what runs.
)"}));
  EXPECT_EQ(scene_.say({"finish", "$DIR/data"}), (Said{1, R"(ERROR:  no server runs on "$DIR/data"
DETAIL:  Its control file says: shut down.
HINT:  Its recovery is over: start it, and it is open for work.
)"}));
}

TEST_F(BadState, OfAnotherClusterIsRefusedByEveryCommand) {
  PostgresServer other(
      {.config = {"archive_mode = on", "archive_command = 'true'", "wal_keep_size = 64MB"}});
  const std::vector<std::string> its = {"--conninfo", other.conninfo(), "--pgdata",
                                        other.data_directory()};
  const auto with = [&](std::vector<std::string> words) {
    words.insert(words.end(), its.begin(), its.end());
    return words;
  };
  EXPECT_EQ(scene_.say(with({"backup"})),
            (Said{1, R"(ERROR:  the server is not cluster "main" of the repository
DETAIL:  Its system identifier is $OTHER, that of lineage 15-1 is $SYSTEM.
HINT:  After pg_upgrade or a new initdb run "holdfast --config $DIR/holdfast.toml $SERVER init --new-lineage"; otherwise correct conninfo.
)"}));
  EXPECT_EQ(scene_.say(with({"init"})),
            (Said{1, R"(ERROR:  cluster "main" of the repository is another one
DETAIL:  The server's system identifier is $OTHER, that of lineage 15-1 is $SYSTEM.
HINT:  After pg_upgrade or a new initdb add --new-lineage; for a cluster of its own give another name with -c.
)"}));
  const std::string segment = other.value("SELECT pg_walfile_name(pg_current_wal_lsn())");
  other.sql("SELECT pg_switch_wal()");
  other.stop();
  EXPECT_EQ(scene_.say({"wal", "push", "pg_wal/" + segment}, other.data_directory()),
            (Said{1, R"(ERROR:  system identifier $OTHER does not belong to cluster "main"
DETAIL:  Its newest lineage, "15-1", is of system identifier $SYSTEM.
HINT:  After pg_upgrade or a new initdb run "holdfast --config $DIR/holdfast.toml init --new-lineage"; otherwise this server is configured with another cluster's name.
CONTEXT:  archiving WAL file "pg_wal/$SEGMENT"
)"}));
  EXPECT_EQ(scene_.say({"wal", "get", segment, "pg_wal/RECOVERYXLOG", "--timeout", "1s"},
                       other.data_directory()),
            (Said{200, R"(ERROR:  system identifier $OTHER does not belong to cluster "main"
DETAIL:  Its newest lineage, "15-1", is of system identifier $SYSTEM.
HINT:  After pg_upgrade or a new initdb run "holdfast --config $DIR/holdfast.toml init --new-lineage"; otherwise this server is configured with another cluster's name.
CONTEXT:  fetching WAL file "$SEGMENT"
)"}));
  scene_.must({"backup"});
  const std::string data = other.data_directory();
  const Said in_place = scene_.say({"restore", "--in-place", "--yes", "--pgdata", data});
  EXPECT_EQ(in_place, (Said{1, fmt::format(R"(ERROR:  data directory "{0}" is of another cluster
DETAIL:  Its system identifier is $OTHER, that of the backups is $SYSTEM.
HINT:  Check --cluster and cluster.pgdata, or restore elsewhere with --into DIR. If that is the empty cluster which a package has made, or nothing in it is needed, stop its server, move it away with "mv {0} {0}.old", and run the command again.
)",
                                           data)}));
}

TEST_F(BadState, OfWalGetIsAlways200) {
  const std::string data = scene_.server().data_directory();
  const std::string segment = scene_.archive_current_segment();
  // Neither the destination nor the working directory nor the configuration leads to one.
  const std::string nowhere = scene_.path("nowhere.toml");
  write_file_durably(nowhere, as_bytes(fmt::format("[repo]\nurl = \"{}\"\n\n[cluster.main]\n",
                                                   scene_.repository())));
  EXPECT_EQ(scene_.say({"--config", nowhere, "wal", "get", segment, "x"}, scene_.directory()),
            (Said{200, R"(ERROR:  "$DIR" is not a data directory
DETAIL:  It has no file "global/pg_control".
HINT:  Check the path. wal push and wal get run in the server's data directory, as the server itself runs them.
CONTEXT:  fetching WAL file "$SEGMENT"
)"}));
  EXPECT_EQ(scene_.say({"wal", "get", "bogus", "x"}, data),
            (Said{200, R"(ERROR:  "bogus" is not the name of a WAL file
DETAIL:  Segments have 1048576 bytes in this cluster.
HINT:  Write restore_command = 'holdfast wal get %f "%p"': the server names the file.
CONTEXT:  fetching WAL file "bogus"
)"}));
  EXPECT_EQ(scene_.say({"wal", "get", segment, "nowhere/x"}, data),
            (Said{200, R"(ERROR:  could not create "nowhere/x.holdfast": No such file or directory
CONTEXT:  fetching WAL file "$SEGMENT"
)"}));
  EXPECT_EQ(scene_.say({"wal", "get", segment, "x", "--repo", "$DIR/new", "--timeout", "1s"}, data),
            (Said{200, R"(ERROR:  repository directory "$DIR/new" is not there
DETAIL:  The system says: No such file or directory.
HINT:  Check the path, and that the file system which holds it is mounted. "holdfast --config $DIR/holdfast.toml --repo $DIR/new init" makes a new repository.
CONTEXT:  fetching WAL file "$SEGMENT"
)"}));
}

TEST_F(BadState, OfPermissionsIsToldWithThePath) {
  scene_.must({"backup"});
  const std::string segment = scene_.archive_current_segment();
  constexpr const char* kHint =
      "HINT:  Check its owner and mode, those of the directories above it, and which user runs "
      "this command.\n";
  const auto expect_closed = [](const Said& said, const std::string& what) {
    EXPECT_EQ(said.status, 1);
    EXPECT_TRUE(said.text.starts_with("ERROR:  could not open " + what + ": Permission denied\n"))
        << said.text;
    EXPECT_NE(said.text.find("the repository belongs to"), std::string::npos) << said.text;
    EXPECT_NE(said.text.find("Give its owner back what he may do: chmod -R u+rwX $DIR/repo\n"),
              std::string::npos)
        << said.text;
  };
  const std::string repo_json = join_path(scene_.repository(), "repo.json");
  remove_file(join_path(scene_.repository(), "repo.copy.json"));  // it would do
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"info"},
                                             {"backup"},
                                             {"backup", "list"},
                                             {"wal", "list"},
                                             {"restore", "--into", "$DIR/new"},
                                             {"restore", "--in-place", "--yes"},
                                             {"wal", "push", "$DIR/data/pg_wal/" + segment}}) {
    expect_closed(with_mode(repo_json, 0, words), "\"$DIR/repo/repo.json\"");
  }
  const std::string cluster = join_path(scene_.repository(), "clusters/main");
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"backup", "list"}, {"restore", "--into", "$DIR/new"}}) {
    expect_closed(with_mode(cluster, 0, words), "directory \"$DIR/repo/clusters/main\"");
  }
  const std::string locked = scene_.path("locked");
  make_directory(locked);
  EXPECT_EQ(with_mode(locked, 0500, {"restore", "--into", locked + "/new"}),
            (Said{1, fmt::format("ERROR:  could not create directory \"$DIR/locked/new\": "
                                 "Permission denied\n{}",
                                 kHint)}));
  EXPECT_EQ(with_mode(locked, 0500, {"init", "--repo", locked + "/new"}),
            (Said{1, fmt::format("ERROR:  could not create directory \"$DIR/locked/new\": "
                                 "Permission denied\n{}",
                                 kHint)}));
  EXPECT_EQ(with_mode(scene_.config_file(), 0, {"info"}),
            (Said{2, fmt::format("ERROR:  could not open \"$DIR/holdfast.toml\": Permission "
                                 "denied\n{}",
                                 kHint)}));
  const std::string relation = join_path(scene_.server().data_directory(),
                                         scene_.server().value("SELECT pg_relation_filepath("
                                                               "'pg_class')"));
  const Said unreadable = with_mode(relation, 0, {"backup"});
  EXPECT_EQ(unreadable.status, 1);
  EXPECT_TRUE(unreadable.text.starts_with("ERROR:  could not open \"$DIR/data/base/"))
      << unreadable.text;
  EXPECT_EQ(scene_.must({"backup", "list"}).at("backups").items().size(), 1U);
}

TEST(BadKey, OfASealedRepositoryIsToldWithoutSecrets) {
  for (const Sealing sealing : {Sealing::kKeyFile, Sealing::kPassphrase}) {
    BadScene scene({.sealing = sealing, .wal_segment_mib = 1});
    const std::string config = scene.path("keyless.toml");
    const std::string data = scene.server().data_directory();
    write_file_durably(config,
                       as_bytes(fmt::format("[repo]\nurl = \"{}\"\n[cluster.main]\npgdata = "
                                            "\"{}\"\n",
                                            scene.repository(), data)));
    const Said keyless{2, R"(ERROR:  the repository at "$DIR/repo" is sealed, and no key was given
HINT:  Give --key-file, or set key_file, passphrase_file or passphrase_command in the configuration.
)"};
    for (const std::vector<std::string>& words :
         std::vector<std::vector<std::string>>{{"info"},
                                               {"backup"},
                                               {"backup", "list"},
                                               {"wal", "list"},
                                               {"restore", "--into", "$DIR/new"}}) {
      std::vector<std::string> all = {"--config", config};
      all.insert(all.end(), words.begin(), words.end());
      EXPECT_EQ(scene.say(all), keyless) << words.front();
    }
    EXPECT_EQ(scene.say({"--config", config, "wal", "push", "pg_wal/x"}, data),
              (Said{1, keyless.text}));
    EXPECT_EQ(scene.say({"--config", config, "wal", "get", "000000010000000000000001", "x"}, data),
              (Said{200, keyless.text + "CONTEXT:  fetching WAL file \"$SEGMENT\"\n"}));

    write_file_durably(scene.path("other"), as_bytes(std::string(32, 'o')));
    const char* kind = sealing == Sealing::kKeyFile ? "key file" : "passphrase";
    const char* option = sealing == Sealing::kKeyFile ? "--key-file" : "--passphrase-file";
    EXPECT_EQ(scene.say({"info", option, "$DIR/other"}),
              (Said{2, fmt::format(R"(ERROR:  this {0} does not open the repository at "$DIR/repo"
DETAIL:  It was tried on 1 key object(s).
HINT:  Check which {0} belongs to this repository{1}.
)",
                                   kind,
                                   sealing == Sealing::kKeyFile
                                       ? ""
                                       : "; passphrases are compared with every space in them")}));
  }
}

}  // namespace
}  // namespace holdfast::test
