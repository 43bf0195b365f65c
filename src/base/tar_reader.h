// tar_reader.h: the members of a tar archive, front to back, as they come.
//
// Reads what tar programs and PostgreSQL's base backup write: ustar, pax (path, linkpath, size,
// mtime, uid, gid, uname, gname), GNU's long names and its numbers in base 256. Sparse members are
// refused.
//
// Nothing is trusted: the checksum of each header is verified; a path that is absolute or has a
// component ".." is refused, and so is an archive without the two blocks of zeros at its end: that
// is how one that was cut short between two members is told from a whole one.
//
// Memory: one header, and at most 1 MiB of what extends it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/tar_entry.h"

namespace holdfast {

// Fills `into` from its front; less only where the bytes end.
using ReadBytes = std::function<size_t(std::span<std::byte> into)>;

class TarReader {
 public:
  // `name` is for errors. `skip`, when given, passes over bytes that `read` would give.
  TarReader(ReadBytes read, std::string name, std::function<void(uint64_t)> skip = {});

  // The next member; what was not read of the one before is passed over. nullopt behind the last,
  // once everything behind it was found to be zeros. Throws kCorrupt, and kUnsupported for a
  // sparse member.
  std::optional<TarEntry> next();
  // Content of the member: fills `into`, less only where it ends. Throws kCorrupt when the archive
  // ends before.
  size_t read(std::span<std::byte> into);

  const std::string& name() const { return name_; }

 private:
  struct Extension;
  bool read_header(std::span<std::byte> block);
  void expect_only_zeros();
  void pass_over(uint64_t bytes);
  void finish_member();
  std::string read_extension(uint64_t bytes, std::string_view what);
  TarEntry entry_of(ByteView header, const Extension& extension);
  [[noreturn]] void fail(std::string detail) const;

  ReadBytes read_;
  std::function<void(uint64_t)> skip_;
  std::string name_;
  uint64_t offset_ = 0;  // of the next byte
  uint64_t left_ = 0;    // of the content
  uint64_t padding_ = 0;
  bool ended_ = false;
};

}  // namespace holdfast
