// The binary objects of format.h: sections one after the other, each sealed under its type, flags
// and place.
//
// Normative: docs/design/repository-format.md, "Binary objects".

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "codec/digest.h"
#include "repo/compressed_section.h"
#include "repo/format.h"

namespace holdfast::repo {
namespace {

constexpr size_t kSectionHeaderBytes = 8;
constexpr uint16_t kCriticalFlag = 1;
constexpr uint16_t kFirstType = 1;
constexpr uint16_t kEndType = 0xFFFF;
constexpr size_t kCompressedHeaderBytes = 8;

// What a reader asks the store for when it does not know how much comes: small objects take one
// request.
constexpr size_t kReadAheadBytes = size_t{64} << 10;

void append(Bytes& to, ByteView bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

// What a section's unit is sealed under: its type, flags and place.
uint64_t section_ordinal(uint16_t type, uint16_t flags, uint32_t index) {
  return uint64_t{type} << 48 | uint64_t{flags} << 32 | index;
}

// In a manifest "self" stands within the compressed summary.
bool first_section_is_compressed(uint32_t kind) { return kind == kManifestKind; }

}  // namespace

struct ObjectWriter::State {
  State(const ObjectHeader& h, const Keyring& keyring) : header(h), seal(make_seal(h, keyring)) {}

  void put(ByteView bytes) {
    upload->append(bytes);
    digest.update(bytes);
    written += bytes.size();
  }
  // Seals and writes what `buffer` holds behind a section's header.
  void put_section(uint16_t type, uint16_t flags) {
    size_t plain_bytes = buffer.size() - kSectionHeaderBytes;
    HF_CHECK(plain_bytes <= kMaxUnitBytes);
    HF_CHECK(index > 0 ? type > last_type ||
                             (type == last_type && flags == last_flags && type != kFirstType)
                       : type == kFirstType && flags == kCriticalFlag);
    buffer.resize(buffer.size() + codec::kSealBytes);
    store_le(buffer.data(), type);
    store_le(buffer.data() + 2, flags);
    store_le(buffer.data() + 4, static_cast<uint32_t>(plain_bytes));
    seal.seal(section_ordinal(type, flags, index), std::span(buffer).subspan(kSectionHeaderBytes));
    put(buffer);
    last_type = type;
    last_flags = flags;
    ++index;
  }

  ObjectHeader header;
  codec::ObjectSeal seal;
  std::unique_ptr<store::Upload> upload;
  codec::Sha256 digest;
  uint64_t written = 0;
  uint32_t index = 0;
  uint16_t last_type = 0;
  uint16_t last_flags = 0;
  Bytes buffer;  // one section: header, unit
  RawBytes scratch;
};

ObjectWriter::ObjectWriter(store::Store& target, const Keyring& keyring, uint32_t kind,
                           const std::string& name, RandomSource& random)
    : state_(std::make_unique<State>(draw_header(kind, keyring, random), keyring)) {
  state_->upload = target.upload(name);
  state_->put(encode_header(state_->header));
}
ObjectWriter::~ObjectWriter() = default;

void ObjectWriter::section(uint16_t type, ByteView plain, bool critical) {
  HF_CHECK(type != kEndType);
  Bytes& buffer = state_->buffer;
  buffer.resize(kSectionHeaderBytes);
  append(buffer, plain);
  state_->put_section(type, critical ? kCriticalFlag : 0);
}

ObjectWriter::Compressed ObjectWriter::compress(ByteView raw, codec::Compressor& compressor,
                                                RawBytes& scratch) {
  HF_CHECK(raw.size() <= kMaxRawBytes);
  if (scratch.size() < compressor.bound(raw.size()))
    scratch = RawBytes(compressor.bound(raw.size()));
  const codec::Compressor::Result made = compressor.compress(raw, scratch.span());
  const ByteView frame = ByteView(scratch).first(made.bytes);
  return {.raw_bytes = raw.size(),
          .algorithm = made.algorithm,
          .frame = Bytes(frame.begin(), frame.end())};
}

void ObjectWriter::compressed_section(uint16_t type, const Compressed& compressed, bool critical) {
  HF_CHECK(type != kEndType);
  Bytes& buffer = state_->buffer;
  buffer.assign(kSectionHeaderBytes + kCompressedHeaderBytes, std::byte{0});
  store_le(buffer.data() + kSectionHeaderBytes, narrow<uint32_t>(compressed.raw_bytes));
  buffer[kSectionHeaderBytes + 4] = static_cast<std::byte>(compressed.algorithm);
  append(buffer, compressed.frame);
  state_->put_section(type, critical ? kCriticalFlag : 0);
}

void ObjectWriter::compressed_section(uint16_t type, ByteView raw, codec::Compressor& compressor,
                                      bool critical) {
  compressed_section(type, compress(raw, compressor, state_->scratch), critical);
}

ObjectWriter::Committed ObjectWriter::commit() {
  HF_CHECK(state_->index > 0);
  Bytes& buffer = state_->buffer;
  buffer.resize(kSectionHeaderBytes + 4);
  store_le(buffer.data() + kSectionHeaderBytes, state_->index);
  state_->put_section(kEndType, kCriticalFlag);
  state_->upload->commit();
  state_->upload.reset();
  return {.bytes = state_->written,
          .sha256 = state_->digest.finish(),
          .object_id = state_->header.object_id};
}

struct ObjectReader::State {
  // Fills `into` from `offset` on; less where the object ends.
  using Source = std::function<size_t(uint64_t offset, std::span<std::byte> into)>;

