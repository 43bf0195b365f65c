// direct_writer.h: long runs of bytes into a file past the page cache (O_DIRECT).
//
// A large file that is written once and read by nobody soon costs a copy into the cache, pushes
// out what others have there, and is written a second time by the sync. Here bytes are gathered in
// buffers that are aligned as the device wants it, and each is handed over whole while the next is
// filled. What does not fill one, and everything on a file system that knows no such writes, goes
// the usual way. Nothing is durable before the file is synced.
//
// Facts: open(2), "O_DIRECT", Linux 4.18 and later.
#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
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
  // Bytes at an offset; those that follow on each other are gathered. Returns errno, 0 for success;
  // it may be the errno of bytes that were given before.
  [[nodiscard]] int write(uint64_t offset, ByteView bytes);
  // All that was given is the kernel's or the device's when it returns.
  [[nodiscard]] int flush();

 private:
  struct Free {
    void operator()(std::byte* buffer) const;
  };
  using Buffer = std::unique_ptr<std::byte[], Free>;

  int hand_over();
  bool can_write_direct();
  int wait();

  const Fd* file_ = nullptr;
  std::string path_;
  Fd direct_;  // opened with the first whole buffer
  bool direct_is_possible_ = true;
  Buffer buffer_;        // made with the first byte
  uint64_t offset_ = 0;  // of the buffer's first byte in the file
  size_t size_ = 0;
  // What the device is given at this moment. The last member: waited for before the others go.
  struct UnderWay {
    Buffer buffer;
    uint64_t offset = 0;
    std::future<int> done;
  };
  UnderWay under_way_;
};

}  // namespace holdfast
