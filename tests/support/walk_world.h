// walk_world.h: some servers and one repository, what people and tools do to them, and what must be
// true all the while.
//
// Every step notes what it does in a log, for the message of a walk that failed. The model is
// WalkHistory: which rows were acknowledged on which line, and who stands on which line. Steps and
// questions throw an Error as soon as something is not as it was promised:
//
//   rows        a server holds exactly the rows of its line; a standby a beginning of them
//   promises    what a recovery reached is what its target says; none is refused that the archive
//               has whole
//   archiving   a server that archives gets ahead
//   words       wal list, verify, info and check know of a hole if there is one, and of none else
//   answers     wal get says 1 of a segment only when nothing proves that there was one
//
// One server at a time is the primary: who promotes another one has ended the first. All of them
// lie below one directory, with sockets in it, and each has a configuration file of Holdfast's of
// its own, as each host has. The servers keep nothing durably, so only processes are killed.
#pragma once

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/process.h"
#include "cluster/connection.h"
#include "cluster/installation.h"
#include "cluster/server_process.h"
#include "support/recovery_scene.h"
#include "support/walk_history.h"

namespace holdfast::test {

class WalkWorld {
 public:
  enum class Role : uint8_t { kGone, kPrimary, kStandby, kOld };  // kOld: ended, was a primary
  struct Server {
    std::string name;  // "n1"
    std::string data;
    int port = 0;
    Role role = Role::kGone;
    bool is_running = false;
    int line = 0;
    bool archives_always = false;
    bool is_held = false;  // its archiving fails
  };
  struct Backup {
    std::string id;
    uint32_t timeline = 0;
    pg::Lsn start, stop;
    bool is_damaged = false;
  };
  struct Point {  // a place to which a recovery can go
    std::string name;
    int line = 0;
    pg::Lsn record = {}, lsn = {};  // of the restore point's record: where it begins, and its end
    Time time = {};
  };

  // The primary n1 and its standbys n2 and n3, or the first so many of them, with two rows and a
  // backup. Made once a process for each major, and copied.
  WalkWorld(int major, int servers);
  ~WalkWorld();
  WalkWorld(const WalkWorld&) = delete;
  WalkWorld& operator=(const WalkWorld&) = delete;

  const std::vector<std::string>& log() const { return log_; }
  std::string path(const std::string& name) const { return join_path(directory_, name); }
  std::string config_file(const Server& server) const { return path(server.name + ".toml"); }
  std::string repository() const { return path("repo"); }
  int major() const { return installation_.major; }
  std::vector<Server>& servers() { return servers_; }
  Server& server(const std::string& name);
  Server* primary();
  std::vector<Server*> having(Role role, std::optional<bool> is_running = std::nullopt);
  const WalkHistory& history() const { return history_; }
  const std::vector<Point>& points() const { return points_; }
  cluster::Connection connect(const Server& server) const;
  std::string value(const Server& server, const std::string& statement) const;
  std::string server_log(const Server& server) const;

  // --- What happens on the primary
  // -----------------------------------------------------------------

  // Rows, each acknowledged before the next; `kib` of payload in each.
  void write(int rows = 1, int kib = 0);
  void switch_wal();
  Point restore_point();
  void checkpoint();
  // That standby acknowledges each commit from now on; empty: none.
  void synchronize_with(const std::string& standby);

  // --- Accidents and administration
  // ----------------------------------------------------------------

  void kill(Server& server);  // kill -9 of the postmaster
  void stop(Server& server, cluster::ShutdownMode mode);
  // False when it ends instead.
  bool try_start(Server& server);
  void start(Server& server);
  void destroy(Server& server);  // with all it has
  void hold_archiving(Server& server);
  void release_archiving(Server& server);
  void take_repository_away();
  void bring_repository_back();
  bool is_repository_away() const { return is_away_; }
  void archive_always(Server& standby, bool always);  // restarts it when it runs
  void wait_for_standby(Server& standby);
  void promote(Server& standby);
  // The same, while the repository is away for so long.
  void promote_in_outage(Server& standby, std::chrono::seconds outage);
  // A server that became a primary beside the one that there is.
  void adopt_stray(Server& server);
  // Somebody else has started it, after a recovery.
  void adopt(Server& server);
  // Points a standby at the primary and restarts it.
  void follow(Server& standby);
  // Makes a standby of a server that was a primary, and of one that is gone. False when pg_rewind
  // could not (it lacks WAL): the data directory is gone then.
  bool rewind(Server& server);
  void clone(Server& server);
  void restore_as_standby(Server& server);

  // What the environment of each command has from now on.
  void set_environment(std::vector<std::pair<std::string, std::string>> environment) {
    environment_ = std::move(environment);
  }

  // --- Holdfast
  // -------------------------------------------------------------------------------------