  // The next `into.size()` bytes of the object.
  void take(std::span<std::byte> into, std::string_view what) {
    size_t held = std::min(into.size(), ahead.size() - ahead_at);
    std::copy_n(ahead.begin() + static_cast<ptrdiff_t>(ahead_at), held, into.begin());
    ahead_at += held;
    std::span<std::byte> rest = into.subspan(held);
    if (rest.size() >= kReadAheadBytes) {
      size_t count = read(rest);
      if (count < rest.size()) throw_short(what);
    } else if (!rest.empty()) {
      refill();
      if (ahead.size() < rest.size()) throw_short(what);
      std::copy_n(ahead.begin(), rest.size(), rest.begin());
      ahead_at = rest.size();
    }
  }
  bool at_end() {
    if (ahead_at == ahead.size() && !source_ended) refill();
    return ahead_at == ahead.size();
  }
  void refill() {
    ahead.resize(kReadAheadBytes);
    ahead_at = 0;
    ahead.resize(read(ahead));
  }
  size_t read(std::span<std::byte> into) {
    if (source_ended) return 0;
    size_t count = source(offset, into);
    HF_CHECK(count <= into.size());
    offset += count;
    source_ended = count < into.size();
    return count;
  }
  [[noreturn]] void throw_short(std::string_view what) const {
    throw_damaged(name, fmt::format("It ends after {} bytes, within {}.", offset, what));
  }

  // The first section says whose object this is.
  void check_self(const Section& first) {
    if (first.type != kFirstType || !first.critical)
      throw_damaged(name, "It does not begin with the section that names it.");
    Bytes expanded;
    ByteView plain = first.plain;
    if (first_section_is_compressed(header.kind)) {
      expanded = expand(first, kMaxRawBytes);
      plain = expanded;
    }
    std::string what = fmt::format("object \"{}\"", name);
    ByteReader in(plain, what);
    if (std::string_view found = in.text(); found != self)
      throw_damaged(name, fmt::format("It was written under the name \"{}\".", found));
  }

  Bytes expand(const Section& section, size_t limit) {
    const CompressedSection compressed = parse_compressed_section(section.plain, limit, name);
    Context expanding("expanding a section of object \"{}\"", name);
    Bytes raw(compressed.raw_bytes);
    decompressor.decompress(compressed.algorithm, compressed.frame, raw);
    return raw;
  }

