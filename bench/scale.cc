// scale.cc: what a repository of a large cluster holds beside the data, to measure what grows.
//
//   build/release/bench_scale make DIR 10tib      10 TiB in 200,000 files, and four later backups
//   build/release/bench_scale make DIR million    1,000,000 files of one page
//   build/release/bench_scale page DIR PATH OFFSET
//   build/release/bench_scale measure FILE COMMAND...
//
// `make` writes with the program's own writers. What it leaves out is the data: of the 16 blocks of
// an extent only the first is not zeros, and sixteen leaves share the extents of one pack:
//
//   relation segment, 1 GiB   root -> 64 leaves -> 128 extents each        as in a backup of data
//   its four packs            16 leaves, and 128 extents of a page         data: 2,048 extents
//
// So manifests, roots, leaves, lists of references and the number of packs are those of the real
// thing to a byte or two; packs are small. All of it can be verified. The later backups refer to
// what did not change as a backup of changes alone would: in each of them another 1 in 20 of the
// relation segments has one new leaf.
//
// `page` reads one page of the newest backup, as whoever mounts it would, and prints how long each
// step took. `measure` runs a command and writes to FILE what it took; a process that Python starts
// is shown with Python's memory at least. bench/scale uses all three.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <spawn.h>
#include <string>
#include <string_view>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "pg/control_file.h"
#include "repo/backup.h"
#include "repo/layout.h"
#include "repo/refs.h"
#include "repo/wal_archive.h"
#include "store/open_store.h"
#include "support/golden.h"
#include "support/pieces_of.h"
#include "support/wal_builder.h"

// What is made here may be made again: 40,000 packs are not worth 40,000 syncs each. In place of
// the C library's.
extern "C" int fsync(int) { return 0; }

