#include "repo/pack.h"

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "base/error.h"
#include "codec/digest.h"

// An extent, as it is built in one buffer and put with one append():
//
//   0                64           104
//   | extent header | inner header | block list | frame | check |
//                   |<------------- unit-bytes -------->|  16   |
//
// Normative: docs/design/repository-format.md, "Packs".

namespace holdfast::repo {
namespace {

constexpr uint32_t kExtentMagic = object_kind("HFEX");
constexpr size_t kExtentHeaderBytes = 64;
constexpr size_t kOrdinalAt = 4;
constexpr size_t kUnitBytesAt = 8;
constexpr size_t kExtentCheckAt = 12;
constexpr size_t kExtentCheckBytes = 4;
constexpr size_t kPackIdAt = 16;
constexpr size_t kSaltAt = 32;
static_assert(kSaltAt + sizeof(Bytes32) == kExtentHeaderBytes);

constexpr size_t kInnerHeaderBytes = 40;
constexpr size_t kRawCheckAt = 24;
constexpr uint16_t kBlockListFlag = 1;

constexpr std::string_view kTrailerMagic = "HFTRAIL1";
constexpr size_t kTrailerBytes = 32;
constexpr size_t kTrailerCheckAt = 24;
constexpr uint64_t kFooterOrdinal = uint64_t{1} << 32;
constexpr size_t kMaxFooterBytes = size_t{2} << 20;

constexpr size_t kReferenceBytes = 48;
constexpr size_t kSealsKept = 256;

// First 4 bytes of XXH3-128 of an extent's header without the check itself.
std::array<std::byte, kExtentCheckBytes> extent_check(ByteView header) {
  std::array<std::byte, kExtentHeaderBytes - kExtentCheckBytes> checked;
  std::copy_n(header.begin(), kExtentCheckAt, checked.begin());
  std::copy(header.begin() + kPackIdAt, header.begin() + kExtentHeaderBytes,
            checked.begin() + kExtentCheckAt);
  Bytes16 digest = codec::xxh3_128(checked);
  std::array<std::byte, kExtentCheckBytes> check;
  std::copy_n(digest.bytes.begin(), check.size(), check.begin());
  return check;
}

bool are_adjacent(std::span<const uint64_t> blocks) {
  return blocks.back() - blocks.front() == blocks.size() - 1;
}

bool is_content_kind(uint8_t value) {
  return value >= static_cast<uint8_t>(ContentKind::kBlocks) &&
         value <= static_cast<uint8_t>(ContentKind::kManifestBlock);
}

size_t raw_limit(ContentKind kind) {
  return kind == ContentKind::kBlocks ? kMaxBlocksBytes : kMaxRawBytes;
}

}  // namespace

void encode(ByteWriter& out, const ExtentRef& ref) {
  [[maybe_unused]] size_t before = out.size();
  out.bytes(ref.pack.view()).u32(ref.ordinal).u64(ref.offset).u32(ref.unit_bytes);
  out.bytes(ref.digest.view());
  HF_CHECK(out.size() - before == kReferenceBytes);
}

ExtentRef decode_extent_ref(ByteReader& in) {
  ExtentRef ref;
  ref.pack.bytes = in.array<16>();
  ref.ordinal = in.u32();
  ref.offset = in.u64();
  ref.unit_bytes = in.u32();
  ref.digest.bytes = in.array<16>();
  if (ref.unit_bytes > kMaxUnitBytes) in.fail("a reference to an extent that is too long");
  return ref;
}

uint64_t file_tag(std::string_view path) {
  return load_le<uint64_t>(codec::xxh3_128(as_bytes(path)).bytes.data());
}

// --- Writing ------------------------------------------------------------------------------------

struct ExtentWriter::State {
  State(const Repository& r, LineageName l, codec::CompressionSetting compression)
      : repository(&r),
        lineage(std::move(l)),
        compressor(compression),
        content_digest(r.keyring().content_digest_key) {}

