// Every command that README.md and the guide show is run, and what it prints is what they show.
//
// A page begins with a running cluster as Debian lays it out, in a sandbox. A block of kind console
// holds commands ("$ ", continued by a backslash) and what each prints; one of kind toml whose
// first line is a comment with a path is written there. The page's places (/var/lib/holdfast) are
// places below the sandbox; kPrelude says what the machine's own commands become.
//
// Lines are compared after masking what differs from run to run. "..." on a line of its own stands
// for any lines. A time, an LSN or an id that a command printed can stand in a later command: the
// one of this run is put in its place.
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "support/holdfast_command.h"
#include "support/postgres_server.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

using Lines = std::vector<std::string>;

// Each page that has commands; TheTableNamesEveryPage holds it to what is there.
constexpr std::array kPages = {"README.md",
                               "docs/guide/archive-wal.md",
                               "docs/guide/check.md",
                               "docs/guide/clusters-and-lineages.md",
                               "docs/guide/delete-and-expire.md",
                               "docs/guide/drill.md",
                               "docs/guide/export.md",
                               "docs/guide/first-backup.md",
                               "docs/guide/monitor.md",
                               "docs/guide/on-debian.md",
                               "docs/guide/recover.md",
                               "docs/guide/seal-the-repository.md",
                               "docs/guide/troubleshooting.md",
                               "docs/guide/verify.md"};

// What is shown without its output, because it changes the machine.
constexpr std::array kNotRun = {"./quickstart",
                                "./run-tests",
                                "make release",
                                "sudo install build/release/holdfast /usr/local/bin/",
                                "chown -R --reference=/var/lib/holdfast /var/lib/holdfast",
                                "chown -R postgres: /var/lib/holdfast"};

// The words of a page that mean something else in the sandbox. $S is its path.
constexpr std::string_view kPrelude = R"(
exec 2>&1 </dev/null
unset TMPDIR
sudo() { [ "$1" != -u ] || shift 2; "$@"; }
[ ! -e "$S/etc/holdfast/holdfast.toml" ] || export HOLDFAST_CONFIG=$S/etc/holdfast/holdfast.toml
holdfast() {  # a reader is slower than the archiver: what waits in pg_wal is archived first
  for _ in {1..300}; do
    [ -e "$S/var/lib/postgresql/15/main/postmaster.pid" ] || break
    compgen -G "$S/var/lib/postgresql/15/main/pg_wal/archive_status/*.ready" >/dev/null || break
    sleep 0.1
  done
  "$HOLDFAST_PROGRAM" "$@"
}
psql() { PGUSER=postgres PGHOST=$S/var/run/postgresql command psql -X "$@"; }
pg_ctl() { "$PG/pg_ctl" "$@"; }
pg_dump() { "$PG/pg_dump" -U postgres "$@"; }
pg_basebackup() { "$PG/pg_basebackup" -h "$S/var/run/postgresql" -U postgres "$@"; }
systemctl() {  # ACTION postgresql
  pg_ctl "$1" -s -w -D "$S/etc/postgresql/15/main" -l "$S/var/log/postgresql/log" >/dev/null
}
pg_ctlcluster() {  # 15 main stop -m MODE
  pg_ctl "$3" -s -w "$4" "$5" -D "$S/etc/postgresql/15/main"
}
install() {  # -d -o postgres -g postgres -m MODE DIR...: the sandbox has one user
  shift 7
  chmod u+w "$S/srv"
  mkdir -p "$@"
  chmod u-w "$S/srv"  # root's, as on the machine: what is made there has to be made by install
}
env() { (cd "$2" && "${@:3}"); }  # -C DIR COMMAND...
)";

// The places that a page may name.
const std::regex kPlaces(
    R"((^|[^\w./-])(/(?:var/(?:lib|run|log)|etc/(?:holdfast|postgresql)|srv)\b))");

