// Extents and footers: the input stands in a pack as an extent's unit, as the footer's, and as the
// whole pack, with checks that hold.
#include "base/error.h"
#include "codec/digest.h"
#include "repo/pack.h"
#include "store/memory_store.h"

using namespace holdfast;

namespace {

void append(Bytes& to, ByteView bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

struct World {
  store::MemoryStore store;
  repo::Repository repository = repo::Repository::create(store, {}, system_clock());
  repo::LineageName lineage{.cluster = "main", .major = 15, .count = 1};
  repo::ObjectHeader header =
      repo::draw_header(repo::kPackKind, repository.keyring(), system_random());
  std::string name = repo::pack_name(lineage, header.object_id);
};

World& world() {
  static World one;
  return one;
}

void put(Bytes bytes) {
  World& w = world();
  w.store.remove(w.name);
  w.store.create(w.name, bytes);
}

Bytes sealed(uint64_t ordinal, ByteView plain) {
  Bytes unit(plain.begin(), plain.end());
  unit.resize(unit.size() + codec::kSealBytes);
  repo::make_seal(world().header, world().repository.keyring()).seal(ordinal, unit);
  return unit;
}

void read_extent(repo::ExtentRef ref, repo::ContentKind kind) {
  try {
    repo::ExtentReader(world().repository, world().lineage).read(ref, kind);
  } catch (const Error&) {
  }
}

void read_footer() {
  try {
    repo::read_pack_footer(world().repository, world().lineage, world().header.object_id);
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input = std::as_bytes(std::span(data, size));
  const World& w = world();
  repo::ExtentRef ref{.pack = w.header.object_id,
                      .ordinal = 0,
                      .offset = 96,
                      .unit_bytes = static_cast<uint32_t>(size),
                      .digest = {}};

  // The extent.
  ByteWriter front;
  front.u32(repo::object_kind("HFEX")).u32(0).u32(ref.unit_bytes);
  ByteWriter back;
  back.bytes(w.header.object_id.view()).bytes(w.header.salt.view());
  Bytes checked(front.view().begin(), front.view().end());
  append(checked, back.view());
  Bytes pack = repo::encode_header(w.header);
  append(pack, front.view());
  append(pack, codec::xxh3_128(checked).view().first(4));
  append(pack, back.view());
  append(pack, sealed(0, input));
  put(pack);
  for (repo::ContentKind kind : {repo::ContentKind::kBlocks, repo::ContentKind::kManifestBlock})
    read_extent(ref, kind);

  // The footer, which names as many extents as its first bytes ask for.
  pack.resize(20'000);
  ByteWriter trailer;
  trailer.bytes(as_bytes("HFTRAIL1")).u64(pack.size()).u32(ref.unit_bytes);
  append(pack, sealed(uint64_t{1} << 32, input));
  trailer.u32(size > 17 ? load_le<uint8_t>(input.data() + 17) : 0);
  append(pack, trailer.view());
  append(pack, codec::xxh3_128(trailer.view()).view().first(8));
  put(pack);
  read_footer();

  put(Bytes(input.begin(), input.end()));
  read_footer();
  ref.unit_bytes = 100;
  read_extent(ref, repo::ContentKind::kBlocks);
  return 0;
}
