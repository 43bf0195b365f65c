// Everything at once: backups, deletions, expiries with a tiny grace period, restores and pushes of
// WAL from two sides, several at a time, and random ones killed with all they have started. Each
// backup that is left restores, row for row.
//
// What a killed program claimed stays claimed for a day; here that day has passed when the program
// is dead: the test takes its notes away.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

class SoakRun {
 public:
  explicit SoakRun(uint64_t seed)
      : engine_(seed), scene_({.wal_segment_mib = 1, .config = {"wal_keep_size = 32MB"}}) {
    scene_.server().sql("UPDATE pg_database SET datistemplate = false");
    scene_.server().sql("DROP DATABASE template0");
    scene_.server().sql("DROP DATABASE template1");
    scene_.server().sql("CREATE TABLE kept (g bigint)");
    add_rows();
    rows_at_[scene_.must({"backup"}).at("backup").at("id").as_string()] = rows_;
  }

  void run(std::chrono::seconds duration) {
    const SteadyClock::time_point end = SteadyClock::now() + duration;
    while (SteadyClock::now() < end && !testing::Test::HasFailure()) {
      while (running_.size() < 3) start_something();
      Running& one = running_[draw(running_.size())];
      // Looked at for a while; then another's turn, or its end.
      if (std::optional<ExitStatus> status =
              one.process.wait(std::chrono::milliseconds(5 + draw(150)))) {
        finish(one, *status);
      } else if (draw(3) == 0) {
        kill_now(one);
      }
    }
    while (!running_.empty()) {
      Running& one = running_.front();
      finish(one, one.process.wait());
    }
  }

  void expect_everything_restores(size_t at_most) {
    // Nothing works any more: what is left is removed, and a run more changes nothing.
    for (int i = 0; i < 3; ++i) scene_.must({"expire", "--grace", "0s"});
    std::vector<std::string> ids = backups();
    EXPECT_FALSE(ids.empty());
    std::cout << fmt::format(
        "{} commands, {} killed; {} backups made, {} deleted, {} left; {} objects expired\n",
        commands_, killed_, made_, deleted_, ids.size(), expired_);
    for (size_t i = 0; i < ids.size(); ++i) {
      SCOPED_TRACE(ids[i]);
      if (ids.size() - i > at_most && i > 0) {  // laid and verified, not started
        scene_.must({"restore", "--into", scene_.path("laid"), "--backup", ids[i]});
        remove_tree(scene_.path("laid"));
        continue;
      }
      const std::unique_ptr<RestoredServer> server =
          scene_.restore_into("checked", {"--backup", ids[i], "--to-immediate"});
      const int64_t count =
          std::stoll(server->value("SELECT pg_catalog.count(*) FROM public.kept"));
      EXPECT_EQ(server->value("SELECT pg_catalog.sum(g) FROM public.kept"),
                fmt::format("{}", count * (count + 1) / 2));
      if (rows_at_.contains(ids[i])) {
        EXPECT_GE(count, rows_at_[ids[i]]);
      }
      EXPECT_LE(count, rows_);
    }
    const std::unique_ptr<RestoredServer> newest = [&] {
      scene_.archive_current_segment();
      return scene_.restore_into("newest", {});
    }();
    EXPECT_EQ(newest->value("SELECT pg_catalog.count(*) FROM public.kept"),
              fmt::format("{}", rows_));
  }

 private:
  enum class Kind : uint8_t { kBackup, kDelete, kExpire, kRestore, kPush };
  struct Running {
    Kind kind;
    Process process;
    std::string output;
    int64_t rows = 0;
    std::string directory;
  };

  uint64_t draw(uint64_t below) { return engine_() % below; }

  void add_rows() {
    const int64_t more = 100 + static_cast<int64_t>(draw(3000));
    scene_.server().sql(fmt::format("INSERT INTO kept SELECT pg_catalog.generate_series({}, {})",
                                    rows_ + 1, rows_ + more));
    rows_ += more;
  }
  std::vector<std::string> backups() {
    std::vector<std::string> ids;
    const Json list = scene_.must({"backup", "list"});
    for (const Json& backup : list.at("backups").items())
      ids.push_back(backup.at("id").as_string());
    return ids;
  }

