// tar_writer.h: a tar archive, written front to back to wherever bytes go.
//
//   member := [pax header] header content padded to 512       a pax header only where ustar has no
//   room end    := 1024 zeros
//
// ustar (POSIX.1-1988) with pax extended headers (POSIX.1-2001, typeflag "x") for names that do not
// fit 100 bytes and a prefix of 155, sizes of 8 GiB and more, numbers of owners and times that
// seven octal digits do not hold. Every tar of the last twenty years reads both. Memory: one
// header.
#pragma once

#include <cstdint>
#include <functional>

#include "base/bytes.h"
#include "base/tar_entry.h"

namespace holdfast {

class TarWriter {
 public:
  explicit TarWriter(std::function<void(ByteView)> out) : out_(std::move(out)) {}

  // REQUIRES: a file, a directory or a symbolic link.
  void begin(const TarEntry& entry);
  // The content of a file, in pieces that together are `bytes` (HF_CHECK at the next call).
  void write(ByteView piece);
  // A small file in one call: begin() and write().
  void add(TarEntry entry, ByteView content);
  void finish();

  uint64_t bytes() const { return bytes_; }  // written so far

 private:
  void end_member();
  void put(ByteView bytes);
  void put_padding();

  std::function<void(ByteView)> out_;
  uint64_t left_ = 0;  // of the member that is open
  uint64_t bytes_ = 0;
};

}  // namespace holdfast
