// Reading is a walk over the segment with one position and at most one unfinished record:
//
//   at a page's start          enter_page: checks its header, and that it continues that record
//   with an unfinished record  continue_record: takes the bytes of it that lie on this page
//   else                       start_record: whole on this page, it is done at once
//
// Records start at multiples of 8 and pages are multiples of 8, so the length field always lies on
// the page where it starts.
#include "pg/wal_reader.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "pg/wal_page.h"

namespace holdfast::pg {

namespace {

constexpr uint64_t kAlignment = 8;
// The part of a record's header that its CRC covers, and covers last.
constexpr size_t kHeaderBytesBeforeCrc = 20;
// A record's buffer is given back after one larger than this.
constexpr size_t kKeptCapacity = size_t{1} << 20;

size_t align(size_t offset) { return (offset + kAlignment - 1) & ~(kAlignment - 1); }

}  // namespace

class SegmentWalk {
 public:
  SegmentWalk(WalReader& reader, SegmentName name, uint64_t bytes, WalReader::OnRecord on_record)
      : reader_(reader), bytes_(bytes), on_record_(std::move(on_record)) {
    summary_.name = name;
  }

  void take(ByteView piece) {
    piece_start_ += piece_.size();
    piece_ = piece;
    if (piece_start_ == 0) check_segment();
    const uint64_t end = piece_start_ + piece_.size();
    if (end > bytes_ || (end < bytes_ && end % kWalBlockBytes != 0)) throw_does_not_fit(end);
    while (!stopped_) {
      if (offset_ == reader_.size_.bytes()) {
        stop(WalStop::kSegmentEnd, lsn(), "");
      } else if (offset_ == end && end < bytes_) {
        break;  // a page starts with the next piece
      } else if (offset_ > end) {
        stop_short();  // cut behind a record, before the next place of one
      } else if (offset_ % kWalBlockBytes == 0 && !enter_page()) {
        break;
      } else if (reader_.unfinished_) {
        continue_record(*reader_.unfinished_);
      } else {
        start_record();
      }
    }
  }

  WalSegmentSummary finish() {
    if (piece_.empty()) take({});  // throws: it is no segment
    if (piece_start_ + piece_.size() != bytes_) throw_does_not_fit(piece_start_ + piece_.size());
    leave();
    return std::move(summary_);
  }

 private:
  Lsn lsn() const { return start_ + offset_; }
  // What there is of this piece from here on.
  ByteView rest() const { return piece_.subspan(offset_ - piece_start_); }
  size_t page_end() const { return (offset_ / kWalBlockBytes + 1) * kWalBlockBytes; }

