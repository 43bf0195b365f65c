#include "drill/sql_statements.h"

#include <gtest/gtest.h>

#include "support/error_of.h"

namespace holdfast::drill {
namespace {

std::vector<std::string> texts(std::string_view file) {
  std::vector<std::string> found;
  for (const SqlStatement& statement : split_sql(file)) found.push_back(statement.text);
  return found;
}
using Texts = std::vector<std::string>;

TEST(SplitSql, CutsAtSemicolonsThatAreNotWithinSomething) {
  const struct {
    const char* file;
    Texts statements;
  } cases[] = {
      {"", {}},
      {" ;; \n; ", {}},
      {"-- only a comment", {}},
      {"SELECT 1", {"SELECT 1"}},
      {"SELECT 1;SELECT 2 ; ", {"SELECT 1", "SELECT 2"}},
      {"SELECT ';' ; SELECT 'it''s;'", {"SELECT ';'", "SELECT 'it''s;'"}},
      {"SELECT E'\\';'; SELECT 2", {"SELECT E'\\';'", "SELECT 2"}},
      {"SELECT '\\'; SELECT 2", {"SELECT '\\'", "SELECT 2"}},
      {"SELECT some'\\'; SELECT 2", {"SELECT some'\\'", "SELECT 2"}},
      {"SELECT \";\" FROM \"a\"\";b\"; SELECT 2", {"SELECT \";\" FROM \"a\"\";b\"", "SELECT 2"}},
      {"DO $$ a; b $$; SELECT $x$ $$;$y$ $x$", {"DO $$ a; b $$", "SELECT $x$ $$;$y$ $x$"}},
      {"SELECT a$b; SELECT $1; SELECT 3", {"SELECT a$b", "SELECT $1", "SELECT 3"}},
      {"-- first; not\nSELECT 1 -- one; \n; /* a; /* b; */ c; */ SELECT 2 /* ; */;",
       {"SELECT 1", "SELECT 2"}},
      {"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b); SELECT 2",
       {"CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b)", "SELECT 2"}},
  };
  for (const auto& c : cases) EXPECT_EQ(texts(c.file), c.statements) << c.file;
}

TEST(SplitSql, SaysInWhichLineAndDatabaseAStatementIs) {
  const std::vector<SqlStatement> statements = split_sql(
      "SELECT 1;\n\n-- two\n  SELECT\n2;\n\\connect shop\nSELECT 3;\n\\c \"The Other\"\n4");
  ASSERT_EQ(statements.size(), 4U);
  EXPECT_EQ(statements[0].line, 1U);
  EXPECT_EQ(statements[0].database, "");
  EXPECT_EQ(statements[1].line, 4U);
  EXPECT_EQ(statements[1].text, "SELECT\n2");
  EXPECT_EQ(statements[2].line, 7U);
  EXPECT_EQ(statements[2].database, "shop");
  EXPECT_EQ(statements[3].database, "The Other");
}

TEST(SplitSql, RefusesWhatHasNoEndAndNamesItsLine) {
  const struct {
    const char* file;
    const char* message;
  } cases[] = {
      {"SELECT 1;\nSELECT 'x", "the file of SQL has a quote without an end in line 2"},
      {"SELECT \"x;", "the file of SQL has a quote without an end in line 1"},
      {"DO $a$ x $b$;", "the file of SQL has a quote without an end in line 1"},
      {"\n\n/* x /* y */", "the file of SQL has a comment without an end in line 3"},
      {"\\d orders\n", "the file of SQL has the unknown command \"\\d orders\" in line 1"},
      {"\\connect\n", "the file of SQL has the unknown command \"\\connect\" in line 1"},
  };
  for (const auto& c : cases) {
    const Error error = test::error_of([&] { split_sql(c.file); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidText);
    EXPECT_EQ(error.message(), c.message);
  }
}

}  // namespace
}  // namespace holdfast::drill
