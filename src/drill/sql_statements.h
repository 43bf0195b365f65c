// sql_statements.h: a file of SQL cut into its statements, as psql cuts it.
//
//   ; ends a statement, but not within '…', "…", $tag$…$tag$, comments and parentheses
//   \connect NAME or \c NAME, alone on a line between statements: those behind it are run in that
//   database
//
// Facts: psqlscan.l, PostgreSQL 15.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace holdfast::drill {

struct SqlStatement {
  std::string text;      // without the semicolon and the blanks and comments around it
  std::string database;  // of \connect; empty before the first
  size_t line = 0;       // where it begins, counted from 1
};

// Throws kInvalidText for a quote or comment that does not end, and for another backslash command,
// naming the line.
std::vector<SqlStatement> split_sql(std::string_view text);

}  // namespace holdfast::drill