// What differs from run to run. `learned`: a command may name it after it was printed.
struct Mask {
  std::regex pattern;
  const char* name;
  bool learned = false;
};
const std::vector<Mask>& masks() {
  static const std::vector<Mask> kMasks = [] {
    std::vector<Mask> all;
    auto add = [&](const char* pattern, const char* name, bool learned = false) {
      all.push_back({std::regex(pattern), name, learned});
    };
    add(R"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?: ?UTC|Z|[+-]\d\d(?::\d\d)?)?)", "<time>",
        true);
    add(R"(\b\d{8}T\d{6}Z(?:-[0-9a-f]{6})?)", "<id>", true);
    add(R"(\b[0-9a-f]{32}\b)", "<id>", true);
    add(R"(\b[0-9a-f-]{36}\b)", "<id>", true);
    add(R"(\b[0-9A-F]{24}\b)", "<segment>", true);
    add(R"(\b[0-9A-F]{1,8}/[0-9A-F]{2,8}\b)", "<lsn>", true);
    add(R"(\b\d{19}\b)", "<system>");
    add(R"(\btransaction\W(\d+))", "<xid>", true);
    add(R"(\b\d+(?:\.\d+)? (?:B|kB|KiB|MiB|GiB)\b(?:/s)?)", "<size>");
    add(R"(\b\d+(?:\.\d+)? (?:us|ms|s|min|h)\b)", "<duration>");
    add(R"(\b\d+(?:\.\d+)?(?:s|B);)", "<figure>;");
    add(R"(\b(?:process|PID:?|pid)(?: id is)? \d+)", "<pid>");
    add(R"(\b\d+ (?:files|objects|orders|acknowledged|segments)\b)", "<count>");
    add(R"(\bfiles: *\d+)", "<files>");
    add(R"(\bin \d+ packs)", "<packs>");
    add(R"(\b\d+ (?:packs?|WAL segments?|other objects?|objects?)\b)", "<count>");
    add(R"(\bpacks/[0-9a-f]{2}/)", "packs/");
    add(R"(each of \d+|orders before the mistake, \d+)", "<count>");
    add(R"(\bPostgreSQL 15\.\d+)", "<version>");
    add(R"(holdfast-demo-\w{6})", "<demo>");
    add(R"(---+)", "---");  // the line below a heading is as long as the widest value
    add(R"(\s+)", " ");
    return all;
  }();
  return kMasks;
}

std::string masked(std::string line) {
  for (const Mask& mask : masks()) line = std::regex_replace(line, mask.pattern, mask.name);
  const size_t first = line.find_first_not_of(' ');
  if (first == std::string::npos) return {};
  return line.substr(first, line.find_last_not_of(' ') - first + 1);
}

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}
void drop_blank_ends(Lines& lines) {
  auto blank = [](const std::string& line) { return masked(line).empty(); };
  while (!lines.empty() && blank(lines.back())) lines.pop_back();
  while (!lines.empty() && blank(lines.front())) lines.erase(lines.begin());
}

struct Command {
  std::string text;
  Lines output;  // as documented
};
struct Block {
  std::string kind;
  size_t line = 0;  // of the page, counted from 1
  Lines text;
};

std::vector<Block> blocks_of(const std::string& page) {
  std::vector<Block> blocks;
  bool inside = false;
  size_t number = 0;
  for (const std::string& line : lines_of(page)) {
    ++number;
    if (line.starts_with("```")) {
      inside = !inside;
      if (inside) blocks.push_back({.kind = line.substr(3), .line = number, .text = {}});
    } else if (inside) {
      blocks.back().text.push_back(line);
    }
  }
  return blocks;
}

std::vector<Command> commands_of(const Block& block) {
  std::vector<Command> commands;
  bool continued = false;
  for (const std::string& line : block.text) {
    if (continued)
      commands.back().text += "\n" + line;
    else if (line.starts_with("$ "))
      commands.push_back({.text = line.substr(2), .output = {}});
    else if (!commands.empty())
      commands.back().output.push_back(line);
    else
      ADD_FAILURE() << "line " << block.line << ": the block does not begin with a command";
    if (continued || line.starts_with("$ ")) continued = line.ends_with('\\');
  }
  for (Command& command : commands) drop_blank_ends(command.output);
  return commands;
}

// For each documented line but "..." the printed line that it stands for; nullopt: they differ.
std::optional<std::vector<size_t>> match(const Lines& documented, const Lines& printed,
                                         size_t at = 0, size_t from = 0) {
  if (at == documented.size())
    return from == printed.size() ? std::optional(std::vector<size_t>{}) : std::nullopt;
  const bool any = documented[at] == "...";
  for (size_t to = from; to <= printed.size(); ++to) {
    if (any) {
      if (std::optional<std::vector<size_t>> rest = match(documented, printed, at + 1, to))
        return rest;
      continue;
    }
    if (to == printed.size() || masked(documented[at]) != masked(printed[to])) return std::nullopt;
    std::optional<std::vector<size_t>> rest = match(documented, printed, at + 1, to + 1);
    if (rest) rest->insert(rest->begin(), to);
    return rest;
  }
  return std::nullopt;
}

class Documents : public testing::TestWithParam<const char*> {
 protected:
  static std::string source(const std::string& name) {
    const char* directory = std::getenv("HOLDFAST_SOURCE_DIR");
    if (directory == nullptr)
      throw Error({.code = ErrorCode::kUsage, .message = "HOLDFAST_SOURCE_DIR is not set"});
    return join_path(directory, name);
  }
};

