#include "base/direct_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <unistd.h>

#include "base/error.h"

namespace holdfast {
namespace {

// Of offset, length and memory; as much as any device of today asks for.
constexpr size_t kAlignment = 4096;

int pwrite_whole(const Fd& fd, ByteView bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = pwrite(fd.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return EIO;
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return 0;
}

}  // namespace

void DirectWriter::Free::operator()(std::byte* buffer) const {
  ::operator delete[](buffer, std::align_val_t{kAlignment});
}

void DirectWriter::begin(const Fd& file, const std::string& path) {
  HF_CHECK(size_ == 0);
  file_ = &file;
  path_ = path;
  direct_.reset();
  direct_is_possible_ = true;
}

int DirectWriter::write(uint64_t offset, ByteView bytes) {
  if (size_ > 0 && offset != offset_ + size_)
    if (const int failed = flush()) return failed;
  if (!buffer_)
    buffer_.reset(
        static_cast<std::byte*>(::operator new[](kBufferBytes, std::align_val_t{kAlignment})));
  if (size_ == 0) offset_ = offset;
  while (!bytes.empty()) {
    const size_t taken = std::min(bytes.size(), kBufferBytes - size_);
    std::memcpy(buffer_.get() + size_, bytes.data(), taken);
    size_ += taken;
    bytes = bytes.subspan(taken);
    if (size_ < kBufferBytes) break;
    if (const int failed = flush()) return failed;
  }
  return 0;
}

// EINVAL: this file system does not do it.
int DirectWriter::write_buffer_direct() {
  if (!direct_.is_open())
    direct_ = Fd(::open(path_.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW));
  if (!direct_.is_open()) return EINVAL;
  return pwrite_whole(direct_, ByteView(buffer_.get(), size_), offset_);
}

int DirectWriter::flush() {
  size_t done = 0;
  // Less than a buffer is not worth the wait for the device.
  if (direct_is_possible_ && size_ == kBufferBytes && offset_ % kAlignment == 0) {
    const int failed = write_buffer_direct();
    if (failed == 0) done = size_;
    if (failed == EINVAL || failed == EOPNOTSUPP)
      direct_is_possible_ = false;
    else if (failed != 0)
      return failed;
  }
  if (const int failed =
          pwrite_whole(*file_, ByteView(buffer_.get(), size_).subspan(done), offset_ + done))
    return failed;
  offset_ += size_;
  size_ = 0;
  return 0;
}

}  // namespace holdfast
