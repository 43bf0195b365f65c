#include "repo/refs.h"

#include <gtest/gtest.h>

#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;

Bytes16 pack(uint8_t number) {
  Bytes16 id;
  id.bytes[0] = std::byte{number};
  return id;
}

const std::vector<PackRefs> kBothForms = {
    {.pack = pack(1), .extents = 9, .runs = {}},
    {.pack = pack(2), .extents = 9, .every = false, .runs = {{0, 1}, {2, 3}, {8, 1}}},
    {.pack = pack(3), .extents = 9, .every = false, .runs = {}},
};

TEST(PackRefsText, ReadsBackBothForms) {
  EXPECT_EQ(decode_pack_refs(encode_pack_refs(kBothForms), "refs"), kBothForms);
}

TEST(PackRefsText, RefusesWhatIsNotOne) {
  const struct {
    const char* what;
    std::vector<PackRefs> packs;
  } cases[] = {
      {"disorder", {kBothForms[1], kBothForms[0]}},
      {"twice", {kBothForms[0], kBothForms[0]}},
      {"outside", {{.pack = pack(1), .extents = 3, .every = false, .runs = {{2, 2}}}}},
      {"touching", {{.pack = pack(1), .extents = 9, .every = false, .runs = {{0, 2}, {2, 1}}}}},
      {"nothing", {{.pack = pack(1), .extents = 9, .every = false, .runs = {{3, 0}}}}},
  };
  for (const auto& c : cases)
    EXPECT_EQ(error_of([&] { decode_pack_refs(encode_pack_refs(c.packs), "refs"); }).code(),
              ErrorCode::kCorrupt)
        << c.what;
  Bytes form = encode_pack_refs({kBothForms[0]});
  form.back() = std::byte{2};
  EXPECT_EQ(error_of([&] { decode_pack_refs(form, "refs"); }).code(), ErrorCode::kCorrupt);
  Bytes longer = encode_pack_refs(kBothForms);
  longer.push_back(std::byte{0});
  EXPECT_EQ(error_of([&] { decode_pack_refs(longer, "refs"); }).code(), ErrorCode::kCorrupt);
}

TEST(ReadRefs, ListsEveryPackOfABackup) {
  test::TestRepository target;
  const std::string id = "20261122T082239Z-1f2e3d";
  EXPECT_FALSE(read_refs(target.repository, target.lineage.name, id));
  const Backup made =
      test::make_backup(target.repository, target.lineage, id, test::sample_files(1), target.clock);
  const std::vector<PackRefs> refs = read_refs(target.repository, target.lineage.name, id).value();
  EXPECT_EQ(refs.size(), made.packs);
  for (const PackRefs& one : refs) {
    EXPECT_TRUE(one.every);
    EXPECT_TRUE(target.store.info(pack_name(target.lineage.name, one.pack)));
  }
}

}  // namespace
}  // namespace holdfast::repo