class Sandbox {
 public:
  Sandbox() : installation_(test_installation(15)) {
    forget_outer_settings();
    for (const char* place : {"etc/holdfast", "var/lib/postgresql/15", "var/run/postgresql",
                              "var/log/postgresql", "srv"})
      std::filesystem::create_directories(join_path(root_.path(), place));
    run_checked({.arguments = {"pg_createcluster", "15", "main", "--datadir",
                               in("/var/lib/postgresql/15/main"), "--socketdir",
                               in("/var/run/postgresql"), "--port", "5432", "--start-conf",
                               "manual", "--logfile", in("/var/log/postgresql/log"), "--", "--auth",
                               "trust", "--no-sync", "--data-checksums"},
                 .environment = {{"PG_CLUSTER_CONF_ROOT", in("/etc/postgresql")}, {"TZ", "UTC"}}});
    const std::string server_settings = in("/etc/postgresql/15/main/postgresql.conf");
    write_file_durably(server_settings,
                       as_bytes(read_text_file(server_settings) +
                                "fsync = off\nlisten_addresses = ''\nautovacuum = off\n"));
    shell({"chmod u-w \"$S/srv\"", "systemctl start postgresql"});
  }
  ~Sandbox() {
    end_processes_below(root_.path());
    shell({"chmod u+w \"$S/srv\""});
  }

  // A page's path as the sandbox has it, and a page's words likewise.
  std::string in(std::string_view path) const { return root_.path() + std::string(path); }
  std::string to_sandbox(const std::string& text) const {
    return std::regex_replace(text, kPlaces, "$1" + root_.path() + "$2");
  }

  // Runs the commands one after the other in one shell; what each printed, in the page's words.
  std::vector<Lines> shell(const Lines& commands) const {
    // The status of the command before is still there for "echo $?".
    std::string script(kPrelude);
    for (const std::string& command : commands)
      script += fmt::format("_status=$?; printf '\\n\\001\\n'; (exit $_status)\n{}\n", command);
    const Captured ran = run({.arguments = {"/bin/bash", "-c", script},
                              .environment = {{"S", root_.path()},
                                              {"PG", installation_.bin_directory},
                                              {"TZ", "UTC"},
                                              {"LC_ALL", "C.UTF-8"}},
                              .directory = root_.path()});
    std::vector<Lines> printed;
    for (std::string& line : lines_of(in_words_of_the_page(ran.out))) {
      if (line == "\001")
        printed.emplace_back();
      else if (!printed.empty())
        printed.back().push_back(std::move(line));
    }
    printed.resize(commands.size());
    for (Lines& lines : printed) drop_blank_ends(lines);
    return printed;
  }

 private:
  std::string in_words_of_the_page(std::string text) const {
    for (const auto& [word, becomes] :
         {std::pair{root_.path(), std::string()},
          std::pair{holdfast_program(), std::string("/usr/local/bin/holdfast")}})
      for (size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += becomes.size())
        text.replace(at, word.size(), becomes);
    return text;
  }

  ServerDirectory root_;
  cluster::Installation installation_;
};

// Times, ids and positions of the page and what they are in this run.
class Learned {
 public:
  void learn(const std::string& documented, const std::string& printed) {
    for (const Mask& mask : masks()) {
      if (!mask.learned) continue;
      const std::sregex_iterator end;
      std::sregex_iterator theirs(documented.begin(), documented.end(), mask.pattern);
      std::sregex_iterator ours(printed.begin(), printed.end(), mask.pattern);
      for (; theirs != end && ours != end; ++theirs, ++ours) {
        const size_t group = theirs->size() - 1;
        values_[theirs->str(group)] = ours->str(group);
      }
    }
  }
  // From left to right, the longest first; what was put in is not looked at again.
  std::string apply(const std::string& command) const {
    std::string out;
    for (size_t at = 0; at < command.size();) {
      auto best = values_.end();
      const bool inside_word = at > 0 && std::isalnum(static_cast<unsigned char>(command[at - 1]));
      for (auto value = values_.begin(); value != values_.end() && !inside_word; ++value)
        if (command.compare(at, value->first.size(), value->first) == 0 &&
            (best == values_.end() || value->first.size() > best->first.size()))
          best = value;
      out += best == values_.end() ? command.substr(at, 1) : best->second;
      at += best == values_.end() ? 1 : best->first.size();
    }
    return out;
  }

 private:
  std::map<std::string, std::string> values_;
};

