#include "repo/verified_objects.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <set>
#include <tuple>
#include <type_traits>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "repo/format.h"
#include "repo/layout.h"

namespace holdfast::repo {
namespace {

constexpr uint16_t kSelfSection = 1;
constexpr uint16_t kPacksSection = 2;
constexpr uint16_t kSegmentsSection = 3;
constexpr uint16_t kOthersSection = 4;
constexpr uint16_t kRunSection = 5;
constexpr uint16_t kReadSection = 6;
constexpr size_t kItemSectionBytes = size_t{1} << 20;  // raw, of one section
constexpr size_t kMaxObjectNameBytes = 900;
constexpr size_t kMaxReplaced = 10'000;
// What the smallest of each takes: bounds their number by the bytes at hand.
constexpr size_t kLeastPackBytes = 17;
constexpr size_t kLeastOtherBytes = 3;
constexpr size_t kLeastTimeBytes = 2;

std::string verified_folder(const LineageName& lineage) {
  return lineage_folder(lineage) + "verified/";
}

std::optional<uint64_t> parse_upper_hex(std::string_view text) {
  uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

// "packs/ab/<32 digits>"
std::optional<Bytes16> pack_of(std::string_view name) {
  constexpr std::string_view kFolder = "packs/";
  if (!name.starts_with(kFolder) || name.size() != kFolder.size() + 3 + 32) return std::nullopt;
  return parse_hex_array<16>(name.substr(kFolder.size() + 3));
}

// "wal/00000001/0000000100000000/<24 digits>" -> timeline, and the rest of the digits.
struct Place {
  uint32_t timeline = 0;
  uint64_t rest = 0;
};
std::optional<Place> segment_of(std::string_view name) {
  constexpr size_t kBefore = std::string_view("wal/00000001/0000000100000000/").size();
  if (!name.starts_with("wal/") || name.size() != kBefore + 24) return std::nullopt;
  const std::optional<uint64_t> timeline = parse_upper_hex(name.substr(kBefore, 8));
  const std::optional<uint64_t> rest = parse_upper_hex(name.substr(kBefore + 8));
  if (!timeline || !rest) return std::nullopt;
  return Place{.timeline = static_cast<uint32_t>(*timeline), .rest = *rest};
}

std::string_view below_lineage(const LineageName& lineage, std::string_view name) {
  const std::string folder = lineage_folder(lineage);
  HF_CHECK(name.starts_with(folder));
  return name.substr(folder.size());
}

}  // namespace

// --- VerifiedObjects ----------------------------------------------------------------------------

LastRead LastRead::of(Time time) {
  const auto since = std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  return {.seconds = since <= 0 || since > UINT32_MAX ? 0 : static_cast<uint32_t>(since)};
}

void VerifiedObjects::add(const LineageName& lineage, const std::string& name, uint64_t bytes,
                          LastRead read) {
  const std::string_view rest = below_lineage(lineage, name);
  if (const std::optional<Bytes16> pack = pack_of(rest))
    packs_.push_back({.id = *pack, .bytes = bytes, .read = read});
  else if (const std::optional<Place> place = segment_of(rest); place && bytes <= UINT32_MAX)
    segments_.push_back({.timeline = place->timeline,
                         .bytes = static_cast<uint32_t>(bytes),
                         .place = place->rest,
                         .read = read});
  else if (Object& other = others_[std::string(rest)]; other.read <= read)
    other = {.bytes = bytes, .read = read};
}

void VerifiedObjects::sort() {
  auto tidy = [](auto& all, const auto& key) {
    std::vector<size_t> order(all.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::sort(order, {},
                      [&](size_t at) { return std::tuple(key(all[at]), all[at].read, at); });
    std::remove_cvref_t<decltype(all)> last_of_each;
    for (size_t i = 0; i < order.size(); ++i) {
      if (i + 1 == order.size() || key(all[order[i]]) != key(all[order[i + 1]]))
        last_of_each.push_back(all[order[i]]);
    }
    all = std::move(last_of_each);
  };
  tidy(packs_, [](const Pack& pack) { return pack.id; });
  tidy(segments_,
       [](const Segment& segment) { return std::pair(segment.timeline, segment.place); });
}

std::optional<VerifiedObjects::Object> VerifiedObjects::find(const LineageName& lineage,
                                                             const std::string& name) const {
  const std::string_view rest = below_lineage(lineage, name);
  if (const std::optional<Bytes16> pack = pack_of(rest)) {
    const auto found = std::ranges::lower_bound(packs_, *pack, {}, &Pack::id);
    if (found == packs_.end() || found->id != *pack) return std::nullopt;
    return Object{.bytes = found->bytes, .read = found->read};
  }
  if (const std::optional<Place> place = segment_of(rest)) {
    const auto key = std::pair(place->timeline, place->rest);
    const auto key_of = [](const Segment& s) { return std::pair(s.timeline, s.place); };
    const auto found = std::ranges::lower_bound(segments_, key, {}, key_of);
    if (found == segments_.end() || key_of(*found) != key) return std::nullopt;
    return Object{.bytes = found->bytes, .read = found->read};
  }
  const auto found = others_.find(rest);
  if (found == others_.end()) return std::nullopt;
  return found->second;
}

// --- The sections -------------------------------------------------------------------------------

// Reads and writes what VerifiedObjects keeps for itself.
struct VerifiedSections {
  using Sections = std::vector<std::pair<uint16_t, Bytes>>;

  // Items in sections of about kItemSectionBytes: a count and the items of each.
  template <typename Items, typename Encode>
  static void put(Sections& sections, uint16_t type, const Items& items, const Encode& encode) {
    auto at = items.begin();
    while (at != items.end()) {
      ByteWriter body;
      uint64_t count = 0;
      for (; at != items.end() && body.size() < kItemSectionBytes; ++at, ++count) encode(body, *at);
      sections.emplace_back(type, ByteWriter().varint(count).bytes(body.view()).take());
    }
  }

  static Sections encode(const VerifiedObjects& objects) {
    Sections sections;
    put(sections, kPacksSection, objects.packs_,
        [](ByteWriter& out, const VerifiedObjects::Pack& pack) {
          out.bytes(pack.id.view()).varint(pack.bytes);
        });
    // Runs of places that follow one another.
    struct Run {
      size_t first = 0, count = 0;
    };
    std::vector<Run> runs;
    const std::vector<VerifiedObjects::Segment>& segments = objects.segments_;
    constexpr size_t kRunItems = 65536;
    for (size_t i = 0; i < segments.size(); ++i) {
      if (!runs.empty() && runs.back().count < kRunItems &&
          segments[i].timeline == segments[i - 1].timeline &&
          segments[i].place == segments[i - 1].place + 1)
        ++runs.back().count;
      else
        runs.push_back({.first = i, .count = 1});
    }
    put(sections, kSegmentsSection, runs, [&](ByteWriter& out, const Run& run) {
      out.u32(segments[run.first].timeline).u64(segments[run.first].place).varint(run.count);
      for (size_t i = run.first; i < run.first + run.count; ++i) out.varint(segments[i].bytes);
    });
    put(sections, kOthersSection, objects.others_, [](ByteWriter& out, const auto& other) {
      out.text(other.first).varint(other.second.bytes);
    });
    // Items of one time that follow one another.
    std::vector<std::pair<LastRead, uint64_t>> times;
    for_each(objects, [&](LastRead read) {
      if (!times.empty() && times.back().first == read)
        ++times.back().second;
      else
        times.emplace_back(read, 1);
    });
    put(sections, kReadSection, times,
        [](ByteWriter& out, const auto& of) { out.varint(of.first.seconds).varint(of.second); });
    return sections;
  }

  // The times of all items, in the order of their sections.
  template <typename Objects, typename Visit>
  static void for_each(Objects& objects, const Visit& visit) {
    for (auto& pack : objects.packs_) visit(pack.read);
    for (auto& segment : objects.segments_) visit(segment.read);
    for (auto& [name, other] : objects.others_) visit(other.read);
  }

  // Each of these sections goes on where the one before it ended.
  static void decode_times(ByteReader& in, VerifiedObjects& into) {
    const uint64_t count = in.varint();
    if (count > in.remaining() / kLeastTimeBytes) in.fail(fmt::format("{} times", count));
    std::vector<std::pair<LastRead, uint64_t>> times;
    uint64_t items = 0;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t seconds = in.varint();
      const uint64_t of = in.varint();
      if (seconds > UINT32_MAX || of == 0 || of > into.size() - into.dated_ - items)
        in.fail(fmt::format("{} items of the time {}", of, seconds));
      times.emplace_back(LastRead{.seconds = static_cast<uint32_t>(seconds)}, of);
      items += of;
    }
    size_t at = 0;
    auto time = times.begin();
    for_each(into, [&](LastRead& read) {
      if (at++ < into.dated_ || time == times.end()) return;
      read = time->first;
      if (--time->second == 0) ++time;
    });
    into.dated_ += items;
  }

  // Of a record that says nothing of it.
  static void date_all(VerifiedObjects& objects, LastRead read) {
    for_each(objects, [&](LastRead& of) { of = read; });
  }
  static bool says_when(const VerifiedObjects& objects) {
    return objects.dated_ > 0 || objects.size() == 0;
  }

  static void decode_packs(ByteReader& in, VerifiedObjects& into) {
    const uint64_t count = in.varint();
    if (count > in.remaining() / kLeastPackBytes) in.fail(fmt::format("{} packs", count));
    for (uint64_t i = 0; i < count; ++i) {
      VerifiedObjects::Pack pack;
      pack.id.bytes = in.array<16>();
      pack.bytes = in.varint();
      if (!into.packs_.empty() && into.packs_.back().id >= pack.id) in.fail("packs out of order");
      into.packs_.push_back(pack);
    }
  }

  static void decode_segments(ByteReader& in, VerifiedObjects& into) {
    const uint64_t runs = in.varint();
    for (uint64_t i = 0; i < runs; ++i) {
      VerifiedObjects::Segment segment;
      segment.timeline = in.u32();
      segment.place = in.u64();
      const uint64_t count = in.varint();
      if (count == 0 || count > in.remaining() || count > UINT64_MAX - segment.place)
        in.fail(fmt::format("a run of {} segments", count));
      if (!into.segments_.empty()) {
        const VerifiedObjects::Segment& last = into.segments_.back();
        if (std::pair(last.timeline, last.place) >= std::pair(segment.timeline, segment.place))
          in.fail("segments out of order");
      }
      for (uint64_t at = 0; at < count; ++at, ++segment.place) {
        const uint64_t bytes = in.varint();
        if (bytes > UINT32_MAX) in.fail(fmt::format("a segment of {} bytes", bytes));
        segment.bytes = static_cast<uint32_t>(bytes);
        into.segments_.push_back(segment);
      }
    }
  }

  static void decode_others(ByteReader& in, VerifiedObjects& into) {
    const uint64_t count = in.varint();
    if (count > in.remaining() / kLeastOtherBytes) in.fail(fmt::format("{} names", count));
    for (uint64_t i = 0; i < count; ++i) {
      std::string name(in.text(kMaxObjectNameBytes));
      const uint64_t bytes = in.varint();
      if (name.empty() || (!into.others_.empty() && into.others_.rbegin()->first >= name))
        in.fail("names out of order");
      into.others_.emplace_hint(into.others_.end(), std::move(name),
                                VerifiedObjects::Object{.bytes = bytes, .read = {}});
    }
  }
};

std::vector<std::pair<uint16_t, Bytes>> encode_verified(const VerifiedObjects& objects) {
  return VerifiedSections::encode(objects);
}

void decode_verified(uint16_t type, ByteView raw, std::string_view what, VerifiedObjects& into) {
  ByteReader in(raw, what);
  switch (type) {
    case kPacksSection:
      VerifiedSections::decode_packs(in, into);
      break;
    case kSegmentsSection:
      VerifiedSections::decode_segments(in, into);
      break;
    case kOthersSection:
      VerifiedSections::decode_others(in, into);
      break;
    case kReadSection:
      VerifiedSections::decode_times(in, into);
      break;
    default:
      in.fail(fmt::format("no section of the type {}", type));
  }
  in.expect_end();
}

// --- Records ------------------------------------------------------------------------------------

namespace {

struct ReadRecord {
  VerifyRun run;
  std::vector<std::string> replaced;
  VerifiedObjects objects;
};

enum class Wanted : uint8_t { kSelf, kRun, kAll };

ReadRecord read_record(const Repository& repository, const std::string& name, Wanted wanted) {
  Context reading("reading record \"{}\"", name);
  std::optional<ObjectReader> object =
      ObjectReader::open(repository.store(), repository.keyring(), kVerifiedKind, name, name);
  if (!object) throw_damaged(name, "It disappeared while it was read.");
  ReadRecord record;
  const std::string what = fmt::format("object \"{}\"", name);
  while (std::optional<ObjectReader::Section> section = object->next()) {
    if (section->type == kSelfSection) {
      ByteReader in = after_self(section->plain, what);
      record.run.began = Time(Microseconds(in.i64()));
      const uint64_t count = in.varint();
      if (count > kMaxReplaced) in.fail(fmt::format("{} records replaced", count));
      for (uint64_t i = 0; i < count; ++i) record.replaced.emplace_back(in.text());
      in.expect_end();
      if (wanted == Wanted::kSelf) break;
    } else if (section->type == kRunSection) {
      ByteReader in(section->plain, what);
      record.run.everything = in.u8() == 1;
      const uint64_t oldest = in.varint();
      if (oldest > UINT32_MAX) in.fail(fmt::format("the time {}", oldest));
      record.run.oldest = {.seconds = static_cast<uint32_t>(oldest)};
      in.expect_end();
      if (wanted == Wanted::kRun) break;
    } else if (section->type <= kReadSection) {
      if (wanted == Wanted::kAll)
        decode_verified(section->type, object->expand(*section), what, record.objects);
    } else {
      object->skip_unknown(*section);
    }
  }
  if (wanted == Wanted::kAll && !VerifiedSections::says_when(record.objects))
    VerifiedSections::date_all(
        record.objects, record.replaced.empty() ? LastRead::of(record.run.began) : LastRead{});
  return record;
}

// The ids of all records, oldest first.
std::vector<std::string> list_records(const Repository& repository, const LineageName& lineage) {
  const std::string folder = verified_folder(lineage);
  std::vector<std::string> ids;
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    if (std::string id = entry.name.substr(folder.size()); is_backup_id(id))
      ids.push_back(std::move(id));
    return true;
  });
  return ids;
}

// Those that count, newest first, to `take(id, record)`; what cannot be read to `unreadable(id,
// error)`. What a newer one has taken over is not read; it is returned.
template <typename Take, typename Unreadable>
std::set<std::string> read_records(const Repository& repository, const LineageName& lineage,
                                   const std::vector<std::string>& ids, Wanted wanted,
                                   const Take& take, const Unreadable& unreadable) {
  std::set<std::string> replaced;
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    if (replaced.contains(*id)) continue;
    // Without a record there is more to read, no more.
    const std::optional<Error> error = unreadable_of([&] {
      ReadRecord record = read_record(repository, verified_folder(lineage) + *id, wanted);
      replaced.insert(record.replaced.begin(), record.replaced.end());
      take(*id, std::move(record));
    });
    if (error) unreadable(*id, *error);
  }
  return replaced;
}

}  // namespace