  Captured run(const Server& server, std::vector<std::string> words,
               const std::string& directory = {});
  // By root; where the tests are not run by root, by the root of a user namespace.
  Captured run_as_root(const Server& server, const std::vector<std::string>& words);
  Json must(const Server& server, std::vector<std::string> words);
  std::string back_up(const Server& server);
  std::vector<Backup> backups();
  void delete_backup(const std::string& id);
  void make_objects_older();  // all in the repository, by an hour
  void expire();              // what is garbage goes, at once
  Captured salvage(const Server& server);
  Captured push(const Server& server, const std::string& file);
  // A base backup of pg_basebackup's with the WAL it needs (where there is none, an exported one);
  // and its import.
  std::string take_tar(const Server& server);
  std::string import_tar(const std::string& directory);
  void drill();

  struct Target {
    std::vector<std::string> words;
    std::optional<Point> point = std::nullopt;  // none: the end
    bool by_time = false;
  };
  static Target latest() { return {}; }
  static Target by_name(const Point& point);
  static Target by_lsn(const Point& point);
  static Target by_time(const Point& point);
  // Ends the server if it still runs. True when it was recovered, and then it is the primary on a
  // new line with exactly the rows that the target says; false when the target could not be
  // reached, and then it lies there as before. Every other server is gone from the line.
  bool restore_in_place(Server& server, const Target& target,
                        const std::vector<std::string>& words = {});

  // --- What must be true
  // ----------------------------------------------------------------------------

  void expect_rows(Server& server);
  void expect_archiving(Server& server);
  void expect_truthful_words();
  void expect_truthful_info();
  void expect_truthful_get();
  // A backup listed as good restores and starts, with its rows.
  void expect_backup_restores(const Backup& backup);
  // A recovery elsewhere: what it says is what it gives.
  void expect_recovery(const Target& target, std::optional<uint32_t> timeline = std::nullopt);
  void expect_all_rows();  // of every server that runs
  // Everything of the above that takes no restore.
  void expect_all_is_well();

  // Names of the complete segments in the repository.
  bool is_archived(uint32_t timeline, uint64_t segment) const;
  std::set<uint64_t> archived(uint32_t timeline) const;
  std::optional<std::string> wal_object(const std::string& name) const;
  std::string segment_name(uint32_t timeline, uint64_t segment) const;
  // What a standby has on its disk.
  pg::Lsn received(const Server& standby) const;
  uint64_t current_segment(const Server& server) const;
  pg::WalSegmentSize segment_size() const { return pg::WalSegmentSize(uint64_t{1} << 20); }

  // To end with: a promise was not kept.
  [[noreturn]] void complain(const std::string& text) const;
  void note(const std::string& text);

 private:
  struct Template;
  static const Template& template_of(int major);
  WalkWorld(std::string directory, int major);  // nothing is there
  void make_first();

  std::string conninfo(const Server& server) const;
  Server& running_primary();
  void write_files(const Server& server) const;
  void become_standby(Server& server);
  void promote_and_take_line(Server& standby);
  void run_tool(const std::string& program, std::vector<std::string> words) const;
  bool has_tool(const std::string& program) const;
  Captured try_tool(const std::string& program, std::vector<std::string> words) const;
  void take_line(Server& server);
  std::vector<int64_t> read_rows(cluster::Connection connection) const;
  std::vector<WalkRow> expected_at(int line, const Target& target) const;
  // How far the archive reaches without a hole along a line, from the start of a backup.
  pg::Lsn reach(int line, pg::Lsn start) const;
  struct Reach {
    pg::Lsn end;
    bool has_backup = false;
  };
  Reach best_reach(int line, pg::Lsn up_to);
  std::set<uint64_t> archived_of(uint32_t timeline, pg::WalFileKind kind) const;
  bool has_hole() const;
  bool is_quiet() const;
  // Where a line begins.
  pg::Lsn begin_of(int line) const { return history_.line(line).fork; }
  void expect_recovered(int line, const Target& target, const std::vector<int64_t>& rows,
                        const std::vector<WalkRow>& at_least) const;
  bool must_be_named(int line) const;
  // Whether it was refused for a segment that neither the archive nor the pg_wal of the restored
  // server has, though later ones are archived: what was committed in it nobody knows, though this
  // walk may.
  bool is_for_a_hole(const Captured& refused, const Server* restored = nullptr) const;
  bool can_be_reached(int line, const Target& target);

  std::string directory_;
  cluster::Installation installation_;
  std::vector<Server> servers_;
  WalkHistory history_;
  std::vector<Point> points_;
  std::vector<std::string> log_;
  std::string synchronous_;
  std::vector<std::pair<std::string, std::string>> environment_;
  int64_t next_id_ = 1;
  int next_name_ = 1;
  bool is_away_ = false;
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

}  // namespace holdfast::test
