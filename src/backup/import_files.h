// import_files.h: which files a base backup in tar format consists of, and their bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/tar_reader.h"
#include "codec/stream_decompressor.h"

namespace holdfast::backup {

// One tar of a base backup.
struct ImportTar {
  enum class Role : uint8_t { kBase, kTablespace, kWal };
  Role role = Role::kBase;
  uint32_t oid = 0;  // of the tablespace
  std::string path;  // empty: stdin
};

struct ImportFiles {
  std::vector<ImportTar> tars;          // base first, then tablespaces by oid, then WAL
  std::optional<std::string> manifest;  // backup_manifest
  uint64_t bytes = 0;                   // of the files as they lie there; 0 when unknown
  std::string place;                    // for people: the path, or "stdin"
};

// `path`: a directory with base.tar, or one tar; empty: stdin. A tar may be compressed:
// base.tar.gz, .zst, .lz4. Throws kUsage for what is neither, and where one tar is there twice.
ImportFiles find_import_files(const std::string& path);

// One of them, opened, decompressed. Waits for a slow stdin until `stop`.
class ImportStream {
 public:
  ImportStream(const ImportTar& tar, std::stop_token stop);
  TarReader& tar() { return *reader_; }
  // A file of which any part can be skipped at no cost.
  bool can_be_skipped() const { return can_be_skipped_; }

 private:
  size_t read(std::span<std::byte> into);

  std::string name_;
  std::stop_token stop_;
  Fd fd_;
  std::unique_ptr<codec::StreamDecompressor> decompressor_;
  bool can_be_skipped_ = false;
  std::unique_ptr<TarReader> reader_;
};

}  // namespace holdfast::backup
