#include <gtest/gtest.h>

#include "codec/digest.h"
#include "repo/format.h"
#include "support/error_of.h"
#include "support/test_repository.h"

namespace holdfast::repo {
namespace {

using test::error_of;
using test::object_bytes;
using test::Sealing;
using test::TestRepository;

const std::string kName = "clusters/main/15-1/refs/x";

class Object : public testing::TestWithParam<Sealing> {
 protected:
  // Section 1, two of type 2 (compressed), an optional one of type 7.
  ObjectWriter::Committed write(const std::string& name = kName) {
    ObjectWriter writer(target.store, keyring(), kRefsKind, name, target.random);
    codec::Compressor compressor({});
    writer.section(1, ByteWriter().text(name).u32(4711).view());
    writer.compressed_section(2, Bytes(1000, std::byte{'a'}), compressor);
    writer.compressed_section(2, as_bytes("b"), compressor);
    writer.section(7, as_bytes("later"), false);
    return writer.commit();
  }
  std::vector<ObjectReader::Section> read(const std::string& name = kName,
                                          const std::string& self = kName) {
    std::optional<ObjectReader> reader =
        ObjectReader::open(target.store, keyring(), kRefsKind, name, self);
    EXPECT_TRUE(reader.has_value());
    std::vector<ObjectReader::Section> sections;
    while (std::optional<ObjectReader::Section> section = reader->next()) {
      if (section->type == 2) section->plain = reader->expand(*section);
      sections.push_back(std::move(*section));
    }
    EXPECT_FALSE(reader->next().has_value()) << "after the end it stays at the end";
    return sections;
  }
  const Keyring& keyring() { return target.repository.keyring(); }
  TestRepository target{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Sealing, Object, testing::Values(Sealing::kNone, Sealing::kKeyFile),
                         [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(Object, ReadsBackItsSections) {
  write();
  const std::vector<ObjectReader::Section> sections = read();
  ASSERT_EQ(sections.size(), 4u);
  ByteReader in = after_self(sections[0].plain, "section");
  EXPECT_EQ(in.u32(), 4711u);
  EXPECT_EQ(sections[1].plain, Bytes(1000, std::byte{'a'}));
  EXPECT_EQ(sections[2].plain, to_bytes("b"));
  EXPECT_EQ(sections[3].type, 7);
  EXPECT_FALSE(sections[3].critical);
  EXPECT_EQ(sections[3].plain, to_bytes("later"));
}

TEST_P(Object, TellsTheLengthAndDigestOfWhatItPut) {
  const ObjectWriter::Committed committed = write();
  const Bytes bytes = object_bytes(target.store, kName);
  EXPECT_EQ(committed.bytes, bytes.size());
  EXPECT_EQ(committed.sha256, codec::sha256(bytes));
  EXPECT_EQ(decode_header(bytes, kRefsKind, keyring(), kName).object_id, committed.object_id);
}

TEST_P(Object, IsReadTheSameFromMemory) {
  write();
  const Bytes bytes = object_bytes(target.store, kName);
  ObjectReader reader = ObjectReader::open_bytes(bytes, keyring(), kRefsKind, kName, kName);
  size_t count = 0;
  while (reader.next()) ++count;
  EXPECT_EQ(count, 4u);
}

TEST_P(Object, StreamsSectionsLargerThanItsReadAhead) {
  ObjectWriter writer(target.store, keyring(), kRefsKind, kName, target.random);
  writer.section(1, ByteWriter().text(kName).view());
  const std::vector<size_t> sizes = {3, 65536 - 200, 65536, 1'000'000, 7, kMaxUnitBytes, 0, 65535};
  for (size_t size : sizes) writer.section(2, Bytes(size, static_cast<std::byte>(size)));
  writer.commit();
  std::optional<ObjectReader> reader =
      ObjectReader::open(target.store, keyring(), kRefsKind, kName, kName);
  ASSERT_TRUE(reader && reader->next());
  for (size_t size : sizes) {
    std::optional<ObjectReader::Section> section = reader->next();
    ASSERT_TRUE(section.has_value());
    EXPECT_TRUE(section->plain == Bytes(size, static_cast<std::byte>(size))) << size;
  }
  EXPECT_FALSE(reader->next().has_value());
}

TEST_P(Object, RefusesEveryChangedBit) {
  write();
  const Bytes bytes = object_bytes(target.store, kName);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    auto flip = [&](Bytes& all) { all[bit / 8] ^= static_cast<std::byte>(1u << bit % 8); };
    target.store.edit(kName, flip);
    ASSERT_THROW(read(), Error) << "byte " << bit / 8;
    target.store.edit(kName, flip);
  }
  EXPECT_NO_THROW(read());
}

TEST_P(Object, RefusesEveryOtherLength) {
  write();
  const Bytes bytes = object_bytes(target.store, kName);
  for (size_t length = 0; length < bytes.size(); ++length) {
    target.store.edit(kName, [&](Bytes& all) {
      all.assign(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length));
    });
    Error error = error_of([&] { read(); });
    ASSERT_EQ(error.code(), ErrorCode::kCorrupt) << length;
  }
  target.store.edit(kName, [&](Bytes& all) {
    all = bytes;
    all.push_back(std::byte{0});
  });
  EXPECT_EQ(error_of([&] { read(); }).detail(), "Bytes follow its end.");
}

TEST_P(Object, RefusesAnotherName) {
  write();
  const Bytes bytes = object_bytes(target.store, kName);
  target.store.create("clusters/main/15-1/refs/other", bytes);
  Error error =
      error_of([&] { read("clusters/main/15-1/refs/other", "clusters/main/15-1/refs/other"); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "damaged object \"clusters/main/15-1/refs/other\"");
  EXPECT_EQ(error.detail(), "It was written under the name \"" + kName + "\".");
  EXPECT_NO_THROW(read("clusters/main/15-1/refs/other", kName))
      << "a copy that is asked for as one";
}

TEST_P(Object, RefusesSectionsInAnotherOrder) {
  write();
  // The second and third sections change places: 8 bytes of header, the length, 16 of check.
  target.store.edit(kName, [](Bytes& all) {
    auto section_end = [&](size_t at) {
      return at + 8 + load_le<uint32_t>(all.data() + at + 4) + 16;
    };
    const size_t second = section_end(kHeaderBytes);
    const size_t third = section_end(second);
    std::rotate(all.begin() + static_cast<ptrdiff_t>(second),
                all.begin() + static_cast<ptrdiff_t>(third),
                all.begin() + static_cast<ptrdiff_t>(section_end(third)));
  });
  EXPECT_EQ(error_of([&] { read(); }).code(), ErrorCode::kCorrupt);
}

TEST_P(Object, DoesNotAllocateForALengthItHasNotChecked) {
  write();
  target.store.edit(
      kName, [](Bytes& all) { store_le(all.data() + kHeaderBytes + 4, uint32_t{0xFFFFFFFF}); });
  Error error = error_of([&] { read(); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_NE(error.detail().find("claims to have 4294967295 bytes"), std::string::npos)
      << error.detail();
}

TEST_P(Object, ExpandsToNoMoreThanTheLimit) {
  write();
  std::optional<ObjectReader> reader =
      ObjectReader::open(target.store, keyring(), kRefsKind, kName, kName);
  reader->next();
  std::optional<ObjectReader::Section> section = reader->next();
  EXPECT_EQ(reader->expand(*section, 1000).size(), 1000u);
  EXPECT_EQ(error_of([&] { reader->expand(*section, 999); }).code(), ErrorCode::kCorrupt);
  section->plain.resize(3);
  EXPECT_EQ(error_of([&] { reader->expand(*section); }).code(), ErrorCode::kCorrupt);
}

TEST_P(Object, AnUnknownSectionIsSkippedUnlessItIsCritical) {
  write();
  std::optional<ObjectReader> reader =
      ObjectReader::open(target.store, keyring(), kRefsKind, kName, kName);
  while (std::optional<ObjectReader::Section> section = reader->next()) {
    if (section->critical)
      EXPECT_EQ(error_of([&] { reader->skip_unknown(*section); }).code(), ErrorCode::kUnsupported);
    else
      EXPECT_NO_THROW(reader->skip_unknown(*section));
  }
}

TEST_P(Object, ThatIsAbsentIsAnAnswer) {
  EXPECT_FALSE(ObjectReader::open(target.store, keyring(), kRefsKind, "none", "none").has_value());
}

TEST_P(Object, IsThereOnlyAfterItsCommitAndNeverReplaced) {
  {
    ObjectWriter writer(target.store, keyring(), kRefsKind, kName, target.random);
    writer.section(1, ByteWriter().text(kName).view());
  }
  EXPECT_FALSE(target.store.info(kName).has_value());
  write();
  EXPECT_EQ(error_of([&] { write(); }).code(), ErrorCode::kAlreadyExists);
}

TEST(ObjectSealing, MustBeThatOfTheRepository) {
  TestRepository sealed(Sealing::kKeyFile);
  TestRepository plain(Sealing::kNone);
  Keyring planter = plain.repository.keyring();
  planter.repository_id = sealed.repository.id();
  {
    ObjectWriter writer(sealed.store, planter, kRefsKind, kName, plain.random);
    writer.section(1, ByteWriter().text(kName).view());
    writer.commit();
  }
  Error error = error_of([&] {
    ObjectReader::open(sealed.store, sealed.repository.keyring(), kRefsKind, kName, kName);
  });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.detail(), "It is not sealed, and its repository is.");
}

using ObjectDeathTest = testing::Test;
TEST(ObjectDeathTest, SectionsAscendAndTheFirstStandsAlone) {
  TestRepository target;
  auto writer = [&] {
    return std::make_unique<ObjectWriter>(target.store, target.repository.keyring(), kRefsKind,
                                          kName, target.random);
  };
  EXPECT_DEATH(writer()->section(2, {}), "kFirstType");
  EXPECT_DEATH(
      {
        auto w = writer();
        w->section(1, {});
        w->section(1, {});
      },
      "last_type");
  EXPECT_DEATH(
      {
        auto w = writer();
        w->section(1, {});
        w->section(3, {});
        w->section(2, {});
      },
      "last_type");
  EXPECT_DEATH(
      {
        auto w = writer();
        w->section(1, {});
        w->section(2, {});
        w->section(2, {}, false);
      },
      "last_type");
}

}  // namespace
}  // namespace holdfast::repo
