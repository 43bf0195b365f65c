#include "base/tar_reader.h"

#include <algorithm>
#include <map>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"
#include "support/error_of.h"

namespace holdfast {
namespace {

using test::error_of;

constexpr size_t kBlock = 512;

ReadBytes reader_of(const Bytes& bytes, size_t& at) {
  return [&bytes, &at](std::span<std::byte> into) {
    const size_t count = std::min(into.size(), bytes.size() - at);
    std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(at), count, into.begin());
    at += count;
    return count;
  };
}

struct Member {
  TarEntry entry;
  Bytes content;
};
std::vector<Member> read_all(const Bytes& tar) {
  size_t at = 0;
  TarReader reader(reader_of(tar, at), "test.tar");
  std::vector<Member> members;
  while (std::optional<TarEntry> entry = reader.next()) {
    Member member{.entry = *entry, .content = Bytes(entry->bytes)};
    // In pieces, and of every second one only a part.
    size_t got = 0;
    const size_t wanted = members.size() % 2 == 0 ? member.content.size() : entry->bytes / 2;
    while (got < wanted)
      got +=
          reader.read(std::span(member.content).subspan(got, std::min<size_t>(300, wanted - got)));
    member.content.resize(got);
    members.push_back(std::move(member));
  }
  EXPECT_FALSE(reader.next().has_value());
  return members;
}

// A header as ustar has it, sealed.
Bytes header(const std::string& name, char type = '0', uint64_t bytes = 0,
             const std::string& magic = std::string("ustar\00000", 8)) {
  Bytes block(kBlock);
  const auto put = [&](size_t offset, std::string_view text) {
    std::ranges::copy(as_bytes(text), block.begin() + static_cast<ptrdiff_t>(offset));
  };
  put(0, name);
  put(100, "0000600");
  put(108, "0000151");
  put(116, "0000155");
  put(124, fmt::format("{:011o}", bytes));
  put(136, "14524376000");
  block[156] = static_cast<std::byte>(type);
  put(257, magic);
  put(148, "        ");
  uint32_t sum = 0;
  for (const std::byte byte : block) sum += static_cast<uint32_t>(byte);
  put(148, fmt::format("{:06o}", sum));
  block[154] = std::byte{0};
  return block;
}
void reseal(Bytes& block) {
  std::fill_n(block.begin() + 148, 8, std::byte{' '});
  uint32_t sum = 0;
  for (const std::byte byte : block) sum += static_cast<uint32_t>(byte);
  std::ranges::copy(as_bytes(fmt::format("{:06o}", sum)), block.begin() + 148);
  block[154] = std::byte{0};
}
Bytes joined(const std::vector<Bytes>& parts, size_t end_blocks = 2) {
  Bytes all;
  for (const Bytes& part : parts) {
    all.insert(all.end(), part.begin(), part.end());
    all.resize((all.size() + kBlock - 1) / kBlock * kBlock);
  }
  all.resize(all.size() + end_blocks * kBlock);
  return all;
}

TEST(TarReader, ReadsWhatGnuTarWritesInEveryFormat) {
  const TemporaryDirectory root;
  const auto path = [&](const std::string& name) { return join_path(root.path(), name); };
  const std::string deep = "a/" + std::string(90, 'b') + "/" + std::string(90, 'c');
  make_directories(path("data/" + parent_path(deep)));
  const std::map<std::string, size_t> sizes = {
      {"empty", 0}, {"block", 512}, {"odd", 1025}, {deep, 3}};
  for (const auto& [name, size] : sizes)
    write_file_durably(path("data/" + name), Bytes(size, std::byte{7}));
  ASSERT_EQ(symlink("/some/where", path("data/link").c_str()), 0);

  for (const std::string format : {"ustar", "gnu", "oldgnu", "pax", "v7"}) {
    const bool is_long = format != "v7";
    const std::string long_name(200, 'n');
    const bool takes_long = format == "gnu" || format == "oldgnu" || format == "pax";
    if (takes_long) {
      write_file_durably(path("data/" + long_name), Bytes(700, std::byte{1}));
      ASSERT_EQ(symlink(("/" + std::string(150, 't')).c_str(), path("data/far").c_str()), 0);
    }
    std::vector<std::string> words = {"tar", "--format=" + format, "-cf", path("t.tar"),
                                      "-C",  path("data"),         "."};
    if (!is_long) words.insert(words.begin() + 1, "--exclude=*ccc*");
    run_checked({.arguments = words});
    std::map<std::string, Member> found;
    for (Member& member : read_all(read_file(path("t.tar"))))
      found[member.entry.path] = std::move(member);
    EXPECT_EQ(found[""].entry.type, TarEntry::Type::kDirectory) << format;
    for (const auto& [name, size] : sizes) {
      if (name == deep && !is_long) continue;
      ASSERT_TRUE(found.contains(name)) << format << " " << name;
      EXPECT_EQ(found[name].entry.bytes, size) << format;
      EXPECT_EQ(found[name].entry.mode, 0600u) << format;
      EXPECT_TRUE(std::ranges::all_of(found[name].content,
                                      [](std::byte byte) { return byte == std::byte{7}; }));
    }
    EXPECT_EQ(found["link"].entry.type, TarEntry::Type::kSymlink) << format;
    EXPECT_EQ(found["link"].entry.target, "/some/where") << format;
    EXPECT_EQ(found["a"].entry.type, TarEntry::Type::kDirectory) << format;
    if (takes_long) {
      EXPECT_EQ(found[long_name].entry.bytes, 700u) << format;
      EXPECT_EQ(found["far"].entry.target, "/" + std::string(150, 't')) << format;
      remove_file(path("data/" + long_name));
      remove_file(path("data/far"));
    }
  }
}

TEST(TarReader, ReadsASizeInBase256AndPaxFieldsOverTheHeaders) {
  Bytes large = header("large");
  std::fill_n(large.begin() + 124, 12, std::byte{0});
  large[124] = std::byte{0x80};
  large[131] = std::byte{0x02};  // 2 * 256^4
  reseal(large);
  size_t at = 0;
  const Bytes cut = joined({large}, 0);
  TarReader reader(reader_of(cut, at), "test.tar");
  EXPECT_EQ(reader.next().value().bytes, uint64_t{2} << 32);

  const std::string pax = "17 path=new/name\n16 mtime=12.25000\n10 size=3\n13 uname=maja\n";
  // The first record's length is wrong on purpose below; these are right.
  const std::string right = "18 path=new/name/\n";
  const std::string text =
      fmt::format("{}{}{}{}", right, "15 mtime=12.25\n", "10 size=3\n", "14 uname=maja\n");
  const std::vector<Member> members = read_all(joined(
      {header("PaxHeaders", 'x', text.size()), to_bytes(text), header("old"), to_bytes("abc")}));
  ASSERT_EQ(members.size(), 1U);
  EXPECT_EQ(members[0].entry.path, "new/name");
  EXPECT_EQ(members[0].entry.user, "maja");
  EXPECT_EQ(members[0].content, to_bytes("abc"));
  EXPECT_EQ(members[0].entry.modified, Time(std::chrono::milliseconds(12250)));
  EXPECT_EQ(error_of([&] {
              read_all(joined({header("x", 'x', pax.size()), to_bytes(pax), header("old")}));
            }).code(),
            ErrorCode::kCorrupt);
}

TEST(TarReader, RefusesWhatIsCutOrChangedWhereverItIs) {
  const Bytes whole = joined({header("one", '0', 700), Bytes(700, std::byte{1}),
                              header("dir/", '5'), header("two", '0', 3), to_bytes("abc")});
  ASSERT_EQ(read_all(whole).size(), 3U);
  for (size_t cut = 0; cut < whole.size(); cut += 100) {
    const Error error = error_of(
        [&] { read_all(Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(cut))); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << cut;
    EXPECT_EQ(error.message(), "\"test.tar\" is not a whole tar archive") << cut;
    EXPECT_FALSE(error.detail().empty());
    EXPECT_FALSE(error.hint().empty());
  }
  // Any byte of a header.
  for (size_t at = 0; at < kBlock; ++at) {
    if (at >= 148 && at < 156) continue;  // a blank more or less in the sum changes nothing
    Bytes changed = whole;
    changed[at] ^= std::byte{0x10};
    EXPECT_EQ(error_of([&] { read_all(changed); }).code(), ErrorCode::kCorrupt) << at;
  }
  Bytes behind = whole;
  behind.resize(behind.size() + 10240);
  EXPECT_EQ(read_all(behind).size(), 3U);  // padding of zeros
  behind.back() = std::byte{1};
  EXPECT_EQ(error_of([&] { read_all(behind); }).code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error_of([&] { read_all(joined({header("one")}, 1)); }).code(), ErrorCode::kCorrupt);
}

TEST(TarReader, RefusesNamesThatWouldLieOutside) {
  for (const std::string name :
       {"/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "..", "./.."}) {
    const Error error = error_of([&] { read_all(joined({header(name)})); });
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << name;
    EXPECT_EQ(error.message(), "\"test.tar\" has a member that would lie outside") << name;
  }
  for (const auto& [name, path] : {std::pair{"./a/b", "a/b"}, std::pair{"a/b/", "a/b"},
                                   std::pair{"././/a", "a"}, std::pair{"..a", "..a"}})
    EXPECT_EQ(read_all(joined({header(name)})).at(0).entry.path, path);
}

TEST(TarReader, TellsLinksAndSpecialFilesAndRefusesWhatItDoesNotKnow) {
  const struct {
    char type;
    TarEntry::Type told;
  } cases[] = {{'1', TarEntry::Type::kHardLink},
               {'2', TarEntry::Type::kSymlink},
               {'3', TarEntry::Type::kSpecial},
               {'6', TarEntry::Type::kSpecial},
               {'7', TarEntry::Type::kFile}};
  for (const auto& c : cases)
    EXPECT_EQ(read_all(joined({header("x", c.type)})).at(0).entry.type, c.told);
  for (const char type : {'S', 'D', 'M', 'Q'})
    EXPECT_EQ(error_of([&] { read_all(joined({header("x", type)})); }).code(),
              ErrorCode::kUnsupported);
  const std::string sparse = "22 GNU.sparse.major=1\n";
  EXPECT_EQ(error_of([&] {
              read_all(joined({header("x", 'x', sparse.size()), to_bytes(sparse), header("y")}));
            }).code(),
            ErrorCode::kUnsupported);
  // A name of a megabyte and more is no name.
  EXPECT_EQ(error_of([&] { read_all(joined({header("x", 'L', 2 << 20)})); }).code(),
            ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace holdfast
