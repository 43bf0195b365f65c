#include "restore/aside.h"

#include <gtest/gtest.h>

#include "base/file.h"
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
  EXPECT_NE(error.hint().find("mv " + aside + " " + data), std::string::npos) << error.hint();
  EXPECT_NE(error.hint().find("holdfast wal salvage " + aside), std::string::npos) << error.hint();
  EXPECT_EQ(error.hint().find("-side"), std::string::npos) << "that is not there";
  rename_path(aside, data);
  require_nothing_aside(data);
  rename_path(data, aside);
  remove_aside_note(data);
  require_nothing_aside(data);
}

}  // namespace
}  // namespace holdfast::restore
