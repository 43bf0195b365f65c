// region_copier.h: one worker's tools: opens files and copies regions of them into packs of its
// own.
//
// A region is a leaf of a file's map, 16 MiB. It is read in pieces of 1 MiB; pages of relations are
// verified; blocks of zeros are not stored. Stretches that the file system knows to be holes are
// not read at all.
//
// Where the medium cannot read (EIO) a piece is read block by block; a block that stays unreadable
// is a fault and becomes zeros: the rest of the file, and of the cluster, is worth having. A
// pg_filenode.map of which the CRC does not fit is read again, for the server may be writing it,
// and is a fault when it stays so.
//
// Sketch: 1 MiB of buffer for each worker; nothing is allocated for a piece of a file.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "backup/copy_window.h"
#include "backup/file_source.h"
#include "backup/page_check.h"
#include "base/reporter.h"
#include "pg/lsn.h"
#include "repo/file_map.h"

namespace holdfast::backup {

struct SourceFacts {
  std::string data_directory = {};
  std::string version_directory = {};  // pg::tablespace_version_directory() of the major
  uint32_t block_bytes = 8192;
  uint32_t blocks_per_segment = 131072;
  bool has_checksums = false;
  bool is_of_known_major = true;  // else nothing in a file is judged
  pg::Lsn start_lsn = {};         // of the backup
};

class RegionCopier {
 public:
  // All must outlive it.
  RegionCopier(const SourceFacts& source, FileSource& files, repo::ExtentWriter& extents,
               Reporter& reporter, std::stop_token stop);

  // Opens the file and takes its length, mode, owner and time. False when it has vanished:
  // item.vanished is set.
  bool open(CopyItem& item);
  // Copies one region of an open file. The faults are valid until the next call. Throws
  // kInterrupted.
  RegionResult copy(CopyItem& item, uint64_t region);
  // After the last region: where the file lies is known, and its length is the end of what was
  // read.
  void complete(CopyItem& item);

 private:
  size_t read_piece(const CopyItem& item, uint64_t offset, std::span<std::byte> into);
  void check_relation_map(const CopyItem& item, std::span<std::byte> content);
  void check_pages(const CopyItem& item, const pg::RelationFile& relation, uint64_t offset,
                   std::span<std::byte> pages);

  const SourceFacts& source_;
  FileSource& files_;
  repo::ExtentWriter& extents_;
  Reporter& reporter_;
  std::stop_token stop_;
  repo::LeafBuilder leaf_;
  PageChecker checker_;
  Bytes buffer_;
  std::vector<PageFault> faults_;
};

}  // namespace holdfast::backup
