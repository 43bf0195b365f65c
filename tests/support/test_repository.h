// test_repository.h: a repository in memory with fixed clock and random bytes, and small backups in
// it.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "repo/backup.h"
#include "repo/repository.h"
#include "store/memory_store.h"
#include "support/fake_clock.h"
#include "support/fake_random.h"
#include "support/sealing.h"

namespace holdfast::test {

inline repo::KeySource test_key(Sealing sealing) {
  repo::KeySource key;
  if (sealing == Sealing::kKeyFile)
    key.key_file = codec::SecretKey::from_bytes(Bytes(32, std::byte{0x4B}));
  return key;
}

inline repo::Lineage test_lineage() {
  repo::Lineage lineage;
  lineage.name = {.cluster = "main", .major = 15, .count = 1};
  lineage.system_identifier = 7301234567890123456;
  lineage.catalog_version = 202209061;
  lineage.wal_segment_bytes = 16 << 20;
  lineage.block_bytes = 8192;
  lineage.blocks_per_segment = 131072;
  lineage.created = FakeClock().now();
  return lineage;
}

// One bit of an object, as a disk would; a second time: as it was.
inline void flip_a_bit(store::MemoryStore& store, const std::string& name) {
  store.edit(name, [](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{1}; });
}

// One in how a document says that it is sealed.
inline void flip_a_bit_of_the_seal(store::MemoryStore& store, const std::string& name) {
  store.edit(name, [](Bytes& bytes) {
    const size_t place = as_text(bytes).find("\"seal\":\"");
    bytes.at(place + 8) ^= std::byte{1};
  });
}

struct TestRepository {
  explicit TestRepository(Sealing how = Sealing::kNone, uint64_t seed = 1)
      : random(seed),
        key(test_key(how)),
        repository(repo::Repository::create(store, key, clock, random)),
        lineage(repository.create_lineage(test_lineage())) {}

