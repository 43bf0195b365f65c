#include "backup/path_sorter.h"

#include <algorithm>
#include <fcntl.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "repo/manifest.h"

namespace holdfast::backup {
namespace {

constexpr size_t kBufferBytes = size_t{64} << 10;
constexpr size_t kRecordCost = 96;  // what a record takes beside its bytes
constexpr size_t kHeadBytes = 8;    // of a record in a run: the lengths of path and payload

}  // namespace

// A sorted file: { path-length u32, payload-length u32, path, payload }*
struct PathSorter::Run {
  Fd fd;
  uint64_t offset = 0;  // of the next byte to read into the buffer
  Bytes buffer;
  size_t at = 0;
  std::optional<Record> front;

  // `count` bytes, which the buffer then holds in a row; false at the end.
  bool fetch(size_t count) {
    if (buffer.size() - at >= count) return true;
    buffer.erase(buffer.begin(), buffer.begin() + static_cast<ptrdiff_t>(at));
    at = 0;
    const size_t had = buffer.size();
    buffer.resize(std::max(count, kBufferBytes));
    const size_t got = pread_some(fd, std::span(buffer).subspan(had), offset, "temporary file");
    offset += got;
    buffer.resize(had + got);
    return buffer.size() >= count;
  }
  void advance() {
    front.reset();
    if (!fetch(kHeadBytes)) return;
    const auto path_bytes = load_le<uint32_t>(buffer.data() + at);
    const auto payload_bytes = load_le<uint32_t>(buffer.data() + at + 4);
    const size_t all = kHeadBytes + size_t{path_bytes} + payload_bytes;
    HF_CHECK(fetch(all));
    const ByteView record = ByteView(buffer).subspan(at, all);
    const ByteView payload = record.subspan(kHeadBytes + path_bytes);
    front = Record{.path = std::string(as_text(record.subspan(kHeadBytes, path_bytes))),
                   .payload = Bytes(payload.begin(), payload.end())};
    at += all;
  }
};

PathSorter::PathSorter(std::string directory, size_t memory_bytes)
    : directory_(std::move(directory)), memory_bytes_(memory_bytes) {}
PathSorter::~PathSorter() = default;

void PathSorter::add(std::string_view path, ByteView payload) {
  HF_CHECK(!merging_);
  records_.push_back(
      {.record = {.path = std::string(path), .payload = Bytes(payload.begin(), payload.end())},
       .number = next_number_++});
  held_ += path.size() + payload.size() + kRecordCost;
  if (held_ >= memory_bytes_) spill();
}

bool PathSorter::comes_before(const Held& a, const Held& b) {
  const int order = repo::compare_paths(a.record.path, b.record.path);
  return order != 0 ? order < 0 : a.number < b.number;
}

void PathSorter::sort_memory() { std::ranges::sort(records_, comes_before); }

void PathSorter::spill() {
  sort_memory();
  auto run = std::make_unique<Run>();
  const std::string path =
      join_path(directory_, fmt::format("{}-{}", fmt::ptr(this), runs_.size()));
  run->fd = open_file(path, O_CREAT | O_EXCL | O_RDWR);
  remove_file(path);  // it lives as long as it is open
  ByteWriter out;
  for (const auto& [record, number] : records_) {
    out.u32(narrow<uint32_t>(record.path.size())).u32(narrow<uint32_t>(record.payload.size()));
    out.bytes(as_bytes(record.path)).bytes(record.payload);
    if (out.size() < kBufferBytes) continue;
    write_all(run->fd, out.view(), path);
    out.clear();
  }
  write_all(run->fd, out.view(), path);
  runs_.push_back(std::move(run));
  records_.clear();
  held_ = 0;
}

void PathSorter::begin_merge() {
  merging_ = true;
  if (runs_.empty()) return sort_memory();
  if (!records_.empty()) spill();
  for (const std::unique_ptr<Run>& run : runs_) run->advance();
}

std::optional<PathSorter::Record> PathSorter::next() {
  if (!merging_) begin_merge();
  if (runs_.empty()) {
    if (given_ == records_.size()) return std::nullopt;
    return std::move(records_[given_++].record);
  }
  // Runs are few; of equal paths the earlier run's comes first.
  Run* least = nullptr;
  for (const std::unique_ptr<Run>& run : runs_)
    if (run->front &&
        (least == nullptr || repo::compare_paths(run->front->path, least->front->path) < 0))
      least = run.get();
  if (least == nullptr) return std::nullopt;
  std::optional<Record> record = std::move(least->front);
  least->advance();
  return record;
}

}  // namespace holdfast::backup
