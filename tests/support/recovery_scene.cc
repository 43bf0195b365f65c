#include "support/recovery_scene.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <set>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "cluster/running_server.h"
#include "codec/digest.h"
#include "support/holdfast_command.h"

namespace holdfast::test {
namespace {

namespace fs = std::filesystem;

// Processes whose working directory is, or was before it was deleted, `directory` or below it.
std::vector<pid_t> processes_below(const std::string& directory) {
  std::vector<pid_t> found;
  for (const DirectoryEntry& entry : list_directory("/proc")) {
    if (entry.name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::error_code gone;  // it can end at any moment, or be somebody else's
    const std::string at = fs::read_symlink("/proc/" + entry.name + "/cwd", gone).string();
    if (gone) continue;
    if (at != directory && !at.starts_with(directory + "/") && at != directory + " (deleted)")
      continue;
    const pid_t pid = static_cast<pid_t>(std::stol(entry.name));
    if (pid != process_id()) found.push_back(pid);
  }
  return found;
}

// A killed process is one until its parent has asked after it, and PostgreSQL takes its lock files
// for a living server's. Not every system asks after the orphans of others at once; so the tests
// run in a child of this process, which takes their orphans and does nothing but ask after them.
const bool kOrphansAreAskedAfter = [] {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) throw_errno("watch over", "orphans");
  const pid_t tests = fork();
  if (tests < 0) throw_errno("start", "the tests");
  if (tests == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    return true;
  }
  for (;;) {
    int status = 0;
    if (waitpid(-1, &status, 0) == tests)
      _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
}();

// Whether nobody can take `pid` for a living process; a dead child of ours waits for its owner.
bool is_gone(pid_t pid) {
  if (kill(pid, 0) != 0) return true;
  siginfo_t ended{};
  return waitid(P_PID, static_cast<id_t>(pid), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         ended.si_pid == pid;
}

}  // namespace

bool comes_true(const std::function<bool()>& question, std::chrono::seconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!question()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    wait_for({}, std::chrono::milliseconds(20));
  }
  return true;
}

void end_processes_below(const std::string& directory) {
  std::set<pid_t> ended;
  comes_true([&] {
    const std::vector<pid_t> found = processes_below(directory);
    for (pid_t pid : found) kill(pid, SIGKILL);
    ended.insert(found.begin(), found.end());
    return found.empty() && std::ranges::all_of(ended, is_gone);
  });
}

void wait_until_deserted(const std::string& directory) {
  if (!comes_true([&] { return processes_below(directory).empty(); })) {
    std::string all;
    for (const pid_t pid : processes_below(directory)) {
      std::string line = fmt::format(" {}:", pid);
      error_of([&] { line += read_text_file(fmt::format("/proc/{}/cmdline", pid)); });
      std::ranges::replace(line, '\0', ' ');
      all += line;
    }
    throw Error({.code = ErrorCode::kBusy,
                 .message = fmt::format("processes still work in \"{}\":{}", directory, all)});
  }
}

std::vector<std::string> listing(const std::string& directory) {
  std::vector<std::string> lines;
  if (!lstat_if_exists(directory)) return lines;
  auto add = [&](const std::string& path) {
    const struct stat status = lstat_if_exists(path).value();
    lines.push_back(fmt::format("{} {:o} {} {}.{:09}", path, status.st_mode, status.st_size,
                                status.st_mtim.tv_sec, status.st_mtim.tv_nsec));
  };
  add(directory);
  if (is_directory(directory))
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory))
      add(entry.path().string());
  std::ranges::sort(lines);
  return lines;
}

std::vector<std::string> contents(const std::string& directory) {
  std::vector<std::string> lines;
  if (!lstat_if_exists(directory)) return lines;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file() && !entry.is_symlink())
      lines.push_back(fmt::format("{} {}", fs::relative(entry.path(), directory).string(),
                                  to_hex(codec::sha256(read_file(entry.path().string())).view())));
  std::ranges::sort(lines);
  return lines;
}

// --- RestoredServer -----------------------------------------------------------------------------

RestoredServer::RestoredServer(std::string directory, Json result)
    : directory_(std::move(directory)), result_(std::move(result)) {}

RestoredServer::~RestoredServer() { destroy(); }

