#include "cluster/running_server.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/data_directory.h"

namespace holdfast::cluster {
namespace {

constexpr size_t kMaxPidFileBytes = 16384;

std::string pid_file_of(const std::string& data_directory) {
  return join_path(data_directory, "postmaster.pid");
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  return text;
}

template <typename T>
std::optional<T> parse_whole(std::string_view text) {
  T value{};
  text = trimmed(text);
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return lines;
}

// The beginning of a file of /proc, read with plain calls: a process that ends in between is no
// error.
std::string read_of_process(pid_t pid, std::string_view file) {
  std::optional<Fd> fd = open_if_exists(fmt::format("/proc/{}/{}", pid, file), 0);
  if (!fd) return "";
  std::array<char, 256> buffer;
  ssize_t count = read(fd->get(), buffer.data(), buffer.size());
  return count > 0 ? std::string(buffer.data(), static_cast<size_t>(count)) : std::string();
}

// Ended, and only its parent has not asked for the status yet; where process 1 is no init (many
// containers) nobody ever does. Its state stands behind its name, which is in parentheses.
bool is_zombie(pid_t pid) {
  const std::string line = read_of_process(pid, "stat");
  const size_t name_end = line.rfind(')');
  return name_end != std::string::npos && line.compare(name_end, 3, ") Z") == 0;
}

// When it was started, in the kernel's own words; empty for one that is not there, or has ended.
// The 20th word behind its name, which is in parentheses and may hold anything.
std::string start_of_process(pid_t pid) {
  constexpr int kWordsBefore = 19;
  std::optional<Fd> fd = open_if_exists(fmt::format("/proc/{}/stat", pid), 0);
  if (!fd) return "";
  std::array<char, 2048> buffer;
  const ssize_t count = read(fd->get(), buffer.data(), buffer.size());
  if (count <= 0) return "";
  std::string_view line(buffer.data(), static_cast<size_t>(count));
  line.remove_prefix(std::min(line.rfind(')') + 2, line.size()));
  if (line.starts_with('Z')) return "";
  for (int word = 0; word < kWordsBefore; ++word)
    line.remove_prefix(std::min(line.find(' '), line.size() - 1) + 1);
  return std::string(line.substr(0, line.find(' ')));
}

bool is_alive(pid_t pid) { return (kill(pid, 0) == 0 || errno == EPERM) && !is_zombie(pid); }

std::string program_name(pid_t pid) {
  const std::string name = read_of_process(pid, "comm");
  return name.substr(0, name.find('\n'));
}

bool is_postgres(pid_t pid) {
  std::string name = program_name(pid);
  return name.starts_with("postgres") || name.starts_with("postmaster");
}

// The link's text: "/var/lib/postgresql/15/main", with " (deleted)" behind it when the directory is
// gone. Empty when not for us to see.
std::string working_directory(pid_t pid) {
  std::array<char, PATH_MAX> buffer;
  ssize_t count = readlink(fmt::format("/proc/{}/cwd", pid).c_str(), buffer.data(), buffer.size());
  return count > 0 ? std::string(buffer.data(), static_cast<size_t>(count)) : std::string();
}

// A path of its own is one of ours too. In another container the same text is another place, and
// device and inode alone tell. Of a process that is not for us to see that is not known.
bool shares_paths(pid_t pid) {
  struct stat own{}, other{};
  return stat("/proc/self/ns/mnt", &own) != 0 ||
         stat(fmt::format("/proc/{}/ns/mnt", pid).c_str(), &other) != 0 ||
         (own.st_dev == other.st_dev && own.st_ino == other.st_ino);
}

bool works_in(pid_t pid, const std::string& data_directory) {
  struct stat here{};
  struct stat there{};
  std::string link = fmt::format("/proc/{}/cwd", pid);
  if (stat(data_directory.c_str(), &here) == 0 && stat(link.c_str(), &there) == 0)
    if (here.st_dev == there.st_dev && here.st_ino == there.st_ino) return true;
  const std::string named = working_directory(pid);
  return (named == data_directory || named == data_directory + " (deleted)") && shares_paths(pid);
}

// Where /proc does not say (another user's process), the name decides, and where it does not tell
// that either (hidepid), that the process is there: rather refuse than restore over a server.
bool is_server_of(pid_t pid, const std::string& data_directory) {
  if (!is_alive(pid)) return false;
  if (program_name(pid).empty()) return is_alive(pid);  // it did not just end
  if (!is_postgres(pid)) return false;
  return working_directory(pid).empty() || works_in(pid, data_directory);
}

// A segment's id can be another program's by now; its key tells.
std::optional<shmid_ds> shared_memory_of(const PostmasterPid& file) {
  if (!file.shared_memory_key || !file.shared_memory_id) return std::nullopt;
  shmid_ds segment{};
  if (shmctl(*file.shared_memory_id, IPC_STAT, &segment) != 0) return std::nullopt;
  if (static_cast<uint32_t>(segment.shm_perm.__key) != *file.shared_memory_key) return std::nullopt;
  return segment;
}

bool has_attached_processes(const PostmasterPid& file) {
  const std::optional<shmid_ds> segment = shared_memory_of(file);
  return segment && segment->shm_nattch > 0;
}

// The server's own segment, by its key, its maker and the time at which it was made, is here, and
// nobody uses it. A run of another server on the same directory leaves one with the same key and
// often the same numbers: so it must be younger than this server, and older than its last word in
// postmaster.pid (after a crash of one session the server makes a new segment, and says so there).
bool left_its_memory(const PostmasterPid& file, const std::string& data_directory) {
  const std::optional<shmid_ds> segment = shared_memory_of(file);
  const std::optional<struct stat> written = lstat_if_exists(pid_file_of(data_directory));
  if (!segment || segment->shm_nattch > 0 || !file.started_at || !written) return false;
  const time_t started =
      std::chrono::floor<std::chrono::seconds>(file.started_at->time_since_epoch()).count();
  return segment->shm_cpid == file.pid && segment->shm_ctime >= started &&
         segment->shm_ctime <= written->st_mtime + 1;
}

// The number of the first pid namespace, the same on every Linux (proc_ns.h, PROC_PID_INIT_INO).
constexpr ino_t kFirstPidNamespace = 0xEFFFFFFC;

// /proc must be of this namespace too, or nothing in it can be looked up by number.
bool sees_all_processes() {
  struct stat own{};
  std::array<char, 32> self{};
  const ssize_t count = readlink("/proc/self", self.data(), self.size() - 1);
  return stat("/proc/self/ns/pid", &own) == 0 && own.st_ino == kFirstPidNamespace && count > 0 &&
         std::string_view(self.data()) == std::to_string(getpid());
}

// File systems that only one kernel can have mounted for writing; statfs(2), linux/magic.h. Any
// other may be another host's too (NFS, SMB, Ceph, GlusterFS, GFS2, OCFS2, virtiofs, 9p, FUSE).
constexpr std::array<uint64_t, 11> kLocalFileSystems = {
    0xEF53,      // ext2, ext3, ext4
    0x58465342,  // xfs
    0x9123683E,  // btrfs
    0x2FC12FC1,  // zfs
    0x01021994,  // tmpfs
    0x858458F6,  // ramfs
    0x794C7630,  // overlayfs, whose upper layer cannot be remote
    0xF2F52010,  // f2fs
    0xCA451A4E,  // bcachefs
    0x3153464A,  // jfs
    0x52654973,  // reiserfs
};

bool is_local_file_system(const std::string& directory) {
  struct statfs status{};
  if (statfs(directory.c_str(), &status) != 0) return false;
  return std::ranges::find(kLocalFileSystems, static_cast<uint64_t>(status.f_type)) !=
         kLocalFileSystems.end();
}

// The names in a directory of /proc, or below one; none where it is not for us to see, or the
// process has just ended.
std::vector<std::string> names_in(const std::string& path) {
  std::vector<std::string> names;
  error_of([&] {
    if (const std::optional<std::vector<DirectoryEntry>> entries = list_directory_if_exists(path))
      for (const DirectoryEntry& entry : *entries) names.push_back(entry.name);
  });
  return names;
}

// A server that has a tablespace in that directory, which has the name of its major.
bool has_tablespace_in(pid_t pid, const struct stat& directory, const std::string& name) {
  const std::string links = fmt::format("/proc/{}/cwd/pg_tblspc", pid);
  return std::ranges::any_of(names_in(links), [&](const std::string& link) {
    struct stat there{};
    return stat(fmt::format("{}/{}/{}", links, link, name).c_str(), &there) == 0 &&
           there.st_dev == directory.st_dev && there.st_ino == directory.st_ino;
  });
}

// The name of a file that it has open below there; empty: none.
std::string open_file_below(pid_t pid, const std::string& directory) {
  if (!shares_paths(pid)) return "";
  const std::string folder = fmt::format("/proc/{}/fd", pid);
  for (const std::string& number : names_in(folder)) {
    std::array<char, PATH_MAX> buffer;
    const ssize_t count = readlink(join_path(folder, number).c_str(), buffer.data(), buffer.size());
    const std::string file =
        count > 0 ? std::string(buffer.data(), static_cast<size_t>(count)) : std::string();
    if (file.starts_with(directory + "/")) return file;
  }
  return "";
}

// Any postgres process that works there.
std::optional<pid_t> find_process(const std::string& data_directory) {
  for (const DirectoryEntry& entry : list_directory("/proc")) {
    std::optional<pid_t> pid = parse_whole<pid_t>(entry.name);
    if (pid && works_in(*pid, data_directory) && is_postgres(*pid)) return pid;
  }
  return std::nullopt;
}

}  // namespace

PostmasterPid parse_postmaster_pid(std::string_view text) {
  std::vector<std::string_view> lines = split_lines(text);
  auto line = [&](size_t index) {
    return index < lines.size() ? lines[index] : std::string_view();
  };
  std::optional<pid_t> pid = parse_whole<pid_t>(line(0));
  if (!pid || *pid == 0 || *pid == INT_MIN)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = "damaged postmaster.pid",
                 .detail = fmt::format("Its first line is \"{}\", where a process id should be.",
                                       line(0).substr(0, 64)),
                 .hint = "If no server runs on the data directory, remove the file."});
  PostmasterPid file{.pid = *pid < 0 ? -*pid : *pid,
                     .single_user = *pid < 0,
                     .data_directory = std::string(line(1))};
  // A start time beyond the year 9999 is no time.
  if (std::optional<int64_t> seconds = parse_whole<int64_t>(line(2));
      seconds && *seconds > 0 && *seconds < 253402300800)
    file.started_at = Time(std::chrono::seconds(*seconds));
  file.port = parse_whole<uint16_t>(line(3)).value_or(0);
  file.socket_directory = std::string(trimmed(line(4)));
  file.listen_address = std::string(trimmed(line(5)));
  // Line 7 is "<key> <id>", padded.
  std::string_view memory = trimmed(line(6));
  if (size_t space = memory.rfind(' '); space != std::string_view::npos) {
    // A key is an int, printed as an unsigned long: one with its highest bit set (of a directory
    // with such an inode) has 64 bits there.
    if (const std::optional<uint64_t> key = parse_whole<uint64_t>(memory.substr(0, space)))
      file.shared_memory_key = static_cast<uint32_t>(*key);
    file.shared_memory_id = parse_whole<int>(memory.substr(space + 1));
  }
  file.status = std::string(trimmed(line(7)));
  return file;
}