  // The pack that is open.
  struct Pack {
    Pack(ObjectHeader h, codec::ObjectSeal s) : header(h), seal(std::move(s)) {}
    ObjectHeader header;
    codec::ObjectSeal seal;
    std::unique_ptr<store::Upload> upload;
    uint32_t extents = 0;
    uint64_t bytes = 0;
    ByteWriter footer;  // the entries
  };

  std::span<std::byte> room(size_t bytes) {
    if (buffer.size() < bytes) buffer.resize(bytes);
    return buffer;
  }
  void begin_pack();
  size_t put_block_list(const ExtentSource& source, std::byte* at, bool& is_list);
  void finish_pack();

  const Repository* repository;
  LineageName lineage;
  codec::Compressor compressor;
  codec::ContentDigest content_digest;
  std::unique_ptr<Pack> pack;
  Bytes buffer;
  ByteWriter list;
  std::vector<PackSummary> finished;
  uint64_t stored_bytes = 0;
};

ExtentWriter::ExtentWriter(const Repository& repository, LineageName lineage,
                           codec::CompressionSetting compression)
    : state_(std::make_unique<State>(repository, std::move(lineage), compression)) {}
ExtentWriter::~ExtentWriter() = default;
ExtentWriter::ExtentWriter(ExtentWriter&&) noexcept = default;
uint64_t ExtentWriter::stored_bytes() const { return state_->stored_bytes; }

void ExtentWriter::State::begin_pack() {
  const Keyring& keyring = repository->keyring();
  ObjectHeader header = draw_header(kPackKind, keyring, repository->random());
  pack = std::make_unique<Pack>(header, make_seal(header, keyring));
  pack->upload = repository->store().upload(pack_name(lineage, header.object_id));
  Bytes encoded = encode_header(header);
  pack->upload->append(encoded);
  pack->bytes = encoded.size();

  // What is the same in the header of each extent of this pack.
  std::span<std::byte> front = room(kExtentHeaderBytes);
  store_le(front.data(), kExtentMagic);
  std::ranges::copy(header.object_id.bytes, front.begin() + kPackIdAt);
  std::ranges::copy(header.salt.bytes, front.begin() + kSaltAt);
}

ExtentRef ExtentWriter::append(const ExtentSource& source, ByteView raw) {
  State& state = *state_;
  const bool is_blocks = source.kind == ContentKind::kBlocks;
  HF_CHECK(!raw.empty() && raw.size() <= raw_limit(source.kind));
  HF_CHECK(is_blocks == (source.block_count > 0 || !source.blocks.empty()));
  if (!state.pack) state.begin_pack();
  State::Pack& pack = *state.pack;

  // What the raw bytes are.
  Bytes16 raw_check = codec::xxh3_128(raw);
  ExtentRef ref{.pack = pack.header.object_id,
                .ordinal = pack.extents,
                .offset = pack.bytes,
                .unit_bytes = 0,
                .digest = state.content_digest.digest(raw)};

  // The block list, then the frame right behind it.
  bool is_list = false;
  uint64_t first_block = source.first_block;
  state.list.clear();
  if (is_blocks) {
    uint64_t count = source.block_count;
    if (!source.blocks.empty()) {
      count = source.blocks.size();
      first_block = source.blocks.front();
      is_list = !are_adjacent(source.blocks);
    }
    state.list.varint(count);
    for (size_t i = 1; is_list && i < source.blocks.size(); ++i) {
      HF_CHECK(source.blocks[i] > source.blocks[i - 1]);
      state.list.varint(source.blocks[i] - source.blocks[i - 1] - 1);
    }
  }
  const size_t frame_at = kExtentHeaderBytes + kInnerHeaderBytes + state.list.size();
  std::span<std::byte> buffer =
      state.room(frame_at + state.compressor.bound(raw.size()) + codec::kSealBytes);
  std::ranges::copy(state.list.view(), buffer.begin() + kExtentHeaderBytes + kInnerHeaderBytes);
  codec::Compressor::Result frame = state.compressor.compress(raw, buffer.subspan(frame_at));

  // The inner header.
  std::byte* inner = buffer.data() + kExtentHeaderBytes;
  inner[0] = static_cast<std::byte>(source.kind);
  inner[1] = static_cast<std::byte>(frame.algorithm);
  store_le(inner + 2, is_list ? kBlockListFlag : uint16_t{0});
  store_le(inner + 4, static_cast<uint32_t>(raw.size()));
  store_le(inner + 8, is_blocks ? first_block : uint64_t{0});
  store_le(inner + 16, is_blocks ? source.file_tag : uint64_t{0});
  std::ranges::copy(raw_check.bytes, inner + kRawCheckAt);

  // The extent's header, and the seal.
  const size_t unit_bytes = frame_at + frame.bytes - kExtentHeaderBytes;
  HF_CHECK(unit_bytes <= kMaxUnitBytes);
  ref.unit_bytes = static_cast<uint32_t>(unit_bytes);
  store_le(buffer.data() + kOrdinalAt, ref.ordinal);
  store_le(buffer.data() + kUnitBytesAt, ref.unit_bytes);
  std::ranges::copy(extent_check(buffer), buffer.begin() + kExtentCheckAt);
  std::span<std::byte> extent = buffer.first(kExtentHeaderBytes + unit_bytes + codec::kSealBytes);
  pack.seal.seal(ref.ordinal, extent.subspan(kExtentHeaderBytes));
  pack.upload->append(extent);

  pack.footer
      .varint(0)  // the home: this pack
      .varint(ref.ordinal)
      .u8(static_cast<uint8_t>(source.kind))
      .varint(0)  // right behind the one before
      .varint(unit_bytes)
      .varint(raw.size())
      .u64(is_blocks ? source.file_tag : 0)
      .varint(is_blocks ? first_block : 0)
      .bytes(ref.digest.view());
  pack.bytes += extent.size();
  ++pack.extents;
  state.stored_bytes += extent.size();
  if (pack.bytes >= kPackBytes || pack.extents >= kPackExtents) state.finish_pack();
  return ref;
}

void ExtentWriter::State::finish_pack() {
  ByteWriter footer;
  footer.varint(1).bytes(pack->header.object_id.view());
  footer.varint(pack->extents).bytes(pack->footer.view());
  Bytes unit = footer.take();
  const size_t footer_bytes = unit.size();
  HF_CHECK(footer_bytes <= kMaxFooterBytes);
  unit.resize(footer_bytes + codec::kSealBytes);
  pack->seal.seal(kFooterOrdinal, unit);
  pack->upload->append(unit);

  ByteWriter trailer;
  trailer.bytes(as_bytes(kTrailerMagic))
      .u64(pack->bytes)
      .u32(static_cast<uint32_t>(footer_bytes))
      .u32(pack->extents);
  HF_CHECK(trailer.size() == kTrailerCheckAt);
  Bytes16 check = codec::xxh3_128(trailer.view());
  trailer.bytes(check.view().first(kTrailerBytes - kTrailerCheckAt));
  pack->upload->append(trailer.view());
  pack->upload->commit();

  finished.push_back({.pack = pack->header.object_id,
                      .extents = pack->extents,
                      .bytes = pack->bytes + unit.size() + trailer.size()});
  pack.reset();
}

std::vector<PackSummary> ExtentWriter::finish() {
  if (state_->pack) state_->finish_pack();
  return state_->finished;
}

// --- Reading ------------------------------------------------------------------------------------

struct ExtentReader::State {
  State(const Repository& r, LineageName l)
      : repository(&r), lineage(std::move(l)), content_digest(r.keyring().content_digest_key) {}

