#include "base/direct_writer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <unistd.h>
#include <utility>

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
  HF_CHECK(size_ == 0 && !under_way_.done.valid());
  file_ = &file;
  path_ = path;
  direct_.reset();
  direct_is_possible_ = true;
}

int DirectWriter::write(uint64_t offset, ByteView bytes) {
  if (size_ > 0 && offset != offset_ + size_)
    if (const int failed = hand_over()) return failed;
  if (size_ == 0) offset_ = offset;
  while (!bytes.empty()) {
    if (!buffer_)
      buffer_.reset(
          static_cast<std::byte*>(::operator new[](kBufferBytes, std::align_val_t{kAlignment})));
    const size_t taken = std::min(bytes.size(), kBufferBytes - size_);
    std::memcpy(buffer_.get() + size_, bytes.data(), taken);
    size_ += taken;
    bytes = bytes.subspan(taken);
    if (size_ == kBufferBytes)
      if (const int failed = hand_over()) return failed;
  }
  return 0;
}

int DirectWriter::flush() {
  const int failed = hand_over();
  const int failed_before = wait();
  return failed != 0 ? failed : failed_before;
}

// Whole buffers go to the device while the next one is filled; one at a time, for their order on
// the device is the file's. Less is not worth the device's time.
int DirectWriter::hand_over() {
  const ByteView waiting(buffer_.get(), std::exchange(size_, 0));
  const uint64_t offset = offset_;
  offset_ += waiting.size();
  if (const int failed = wait()) return failed;
  if (waiting.size() < kBufferBytes || offset % kAlignment != 0 || !can_write_direct())
    return pwrite_whole(*file_, waiting, offset);
  under_way_.offset = offset;
  under_way_.done = std::async(std::launch::async, [waiting, offset, &direct = direct_] {
    return pwrite_whole(direct, waiting, offset);
  });
  std::swap(buffer_, under_way_.buffer);
  return 0;
}

bool DirectWriter::can_write_direct() {
  if (direct_is_possible_ && !direct_.is_open())
    direct_ = Fd(::open(path_.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW));
  direct_is_possible_ = direct_is_possible_ && direct_.is_open();
  return direct_is_possible_;
}

int DirectWriter::wait() {
  if (!under_way_.done.valid()) return 0;
  const int failed = under_way_.done.get();
  // A file system may take the open and refuse the write.
  if (failed != EINVAL && failed != EOPNOTSUPP) return failed;
  direct_is_possible_ = false;
  return pwrite_whole(*file_, ByteView(under_way_.buffer.get(), kBufferBytes), under_way_.offset);
}

}  // namespace holdfast
