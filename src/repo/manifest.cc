#include "repo/manifest.h"

#include <algorithm>
#include <map>

#include <fmt/core.h>

#include "base/error.h"
#include "codec/digest.h"
#include "repo/manifest_block.h"

// A block ends where its content says so (is_cutting_point), so that a file more or less changes
// one block and not all that follow. Normative: docs/design/repository-format.md, "Manifests".

namespace holdfast::repo {
namespace {

constexpr uint16_t kSummarySection = 1;
constexpr uint16_t kFirstKeysSection = 2;
constexpr uint16_t kDamagedSection = 3;

constexpr size_t kMaxNameBytes = 256;  // of a user or group
constexpr uint64_t kCutMask = 0x1FF;
constexpr size_t kMaxBlockBytes = size_t{128} << 10;
constexpr size_t kSectionBytes = size_t{1} << 20;  // of raw entries in one section
constexpr uint64_t kMaxManifestBytes = uint64_t{256} << 20;
constexpr size_t kMaxDamagedKept = 100'000;

// What the smallest of each takes: bounds their number by the bytes at hand.
constexpr size_t kLeastOwnerBytes = 10;
constexpr size_t kLeastFirstKeyBytes = 51;
constexpr size_t kLeastDamagedBytes = 4;

// Where one block begins, and where it is.
struct FirstKey {
  ManifestRoot root = ManifestRoot::kData;
  std::string path;
  uint64_t entries = 0;
  ExtentRef ref;
};

// Whether a block ends behind this entry.
bool is_cutting_point(ManifestRoot root, std::string_view path, Bytes& scratch) {
  scratch.assign(1, static_cast<std::byte>(root));
  ByteView bytes = as_bytes(path);
  scratch.insert(scratch.end(), bytes.begin(), bytes.end());
  return (codec::xxh3_64(scratch) & kCutMask) == 0;
}

}  // namespace

// --- Writing ------------------------------------------------------------------------------------

struct ManifestWriter::State {
  const Repository* repository;
  LineageName lineage;
  std::string backup_id;
  ExtentWriter* extents;

  ManifestSummary summary = {};
  std::map<Owner, uint32_t> owners = {};
  uint64_t files = 0;
  uint64_t damaged_blocks = 0;
  std::vector<DamagedBlock> damaged = {};
  bool closed = false;

  // The open block, and the keys of those before it.
  FirstKey first = {};
  ByteWriter entries = {};
  std::vector<FirstKey> first_keys = {};
  std::optional<ManifestRoot> last_root = {};
  std::string last_path = {};
  Bytes scratch = {};

  void end_block();
  void put_summary(ObjectWriter& object, codec::Compressor& compressor) const;
  void put_first_keys(ObjectWriter& object, codec::Compressor& compressor) const;
  void put_damaged(ObjectWriter& object) const;
  void put_copy(const Bytes32& sha256) const;
};

ManifestWriter::ManifestWriter(const Repository& repository, LineageName lineage,
                               std::string backup_id, uint32_t block_bytes, ExtentWriter& extents)
    : state_(new State{.repository = &repository,
                       .lineage = std::move(lineage),
                       .backup_id = std::move(backup_id),
                       .extents = &extents}) {
  state_->summary.block_bytes = block_bytes;
}
ManifestWriter::~ManifestWriter() = default;

uint32_t ManifestWriter::owner(const Owner& owner) {
  std::vector<Owner>& owners = state_->summary.owners;
  const auto [found, is_new] =
      state_->owners.try_emplace(owner, static_cast<uint32_t>(owners.size()));
  if (!is_new) return found->second;
  if (owners.size() == kMaxOwners)
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = fmt::format("the files have more than {} different owners", kMaxOwners)});
  owners.push_back(owner);
  return found->second;
}

void ManifestWriter::add(const ManifestEntry& entry) {
  State& state = *state_;
  HF_CHECK(!state.closed);
  HF_CHECK(!state.last_root ||
           compare_manifest_keys(*state.last_root, state.last_path, entry.root, entry.path) < 0);
  HF_CHECK(entry.owner < state.summary.owners.size());
  if (!is_manifest_path(entry.root, entry.path))
    throw Error({.code = ErrorCode::kInternal,
                 .message = fmt::format("a manifest cannot hold the path \"{}\"", entry.path)});

  if (state.first.entries == 0) {
    state.first.root = entry.root;
    state.first.path = entry.path;
    state.last_path.clear();
  }
  encode_entry(state.entries, entry, state.last_path);
  ++state.first.entries;
  ++state.summary.entries;
  if (entry.type == EntryType::kFile) {
    ++state.files;
    state.summary.file_bytes += entry.size;
  }
  state.last_root = entry.root;
  state.last_path = entry.path;
  if (is_cutting_point(entry.root, entry.path, state.scratch) ||
      state.entries.size() >= kMaxBlockBytes)
    state.end_block();
}

