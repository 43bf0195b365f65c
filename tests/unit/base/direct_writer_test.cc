#include "base/direct_writer.h"

#include <cerrno>
#include <fcntl.h>
#include <random>

#include <gtest/gtest.h>

namespace holdfast {
namespace {

constexpr size_t kWhole = DirectWriter::kBufferBytes;

Bytes some_bytes(size_t count, uint32_t seed) {
  Bytes bytes(count);
  std::minstd_rand random(seed);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

class DirectWriterTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return join_path(directory_.path(), name); }
  TemporaryDirectory directory_;
};

TEST_F(DirectWriterTest, WritesAStreamInPiecesOfEverySize) {
  for (const size_t size :
       {size_t{0}, size_t{1}, kWhole - 1, kWhole, kWhole + 1, 3 * kWhole + 777}) {
    const std::string file = path(std::to_string(size));
    const Fd fd = open_file(file, O_WRONLY | O_CREAT | O_EXCL);
    const Bytes bytes = some_bytes(size, 1);
    DirectWriter writer;
    writer.begin(fd, file);
    for (size_t at = 0, piece = 1; at < size; at += piece, piece = piece * 3 + 1) {
      piece = std::min(piece, size - at);
      ASSERT_EQ(writer.write(at, ByteView(bytes).subspan(at, piece)), 0);
    }
    ASSERT_EQ(writer.flush(), 0);
    EXPECT_EQ(read_file(file), bytes) << size;
  }
}

TEST_F(DirectWriterTest, LeavesWhatLiesBetweenItsRunsAlone) {
  const std::string file = path("runs");
  const Fd fd = open_file(file, O_WRONLY | O_CREAT | O_EXCL);
  Bytes expected = some_bytes(8 * kWhole, 2);
  pwrite_all(fd, expected, 0, file);
  DirectWriter writer;
  writer.begin(fd, file);
  // Whole and aligned; begun within a block; short; behind one another without touching.
  for (const auto& [offset, size] :
       std::vector<std::pair<size_t, size_t>>{{0, kWhole},
                                              {kWhole + 100, 2 * kWhole},
                                              {4 * kWhole, 5000},
                                              {5 * kWhole, 2 * kWhole + 1}}) {
    const Bytes bytes = some_bytes(size, static_cast<uint32_t>(3 + offset));
    std::ranges::copy(bytes, expected.begin() + static_cast<ptrdiff_t>(offset));
    ASSERT_EQ(writer.write(offset, bytes), 0);
  }
  ASSERT_EQ(writer.flush(), 0);
  EXPECT_EQ(read_file(file), expected);
}

TEST_F(DirectWriterTest, GoesOnTheUsualWayWhereTheFileCannotBeOpenedAgain) {
  const std::string file = path("gone");
  const Fd fd = open_file(file, O_RDWR | O_CREAT | O_EXCL);
  remove_file(file);
  const Bytes bytes = some_bytes(2 * kWhole, 4);
  DirectWriter writer;
  writer.begin(fd, file);
  ASSERT_EQ(writer.write(0, bytes), 0);
  ASSERT_EQ(writer.flush(), 0);
  Bytes there(bytes.size());
  EXPECT_EQ(pread_some(fd, there, 0, file), bytes.size());
  EXPECT_EQ(there, bytes);
}

TEST_F(DirectWriterTest, SaysWhyItCouldNotWrite) {
  const std::string file = path("full");
  const Fd fd = open_file("/dev/full", O_WRONLY);
  DirectWriter writer;
  writer.begin(fd, file);
  EXPECT_EQ(writer.write(0, some_bytes(10, 5)), 0);
  EXPECT_EQ(writer.flush(), ENOSPC);
}

}  // namespace
}  // namespace holdfast
