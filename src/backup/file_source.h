// file_source.h: where the bytes of a backup's files come from: a data directory, or a tar archive
// (tar_feed.h). region_copier.h does the same with them all.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <string>

#include "backup/copy_window.h"
#include "base/rate_limit.h"

namespace holdfast::backup {

class FileSource {
 public:
  virtual ~FileSource() = default;
  // Takes the file's length, mode, owner and time. False: it has vanished, and item.vanished is
  // set.
  virtual bool open(CopyItem& item) = 0;
  // [start, start + bytes) will be read soon.
  virtual void will_read(const CopyItem& item, uint64_t start, uint64_t bytes) = 0;
  // Fills `into`, less where the file ends before; nullopt when the medium cannot read it.
  virtual std::optional<size_t> read(const CopyItem& item, uint64_t offset,
                                     std::span<std::byte> into) = 0;
  // The next byte that may hold data, at the beginning of its block; `end` when there is none
  // before. Asked only of an item with holes.
  virtual uint64_t skip_hole(const CopyItem& item, uint64_t from, uint64_t end) = 0;
  virtual uint64_t length(const CopyItem& item) = 0;
  // Somebody may be writing the file: what does not verify is worth another read.
  virtual bool is_live() const = 0;
};

// The files of a data directory whose server may be running, read at a limited rate. Safe from any
// thread. read() throws kInterrupted.
class DirectorySource : public FileSource {
 public:
  DirectorySource(std::string data_directory, uint32_t block_bytes, uint64_t bytes_per_second = 0,
                  std::stop_token stop = {})
      : data_directory_(std::move(data_directory)),
        block_bytes_(block_bytes),
        rate_(bytes_per_second),
        stop_(std::move(stop)) {}
  bool open(CopyItem& item) override;
  void will_read(const CopyItem& item, uint64_t start, uint64_t bytes) override;
  std::optional<size_t> read(const CopyItem& item, uint64_t offset,
                             std::span<std::byte> into) override;
  uint64_t skip_hole(const CopyItem& item, uint64_t from, uint64_t end) override;
  uint64_t length(const CopyItem& item) override;
  bool is_live() const override { return true; }

 private:
  std::string data_directory_;
  uint32_t block_bytes_;
  RateLimit rate_;
  std::stop_token stop_;
};

}  // namespace holdfast::backup