std::optional<PostmasterPid> read_postmaster_pid(const std::string& data_directory) {
  std::optional<Bytes> text = read_if_exists(pid_file_of(data_directory), kMaxPidFileBytes);
  if (!text || text->empty()) return std::nullopt;
  return parse_postmaster_pid(as_text(*text));
}

std::optional<RunningServer> find_running_server(const std::string& data_directory) {
  std::string directory = absolute_path(data_directory);
  std::optional<PostmasterPid> file = read_postmaster_pid(directory);
  if (file && is_server_of(file->pid, directory))
    return RunningServer{.pid = file->pid, .is_postmaster = true, .file = file};
  std::optional<pid_t> process = find_process(directory);
  if (process) return RunningServer{.pid = *process, .is_postmaster = false, .file = file};
  // A postmaster of another pid namespace, seen by the memory that it shares with its sessions.
  if (file && has_attached_processes(*file))
    return RunningServer{.pid = file->pid, .is_postmaster = false, .file = file};
  return std::nullopt;
}

std::optional<LivingServer> LivingServer::find(const std::string& data_directory) {
  std::string directory = absolute_path(data_directory);
  std::string pid_file = join_path(directory, "postmaster.pid");
  const std::optional<struct stat> status = stat_if_exists(pid_file);
  const std::optional<PostmasterPid> file = read_postmaster_pid(directory);
  if (!status || !file || file->single_user || !is_server_of(file->pid, directory))
    return std::nullopt;
  LivingServer server(std::move(pid_file), file->pid, status->st_ino, start_of_process(file->pid));
  return server.lives() ? std::optional(std::move(server)) : std::nullopt;
}

