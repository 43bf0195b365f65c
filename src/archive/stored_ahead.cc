#include "archive/stored_ahead.h"

#include <algorithm>
#include <chrono>
#include <fcntl.h>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace holdfast::archive {
namespace {

constexpr std::string_view kFileName = "holdfast_stored_ahead";
constexpr std::string_view kAheadMagic = "HFAHEAD1";
constexpr size_t kAheadNameBytes = 24;
constexpr size_t kLookBytes = 8 + 16 + kAheadNameBytes + 5 * 8;
constexpr size_t kRecordBytes = kLookBytes + sizeof(Bytes32);
constexpr size_t kMaxRecords = 256;                   // as many as can be taken along
constexpr std::chrono::milliseconds kCoarseness{50};  // the kernel's ticks are 10 ms at most

uint64_t nanoseconds(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

// All of a record but the SHA-256.
Bytes encode_look(const Bytes16& repository_id, const std::string& name,
                  const struct stat& status) {
  HF_CHECK(name.size() == kAheadNameBytes);
  ByteWriter writer;
  writer.bytes(as_bytes(kAheadMagic)).bytes(repository_id.view()).bytes(as_bytes(name));
  writer.u64(status.st_dev).u64(status.st_ino).u64(static_cast<uint64_t>(status.st_size));
  writer.u64(nanoseconds(status.st_mtim)).u64(nanoseconds(status.st_ctim));
  HF_CHECK(writer.size() == kLookBytes);
  return writer.take();
}

// Also when the times have no fractions, as where a file system keeps whole seconds.
bool may_change_unseen(const StoredAhead::File& file) {
  if (file.status.st_ctim.tv_nsec == 0 && file.status.st_mtim.tv_nsec == 0) return true;
  const auto changed = Time(std::chrono::duration_cast<Microseconds>(
      std::chrono::nanoseconds(nanoseconds(file.status.st_ctim))));
  return changed + kCoarseness > file.read_at;
}

}  // namespace

bool is_same_and_unchanged(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         nanoseconds(a.st_mtim) == nanoseconds(b.st_mtim) &&
         nanoseconds(a.st_ctim) == nanoseconds(b.st_ctim);
}

StoredAhead::StoredAhead(std::string wal_directory, const Bytes16& repository_id)
    : path_(join_path(wal_directory, kFileName)),
      wal_directory_(std::move(wal_directory)),
      repository_id_(repository_id) {}

std::optional<Bytes32> StoredAhead::find(const std::string& name) const {
  std::optional<Bytes32> found;
  // Without a record the call takes longer, no more.
  error_of([&] {
    const std::optional<struct stat> status = stat_if_exists(join_path(wal_directory_, name));
    const std::optional<Fd> fd = open_if_exists(path_, O_RDONLY);
    if (!status || !fd) return;
    Bytes records(kMaxRecords * kRecordBytes);
    records.resize(read_some(*fd, records, path_));
    const Bytes look = encode_look(repository_id_, name, *status);
    for (ByteView rest = records; rest.size() >= kRecordBytes; rest = rest.subspan(kRecordBytes)) {
      if (!std::ranges::equal(rest.first(kLookBytes), ByteView(look))) continue;
      std::ranges::copy(rest.subspan(kLookBytes, sizeof(Bytes32)), found.emplace().bytes.begin());
      return;
    }
  });
  return found;
}

void StoredAhead::remember(std::span<const File> files) const {
  ByteWriter records;
  for (const File& file : files)
    if (!may_change_unseen(file))
      records.bytes(encode_look(repository_id_, file.name, file.status)).bytes(file.sha256.view());
  // As in find().
  error_of([&] {
    const std::string temporary = path_ + ".new";
    write_all(open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC), records.view(), temporary);
    rename_path(temporary, path_);
  });
}

}  // namespace holdfast::archive