void ManifestWriter::State::end_block() {
  ByteWriter block;
  block.varint(first.entries).bytes(entries.view());
  first.ref = extents->append({.kind = ContentKind::kManifestBlock}, block.view());
  first_keys.push_back(std::exchange(first, {}));
  entries.clear();
}

void ManifestWriter::add_damaged(DamagedBlock block) {
  ++state_->damaged_blocks;
  if (state_->damaged.size() < kMaxDamagedKept) state_->damaged.push_back(std::move(block));
}

void ManifestWriter::close_blocks() {
  HF_CHECK(!state_->closed);
  state_->closed = true;
  if (state_->first.entries > 0) state_->end_block();
}

void ManifestWriter::State::put_summary(ObjectWriter& object, codec::Compressor& compressor) const {
  ByteWriter out;
  out.text(manifest_name(lineage, backup_id)).text(to_string(lineage));
  out.u32(summary.block_bytes).u64(summary.entries).u64(summary.file_bytes);
  out.varint(summary.owners.size());
  for (const Owner& owner : summary.owners)
    out.text(owner.user).text(owner.group).u32(owner.uid).u32(owner.gid);
  object.compressed_section(kSummarySection, out.view(), compressor);
}

namespace {

// Puts `all` as sections of about kSectionBytes: a count and the items of each.
template <typename Item, typename Encode, typename Put>
void put_in_sections(const std::vector<Item>& all, const Encode& encode_item, const Put& put) {
  for (size_t at = 0; at < all.size();) {
    ByteWriter items;
    const size_t start = at;
    for (; at < all.size() && items.size() < kSectionBytes; ++at) encode_item(items, all[at]);
    ByteWriter section;
    section.varint(at - start).bytes(items.view());
    put(section.view());
  }
}

}  // namespace

void ManifestWriter::State::put_first_keys(ObjectWriter& object,
                                           codec::Compressor& compressor) const {
  put_in_sections(
      first_keys,
      [](ByteWriter& out, const FirstKey& key) {
        out.u8(static_cast<uint8_t>(key.root)).text(key.path).varint(key.entries);
        repo::encode(out, key.ref);
      },
      [&](ByteView section) { object.compressed_section(kFirstKeysSection, section, compressor); });
}

void ManifestWriter::State::put_damaged(ObjectWriter& object) const {
  put_in_sections(
      damaged,
      [](ByteWriter& out, const DamagedBlock& block) {
        out.u8(static_cast<uint8_t>(block.root))
            .text(block.path)
            .varint(block.block)
            .u8(block.reason);
      },
      [&](ByteView section) { object.section(kDamagedSection, section, false); });
}

// From the store, not from memory: what is put there is what can be read.
void ManifestWriter::State::put_copy(const Bytes32& sha256) const {
  store::Store& store = repository->store();
  const std::string name = manifest_name(lineage, backup_id);
  std::unique_ptr<store::Upload> upload = store.upload(manifest_copy_name(lineage, backup_id));
  codec::Sha256 digest;
  Bytes piece(kSectionBytes);
  for (uint64_t offset = 0;;) {
    std::optional<size_t> count = store.read_into(name, offset, piece);
    if (!count) throw_damaged(name, "It is missing right after it was written.");
    ByteView bytes = ByteView(piece).first(*count);
    digest.update(bytes);
    upload->append(bytes);
    offset += *count;
    if (*count < piece.size()) break;
  }
  if (digest.finish() != sha256)
    throw_damaged(name, "The store gives back other bytes than were written.");
  upload->commit();
}

ManifestWriter::Committed ManifestWriter::commit() {
  State& state = *state_;
  HF_CHECK(state.closed);
  codec::Compressor compressor({});
  ObjectWriter object(state.repository->store(), state.repository->keyring(), kManifestKind,
                      manifest_name(state.lineage, state.backup_id), state.repository->random());
  state.put_summary(object, compressor);
  state.put_first_keys(object, compressor);
  state.put_damaged(object);
  ObjectWriter::Committed committed = object.commit();
  state.put_copy(committed.sha256);
  return {.object_id = committed.object_id,
          .bytes = committed.bytes,
          .sha256 = committed.sha256,
          .summary = state.summary,
          .files = state.files,
          .damaged_blocks = state.damaged_blocks};
}

