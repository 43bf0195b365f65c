#include "backup/path_sorter.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "repo/manifest.h"

namespace holdfast::backup {
namespace {

TEST(PathSorter, GivesEverythingInTheOrderOfAManifestHoweverLittleMemoryItHas) {
  const TemporaryDirectory directory;
  std::vector<std::string> paths = {"a", "a/b", "a-b", "a/b/c", "b"};
  for (int i = 0; i < 3000; ++i) paths.push_back(fmt::format("base/{}/{}", i % 7, i * 7919 % 3000));
  std::vector<std::string> wanted = paths;
  std::ranges::sort(wanted, [](const std::string& a, const std::string& b) {
    return repo::compare_paths(a, b) < 0;
  });
  std::mt19937 engine(7);
  std::ranges::shuffle(paths, engine);
  for (const size_t memory : {size_t{1}, size_t{10'000}, PathSorter::kUsualMemory}) {
    if (memory == 1) paths.resize(200);  // a run for each record
    PathSorter sorter(directory.path(), memory);
    for (const std::string& path : paths) sorter.add(path, to_bytes("of " + path));
    std::vector<std::string> found;
    while (std::optional<PathSorter::Record> record = sorter.next()) {
      EXPECT_EQ(as_text(record->payload), "of " + record->path);
      found.push_back(record->path);
    }
    if (memory == 1) {
      EXPECT_TRUE(std::ranges::is_sorted(found, [](const std::string& a, const std::string& b) {
        return repo::compare_paths(a, b) < 0;
      }));
      EXPECT_EQ(found.size(), 200U);
      paths = wanted;
      std::ranges::shuffle(paths, engine);
    } else {
      EXPECT_EQ(found, wanted);
    }
    // What was written has no name.
    EXPECT_TRUE(is_empty_directory(directory.path()));
  }
}

TEST(PathSorter, KeepsTheOrderOfThoseWithOnePath) {
  const TemporaryDirectory directory;
  for (const size_t memory : {size_t{300}, PathSorter::kUsualMemory}) {
    PathSorter sorter(directory.path(), memory);
    for (uint8_t i = 0; i < 50; ++i) sorter.add("same", ByteWriter().u8(i).view());
    for (uint8_t i = 0; i < 50; ++i) EXPECT_EQ(sorter.next().value().payload.at(0), std::byte{i});
    EXPECT_FALSE(sorter.next().has_value());
  }
}

TEST(PathSorter, TakesRecordsLargerThanItsBuffers) {
  const TemporaryDirectory directory;
  PathSorter sorter(directory.path(), 1);
  sorter.add("b", Bytes(300'000, std::byte{2}));
  sorter.add("a", Bytes(200'000, std::byte{1}));
  EXPECT_EQ(sorter.next().value().payload, Bytes(200'000, std::byte{1}));
  EXPECT_EQ(sorter.next().value().payload, Bytes(300'000, std::byte{2}));
}

}  // namespace
}  // namespace holdfast::backup
