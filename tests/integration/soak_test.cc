// Everything at once: backups, deletions, expiries with a tiny grace period, verifications,
// restores and pushes of WAL from two hosts, several at a time, on a store that is slow and fails
// at random, and random ones killed with all they have started. Afterwards each backup that was
// acknowledged and not deleted is there, and each that is there restores, row for row.
//
// The hosts are a primary and a standby of it that archives too; each command runs on one of them,
// by that host's name.
//
// What a killed or failed program claimed stays claimed for a day; here that day has passed when
// the program is dead: the test takes its notes away.
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/file_faults.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

// What a store that fails makes a command say.
constexpr const char* kStoreWords[] = {"Input/output error", "Stale file handle",
                                       "Connection timed out"};
constexpr int kSlowUs = 300;

class SoakRun {
 public:
  explicit SoakRun(uint64_t seed)
      : engine_(seed), scene_({.wal_segment_mib = 1, .config = {"wal_keep_size = 32MB"}}) {
    scene_.configure_grace("0s");
    scene_.server().sql("UPDATE pg_database SET datistemplate = false");
    scene_.server().sql("DROP DATABASE template0");
    scene_.server().sql("DROP DATABASE template1");
    scene_.server().sql("CREATE TABLE kept (g bigint, text text)");
    add_rows();
    acknowledged_[scene_.must({"backup"}).at("backup").at("id").as_string()] = rows_;
    make_standby();
    archive_unreliably(scene_.server(), "alpha");
    archive_unreliably(*standby_, "beta");
  }
  ~SoakRun() {
    if (standby_ && standby_->is_running()) standby_->stop(cluster::ShutdownMode::kImmediate);
  }

  void run(std::chrono::seconds duration) {
    const SteadyClock::time_point end = SteadyClock::now() + duration;
    while (SteadyClock::now() < end && !testing::Test::HasFailure()) {
      while (running_.size() < 4) start_something();
      Running& one = running_[draw(running_.size())];
      // Looked at for a while; then another's turn, or its end.
      if (std::optional<ExitStatus> status =
              one.process.wait(std::chrono::milliseconds(5 + draw(150)))) {
        finish(one, *status);
      } else if (draw(6) == 0) {
        kill_now(one);
      }
    }
    while (!running_.empty()) {
      Running& one = running_.front();
      finish(one, one.process.wait());
    }
  }

  void expect_everything_restores(size_t at_most) {
    standby_->stop(cluster::ShutdownMode::kImmediate);
    // Nothing works any more: what is left is removed, and a run more changes nothing.
    for (int i = 0; i < 3; ++i) scene_.must({"expire", "--grace", "0s"});
    const std::vector<std::string> ids = backups();
    EXPECT_FALSE(ids.empty());
    std::cout << fmt::format(
        "{} commands, {} killed, {} failed by the store; {} backups made, {} deleted, {} left; {} "
        "objects expired, {} verifications; {} segments pushed from alpha, {} from beta\n",
        commands_, killed_, failed_, acknowledged_.size(), deleted_, ids.size(), expired_,
        verified_, pushed_["alpha"], pushed_["beta"]);
    EXPECT_GT(failed_, 0U);
    EXPECT_GT(verified_, 0U);
    EXPECT_GT(pushed_["alpha"], 0U);
    EXPECT_GT(pushed_["beta"], 0U);

    // What was acknowledged and never asked to be deleted is there.
    const std::set<std::string> left(ids.begin(), ids.end());
    for (const auto& [id, rows] : acknowledged_)
      EXPECT_TRUE(left.contains(id) || doomed_.contains(id)) << id;
    const Json verified = scene_.must({"verify", "--deep"});
    for (const Json& lineage : verified.at("lineages").items()) {
      EXPECT_EQ(lineage.at("finding_count").as_u64(), 0U) << verified.dump();
      for (const Json& backup : lineage.at("backups").items())
        EXPECT_EQ(backup.at("verdict").as_string(), "good") << verified.dump();
    }

    for (size_t i = 0; i < ids.size(); ++i) {
      SCOPED_TRACE(ids[i]);
      if (ids.size() - i > at_most && i > 0) {  // laid and verified, not started
        scene_.must({"restore", "--into", scene_.path("laid"), "--backup", ids[i]});
        remove_tree(scene_.path("laid"));
        continue;
      }
      const std::unique_ptr<RestoredServer> server =
          scene_.restore_into("checked", {"--backup", ids[i], "--to-immediate"});
      const int64_t count = expect_rows(*server);
      if (acknowledged_.contains(ids[i])) {
        EXPECT_GE(count, acknowledged_[ids[i]]);
      }
      EXPECT_LE(count, rows_);
    }
    scene_.archive_current_segment();
    const std::unique_ptr<RestoredServer> newest = scene_.restore_into("newest", {});
    EXPECT_EQ(expect_rows(*newest), rows_);
  }