  [[noreturn]] void throw_does_not_fit(uint64_t end) const {
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("WAL segment \"{}\" comes in pieces that do not fit it",
                                        segment_file_name(summary_.name, reader_.size_)),
                 .detail = fmt::format("One ends at {} of {} bytes.", end, bytes_)});
  }

  void stop(WalStop how, Lsn where, std::string reason) {
    stopped_ = true;
    summary_.stop = how;
    summary_.stop_lsn = where;
    summary_.stop_reason = std::move(reason);
  }
  bool stop_short() {
    stop(
        WalStop::kShort, lsn(),
        fmt::format("Only {} of the segment's {} bytes are there.", bytes_, reader_.size_.bytes()));
    return false;
  }
  bool stop_bad_page(std::string_view problem) {
    stop(WalStop::kBadPage, start_ + offset_,
         fmt::format("The page at {} {}.", to_string(lsn()), problem));
    return false;
  }
  bool stop_bad_record(Lsn where, std::string_view problem) {
    stop(WalStop::kBadRecord, where,
         fmt::format("The record at {} is damaged: {}.", to_string(where), problem));
    return false;
  }

  // Forgets what came before: nothing is known of the record that runs in, nor of the last link.
  void start_afresh() {
    reader_.unfinished_.reset();
    reader_.kept_.clear();
    reader_.last_record_lsn_.reset();
  }

  void check_segment() {
    std::string file = segment_file_name(summary_.name, reader_.size_);
    Context checking("reading WAL segment \"{}\"", file);
    WalSegmentHeader header = parse_wal_segment_header(piece_);
    if (header.segment_size != reader_.size_ || bytes_ > reader_.size_.bytes()) {
      throw Error(
          {.code = ErrorCode::kCorrupt,
           .message = fmt::format("WAL segment \"{}\" has the wrong size", file),
           .detail = fmt::format("It has {} bytes and says that a segment has {}; {} are expected.",
                                 bytes_, header.segment_size.bytes(), reader_.size_.bytes()),
           .hint = "The segments of one cluster have one size; it may belong to another cluster."});
    }
    start_ = start_lsn(summary_.name.segment_number, reader_.size_);
    if (header.page.address != start_ || header.page.timeline > summary_.name.timeline) {
      throw Error(
          {.code = ErrorCode::kCorrupt,
           .message = fmt::format("WAL segment \"{}\" holds other WAL than its name says", file),
           .detail = fmt::format("Its first page is for {} on timeline {}.",
                                 to_string(header.page.address), header.page.timeline.value),
           .hint = "Servers keep old segment files under future names for reuse; such a file must "
                   "not be archived."});
    }
    bool follows = reader_.next_segment_number_ == summary_.name.segment_number &&
                   reader_.system_identifier_ == header.page.system_identifier &&
                   reader_.major_ == header.major;
    if (!follows) start_afresh();
    reader_.next_segment_number_.reset();
    reader_.system_identifier_ = header.page.system_identifier;
    reader_.major_ = header.major;

    summary_.major = header.major;
    summary_.page_magic = header.page.magic;
    summary_.system_identifier = header.page.system_identifier;
    summary_.segment_size = reader_.size_;
    summary_.first_page_timeline = header.page.timeline;
    summary_.last_page_timeline = header.page.timeline;
    if (header.major == 0) {
      stop(WalStop::kNewerMajor, start_,
           fmt::format("It is of a newer PostgreSQL (page magic {:04X}), whose WAL this program "
                       "does not read.",
                       header.page.magic));
      return;
    }
    if (header.page.has(kWalPageContinues))
      summary_.remaining_length_at_start = header.page.remaining_length;
    summary_.overwrites_record = header.page.has(wal_page_overwrites(header.major));
  }

  // Checks the page that starts here and moves behind its header. False when reading stops.
  bool enter_page() {
    std::optional<WalPageHeader> header = read_wal_page_header(rest());
    if (!header) return stop_short();
    if (header->magic == 0 && header->flags == 0 && !header->address.is_valid()) {
      if (reader_.unfinished_)
        return stop_bad_record(reader_.unfinished_->lsn,
                               "the page that should continue it is empty");
      stop(WalStop::kZeros, lsn(),
           fmt::format("Nothing was written from {} on.", to_string(lsn())));
      return false;
    }
    if (header->magic != summary_.page_magic)
      return stop_bad_page(fmt::format("has the magic {:04X}", header->magic));
    if ((header->flags & ~wal_page_legal_flags(summary_.major)) != 0)
      return stop_bad_page(fmt::format("has the flags {:04X}", header->flags));
    if (header->has(kWalPageIsLong) != (offset_ == 0))
      return stop_bad_page("has the header of another place in a segment");
    if (header->address != lsn()) {
      return stop_bad_page(fmt::format("is one for {}, left from an earlier use of the file",
                                       to_string(header->address)));
    }
    if (header->timeline < summary_.last_page_timeline ||
        header->timeline > summary_.name.timeline) {
      return stop_bad_page(fmt::format("is on timeline {}, between {} and {} is possible",
                                       header->timeline.value, summary_.last_page_timeline.value,
                                       summary_.name.timeline.value));
    }
    summary_.last_page_timeline = header->timeline;

    bool continues = header->has(kWalPageContinues);
    if (reader_.unfinished_ && header->has(wal_page_overwrites(summary_.major))) {
      // The rest of that record was lost in a crash; the server wrote on from here.
      reader_.unfinished_.reset();
      reader_.kept_.clear();
    }
    if (reader_.unfinished_) {
      const WalReader::Unfinished& record = *reader_.unfinished_;
      if (!continues)
        return stop_bad_record(
            record.lsn, fmt::format("the page at {} does not continue it", to_string(lsn())));
      if (header->remaining_length != record.remaining) {
        return stop_bad_record(
            record.lsn, fmt::format("{} bytes of it are missing, and the page at {} continues {}",
                                    record.remaining, to_string(lsn()), header->remaining_length));
      }
    } else if (continues) {
      if (offset_ != 0) return stop_bad_page("continues a record that does not exist");
      if (header->remaining_length == 0 || header->remaining_length > kMaxWalRecordBytes) {
        return stop_bad_page(
            fmt::format("continues a record with {} bytes", header->remaining_length));
      }
      // Its start was not fed to us: pass over it.
      reader_.unfinished_ = WalReader::Unfinished{.discarded = true,
                                                  .lsn = start_,
                                                  .total_bytes = header->remaining_length,
                                                  .remaining = header->remaining_length,
                                                  .crc = {}};
    }
    offset_ += header->header_bytes();
    return true;
  }

  void continue_record(WalReader::Unfinished& record) {
    size_t count = std::min<size_t>(record.remaining, page_end() - offset_);
    if (rest().size() < count) {
      stop_short();
      return;
    }
    ByteView piece = rest().first(count);
    if (record.lsn <= start_ && summary_.remaining_length_at_start <= kMaxSharedBytes)
      summary_.shared_with_previous.insert(summary_.shared_with_previous.end(), piece.begin(),
                                           piece.end());
    if (!record.discarded) {
      size_t position = record.total_bytes - record.remaining;
      ByteView kept =
          piece.first(std::min(count, kMaxKeptBytes - std::min(kMaxKeptBytes, position)));
      reader_.kept_.insert(reader_.kept_.end(), kept.begin(), kept.end());
      size_t header_part =
          std::min(count, kWalRecordHeaderBytes - std::min(kWalRecordHeaderBytes, position));
      record.crc.update(piece.subspan(header_part));
    }
    offset_ += count;
    record.remaining -= narrow<uint32_t>(count);
    if (record.remaining > 0) return;

    offset_ = align(offset_);
    WalReader::Unfinished finished = record;
    reader_.unfinished_.reset();
    if (!finished.discarded) take_record(finished.lsn, reader_.kept_, finished.crc);
    reader_.kept_.clear();
    if (reader_.kept_.capacity() > kKeptCapacity) reader_.kept_ = Bytes();
  }

  void start_record() {
    const ByteView left = rest();
    if (left.size() < sizeof(uint32_t)) {
      stop_short();
      return;
    }
    auto total_bytes = load_le<uint32_t>(left.data());
    if (total_bytes == 0) {
      stop(WalStop::kZeros, lsn(),
           fmt::format("Nothing was written from {} on.", to_string(lsn())));
      return;
    }
    if (total_bytes < kWalRecordHeaderBytes || total_bytes > kMaxWalRecordBytes) {
      stop_bad_record(lsn(), fmt::format("its length is {}", total_bytes));
      return;
    }
    size_t on_page = page_end() - offset_;
    // A whole header is checked at once: it stops at old bytes before they are followed through the
    // next pages.
    if (on_page >= kWalRecordHeaderBytes && left.size() >= kWalRecordHeaderBytes &&
        !check_header(lsn(), read_wal_record_header(left))) {
      return;
    }
    if (total_bytes > on_page) {
      reader_.kept_.clear();
      reader_.unfinished_ = WalReader::Unfinished{.discarded = false,
                                                  .lsn = lsn(),
                                                  .total_bytes = total_bytes,
                                                  .remaining = total_bytes,
                                                  .crc = {}};
      return;
    }
    if (left.size() < total_bytes) {
      stop_short();
      return;
    }
    Lsn start = lsn();
    ByteView record = left.first(total_bytes);
    offset_ += align(total_bytes);
    Crc32c crc;
    crc.update(record.subspan(kWalRecordHeaderBytes));
    take_record(start, record, crc);
  }

  bool check_header(Lsn where, const WalRecordHeader& header) {
    if (!is_valid_resource_manager(header.resource_manager, summary_.major)) {
      return stop_bad_record(
          where, fmt::format("resource manager {} does not exist", header.resource_manager));
    }
    if (reader_.last_record_lsn_ ? header.previous_lsn != *reader_.last_record_lsn_
                                 : header.previous_lsn >= where) {
      return stop_bad_record(
          where,
          fmt::format("its link to the record before is {}{}", to_string(header.previous_lsn),
                      reader_.last_record_lsn_
                          ? fmt::format(" instead of {}", to_string(*reader_.last_record_lsn_))
                          : std::string()));
    }
    return true;
  }

  // A record is complete; `offset_` stands behind it. `bytes` is its front, `crc` the sum of all
  // behind its header.
  void take_record(Lsn where, ByteView bytes, Crc32c crc) {
    WalRecordHeader header = read_wal_record_header(bytes);
    if (!check_header(where, header)) return;
    crc.update(bytes.first(kHeaderBytesBeforeCrc));
    if (crc.value() != header.crc) {
      stop_bad_record(where, "its CRC does not fit its content");
      return;
    }
    WalRecordBody body = walk_wal_record(bytes, header.total_bytes, summary_.major);
    if (!body.problem.empty()) {
      stop_bad_record(where, body.problem);
      return;
    }
    WalRecord record{.header = header,
                     .major = summary_.major,
                     .lsn = where,
                     .end_lsn = lsn(),
                     .bytes = bytes,
                     .main_data = bytes.subspan(std::min(body.main_data_offset, bytes.size())),
                     .main_data_bytes = body.main_data_bytes};
    if (record.is_switch()) record.end_lsn = start_ + reader_.size_.bytes();

    if (where >= start_) note_start(where, header.previous_lsn);
    reader_.last_record_lsn_ = where;
    summary_.last_complete_record_lsn = where;
    summary_.last_complete_record_end_lsn = record.end_lsn;
    ++summary_.record_count;
    if (on_record_) on_record_(record);
    if (record.is_switch()) stop(WalStop::kSwitch, lsn(), "");
  }

  void note_start(Lsn where, std::optional<Lsn> previous_lsn) {
    if (!summary_.first_record_lsn) {
      summary_.first_record_lsn = where;
      summary_.first_record_previous_lsn = previous_lsn;
    }
    summary_.last_record_lsn = where;
  }

  // Leaves the reader ready for the next segment, or for any.
  void leave() {
    if (summary_.stop != WalStop::kSegmentEnd && summary_.stop != WalStop::kSwitch) {
      start_afresh();
      return;
    }
    reader_.next_segment_number_ = summary_.name.segment_number + 1;
    if (!reader_.unfinished_) return;
    const WalReader::Unfinished& record = *reader_.unfinished_;
    summary_.remaining_length_at_end = record.remaining;
    if (!record.discarded && record.lsn >= start_) {
      std::optional<Lsn> previous_lsn;
      if (reader_.kept_.size() >= kWalRecordHeaderBytes)
        previous_lsn = read_wal_record_header(reader_.kept_).previous_lsn;
      note_start(record.lsn, previous_lsn);
      const auto front =
          ByteView(reader_.kept_).first(std::min(reader_.kept_.size(), kMaxSharedBytes));
      summary_.shared_with_next.assign(front.begin(), front.end());
    }
  }

  WalReader& reader_;
  uint64_t bytes_;
  WalReader::OnRecord on_record_;
  ByteView piece_;
  uint64_t piece_start_ = 0;  // in the segment
  WalSegmentSummary summary_;
  Lsn start_;
  size_t offset_ = 0;
  bool stopped_ = false;
};

