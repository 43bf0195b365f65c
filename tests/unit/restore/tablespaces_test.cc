#include "restore/tablespaces.h"

#include <unistd.h>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/error_of.h"

namespace holdfast::restore {
namespace {

TEST(ParseTablespaceMove, ReadsOldAndNew) {
  const struct {
    const char *text, *was, *to;
  } cases[] = {{"/srv/fast=/srv/new", "/srv/fast", "/srv/new"},
               {"16384=/srv/new/", "16384", "/srv/new"},
               {"/srv/a\\=b=/srv/c=d", "/srv/a=b", "/srv/c=d"},
               {"/srv/back\\slash=/n", "/srv/back\\slash", "/n"},
               {"/srv/fast=/srv/./x/../new", "/srv/fast", "/srv/new"}};
  for (const auto& c : cases) {
    const TablespaceMove move = parse_tablespace_move(c.text);
    EXPECT_EQ(move.was, c.was) << c.text;
    EXPECT_EQ(move.to, c.to) << c.text;
  }
}

TEST(ParseTablespaceMove, RefusesWhatNamesNoPlace) {
  for (const char* text : {"", "=", "/srv/fast", "/srv/fast=", "=/srv/new", "/srv/a\\=/b",
                           "/srv/fast=new", "16384=./new", "/srv/fast=/srv/new\n/x"}) {
    const Error error = test::error_of([&] { parse_tablespace_move(text); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage) << text;
    EXPECT_NE(error.hint().find("--tablespace OLD=NEW"), std::string::npos) << text;
  }
}

class PlaceTablespaces : public testing::Test {
 protected:
  PlaceTablespaces() {
    backup_.id = "20261122T081200Z-aaaaaa";
    backup_.tablespaces = {{.oid = 16384, .path = path("old-a")},
                           {.oid = 16385, .path = path("old-b")},
                           {.oid = 16386, .path = ""}};
    make_directory(path("empty"));
    make_directory(path("full"));
    write_file_durably(path("full/file"), {});
    write_file_durably(path("file"), {});
    make_directory(path("mount"));
    make_directory(path("mount/lost+found"));
  }
  std::string path(const std::string& name) const { return join_path(root_.path(), name); }
  std::vector<TablespacePlace> place(const std::vector<TablespaceMove>& moves, bool is_copy = true,
                                     const std::set<std::string>& own = {}) const {
    return place_tablespaces(
        {.directory = path("data"), .is_copy = is_copy, .moves = moves, .own = own}, backup_);
  }

  TemporaryDirectory root_;
  repo::Backup backup_;
};

TEST_F(PlaceTablespaces, UnlessMovedTheyLieBelowACopyAndInPlaceWhereTheyWere) {
  EXPECT_EQ(place({})[0].place, path("data/holdfast_tablespaces/16384"));
  EXPECT_EQ(place({}, false)[0].place, path("old-a"));
  EXPECT_FALSE(place({})[0].is_moved);
}

TEST_F(PlaceTablespaces, AreMovedByPathAndByOid) {
  const std::vector<TablespacePlace> places = place(
      {{.was = path("old-a/"), .to = path("empty")}, {.was = "16385", .to = path("absent/deep")}});
  EXPECT_EQ(places[0].place, path("empty"));
  EXPECT_EQ(places[1].place, path("absent/deep"));
  EXPECT_TRUE(places[0].is_moved && places[1].is_moved);
  EXPECT_FALSE(places[2].is_moved);
  EXPECT_EQ(place({{.was = "16384", .to = path("mount")}})[0].place, path("mount"));
  // Its own files are no obstacle, by whatever name they are known.
  EXPECT_EQ(symlink(path("full").c_str(), path("link").c_str()), 0);
  EXPECT_EQ(place({{.was = "16384", .to = path("link")}}, true, {path("full")})[0].place,
            path("link"));
}

TEST_F(PlaceTablespaces, RefuseEveryPlaceThatIsNone) {
  EXPECT_EQ(symlink(path("data").c_str(), path("to-data").c_str()), 0);
  EXPECT_EQ(symlink(path("nowhere").c_str(), path("dangling").c_str()), 0);
  EXPECT_EQ(symlink(path("empty").c_str(), path("to-empty").c_str()), 0);
  make_directory(path("data"));
  const struct {
    const char* name;
    std::vector<TablespaceMove> moves;
    bool is_copy;
    ErrorCode code;
    std::string message;
  } cases[] = {
      {"unknown path",
       {{.was = "/srv/other", .to = path("empty")}},
       true,
       ErrorCode::kNotFound,
       "backup 20261122T081200Z-aaaaaa has no tablespace \"/srv/other\""},
      {"unknown oid",
       {{.was = "99", .to = path("empty")}},
       true,
       ErrorCode::kNotFound,
       "backup 20261122T081200Z-aaaaaa has no tablespace \"99\""},
      {"twice",
       {{.was = "16384", .to = path("empty")}, {.was = path("old-a"), .to = path("absent")}},
       true,
       ErrorCode::kUsage,
       "tablespace 16384 was given more than one place"},
      {"in the data directory by nature",
       {{.was = "16386", .to = path("empty")}},
       true,
       ErrorCode::kUnsupported,
       "tablespace 16386 cannot be moved"},
      {"inside",
       {{.was = "16384", .to = path("data/ts")}},
       true,
       ErrorCode::kConflict,
       fmt::format("\"{}\" is no place for tablespace 16384: it is in the data directory",
                   path("data/ts"))},
      {"inside, by a link",
       {{.was = "16384", .to = path("to-data/ts")}},
       true,
       ErrorCode::kConflict,
       fmt::format("\"{}\" is no place for tablespace 16384: it is in the data directory",
                   path("to-data/ts"))},
      {"around",
       {{.was = "16384", .to = root_.path()}},
       true,
       ErrorCode::kConflict,
       fmt::format("\"{}\" is no place for tablespace 16384: it holds the data directory",
                   root_.path())},
      {"two in one",
       {{.was = "16384", .to = path("empty")}, {.was = "16385", .to = path("to-empty")}},
       true,
       ErrorCode::kConflict,
       "tablespaces 16384 and 16385 would lie in one place"},
      {"one in the other",
       {{.was = "16385", .to = path("empty")}, {.was = "16384", .to = path("empty/below")}},
       true,
       ErrorCode::kConflict,
       "tablespaces 16384 and 16385 would lie in one place"},
      {"where another stays",
       {{.was = "16385", .to = path("old-a")}},
       false,
       ErrorCode::kConflict,
       "tablespaces 16384 and 16385 would lie in one place"},
      {"not empty",
       {{.was = "16384", .to = path("full")}},
       true,
       ErrorCode::kAlreadyExists,
       fmt::format("tablespace directory \"{}\" is not empty", path("full"))},
      {"a file",
       {{.was = "16384", .to = path("file")}},
       true,
       ErrorCode::kAlreadyExists,
       fmt::format("\"{}\" is not a directory", path("file"))},
      {"a link to nothing",
       {{.was = "16384", .to = path("dangling")}},
       true,
       ErrorCode::kAlreadyExists,
       fmt::format("\"{}\" is a link that leads nowhere", path("dangling"))},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const Error error = test::error_of([&] { place(c.moves, c.is_copy); });
    EXPECT_EQ(error.code(), c.code);
    EXPECT_EQ(error.message(), c.message);
    EXPECT_FALSE(error.hint().empty());
  }
}

}  // namespace
}  // namespace holdfast::restore
