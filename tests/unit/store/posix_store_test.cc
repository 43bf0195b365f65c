#include "store/posix_store.h"

#include <array>
#include <atomic>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "support/error_of.h"

namespace holdfast::store {
namespace {

using test::error_of;
using Names = std::vector<std::string>;

// Files are opened as a user without rights in this scope; as root it takes another user to be
// refused anything.
class AsOrdinaryUser {
 public:
  AsOrdinaryUser() {
    if (geteuid() != 0) return;
    setfsgid(kNobody);
    setfsuid(kNobody);
  }
  ~AsOrdinaryUser() {
    if (geteuid() != 0) return;
    setfsuid(0);
    setfsgid(0);
  }
  // Gives a file to that user.
  static void own(const std::string& path) {
    if (geteuid() == 0) {
      ASSERT_EQ(chown(path.c_str(), kNobody, kNobody), 0);
    }
  }

 private:
  static constexpr uid_t kNobody = 65534;
};

class PosixStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    create_posix_root(root_);
    store_ = open_posix_store(root_);
  }
  std::string in_root(std::string_view name) const { return join_path(root_, name); }
  Names uploads() const {
    Names names;
    for (const DirectoryEntry& entry : list_directory(in_root(".tmp"))) names.push_back(entry.name);
    return names;
  }
  Names listed(ListRequest request) {
    Names names;
    for (const ListEntry& entry : store_->list(request).entries) names.push_back(entry.name);
    return names;
  }
  // Every call but those on uploads that are open, each to be refused in the same way.
  std::vector<std::function<void()>> every_call(const std::string& name) {
    return {[=, this] { store_->upload(name); },
            [=, this] { store_->create(name, as_bytes("x")); },
            [=, this] { store_->read(name, 0, 1); },
            [=, this] {
              std::byte buffer[1];
              store_->read_into(name, 0, buffer);
            },
            [=, this] { store_->info(name); },
            [=, this] { store_->make_durable(name); },
            [=, this] { store_->list({.prefix = ""}); },
            [=, this] { store_->list({.prefix = "folder/", .folders = true}); },
            [=, this] { store_->now(); },
            [=, this] { open_posix_remover(root_)->remove(name); },
            [=, this] { sweep_posix_uploads(root_); }};
  }

  TemporaryDirectory directory_;
  std::string root_ = join_path(directory_.path(), "repository");
  std::unique_ptr<Store> store_;
};

mode_t mode_of(const std::string& path) { return stat_if_exists(path).value().st_mode & 07777; }

// --- The root -----------------------------------------------------------------------------------

TEST_F(PosixStoreTest, ARootThatIsNotThereIsUnreachableNotEmpty) {
  remove_tree(root_);
  for (const char* name : {"object", "folder/object"})
    for (const std::function<void()>& call : every_call(name)) {
      Error error = error_of(call);
      EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable);
      EXPECT_EQ(error.message(), fmt::format("repository directory \"{}\" is not there", root_));
      EXPECT_EQ(error.detail(), "The system says: No such file or directory.");
      EXPECT_EQ(error.hint(),
                "Check the path, and that the file system which holds it is mounted. \"holdfast "
                "init\" makes a new "
                "repository.");
    }
  EXPECT_FALSE(stat_if_exists(root_));
}

TEST_F(PosixStoreTest, ARootThatIsNoDirectoryIsUnreachable) {
  remove_tree(root_);
  write_file_durably(root_, as_bytes("a file"));
  for (const std::function<void()>& call : every_call("folder/object")) {
    Error error = error_of(call);
    EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable);
    EXPECT_EQ(error.message(), fmt::format("repository directory \"{}\" is not there", root_));
    EXPECT_EQ(error.detail(), "There is something of that name, but it is not a directory.");
  }
}

TEST_F(PosixStoreTest, ARootThatGoesAwayUnderAnUploadIsUnreachable) {
  std::unique_ptr<Upload> upload = store_->upload("folder/object");
  upload->append(as_bytes("x"));
  rename_path(root_, root_ + ".away");
  EXPECT_EQ(error_of([&] { upload->commit(); }).code(), ErrorCode::kStoreUnavailable);
  upload.reset();
  EXPECT_FALSE(stat_if_exists(root_));
}