WalSegmentSummary WalReader::feed(ByteView segment, SegmentName name, const OnRecord& on_record) {
  SegmentWalk walk(*this, name, segment.size(), on_record);
  walk.take(segment);
  return walk.finish();
}

WalSegmentFeed::WalSegmentFeed(WalReader& reader, SegmentName name, uint64_t bytes,
                               WalReader::OnRecord on_record)
    : walk_(std::make_unique<SegmentWalk>(reader, name, bytes, std::move(on_record))) {}
WalSegmentFeed::~WalSegmentFeed() = default;
void WalSegmentFeed::take(ByteView piece) { walk_->take(piece); }
WalSegmentSummary WalSegmentFeed::finish() { return walk_->finish(); }

WalSegmentScanner::WalSegmentScanner(WalReader& reader, SegmentName name, uint64_t bytes)
    : WalSegmentScanner(name, bytes) {
  begin(reader);
}

void WalSegmentScanner::begin(WalReader& reader) {
  feed_.emplace(reader, name_, bytes_, [this](const WalRecord& record) {
    if (std::optional<WalEvent> event = decode_wal_event(record))
      events_.push_back(std::move(*event));
  });
}

void WalSegmentScanner::take(ByteView piece) {
  if (!feed_) begin(own_.emplace(parse_wal_segment_header(piece).segment_size));
  feed_->take(piece);
}