// --- Reading ------------------------------------------------------------------------------------

namespace {

ManifestSummary decode_summary(ByteView raw, const LineageName& lineage) {
  ByteReader in = after_self(raw, "manifest summary");
  ManifestSummary summary;
  if (std::string_view name = in.text(); name != to_string(lineage))
    in.fail(fmt::format("it is of the lineage \"{}\"", name));
  summary.block_bytes = in.u32();
  summary.entries = in.u64();
  summary.file_bytes = in.u64();
  const uint64_t count = in.varint();
  if (count > kMaxOwners || count > in.remaining() / kLeastOwnerBytes)
    in.fail(fmt::format("{} owners", count));
  while (summary.owners.size() < count) {
    Owner& owner = summary.owners.emplace_back();
    owner.user = in.text(kMaxNameBytes);
    owner.group = in.text(kMaxNameBytes);
    owner.uid = in.u32();
    owner.gid = in.u32();
  }
  in.expect_end();
  return summary;
}

// Appends what a section holds; the keys ascend through all of them.
void decode_first_keys(ByteView raw, std::vector<FirstKey>& keys) {
  ByteReader in(raw, "manifest root");
  const uint64_t count = in.varint();
  if (count == 0 || count > in.remaining() / kLeastFirstKeyBytes)
    in.fail(fmt::format("{} blocks", count));
  for (uint64_t i = 0; i < count; ++i) {
    FirstKey key;
    key.root = decode_manifest_root(in);
    key.path = in.text(kMaxPathBytes);
    key.entries = in.varint();
    key.ref = decode_extent_ref(in);
    if (key.entries == 0) in.fail("a block without entries");
    if (!keys.empty() &&
        compare_manifest_keys(keys.back().root, keys.back().path, key.root, key.path) >= 0)
      in.fail(fmt::format("block {} is out of order", keys.size()));
    keys.push_back(std::move(key));
  }
  in.expect_end();
}

void decode_damaged(ByteView raw, std::vector<DamagedBlock>& damaged) {
  ByteReader in(raw, "list of damaged blocks");
  const uint64_t count = in.varint();
  if (count > in.remaining() / kLeastDamagedBytes || damaged.size() + count > kMaxDamagedKept)
    in.fail(fmt::format("{} blocks", count));
  for (uint64_t i = 0; i < count; ++i) {
    DamagedBlock& block = damaged.emplace_back();
    block.root = decode_manifest_root(in);
    block.path = in.text(kMaxPathBytes);
    block.block = in.varint();
    block.reason = in.u8();
  }
  in.expect_end();
}

}  // namespace

struct ManifestReader::State {
  State(const Repository& r, LineageName l, const std::string& backup_id)
      : repository(&r),
        lineage(std::move(l)),
        name(manifest_name(lineage, backup_id)),
        copy_name(manifest_copy_name(lineage, backup_id)),
        extents(r, lineage) {}

  void load(const std::string& place, const Bytes32& sha256);
  std::unique_ptr<ManifestBlockReader> read_block(size_t index);

  const Repository* repository;
  LineageName lineage;
  std::string name;
  std::string copy_name;
  ExtentReader extents;
  ManifestSummary summary;
  std::vector<FirstKey> first_keys;
  std::vector<DamagedBlock> damaged;

  // Where next() is.
  size_t next_block = 0;
  std::unique_ptr<ManifestBlockReader> block;
};

void ManifestReader::State::load(const std::string& place, const Bytes32& sha256) {
  Context reading("reading manifest \"{}\"", place);
  std::optional<Bytes> whole = store::read_whole(repository->store(), place, kMaxManifestBytes);
  if (!whole) throw_damaged(place, "It is missing.");
  if (codec::sha256(*whole) != sha256)
    throw_damaged(place, "It is not the one that the backup names.");

  first_keys.clear();
  damaged.clear();
  ObjectReader object =
      ObjectReader::open_bytes(*whole, repository->keyring(), kManifestKind, place, name);
  while (std::optional<ObjectReader::Section> section = object.next()) {
    switch (section->type) {
      case kSummarySection:
        summary = decode_summary(object.expand(*section), lineage);
        break;
      case kFirstKeysSection:
        decode_first_keys(object.expand(*section), first_keys);
        break;
      case kDamagedSection:
        decode_damaged(section->plain, damaged);
        break;
      default:
        object.skip_unknown(*section);
    }
  }
  uint64_t entries = 0;
  for (const FirstKey& key : first_keys) entries += key.entries;
  if (entries != summary.entries)
    throw_damaged(place, fmt::format("Its blocks have {} entries where it counts {}.", entries,
                                     summary.entries));
}

