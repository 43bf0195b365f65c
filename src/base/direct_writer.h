// direct_writer.h: long runs of bytes into a file past the page cache (O_DIRECT).
//
// A large file that is written once and read by nobody soon costs a copy into the cache, pushes
// out what others have there, and is written a second time by the sync. Here bytes are gathered in
// one buffer that is aligned as the device wants it, and handed over whole; what does not fill a
// block, and everything on a file system that knows no such writes, goes the usual way. Nothing is
// durable before the file is synced.
//
// Facts: open(2), "O_DIRECT", Linux 4.18 and later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/file.h"

namespace holdfast {

class DirectWriter {
 public:
  static constexpr size_t kBufferBytes = size_t{1} << 20;

  // From here on bytes go to `file`, which is open for writing under the name `path` and outlives
  // that. REQUIRES: nothing is waiting in the buffer.
  void begin(const Fd& file, const std::string& path);
  // Bytes at an offset; those that follow on each other are gathered. Returns errno, 0 for success.
  [[nodiscard]] int write(uint64_t offset, ByteView bytes);
  // Hands over what is waiting.
  [[nodiscard]] int flush();

 private:
  struct Free {
    void operator()(std::byte* buffer) const;
  };

  int write_buffer_direct();

  const Fd* file_ = nullptr;
  std::string path_;
  Fd direct_;  // opened with the first whole buffer
  bool direct_is_possible_ = true;
  std::unique_ptr<std::byte[], Free> buffer_;  // made with the first byte
  uint64_t offset_ = 0;                        // of the buffer's first byte in the file
  size_t size_ = 0;
};

}  // namespace holdfast
