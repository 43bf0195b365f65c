// segment_compressor.h: the content of a WAL file compressed by threads of its own, while its owner
// looks at the same content for other reasons.
#pragma once

#include <map>
#include <optional>
#include <stop_token>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/task_group.h"
#include "codec/compression.h"
#include "repo/format.h"

namespace holdfast::repo {

// Before compression; the last piece of a content may have less.
inline constexpr size_t kSegmentPieceBytes = size_t{4} << 20;

class SegmentCompressor {
 public:
  // Begins at once, by `jobs` threads with 6 MiB each. `content` must outlive it.
  explicit SegmentCompressor(ByteView content, codec::CompressionSetting compression = {},
                             int jobs = 1);

  // The next piece; nullopt behind the last one. Throws what a thread has thrown. One thread at a
  // time.
  std::optional<ObjectWriter::Compressed> next();

 private:
  void work(const std::stop_token& stop);

  ByteView content_;
  codec::CompressionSetting compression_;
  size_t piece_count_;
  Mutex mutex_;
  ConditionVariable changed_;
  size_t begun_ HF_GUARDED_BY(mutex_) = 0;
  size_t taken_ HF_GUARDED_BY(mutex_) = 0;
  std::map<size_t, ObjectWriter::Compressed> made_ HF_GUARDED_BY(mutex_);
  TaskGroup workers_;  // the last member: joined before the others go
};

}  // namespace holdfast::repo
