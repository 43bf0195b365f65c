#include "pg/backup_manifest.h"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "codec/digest.h"
#include "support/error_of.h"

namespace holdfast::pg {
namespace {

using test::error_of;

struct Read {
  BackupManifest manifest;
  std::vector<BackupManifestFile> files;
};
// In pieces of `piece` bytes.
Read read(std::string_view text, size_t piece = 1 << 20) {
  Read result;
  size_t at = 0;
  result.manifest = read_backup_manifest(
      [&](std::span<std::byte> into) {
        const size_t count = std::min({into.size(), text.size() - at, piece});
        std::ranges::copy(as_bytes(text.substr(at, count)), into.begin());
        at += count;
        return count;
      },
      [&](BackupManifestFile file) { result.files.push_back(std::move(file)); });
  return result;
}
// With its last line.
std::string sealed(const std::string& lines) {
  return fmt::format("{}\"Manifest-Checksum\": \"{}\"}}\n", lines,
                     to_hex(codec::sha256(as_bytes(lines)).view()));
}

const std::string kLines =
    "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 17301234567890123456,\n"
    "\"Files\": [\n"
    "{ \"Path\": \"backup_label\", \"Size\": 225, \"Last-Modified\": \"2026-11-22 08:22:37 GMT\", "
    "\"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"43872087\" },\n"
    "{ \"Path\": \"od\\u00e4 \\\"d\\ud83d\\ude00\", \"Size\": 0, \"Last-Modified\": \"x\" },\n"
    "{ \"Encoded-Path\": \"ff2f41\", \"Size\": 18446744073709551615, \"Checksum-Algorithm\": "
    "\"SHA224\", \"Checksum\": \"00000000000000000000000000000000000000000000000000000000\" }\n"
    "],\n"
    "\"WAL-Ranges\": [\n{ \"Timeline\": 3, \"Start-LSN\": \"0/2000028\", \"End-LSN\": "
    "\"0/02000100\" }\n],\n";

TEST(BackupManifest, IsReadAsTheServerWritesIt) {
  const Read whole = read(sealed(kLines));
  EXPECT_EQ(whole.manifest.version, 2);
  EXPECT_EQ(whole.manifest.system_identifier, 17301234567890123456U);
  ASSERT_EQ(whole.files.size(), 3U);
  EXPECT_EQ(whole.manifest.file_count, 3U);
  EXPECT_EQ(whole.files[0].path, "backup_label");
  EXPECT_EQ(whole.files[0].bytes, 225U);
  EXPECT_EQ(whole.files[0].algorithm, ManifestChecksum::kCrc32c);
  EXPECT_EQ(to_hex(whole.files[0].checksum), "43872087");
  EXPECT_EQ(whole.files[1].path, "od\xC3\xA4 \"d\xF0\x9F\x98\x80");
  EXPECT_EQ(whole.files[1].algorithm, ManifestChecksum::kNone);
  EXPECT_EQ(whole.files[2].path, "\xFF/A");
  EXPECT_EQ(whole.files[2].bytes, UINT64_MAX);
  ASSERT_EQ(whole.manifest.wal_ranges.size(), 1U);
  EXPECT_EQ(whole.manifest.wal_ranges[0].timeline, TimelineId{3});
  EXPECT_EQ(whole.manifest.wal_ranges[0].start_lsn, Lsn{0x2000028});
  EXPECT_EQ(whole.manifest.wal_ranges[0].end_lsn, Lsn{0x2000100});
}

TEST(BackupManifest, AnyByteThatChangedAndAnyCutIsFound) {
  const std::string whole = sealed(kLines);
  for (size_t at = 0; at + 1 < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    const Error error = error_of([&] { read(changed); });
    EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported)
        << at << error.message();
  }
  for (size_t cut = 0; cut + 1 < whole.size(); ++cut)
    EXPECT_EQ(error_of([&] { read(whole.substr(0, cut)); }).code(), ErrorCode::kCorrupt) << cut;
}

TEST(BackupManifest, RefusesWhatNoServerWritesAlsoWhenItsChecksumIsRight) {
  const auto replaced = [](const std::string& what, const std::string& by) {
    std::string lines = kLines;
    lines.replace(lines.find(what), what.size(), by);
    return sealed(lines);
  };
  for (const auto& [what, by] :
       {std::pair{"CRC32C", "CRC64"}, std::pair{"43872087", "438720"}, std::pair{"225", "-1"},
        std::pair{"\"Size\": 225, ", ""}, std::pair{"backup_label", ""},
        std::pair{"\"Timeline\": 3", "\"Timeline\": 0"}, std::pair{"0/2000028", "0/3000028"},
        std::pair{"0/2000028", "zero"}, std::pair{"\\ud83d\\ude00", "\\ud83d"},
        std::pair{"\"Files\"", "\"Filed\""}, std::pair{"Manifest-Version\": 2", "Ver\": 2"}})
    EXPECT_EQ(error_of([&, &w = what, &b = by] { read(replaced(w, b)); }).code(),
              ErrorCode::kCorrupt)
        << what << " " << by;
  EXPECT_EQ(error_of([&] { read(replaced("Version\": 2", "Version\": 3")); }).code(),
            ErrorCode::kUnsupported);
  EXPECT_EQ(error_of([&] { read(sealed(kLines) + "x"); }).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(
      error_of([&] { read(sealed(fmt::format("{{ \"x\": {}", std::string(5000, '[')))); }).code(),
      ErrorCode::kCorrupt);
  // What is not known is passed over.
  EXPECT_EQ(
      read(replaced("\"Last-Modified\"", "\"Later\": [1.5e3, {\"a\": null}], \"L\"")).files.size(),
      3U);
}

}  // namespace
}  // namespace holdfast::pg