  // The seal of a pack's extents, by what an extent carries.
  struct Kept {
    Bytes32 salt;
    codec::ObjectSeal seal;
    uint64_t used = 0;
  };
  const codec::ObjectSeal& seal_of(const Bytes16& pack, const Bytes32& salt) {
    auto found = seals.find(pack);
    if (found != seals.end() && found->second.salt != salt) {
      seals.erase(found);
      found = seals.end();
    }
    if (found == seals.end()) {
      if (seals.size() >= kSealsKept)
        seals.erase(std::ranges::min_element(seals, {},
                                             [](const auto& entry) { return entry.second.used; }));
      const Keyring& keyring = repository->keyring();
      ObjectHeader header{.kind = kPackKind,
                          .version = 1,
                          .sealed = keyring.key() != nullptr,
                          .repository_id = keyring.repository_id,
                          .object_id = pack,
                          .salt = salt};
      found = seals.emplace(pack, Kept{salt, make_seal(header, keyring), 0}).first;
    }
    found->second.used = ++clock;
    return found->second.seal;
  }

  // Verifies the extent whose bytes these are, of the pack `name`, and opens it in place.
  Extent open(std::span<std::byte> extent, const ExtentRef& ref, ContentKind expected,
              const std::string& name);

  const Repository* repository;
  LineageName lineage;
  codec::ContentDigest content_digest;
  codec::Decompressor decompressor;
  std::map<Bytes16, Kept> seals;
  uint64_t clock = 0;
  Bytes buffer;
  Bytes raw;
};

ExtentReader::ExtentReader(const Repository& repository, LineageName lineage)
    : state_(std::make_unique<State>(repository, std::move(lineage))) {}
ExtentReader::~ExtentReader() = default;
ExtentReader::ExtentReader(ExtentReader&&) noexcept = default;

namespace {

// What an extent's inner header and block list say.
struct InnerHeader {
  ContentKind kind = ContentKind::kBlocks;
  codec::Compression compression = codec::Compression::kNone;
  uint32_t raw_bytes = 0;
  uint64_t first_block = 0;
  uint64_t file_tag = 0;
  Bytes16 raw_check;
  uint32_t block_count = 0;
  std::vector<uint64_t> blocks;
  ByteView frame;
};

InnerHeader parse_unit(ByteView unit) {
  ByteReader in(unit, "extent");
  InnerHeader inner;
  uint8_t kind = in.u8();
  if (!is_content_kind(kind)) in.fail(fmt::format("unknown content kind {}", kind));
  inner.kind = static_cast<ContentKind>(kind);
  inner.compression = static_cast<codec::Compression>(in.u8());
  uint16_t flags = in.u16();
  inner.raw_bytes = in.u32();
  inner.first_block = in.u64();
  inner.file_tag = in.u64();
  inner.raw_check.bytes = in.array<16>();
  const bool is_blocks = inner.kind == ContentKind::kBlocks;
  if ((flags & ~(is_blocks ? kBlockListFlag : 0)) != 0)
    in.fail(fmt::format("unknown flags {:#x}", flags));
  if (inner.raw_bytes == 0 || inner.raw_bytes > raw_limit(inner.kind))
    in.fail(fmt::format("{} raw bytes", inner.raw_bytes));
  if (is_blocks) {
    uint64_t count = in.varint();
    if (count == 0 || count > inner.raw_bytes) in.fail(fmt::format("{} blocks", count));
    if (count - 1 > UINT64_MAX - inner.first_block) in.fail("blocks beyond any file's end");
    inner.block_count = static_cast<uint32_t>(count);
    if (flags & kBlockListFlag) {
      // Each takes a byte at least, so the unit's own length bounds the list.
      if (count - 1 > in.remaining()) in.fail(fmt::format("{} blocks", count));
      inner.blocks.reserve(count);
      inner.blocks.push_back(inner.first_block);
      while (inner.blocks.size() < count) {
        uint64_t gap = in.varint();
        uint64_t last = inner.blocks.back();
        if (gap >= UINT64_MAX - last) in.fail("blocks beyond any file's end");
        inner.blocks.push_back(last + gap + 1);
      }
    }
  } else if (inner.first_block != 0 || inner.file_tag != 0) {
    in.fail("a first block or file where there is none");
  }
  inner.frame = in.bytes(in.remaining());
  return inner;
}

}  // namespace

bool ExtentReader::holds(const ExtentRef& ref, ByteView raw) {
  return state_->content_digest.digest(raw) == ref.digest;
}

namespace {

[[noreturn]] void throw_damaged_extent(const std::string& name, const ExtentRef& ref,
                                       std::string_view detail) {
  throw_damaged(name, fmt::format("Extent {}, at byte {}: {}", ref.ordinal, ref.offset, detail));
}

}  // namespace

ExtentReader::Extent ExtentReader::read(const ExtentRef& ref, ContentKind expected) {
  State& state = *state_;
  const std::string name = pack_name(state.lineage, ref.pack);
  Context reading("reading extent {} of pack \"{}\"", ref.ordinal, to_hex(ref.pack.view()));
  auto damaged = [&](std::string_view detail) { throw_damaged_extent(name, ref, detail); };
  if (ref.unit_bytes > kMaxUnitBytes || ref.unit_bytes < kInnerHeaderBytes)
    damaged(fmt::format("its reference says that it has {} bytes.", ref.unit_bytes));

  // One read of the whole extent.
  const size_t extent_bytes = kExtentHeaderBytes + ref.unit_bytes + codec::kSealBytes;
  if (state.buffer.size() < extent_bytes) state.buffer.resize(extent_bytes);
  std::span<std::byte> extent = std::span(state.buffer).first(extent_bytes);
  std::optional<size_t> count = state.repository->store().read_into(name, ref.offset, extent);
  if (!count || *count < extent_bytes)
    damaged(count ? "the pack ends before it." : "the pack is missing.");
  return state.open(extent, ref, expected, name);
}

ExtentReader::Extent ExtentReader::State::open(std::span<std::byte> extent, const ExtentRef& ref,
                                               ContentKind expected, const std::string& name) {
  auto damaged = [&](std::string_view detail) { throw_damaged_extent(name, ref, detail); };
  // Is it the one that was asked for?
  ByteReader in(extent.first(kExtentHeaderBytes), "extent header");
  const uint32_t magic = in.u32();
  const uint32_t ordinal = in.u32();
  const uint32_t unit_bytes = in.u32();
  const std::array<std::byte, kExtentCheckBytes> check = in.array<kExtentCheckBytes>();
  Bytes16 pack{in.array<16>()};
  Bytes32 salt{in.array<32>()};
  if (magic != kExtentMagic || check != extent_check(extent))
    damaged("its header is not one, or was changed.");
  if (pack != ref.pack || ordinal != ref.ordinal || unit_bytes != ref.unit_bytes)
    damaged(fmt::format("another one is there: extent {} of pack {}, of {} bytes.", ordinal,
                        to_hex(pack.view()), unit_bytes));

  // Does it hold what was written?
  if (!seal_of(pack, salt).open(ordinal, extent.subspan(kExtentHeaderBytes)))
    damaged(repository->sealed()
                ? "its seal does not open, although the key is the repository's: it was changed."
                : "its check does not hold: it was changed.");
  InnerHeader inner = parse_unit(extent.subspan(kExtentHeaderBytes, ref.unit_bytes));
  if (inner.kind != expected)
    damaged(fmt::format("it holds content of kind {} where {} was expected.",
                        static_cast<unsigned>(inner.kind), static_cast<unsigned>(expected)));
  if (raw.size() < inner.raw_bytes) raw.resize(inner.raw_bytes);
  std::span<std::byte> content = std::span(raw).first(inner.raw_bytes);
  decompressor.decompress(inner.compression, inner.frame, content);
  if (codec::xxh3_128(content) != inner.raw_check)
    damaged("its raw bytes do not have their checksum.");
  if (content_digest.digest(content) != ref.digest)
    damaged("its content is not what its reference names.");
  return {.kind = inner.kind,
          .first_block = inner.first_block,
          .file_tag = inner.file_tag,
          .block_count = inner.block_count,
          .blocks = std::move(inner.blocks),
          .raw = content};
}

// --- Footers ------------------------------------------------------------------------------------

namespace {

std::vector<PackFooterEntry> parse_footer(ByteView bytes, uint32_t extent_count,
                                          uint64_t footer_offset) {
  ByteReader in(bytes, "pack footer");
  const uint64_t home_count = in.varint();
  if (home_count == 0 || home_count > in.remaining() / sizeof(Bytes16))
    in.fail(fmt::format("{} home packs", home_count));
  std::vector<Bytes16> homes(home_count);
  for (Bytes16& home : homes) home.bytes = in.array<16>();

  const uint64_t count = in.varint();
  if (count != extent_count || count > in.remaining())
    in.fail(fmt::format("{} extents where the trailer says {}", count, extent_count));
  std::vector<PackFooterEntry> entries;
  entries.reserve(count);
  uint64_t end = kHeaderBytes;
  while (entries.size() < count) {
    PackFooterEntry entry;
    const uint64_t home = in.varint();
    const uint64_t ordinal = in.varint();
    const uint8_t kind = in.u8();
    const uint64_t gap = in.varint();
    const uint64_t unit_bytes = in.varint();
    const uint64_t raw_bytes = in.varint();
    if (home >= homes.size() || ordinal > UINT32_MAX || !is_content_kind(kind))
      in.fail(fmt::format("extent {} has home {}, ordinal {} and kind {}", entries.size(), home,
                          ordinal, kind));
    entry.home = homes[home];
    entry.ordinal = static_cast<uint32_t>(ordinal);
    entry.kind = static_cast<ContentKind>(kind);
    if (unit_bytes < kInnerHeaderBytes || unit_bytes > kMaxUnitBytes || raw_bytes == 0 ||
        raw_bytes > raw_limit(entry.kind))
      in.fail(fmt::format("extent {} has {} bytes, {} raw", entries.size(), unit_bytes, raw_bytes));
    entry.unit_bytes = static_cast<uint32_t>(unit_bytes);
    entry.raw_bytes = static_cast<uint32_t>(raw_bytes);
    entry.file_tag = in.u64();
    entry.first_block = in.varint();
    entry.digest.bytes = in.array<16>();
    const uint64_t extent_bytes = kExtentHeaderBytes + unit_bytes + codec::kSealBytes;
    if (gap > footer_offset - end || extent_bytes > footer_offset - end - gap)
      in.fail(fmt::format("extent {} reaches beyond the footer", entries.size()));
    entry.offset = end + gap;
    end = entry.offset + extent_bytes;
    entries.push_back(entry);
  }
  in.expect_end();
  return entries;
}

}  // namespace

namespace {

struct Footer {
  std::vector<PackFooterEntry> entries;
  uint64_t offset = 0;  // of the footer: where the extents end
};

Footer read_footer(const Repository& repository, const LineageName& lineage, const Bytes16& pack) {
  store::Store& store = repository.store();
  const std::string name = pack_name(lineage, pack);
  Context reading("reading the footer of pack \"{}\"", to_hex(pack.view()));
  std::optional<store::ObjectInfo> info = store.info(name);
  if (!info) throw_damaged(name, "The pack is missing.");
  constexpr uint64_t kLeastBytes = kHeaderBytes + codec::kSealBytes + kTrailerBytes;
  if (info->bytes < kLeastBytes)
    throw_damaged(name, fmt::format("It has {} bytes, fewer than any pack.", info->bytes));
  auto read_exactly = [&](uint64_t offset, std::span<std::byte> into) {
    std::optional<size_t> count = store.read_into(name, offset, into);
    if (!count || *count < into.size()) throw_damaged(name, "It became shorter while it was read.");
  };

  // The trailer says where the footer is.
  std::array<std::byte, kTrailerBytes> trailer;
  const uint64_t trailer_offset = info->bytes - kTrailerBytes;
  read_exactly(trailer_offset, trailer);
  ByteReader in(trailer, "pack trailer");
  const std::string_view magic = as_text(in.bytes(kTrailerMagic.size()));
  const uint64_t footer_offset = in.u64();
  const uint32_t footer_bytes = in.u32();
  const uint32_t extent_count = in.u32();
  Bytes16 check = codec::xxh3_128(ByteView(trailer).first(kTrailerCheckAt));
  if (magic != kTrailerMagic ||
      !std::ranges::equal(in.bytes(in.remaining()),
                          check.view().first(kTrailerBytes - kTrailerCheckAt)))
    throw_damaged(name, "Its trailer is not one, or was changed.");
  if (footer_bytes > kMaxFooterBytes || footer_offset < kHeaderBytes ||
      footer_offset > trailer_offset ||
      trailer_offset - footer_offset != uint64_t{footer_bytes} + codec::kSealBytes)
    throw_damaged(name, fmt::format("Its trailer puts a footer of {} bytes at byte {} of {}.",
                                    footer_bytes, footer_offset, info->bytes));

  std::array<std::byte, kHeaderBytes> header_bytes;
  read_exactly(0, header_bytes);
  ObjectHeader header = decode_header(header_bytes, kPackKind, repository.keyring(), name);
  if (header.object_id != pack)
    throw_damaged(name,
                  fmt::format("It was written as the pack {}.", to_hex(header.object_id.view())));
  Bytes unit(footer_bytes + codec::kSealBytes);
  read_exactly(footer_offset, unit);
  if (!make_seal(header, repository.keyring()).open(kFooterOrdinal, unit))
    throw_damaged(name, "Its footer does not open, or its check does not hold: it was changed.");
  return {.entries = parse_footer(ByteView(unit).first(footer_bytes), extent_count, footer_offset),
          .offset = footer_offset};
}

}  // namespace

std::vector<PackFooterEntry> read_pack_footer(const Repository& repository,
                                              const LineageName& lineage, const Bytes16& pack) {
  return read_footer(repository, lineage, pack).entries;
}

// --- Checking -----------------------------------------------------------------------------------

PackCheck ExtentReader::check_pack(const Bytes16& pack,
                                   const std::function<void(uint64_t)>& amount) {
  constexpr size_t kPieceBytes = size_t{4} << 20;
  State& state = *state_;
  const std::string name = pack_name(state.lineage, pack);
  const Footer footer = read_footer(*state.repository, state.lineage, pack);
  PackCheck check{.extents = footer.entries.size(), .bad = {}};
  uint64_t end = kHeaderBytes;  // of the extent before
  uint64_t piece_start = 0;     // what lies in state.buffer
  size_t piece_bytes = 0;
  for (const PackFooterEntry& entry : footer.entries) {
    const ExtentRef ref{.pack = entry.home,
                        .ordinal = entry.ordinal,
                        .offset = entry.offset,
                        .unit_bytes = entry.unit_bytes,
                        .digest = entry.digest};
    const size_t extent_bytes = kExtentHeaderBytes + entry.unit_bytes + codec::kSealBytes;
    check.stray_bytes += entry.offset - end;
    end = entry.offset + extent_bytes;
    if (end > piece_start + piece_bytes) {
      state.buffer.resize(std::max({kPieceBytes, extent_bytes, state.buffer.size()}));
      piece_start = entry.offset;
      piece_bytes =
          state.repository->store().read_into(name, piece_start, state.buffer).value_or(0);
      amount(piece_bytes);
    }
    // What is wrong with one extent is told, and the others are read.
    const std::optional<Error> damage = damage_of([&] {
      if (end > piece_start + piece_bytes)
        throw_damaged_extent(name, ref, "the pack ends before it.");
      const Extent extent =
          state.open(std::span(state.buffer).subspan(entry.offset - piece_start, extent_bytes), ref,
                     entry.kind, name);
      if (extent.raw.size() != entry.raw_bytes || extent.first_block != entry.first_block ||
          extent.file_tag != entry.file_tag)
        throw_damaged_extent(name, ref, "the footer tells of another one.");
    });
    if (damage) check.bad.push_back({.ordinal = entry.ordinal, .problem = damage->detail()});
  }
  check.stray_bytes += footer.offset - end;
  return check;
}

}  // namespace holdfast::repo