TEST_P(Documents, EveryCommandPrintsWhatThePageShows) {
  const Sandbox sandbox;
  Learned learned;
  for (const Block& block : blocks_of(read_text_file(source(GetParam())))) {
    if (block.kind == "toml" && !block.text.empty() && block.text.front().starts_with("# /")) {
      write_file_durably(
          sandbox.in(block.text.front().substr(2)),
          as_bytes(sandbox.to_sandbox(fmt::format("{}\n", fmt::join(block.text, "\n")))));
    } else if (block.kind == "console") {
      const std::vector<Command> commands = commands_of(block);
      Lines words;
      for (const Command& command : commands)
        words.push_back(sandbox.to_sandbox(learned.apply(command.text)));
      const std::vector<Lines> printed = sandbox.shell(words);
      for (size_t i = 0; i < commands.size(); ++i) {
        const Lines& documented = commands[i].output;
        const std::optional<std::vector<size_t>> pairs = match(documented, printed[i]);
        if (!pairs)
          FAIL() << fmt::format("{}:{}: $ {}\nthe page shows:\n  {}\nit printed:\n  {}\n",
                                GetParam(), block.line, commands[i].text,
                                fmt::join(documented, "\n  "), fmt::join(printed[i], "\n  "));
        size_t next = 0;
        for (const std::string& line : documented)
          if (line != "...") learned.learn(line, printed[i][(*pairs)[next++]]);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Pages, Documents, testing::ValuesIn(kPages),
                         [](const testing::TestParamInfo<const char*>& page) {
                           return std::regex_replace(
                               std::filesystem::path(page.param).stem().string(), std::regex("-"),
                               "_");
                         });

TEST_F(Documents, TheTableNamesEveryPage) {
  std::vector<std::string> there = {"README.md"};
  for (const auto& entry : std::filesystem::directory_iterator(source("docs/guide")))
    there.push_back(join_path("docs/guide", entry.path().filename().string()));
  std::ranges::sort(there);
  EXPECT_EQ(there, std::vector<std::string>(kPages.begin(), kPages.end()));
}

// What is not run could be wrong: commands stand in console blocks, and what changes the machine is
// in the table above.
TEST_F(Documents, NoCommandHidesInABlockThatIsNotRun) {
  for (const char* page : kPages)
    for (const Block& block : blocks_of(read_text_file(source(page)))) {
      const std::string where = fmt::format("{}:{}", page, block.line);
      EXPECT_TRUE(block.kind == "console" || block.kind == "toml" || block.kind == "text" ||
                  block.kind == "sh")
          << where << ": a block of kind \"" << block.kind << "\"";
      for (const std::string& line : block.text) {
        EXPECT_TRUE(block.kind == "console" || !line.starts_with("$ ")) << where << ": " << line;
        EXPECT_TRUE(block.kind != "sh" || std::ranges::find(kNotRun, line) != kNotRun.end())
            << where << ": " << line;
      }
    }
}

// Links between documents lead somewhere.
TEST_F(Documents, EveryRelativeLinkNamesAFile) {
  static const std::regex kLink(R"(\]\(([^)#: ]+)(#[^)]*)?\))");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(source("docs"))) {
    if (entry.path().extension() != ".md") continue;
    const std::string text = read_text_file(entry.path().string());
    for (std::sregex_iterator link(text.begin(), text.end(), kLink), end; link != end; ++link)
      EXPECT_TRUE(std::filesystem::exists(entry.path().parent_path() / link->str(1)))
          << entry.path() << " links to " << link->str(1);
  }
}

TEST(DocumentedLines, AreComparedAsTheyAreReadNotAsTheyAreMeasured) {
  const struct {
    Lines documented, printed;
    bool same;
  } cases[] = {
      {{"took:  839 ms"}, {"took:     1.2 s"}, true},
      {{"took:  839 ms"}, {"took:  775 us"}, true},
      {{"took:  839 ms"}, {"lasted:  839 ms"}, false},
      {{"stop LSN 0/2000100, 2026-11-22 16:18:33.866 UTC"},
       {"stop LSN 1A/B0, 2027-01-02 03:04:05 UTC"},
       true},
      {{"a", "...", "z"}, {"a", "b", "c", "z"}, true},
      {{"a", "...", "z"}, {"a", "z"}, true},
      {{"a", "...", "z"}, {"a", "b", "y"}, false},
      {{"a", "b"}, {"a"}, false},
      {{"a"}, {"a", "b"}, false},
      {{"42 rows"}, {"43 rows"}, false},
  };
  for (const auto& c : cases)
    EXPECT_EQ(match(c.documented, c.printed).has_value(), c.same) << c.documented.front();
}

}  // namespace
}  // namespace holdfast::test
