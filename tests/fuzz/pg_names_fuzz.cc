// Names: WAL files, paths of relations, LSNs. What parses prints as it was.
#include "base/error.h"
#include "pg/backup_exclusions.h"
#include "pg/relation_file.h"
#include "pg/version.h"
#include "pg/wal_file_name.h"

using namespace holdfast;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  pg::WalSegmentSize segment_size(uint64_t{1} << (20 + data[0] % 11));
  pg::WalFileName name = pg::parse_wal_file_name(text, segment_size);
  switch (name.kind) {
    case pg::WalFileKind::kSegment:
      HF_CHECK(pg::segment_file_name(name.segment, segment_size) == text);
      break;
    case pg::WalFileKind::kPartial:
      HF_CHECK(pg::partial_file_name(name.segment, segment_size) == text);
      break;
    case pg::WalFileKind::kHistory:
      HF_CHECK(pg::history_file_name(name.segment.timeline) == text);
      break;
    case pg::WalFileKind::kBackupHistory:
      HF_CHECK(pg::backup_history_file_name(name.segment, name.offset, segment_size) == text);
      break;
    case pg::WalFileKind::kOther:
      break;
  }
  std::string directory = pg::tablespace_version_directory(15);
  if (auto file = pg::parse_relation_path(text, directory)) {
    HF_CHECK(pg::relation_path(*file, directory) == text);
  }
  for (auto type : {pg::PathType::kFile, pg::PathType::kDirectory, pg::PathType::kSymbolicLink,
                    pg::PathType::kSpecial}) {
    pg::backup_treatment(text, type);
  }
  try {
    pg::Lsn lsn = pg::parse_lsn(text);
    HF_CHECK(pg::parse_lsn(to_string(lsn)) == lsn);
  } catch (const Error&) {
  }
  return 0;
}
