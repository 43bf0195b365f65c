// refs.h: which extents of which packs a backup uses, as its REFS object tells.
//
// Normative: docs/design/repository-format.md, section 8. REFS may list more than is used, never
// less.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "repo/repository.h"

namespace holdfast::repo {

struct OrdinalRun {
  uint32_t first = 0;
  uint32_t count = 0;
  bool operator==(const OrdinalRun&) const = default;
};
struct PackRefs {
  Bytes16 pack;
  uint32_t extents = 0;          // that the pack has
  bool every = true;             // form 0: all of them; else `runs`
  std::vector<OrdinalRun> runs;  // ascending, apart from each other
  bool operator==(const PackRefs&) const = default;
};

// The raw bytes of one section of packs, in ascending order of packs. Throws kCorrupt for a form
// that is not known, runs outside the pack, and disorder. `what` is for errors.
std::vector<PackRefs> decode_pack_refs(ByteView raw, std::string_view what);
Bytes encode_pack_refs(const std::vector<PackRefs>& packs);

struct Backup;

// The whole list of a backup, by packs; nullopt when there is no such object. The commit need not
// be there any more.
std::optional<std::vector<PackRefs>> read_refs(const Repository& repository,
                                               const LineageName& lineage,
                                               const std::string& backup_id);

// What a backup uses: its list or, where that is missing or damaged, every extent of each pack that
// its manifest and its file maps name, which are all read for that, with a warning. Throws what
// keeps the list from being read where these cannot be read either.
std::vector<PackRefs> read_uses(const Repository& repository, const Backup& backup);

}  // namespace holdfast::repo