 private:
  enum class Kind : uint8_t { kBackup, kDelete, kExpire, kVerify, kRestore, kPush };
  struct Running {
    Kind kind;
    Process process;
    std::string output;
    std::string host;
    bool is_faulty = false;
    int64_t rows = 0;
    std::string directory;
  };

  uint64_t draw(uint64_t below) { return engine_() % below; }

  // --- Two hosts --------------------------------------------------------------------------------

  void make_standby() {
    const std::string data = scene_.path("standby");
    scene_.must({"restore", "--into", data});
    remove_file_if_exists(join_path(data, "recovery.signal"));
    write_file_durably(join_path(data, "standby.signal"), {});
    const std::string conf = join_path(data, "postgresql.auto.conf");
    write_file_durably(
        conf,
        as_bytes(read_text_file(conf) +
                 fmt::format("archive_mode = always\narchive_command = {}\n"
                             "recovery_target_timeline = 'latest'\nprimary_conninfo = {}\n",
                             cluster::quote_literal(scene_.server().value("SHOW archive_command")),
                             cluster::quote_literal(scene_.server().conninfo()))));
    standby_ = std::make_unique<PostgresServer>(PostgresServer::Options{.data_directory = data});
    EXPECT_TRUE(comes_true([&] {
      return scene_.server().value("SELECT count(*) FROM pg_stat_replication") == "1";
    })) << standby_->log();
  }

  // Its archiver too finds the store slow and failing, each time at another call.
  void archive_unreliably(PostgresServer& server, const std::string& host) {
    std::string command;
    for (const auto& [name, value] : environment_of(
             {.path = scene_.repository(), .slow_us = kSlowUs, .fail_one_in = 500}, host))
      command += fmt::format("{}={} ", name, name == "HF_TREE_SEED" ? "$$" : value);
    command += server.value("SHOW archive_command");
    server.sql("ALTER SYSTEM SET archive_command = " + cluster::quote_literal(command));
    server.sql("SELECT pg_reload_conf()");
    EXPECT_TRUE(comes_true([&] { return server.value("SHOW archive_command") == command; }));
  }

  // Of a host's pg_wal, one that it has completed; any.
  std::optional<std::string> completed_segment(const std::string& data_directory) {
    std::vector<std::string> names;
    for (const DirectoryEntry& entry :
         list_directory(join_path(data_directory, "pg_wal/archive_status")))
      if (entry.name.size() > 24 && entry.name[24] == '.' &&
          (entry.name.ends_with(".ready") || entry.name.ends_with(".done")))
        names.push_back(entry.name.substr(0, 24));
    if (names.empty()) return std::nullopt;
    return names[draw(names.size())];
  }

  // --- Rows -------------------------------------------------------------------------------------