namespace holdfast {
namespace {

constexpr uint64_t kSystemIdentifier = 7'000'000'000'000'000'001;
constexpr uint32_t kWalSegmentBytes = 1 << 20;
constexpr uint32_t kBlockBytes = 8192;
constexpr uint64_t kRelationBytes = uint64_t{1} << 30;
constexpr uint32_t kLeafBlocks = repo::kLeafBytes / kBlockBytes;
constexpr uint32_t kExtentsPerLeaf = kLeafBlocks / repo::kExtentBlocks;
constexpr uint64_t kLeavesPerPack = 16;   // of 64 MiB, when an extent of 128 KiB becomes 32 KiB
constexpr uint32_t kFirstNumber = 16384;  // of files, and of databases

constexpr uint64_t kWalSegments = 4096;
constexpr uint64_t kSegmentsPerDay = 600;
constexpr std::chrono::days kFirstBackupAge{7};

struct Shape {
  std::string_view name;
  uint32_t databases = 0;
  uint32_t files_per_database = 0;
  uint32_t relations_per_database = 0;  // of 10 segments of 1 GiB
  int later_backups = 0;
};
constexpr uint32_t kSegmentsPerRelation = 10;
constexpr Shape kShapes[] = {
    {.name = "10tib",
     .databases = 4,
     .files_per_database = 50'000,
     .relations_per_database = 256,
     .later_backups = 4},
    {.name = "million", .databases = 20, .files_per_database = 50'000},
};
constexpr uint32_t kChangedOf = 20;  // a later backup changes one in so many relation segments

// A page that no other is equal to.
Bytes make_page(uint64_t number) {
  Bytes page(kBlockBytes);
  store_le(page.data() + 16, ++number);
  return page;
}

// --- The archive --------------------------------------------------------------------------------

// Segments of one commit each, and where records lie in them.
class Wal {
 public:
  Wal(const repo::Repository& repository, const repo::Lineage& lineage, Time began)
      : archive_(repository, lineage), began_(began) {}

  void put_all() {
    for (uint64_t number = 1; number <= kWalSegments; ++number) put(number);
  }
  pg::WalSegmentSize size() const { return archive_.segment_size(); }
  Time time_of(uint64_t number) const {
    return began_ + Microseconds(std::chrono::days(1)) / kSegmentsPerDay * number;
  }
  pg::Lsn first_record(uint64_t number) const { return first_records_.at(number - 1); }
  pg::Lsn end(uint64_t number) const { return ends_.at(number - 1); }

 private:
  void put(uint64_t number) {
    test::WalBuilder wal({.size = size(),
                          .system_identifier = kSystemIdentifier,
                          .first_segment = number,
                          .previous_lsn = previous_});
    first_records_.push_back(wal.add_filler(100));
    constexpr int64_t kPostgresEpoch = 946684800'000000;
    wal.add_commit(narrow<uint32_t>(700 + number),
                   time_of(number).time_since_epoch().count() - kPostgresEpoch);
    ends_.push_back(wal.end_lsn());
    previous_ = wal.add_switch();
    const Bytes content = wal.segment(0);
    const pg::WalFileName file{.kind = pg::WalFileKind::kSegment, .segment = wal.name(0)};
    archive_.put_segment(
        file,
        test::describe_segment(content, file,
                               {.host = "db1", .pgdata = "/data", .pushed = time_of(number)}),
        test::pieces_of(content));
  }

  const repo::WalArchive archive_;
  const Time began_;
  pg::Lsn previous_;
  std::vector<pg::Lsn> first_records_, ends_;
};

// --- Backups ------------------------------------------------------------------------------------

// What a backup's commit object says that its writer does not fill in. The backup of that number
// was taken that many days after the first.
repo::Backup describe(const Wal& wal, int number) {
  const uint64_t first = 1 + static_cast<uint64_t>(number) * kSegmentsPerDay;
  repo::Backup backup;
  backup.started = backup.start_time = wal.time_of(first);
  backup.finished = backup.stop_time = wal.time_of(first + 2);
  backup.start_lsn = backup.checkpoint_lsn = wal.first_record(first);
  backup.stop_lsn = wal.end(first + 1);
  backup.start_timeline = backup.stop_timeline = {1};
  backup.start_segment =
      pg::segment_file_name({.timeline = {1}, .segment_number = first}, wal.size());
  backup.stop_segment =
      pg::segment_file_name({.timeline = {1}, .segment_number = first + 1}, wal.size());
  backup.data_checksums = true;
  backup.label = backup.tool = "bench_scale";
  backup.host = "db1";
  backup.data_directory = "/srv/postgresql/main";
  backup.data_user = backup.data_group = "postgres";
  backup.floors.max_connections = 100;
  return backup;
}

Bytes control_file() {
  Bytes control = test::golden("pg-15/pg_control");
  store_le(control.data(), kSystemIdentifier);
  store_le(control.data() + 228, kWalSegmentBytes);
  store_le(control.data() + 288, pg::crc32c(ByteView(control).first(288)));
  return control;
}

class FullBackup {
 public:
  FullBackup(const repo::Repository& repository, const repo::Lineage& lineage, const Shape& shape,
             repo::Backup backup)
      : shape_(shape),
        backup_(std::move(backup)),
        writer_(repository, lineage, repo::make_backup_id(backup_.started, repository.random()), {},
                system_clock()),
        extents_(writer_.make_worker()) {}

  repo::Backup take() {
    owner_ =
        writer_.manifest().owner({.user = "postgres", .group = "postgres", .uid = 105, .gid = 109});
    add_content("PG_VERSION", to_bytes("15\n"));
    add("base", repo::EntryType::kDirectory);
    for (uint32_t database = 0; database < shape_.databases; ++database)
      add_database(fmt::format("base/{}", kFirstNumber + database));
    add("global", repo::EntryType::kDirectory);
    add("pg_wal", repo::EntryType::kDirectory);
    add_content("postgresql.conf", to_bytes("shared_buffers = '128MB'\n"));
    root_ = repo::ManifestRoot::kDataLast;
    add_content("backup_label", to_bytes("START WAL LOCATION: 0/100028\n"));
    add_content(std::string(pg::kControlFilePath), control_file());
    writer_.finish_worker(std::move(*extents_));
    writer_.seal_contents();
    return writer_.commit(std::move(backup_));
  }

 private:
  void add(std::string path, repo::EntryType type, uint64_t size = 0,
           repo::FileLocation location = {}) {
    writer_.manifest().add({.root = root_,
                            .path = std::move(path),
                            .type = type,
                            .mode = type == repo::EntryType::kDirectory ? 0700u : 0600u,
                            .owner = owner_,
                            .modified = backup_.started,
                            .size = size,
                            .pages_verified = true,
                            .location = std::move(location),
                            .target = {}});
  }
  void add_content(const std::string& path, const Bytes& content) {
    add(path, repo::EntryType::kFile, content.size(),
        repo::append_file(*extents_, path, content, kBlockBytes));
  }

  // Numbers have five digits, so that they are in a manifest's order.
  void add_database(const std::string& folder) {
    add(folder, repo::EntryType::kDirectory);
    uint32_t files = 0;
    for (uint32_t number = kFirstNumber; files < shape_.files_per_database; ++number) {
      const std::string path = fmt::format("{}/{}", folder, number);
      if (number >= kFirstNumber + shape_.relations_per_database) {
        add_content(path, make_page(++pages_));
        ++files;
        continue;
      }
      add_relation_segment(path);
      for (uint32_t segment = 1; segment < kSegmentsPerRelation; ++segment)
        add_relation_segment(fmt::format("{}.{}", path, segment));
      files += kSegmentsPerRelation;
    }
  }

  void add_relation_segment(const std::string& path) {
    repo::FileMapBuilder map;
    std::vector<repo::MapExtent> shared;
    for (uint64_t index = 0; index < repo::leaf_count_of(kRelationBytes); ++index) {
      if (index % kLeavesPerPack == 0) {
        writer_.finish_worker(std::move(*extents_));  // a pack of its own
        extents_.emplace(writer_.make_worker());
        shared = append_extents(path);
      }
      map.add(*extents_, {.base_block = index * kLeafBlocks, .extents = shared}, kBlockBytes);
    }
    repo::FileLocation location = map.finish(*extents_, kRelationBytes, kBlockBytes);
    add(path, repo::EntryType::kFile, kRelationBytes, std::move(location));
  }

  // Those of a leaf: of each the first block alone.
  std::vector<repo::MapExtent> append_extents(const std::string& path) {
    std::vector<repo::MapExtent> made;
    for (uint32_t at = 0; at < kExtentsPerLeaf; ++at) {
      const uint32_t block = at * repo::kExtentBlocks;
      const repo::ExtentRef ref = extents_->append(
          {.first_block = block, .block_count = 1, .file_tag = repo::file_tag(path)},
          make_page(++pages_));
      made.push_back({.ref = ref, .runs = {{.block = block, .slot = 0, .count = 1}}});
    }
    return made;
  }

  const Shape& shape_;
  repo::Backup backup_;
  repo::BackupWriter writer_;
  std::optional<repo::ExtentWriter> extents_;
  repo::ManifestRoot root_ = repo::ManifestRoot::kData;
  uint32_t owner_ = 0;
  uint64_t pages_ = 0;
};

// A backup whose files are its parent's but for what changed. The program's writer makes no such
// backups, so the steps of it are here.
class LaterBackup {
 public:
  LaterBackup(const repo::Repository& repository, const repo::Lineage& lineage,
              const repo::Backup& parent, repo::Backup backup, uint32_t number)
      : repository_(repository),
        lineage_(lineage),
        parent_(parent),
        backup_(std::move(backup)),
        number_(number),
        writer_(repository, lineage.name, {}),
        reader_(repository, lineage.name) {
    backup_.id = repo::make_backup_id(backup_.started, repository.random());
  }

  repo::Backup take() {
    repo::ManifestReader before(repository_, lineage_.name, parent_.id, parent_.manifest_sha256,
                                nullptr);
    repo::ManifestWriter after(repository_, lineage_.name, backup_.id, kBlockBytes, writer_);
    for (const repo::Owner& owner : before.summary().owners) after.owner(owner);
    uint32_t relations = 0;
    while (std::optional<repo::ManifestEntry> entry = before.next()) {
      if (entry->location.kind == repo::FileLocation::Kind::kRoot &&
          relations++ % kChangedOf == number_)
        change(*entry);
      after.add(*entry);
    }
    after.close_blocks();
    const std::vector<repo::PackSummary> made = writer_.finish();
    commit(after.commit(), made);
    return backup_;
  }

 private:
  // One page of one leaf.
  void change(repo::ManifestEntry& entry) {
    std::vector<repo::MapRootEntry> root =
        repo::decode_map_root(reader_.read(entry.location.ref, repo::ContentKind::kMapRoot).raw);
    repo::MapRootEntry& changed = root[number_ % root.size()];
    repo::MapLeaf leaf = repo::decode_map_leaf(
        reader_.read(changed.ref, repo::ContentKind::kMapLeaf).raw, kLeafBlocks);
    leaf.extents.front().ref = writer_.append(
        {.first_block = leaf.base_block, .block_count = 1, .file_tag = repo::file_tag(entry.path)},
        make_page(~(uint64_t{number_} << 32 | ++pages_)));
    changed.ref = writer_.append({.kind = repo::ContentKind::kMapLeaf}, repo::encode(leaf));
    entry.location.ref = writer_.append({.kind = repo::ContentKind::kMapRoot}, repo::encode(root));
  }

  void commit(const repo::ManifestWriter::Committed& manifest,
              const std::vector<repo::PackSummary>& made) {
    std::vector<repo::PackRefs> packs =
        repo::read_refs(repository_, lineage_.name, parent_.id).value();
    for (const repo::PackSummary& pack : made) {
      packs.push_back({.pack = pack.pack, .extents = pack.extents, .runs = {}});
      backup_.new_bytes += pack.bytes;
    }
    std::ranges::sort(packs, {}, &repo::PackRefs::pack);
    const std::string name = repo::refs_name(lineage_.name, backup_.id);
    repo::ObjectWriter refs(repository_.store(), repository_.keyring(), repo::kRefsKind, name,
                            repository_.random());
    codec::Compressor compressor({});
    refs.section(1, ByteWriter().text(name).view());
    refs.compressed_section(2, repo::encode_pack_refs(packs), compressor);
    const repo::ObjectWriter::Committed put = refs.commit();

    backup_.type = "incremental";
    backup_.parent = parent_.id;
    backup_.lineage = lineage_.name;
    backup_.system_identifier = kSystemIdentifier;
    backup_.major = lineage_.name.major;
    backup_.catalog_version = lineage_.catalog_version;
    backup_.wal_segment_bytes = lineage_.wal_segment_bytes;
    backup_.block_bytes = lineage_.block_bytes;
    backup_.blocks_per_segment = lineage_.blocks_per_segment;
    backup_.files = manifest.files;
    backup_.bytes = manifest.summary.file_bytes;
    backup_.stored_bytes = parent_.stored_bytes + backup_.new_bytes;
    backup_.packs = packs.size();
    backup_.manifest_object = manifest.object_id;
    backup_.manifest_bytes = manifest.bytes;
    backup_.manifest_sha256 = manifest.sha256;
    backup_.refs_object = put.object_id;
    backup_.refs_bytes = put.bytes;
    backup_.refs_sha256 = put.sha256;
    HF_CHECK(repository_.create_document("backup", repo::backup_name(lineage_.name, backup_.id),
                                         repo::to_json(backup_)));
  }

  const repo::Repository& repository_;
  const repo::Lineage& lineage_;
  const repo::Backup& parent_;
  repo::Backup backup_;
  const uint32_t number_;
  repo::ExtentWriter writer_;
  repo::ExtentReader reader_;
  uint32_t pages_ = 0;
};

void make(const std::string& directory, const Shape& shape) {
  store::create_store(directory);
  const std::unique_ptr<store::Store> store = store::open_store(directory);
  const repo::Repository repository = repo::Repository::create(*store, {}, system_clock());
  const Time began = system_clock().now() - kFirstBackupAge;
  const repo::Lineage lineage =
      repository.create_lineage({.name = {.cluster = "main", .major = 15, .count = 1},
                                 .system_identifier = kSystemIdentifier,
                                 .catalog_version = 202209061,
                                 .wal_segment_bytes = kWalSegmentBytes,
                                 .block_bytes = kBlockBytes,
                                 .blocks_per_segment = kRelationBytes / kBlockBytes,
                                 .created = began});
  Wal wal(repository, lineage, began);
  wal.put_all();
  repo::Backup newest = FullBackup(repository, lineage, shape, describe(wal, 0)).take();
  for (int number = 1; number <= shape.later_backups; ++number)
    newest = LaterBackup(repository, lineage, newest, describe(wal, number),
                         static_cast<uint32_t>(number))
                 .take();
}

// --- One page -----------------------------------------------------------------------------------

class Lap {
 public:
  double milliseconds() {
    const auto before = std::exchange(at_, std::chrono::steady_clock::now());
    return std::chrono::duration<double, std::milli>(at_ - before).count();
  }

 private:
  std::chrono::steady_clock::time_point at_ = std::chrono::steady_clock::now();
};

void read_page(const std::string& directory, const std::string& path, uint64_t offset) {
  Lap lap;
  const std::unique_ptr<store::Store> store = store::open_store(directory);
  const repo::Repository repository = repo::Repository::open(*store, {});
  const repo::Lineage lineage = repository.newest_lineage("main").value();
  const repo::Backup backup = repo::resolve_backup(repository, lineage.name, "latest");
  const double opened = lap.milliseconds();
  repo::ManifestReader manifest(repository, lineage.name, backup.id, backup.manifest_sha256,
                                nullptr);
  const double listed = lap.milliseconds();
  const std::optional<repo::ManifestEntry> entry = manifest.find(repo::ManifestRoot::kData, path);
  if (!entry)
    throw Error({.code = ErrorCode::kNotFound, .message = fmt::format("there is no \"{}\"", path)});
  const double found = lap.milliseconds();
  repo::ExtentReader extents(repository, lineage.name);
  repo::FileReader file(extents, backup.block_bytes);
  Bytes page(backup.block_bytes);
  file.open(entry->location, entry->size);
  HF_CHECK(file.read_range(offset, page) == page.size());
  const double read = lap.milliseconds();
  fmt::print(
      "{{\"repository\": {:.2f}, \"manifest\": {:.2f}, \"file\": {:.2f}, \"page\": {:.2f}}}\n",
      opened, listed, found, read);
}

// --- A command ----------------------------------------------------------------------------------

int measure(const std::string& file, char** command) {
  Lap lap;
  pid_t child = 0;
  if (posix_spawn(&child, command[0], nullptr, nullptr, command, environ) != 0) return 127;
  int status = 0;
  rusage used{};
  if (wait4(child, &status, 0, &used) != child) return 127;
  const double wall = lap.milliseconds() / 1000;
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  std::ofstream(file) << fmt::format(R"({{"wall": {}, "cpu": {}, "peak_mib": {}}})", wall,
                                     seconds(used.ru_utime) + seconds(used.ru_stime),
                                     static_cast<double>(used.ru_maxrss) / 1024);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run(std::span<const std::string> words, char** argv) {
  if (words.size() == 3 && words[0] == "make")
    for (const Shape& shape : kShapes)
      if (words[2] == shape.name) {
        make(words[1], shape);
        return 0;
      }
  if (words.size() == 4 && words[0] == "page") {
    read_page(words[1], words[2], std::stoull(words[3]));
    return 0;
  }
  if (words.size() >= 3 && words[0] == "measure") return measure(words[1], argv + 3);
  std::fputs(
      "usage: bench_scale make DIR 10tib|million\n"
      "       bench_scale page DIR PATH OFFSET\n"
      "       bench_scale measure FILE COMMAND...\n",
      stderr);
  return 2;
}

}  // namespace
}  // namespace holdfast

int main(int argc, char** argv) {
  try {
    return holdfast::run(std::vector<std::string>(argv + 1, argv + argc), argv);
  } catch (const holdfast::Error& error) {
    std::fprintf(stderr, "%s\n%s\n", error.message().c_str(), error.detail().c_str());
    return 1;
  }
}