WalSegmentScan WalSegmentScanner::finish() {
  if (!feed_) take({});  // throws: it is no segment
  WalSegmentSummary summary = feed_->finish();
  return {.summary = std::move(summary), .events = std::move(events_)};
}

WalSegmentScan scan_segment(WalReader& reader, ByteView segment, SegmentName name) {
  WalSegmentScanner scanner(reader, name, segment.size());
  scanner.take(segment);
  return scanner.finish();
}

std::optional<WalEvent> decode_shared_record(ByteView record, Lsn lsn, Lsn next_segment_start,
                                             uint32_t bytes_in_next, int major) {
  if (record.size() < kWalRecordHeaderBytes) return std::nullopt;
  const WalRecordHeader header = read_wal_record_header(record);
  if (header.total_bytes != record.size()) return std::nullopt;
  Crc32c crc;
  crc.update(record.subspan(kWalRecordHeaderBytes));
  crc.update(record.first(kHeaderBytesBeforeCrc));
  if (crc.value() != header.crc) return std::nullopt;
  const WalRecordBody body = walk_wal_record(record, header.total_bytes, major);
  if (!body.problem.empty()) return std::nullopt;
  return decode_wal_event(
      {.header = header,
       .major = major,
       .lsn = lsn,
       .end_lsn = next_segment_start + align(kWalLongHeaderBytes + bytes_in_next),
       .bytes = record,
       .main_data = record.subspan(body.main_data_offset),
       .main_data_bytes = body.main_data_bytes});
}

}  // namespace holdfast::pg
