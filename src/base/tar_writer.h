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
#include <string>

#include "base/bytes.h"
#include "base/time.h"

namespace holdfast {

struct TarMember {
  enum class Type : uint8_t { kFile, kDirectory, kSymlink };
  std::string path = {};  // relative; a directory's without a "/" at the end
  Type type = Type::kFile;
  uint64_t bytes = 0;  // of a file
  uint32_t mode = 0600;
  std::string user = {}, group = {};
  uint32_t uid = 0, gid = 0;
  Time modified = {};
  std::string target = {};  // of a link
};

class TarWriter {
 public:
  explicit TarWriter(std::function<void(ByteView)> out) : out_(std::move(out)) {}

  void begin(const TarMember& member);
  // The content of a file, in pieces that together are `bytes` (HF_CHECK at the next call).
  void write(ByteView piece);
  // A small file in one call: begin() and write().
  void add(TarMember member, ByteView content);
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
