#include "store/posix_owner.h"

#include <algorithm>
#include <functional>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "store/open_store.h"
#include "store/posix_store.h"
#include "support/error_of.h"

namespace holdfast::store {
namespace {

// Root's tests make a repository of another user; any number will do. Everybody else can have none
// but his own, and stays himself.
constexpr OwnerIds kSomebody{.user = 12345, .group = 12346};

OwnerIds repository_owner() {
  return geteuid() == 0 ? kSomebody : OwnerIds{.user = geteuid(), .group = getegid()};
}

OwnerIds owner_of(const std::string& path) {
  const struct stat status = lstat_if_exists(path).value();
  return {.user = status.st_uid, .group = status.st_gid};
}

void give(const std::string& path, const OwnerIds& owner) {
  ASSERT_EQ(lchown(path.c_str(), owner.user, owner.group), 0) << path;
}

// What below `path` is not his.
void add_others(const std::string& path, const OwnerIds& owner, std::vector<std::string>& found) {
  if (!(owner_of(path) == owner)) found.push_back(path);
  for (const DirectoryEntry& entry :
       list_directory_if_exists(path).value_or(std::vector<DirectoryEntry>()))
    add_others(join_path(path, entry.name), owner, found);
}

class PosixOwnerTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(chmod(directory_.path().c_str(), 0755), 0);
    create_posix_root(root_, repository_owner());
  }
  std::string in_root(std::string_view name) const { return join_path(root_, name); }
  std::vector<std::string> others_things() const {
    std::vector<std::string> found;
    add_others(root_, repository_owner(), found);
    return found;
  }
  // Every call of a store, on folders that must be made.
  static void work(const std::string& root, const std::string& folder) {
    const std::unique_ptr<Store> store = open_posix_store(root);
    EXPECT_TRUE(store->create(folder + "/made/object", as_bytes("one")));
    EXPECT_FALSE(store->create(folder + "/made/object", as_bytes("two")));
    const std::unique_ptr<Upload> upload = store->upload(folder + "/sent/pack");
    upload->append(Bytes(3 << 20));
    upload->append(as_bytes("."));
    upload->commit();
    const std::unique_ptr<Upload> left = store->upload(folder + "/never");
    left->append(as_bytes("."));
    EXPECT_EQ(as_text(*store->read(folder + "/made/object", 0, 9)), "one");
    std::byte buffer[1];
    EXPECT_EQ(store->read_into(folder + "/made/object", 0, buffer), 1u);
    EXPECT_TRUE(store->info(folder + "/sent/pack"));
    store->make_durable(folder + "/sent/pack");
    EXPECT_EQ(store->list({.prefix = folder + "/"}).entries.size(), 2u);
    store->now();
    EXPECT_TRUE(store->create(folder + "/gone", {}));
    EXPECT_TRUE(open_posix_remover(root)->remove(folder + "/gone"));
    sweep_posix_uploads(root);
  }

  TemporaryDirectory directory_;
  std::string root_ = join_path(directory_.path(), "repository");
};

TEST(WhomToBe, RootIsTheOwnerAndEverybodyElseIsHimself) {
  const struct {
    uid_t effective, owner;
    bool changes;
  } cases[] = {{0, 0, false}, {0, 26, true}, {26, 0, false}, {26, 26, false}, {26, 27, false}};
  for (const auto& c : cases) {
    const std::optional<OwnerIds> whom = whom_to_be(c.effective, {.user = c.owner, .group = 5});
    EXPECT_EQ(whom.has_value(), c.changes) << c.effective << " " << c.owner;
    if (whom) {
      EXPECT_EQ(*whom, (OwnerIds{.user = c.owner, .group = 5}));
    }
  }
}

TEST_F(PosixOwnerTest, WhateverRootMakesBelongsToTheRepositorysOwner) {
  work(root_, "by/root");
  EXPECT_EQ(others_things(), std::vector<std::string>{});
  // And behind it root is root again.
  const std::string beside = join_path(directory_.path(), "beside");
  write_file_durably(beside, {});
  EXPECT_EQ(owner_of(beside), (OwnerIds{.user = geteuid(), .group = getegid()}));
}

