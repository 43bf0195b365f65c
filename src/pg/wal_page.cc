#include "pg/wal_page.h"

#include <fmt/core.h>

#include "pg/version.h"

namespace holdfast::pg {

std::optional<WalPageHeader> read_wal_page_header(ByteView page) {
  if (page.size() < kWalShortHeaderBytes) return std::nullopt;
  const std::byte* at = page.data();
  WalPageHeader header{.magic = load_le<uint16_t>(at),
                       .flags = load_le<uint16_t>(at + 2),
                       .timeline = {load_le<uint32_t>(at + 4)},
                       .address = {load_le<uint64_t>(at + 8)},
                       .remaining_length = load_le<uint32_t>(at + 16)};
  if (header.has(kWalPageIsLong)) {
    if (page.size() < kWalLongHeaderBytes) return std::nullopt;
    header.system_identifier = load_le<uint64_t>(at + 24);
    header.segment_bytes = load_le<uint32_t>(at + 32);
    header.block_bytes = load_le<uint32_t>(at + 36);
  }
  return header;
}

std::variant<WalSegmentHeader, Error::Parts> read_wal_segment_header(ByteView first_page) {
  auto corrupt = [](std::string detail) {
    return Error::Parts{
        .code = ErrorCode::kCorrupt,
        .message = "not the start of a WAL segment",
        .detail = std::move(detail),
        .hint = "The file may be damaged, empty, compressed or encrypted by another tool."};
  };
  std::optional<WalPageHeader> header = read_wal_page_header(first_page);
  if (!header) return corrupt(fmt::format("It has only {} bytes.", first_page.size()));
  std::optional<int> major = major_by_wal_magic(header->magic);
  const bool is_newer = is_newer_wal_magic(header->magic);
  if (!major && !is_newer) {
    // All magics since 9.3 lie in this range; what lies outside is no WAL at all.
    if (header->magic >> 8 == 0xD0 || header->magic >> 8 == 0xD1) {
      return Error::Parts{
          .code = ErrorCode::kUnsupported,
          .message = fmt::format("unknown WAL page magic {:04X}", header->magic),
          .detail = fmt::format("This program reads the WAL of PostgreSQL {} to {}.", kFirstMajor,
                                kLastMajor),
          .hint =
              "WAL of beta versions is not supported; a newer Holdfast may know a newer "
              "PostgreSQL."};
    }
    return corrupt(fmt::format("Its page magic is {:04X}.", header->magic));
  }
  if (major && (header->flags & ~wal_page_legal_flags(*major)) != 0)
    return corrupt(fmt::format("Its flags are {:04X}.", header->flags));
  if (!header->has(kWalPageIsLong)) return corrupt("Its first page has no long header.");
  if (!WalSegmentSize::is_valid(header->segment_bytes)) {
    return corrupt(fmt::format("Its segment size is {}.", header->segment_bytes));
  }
  if (header->block_bytes != kWalBlockBytes) {
    return Error::Parts{
        .code = ErrorCode::kUnsupported,
        .message = fmt::format("WAL block size {} is not supported", header->block_bytes),
        .detail = fmt::format("Only {} bytes are, PostgreSQL's default.", kWalBlockBytes),
        .hint = ""};
  }
  if (!header->timeline.is_valid()) return corrupt("Its timeline is 0.");
  if (header->address.value % header->segment_bytes != 0) {
    return corrupt(
        fmt::format("Its address {} is not the start of a segment.", to_string(header->address)));
  }
  return WalSegmentHeader{.major = major.value_or(0),
                          .page = *header,
                          .segment_size = WalSegmentSize(header->segment_bytes)};
}

WalSegmentHeader parse_wal_segment_header(ByteView first_page) {
  std::variant<WalSegmentHeader, Error::Parts> result = read_wal_segment_header(first_page);
  if (Error::Parts* problem = std::get_if<Error::Parts>(&result)) throw Error(std::move(*problem));
  return std::get<WalSegmentHeader>(result);
}

SegmentFile segment_file(ByteView first_page, SegmentName name, WalSegmentSize size,
                         std::optional<Lsn> began) {
  std::variant<WalSegmentHeader, Error::Parts> result = read_wal_segment_header(first_page);
  const WalSegmentHeader* header = std::get_if<WalSegmentHeader>(&result);
  if (header == nullptr || header->segment_size != size || header->page.timeline > name.timeline)
    return SegmentFile::kUnknown;
  const Lsn start = start_lsn(name.segment_number, size);
  const bool is_older = header->page.timeline < name.timeline;
  if (header->page.address == start)
    return is_older && began && start >= *began ? SegmentFile::kForReuse : SegmentFile::kItself;
  return is_older || header->page.address < start ? SegmentFile::kForReuse : SegmentFile::kUnknown;
}

}  // namespace holdfast::pg