std::string RestoredServer::conninfo(const std::string& database) const {
  return fmt::format("{} port={} user=postgres {}",
                     cluster::conninfo_pair("host", result_.at("socket_directory").as_string()),
                     result_.at("port").as_i64(), cluster::conninfo_pair("dbname", database));
}

cluster::Connection RestoredServer::connect(const std::string& database) const {
  return cluster::Connection::connect({.conninfo = conninfo(database)}, {});
}

std::string RestoredServer::value(const std::string& statement) const {
  return connect().query_value(statement);
}

void RestoredServer::destroy() {
  end_processes_below(directory_);
  remove_tree(directory_);
}

// --- RecoveryScene ------------------------------------------------------------------------------

RecoveryScene::RecoveryScene(const Options& options) {
  if (geteuid() == 0)
    throw Error({.code = ErrorCode::kPermission,
                 .message = "root cannot run these tests",
                 .hint = "Run them with tools/run_integration, which takes another user."});
  forget_outer_settings();
  if (options.wal_segment_mib)
    segment_size_ =
        pg::WalSegmentSize(static_cast<uint64_t>(*options.wal_segment_mib) * (uint64_t{1} << 20));
  server_ = std::make_unique<PostgresServer>(
      PostgresServer::Options{.major = options.major,
                              .config = options.config,
                              .wal_segment_mib = options.wal_segment_mib,
                              .start = false});
  // In the file, so that a restored server has them too.
  const std::string file = join_path(server_->data_directory(), "postgresql.conf");
  std::string text = read_text_file(file);
  text += fmt::format(
      "listen_addresses = ''\nunix_socket_directories = '{}'\nport = 5432\nfsync = off\n"
      "shared_buffers = 16MB\nwal_level = replica\narchive_mode = {}\n",
      directory(), options.archive ? "on" : "off");
  write_file_durably(file, as_bytes(text));

  std::string how = fmt::format("compression = \"{}\"\n", options.compression);
  std::vector<std::string> words = {"init"};
  if (options.archive) words.emplace_back("--configure-server");
  if (options.sealing != Sealing::kNone) words.emplace_back("--encrypt");
  if (options.sealing == Sealing::kKeyFile) how += fmt::format("key_file = \"{}\"\n", key_file());
  if (options.sealing == Sealing::kPassphrase) {
    how += fmt::format("passphrase_file = \"{}\"\n", key_file());
    write_file_durably(key_file(), as_bytes("correct horse battery staple\n"));
  }
  write_file_durably(
      config_file(),
      as_bytes(fmt::format("[repo]\nurl = \"{}\"\n{}\n[cluster.main]\npgdata = \"{}\"\nconninfo = "
                           "\"{}\"\nbindir = \"{}\"\n",
                           repository(), how, server_->data_directory(),
                           "host=" + directory() + " port=5432 user=postgres dbname=postgres",
                           server_->installation().bin_directory)));
  server_->start();
  must(words);
}

void RecoveryScene::configure_grace(const std::string& grace) const {
  std::string text = read_text_file(config_file());
  const std::string section = "[repo]\n";
  text.replace(text.find(section), section.size(),
               fmt::format("{}grace = \"{}\"\n", section, grace));
  write_file_durably(config_file(), as_bytes(text));
}

RecoveryScene::~RecoveryScene() { end_processes_below(directory()); }

std::string RecoveryScene::path(const std::string& name) const {
  return join_path(directory(), name);
}

Captured RecoveryScene::run(std::vector<std::string> words, const std::string& directory) const {
  words.insert(words.begin(), {"--config", config_file()});
  return holdfast(words, directory);
}

Json RecoveryScene::must(std::vector<std::string> words) const {
  words.emplace_back("--json");
  const Captured ran = run(words);
  if (!ran.status.ok())
    throw Error({.code = ErrorCode::kInternal,
                 .message = fmt::format("\"holdfast {}\" failed: {}", fmt::join(words, " "),
                                        describe(ran))});
  return Json::parse(ran.out, "output of " + words.front());
}

std::unique_ptr<RestoredServer> RecoveryScene::restore_into(
    const std::string& name, const std::vector<std::string>& words) const {
  std::vector<std::string> all = {"restore", "--into", path(name), "--start"};
  all.insert(all.end(), words.begin(), words.end());
  return std::make_unique<RestoredServer>(path(name), must(all));
}

