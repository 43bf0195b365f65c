#include "drill/machine.h"

#include <charconv>
#include <sys/vfs.h>
#include <unistd.h>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"

namespace holdfast::drill {
namespace {

// What stands behind "name :" or "name:" in the first line that begins so.
std::string proc_value(const std::string& path, std::string_view name) {
  const std::optional<Bytes> bytes = read_if_exists(path);
  if (!bytes) return {};
  std::string_view text = as_text(*bytes);
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (!line.starts_with(name)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    return value == std::string_view::npos ? std::string() : std::string(line.substr(value));
  }
  return {};
}

// statfs(2), linux/magic.h
std::string file_system_of(const std::string& directory) {
  struct statfs status{};
  if (statfs(directory.c_str(), &status) != 0) throw_errno("look at the file system of", directory);
  const struct {
    uint64_t magic;
    const char* name;
  } known[] = {{0xEF53, "ext4"},      {0x58465342, "xfs"},     {0x9123683E, "btrfs"},
               {0x01021994, "tmpfs"}, {0x794C7630, "overlay"}, {0x2FC12FC1, "zfs"},
               {0x6969, "nfs"},       {0xF2F52010, "f2fs"}};
  for (const auto& one : known)
    if (static_cast<uint64_t>(status.f_type) == one.magic) return one.name;
  return fmt::format("type {:#x}", static_cast<uint64_t>(status.f_type));
}

}  // namespace

void describe_machine(repo::DrillReport& report, const std::string& directory) {
  report.host = host_name();
  report.processor = proc_value("/proc/cpuinfo", "model name");
  report.processors = static_cast<uint64_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  const std::string memory = proc_value("/proc/meminfo", "MemTotal");
  uint64_t kib = 0;
  std::from_chars(memory.data(), memory.data() + memory.size(), kib);
  report.memory_bytes = kib << 10;
  report.directory = directory;
  report.file_system = file_system_of(directory);
  report.cache =
      "The system's page cache was left as it was: what was read of the repository may have come "
      "from memory.";
}

}  // namespace holdfast::drill
