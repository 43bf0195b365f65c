#include "view/table.h"

#include <gtest/gtest.h>

#include "view/view.h"

namespace holdfast::view {
namespace {

TEST(Table, AlignsColumnsAndFlushesNumbersRight) {
  EXPECT_EQ(table({"name", "bytes"}, {{"a", "7"}, {"longer", "1234567"}}),
            "name      bytes\n"
            "a             7\n"
            "longer  1234567\n");
}

TEST(Table, CountsCharactersNotBytesAndLeavesNoSpaceAtTheEnd) {
  EXPECT_EQ(table({"name", "x"}, {{"Bär", "ja"}, {"Bader", "n"}}),
            "name   x\n"
            "Bär    ja\n"
            "Bader  n\n");
}

TEST(Fields, PutsValuesUnderEachOther) {
  EXPECT_EQ(fields({{"a", "1"}, {"long", "2"}}), "a:     1\nlong:  2\n");
}

TEST(ErrorText, ReadsAsPostgresqlsProgramsDo) {
  const Error error({.code = ErrorCode::kCorrupt,
                     .message = "damaged object \"x\"",
                     .detail = "Line one.\nLine two.",
                     .hint = "Do this."});
  EXPECT_EQ(text(error),
            "ERROR:  damaged object \"x\"\nDETAIL:  Line one.\n    Line two.\nHINT:  Do this.\n");
  EXPECT_EQ(json(error).at("code").as_string(), "corrupt");
  EXPECT_EQ(json(error).at("exit_status").as_i64(), 3);
}

}  // namespace
}  // namespace holdfast::view
