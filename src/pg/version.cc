#include "pg/version.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::pg {

namespace {

constexpr std::array<Version, 7> kVersions = {{
    {.major = 13, .wal_magic = 0xD106, .control_version = 1300, .catalog_version = 202007201},
    {.major = 14, .wal_magic = 0xD10D, .control_version = 1300, .catalog_version = 202107181},
    {.major = 15, .wal_magic = 0xD110, .control_version = 1300, .catalog_version = 202209061},
    {.major = 16, .wal_magic = 0xD113, .control_version = 1300, .catalog_version = 202307071},
    {.major = 17, .wal_magic = 0xD116, .control_version = 1700, .catalog_version = 202406281},
    {.major = 18, .wal_magic = 0xD118, .control_version = 1800, .catalog_version = 202506291},
    {.major = 19, .wal_magic = 0xD122, .control_version = 1905, .catalog_version = 202610061},
}};
static_assert(kVersions.front().major == kFirstMajor && kVersions.back().major == kLastMajor);

}  // namespace

std::span<const Version> known_versions() { return kVersions; }

const Version& version_of(int major) {
  const auto* found = std::ranges::find(kVersions, major, &Version::major);
  if (found == kVersions.end()) {
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = fmt::format("PostgreSQL {} is not supported", major),
         .detail = fmt::format("This program knows PostgreSQL {} to {}.", kFirstMajor, kLastMajor),
         .hint = major > kLastMajor ? "A newer Holdfast may know it." : ""});
  }
  return *found;
}

std::optional<int> major_by_catalog_version(uint32_t catalog_version) {
  const auto* found = std::ranges::find(kVersions, catalog_version, &Version::catalog_version);
  return found == kVersions.end() ? std::nullopt : std::optional<int>(found->major);
}

std::optional<int> major_by_wal_magic(uint16_t magic) {
  const auto* found = std::ranges::find(kVersions, magic, &Version::wal_magic);
  return found == kVersions.end() ? std::nullopt : std::optional<int>(found->major);
}

bool is_newer_wal_magic(uint16_t magic) {
  // The high byte has grown by one in fifteen years.
  constexpr uint16_t kLastThinkable = 0xD2FF;
  return magic > kVersions.back().wal_magic && magic <= kLastThinkable;
}

std::string newer_major_notice(int major) {
  return fmt::format(
      "PostgreSQL {} is newer than this program, which knows {} to {}: its WAL is archived and its "
      "files are backed up unread, and both can be restored to the end or to a backup's end; pages "
      "are not checked, and no other target, import or drill is possible until a newer Holdfast "
      "is installed",
      major, kFirstMajor, kLastMajor);
}

void require_known_major(int major, std::string_view why) {
  if (!is_newer_major(major)) return;
  throw Error({.code = ErrorCode::kUnsupported,
               .message = fmt::format("PostgreSQL {} is newer than this program", major),
               .detail = fmt::format("{} This program knows PostgreSQL {} to {}.", why, kFirstMajor,
                                     kLastMajor),
               .hint = "Install a newer Holdfast, which reads the same repository."});
}

std::string tablespace_version_directory(int major, uint32_t catalog_version) {
  return fmt::format("PG_{}_{}", major, catalog_version);
}

std::string tablespace_version_directory(int major) {
  return tablespace_version_directory(major, version_of(major).catalog_version);
}

int parse_version_file(std::string_view text) {
  std::string_view digits = text.substr(0, text.find_first_of("\r\n"));
  int major = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), major);
  bool rest_is_line_end =
      text.substr(digits.size()).find_first_not_of("\r\n") == std::string_view::npos;
  if (error != std::errc() || end != digits.data() + digits.size() || major < 10 || major > 999 ||
      !rest_is_line_end) {
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = "invalid PG_VERSION file",
         .detail = fmt::format("It should hold a major version such as 17, and starts with \"{}\".",
                               digits.substr(0, 20)),
         .hint = "Check that the path is a PostgreSQL data directory of version 10 or later."});
  }
  return major;
}

}  // namespace holdfast::pg
