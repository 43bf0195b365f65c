#include "recovery/segment_copy.h"

#include <algorithm>

#include "base/error.h"
#include "repo/needed_wal.h"

namespace holdfast::recovery {
namespace {

pg::WalFileName file_of(const SegmentCopy& copy) {
  return {.kind = copy.partial ? pg::WalFileKind::kPartial : pg::WalFileKind::kSegment,
          .segment = copy.name};
}
const Bytes16* digest_of(const SegmentCopy& copy) {
  return copy.partial ? &*copy.partial : nullptr;
}

}  // namespace

std::string file_name_of(const SegmentCopy& copy, pg::WalSegmentSize size) {
  if (!copy.partial) return pg::segment_file_name(copy.name, size);
  return pg::partial_file_name(copy.name, size) + "." + to_hex(copy.partial->view());
}

bool agree(const repo::WalArchive& archive, const SegmentCopy& a, const SegmentCopy& b) {
  const uint64_t compared = std::min(a.info.readable_end, b.info.readable_end) - a.info.start_lsn;
  const std::optional<std::string> one = archive.served_object(file_of(a), digest_of(a));
  const std::optional<std::string> other = archive.served_object(file_of(b), digest_of(b));
  return one && other && repo::begin_alike(archive, *one, *other, compared).value_or(false);
}

std::vector<SegmentCopy> find_unfinished(const repo::WalArchive& archive, pg::SegmentName segment,
                                         const std::vector<Bytes16>& partials) {
  std::vector<SegmentCopy> copies;
  const auto add = [&](const std::optional<Bytes16>& partial) {
    SegmentCopy copy{.name = segment, .partial = partial, .info = {}};
    unreadable_of([&] {
      if (std::optional<repo::WalSegmentInfo> info =
              archive.segment_info(file_of(copy), digest_of(copy)))
        copy.info = std::move(*info);
    });
    if (copy.info.readable_end > copy.info.start_lsn) copies.push_back(std::move(copy));
  };
  add(std::nullopt);
  if (!copies.empty() && repo::reaches_its_end(copies.front().info)) return {};
  for (const Bytes16& partial : partials) add(partial);
  std::ranges::sort(copies, [](const SegmentCopy& a, const SegmentCopy& b) {
    return a.info.readable_end != b.info.readable_end ? a.info.readable_end > b.info.readable_end
                                                      : a.partial < b.partial;
  });
  return copies;
}

std::vector<SegmentCopy> parted_from_first(const repo::WalArchive& archive,
                                           const std::vector<SegmentCopy>& copies) {
  std::vector<SegmentCopy> parted;
  for (size_t at = 1; at < copies.size(); ++at)
    unreadable_of([&] {
      if (!agree(archive, copies.front(), copies[at])) parted.push_back(copies[at]);
    });
  return parted;
}

}  // namespace holdfast::recovery
