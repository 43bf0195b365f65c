// tar_feed.h: the members of a base backup's tars, handed to workers region by region.
//
// A tar can be read from front to back only, so the stream is what workers share: each, in turn,
// takes the next region of the member at hand (a map leaf, 16 MiB) into a buffer of its own, and
// then checks, compresses and stores it while the next one reads. Of a large member several
// regions are under way at once.
//
//   stream   | header | region | region | region | header | region | …
//                        A        B        A                 B            workers
//
// What is small and says how to go on (backup_label, tablespace_map, global/pg_control) is kept in
// memory; WAL and backup_manifest are handed to those who want them. A member that no base backup
// has ends the import.
//
// Memory: a region for each worker.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "backup/copy_window.h"
#include "backup/file_source.h"
#include "backup/import_entries.h"
#include "backup/import_files.h"
#include "base/mutex.h"
#include "pg/crc32c.h"

namespace holdfast::backup {

// What a server does not start without, or lets nobody in.
inline constexpr std::array<std::string_view, 2> kConfigurationFiles = {"postgresql.conf",
                                                                        "pg_hba.conf"};

// A small member that is kept in memory.
struct KeptMember {
  TarEntry entry;
  Bytes content;
};
// What tells how to read the rest. Keys of `files`: "backup_label", "tablespace_map",
// "global/pg_control".
struct ImportParts {
  std::map<std::string, KeptMember> files;
  std::map<uint32_t, std::string> links;             // pg_tblspc/<oid>, where the tar has links
  std::optional<TarEntry> root;                      // the entry of the data directory itself
  std::set<std::string, std::less<>> configuration;  // which of kConfigurationFiles it has
};
// Takes such members (no configuration) from a base.tar that can be skipped through. Complete only
// if it has them.
ImportParts look_into(const ImportTar& base, const std::stop_token& stop);

class TarFeed {
 public:
  struct Options {
    std::vector<ImportTar> tars;
    std::string version_directory;  // pg::tablespace_version_directory() of the major
    // A file of pg_wal: its name and its content, which may be left unread.
    std::function<void(const TarEntry& entry, const std::string& name, TarReader& tar)> on_wal;
    std::function<void(TarReader& tar)> on_manifest;             // backup_manifest within base.tar
    std::function<void(const ImportParts& parts)> on_base_read;  // before the others are begun
  };
  // All must outlive it.
  TarFeed(Options options, ImportEntries& entries, std::stop_token stop);
  ~TarFeed();

  struct Member : CopyItem {
    repo::Owner owner;
    pg::Crc32c crc;
  };
  struct Work {
    Member* member = nullptr;
    uint64_t region = 0;
    size_t bytes = 0;  // in the buffer
  };
  // The next region, read into `buffer`. Any thread. nullopt: everything was handed out.
  std::optional<Work> next(std::span<std::byte> buffer);
  // The member when this was its last region that was not done: now the caller's.
  std::unique_ptr<Member> region_done(Member& member, const RegionResult& result);

  // Once next() has said that there is nothing more.
  ImportParts take_parts();

 private:
  bool advance() HF_REQUIRES(stream_mutex_);
  void take(const TarEntry& entry) HF_REQUIRES(stream_mutex_);
  void take_base(const TarEntry& entry) HF_REQUIRES(stream_mutex_);
  void take_tablespace(const TarEntry& entry) HF_REQUIRES(stream_mutex_);
  void take_data(const TarEntry& entry, const std::string& path, bool is_kept)
      HF_REQUIRES(stream_mutex_);
  bool take_special(const TarEntry& entry) HF_REQUIRES(stream_mutex_);

  const Options options_;
  ImportEntries& entries_;
  const std::stop_token stop_;

  Mutex stream_mutex_;  // first of the two
  size_t tar_index_ HF_GUARDED_BY(stream_mutex_) = 0;
  std::unique_ptr<ImportStream> stream_ HF_GUARDED_BY(stream_mutex_);
  ImportParts parts_ HF_GUARDED_BY(stream_mutex_);
  bool is_broken_ HF_GUARDED_BY(stream_mutex_) = false;
  Member* current_ HF_GUARDED_BY(stream_mutex_) = nullptr;  // has regions left to read

  Mutex members_mutex_;
  std::vector<std::unique_ptr<Member>> members_ HF_GUARDED_BY(members_mutex_);  // under way
};

// One worker's view of the region that it holds.
class RegionBytes : public FileSource {
 public:
  void hold(uint64_t start, ByteView bytes) {
    start_ = start;
    bytes_ = bytes;
  }
  bool open(CopyItem&) override { return true; }
  void will_read(const CopyItem&, uint64_t, uint64_t) override {}
  std::optional<size_t> read(const CopyItem& item, uint64_t offset,
                             std::span<std::byte> into) override;
  uint64_t skip_hole(const CopyItem&, uint64_t from, uint64_t) override { return from; }
  uint64_t length(const CopyItem& item) override { return item.bytes; }
  bool is_live() const override { return false; }

 private:
  uint64_t start_ = 0;
  ByteView bytes_;
};

}  // namespace holdfast::backup
