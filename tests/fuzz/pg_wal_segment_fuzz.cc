// WalReader: any bytes as the first pages of a segment, and any records under headers and CRCs that
// are right.
#include <algorithm>
#include <optional>

#include "../support/wal_builder.h"
#include "base/error.h"
#include "pg/wal_page.h"
#include "pg/wal_reader.h"

using namespace holdfast;

namespace {

// In pieces of a page each; nullopt for what is no segment.
std::optional<pg::WalSegmentScan> in_pieces(pg::WalReader reader, ByteView segment,
                                            pg::SegmentName name) {
  try {
    pg::WalSegmentScanner scanner(reader, name, segment.size());
    for (size_t at = 0; at < segment.size(); at += pg::kWalBlockBytes)
      scanner.take(segment.subspan(at, std::min(segment.size() - at, pg::kWalBlockBytes)));
    return scanner.finish();
  } catch (const Error&) {
    return std::nullopt;
  }
}

void read(pg::WalReader& reader, ByteView segment, pg::SegmentName name) {
  const std::optional<pg::WalSegmentScan> same = in_pieces(reader, segment, name);
  try {
    pg::WalSegmentScan scan = pg::scan_segment(reader, segment, name);
    const pg::WalSegmentSummary& summary = scan.summary;
    HF_CHECK(same == scan);
    HF_CHECK(summary.record_count >= scan.events.size());
    HF_CHECK(summary.stop_lsn >= pg::start_lsn(name.segment_number, summary.segment_size));
    HF_CHECK(summary.stop_lsn <= pg::end_lsn(name.segment_number, summary.segment_size));
    HF_CHECK(!summary.first_record_lsn || *summary.first_record_lsn <= *summary.last_record_lsn);
  } catch (const Error&) {
    HF_CHECK(!same);
  }
}

// The input is the segment, behind a header that is right.
void read_raw(test::WalBuilder& builder, ByteView input) {
  builder.add_filler(8);
  Bytes segment = builder.segment(0);
  std::copy_n(input.begin(), std::min(input.size(), segment.size()), segment.begin());
  pg::WalReader reader(builder.options().size);
  read(reader, segment, builder.name(0));
  read(reader, segment, builder.name(1));
  read(reader, input, builder.name(0));
}

// The input is records: resource manager, info, length, body.
void read_records(test::WalBuilder& builder, ByteView input) {
  while (input.size() >= 4 && builder.segment_count() < 3) {
    auto resource_manager = static_cast<uint8_t>(input[0]);
    auto info = static_cast<uint8_t>(input[1]);
    size_t count = std::min<size_t>(load_le<uint16_t>(&input[2]), input.size() - 4);
    builder.add(resource_manager, info, 7, input.subspan(4, count));
    if (info == 0x40 && resource_manager == pg::kRmXlog) builder.add_switch();
    input = input.subspan(4 + count);
  }
  pg::WalReader reader(builder.options().size);
  for (size_t i = 0; i < builder.segment_count(); ++i)
    read(reader, builder.segment(i), builder.name(i));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  ByteView input(reinterpret_cast<const std::byte*>(data) + 1, size - 1);
  test::WalBuilder builder(
      {.major = pg::kFirstMajor + (data[0] >> 1) % (pg::kLastMajor - pg::kFirstMajor + 1)});
  if ((data[0] & 1) != 0) {
    read_raw(builder, input);
  } else {
    read_records(builder, input);
  }
  return 0;
}