VerifiedRecords::VerifiedRecords(
    const Repository& repository, const LineageName& lineage,
    const std::function<void(const std::string& name, const Error& error)>& unreadable)
    : lineage_(lineage) {
  // Without records there is more to read, no more.
  if (const std::optional<Error> error =
          unreadable_of([&] { replaceable_ = list_records(repository, lineage); }))
    unreadable(verified_folder(lineage), *error);
  const std::vector<std::string> all = replaceable_;
  read_records(
      repository, lineage, all, Wanted::kAll,
      [&](const std::string& id, ReadRecord record) {
        ids_.push_back(id);
        records_.push_back({.began = record.run.began, .objects = std::move(record.objects)});
      },
      [&](const std::string& id, const Error& error) {
        if (error.code() == ErrorCode::kCorrupt)
          has_damaged_ = true;
        else
          std::erase(replaceable_, id);
        unreadable(verified_folder(lineage) + id, error);
      });
  std::ranges::reverse(ids_);
}

namespace {

// How far before a run an object must have been changed, so that what replaced it while it was
// read could not have the same time. A store that keeps whole seconds, or two, may tick as rarely;
// a kernel's clock ticks every 10 ms at worst.
Microseconds tick_of(Time changed) {
  constexpr Microseconds kFineTick = std::chrono::milliseconds(20);
  const bool is_whole_second =
      changed.time_since_epoch() % std::chrono::seconds(1) == Microseconds{0};
  return is_whole_second ? store::kClockTicks : kFineTick;
}

}  // namespace