std::unique_ptr<RestoredServer> RecoveryScene::restore_in_place(
    const std::vector<std::string>& words) const {
  std::vector<std::string> all = {"restore", "--in-place", "--yes", "--start"};
  all.insert(all.end(), words.begin(), words.end());
  return std::make_unique<RestoredServer>(server_->data_directory(), must(all));
}

std::string RecoveryScene::archive_current_segment() {
  return archive_current_segment(server_->connect());
}

std::string RecoveryScene::archive_current_segment(cluster::Connection connection) const {
  // Something must lie in the segment, or there is nothing to switch away from.
  connection.query("SELECT pg_catalog.pg_create_restore_point('the segment ends')");
  const pg::Lsn end = pg::parse_lsn(connection.query_value("SELECT pg_catalog.pg_switch_wal()"));
  const uint32_t timeline = static_cast<uint32_t>(std::stoul(
      connection.query_value(
          "SELECT "
          "pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), "
          "1, 8)"),
      nullptr, 16));
  const std::string name = pg::segment_file_name(
      {.timeline = {timeline}, .segment_number = pg::last_segment_before_end(end, segment_size_)},
      segment_size_);
  if (!comes_true([&] { return wal_object(name).has_value(); }))
    throw Error({.code = ErrorCode::kServer,
                 .message = fmt::format("WAL segment \"{}\" was not archived; the log: {}", name,
                                        server_->log())});
  return name;
}

std::optional<std::string> RecoveryScene::wal_object(const std::string& name) const {
  const std::string clusters = join_path(repository(), "clusters/main");
  for (const DirectoryEntry& lineage : list_directory(clusters)) {
    const std::string wal =
        join_path(join_path(clusters, lineage.name), "wal/" + name.substr(0, 8));
    std::vector<std::string> places = {
        join_path(wal, name.substr(0, 16) + "/" + name),
        wal + ".history",
    };
    const std::string& place = name.ends_with(".history") ? places[1] : places[0];
    if (lstat_if_exists(place)) return place;
  }
  return std::nullopt;
}

std::vector<std::string> RecoveryScene::archived_segments(uint32_t timeline) const {
  std::vector<std::string> names;
  const std::string clusters = join_path(repository(), "clusters/main");
  for (const DirectoryEntry& lineage : list_directory(clusters)) {
    const std::string wal =
        join_path(join_path(clusters, lineage.name), fmt::format("wal/{:08X}", timeline));
    for (const DirectoryEntry& folder :
         list_directory_if_exists(wal).value_or(std::vector<DirectoryEntry>{}))
      for (const DirectoryEntry& entry : list_directory(join_path(wal, folder.name)))
        if (entry.name.size() == 24) names.push_back(entry.name);
  }
  std::ranges::sort(names);
  return names;
}

pg::Lsn RecoveryScene::archive_end(uint32_t timeline) const {
  const std::vector<std::string> names = archived_segments(timeline);
  if (names.empty())
    throw Error({.code = ErrorCode::kNotFound, .message = "nothing is archived of the timeline"});
  return pg::end_lsn(pg::parse_wal_file_name(names.back(), segment_size_).segment.segment_number,
                     segment_size_);
}

void RecoveryScene::crash() {
  if (server_->is_running()) server_->crash();
  // A backend that waits for the checkpointer asks for a minute whether it is there
  // (RequestCheckpoint, checkpointer.c) before it sees that the postmaster is gone.
  comes_true([&] {
    const std::vector<pid_t> left = processes_below(server_->data_directory());
    for (const pid_t pid : left) {
      std::string name;
      error_of([&] { name = read_text_file(fmt::format("/proc/{}/comm", pid)); });
      if (name == "postgres\n") kill(pid, SIGKILL);
    }
    return left.empty();
  });
  wait_until_deserted(server_->data_directory());
}

void RecoveryScene::destroy() {
  crash();
  remove_tree(server_->data_directory());
  for (const std::string& tablespace : tablespaces_) remove_tree(tablespace);
}

std::string RecoveryScene::make_tablespace_directory(const std::string& name) {
  std::string made = server_->server_directory().make(name);
  tablespaces_.push_back(made);
  return made;
}

}  // namespace holdfast::test
