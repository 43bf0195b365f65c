#include "backup/region_copier.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/task_group.h"
#include "pg/relation_map.h"

namespace holdfast::backup {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 20;
constexpr std::chrono::milliseconds kRereadPause{10};
constexpr int kMapRounds = 5;

}  // namespace

RegionCopier::RegionCopier(const SourceFacts& source, FileSource& files,
                           repo::ExtentWriter& extents, Reporter& reporter, std::stop_token stop)
    : source_(source),
      files_(files),
      extents_(extents),
      reporter_(reporter),
      stop_(std::move(stop)),
      leaf_(extents, source.block_bytes),
      checker_(
          source.start_lsn, [this] { wait_for(stop_, kRereadPause); }, source.has_checksums),
      buffer_(kPieceBytes) {
  HF_CHECK(kPieceBytes % source.block_bytes == 0 && repo::kLeafBytes % kPieceBytes == 0);
}

bool RegionCopier::open(CopyItem& item) { return files_.open(item); }

RegionResult RegionCopier::copy(CopyItem& item, uint64_t region) {
  const uint64_t start = region * repo::kLeafBytes;
  const uint64_t end = std::min(start + repo::kLeafBytes, item.bytes);
  const std::string& path = item.entry.path;
  faults_.clear();
  leaf_.begin(repo::file_tag(path), region);
  // Reading ahead would fill the cache with the zeros of holes.
  if (!item.has_holes) files_.will_read(item, start, end - start);

  uint64_t read_to = 0;
  for (uint64_t at = start; at < end;) {
    throw_if_stopped(stop_);
    if (item.has_holes) {
      at = files_.skip_hole(item, at, end);
      if (at >= end) {
        // A hole as far as the file reaches: it was not read, but it is there.
        uint64_t length = files_.length(item);
        if (length > start) read_to = std::min(end, length);
        break;
      }
    }
    size_t wanted = static_cast<size_t>(std::min<uint64_t>(kPieceBytes, end - at));
    size_t got = read_piece(item, at, std::span(buffer_).first(wanted));
    if (got == 0) break;
    size_t tail = got % source_.block_bytes;
    // A file cut within a block while it is read, of which a later region was read before: the
    // block is filled with zeros.
    if (tail != 0 && end < item.bytes) {
      size_t filled = got - tail + source_.block_bytes;
      std::fill(buffer_.begin() + static_cast<ptrdiff_t>(got),
                buffer_.begin() + static_cast<ptrdiff_t>(filled), std::byte{0});
      got = filled;
      tail = 0;
    }
    // The part of a page at the end is being appended right now; replay writes it whole.
    if (item.relation)
      check_pages(item, *item.relation, at, std::span(buffer_).first(got - tail));
    else if (at == 0 && base_name(path) == pg::kRelationMapName)
      check_relation_map(item, std::span(buffer_).first(got));
    leaf_.add(at / source_.block_bytes, ByteView(buffer_).first(got));
    at += got;
    read_to = at;
    if (got < wanted) break;  // truncated meanwhile
  }

  item.map.add(extents_, leaf_.finish(), source_.block_bytes);
  reporter_.amount(end - start);
  return {.end = read_to, .faults = faults_};
}

void RegionCopier::complete(CopyItem& item) {
  item.fd.reset();
  item.entry.size = item.end;
  item.entry.location = item.map.finish(extents_, item.end, source_.block_bytes);
}

// As pread_some; what cannot be read is zeros and a fault.
size_t RegionCopier::read_piece(const CopyItem& item, uint64_t offset, std::span<std::byte> into) {
  if (std::optional<size_t> all = files_.read(item, offset, into)) return *all;
  size_t done = 0;
  while (done < into.size()) {
    std::span<std::byte> block =
        into.subspan(done, std::min<size_t>(source_.block_bytes, into.size() - done));
    std::optional<size_t> got = files_.read(item, offset + done, block);
    if (!got) {
      std::ranges::fill(block, std::byte{0});
      faults_.push_back({.page = narrow<uint32_t>((offset + done) / source_.block_bytes),
                         .reason = FaultReason::kUnreadable});
      got = block.size();
    }
    done += *got;
    if (*got < block.size()) break;  // truncated meanwhile
  }
  return done;
}

void RegionCopier::check_relation_map(const CopyItem& item, std::span<std::byte> content) {
  if (!faults_.empty()) return;  // it could not be read
  for (int round = 0; files_.is_live() && round < kMapRounds; ++round) {
    if (pg::is_whole_relation_map(content)) return;
    wait_for(stop_, kRereadPause);
    files_.read(item, 0, content);
  }
  if (!pg::is_whole_relation_map(content))
    faults_.push_back({.page = 0, .reason = FaultReason::kChecksum});
}

void RegionCopier::check_pages(const CopyItem& item, const pg::RelationFile& relation,
                               uint64_t offset, std::span<std::byte> pages) {
  uint32_t first_in_file = narrow<uint32_t>(offset / source_.block_bytes);
  pg::BlockNumber first{relation.segment * source_.blocks_per_segment + first_in_file};
  PageChecker::Reread reread;
  if (files_.is_live())
    reread = [&](uint32_t page, std::span<std::byte, pg::kPageBytes> into) {
      std::optional<size_t> got = files_.read(item, offset + uint64_t{page} * pg::kPageBytes, into);
      // Unreadable by now: as faulty as it was.
      if (!got)
        std::ranges::copy(pages.subspan(size_t{page} * pg::kPageBytes, into.size()), into.begin());
      return !got || *got == into.size();
    };
  for (PageFault fault : checker_.check(pages, first, reread)) {
    fault.page += first_in_file;
    faults_.push_back(fault);
  }
}

}  // namespace holdfast::backup