bool LivingServer::lives() const {
  const std::optional<struct stat> status = stat_if_exists(pid_file_);
  return status && status->st_ino == inode_ && !started_.empty() &&
         start_of_process(pid_) == started_;
}

std::string LivingServer::id() const { return fmt::format("{} {}", pid_, started_); }

Sight sight_of(const std::string& data_directory) {
  return {.all_processes = sees_all_processes(),
          .own_file_system = is_local_file_system(data_directory)};
}

std::optional<UnseenServer> find_unseen_server(const std::string& data_directory,
                                               const Sight& sight) {
  if (!lstat_if_exists(pid_file_of(data_directory))) return std::nullopt;
  if (sight.all_processes && sight.own_file_system) return std::nullopt;
  std::optional<PostmasterPid> file = read_postmaster_pid(data_directory);
  if (file && left_its_memory(*file, data_directory)) return std::nullopt;
  return UnseenServer{
      .file = std::move(file),
      .why = sight.all_processes
                 ? fmt::format("Another host may have the file system of \"{}\" mounted too, and "
                               "the server may run there.",
                               data_directory)
                 : std::string("This command runs in a pid namespace, as in a container, and sees "
                               "no process outside of it.")};
}

std::optional<RunningServer> find_server_of_wal(const std::string& wal_directory) {
  struct stat here{};
  if (stat(wal_directory.c_str(), &here) != 0) return std::nullopt;
  for (const DirectoryEntry& entry : list_directory("/proc")) {
    const std::optional<pid_t> pid = parse_whole<pid_t>(entry.name);
    struct stat there{};
    if (pid && stat(fmt::format("/proc/{}/cwd/pg_wal", *pid).c_str(), &there) == 0 &&
        here.st_dev == there.st_dev && here.st_ino == there.st_ino && is_postgres(*pid))
      return RunningServer{.pid = *pid, .is_postmaster = false};
  }
  return std::nullopt;
}