TEST_F(PosixStoreTest, InitMakesTheRootOnceAndLeavesOneThatIsThere) {
  store_->create("object", as_bytes("x"));
  create_posix_root(root_);
  EXPECT_TRUE(store_->info("object"));
  EXPECT_EQ(mode_of(root_), 0750u);

  const Error no_parent = error_of([&] { create_posix_root(join_path(directory_.path(), "a/b")); });
  EXPECT_EQ(no_parent.code(), ErrorCode::kNotFound);
  const Error a_file = error_of([&] { create_posix_root(in_root("object")); });
  EXPECT_EQ(a_file.code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(a_file.message(), fmt::format("\"{}\" is not a directory", in_root("object")));
  EXPECT_EQ(a_file.detail(), "A repository is a directory.");
  EXPECT_EQ(a_file.hint(), "Name another path, or move what stands there out of the way.");
}

TEST_F(PosixStoreTest, ACopyWithoutTheUploadDirectoryWorks) {
  remove_tree(in_root(".tmp"));
  EXPECT_EQ(sweep_posix_uploads(root_), 0);
  EXPECT_TRUE(store_->create("object", as_bytes("x")));
  EXPECT_EQ(mode_of(in_root(".tmp")), 0750u);
}

// --- Files --------------------------------------------------------------------------------------

// As rsync -a and cp -a do it: the time at which an object came to stand here cannot be kept.
TEST_F(PosixStoreTest, ACopyThatKeepsTheTimeOfModificationIsToldFromTheObject) {
  store_->create("object", as_bytes("bytes"));
  const Time now = store_->info("object")->modified;
  const std::array<struct timespec, 2> a_year_ago = {
      {{.tv_sec = 1'700'000'000, .tv_nsec = 0}, {.tv_sec = 1'700'000'000, .tv_nsec = 0}}};
  ASSERT_EQ(utimensat(AT_FDCWD, in_root("object").c_str(), a_year_ago.data(), 0), 0);
  const ObjectInfo copied = store_->info("object").value();
  EXPECT_EQ(copied.modified, Time(std::chrono::seconds(1'700'000'000)));
  EXPECT_GE(copied.changed, now);
  const ListEntry listed = store_->list({.prefix = ""}).entries.at(0);
  EXPECT_EQ(listed.modified, copied.modified);
  EXPECT_EQ(listed.changed, copied.changed);
}

TEST_F(PosixStoreTest, ObjectsAreFilesWithModesThatTheUmaskDoesNotChange) {
  for (mode_t mask : {0077u, 0000u, 0022u}) {
    mode_t before = umask(mask);
    std::string folder = fmt::format("folder{:o}", mask);
    EXPECT_TRUE(store_->create(folder + "/deeper/object", as_bytes("content")));
    umask(before);
    EXPECT_EQ(read_text_file(in_root(folder + "/deeper/object")), "content");
    EXPECT_EQ(mode_of(in_root(folder + "/deeper/object")), 0640u);
    EXPECT_EQ(mode_of(in_root(folder)), 0750u);
    EXPECT_EQ(mode_of(in_root(folder + "/deeper")), 0750u);
    EXPECT_EQ(stat_if_exists(in_root(folder + "/deeper/object"))->st_nlink, 1u);
  }
}

TEST_F(PosixStoreTest, UploadsLieInTheUploadDirectoryUntilTheyEnd) {
  std::unique_ptr<Upload> committed = store_->upload("a");
  std::unique_ptr<Upload> aborted = store_->upload("b");
  EXPECT_EQ(uploads().size(), 2u);
  committed->commit();
  EXPECT_EQ(uploads().size(), 1u);
  aborted.reset();
  EXPECT_TRUE(uploads().empty());
  EXPECT_FALSE(store_->create("a", as_bytes("again")));
  store_->now();
  EXPECT_TRUE(uploads().empty());
  std::unique_ptr<Upload> refused = store_->upload("a");
  EXPECT_EQ(error_of([&] { refused->commit(); }).code(), ErrorCode::kAlreadyExists);
  refused.reset();
  EXPECT_TRUE(uploads().empty());
}

TEST_F(PosixStoreTest, AFolderThatSomebodyTookAwayIsMadeAgain) {
  EXPECT_TRUE(store_->create("a/b/one", as_bytes("x")));
  remove_tree(in_root("a"));
  EXPECT_TRUE(store_->create("a/b/two", as_bytes("x")));
  EXPECT_EQ(listed({.prefix = ""}), Names{"a/b/two"});
}

TEST_F(PosixStoreTest, ListsOnlyWhatCanBeAnObject) {
  store_->create("folder/object", as_bytes("x"));
  make_directory(in_root("lost+found"), 0700);
  write_file_durably(in_root("lost+found/inside"), {});
  make_directory(in_root("folder/empty"));
  make_directory(in_root("folder/empty/deeper"));
  make_directory(in_root(".hidden"));
  write_file_durably(in_root(".hidden/inside"), {});
  write_file_durably(in_root("folder/backup~"), {});
  write_file_durably(in_root("folder/.object.swp"), {});
  ASSERT_EQ(mkfifo(in_root("folder/fifo").c_str(), 0600), 0);
  std::unique_ptr<Upload> upload = store_->upload("folder/coming");

  EXPECT_EQ(listed({.prefix = ""}), Names{"folder/object"});
  EXPECT_EQ(listed({.prefix = "", .folders = true}), Names{"folder/"});
  EXPECT_EQ(listed({.prefix = "folder/", .folders = true}), Names{"folder/object"});
  EXPECT_FALSE(store_->info("folder/fifo"));
  EXPECT_FALSE(store_->read("folder/fifo", 0, 1));
}

TEST_F(PosixStoreTest, AFolderGoesWithItsLastObject) {
  for (const char* name : {"a/b/c/one", "a/b/c/two", "a/other"}) store_->create(name, {});
  std::unique_ptr<Remover> remover = open_posix_remover(root_);
  remover->remove("a/b/c/one");
  EXPECT_TRUE(is_directory(in_root("a/b/c")));
  remover->remove("a/b/c/two");
  EXPECT_FALSE(lstat_if_exists(in_root("a/b")));
  EXPECT_TRUE(is_directory(in_root("a")));
  EXPECT_TRUE(store_->create("a/b/c/three", {}));
  EXPECT_EQ(listed({.prefix = ""}), (Names{"a/b/c/three", "a/other"}));
}

TEST_F(PosixStoreTest, FoldersThatHoldNothingAreSweptAndListedToWhomThatIsFine) {
  for (const char* name : {"a", "a/b", "a/b/c", "a/d", "e"}) make_directory(in_root(name));
  store_->create("a/d/object", {});
  EXPECT_EQ(listed({.prefix = "", .folders = true}), Names{"a/"});
  EXPECT_EQ(listed({.prefix = "", .folders = true, .empty_folders = true}), (Names{"a/", "e/"}));
  sweep_posix_uploads(root_);
  EXPECT_FALSE(lstat_if_exists(in_root("a/b")));
  EXPECT_FALSE(lstat_if_exists(in_root("e")));
  EXPECT_EQ(listed({.prefix = ""}), Names{"a/d/object"});
  EXPECT_TRUE(is_directory(in_root(".tmp")));
}

// While expiries take away every folder that they find empty.
TEST_F(PosixStoreTest, FoldersThatAreTakenAwayUnderWritersAreMadeAgain) {
  std::atomic<bool> ending{false};
  std::atomic<int> failed{0};
  std::jthread sweeper([&] {
    while (!ending) sweep_posix_uploads(root_);
  });
  {
    std::vector<std::jthread> writers;
    for (int writer = 0; writer < 4; ++writer)
      writers.emplace_back([&, writer] {
        const std::unique_ptr<Remover> remover = open_posix_remover(root_);
        for (int i = 0; i < 100; ++i) try {
            const std::string name = fmt::format("deep/er/{}/{}", i % 5, writer);
            store_->create(name, as_bytes("content"));
            if (!store_->info(name)) ++failed;
            remover->remove(name);
          } catch (const Error&) {
            ++failed;
          }
      });
  }
  ending = true;
  sweeper.join();
  EXPECT_EQ(failed, 0);
  sweep_posix_uploads(root_);
  EXPECT_EQ(list_directory(root_).size(), 1u);  // .tmp
}

// What was known of a folder holds for that one alone, not for the next of its name.
TEST_F(PosixStoreTest, AFolderThatWasMadeAnewIsSyncedAnew) {
  auto mark = [&](const std::string& folder) {
    return getxattr(in_root(folder).c_str(), "user.holdfast.durable", nullptr, 0) > 0;
  };
  store_->create("folder/one", {});
  const bool has_marks = mark("folder");
  open_posix_remover(root_)->remove("folder/one");
  make_directory(in_root("folder"));  // by somebody who was killed before he synced it
  EXPECT_FALSE(mark("folder"));
  store_->create("folder/two", {});
  EXPECT_EQ(mark("folder"), has_marks);
}

// A folder of many pages is read once: what comes to be behind the place where a listing stands
// need not be in it.
TEST_F(PosixStoreTest, APageGoesOnWhereTheOneBeforeStoodWithoutReadingTheFolderAgain) {
  for (int i = 0; i < 30; ++i) store_->create(fmt::format("d/{:02}", i), {});
  ListPage page = store_->list({.prefix = "d/", .limit = 10});
  store_->create("d/155", {});
  remove_file(in_root("d/19"));
  const ListRequest next{
      .prefix = "d/", .after = page.entries.back().name, .limit = 10, .position = page.position};
  const Names as_it_was = {"d/10", "d/11", "d/12", "d/13", "d/14",
                           "d/15", "d/16", "d/17", "d/18", "d/20"};
  EXPECT_EQ(listed(next), as_it_was);
  // It serves once, and from where it stood: then the folder is read anew.
  const Names anew = {"d/10", "d/11",  "d/12", "d/13", "d/14",
                      "d/15", "d/155", "d/16", "d/17", "d/18"};
  EXPECT_EQ(listed(next), anew);
}

TEST_F(PosixStoreTest, FoldersMayBeSymbolicLinksToOtherPlaces) {
  std::string elsewhere = join_path(directory_.path(), "elsewhere");
  make_directory(elsewhere);
  ASSERT_EQ(symlink(elsewhere.c_str(), in_root("linked").c_str()), 0);
  EXPECT_TRUE(store_->create("linked/object", as_bytes("x")));
  EXPECT_TRUE(stat_if_exists(join_path(elsewhere, "object")));
  EXPECT_EQ(listed({.prefix = ""}), Names{"linked/object"});
  EXPECT_EQ(listed({.prefix = "", .folders = true}), Names{"linked/"});
}

TEST_F(PosixStoreTest, WhatASymbolicLinkThatLeadsNowhereHeldIsNotAbsent) {
  store_->create("folder/object", as_bytes("x"));
  std::string nowhere = join_path(directory_.path(), "not-mounted");
  ASSERT_EQ(symlink(nowhere.c_str(), in_root("folder/linked").c_str()), 0);
  for (const std::function<void()>& call : std::vector<std::function<void()>>{
           [&] { store_->info("folder/linked/object"); },
           [&] { store_->read("folder/linked/deeper/object", 0, 1); },
           [&] { store_->list({.prefix = ""}); },
           [&] { store_->list({.prefix = "folder/linked/deeper/"}); }}) {
    Error error = error_of(call);
    EXPECT_EQ(error.code(), ErrorCode::kStoreUnavailable);
    EXPECT_EQ(error.message(),
              fmt::format("symbolic link \"{}\" leads nowhere", in_root("folder/linked")));
    EXPECT_EQ(error.hint(), "Check that the file system which it leads to is mounted.");
  }
  EXPECT_FALSE(store_->info("folder/other"));
}

TEST_F(PosixStoreTest, WithoutHardLinksItSaysSo) {
  // A folder on another file system: link(2) answers EXDEV there, as others answer EPERM where
  // there are no hard links.
  std::string far;
  for (const char* place : {"/dev/shm", "/var/tmp", "/tmp"})
    if (std::optional<struct stat> status = stat_if_exists(place);
        far.empty() && status && status->st_dev != stat_if_exists(root_)->st_dev)
      far = fmt::format("{}/holdfast-test-{}", place, getpid());
  ASSERT_FALSE(far.empty()) << "no second file system to test with";
  make_directory(far);
  ASSERT_EQ(symlink(far.c_str(), in_root("far").c_str()), 0);
  Error error = error_of([&] { store_->create("far/object", as_bytes("x")); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error.message(), fmt::format("the file system of \"{}\" has no hard links", root_));
  EXPECT_EQ(error.detail(), "The system says: Invalid cross-device link.");
  EXPECT_EQ(error.hint(),
            "A repository needs a file system with hard links and locks, such as ext4, xfs, btrfs, "
            "zfs or NFS, all of it "
            "on one file system.");
  EXPECT_TRUE(uploads().empty());
  remove_tree(far);
}

// --- Refusals -----------------------------------------------------------------------------------

TEST_F(PosixStoreTest, WhatMayNotBeReadIsAnErrorAndNeverAbsent) {
  store_->create("closed/object", as_bytes("x"));
  store_->create("open/object", as_bytes("x"));
  AsOrdinaryUser::own(directory_.path());
  AsOrdinaryUser::own(root_);
  AsOrdinaryUser::own(in_root(".tmp"));
  AsOrdinaryUser::own(in_root("open"));
  AsOrdinaryUser::own(in_root("open/object"));
  ASSERT_EQ(chmod(in_root("closed").c_str(), 0000), 0);
  ASSERT_EQ(chmod(in_root("open/object").c_str(), 0000), 0);
  {
    AsOrdinaryUser ordinary;
    std::byte buffer[1];
    for (const std::function<void()>& call : std::vector<std::function<void()>>{
             [&] { store_->info("closed/object"); }, [&] { store_->info("closed/other"); },
             [&] { store_->read("closed/object", 0, 1); },
             [&] { store_->read("closed/other", 0, 1); },
             [&] { store_->read_into("closed/deeper/other", 0, buffer); },
             [&] { store_->read("open/object", 0, 1); },
             [&] { store_->make_durable("closed/object"); },
             [&] { store_->create("closed/other", {}); }, [&] { store_->list({.prefix = ""}); },
             [&] { store_->list({.prefix = "closed/"}); },
             [&] { store_->list({.prefix = "closed/deeper/"}); },
             [&] { open_posix_remover(root_)->remove("closed/object"); }}) {
      Error error = error_of(call);
      EXPECT_EQ(error.code(), ErrorCode::kPermission) << error.message();
      EXPECT_FALSE(error.hint().empty());
    }
    EXPECT_TRUE(store_->info("open/object"));
    EXPECT_FALSE(store_->info("open/other"));
    // A folder that cannot be looked into is there, and in nobody's way.
    EXPECT_EQ(listed({.prefix = "", .folders = true}), (Names{"closed/", "open/"}));
    // A page that does not come to the closed folder needs nothing of it.
    EXPECT_EQ(listed({.prefix = "", .after = "d"}), Names{"open/object"});
  }
  ASSERT_EQ(chmod(in_root("closed").c_str(), 0700), 0);
}

TEST_F(PosixStoreTest, ARootThatMayNotBeWrittenIsARefusal) {
  AsOrdinaryUser::own(directory_.path());
  ASSERT_EQ(chmod(root_.c_str(), 0555), 0);
  ASSERT_EQ(chmod(in_root(".tmp").c_str(), 0555), 0);
  {
    AsOrdinaryUser ordinary;
    Error error = error_of([&] { store_->upload("object"); });
    EXPECT_EQ(error.code(), ErrorCode::kPermission);
    EXPECT_TRUE(error.message().starts_with(fmt::format("could not create \"{}/", in_root(".tmp"))))
        << error.message();
    EXPECT_FALSE(error.hint().empty());
    EXPECT_FALSE(store_->info("object"));
  }
  ASSERT_EQ(chmod(root_.c_str(), 0755), 0);
}

// --- Sweeping -----------------------------------------------------------------------------------

TEST_F(PosixStoreTest, SweepTakesWhatAKilledWriterLeftAndNothingElse) {
  std::unique_ptr<Upload> living = store_->upload("living");
  living->append(as_bytes("still "));

  pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::unique_ptr<Upload> doomed = store_->upload("doomed");
    doomed->append(as_bytes("half of it"));
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));

  EXPECT_EQ(uploads().size(), 2u);
  EXPECT_EQ(sweep_posix_uploads(root_), 1);
  EXPECT_EQ(sweep_posix_uploads(root_), 0);
  EXPECT_EQ(uploads().size(), 1u);
  living->append(as_bytes("here"));
  living->commit();
  EXPECT_EQ(as_text(*store_->read("living", 0, 100)), "still here");
  EXPECT_EQ(listed({.prefix = ""}), Names{"living"});
}

TEST_F(PosixStoreTest, SweepLeavesTheObjectOfAWriterKilledBeforeItTookTheFirstNameAway) {
  store_->create("folder/object", as_bytes("content"));
  std::string left = in_root(".tmp/00112233445566778899aabbccddeeff");
  ASSERT_EQ(link(in_root("folder/object").c_str(), left.c_str()), 0);
  EXPECT_EQ(sweep_posix_uploads(root_), 1);
  EXPECT_FALSE(stat_if_exists(left));
  EXPECT_EQ(as_text(*store_->read("folder/object", 0, 100)), "content");
}

TEST_F(PosixStoreTest, SweepTakesNothingThatIsNoUploadOfTheOwnersAndFollowsNoLink) {
  const std::string upload = "00112233445566778899aabbccddeeff";
  write_file_durably(in_root(".tmp/notes"), {});
  write_file_durably(in_root(".tmp/00112233445566778899aabbccddeeff.txt"), {});
  std::string victim = join_path(directory_.path(), "victim");
  make_directory(victim);
  write_file_durably(join_path(victim, upload), as_bytes("keep"));
  ASSERT_EQ(symlink(join_path(victim, upload).c_str(), in_root(".tmp/" + upload).c_str()), 0);
  EXPECT_EQ(sweep_posix_uploads(root_), 0);
  EXPECT_EQ(uploads().size(), 3u);
  if (geteuid() == 0) {
    remove_file(in_root(".tmp/" + upload));
    write_file_durably(in_root(".tmp/" + upload), {});
    ASSERT_EQ(chown(in_root(".tmp/" + upload).c_str(), 12345, 12345), 0);
    EXPECT_EQ(sweep_posix_uploads(root_), 0);
  }
  remove_tree(in_root(".tmp"));
  ASSERT_EQ(symlink(victim.c_str(), in_root(".tmp").c_str()), 0);
  EXPECT_EQ(sweep_posix_uploads(root_), 0);
  EXPECT_EQ(read_text_file(join_path(victim, upload)), "keep");
}

TEST_F(PosixStoreTest, SweepNeverTakesAnUploadFromItsWriter) {
  std::atomic<bool> ending{false};
  std::atomic<int> failed{0};
  std::jthread sweeper([&] {
    while (!ending) sweep_posix_uploads(root_);
  });
  {
    std::vector<std::jthread> writers;
    for (int writer = 0; writer < 4; ++writer)
      writers.emplace_back([&, writer] {
        for (int i = 0; i < 100; ++i) try {
            store_->create(fmt::format("{}/{}", writer, i), as_bytes("content"));
          } catch (const Error&) {
            ++failed;
          }
      });
  }
  ending = true;
  sweeper.join();
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(listed({.prefix = ""}).size(), 400u);
  for (const std::string& name : listed({.prefix = ""}))
    EXPECT_EQ(as_text(*store_->read(name, 0, 100)), "content");
  EXPECT_TRUE(uploads().empty());
}

}  // namespace
}  // namespace holdfast::store
