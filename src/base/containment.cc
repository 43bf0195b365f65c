#include "base/containment.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string_view>
#include <sys/stat.h>
#include <system_error>

#include <fmt/core.h>

#include "base/file.h"

namespace holdfast {
namespace {

constexpr size_t kMaxMountInfoBytes = size_t{64} << 20;

// Within its file system.
struct PlaceOfFile {
  std::string device;  // "8:1", as the mount has it: stat(2) tells others of some file systems
  std::string path;
};

struct MountPoint {
  PlaceOfFile root;  // what is mounted
  std::string point;
};

bool is_or_is_below(std::string_view path, std::string_view directory) {
  if (directory == "/") return path.starts_with('/');
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

// Blanks, tabs, line breaks and backslashes are "\040" and the like.
std::string unescaped(std::string_view text) {
  constexpr size_t kDigits = 3;
  std::string plain;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '\\' || at + kDigits >= text.size()) {
      plain += text[at];
      continue;
    }
    unsigned value = 0;
    for (size_t digit = 1; digit <= kDigits; ++digit)
      value = value * 8 + static_cast<unsigned>(text[at + digit] - '0');
    plain += static_cast<char>(value);
    at += kDigits;
  }
  return plain;
}

// "36 35 98:0 /mnt1 /mnt2 rw,noatime ...": id, parent, device, root, mount point. Empty where /proc
// is not mounted.
std::vector<MountPoint> mount_points() {
  std::string text;
  error_of([&] { text = read_text_file("/proc/self/mountinfo", kMaxMountInfoBytes); });
  std::vector<MountPoint> mounts;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    std::vector<std::string_view> words;
    while (words.size() < 5 && !line.empty()) {
      words.push_back(line.substr(0, line.find(' ')));
      line.remove_prefix(std::min(line.size(), words.back().size() + 1));
    }
    if (words.size() == 5)
      mounts.push_back({.root = {.device = std::string(words[2]), .path = unescaped(words[3])},
                        .point = unescaped(words[4])});
  }
  return mounts;
}

// Of two mounts on one point the later hides the earlier. nullptr: none is known.
const MountPoint* mount_of(const std::string& path, const std::vector<MountPoint>& mounts) {
  const MountPoint* found = nullptr;
  for (const MountPoint& mount : mounts)
    if (is_or_is_below(path, mount.point) &&
        (found == nullptr || mount.point.size() >= found->point.size()))
      found = &mount;
  return found;
}

std::optional<PlaceOfFile> place_of(const std::string& path,
                                    const std::vector<MountPoint>& mounts) {
  const MountPoint* found = mount_of(path, mounts);
  if (found == nullptr) return std::nullopt;
  const std::string below = found->point == "/" ? path : path.substr(found->point.size());
  if (below.empty() || below == "/") return found->root;
  return PlaceOfFile{.device = found->root.device,
                     .path = (found->root.path == "/" ? "" : found->root.path) + below};
}

std::string canonical(const std::string& path) {
  // Of a relative path of which nothing is there only a relative one would be made.
  std::string plain = absolute_path(path);
  std::error_code failed;
  std::string whole = std::filesystem::weakly_canonical(plain, failed).string();
  if (failed) return plain;
  while (whole.size() > 1 && whole.ends_with('/')) whole.pop_back();
  return whole;
}

bool has_on_the_way(const std::string& path, const struct stat& directory) {
  for (std::string at = path;; at = parent_path(at)) {
    struct stat here{};
    if (stat(at.c_str(), &here) == 0 && here.st_dev == directory.st_dev &&
        here.st_ino == directory.st_ino)
      return true;
    if (at == "/" || at.empty()) return false;
  }
}

}  // namespace

bool lies_below(const std::string& path, const std::string& directory) {
  struct stat there{};
  if (stat(directory.c_str(), &there) != 0) return false;
  const std::string file = canonical(path);
  const std::string tree = canonical(directory);
  if (has_on_the_way(file, there)) return true;
  const std::vector<MountPoint> mounts = mount_points();
  const std::optional<PlaceOfFile> place = place_of(file, mounts);
  if (!place) return false;
  const auto holds = [&](const PlaceOfFile& root) {
    return root.device == place->device && is_or_is_below(place->path, root.path);
  };
  if (const std::optional<PlaceOfFile> root = place_of(tree, mounts); root && holds(*root))
    return true;
  return std::ranges::any_of(mounts, [&](const MountPoint& mount) {
    return is_or_is_below(mount.point, tree) && mount.point != tree && holds(mount.root);
  });
}

std::string mount_point_of(const std::string& path) {
  const std::vector<MountPoint> mounts = mount_points();
  const MountPoint* mount = mount_of(canonical(path), mounts);
  return mount == nullptr ? std::string() : mount->point;
}

bool is_unmounted(const std::string& path, const std::string& mount) {
  const std::string now = mount_point_of(path);
  return !mount.empty() && !now.empty() && mount != now && is_or_is_below(mount, now);
}

void require_apart(const std::vector<OwnFile>& files, const std::set<std::string>& directories,
                   std::string_view would_be) {
  for (const OwnFile& file : files) {
    if (file.path.empty()) continue;
    for (const std::string& directory : directories) {
      if (!lies_below(file.path, directory)) continue;
      throw Error({.code = ErrorCode::kUsage,
                   .message = fmt::format("{} lies in \"{}\", which would be {}", file.what,
                                          directory, would_be),
                   .detail = fmt::format("It is \"{}\".", file.path),
                   .hint = "Move it to a place of its own, best on another disk, correct the "
                           "configuration, and run the command again."});
    }
  }
}

}  // namespace holdfast
