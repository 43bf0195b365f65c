// pack.h: extents, and the packs that hold them.
//
// An extent is up to 16 blocks of one file (or a map leaf, a map root, a manifest block),
// compressed and sealed alone; a pack is about 64 MiB of them, streamed to the store as they are
// made. Normative: docs/design/repository-format.md, "Packs".
//
// Sketch: append() does one XXH3, one content digest, one compression and one seal over the bytes
// it is given, into buffers that are reused; per writer about 1 MiB plus 50 bytes for each extent
// of the open pack. Reading: one ranged read per extent, and one of 96 bytes per pack.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "codec/compression.h"
#include "repo/repository.h"

namespace holdfast::repo {

inline constexpr uint64_t kPackBytes = uint64_t{64} << 20;
inline constexpr uint32_t kPackExtents = 16384;  // a pack is closed at this number, too
inline constexpr uint32_t kExtentBlocks = 16;
inline constexpr size_t kMaxBlocksBytes = size_t{1} << 20;  // of an extent of blocks

enum class ContentKind : uint8_t { kBlocks = 1, kMapLeaf = 2, kMapRoot = 3, kManifestBlock = 4 };

// Where an extent lies, and what it must hold.
struct ExtentRef {
  Bytes16 pack;
  uint32_t ordinal = 0;
  uint64_t offset = 0;      // of the extent's header in the pack; a shortcut
  uint32_t unit_bytes = 0;  // a shortcut
  Bytes16 digest;           // keyed content digest of the raw bytes
  bool operator==(const ExtentRef&) const = default;
};
void encode(ByteWriter& out, const ExtentRef& ref);
ExtentRef decode_extent_ref(ByteReader& in);

struct ExtentSource {
  ContentKind kind = ContentKind::kBlocks;
  uint64_t first_block = 0;               // of the file; blocks only
  uint32_t block_count = 0;               // adjacent blocks unless `blocks` is given
  std::span<const uint64_t> blocks = {};  // ascending; when not adjacent
  uint64_t file_tag = 0;                  // file_tag(path)
};
// First 8 bytes of XXH3-128 of a path.
uint64_t file_tag(std::string_view path);

// What a writer left behind, for REFS.
struct PackSummary {
  Bytes16 pack;
  uint32_t extents = 0;
  uint64_t bytes = 0;  // of the whole object
  auto operator<=>(const PackSummary&) const = default;
};

// Appends extents to packs of its own, beginning a new one when the open one has reached
// kPackBytes. One thread at a time; each worker has one.
class ExtentWriter {
 public:
  ExtentWriter(const Repository& repository, LineageName lineage,
               codec::CompressionSetting compression);
  ~ExtentWriter();  // what was not finished is aborted
  ExtentWriter(ExtentWriter&&) noexcept;

  ExtentRef append(const ExtentSource& source, ByteView raw);
  // Commits the open pack, if any. Returns every pack that this writer has committed.
  std::vector<PackSummary> finish();
  // What the extents appended so far take in their packs.
  uint64_t stored_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What is wrong with the extents of a pack.
struct PackCheck {
  struct BadExtent {
    uint32_t ordinal = 0;
    std::string problem;  // a sentence
  };
  uint64_t extents = 0;
  std::vector<BadExtent> bad;
  uint64_t stray_bytes = 0;  // that belong to no extent
  bool good() const { return bad.empty() && stray_bytes == 0; }
};

// Reads extents by reference, verifying each: header, seal, raw check, kind, and the digest of the
// reference. An extent opens with what it carries and the repository's key: one ranged read each.
// One thread at a time; keeps the unit keys of the last packs read (at most 256).
class ExtentReader {
 public:
  ExtentReader(const Repository& repository, LineageName lineage);
  ~ExtentReader();
  ExtentReader(ExtentReader&&) noexcept;

  struct Extent {
    ContentKind kind = ContentKind::kBlocks;
    uint64_t first_block = 0;
    uint64_t file_tag = 0;
    uint32_t block_count = 0;        // blocks only
    std::vector<uint64_t> blocks;    // empty: adjacent from first_block
    std::span<const std::byte> raw;  // valid until the next read
  };
  // Throws kCorrupt naming the pack and ordinal when anything does not hold; kNotFound is never
  // thrown: a pack that is absent is damage (kCorrupt).
  Extent read(const ExtentRef& ref, ContentKind expected);
  // Whether `raw` is the content of the extent, by its content digest; nothing is read.
  bool holds(const ExtentRef& ref, ByteView raw);

  // Reads a whole pack, in pieces of 4 MiB: its header, trailer and footer, and every extent as
  // read() does, against what the footer says of it. Throws kCorrupt where there is no pack, or
  // one whose footer cannot be read; what is wrong with extents is told in the result. `amount` is
  // told how many bytes more were read.
  PackCheck check_pack(const Bytes16& pack, const std::function<void(uint64_t)>& amount);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// What a pack's footer says; for verify and compaction. Throws kCorrupt.
struct PackFooterEntry {
  Bytes16 home;  // the pack that the extent was first written to, and its ordinal there: its name
  uint32_t ordinal = 0;
  ContentKind kind = ContentKind::kBlocks;
  uint64_t offset = 0;
  uint32_t unit_bytes = 0;
  uint32_t raw_bytes = 0;
  uint64_t file_tag = 0;
  uint64_t first_block = 0;
  Bytes16 digest;
};
std::vector<PackFooterEntry> read_pack_footer(const Repository& repository,
                                              const LineageName& lineage, const Bytes16& pack);

}  // namespace holdfast::repo