TEST_F(PosixOwnerTest, SoDoesWhatItsThreadsMake) {
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i)
      threads.emplace_back([&, i] { work(root_, fmt::format("thread/{}", i)); });
  }
  EXPECT_EQ(others_things(), std::vector<std::string>{});
}

TEST_F(PosixOwnerTest, AnErrorLeavesTheThreadWhoItWas) {
  const std::unique_ptr<Store> store = open_posix_store(root_);
  EXPECT_TRUE(store->create("a/b", {}));
  test::error_of([&] { store->create("a", {}); });
  test::error_of([&] { store->upload("a/b")->commit(); });
  EXPECT_EQ(setfsuid(static_cast<uid_t>(-1)), static_cast<int>(geteuid()));
  EXPECT_EQ(setfsgid(static_cast<gid_t>(-1)), static_cast<int>(getegid()));
  EXPECT_EQ(others_things(), std::vector<std::string>{});
}

// A copy that somebody carried to a place of root's: the owner cannot come there, root can, and
// what it makes is the owner's when the copy is carried back.
TEST_F(PosixOwnerTest, ARepositoryThatItsOwnerCannotReachIsStillHis) {
  ASSERT_EQ(chmod(directory_.path().c_str(), 0700), 0);
  work(root_, "by/root");
  EXPECT_EQ(others_things(), std::vector<std::string>{});
}

// As on a network file system where root is nobody: only the owner comes to the repository.
TEST_F(PosixOwnerTest, WhatOnlyItsOwnerCanEnterRootEntersAsHim) {
  const std::string closed = join_path(directory_.path(), "closed");
  make_directory(closed, 0700);
  give(closed, repository_owner());
  rename_path(root_, join_path(closed, "repository"));
  const OwnerIds before{.user = geteuid(), .group = getegid()};
  // Nobody but root can be without rights and become another: others are the owner already.
  if (geteuid() == 0) setfsuid(65534);
  work(join_path(closed, "repository"), "by/nobody");
  if (geteuid() == 0) {
    EXPECT_EQ(setfsuid(before.user), 65534);
  }
  std::vector<std::string> found;
  add_others(closed, repository_owner(), found);
  EXPECT_EQ(found, std::vector<std::string>{});
}

TEST_F(PosixOwnerTest, ANewRepositoryBelongsToWhomItWasMadeFor) {
  EXPECT_EQ(owner_of(root_), repository_owner());
  EXPECT_EQ(owner_of(in_root(".tmp")), repository_owner());
  const std::string own = join_path(directory_.path(), "own");
  create_posix_root(own);
  EXPECT_EQ(owner_of(own), (OwnerIds{.user = geteuid(), .group = getegid()}));
  // One that is there keeps its owner.
  create_posix_root(own, repository_owner());
  EXPECT_EQ(owner_of(own), (OwnerIds{.user = geteuid(), .group = getegid()}));
}

TEST_F(PosixOwnerTest, ARefusalNamesWhoOwnsWhatIsInTheWayAndTheCommandThatPutsItRight) {
  const std::unique_ptr<Store> store = open_posix_store(root_);
  store->create("marks/one", as_bytes("x"));
  if (geteuid() == 0) give(in_root("marks/one"), {.user = 0, .group = 0});
  ASSERT_EQ(chmod(in_root("marks/one").c_str(), 0040), 0);
  const Error error = test::error_of([&] { store->read("marks/one", 0, 1); });
  EXPECT_EQ(error.code(), ErrorCode::kPermission);
  EXPECT_EQ(error.message(),
            fmt::format("could not open \"{}\": Permission denied", in_root("marks/one")));
  const std::string owner = user_name(repository_owner().user);
  EXPECT_EQ(
      error.detail(),
      fmt::format("\"{}\" belongs to {}:{} and has mode 0040; the repository belongs to {}; "
                  "this is done as {}.",
                  in_root("marks/one"), user_name(geteuid()), group_name(getegid()), owner, owner));
  EXPECT_EQ(error.hint(),
            geteuid() == 0
                ? fmt::format("As root give everything in the repository to its owner: chown -R "
                              "--reference={0} {0}",
                              root_)
                : fmt::format("Give its owner back what he may do: chmod -R u+rwX {}", root_));
}

}  // namespace
}  // namespace holdfast::store
