// manifest_block.h: how the entries of a manifest stand in a block. For the sources of repo, and
// tests.
//
//   block := entry-count varint entry*
//   entry := shared varint, suffix text, root u8, type u8, mode varint, owner varint, mtime i64,
//   and by type
//
// Paths are told by what they share with the one before; the first shares nothing. Normative:
// docs/design/repository-format.md, "Manifests".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "repo/manifest.h"

namespace holdfast::repo {

inline constexpr size_t kMaxPathBytes = 4096;
inline constexpr uint32_t kMaxOwners = 65536;

// The order of a manifest, by what an entry is found by.
int compare_manifest_keys(ManifestRoot root_a, std::string_view a, ManifestRoot root_b,
                          std::string_view b);
ManifestRoot decode_manifest_root(ByteReader& in);

// Appends an entry that follows one with the path `before`.
void encode_entry(ByteWriter& out, const ManifestEntry& entry, std::string_view before);

// Reads the entries of one manifest block, one at a time. Throws kCorrupt.
class ManifestBlockReader {
 public:
  explicit ManifestBlockReader(Bytes raw);
  // The reader looks into its own bytes.
  ManifestBlockReader(const ManifestBlockReader&) = delete;
  ManifestBlockReader& operator=(const ManifestBlockReader&) = delete;
  uint64_t entries() const { return entries_; }
  std::optional<ManifestEntry> next();

 private:
  Bytes raw_;
  ByteReader in_;
  uint64_t entries_ = 0;
  uint64_t read_ = 0;
  ManifestRoot last_root_ = ManifestRoot::kData;
  std::string last_path_;
};

}  // namespace holdfast::repo
