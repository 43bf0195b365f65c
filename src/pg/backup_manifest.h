// backup_manifest.h: what a server's own base backup says of itself: the JSON file backup_manifest.
//
//   { "PostgreSQL-Backup-Manifest-Version": 1,          2 from 17 on, which adds the next line
//   "System-Identifier": 7301234567890123456,
//   "Files": [
//   { "Path": "base/5/1259", "Size": 106496, "Last-Modified": "…", "Checksum-Algorithm": "CRC32C",
//   "Checksum": "43872087" }, … ],                      "Encoded-Path", hexadecimal, if not UTF-8
//   "WAL-Ranges": [ { "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000100" } ],
//   "Manifest-Checksum": "…"}                            SHA-256 of all lines before this one
//
// The file is not trusted, and grows with the number of files: it is read as a stream, and each
// file of the backup is handed on when it is met. Memory: a piece of the text.
//
// Facts: backup_manifest.c, parse_manifest.c, PostgreSQL 13 to 19.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "pg/lsn.h"

namespace holdfast::pg {

enum class ManifestChecksum : uint8_t { kNone, kCrc32c, kSha224, kSha256, kSha384, kSha512 };
std::string_view to_string(ManifestChecksum algorithm);

struct BackupManifestFile {
  std::string path;  // as in the data directory; a tablespace's below pg_tblspc/<oid>/
  uint64_t bytes = 0;
  ManifestChecksum algorithm = ManifestChecksum::kNone;
  Bytes checksum;  // of a CRC-32C the four bytes as they lie in memory
};
struct BackupManifestWalRange {
  TimelineId timeline;
  Lsn start_lsn;
  Lsn end_lsn;
};

struct BackupManifest {
  int version = 0;
  std::optional<uint64_t> system_identifier;  // version 2
  uint64_t file_count = 0;
  std::vector<BackupManifestWalRange> wal_ranges;
};

// Reads the text that `read` gives (fills its argument; less only at the end) and calls `on_file`
// for each file. Throws kCorrupt when it is not such a file, or is not as it was written;
// kUnsupported for a version above 2.
BackupManifest read_backup_manifest(const std::function<size_t(std::span<std::byte> into)>& read,
                                    const std::function<void(BackupManifestFile file)>& on_file);

}  // namespace holdfast::pg