  Source source;
  std::string name;
  std::string self;
  ObjectHeader header;
  std::unique_ptr<codec::ObjectSeal> seal;
  codec::Decompressor decompressor;
  uint64_t offset = 0;  // of what is read from the source next
  bool source_ended = false;
  Bytes ahead;  // read and not yet taken: from ahead_at on
  size_t ahead_at = 0;
  uint32_t index = 0;
  uint16_t last_type = 0;
  uint16_t last_flags = 0;
  bool done = false;
};

ObjectReader::ObjectReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
ObjectReader::~ObjectReader() = default;
ObjectReader::ObjectReader(ObjectReader&&) noexcept = default;
const ObjectHeader& ObjectReader::header() const { return state_->header; }

std::optional<ObjectReader> ObjectReader::open(store::Store& source, const Keyring& keyring,
                                               uint32_t kind, const std::string& source_name,
                                               const std::string& self) {
  auto state = std::make_unique<State>();
  state->ahead.resize(kReadAheadBytes);
  std::optional<size_t> count = source.read_into(source_name, 0, state->ahead);
  if (!count) return std::nullopt;
  state->source_ended = *count < state->ahead.size();
  state->ahead.resize(*count);
  state->offset = *count;
  state->source = [&source, source_name](uint64_t offset, std::span<std::byte> into) {
    std::optional<size_t> more = source.read_into(source_name, offset, into);
    if (!more) throw_damaged(source_name, "It disappeared while it was read.");
    return *more;
  };
  state->name = source_name;
  state->self = self;
  start(*state, keyring, kind);
  return ObjectReader(std::move(state));
}

ObjectReader ObjectReader::open_bytes(ByteView whole, const Keyring& keyring, uint32_t kind,
                                      const std::string& source_name, const std::string& self) {
  auto state = std::make_unique<State>();
  state->source = [whole](uint64_t offset, std::span<std::byte> into) {
    ByteView rest = whole.subspan(std::min<uint64_t>(offset, whole.size()));
    size_t count = std::min(into.size(), rest.size());
    std::copy_n(rest.begin(), count, into.begin());
    return count;
  };
  state->name = source_name;
  state->self = self;
  start(*state, keyring, kind);
  return ObjectReader(std::move(state));
}

void ObjectReader::start(State& state, const Keyring& keyring, uint32_t kind) {
  std::array<std::byte, kHeaderBytes> header;
  state.take(header, "its header");
  state.header = decode_header(header, kind, keyring, state.name);
  state.seal = std::make_unique<codec::ObjectSeal>(make_seal(state.header, keyring));
}

std::optional<ObjectReader::Section> ObjectReader::next() {
  State& state = *state_;
  if (state.done) return std::nullopt;

  std::array<std::byte, kSectionHeaderBytes> head;
  state.take(head, "the header of a section");
  uint16_t type = load_le<uint16_t>(head.data());
  uint16_t flags = load_le<uint16_t>(head.data() + 2);
  uint32_t length = load_le<uint32_t>(head.data() + 4);
  if (length > kMaxUnitBytes)
    throw_damaged(state.name,
                  fmt::format("Its section {} claims to have {} bytes; at most {} are possible.",
                              state.index, length, kMaxUnitBytes));
  Section section{.type = type, .critical = (flags & kCriticalFlag) != 0, .plain = {}};
  section.plain.resize(length + codec::kSealBytes);
  state.take(section.plain, fmt::format("section {}", state.index));
  if (!state.seal->open(section_ordinal(type, flags, state.index), section.plain))
    throw_damaged(
        state.name,
        state.header.sealed
            ? fmt::format("The seal of its section {} does not open, although the key is the "
                          "repository's: it was changed after it was written.",
                          state.index)
            : fmt::format("The check of its section {} does not hold: it was changed after it "
                          "was written.",
                          state.index));
  section.plain.resize(length);
  if ((flags & ~kCriticalFlag) != 0)
    throw_newer(state.name, fmt::format("Its section {} has the flags {:#x}.", state.index, flags));

  if (type == kEndType) {
    if (length != 4 || load_le<uint32_t>(section.plain.data()) != state.index || !section.critical)
      throw_damaged(state.name, fmt::format("Its end does not count {} sections.", state.index));
    if (state.index == 0) throw_damaged(state.name, "It has no sections.");
    if (!state.at_end()) throw_damaged(state.name, "Bytes follow its end.");
    state.done = true;
    return std::nullopt;
  }
  bool in_order = type > state.last_type || (type == state.last_type && flags == state.last_flags);
  if (state.index > 0 && (!in_order || type == kFirstType))
    throw_damaged(state.name, fmt::format("Its section {} is out of order.", state.index));
  if (state.index == 0) state.check_self(section);
  state.last_type = type;
  state.last_flags = flags;
  ++state.index;
  return section;
}

Bytes ObjectReader::expand(const Section& section, size_t limit) {
  return state_->expand(section, limit);
}

void ObjectReader::skip_unknown(const Section& section) const {
  if (section.critical)
    throw_newer(state_->name, fmt::format("It has a critical section of the type {}, which this "
                                          "version does not know.",
                                          section.type));
}

CompressedSection parse_compressed_section(ByteView plain, size_t limit,
                                           const std::string& object) {
  std::string what = fmt::format("object \"{}\"", object);
  ByteReader in(plain, what);
  uint32_t raw_bytes = in.u32();
  uint8_t algorithm = in.u8();
  if (raw_bytes > limit)
    throw_damaged(object, fmt::format("A section claims to hold {} bytes; at most {} are possible.",
                                      raw_bytes, limit));
  if (in.u8() != 0 || in.u16() != 0)
    throw_damaged(object, "A section's reserved bytes are not zero.");
  return {.raw_bytes = raw_bytes,
          .algorithm = static_cast<codec::Compression>(algorithm),
          .frame = in.bytes(in.remaining())};
}

ByteReader after_self(ByteView first_section, std::string_view what) {
  ByteReader in(first_section, what);
  in.text();
  return in;
}

}  // namespace holdfast::repo
