// running_server.h: whether a server works on a data directory, judged by its files and processes
// alone.
//
// postmaster.pid outlives a crash, and its pid can be another process by now; a server whose data
// directory was deleted runs on without any file for up to a minute; sessions outlive a postmaster
// that was killed. So three things are asked: the process that postmaster.pid names, the shared
// memory that it names, and every postgres process whose working directory this is.
//
// That none of them is seen is a proof only where all would be: another container has processes and
// shared memory of its own, and another host may have the same volume. postmaster.pid says nothing
// of either; see find_unseen_server.
//
// Facts: miscinit.c (CreateLockFile), pidfile.h, sysv_shmem.c, PostgreSQL 13 to 18. A postmaster's
// working directory is its data directory.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>

#include "base/time.h"

namespace holdfast::cluster {

// The lines of postmaster.pid. A server writes the later ones while it starts, so all but the first
// may be missing.
struct PostmasterPid {
  pid_t pid = 0;
  bool single_user = false;  // a negative pid: "postgres --single"
  std::string data_directory = {};
  std::optional<Time> started_at = {};
  uint16_t port = 0;
  std::string socket_directory = {};  // the first one; empty without
  std::string listen_address = {};
  // The System V segment by which a server's processes find each other.
  std::optional<uint32_t> shared_memory_key = {};
  std::optional<int> shared_memory_id = {};
  // "starting", "stopping", "ready" (accepts connections, perhaps read-only ones), "standby"
  // (recovers without accepting any); empty so far.
  std::string status = {};
};

// Throws kCorrupt unless the first line is a pid; later lines that make no sense count as missing.
PostmasterPid parse_postmaster_pid(std::string_view text);
// nullopt when there is no such file, or an empty one (a server that is just starting, or did not
// get any further).
std::optional<PostmasterPid> read_postmaster_pid(const std::string& data_directory);

struct RunningServer {
  pid_t pid = 0;
  // The postmaster itself. Otherwise a process that it left behind, which still reads and writes
  // these files.
  bool is_postmaster = true;
  std::optional<PostmasterPid> file = {};
};

// nullopt when nothing runs there that this user can see. A data directory that is missing is asked
// for all the same.
std::optional<RunningServer> find_running_server(const std::string& data_directory);

// The postmaster that postmaster.pid names, for who works for it alone and must end with it.
class LivingServer {
 public:
  // nullopt: none lives there, or it is about to end.
  static std::optional<LivingServer> find(const std::string& data_directory);
  // This very one does. A few system calls.
  bool lives() const;
  // Another one for each start of a server on this start of the system: process and start time.
  std::string id() const;

 private:
  LivingServer(std::string pid_file, pid_t pid, ino_t inode, std::string started)
      : pid_file_(std::move(pid_file)), pid_(pid), inode_(inode), started_(std::move(started)) {}
  std::string pid_file_;
  pid_t pid_;
  ino_t inode_;          // of postmaster.pid, which goes before the process does
  std::string started_;  // of the process, as the kernel says
};

// What of a data directory's server would be seen from here.
struct Sight {
  // This is the system's first pid namespace, so every process of this kernel is seen.
  bool all_processes = false;
  // No other kernel can have the file system mounted: it is a local one.
  bool own_file_system = false;
};
Sight sight_of(const std::string& data_directory);

// A server that postmaster.pid names and of which nothing is seen.
struct UnseenServer {
  std::optional<PostmasterPid> file;  // nullopt: the file is empty
  std::string why;                    // why that does not prove its end: a sentence
};
// REQUIRES: find_running_server found nothing. nullopt when there is no postmaster.pid, and when
// its server has certainly ended: whatever runs would be seen, or the shared memory that this very
// server made is here and no process is attached to it.
std::optional<UnseenServer> find_unseen_server(const std::string& data_directory,
                                               const Sight& sight);

// The same for a server that writes its WAL into that directory, wherever its data directory is: a
// pg_wal on a disk of its own does not tell whose it is. nullopt: none is seen that does.
std::optional<RunningServer> find_server_of_wal(const std::string& wal_directory);

// A postmaster of a cluster, on a data directory other than `except`. nullopt: none is seen.
struct ServerOfCluster {
  pid_t pid = 0;
  std::string data_directory = {};
  uint16_t port = 0;
  bool is_standby = false;
};
std::optional<ServerOfCluster> find_server_of_cluster(uint64_t system_identifier,
                                                      const std::string& except);

// A process that uses one of some directories: a server whose pg_tblspc links there, or whoever has
// a file open below it.
struct DirectoryUse {
  std::string directory;
  std::string how;  // a sentence
};
// nullopt: none is seen that does, but this process and those that work in `except`, the data
// directory to which they belong. What another user's processes have open only root sees.
std::optional<DirectoryUse> find_use_of(const std::set<std::string>& directories,
                                        const std::string& except);

// Its parent process; nullopt when it is not there, or not for us to see.
std::optional<pid_t> parent_of(pid_t pid);

// Removes the shared memory of a server that was killed in that directory, if it left any: nobody
// does once the directory has gone, and a host has room for 4096. Only before the directory is
// removed, and when no server runs there.
void remove_shared_memory(const std::string& data_directory);

}  // namespace holdfast::cluster
