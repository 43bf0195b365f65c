// made_up_cluster.h: a data directory made of files that a test chooses, and pages to put in them.
#pragma once

#include <fcntl.h>
#include <map>
#include <string>
#include <string_view>
#include <unistd.h>

#include <gtest/gtest.h>

#include "backup/data_copy.h"
#include "base/file.h"
#include "pg/page.h"
#include "pg/version.h"
#include "support/recording_reporter.h"
#include "support/test_repository.h"

namespace holdfast::test {

inline constexpr pg::Lsn kStartLsn{0x5000028};

// A page as the server writes it: filled with `seed`, with the LSN and the checksum of its block.
inline Bytes make_page(uint32_t block, uint64_t seed = 1, pg::Lsn lsn = pg::Lsn{0x4000000}) {
  Bytes page = page_like_bytes(pg::kPageBytes, seed + block * 7919);
  store_le(page.data(), static_cast<uint32_t>(lsn.value >> 32));
  store_le(page.data() + 4, static_cast<uint32_t>(lsn.value));
  store_le<uint16_t>(page.data() + 10, 0);
  store_le<uint16_t>(page.data() + 12, 24);
  store_le<uint16_t>(page.data() + 14, 4096);
  store_le<uint16_t>(page.data() + 16, 8192);
  store_le<uint16_t>(page.data() + 18, 8192 | 4);
  store_le(page.data() + 8, pg::checksum(pg::PageView(page), pg::BlockNumber{block}));
  return page;
}
inline Bytes make_pages(uint32_t first, uint32_t count, uint64_t seed = 1) {
  Bytes pages;
  for (uint32_t block = first; block < first + count; ++block) {
    Bytes page = make_page(block, seed);
    pages.insert(pages.end(), page.begin(), page.end());
  }
  return pages;
}
inline void damage(Bytes& page, size_t at = 5000) { page[at] ^= std::byte{0xFF}; }

class MadeUpCluster {
 public:
  MadeUpCluster() {
    for (const char* directory : {"base", "base/5", "global", "pg_tblspc", "pg_wal"})
      make_directories(path(directory));
    put("PG_VERSION", as_bytes("15\n"));
    put("global/pg_control", Bytes(8192));
  }

  std::string root() const { return base_.path() + "/data"; }
  std::string path(std::string_view name) const { return join_path(root(), name); }
  void put(std::string_view name, ByteView content) {
    make_directories(parent_path(path(name)));
    write_file_durably(path(name), content);
  }
  void append(std::string_view name, ByteView content) {
    write_all(open_file(path(name), O_WRONLY | O_APPEND), content, name);
  }
  void cut(std::string_view name, uint64_t bytes) {
    ASSERT_EQ(::truncate(path(name).c_str(), static_cast<off_t>(bytes)), 0);
  }
  // A file of zeros without a byte on disk, and pages written into it.
  void put_sparse(std::string_view name, uint64_t bytes) {
    open_file(path(name), O_WRONLY | O_CREAT);
    cut(name, bytes);
  }
  void write_at(std::string_view name, uint64_t offset, ByteView bytes) {
    pwrite_all(open_file(path(name), O_WRONLY), bytes, offset, name);
  }

  backup::SourceFacts source(bool has_checksums = true) const {
    return {.data_directory = root(),
            .version_directory = pg::tablespace_version_directory(15),
            .has_checksums = has_checksums,
            .start_lsn = kStartLsn};
  }

 private:
  TemporaryDirectory base_;
};

// What a backup of a made-up cluster holds, read back.
struct ReadBack {
  std::map<std::string, repo::ManifestEntry> entries = {};
  std::vector<std::string> order = {};
  std::vector<repo::DamagedBlock> damaged = {};
  repo::Backup backup = {};
};

class BackupScene {
 public:
  explicit BackupScene(codec::CompressionSetting compression = {})
      : id_(repo::make_backup_id(stored.clock.now(), stored.random)),
        writer(stored.repository, stored.lineage, id_, compression, stored.clock) {}

  backup::DataCopyResult copy(const backup::DataCopyOptions& options, std::stop_token stop = {}) {
    return backup::copy_data_directory(options, writer, reporter, stop);
  }
  // The usual options for a cluster.
  static backup::DataCopyOptions options(const MadeUpCluster& cluster) {
    return {.source = cluster.source(),
            .current_lsn = [] { return pg::Lsn{0x6000000}; },
            .check_alive = [] {}};
  }

  ReadBack commit() {
    writer.seal_contents();
    ReadBack read{.backup = writer.commit({})};
    repo::ManifestReader manifest(stored.repository, stored.lineage.name, id_,
                                  read.backup.manifest_sha256, nullptr);
    while (std::optional<repo::ManifestEntry> entry = manifest.next()) {
      read.order.push_back(entry->path);
      read.entries[entry->path] = *entry;
    }
    read.damaged = manifest.damaged();
    return read;
  }
  Bytes content(const repo::ManifestEntry& entry) {
    repo::ExtentReader extents(stored.repository, stored.lineage.name);
    repo::FileReader reader(extents, stored.lineage.block_bytes);
    reader.open(entry.location, entry.size);
    Bytes bytes(entry.size);
    EXPECT_EQ(reader.read_range(0, bytes), bytes.size());
    return bytes;
  }

  TestRepository stored;
  RecordingReporter reporter;

 private:
  std::string id_;

 public:
  repo::BackupWriter writer;
};

}  // namespace holdfast::test