  void add_rows() {
    const int64_t more = 100 + static_cast<int64_t>(draw(3000));
    scene_.server().sql(
        fmt::format("INSERT INTO kept SELECT g, pg_catalog.md5(g::text) FROM "
                    "pg_catalog.generate_series({}, {}) g",
                    rows_ + 1, rows_ + more));
    rows_ += more;
  }
  // The rows that there are are the first ones, each as it was inserted. Returns how many.
  static int64_t expect_rows(const RestoredServer& server) {
    const std::string count = server.value("SELECT pg_catalog.count(*) FROM public.kept");
    EXPECT_EQ(
        server.value(fmt::format("SELECT pg_catalog.count(*) FROM (SELECT g, text FROM public.kept "
                                 "EXCEPT ALL SELECT g, pg_catalog.md5(g::text) FROM "
                                 "pg_catalog.generate_series(1, {}) g) wrong",
                                 count)),
        "0");
    return std::stoll(count);
  }
  std::vector<std::string> backups() {
    std::vector<std::string> ids;
    const Json list = scene_.must({"backup", "list"});
    for (const Json& backup : list.at("backups").items())
      ids.push_back(backup.at("id").as_string());
    return ids;
  }

  // --- Commands ---------------------------------------------------------------------------------

  void start_something() {
    ++commands_;
    const std::string id = fmt::format("{}", commands_);
    const bool is_beta = draw(2) == 0;
    const std::string data = is_beta ? scene_.path("standby") : scene_.server().data_directory();
    std::vector<std::string> words;
    Kind kind = Kind::kExpire;
    std::string directory;
    int64_t rows = rows_;
    switch (draw(10)) {
      case 0:
      case 1:
        add_rows();
        kind = Kind::kBackup;
        words = {"backup", "--json"};
        if (is_beta)
          words.insert(words.end(), {"--pgdata", data, "--conninfo", standby_->conninfo()});
        rows = is_beta ? replayed_rows() : rows_;
        break;
      case 2:
        if (const std::vector<std::string> ids = backups(); ids.size() > 2) {
          kind = Kind::kDelete;
          words = {"backup", "delete", ids[draw(ids.size())], "--yes", "--json"};
          doomed_.insert(words[2]);
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
      case 6:
        kind = Kind::kPush;
        scene_.server().sql("SELECT pg_catalog.pg_switch_wal()");
        if (const std::optional<std::string> name = completed_segment(data))
          words = {"wal", "push", "pg_wal/" + *name};
        break;
      case 7:
        kind = Kind::kVerify;
        words = {"verify", "--json"};
        if (draw(2) == 0) words.emplace_back("--deep");
        break;
      default:
        break;
    }
    if (words.empty()) {
      kind = Kind::kExpire;
      words = {"expire", "--grace", draw(2) == 0 ? "1s" : "3s", "--json"};
    }
    // Every second one finds a store that fails: soon, or somewhere in its middle.
    constexpr int kFailOneIn[] = {0, 0, 0, 2000, 500, 100};
    const UnreliableTree tree{.path = scene_.repository(),
                              .seed = draw(uint64_t{1} << 30),
                              .slow_us = draw(4) == 0 ? 10 * kSlowUs : kSlowUs,
                              .fail_one_in = kFailOneIn[draw(std::size(kFailOneIn))]};
    const std::string host = is_beta ? "beta" : "alpha";
    const std::string output = scene_.path("output-" + id);
    SpawnOptions options{.arguments = {holdfast_program(), "-q", "--config", scene_.config_file()},
                         .environment = environment_of(tree, host),
                         .directory = data,
                         .output = output + ".out",
                         .error = output + ".err"};
    options.arguments.insert(options.arguments.end(), words.begin(), words.end());
    running_.push_back(Running{.kind = kind,
                               .process = Process(options),
                               .output = output,
                               .host = host,
                               .is_faulty = tree.fail_one_in > 0,
                               .rows = rows,
                               .directory = directory});
  }

  int64_t replayed_rows() { return std::stoll(standby_->value("SELECT count(*) FROM kept")); }

  void finish(Running& one, ExitStatus status) {
    const std::string out = read_text_file(one.output + ".out");
    const std::string err = read_text_file(one.output + ".err");
    const std::string said = fmt::format("{}\n{}{}", to_string(status), out, err);
    auto says = [&](std::string_view words) { return err.find(words) != err.npos; };
    if (one.is_faulty && !status.signalled && status.code == 1 &&
        std::ranges::any_of(kStoreWords, says)) {
      ++failed_;
      // It was found failing, or its acknowledgement was: its claims end with it all the same.
      take_claims_of(one.process.pid());
      forget(one);
      return;
    }
    switch (one.kind) {
      case Kind::kBackup:
        // The standby waits for WAL that the primary's archiver may not bring through in time.
        EXPECT_TRUE(status.ok() || (one.host == "beta" && says("did not reach the archive")))
            << said;
        if (status.ok())
          acknowledged_[Json::parse(out, "backup").at("backup").at("id").as_string()] = one.rows;
        break;
      case Kind::kDelete:
        // 5: a restore uses it; 1: another deletion was quicker; 2: it would be the last.
        EXPECT_TRUE(!status.signalled && (status.code <= 2 || status.code == 5) &&
                    !says("internal"))
            << said;
        if (status.ok()) ++deleted_;
        break;
      case Kind::kExpire:
        // 5: one at a time.
        EXPECT_TRUE(status.ok() || (status.code == 5 && says("another expiry is at work"))) << said;
        if (status.ok())
          expired_ += Json::parse(out, "expire")
                          .at("lineages")
                          .items()
                          .at(0)
                          .at("removed")
                          .at("objects")
                          .as_u64();
        break;
      case Kind::kVerify:
        // What the store did not give is no damage.
        if (one.is_faulty && status.code == 3) {
          ++failed_;
          const Json verified = Json::parse(out, "verify");
          for (const Json& lineage : verified.at("lineages").items()) {
            for (const Json& finding : lineage.at("findings").items())
              EXPECT_EQ(finding.at("problem").as_string(), "unreadable") << said;
            for (const Json& backup : lineage.at("backups").items())
              EXPECT_NE(backup.at("verdict").as_string(), "damaged") << said;
          }
          break;
        }
        EXPECT_TRUE(status.ok()) << said;
        if (status.ok()) ++verified_;
        break;
      case Kind::kRestore:
        // A backup that was deleted before the restore could say that it uses it.
        EXPECT_TRUE(status.ok() || says("has no backup") || says("was deleted at this moment") ||
                    says("was removed at this moment") || says("no WAL of cluster"))
            << said;
        // Whoever started a server on it would have done so by now: its claim on WAL is over.
        take_claims_of(one.process.pid());
        break;
      case Kind::kPush:
        // 1: the server has removed the segment, or an expiry has listed it.
        EXPECT_TRUE(status.ok() || says("does not exist") || says("No such file") ||
                    says("about to be removed"))
            << said;
        if (status.ok()) ++pushed_[one.host];
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
  std::unique_ptr<PostgresServer> standby_;
  std::vector<Running> running_;
  // Backups whose making was acknowledged, with the rows that they hold at least; and those whose
  // deletion was asked for.
  std::map<std::string, int64_t> acknowledged_;
  std::set<std::string> doomed_;
  std::map<std::string, uint64_t> pushed_;  // by host
  int64_t rows_ = 0;
  uint64_t commands_ = 0, killed_ = 0, failed_ = 0, deleted_ = 0, expired_ = 0, verified_ = 0;
};

void soak(std::chrono::seconds duration, size_t started) {
  const char* given = std::getenv("HOLDFAST_SEED");
  const uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device()();
  std::cout << fmt::format("seed {} (HOLDFAST_SEED repeats its choices)\n", seed);
  SoakRun run(seed);
  run.run(duration);
  run.expect_everything_restores(started);
}

TEST(Soak, LeavesEveryBackupThatWasNotDeletedRestorable) { soak(60s, 3); }
TEST(LongSoak, LeavesEveryBackupThatWasNotDeletedRestorable) { soak(10min, 20); }

}  // namespace
}  // namespace holdfast::test
