#include "restore/aside.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/process.h"
#include "support/error_of.h"

namespace holdfast::restore {
namespace {

// The drill says so itself when it fails; one that was killed has only this.
TEST(AsideNote, NamesWhereTheClusterLiesUntilItIsPutBack) {
  const TemporaryDirectory place("holdfast-test");
  const std::string data = join_path(place.path(), "data"), aside = data + ".holdfast-aside-1";
  require_nothing_aside(data);
  write_aside_note(data, {{data, aside}, {join_path(place.path(), "side"), aside + "-side"}});
  require_nothing_aside(data);  // the drill was killed before it moved anything
  make_directory(aside);
  const Error error = test::error_of([&] { require_nothing_aside(data); });
  EXPECT_EQ(error.code(), ErrorCode::kConflict);
  EXPECT_NE(error.message().find(aside), std::string::npos) << error.message();
  EXPECT_NE(error.hint().find("mv -T " + aside + " " + data), std::string::npos) << error.hint();
  EXPECT_NE(error.hint().find("holdfast wal salvage " + aside), std::string::npos) << error.hint();
  EXPECT_EQ(error.hint().find("-side"), std::string::npos) << "that is not there";
  rename_path(aside, data);
  require_nothing_aside(data);
  rename_path(data, aside);
  remove_aside_note(data);
  require_nothing_aside(data);
}

// What it says can be typed before anything was moved, once, and once more.
TEST(AsideNote, ItsCommandsDeleteNothing) {
  const TemporaryDirectory place("holdfast-test");
  const std::string data = join_path(place.path(), "data"),
                    aside = fmt::format("{}{}20261201T031500Z", data, kAsideSuffix);
  const auto type = [&] {
    const std::string text = how_to_put_back(data, {{data, aside}});
    const size_t begin = text.find("test -d "), end = text.find("\nand start");
    return run({.arguments = {"sh", "-c", text.substr(begin, end - begin)}}).status.code;
  };
  const auto put = [&](const std::string& directory, std::string_view text) {
    make_directory(directory);
    write_file_durably(join_path(directory, "file"), as_bytes(text));
  };
  put(data, "the cluster");
  EXPECT_NE(type(), 0);
  EXPECT_EQ(read_text_file(join_path(data, "file")), "the cluster");
  rename_path(data, aside);
  put(data, "what was brought back");
  EXPECT_EQ(type(), 0);
  EXPECT_NE(type(), 0);
  EXPECT_EQ(read_text_file(join_path(data, "file")), "the cluster");
  EXPECT_EQ(read_text_file(data + ".holdfast-replaced-20261201T031500Z/file"),
            "what was brought back");
  // Nothing was brought back.
  rename_path(data, aside);
  EXPECT_EQ(type(), 0);
  EXPECT_EQ(read_text_file(join_path(data, "file")), "the cluster");
}

}  // namespace
}  // namespace holdfast::restore
