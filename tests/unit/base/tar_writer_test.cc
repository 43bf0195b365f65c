#include "base/tar_writer.h"

#include <fcntl.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"

namespace holdfast {
namespace {

// GNU tar is the judge.
class TarWriterTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return join_path(root_.path(), name); }
  std::string tar(std::vector<std::string> words) const {
    words.insert(words.begin(), "tar");
    const Captured ran =
        run({.arguments = std::move(words), .environment = {{"TZ", "UTC"}, {"LC_ALL", "C"}}});
    EXPECT_TRUE(ran.status.ok()) << ran.err;
    EXPECT_EQ(ran.err, "");
    return ran.out;
  }
  TemporaryDirectory root_;
};

TEST_F(TarWriterTest, IsUnpackedByGnuTarAsItWas) {
  const std::string deep = "a/" + std::string(90, 'b') + "/" + std::string(90, 'c');
  const std::string name(200, 'd');  // fits no ustar field
  const std::string exactly(100, 'e');
  const Bytes content(1000, std::byte{7});
  Bytes out;
  TarWriter writer([&](ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); });
  const Time time{std::chrono::seconds(1'700'000'000)};
  auto member = [&](std::string path, TarEntry::Type type, uint32_t mode) {
    return TarEntry{.path = std::move(path),
                    .type = type,
                    .mode = mode,
                    .user = "root",
                    .group = "root",
                    .modified = time};
  };
  for (const std::string& directory :
       {std::string("a"), "a/" + std::string(90, 'b'), std::string("empty")})
    writer.begin(member(directory, TarEntry::Type::kDirectory, 0750));
  const std::vector<std::string> files = {"short", deep, name, exactly, "a/" + name};
  for (const std::string& file : files)
    writer.add(member(file, TarEntry::Type::kFile, 0640), content);
  writer.add(member("nothing", TarEntry::Type::kFile, 0600), {});
  TarEntry link = member("link", TarEntry::Type::kSymlink, 0777);
  link.target = "/" + std::string(150, 't');
  writer.begin(link);
  TarEntry numbers = member("numbers", TarEntry::Type::kFile, 0600);
  numbers.uid = 4'000'000'000;
  numbers.user = "";
  writer.add(numbers, content);
  writer.finish();
  EXPECT_EQ(writer.bytes(), out.size());
  EXPECT_EQ(out.size() % 512, 0U);
  write_file_durably(path("made.tar"), out);

  make_directory(path("unpacked"));
  tar({"-xf", path("made.tar"), "--no-same-owner", "-p", "-C", path("unpacked")});
  for (const std::string& file : files) {
    EXPECT_TRUE(read_file(join_path(path("unpacked"), file)) == content) << file;
    const struct stat status = stat_if_exists(join_path(path("unpacked"), file)).value();
    EXPECT_EQ(status.st_mode & 07777, 0640U) << file;
    EXPECT_EQ(status.st_mtim.tv_sec, 1'700'000'000) << file;
  }
  EXPECT_EQ(stat_if_exists(path("unpacked/a"))->st_mode & 07777, 0750U);
  EXPECT_TRUE(is_empty_directory(path("unpacked/empty")));
  EXPECT_EQ(read_file(path("unpacked/nothing")).size(), 0U);
  EXPECT_EQ(read_link(path("unpacked/link")), link.target);
  const std::string listed = tar({"--numeric-owner", "-tvf", path("made.tar"), "numbers"});
  EXPECT_NE(listed.find("4000000000/0"), std::string::npos) << listed;
}

TEST_F(TarWriterTest, ASizeOfNineGibibytesIsTold) {
  // Only the header is written; tar lists it before it misses the content.
  Bytes out;
  TarWriter writer([&](ByteView bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); });
  writer.begin({.path = "large", .bytes = uint64_t{9} << 30});
  write_file_durably(path("large.tar"), out);
  const Captured ran = run({.arguments = {"tar", "-tvf", path("large.tar")}});
  EXPECT_NE(ran.out.find("9663676416"), std::string::npos) << ran.out << ran.err;
}

}  // namespace
}  // namespace holdfast
