// pieces_of.h: what WalArchive::put_segment takes, of a content in memory. It must outlive that.
#pragma once

#include <cstring>

#include "base/error.h"
#include "repo/wal_archive.h"

namespace holdfast::test {

inline repo::SegmentPass::Read read_from(ByteView content) {
  return [content](std::span<std::byte> into, uint64_t offset) {
    HF_CHECK(offset + into.size() <= content.size());
    std::memcpy(into.data(), content.data() + offset, into.size());
  };
}

inline repo::WalSegmentInfo describe_segment(ByteView content, const pg::WalFileName& file,
                                             const repo::WalOrigin& origin) {
  return repo::SegmentPass({}, 1).describe(content.size(), read_from(content), file, origin, {});
}

inline repo::WalArchive::Pieces pieces_of(ByteView content, int jobs = 1) {
  return [content, jobs](const auto& put) {
    repo::SegmentPass({}, jobs).run(content.size(), read_from(content), {}, put);
  };
}

}  // namespace holdfast::test
