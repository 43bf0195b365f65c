#include "repo/manifest_block.h"

#include <algorithm>

#include <fmt/core.h>

namespace holdfast::repo {
namespace {

constexpr uint64_t kDamagedFlag = 1;
constexpr uint64_t kVerifiedFlag = 2;
constexpr size_t kLeastEntryBytes = 14;
constexpr size_t kLeastBlockRunBytes = 3;

void encode(ByteWriter& out, const FileLocation& location) {
  out.u8(static_cast<uint8_t>(location.kind));
  if (location.kind == FileLocation::Kind::kNone) return;
  encode(out, location.ref);
  if (location.kind != FileLocation::Kind::kDirect) return;
  out.varint(location.runs.size());
  for (const MapRun& run : location.runs) out.varint(run.block).varint(run.slot).varint(run.count);
}

FileLocation decode_location(ByteReader& in) {
  FileLocation location;
  uint8_t kind = in.u8();
  if (kind > static_cast<uint8_t>(FileLocation::Kind::kRoot))
    in.fail(fmt::format("unknown location {}", kind));
  location.kind = static_cast<FileLocation::Kind>(kind);
  if (location.kind == FileLocation::Kind::kNone) return location;
  location.ref = decode_extent_ref(in);
  if (location.kind != FileLocation::Kind::kDirect) return location;
  const uint64_t count = in.varint();
  if (count == 0 || count > in.remaining() / kLeastBlockRunBytes)
    in.fail(fmt::format("{} runs", count));
  location.runs.reserve(count);
  while (location.runs.size() < count) {
    const uint64_t block = in.varint();
    const uint64_t slot = in.varint();
    const uint64_t blocks = in.varint();
    if (block > UINT32_MAX || slot > UINT32_MAX || blocks == 0 || blocks > UINT32_MAX)
      in.fail(fmt::format("{} blocks from {} at slot {}", blocks, block, slot));
    location.runs.push_back({.block = static_cast<uint32_t>(block),
                             .slot = static_cast<uint32_t>(slot),
                             .count = static_cast<uint32_t>(blocks)});
  }
  return location;
}

ManifestEntry decode_entry(ByteReader& in, std::string_view before) {
  ManifestEntry entry;
  const uint64_t shared = in.varint();
  const std::string_view suffix = in.text(kMaxPathBytes);
  if (shared > before.size())
    in.fail(fmt::format("a path shares {} of {} bytes", shared, before.size()));
  entry.path = before.substr(0, shared);
  entry.path += suffix;
  entry.root = decode_manifest_root(in);
  const uint8_t type = in.u8();
  if (type < static_cast<uint8_t>(EntryType::kFile) ||
      type > static_cast<uint8_t>(EntryType::kSymlink))
    in.fail(fmt::format("unknown type {}", type));
  entry.type = static_cast<EntryType>(type);
  if (!is_manifest_path(entry.root, entry.path)) in.fail("a path that cannot be laid");
  const uint64_t mode = in.varint();
  const uint64_t owner = in.varint();
  if (mode > 07777 || owner >= kMaxOwners)
    in.fail(fmt::format("mode {:o} and owner {}", mode, owner));
  entry.mode = static_cast<uint32_t>(mode);
  entry.owner = static_cast<uint32_t>(owner);
  entry.modified = Time(Microseconds(in.i64()));
  if (entry.type == EntryType::kFile) {
    entry.size = in.varint();
    const uint64_t flags = in.varint();
    if (entry.size > kMaxFileBytes || (flags & ~(kDamagedFlag | kVerifiedFlag)) != 0)
      in.fail(fmt::format("a file of {} bytes with the flags {:#x}", entry.size, flags));
    entry.has_damaged_blocks = (flags & kDamagedFlag) != 0;
    entry.pages_verified = (flags & kVerifiedFlag) != 0;
    entry.location = decode_location(in);
  } else if (entry.type == EntryType::kSymlink) {
    entry.target = in.text(kMaxPathBytes);
    if (entry.target.empty() || entry.target.find('\0') != std::string::npos)
      in.fail("a symbolic link to nothing");
  }
  return entry;
}

}  // namespace

int compare_paths(std::string_view a, std::string_view b) {
  const auto split = std::ranges::mismatch(a, b);
  if (split.in1 == a.end()) return split.in2 == b.end() ? 0 : -1;
  if (split.in2 == b.end()) return 1;
  auto rank = [](char c) {
    return c == '/' ? 0 : 1 + static_cast<int>(static_cast<unsigned char>(c));
  };
  return rank(*split.in1) - rank(*split.in2);
}

bool manifest_less(const ManifestEntry& a, const ManifestEntry& b) {
  return compare_manifest_keys(a.root, a.path, b.root, b.path) < 0;
}

bool is_manifest_path(ManifestRoot root, std::string_view path) {
  if (path.size() > kMaxPathBytes || path.find('\0') != std::string_view::npos) return false;
  if (root == ManifestRoot::kOutside) {
    if (!path.starts_with('/')) return false;
    path.remove_prefix(1);
  }
  for (;;) {
    const size_t slash = path.find('/');
    const std::string_view component = path.substr(0, slash);
    if (component.empty() || component == "." || component == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

int compare_manifest_keys(ManifestRoot root_a, std::string_view a, ManifestRoot root_b,
                          std::string_view b) {
  if (root_a != root_b) return root_a < root_b ? -1 : 1;
  return compare_paths(a, b);
}

ManifestRoot decode_manifest_root(ByteReader& in) {
  uint8_t root = in.u8();
  if (root > static_cast<uint8_t>(ManifestRoot::kDataLast))
    in.fail(fmt::format("unknown root {}", root));
  return static_cast<ManifestRoot>(root);
}

void encode_entry(ByteWriter& out, const ManifestEntry& entry, std::string_view before) {
  const auto split = std::ranges::mismatch(entry.path, before);
  const size_t shared = static_cast<size_t>(split.in1 - entry.path.begin());
  out.varint(shared).text(std::string_view(entry.path).substr(shared));
  out.u8(static_cast<uint8_t>(entry.root)).u8(static_cast<uint8_t>(entry.type));
  out.varint(entry.mode).varint(entry.owner).i64(entry.modified.time_since_epoch().count());
  if (entry.type == EntryType::kFile) {
    out.varint(entry.size);
    out.varint((entry.has_damaged_blocks ? kDamagedFlag : 0) |
               (entry.pages_verified ? kVerifiedFlag : 0));
    encode(out, entry.location);
  } else if (entry.type == EntryType::kSymlink) {
    out.text(entry.target);
  }
}

ManifestBlockReader::ManifestBlockReader(Bytes raw)
    : raw_(std::move(raw)), in_(raw_, "manifest block") {
  entries_ = in_.varint();
  if (entries_ == 0 || entries_ > in_.remaining() / kLeastEntryBytes)
    in_.fail(fmt::format("{} entries", entries_));
}

std::optional<ManifestEntry> ManifestBlockReader::next() {
  if (read_ == entries_) {
    in_.expect_end();
    return std::nullopt;
  }
  ManifestEntry entry = decode_entry(in_, last_path_);
  if (read_ > 0 && compare_manifest_keys(last_root_, last_path_, entry.root, entry.path) >= 0)
    in_.fail(fmt::format("entry {} is out of order", read_));
  ++read_;
  last_root_ = entry.root;
  last_path_ = entry.path;
  return entry;
}

}  // namespace holdfast::repo
