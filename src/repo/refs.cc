#include "repo/refs.h"

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "repo/backup.h"
#include "repo/file_map.h"
#include "repo/format.h"
#include "repo/manifest.h"
#include "repo/two_places.h"

namespace holdfast::repo {
namespace {

constexpr uint16_t kRefsSelfSection = 1;
constexpr uint16_t kRefsPacksSection = 2;
constexpr uint8_t kEveryExtent = 0;
constexpr uint8_t kRuns = 1;

uint32_t take_u32(ByteReader& in) {
  const uint64_t value = in.varint();
  if (value > UINT32_MAX) in.fail("a number is too large");
  return static_cast<uint32_t>(value);
}

std::vector<OrdinalRun> take_runs(ByteReader& in, uint32_t extents) {
  const uint64_t count = in.varint();
  if (count > extents) in.fail("it has more runs than the pack has extents");
  std::vector<OrdinalRun> runs;
  uint64_t at = 0;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t distance = take_u32(in);
    const uint64_t length = take_u32(in);
    if (length == 0 || (i > 0 && distance == 0)) in.fail("its runs touch each other");
    at += distance;
    if (at + length > extents) in.fail("a run ends behind the pack's last extent");
    runs.push_back({.first = static_cast<uint32_t>(at), .count = static_cast<uint32_t>(length)});
    at += length;
  }
  return runs;
}

}  // namespace

std::vector<PackRefs> decode_pack_refs(ByteView raw, std::string_view what) {
  ByteReader in(raw, what);
  const uint64_t count = in.varint();
  std::vector<PackRefs> packs;
  for (uint64_t i = 0; i < count; ++i) {
    PackRefs refs;
    refs.pack.bytes = in.array<16>();
    refs.extents = take_u32(in);
    const uint8_t form = in.u8();
    if (form == kRuns) {
      refs.every = false;
      refs.runs = take_runs(in, refs.extents);
    } else if (form != kEveryExtent) {
      in.fail(fmt::format("it has the unknown form {}", form));
    }
    if (!packs.empty() && !(packs.back().pack < refs.pack)) in.fail("its packs are not in order");
    packs.push_back(std::move(refs));
  }
  in.expect_end();
  return packs;
}

Bytes encode_pack_refs(const std::vector<PackRefs>& packs) {
  ByteWriter out;
  out.varint(packs.size());
  for (const PackRefs& refs : packs) {
    out.bytes(refs.pack.view()).varint(refs.extents).u8(refs.every ? kEveryExtent : kRuns);
    if (refs.every) continue;
    out.varint(refs.runs.size());
    uint32_t at = 0;
    for (const OrdinalRun& run : refs.runs) {
      out.varint(run.first - at).varint(run.count);
      at = run.first + run.count;
    }
  }
  return out.take();
}

std::optional<std::vector<PackRefs>> read_refs(const Repository& repository,
                                               const LineageName& lineage,
                                               const std::string& backup_id) {
  const std::string name = refs_name(lineage, backup_id);
  std::optional<ObjectReader> object =
      ObjectReader::open(repository.store(), repository.keyring(), kRefsKind, name, name);
  if (!object) return std::nullopt;
  std::vector<PackRefs> all;
  while (std::optional<ObjectReader::Section> section = object->next()) {
    if (section->type == kRefsSelfSection) continue;
    if (section->type != kRefsPacksSection) {
      object->skip_unknown(*section);
      continue;
    }
    std::vector<PackRefs> packs = decode_pack_refs(object->expand(*section), name);
    if (!all.empty() && !packs.empty() && !(all.back().pack < packs.front().pack))
      throw_damaged(name, "Its packs are not in order.");
    all.insert(all.end(), std::make_move_iterator(packs.begin()),
               std::make_move_iterator(packs.end()));
  }
  return all;
}

namespace {

std::vector<PackRefs> uses_by_manifest(const Repository& repository, const Backup& backup) {
  std::map<Bytes16, uint32_t> packs;  // how many extents each has at least
  const auto use = [&](const ExtentRef& ref) {
    uint32_t& extents = packs[ref.pack];
    extents = std::max(extents, ref.ordinal + 1);
  };
  ManifestReader manifest(repository, backup.lineage, backup.id, backup.manifest_sha256, nullptr);
  std::ranges::for_each(manifest.blocks(), use);
  ExtentReader extents(repository, backup.lineage);
  FileReader file(extents, manifest.summary().block_bytes);
  while (const std::optional<ManifestEntry> entry = manifest.next()) {
    if (entry->location.kind == FileLocation::Kind::kNone) continue;
    use(entry->location.ref);
    if (entry->location.kind == FileLocation::Kind::kDirect) continue;
    file.open(entry->location, entry->size);
    for (const MapRootEntry& leaf : file.root()) use(leaf.ref);
    for (uint64_t index = 0; index < file.leaf_count(); ++index)
      for (const MapExtent& extent : file.leaf(index).extents) use(extent.ref);
  }
  std::vector<PackRefs> all;
  for (const auto& [pack, count] : packs)
    all.push_back({.pack = pack, .extents = count, .runs = {}});
  return all;
}

}  // namespace

std::vector<PackRefs> read_uses(const Repository& repository, const Backup& backup) {
  std::optional<std::vector<PackRefs>> refs;
  const std::optional<Error> lost = error_of(is_lost, [&] {
    refs = read_refs(repository, backup.lineage, backup.id);
    if (!refs) throw_damaged(refs_name(backup.lineage, backup.id), "It is missing.");
  });
  if (refs) return *std::move(refs);
  if (unreadable_of([&] { refs = uses_by_manifest(repository, backup); })) throw Error(*lost);
  log_warning(
      "\"{}\" is missing or damaged: what the backup uses is told by its manifest; see "
      "\"holdfast verify\"",
      refs_name(backup.lineage, backup.id));
  return *std::move(refs);
}

}  // namespace holdfast::repo
