#include "restore/outside.h"

#include <functional>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "restore/prepare.h"
#include "support/error_of.h"

namespace holdfast::restore {
namespace {

class TablespaceDirectory : public testing::Test {
 protected:
  TablespaceDirectory() {
    backup_.major = 15;
    backup_.catalog_version = 202209061;
    make_directory(data());
    make_directory(place());
    make_directory(version());
    marker_ = {.directory = identity_of_directory(data()),
               .token = "9f3c0000000000000000000000000000",
               .places = {place()}};
    write_marker(data(), marker_, std::nullopt);
  }
  std::string data() const { return join_path(directory_.path(), "data"); }
  std::string place() const { return join_path(directory_.path(), "fast"); }
  std::string version() const { return version_directory(place(), backup_); }
  void put(const std::string& name) const {
    write_file_durably(join_path(version(), name), as_bytes("x\n"));
  }
  // That the restore which was interrupted takes it for its own.
  bool is_taken() const {
    return !holdfast::error_of([&] { own_places(data(), true, false, backup_); });
  }

  TemporaryDirectory directory_;
  repo::Backup backup_;
  Marker marker_;
};

TEST_F(TablespaceDirectory, OfAKilledRestoreIsItsOwnAtEachStepOfItsMarking) {
  EXPECT_TRUE(is_taken()) << "made";
  const std::string begun = fmt::format("{}.00c0ffee.tmp", kTokenName);
  put(begun);
  EXPECT_TRUE(is_taken()) << "its token begun";
  clear_marked(version(), marker_.token);
  EXPECT_FALSE(lstat_if_exists(version()));
  make_directory(version());
  put(begun);
  put_token(version(), marker_.token, std::nullopt);
  EXPECT_FALSE(lstat_if_exists(join_path(version(), begun)));
  EXPECT_TRUE(is_taken()) << "marked";
}

TEST_F(TablespaceDirectory, WithFilesAndOnlyABegunTokenIsNobodysToClear) {
  put(fmt::format("{}.00c0ffee.tmp", kTokenName));
  put("16384");
  EXPECT_FALSE(is_taken());
  EXPECT_TRUE(holdfast::error_of([&] { clear_marked(version(), marker_.token); }));
  EXPECT_TRUE(lstat_if_exists(join_path(version(), "16384")));
}

}  // namespace
}  // namespace holdfast::restore