ManifestReader::ManifestReader(const Repository& repository, LineageName lineage,
                               const std::string& backup_id, const Bytes32& sha256,
                               const std::function<void(std::string_view)>& warn)
    : state_(std::make_unique<State>(repository, std::move(lineage), backup_id)) {
  State& state = *state_;
  // The copy is there for this: damage of the first is told, and the work goes on.
  const std::optional<Error> damage = unreadable_of([&] { state.load(state.name, sha256); });
  if (!damage) return;
  state.load(state.copy_name, sha256);
  if (warn)
    warn(fmt::format("the manifest of backup \"{}\" is read from its copy: {}: {}", backup_id,
                     damage->message(), damage->detail()));
}
ManifestReader::~ManifestReader() = default;

void ManifestReader::check(const Repository& repository, const LineageName& lineage,
                           const std::string& backup_id, const Bytes32& sha256, bool copy) {
  State state(repository, lineage, backup_id);
  state.load(copy ? state.copy_name : state.name, sha256);
}

const ManifestSummary& ManifestReader::summary() const { return state_->summary; }
const std::vector<DamagedBlock>& ManifestReader::damaged() const { return state_->damaged; }

std::vector<ExtentRef> ManifestReader::blocks() const {
  std::vector<ExtentRef> all;
  for (const FirstKey& key : state_->first_keys) all.push_back(key.ref);
  return all;
}

std::unique_ptr<ManifestBlockReader> ManifestReader::State::read_block(size_t index) {
  const FirstKey& key = first_keys[index];
  const ByteView raw = extents.read(key.ref, ContentKind::kManifestBlock).raw;
  auto reader = std::make_unique<ManifestBlockReader>(Bytes(raw.begin(), raw.end()));
  if (reader->entries() != key.entries)
    throw_damaged(name, fmt::format("Its block {} has {} entries where it counts {}.", index,
                                    reader->entries(), key.entries));
  return reader;
}

std::optional<ManifestEntry> ManifestReader::next() {
  State& state = *state_;
  for (;;) {
    bool is_first = false;
    if (!state.block) {
      if (state.next_block == state.first_keys.size()) return std::nullopt;
      state.block = state.read_block(state.next_block++);
      is_first = true;
    }
    std::optional<ManifestEntry> entry = state.block->next();
    if (!entry) {
      state.block.reset();
      continue;
    }
    const FirstKey& key = state.first_keys[state.next_block - 1];
    if (is_first && compare_manifest_keys(entry->root, entry->path, key.root, key.path) != 0)
      throw_damaged(state.name, fmt::format("Its block {} begins with another path than it says.",
                                            state.next_block - 1));
    if (entry->owner >= state.summary.owners.size())
      throw_damaged(state.name, fmt::format("An entry has the owner {} of {}.", entry->owner,
                                            state.summary.owners.size()));
    // A block reaches to the next one's first key and no further.
    if (state.next_block < state.first_keys.size()) {
      const FirstKey& after = state.first_keys[state.next_block];
      if (compare_manifest_keys(entry->root, entry->path, after.root, after.path) >= 0)
        throw_damaged(state.name,
                      fmt::format("Its block {} reaches into the next.", state.next_block - 1));
    }
    return entry;
  }
}

std::optional<ManifestEntry> ManifestReader::find(ManifestRoot root, std::string_view path) {
  State& state = *state_;
  auto after = std::ranges::partition_point(state.first_keys, [&](const FirstKey& key) {
    return compare_manifest_keys(key.root, key.path, root, path) <= 0;
  });
  if (after == state.first_keys.begin()) return std::nullopt;
  std::unique_ptr<ManifestBlockReader> block =
      state.read_block(static_cast<size_t>(after - state.first_keys.begin()) - 1);
  while (std::optional<ManifestEntry> entry = block->next()) {
    const int order = compare_manifest_keys(entry->root, entry->path, root, path);
    if (order > 0) return std::nullopt;
    if (order < 0) continue;
    if (entry->owner >= state.summary.owners.size())
      throw_damaged(state.name, fmt::format("An entry has the owner {} of {}.", entry->owner,
                                            state.summary.owners.size()));
    return entry;
  }
  return std::nullopt;
}

}  // namespace holdfast::repo