std::optional<ServerOfCluster> find_server_of_cluster(uint64_t system_identifier,
                                                      const std::string& except) {
  for (const DirectoryEntry& entry : list_directory("/proc")) {
    const std::optional<pid_t> pid = parse_whole<pid_t>(entry.name);
    if (!pid || !is_postgres(*pid) || works_in(*pid, except) || !shares_paths(*pid)) continue;
    std::optional<ServerOfCluster> server;
    // What is not for us to see, or ends meanwhile, tells nothing.
    error_of([&] {
      const std::string directory = working_directory(*pid);
      const std::optional<PostmasterPid> file = read_postmaster_pid(directory);
      if (!file || file->pid != *pid) return;
      if (read_control_file(directory).control.system_identifier == system_identifier)
        server = {
            .pid = *pid,
            .data_directory = directory,
            .port = file->port,
            .is_standby = lstat_if_exists(join_path(directory, "standby.signal")).has_value()};
    });
    if (server) return server;
  }
  return std::nullopt;
}

std::optional<DirectoryUse> find_use_of(const std::set<std::string>& directories,
                                        const std::string& except) {
  if (directories.empty()) return std::nullopt;
  for (const DirectoryEntry& entry : list_directory("/proc")) {
    const std::optional<pid_t> pid = parse_whole<pid_t>(entry.name);
    if (!pid || *pid == getpid() || works_in(*pid, except)) continue;
    for (const std::string& directory : directories) {
      const std::optional<struct stat> here = stat_if_exists(directory);
      if (!here) continue;
      if (is_postgres(*pid) && has_tablespace_in(*pid, *here, base_name(directory)))
        return DirectoryUse{
            .directory = directory,
            .how = fmt::format("Process {} is a server on \"{}\", which has a tablespace there.",
                               *pid, working_directory(*pid))};
      std::array<char, PATH_MAX> resolved;
      if (realpath(directory.c_str(), resolved.data()) == nullptr) continue;
      if (const std::string file = open_file_below(*pid, resolved.data()); !file.empty())
        return DirectoryUse{
            .directory = directory,
            .how = fmt::format("Process {} ({}) has \"{}\" open.", *pid, program_name(*pid), file)};
    }
  }
  return std::nullopt;
}

std::optional<pid_t> parent_of(pid_t pid) {
  // "4712 (postgres) S 4711 ...": the name may hold anything.
  const std::string line = read_of_process(pid, "stat");
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos || name_end + 4 > line.size()) return std::nullopt;
  const std::string_view rest = std::string_view(line).substr(name_end + 4);
  return parse_whole<pid_t>(rest.substr(0, rest.find(' ')));
}

void remove_shared_memory(const std::string& data_directory) {
  const std::optional<PostmasterPid> file = read_postmaster_pid(data_directory);
  if (file && shared_memory_of(*file)) shmctl(*file->shared_memory_id, IPC_RMID, nullptr);
}

}  // namespace holdfast::cluster