std::optional<LastRead> VerifiedRecords::cover(const std::string& name, uint64_t bytes,
                                               Time changed) const {
  std::optional<LastRead> last;
  for (const Record& record : records_) {
    if (changed + tick_of(changed) >= record.began) continue;
    const std::optional<VerifiedObjects::Object> object = record.objects.find(lineage_, name);
    if (object && object->bytes == bytes) last = std::max(last.value_or(LastRead{}), object->read);
  }
  return last;
}

std::optional<VerifyRun> last_whole_run(const Repository& repository, const LineageName& lineage) {
  const std::vector<std::string> ids = list_records(repository, lineage);
  for (auto id = ids.rbegin(); id != ids.rend(); ++id) {
    const VerifyRun run = read_record(repository, verified_folder(lineage) + *id, Wanted::kRun).run;
    if (run.everything) return run;
  }
  return std::nullopt;
}

std::set<std::string> replaced_records(const Repository& repository, const LineageName& lineage) {
  return read_records(
      repository, lineage, list_records(repository, lineage), Wanted::kSelf,
      [](const std::string&, const ReadRecord&) {}, [](const std::string&, const Error&) {});
}

std::string put_verified(const Repository& repository, const LineageName& lineage,
                         const VerifyRun& run, const VerifiedObjects& objects,
                         const std::vector<std::string>& replaced) {
  const std::string id = make_backup_id(run.began, repository.random());
  const std::string name = verified_folder(lineage) + id;
  ObjectWriter object(repository.store(), repository.keyring(), kVerifiedKind, name,
                      repository.random());
  ByteWriter self;
  self.text(name).i64(run.began.time_since_epoch().count());
  const size_t count = std::min(replaced.size(), kMaxReplaced);
  self.varint(count);
  for (size_t i = 0; i < count; ++i) self.text(replaced[i]);
  object.section(kSelfSection, self.view());
  codec::Compressor compressor({});
  bool has_run = false;
  const auto put_run = [&] {
    if (!std::exchange(has_run, true))
      object.section(kRunSection,
                     ByteWriter().u8(run.everything ? 1 : 0).varint(run.oldest.seconds).view(),
                     false);
  };
  for (const auto& [type, raw] : encode_verified(objects)) {
    if (type > kRunSection) put_run();
    object.compressed_section(type, raw, compressor, type < kRunSection);
  }
  put_run();
  object.commit();
  return id;
}

}  // namespace holdfast::repo
