// With a key no object of the repository says anything about what is in the cluster; the same
// search finds it all where there is no key.
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/time.h"
#include "pg/version.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

constexpr const char* kTable = "unpublished_accounts";
constexpr const char* kRow = "the merger is announced on the fourth of May";
constexpr const char* kLabel = "before the merger";
constexpr const char* kRestorePoint = "merger signed";

std::string little_endian(uint64_t number, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i, number >>= 8) text += static_cast<char>(number & 0xFF);
  return text;
}

// What is looked for, by what it is called.
std::map<std::string, std::string> secrets_of(RecoveryScene& scene) {
  const std::string identifier =
      scene.server().value("SELECT system_identifier FROM pg_control_system()");
  return {
      {"name of a table", kTable},
      {"text of a row", kRow},
      // Without their beginnings, which a list of sorted paths need not repeat.
      {"name of a file", "filenode.map"},
      {"name of a configuration file", "auto.conf"},
      {"backup_label", "START WAL LOCATION: "},
      {"label of a backup", kLabel},
      {"name of a restore point", kRestorePoint},
      {"path of the data directory", scene.server().data_directory()},
      {"system identifier in text", identifier},
      // XLogLongPageHeaderData: magic, then, 24 bytes in, the system identifier.
      {"system identifier in bytes", little_endian(std::stoull(identifier), 8)},
      {"header of a WAL segment",
       little_endian(pg::version_of(scene.server().major()).wal_magic, 2) +
           little_endian(0x0002, 2) + little_endian(1, 4)},
  };
}

// How many of the repository's objects hold each, in their bytes or in their names.
std::map<std::string, int> search(RecoveryScene& scene) {
  std::map<std::string, int> found;
  const std::map<std::string, std::string> secrets = secrets_of(scene);
  for (const auto& [what, secret] : secrets) found[what] = 0;
  int objects = 0;
  for (const std::string& line : contents(scene.repository())) {
    const std::string name = line.substr(0, line.rfind(' '));
    const Bytes bytes = read_file(join_path(scene.repository(), name), size_t{1} << 30);
    ++objects;
    for (const auto& [what, secret] : secrets)
      if (as_text(bytes).find(secret) != std::string_view::npos ||
          name.find(secret) != std::string::npos)
        ++found[what];
  }
  EXPECT_GT(objects, 8) << "there is nothing to search";
  return found;
}

void fill(RecoveryScene& scene) {
  scene.server().sql(fmt::format("CREATE TABLE {} AS SELECT '{}'::text AS line", kTable, kRow));
  scene.server().sql(fmt::format("SELECT pg_create_restore_point('{}')", kRestorePoint));
  scene.must({"backup", "--label", kLabel});
  scene.server().sql(fmt::format("INSERT INTO {} VALUES ('{}')", kTable, kRow));
  scene.archive_current_segment();
}

TEST(ClearText, IsNowhereInASealedRepository) {
  for (const Sealing sealing : {Sealing::kKeyFile, Sealing::kPassphrase}) {
    // Compression would hide it too.
    RecoveryScene scene({.sealing = sealing, .compression = "none", .wal_segment_mib = 1});
    fill(scene);
    for (const auto& [what, count] : search(scene)) EXPECT_EQ(count, 0) << what;
    // Neither is what opens it.
    std::string key = read_text_file(scene.key_file());
    key.resize(key.find('\n'));
    for (const std::string& line : contents(scene.repository())) {
      const Bytes bytes = read_file(join_path(scene.repository(), line.substr(0, line.rfind(' '))),
                                    size_t{1} << 30);
      EXPECT_EQ(as_text(bytes).find(key), std::string_view::npos) << line;
    }
  }
}

TEST(ClearText, IsFoundByTheSameSearchWithoutAKey) {
  RecoveryScene scene({.compression = "none", .wal_segment_mib = 1});
  fill(scene);
  for (const auto& [what, count] : search(scene)) EXPECT_GT(count, 0) << what;
}

}  // namespace
}  // namespace holdfast::test