  void start_something() {
    ++commands_;
    const std::string id = fmt::format("{}", commands_);
    std::vector<std::string> words;
    Kind kind = Kind::kExpire;
    std::string directory;
    switch (draw(8)) {
      case 0:
      case 1:
        add_rows();
        kind = Kind::kBackup;
        words = {"backup", "--json"};
        break;
      case 2:
        if (const std::vector<std::string> ids = backups(); ids.size() > 2) {
          kind = Kind::kDelete;
          words = {"backup", "delete", ids[draw(ids.size())], "--yes", "--json"};
        }
        break;
      case 3:
        kind = Kind::kRestore;
        directory = scene_.path("restored-" + id);
        words = {"restore", "--into", directory};
        if (const std::vector<std::string> ids = backups(); !ids.empty())
          words.insert(words.end(), {"--backup", ids[draw(ids.size())]});
        break;
      case 4:
      case 5:
        kind = Kind::kPush;
        scene_.server().sql("SELECT pg_catalog.pg_switch_wal()");
        if (const std::vector<std::string> names = scene_.archived_segments(); !names.empty())
          words = {"wal", "push", "pg_wal/" + names.back()};
        break;
      default:
        break;
    }
    if (words.empty()) {
      kind = Kind::kExpire;
      words = {"expire", "--grace", "3s", "--json"};
    }
    const std::string output = scene_.path("output-" + id);
    SpawnOptions options{.arguments = {holdfast_program(), "-q", "--config", scene_.config_file()},
                         .directory = scene_.server().data_directory(),
                         .output = output + ".out",
                         .error = output + ".err"};
    options.arguments.insert(options.arguments.end(), words.begin(), words.end());
    running_.push_back(Running{.kind = kind,
                               .process = Process(options),
                               .output = output,
                               .rows = rows_,
                               .directory = directory});
  }

  void finish(Running& one, ExitStatus status) {
    const std::string out = read_text_file(one.output + ".out");
    const std::string err = read_text_file(one.output + ".err");
    const std::string said = fmt::format("{}\n{}{}", to_string(status), out, err);
    switch (one.kind) {
      case Kind::kBackup:
        EXPECT_TRUE(status.ok()) << said;
        if (status.ok()) {
          const Json made = Json::parse(out, "backup");
          rows_at_[made.at("backup").at("id").as_string()] = one.rows;
          ++made_;
        }
        break;
      case Kind::kDelete:
        // 5: a restore uses it; 1: another deletion was quicker; 2: it would be the last.
        EXPECT_TRUE(!status.signalled && (status.code <= 2 || status.code == 5) &&
                    err.find("internal") == err.npos)
            << said;
        if (status.ok()) ++deleted_;
        break;
      case Kind::kExpire:
        EXPECT_TRUE(status.ok()) << said;
        if (status.ok())
          expired_ += Json::parse(out, "expire")
                          .at("lineages")
                          .items()
                          .at(0)
                          .at("removed")
                          .at("objects")
                          .as_u64();
        break;
      case Kind::kRestore:
        // A backup that was deleted before the restore could say that it uses it.
        EXPECT_TRUE(status.ok() || err.find("has no backup") != err.npos ||
                    err.find("was deleted at this moment") != err.npos ||
                    err.find("was removed at this moment") != err.npos)
            << said;
        // Whoever started a server on it would have done so by now: its claim on WAL is over.
        take_claims_of(one.process.pid());
        break;
      case Kind::kPush:
        // 1: the server has removed the segment.
        EXPECT_TRUE(status.ok() || err.find("does not exist") != err.npos ||
                    err.find("No such file") != err.npos)
            << said;
        break;
    }
    forget(one);
  }

  void kill_now(Running& one) {
    one.process.signal(SIGKILL);
    one.process.wait();
    ++killed_;
    take_claims_of(one.process.pid());
    forget(one);
  }

  void forget(Running& one) {
    if (!one.directory.empty()) remove_tree(one.directory);
    std::vector<Running> left;
    for (Running& other : running_)
      if (&other != &one) left.push_back(std::move(other));
    running_.swap(left);
  }

  void take_claims_of(pid_t pid) {
    const std::string folder = join_path(scene_.repository(), "clusters/main/15-1/intents");
    for (const DirectoryEntry& entry :
         list_directory_if_exists(folder).value_or(std::vector<DirectoryEntry>{})) {
      const std::string path = join_path(folder, entry.name);
      const std::optional<Bytes> text = read_if_exists(path);
      if (text && as_text(*text).find(fmt::format("\"pid\": {},", pid)) != std::string_view::npos)
        remove_file_if_exists(path);
    }
  }

  std::mt19937_64 engine_;
  RecoveryScene scene_;
  std::vector<Running> running_;
  std::map<std::string, int64_t> rows_at_;
  int64_t rows_ = 0;
  uint64_t commands_ = 0, killed_ = 0, made_ = 1, deleted_ = 0, expired_ = 0;
};

void soak(std::chrono::seconds duration, size_t started) {
  const char* given = std::getenv("HOLDFAST_SEED");
  const uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
  std::cout << fmt::format("seed {} (HOLDFAST_SEED repeats its choices)\n", seed);
  SoakRun run(seed);
  run.run(duration);
  run.expect_everything_restores(started);
}

TEST(Soak, LeavesEveryBackupThatWasNotDeletedRestorable) { soak(15s, 3); }
TEST(LongSoak, LeavesEveryBackupThatWasNotDeletedRestorable) { soak(10min, 20); }

}  // namespace
}  // namespace holdfast::test