  FakeClock clock;
  FakeRandom random;
  store::MemoryStore store{clock};
  repo::KeySource key;
  repo::Repository repository;
  repo::Lineage lineage;
};

// Every object of a store, by name.
inline std::vector<std::string> object_names(store::Store& store) {
  std::vector<std::string> names;
  store::for_each_entry(store, {.prefix = ""}, [&](const store::ListEntry& entry) {
    names.push_back(entry.name);
    return true;
  });
  return names;
}
inline Bytes object_bytes(store::Store& store, const std::string& name) {
  return store::read_whole(store, name, uint64_t{1} << 30).value();
}

// Bytes that compress to about a third, the same for the same seed.
inline Bytes page_like_bytes(size_t bytes, uint64_t seed) {
  Bytes content(bytes);
  std::mt19937_64 engine(seed);
  for (size_t at = 0; at < bytes; ++at)
    content[at] = at % 3 == 0 ? static_cast<std::byte>(engine() >> 56) : std::byte{0x20};
  return content;
}

struct SampleFile {
  repo::ManifestRoot root = repo::ManifestRoot::kData;
  std::string path;
  repo::EntryType type = repo::EntryType::kFile;
  Bytes content = {};
  std::string target = {};
};

// One of each: empty, small, several extents, zeros between, zeros only, links, outside, last. In
// manifest order.
inline std::vector<SampleFile> sample_files(uint64_t seed) {
  constexpr size_t kBlock = 8192;
  using enum repo::ManifestRoot;
  using enum repo::EntryType;
  Bytes gaps(40 * kBlock + 100);
  for (size_t block : {0, 1, 2, 7, 20, 21, 39, 40}) {
    Bytes page = page_like_bytes(std::min(kBlock, gaps.size() - block * kBlock), seed + block);
    std::ranges::copy(page, gaps.begin() + static_cast<ptrdiff_t>(block * kBlock));
  }
  std::vector<SampleFile> files;
  files.push_back({kData, "PG_VERSION", kFile, to_bytes("15\n")});
  files.push_back({kData, "base", kDirectory});
  files.push_back({kData, "base/5", kDirectory});
  files.push_back({kData, "base/5/1259", kFile, page_like_bytes(37 * kBlock, seed)});
  files.push_back({kData, "base/5/2619", kFile, std::move(gaps)});
  files.push_back({kData, "base/5/3456", kFile, Bytes(5 * kBlock)});
  files.push_back({kData, "base/5/9999", kFile});
  files.push_back({kData, "pg_wal", kSymlink, {}, "/srv/wal/main"});
  files.push_back(
      {kOutside, "/etc/postgresql/15/main/pg_hba.conf", kFile, to_bytes("local all all peer\n")});
  files.push_back({kDataLast, "backup_label", kFile, to_bytes("START WAL LOCATION: 0/4000028\n")});
  files.push_back({kDataLast, "global/pg_control", kFile, page_like_bytes(kBlock, seed + 99)});
  return files;
}

// Appends the files' contents and entries as a backup does.
inline void write_files(const std::vector<SampleFile>& files, repo::ExtentWriter& extents,
                        repo::ManifestWriter& manifest, uint32_t block_bytes) {
  const uint32_t owner =
      manifest.owner({.user = "postgres", .group = "postgres", .uid = 105, .gid = 109});
  for (const SampleFile& file : files) {
    repo::ManifestEntry entry;
    entry.root = file.root;
    entry.path = file.path;
    entry.type = file.type;
    entry.mode = file.type == repo::EntryType::kDirectory ? 0700 : 0600;
    entry.owner = owner;
    entry.modified = FakeClock().now();
    entry.size = file.content.size();
    entry.target = file.target;
    entry.pages_verified = file.path.starts_with("base/");
    entry.location = append_file(extents, file.path, file.content, block_bytes);
    manifest.add(entry);
  }
}

inline repo::Backup make_backup(const repo::Repository& repository, const repo::Lineage& lineage,
                                const std::string& id, const std::vector<SampleFile>& files,
                                const Clock& clock) {
  repo::BackupWriter writer(repository, lineage, id, {}, clock);
  repo::ExtentWriter worker = writer.make_worker();
  write_files(files, worker, writer.manifest(), lineage.block_bytes);
  writer.finish_worker(std::move(worker));
  writer.seal_contents();
  repo::Backup backup;
  backup.started = backup.finished = backup.start_time = backup.stop_time = clock.now();
  backup.start_lsn = pg::Lsn{0x4000028};
  backup.checkpoint_lsn = pg::Lsn{0x4000060};
  backup.stop_lsn = pg::Lsn{0x4000138};
  backup.start_timeline = backup.stop_timeline = pg::TimelineId{1};
  backup.start_segment = backup.stop_segment = "000000010000000000000004";
  backup.data_checksums = true;
  backup.label = "nightly of the accounts database";
  backup.host = "db1.example";
  backup.tool = "holdfast 0.1.0";
  backup.data_directory = "/var/lib/postgresql/15/main";
  backup.data_user = backup.data_group = "postgres";
  backup.tablespaces = {{.oid = 16400, .path = "/srv/fast"}};
  backup.external_files = {"/etc/postgresql/15/main/pg_hba.conf"};
  backup.configuration = {.config_file = "/etc/postgresql/15/main/postgresql.conf",
                          .hba_file = "/etc/postgresql/15/main/pg_hba.conf",
                          .ident_file = "/etc/postgresql/15/main/pg_ident.conf",
                          .data_directory = backup.data_directory};
  backup.floors.max_connections = 100;
  return writer.commit(backup);
}

// Reads a whole backup and compares it with what was put in; throws what reading throws.
inline void expect_backup_holds(const repo::Repository& repository,
                                const repo::LineageName& lineage, const std::string& id,
                                const std::vector<SampleFile>& files) {
  std::optional<repo::Backup> backup = repo::read_backup(repository, lineage, id);
  ASSERT_TRUE(backup.has_value()) << id;
  repo::ManifestReader manifest(repository, lineage, id, backup->manifest_sha256, nullptr);
  repo::ExtentReader extents(repository, lineage);
  repo::FileReader reader(extents, backup->block_bytes);
  for (const SampleFile& file : files) {
    std::optional<repo::ManifestEntry> entry = manifest.next();
    ASSERT_TRUE(entry.has_value()) << file.path;
    EXPECT_EQ(entry->path, file.path);
    EXPECT_EQ(entry->root, file.root);
    EXPECT_EQ(entry->type, file.type);
    EXPECT_EQ(entry->target, file.target);
    EXPECT_EQ(entry->size, file.content.size());
    if (file.type != repo::EntryType::kFile) continue;
    reader.open(entry->location, entry->size);
    Bytes content(entry->size);
    EXPECT_EQ(reader.read_range(0, content), content.size());
    EXPECT_TRUE(content == file.content) << file.path;
  }
  EXPECT_FALSE(manifest.next().has_value());
}

}  // namespace holdfast::test
