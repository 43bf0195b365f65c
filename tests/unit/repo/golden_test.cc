// Repositories that released programs wrote stay readable. See tests/golden/README.md.
#include "support/golden.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "codec/digest.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::expect_backup_holds;
using test::golden;
using test::sample_files;

// Puts every file below `directory` into the store under its path from there.
void load(store::MemoryStore& store, const std::string& directory, const std::string& prefix = "") {
  for (const DirectoryEntry& entry : list_directory(directory)) {
    const std::string path = join_path(directory, entry.name);
    if (is_directory(path))
      load(store, path, prefix + entry.name + "/");
    else
      store.create(prefix + entry.name, read_file(path));
  }
}

void expect_golden_backup(store::MemoryStore& store, const KeySource& key) {
  Repository repository = Repository::open(store, key);
  const LineageName lineage{.cluster = "main", .major = 15, .count = 1};
  EXPECT_EQ(repository.lineages("main").at(0).system_identifier, 7301234567890123456u);
  const Backup backup = resolve_backup(repository, lineage, "latest");
  EXPECT_EQ(backup.id, "20261122T082239Z-1f2e3d");
  EXPECT_EQ(backup.label, "nightly of the accounts database");
  EXPECT_EQ(backup.tablespaces.at(0).path, "/srv/fast");
  expect_backup_holds(repository, lineage, backup.id, sample_files(1));

  ManifestReader manifest(repository, lineage, backup.id, backup.manifest_sha256, nullptr);
  const std::optional<ManifestEntry> entry = manifest.find(ManifestRoot::kData, "base/5/2619");
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(read_pack_footer(repository, lineage, entry->location.ref.pack).at(0).kind,
            ContentKind::kBlocks);
  EXPECT_EQ(manifest.damaged().size(), 1u);
}

TEST(GoldenRepository, Version1UnsealedIsRead) {
  store::MemoryStore store;
  load(store, join_path(HOLDFAST_TESTS_DIR, "golden/repo-v1-plain"));
  expect_golden_backup(store, {});
}

TEST(GoldenRepository, Version1SealedIsReadByKeyFileAndPassphrase) {
  store::MemoryStore store;
  load(store, join_path(HOLDFAST_TESTS_DIR, "golden/repo-v1-sealed"));
  expect_golden_backup(store,
                       {.key_file = codec::SecretKey::from_bytes(Bytes(32, std::byte{0x4B}))});
  expect_golden_backup(store, {.passphrase = "correct horse battery staple"});
}

}  // namespace
}  // namespace holdfast::repo
