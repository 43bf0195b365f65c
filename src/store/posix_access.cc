#include "store/posix_access.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "base/users.h"
#include "store/names.h"
#include "store/posix_root.h"

namespace holdfast::store {
namespace {

constexpr size_t kNamed = 5;
constexpr mode_t kRead = 4;
constexpr mode_t kEverything = 7;

class Looker {
 public:
  Looker(const std::string& root, std::chrono::milliseconds patience)
      : root_(root), end_(std::chrono::steady_clock::now() + patience) {}

  AccessReport look() {
    struct stat status{};
    if (stat(root_.path().c_str(), &status) != 0) {
      const int error_number = errno;
      root_.check_present();
      root_.fail("stat", root_.path(), error_number);
    }
    owner_ = {.user = status.st_uid, .group = status.st_gid};
    groups_ = groups_of(owner_.user, owner_.group);
    report_.owner = user_name(owner_.user);
    report_.repair = fmt::format("chown -R --reference={0} {0}", shell_quote(root_.path()));
    if (owner_.user != 0) walk("", false);  // root may do everything
    return std::move(report_);
  }

 private:
  void walk(const std::string& folder, bool is_noted) {
    const std::string path = root_.path_of(folder);
    const Fd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.is_open()) {
      if (errno == EACCES && !is_noted) note(path, "is closed to whoever looks");
      return;
    }
    for (const DirectoryEntry& entry : list_directory(directory, path)) {
      if (!report_.complete) return;
      if (std::chrono::steady_clock::now() > end_) {
        report_.complete = false;
        return;
      }
      const bool is_uploads = folder.empty() && entry.name == kUploadFolder;
      if (!is_uploads && !is_component(entry.name)) continue;
      struct stat status{};
      if (fstatat(directory.get(), entry.name.c_str(), &status, 0) != 0) continue;
      ++report_.looked_at;
      const std::string name = folder.empty() ? entry.name : folder + "/" + entry.name;
      if (!S_ISDIR(status.st_mode)) {
        if (!may(status, kRead)) note_status(name, status);
        continue;
      }
      const bool is_closed = !may(status, kEverything);
      if (is_closed) note_status(name, status);
      if (!is_uploads) walk(name, is_closed);
    }
  }

  bool may(const struct stat& status, mode_t what) const {
    const bool is_group = std::ranges::find(groups_, status.st_gid) != groups_.end();
    const unsigned shift = status.st_uid == owner_.user ? 6U : is_group ? 3U : 0U;
    return (status.st_mode >> shift & what) == what;
  }
  void note_status(const std::string& name, const struct stat& status) {
    note(root_.path_of(name),
         fmt::format("belongs to {}:{} and has mode {:04o}", user_name(status.st_uid),
                     group_name(status.st_gid), status.st_mode & 07777U));
    report_.others_own_it = report_.others_own_it || status.st_uid != owner_.user;
  }
  void note(const std::string& path, const std::string& why) {
    ++report_.count;
    if (report_.named.size() < kNamed) report_.named.push_back(fmt::format("\"{}\" {}", path, why));
  }

  const PosixRoot root_;
  const std::chrono::steady_clock::time_point end_;
  OwnerIds owner_;
  std::vector<gid_t> groups_;
  AccessReport report_;
};

}  // namespace

AccessReport look_at_posix_access(const std::string& root, std::chrono::milliseconds patience) {
  return Looker(root, patience).look();
}

}  // namespace holdfast::store
