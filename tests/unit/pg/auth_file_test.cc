#include "pg/auth_file.h"

#include <gtest/gtest.h>

namespace holdfast::pg {
namespace {

using Kind = AuthReferenceKind;

std::vector<std::pair<Kind, std::string>> named_in(std::string_view text, bool is_list = false) {
  std::vector<std::pair<Kind, std::string>> named;
  for (const AuthReference& reference : auth_references(text, is_list))
    named.emplace_back(reference.kind, reference.path);
  return named;
}

TEST(AuthFile, NamesTheListsAndIncludesThatTheServerWouldRead) {
  const struct {
    const char* text;
    std::vector<std::pair<Kind, std::string>> named;
  } cases[] = {{"local all @admins trust", {{Kind::kList, "admins"}}},
               {"host @databases,other @/etc/pg/users 0.0.0.0/0 scram-sha-256",
                {{Kind::kList, "databases"}, {Kind::kList, "/etc/pg/users"}}},
               {"local all @\"with blank\" trust", {{Kind::kList, "with blank"}}},
               {"# local all @admins trust\n\nlocal all all trust # @none", {}},
               // A role of that name, and what is no reference.
               {"local all \"@admins\" trust", {}},
               {"local all @ trust", {}},
               {"include more.conf\n include_if_exists \"a b\"\ninclude_dir hba.d",
                {{Kind::kInclude, "more.conf"},
                 {Kind::kIncludeIfExists, "a b"},
                 {Kind::kIncludeDirectory, "hba.d"}}},
               {"local include @x trust", {{Kind::kList, "x"}}},
               {"\"include\" more.conf", {}},
               {"include\nlocal all @x trust", {{Kind::kList, "x"}}},
               {"local \\\n all @joined \\\n trust", {{Kind::kList, "joined"}}},
               {"", {}},
               {"local all @cut", {{Kind::kList, "cut"}}}};
  for (const auto& c : cases) EXPECT_EQ(named_in(c.text), c.named) << c.text;
  EXPECT_EQ(named_in("include\nanna, @more", true),
            (std::vector<std::pair<Kind, std::string>>{{Kind::kList, "more"}}));
}

TEST(AuthFile, AReferenceIsReplacedWhereItStands) {
  std::string text = "local all @/old/admins,boss trust # as ever\n";
  const AuthReference reference = auth_references(text).at(0);
  text.replace(reference.offset, reference.size,
               auth_reference_text(reference.kind, "new \"list\""));
  EXPECT_EQ(text, "local all @\"new \"\"list\"\"\",boss trust # as ever\n");
  EXPECT_EQ(named_in(text),
            (std::vector<std::pair<Kind, std::string>>{{Kind::kList, "new \"list\""}}));
}

}  // namespace
}  // namespace holdfast::pg
