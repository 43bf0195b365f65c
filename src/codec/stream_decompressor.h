// stream_decompressor.h: a compressed file as the bytes that are in it, from front to back.
//
// gzip (also several members in a row), zstd frames and LZ4 frames: what pg_basebackup and the
// programs gzip, zstd and lz4 write. By its first bytes a file tells what it is; one that begins
// otherwise is handed on as it is, but for xz and bzip2, which are refused. The checksums of each
// format are verified, and an end before the end of a frame is damage.
//
// What is read is not trusted. Memory: 256 KiB, and the window of the frame (at most 128 MiB for
// zstd). One thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "base/bytes.h"

namespace holdfast::codec {

class StreamDecompressor {
 public:
  // Fills `into` from its front; less only where the bytes end.
  using ReadBytes = std::function<size_t(std::span<std::byte> into)>;

  // `name` is for errors. Reads the first bytes. Throws kUnsupported for what it cannot read.
  StreamDecompressor(ReadBytes read, std::string name);
  ~StreamDecompressor();
  StreamDecompressor(StreamDecompressor&&) noexcept;

  bool is_compressed() const;
  // The same for what it holds. Throws kCorrupt.
  size_t read(std::span<std::byte> into);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::codec
