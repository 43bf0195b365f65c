// What store.h promises, once for every engine. A new engine adds a Fixture to kEngines.

#include <algorithm>
#include <atomic>
#include <fcntl.h>
#include <memory>
#include <random>
#include <set>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "store/memory_store.h"
#include "store/posix_store.h"
#include "store/store.h"
#include "support/error_of.h"

namespace holdfast::store {
namespace {

using test::error_of;

// One empty store of an engine.
class Fixture {
 public:
  virtual ~Fixture() = default;
  virtual Store& store() = 0;
  virtual Remover& remover() = 0;
};

class MemoryFixture : public Fixture {
 public:
  Store& store() override { return store_; }
  Remover& remover() override { return store_; }

 private:
  MemoryStore store_;
};

class PosixFixture : public Fixture {
 public:
  PosixFixture() {
    create_posix_root(root_);
    store_ = open_posix_store(root_);
    remover_ = open_posix_remover(root_);
  }
  Store& store() override { return *store_; }
  Remover& remover() override { return *remover_; }

 private:
  TemporaryDirectory directory_;
  std::string root_ = join_path(directory_.path(), "repository");
  std::unique_ptr<Store> store_;
  std::unique_ptr<Remover> remover_;
};

struct Engine {
  const char* name;
  std::unique_ptr<Fixture> (*make)();
};
const Engine kEngines[] = {
    {"memory", []() -> std::unique_ptr<Fixture> { return std::make_unique<MemoryFixture>(); }},
    {"posix", []() -> std::unique_ptr<Fixture> { return std::make_unique<PosixFixture>(); }},
};

class StoreContract : public testing::TestWithParam<Engine> {
 protected:
  Store& store() { return fixture_->store(); }
  Remover& remover() { return fixture_->remover(); }

  void put(const std::string& name, std::string_view text) {
    ASSERT_TRUE(store().create(name, as_bytes(text))) << name;
  }
  // The text of an object; "<absent>" when there is none.
  std::string get(const std::string& name) {
    std::optional<Bytes> bytes = read_whole(store(), name, 1 << 20);
    return bytes ? std::string(as_text(*bytes)) : "<absent>";
  }
  std::vector<std::string> names(const ListRequest& request) {
    std::vector<std::string> listed;
    for_each_entry(store(), request, [&](const ListEntry& entry) {
      listed.push_back(entry.name);
      return true;
    });
    return listed;
  }

 private:
  std::unique_ptr<Fixture> fixture_ = GetParam().make();
};

INSTANTIATE_TEST_SUITE_P(Engines, StoreContract, testing::ValuesIn(kEngines),
                         [](const testing::TestParamInfo<Engine>& engine) {
                           return std::string(engine.param.name);
                         });

using Names = std::vector<std::string>;

// --- Names --------------------------------------------------------------------------------------

TEST_P(StoreContract, EveryCallRefusesAnIllegalName) {
  const std::string cases[] = {"",
                               "/",
                               "/a",
                               "a/",
                               "a//b",
                               ".",
                               "..",
                               "a/..",
                               "../a",
                               "a/./b",
                               ".tmp",
                               "a/.b",
                               "a b",
                               "a\nb",
                               "a\\b",
                               "ä",
                               "a:b",
                               "a~",
                               "a+b",
                               "a/b?c=1",
                               std::string("a\0b", 3),
                               std::string(256, 'x'),
                               std::string(250, 'x') + "/" + std::string(250, 'x') + "/" +
                                   std::string(250, 'x') + "/" + std::string(250, 'x')};
  std::byte buffer[1];
  for (const std::string& name : cases) {
    SCOPED_TRACE(name);
    EXPECT_EQ(error_of([&] { store().upload(name); }).code(), ErrorCode::kInternal);
    EXPECT_EQ(error_of([&] { store().create(name, {}); }).code(), ErrorCode::kInternal);
    EXPECT_EQ(error_of([&] { store().read(name, 0, 1); }).code(), ErrorCode::kInternal);
    EXPECT_EQ(error_of([&] { store().read_into(name, 0, buffer); }).code(), ErrorCode::kInternal);
    EXPECT_EQ(error_of([&] { store().info(name); }).code(), ErrorCode::kInternal);
    EXPECT_EQ(error_of([&] { store().make_durable(name); }).code(), ErrorCode::kInternal);
    EXPECT_EQ(error_of([&] { remover().remove(name); }).code(), ErrorCode::kInternal);
    EXPECT_EQ(error_of([&] { check_name(name); }).code(), ErrorCode::kInternal);
  }
  EXPECT_TRUE(store().list({.prefix = ""}).entries.empty());
}

TEST_P(StoreContract, TakesTheLongestAndStrangestLegalNames) {
  const std::string cases[] = {"a",
                               "A-Z_0.9",
                               "a.",
                               "-",
                               "--help",
                               "_",
                               "00000001000000000000000A.00000028.backup",
                               std::string(255, 'x'),
                               std::string(255, 'y') + "/" + std::string(255, 'y') + "/" +
                                   std::string(255, 'y') + "/" + std::string(132, 'y')};
  for (const std::string& name : cases) {
    put(name, name);
    EXPECT_EQ(get(name), name);
  }
  EXPECT_EQ(names({.prefix = ""}).size(), std::size(cases));
}

TEST_P(StoreContract, AListingOfAFolderNeedsTheNameOfAFolder) {
  for (const char* prefix : {"a", "/", "a//", "../", ".tmp/", "a/b"})
    EXPECT_EQ(error_of([&] { store().list({.prefix = prefix}); }).code(), ErrorCode::kInternal)
        << prefix;
}

TEST_P(StoreContract, ANameIsAnObjectsOrAFoldersNeverBoth) {
  put("a/b", "below a");
  put("c", "an object");
  EXPECT_EQ(error_of([&] { store().create("a", {}); }).code(), ErrorCode::kInternal);
  EXPECT_EQ(error_of([&] { store().create("c/d", {}); }).code(), ErrorCode::kInternal);
  EXPECT_EQ(error_of([&] { store().create("c/d/e", {}); }).code(), ErrorCode::kInternal);
  EXPECT_EQ(error_of([&] { store().upload("c/d")->commit(); }).code(), ErrorCode::kInternal);
  EXPECT_EQ(get("a"), "<absent>");
  EXPECT_EQ(get("c/d"), "<absent>");
  EXPECT_FALSE(store().info("a"));
  EXPECT_FALSE(remover().remove("a"));
  EXPECT_EQ(names({.prefix = ""}), (Names{"a/b", "c"}));
  EXPECT_TRUE(store().list({.prefix = "c/"}).entries.empty());
}

// --- Upload -------------------------------------------------------------------------------------

TEST_P(StoreContract, AnUploadIsThereWholeAfterCommitAndNotBefore) {
  std::unique_ptr<Upload> upload = store().upload("packs/3f/one");
  upload->append(as_bytes("first "));
  upload->append({});
  upload->append(as_bytes("second"));
  EXPECT_FALSE(store().info("packs/3f/one"));
  EXPECT_FALSE(store().read("packs/3f/one", 0, 100));
  EXPECT_TRUE(store().list({.prefix = ""}).entries.empty());
  EXPECT_TRUE(store().list({.prefix = "", .folders = true}).entries.empty());
  upload->commit();
  EXPECT_EQ(get("packs/3f/one"), "first second");
  upload.reset();
  EXPECT_EQ(get("packs/3f/one"), "first second");
  EXPECT_EQ(names({.prefix = ""}), Names{"packs/3f/one"});
}

TEST_P(StoreContract, AnUploadWithoutCommitLeavesNothing) {
  store().upload("a/b")->append(as_bytes("lost"));
  store().upload("c");
  EXPECT_FALSE(store().info("a/b"));
  EXPECT_TRUE(store().list({.prefix = ""}).entries.empty());
  EXPECT_TRUE(store().list({.prefix = "", .folders = true}).entries.empty());
  put("a/b", "the name is still free");
}

TEST_P(StoreContract, AnUploadMayBeEmpty) {
  store().upload("empty")->commit();
  EXPECT_EQ(get("empty"), "");
  EXPECT_EQ(store().info("empty")->bytes, 0u);
}

TEST_P(StoreContract, CommitRefusesATakenNameAndLeavesWhatStandsThere) {
  std::unique_ptr<Upload> late = store().upload("a/b");
  late->append(as_bytes("late"));
  put("a/b", "first");
  Error error = error_of([&] { late->commit(); });
  EXPECT_EQ(error.code(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(error.message(), "object \"a/b\" already exists");
  late.reset();
  EXPECT_EQ(get("a/b"), "first");
  EXPECT_EQ(names({.prefix = ""}), Names{"a/b"});
}

TEST_P(StoreContract, UploadsOfSeveralThreadsDoNotMix) {
  constexpr int kThreads = 8;
  constexpr int kPieces = 50;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < kThreads; ++i)
      threads.emplace_back([&, i] {
        std::unique_ptr<Upload> upload = store().upload(fmt::format("deep/er/{}/pack", i));
        for (int piece = 0; piece < kPieces; ++piece)
          upload->append(as_bytes(std::string(100, static_cast<char>('a' + i))));
        upload->commit();
      });
  }
  for (int i = 0; i < kThreads; ++i)
    EXPECT_EQ(get(fmt::format("deep/er/{}/pack", i)),
              std::string(100 * kPieces, static_cast<char>('a' + i)));
}

TEST_P(StoreContract, OfManyCommitsToOneNameExactlyOneSucceeds) {
  std::atomic<int> made{0};
  std::atomic<int> refused{0};
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&, i] {
        std::unique_ptr<Upload> upload = store().upload("new/one");
        upload->append(as_bytes(fmt::format("writer {}", i)));
        try {
          upload->commit();
          ++made;
        } catch (const Error& error) {
          if (error.code() == ErrorCode::kAlreadyExists) ++refused;
        }
      });
  }
  EXPECT_EQ(made, 1);
  EXPECT_EQ(refused, 7);
  EXPECT_TRUE(get("new/one").starts_with("writer "));
}

// --- create -------------------------------------------------------------------------------------

TEST_P(StoreContract, CreateTellsWhetherItMadeTheObject) {
  EXPECT_TRUE(store().create("x/y/z", as_bytes("one")));
  EXPECT_FALSE(store().create("x/y/z", as_bytes("two")));
  EXPECT_FALSE(store().create("x/y/z", as_bytes("one")));  // the same bytes are no exception
  EXPECT_EQ(get("x/y/z"), "one");
}

TEST_P(StoreContract, OfManyCreatorsOfOneNameExactlyOneGetsTrue) {
  for (int round = 0; round < 20; ++round) {
    std::string name = fmt::format("locks/{}/held", round);
    std::atomic<int> winner{-1};
    std::atomic<int> winners{0};
    {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 8; ++i)
        threads.emplace_back([&, i] {
          if (!store().create(name, as_bytes(std::to_string(i)))) return;
          winner = i;
          ++winners;
        });
    }
    EXPECT_EQ(winners, 1);
    EXPECT_EQ(get(name), std::to_string(winner));
  }
}

// --- Reading ------------------------------------------------------------------------------------

TEST_P(StoreContract, ReadsRangesAndLessWhereTheObjectEnds) {
  put("object", "0123456789");
  const struct {
    uint64_t offset;
    uint64_t length;
    const char* expected;
  } cases[] = {{0, 10, "0123456789"},
               {0, 3, "012"},
               {4, 3, "456"},
               {8, 100, "89"},
               {9, 1, "9"},
               {0, 0, ""},
               {10, 5, ""},
               {11, 5, ""},
               {UINT64_MAX, 5, ""},
               {3, UINT64_MAX, "3456789"},
               {UINT64_MAX, UINT64_MAX, ""}};
  for (const auto& c : cases) {
    SCOPED_TRACE(fmt::format("{}+{}", c.offset, c.length));
    std::optional<Bytes> bytes = store().read("object", c.offset, c.length);
    ASSERT_TRUE(bytes);
    EXPECT_EQ(as_text(*bytes), c.expected);

    std::string buffer(std::min<uint64_t>(c.length, 20), '#');
    std::span<std::byte> into = std::as_writable_bytes(std::span(buffer));
    EXPECT_EQ(store().read_into("object", c.offset, into), std::string_view(c.expected).size());
    EXPECT_TRUE(buffer.starts_with(c.expected));
    EXPECT_EQ(std::ranges::count(buffer, '#'),
              static_cast<ptrdiff_t>(buffer.size() - std::string_view(c.expected).size()));
  }
}

TEST_P(StoreContract, AbsentIsAnAnswer) {
  put("a/b", "there");
  std::byte buffer[4];
  for (const char* name : {"x", "a/c", "a/b/c", "a", "a/b/c/d", "x/y/z"}) {
    SCOPED_TRACE(name);
    EXPECT_FALSE(store().read(name, 0, 4));
    EXPECT_FALSE(store().read(name, 0, 0));
    EXPECT_FALSE(store().read_into(name, 0, buffer));
    EXPECT_FALSE(store().info(name));
    EXPECT_FALSE(read_whole(store(), name, 10));
    EXPECT_FALSE(remover().remove(name));
    EXPECT_TRUE(store().list({.prefix = std::string(name) + "x/"}).entries.empty());
    Error error = error_of([&] { store().make_durable(name); });
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_EQ(error.message(), fmt::format("object \"{}\" does not exist", name));
  }
}

TEST_P(StoreContract, ReadWholeRefusesAnObjectBeyondItsLimit) {
  put("object", "0123456789");
  EXPECT_EQ(as_text(*read_whole(store(), "object", 10)), "0123456789");
  Error error = error_of([&] { read_whole(store(), "object", 9); });
  EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
  EXPECT_EQ(error.message(), "object \"object\" is too large");
}

TEST_P(StoreContract, ReadsBackLargeObjectsFromManyThreads) {
  std::mt19937_64 random(7);
  Bytes content(3 << 20);
  for (std::byte& byte : content) byte = static_cast<std::byte>(random() >> 56);
  std::unique_ptr<Upload> upload = store().upload("large");
  for (size_t at = 0; at < content.size(); at += 100'000)
    upload->append(ByteView(content).subspan(at, std::min<size_t>(100'000, content.size() - at)));
  upload->commit();

  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < 4; ++i)
      threads.emplace_back([&, i] {
        std::mt19937_64 places(i);
        for (int round = 0; round < 50; ++round) {
          size_t offset = places() % content.size();
          size_t length = std::min<size_t>(places() % 70'000, content.size() - offset);
          std::optional<Bytes> bytes = store().read("large", offset, length);
          if (!bytes || !std::ranges::equal(*bytes, ByteView(content).subspan(offset, length)))
            ++wrong;
        }
      });
  }
  EXPECT_EQ(wrong, 0);
}

TEST_P(StoreContract, InfoTellsSizeAndTimeByTheStoresOwnClock) {
  Time before = store().now();
  put("object", "0123456789");
  Time after = store().now();
  std::optional<ObjectInfo> info = store().info("object");
  ASSERT_TRUE(info);
  EXPECT_EQ(info->bytes, 10u);
  // A file system's clock ticks every few milliseconds.
  EXPECT_GE(info->modified, before - std::chrono::milliseconds(100));
  EXPECT_LE(info->modified, after + std::chrono::milliseconds(100));
  EXPECT_GE(info->changed, before - std::chrono::milliseconds(100));
  EXPECT_LE(info->changed, after + std::chrono::milliseconds(100));
  EXPECT_EQ(store().list({.prefix = ""}).entries.at(0).modified, info->modified);
  EXPECT_EQ(store().list({.prefix = ""}).entries.at(0).changed, info->changed);
  EXPECT_EQ(store().list({.prefix = ""}).entries.at(0).bytes, 10u);
}

TEST_P(StoreContract, TheClockGoesForward) {
  Time last = store().now();
  for (int i = 0; i < 100; ++i) {
    Time now = store().now();
    EXPECT_GE(now, last);
    last = now;
  }
  EXPECT_TRUE(store().list({.prefix = ""}).entries.empty());  // reading it leaves nothing behind
}

TEST_P(StoreContract, MakeDurableChangesNothing) {
  put("a/b/c", "content");
  std::optional<ObjectInfo> before = store().info("a/b/c");
  store().make_durable("a/b/c");
  EXPECT_EQ(get("a/b/c"), "content");
  EXPECT_EQ(store().info("a/b/c")->modified, before->modified);
}

// --- Listing ------------------------------------------------------------------------------------

// Names whose order as paths differs from their order as bytes: "-" < "." < "/" < "0" < "A" < "_" <
// "a".
const Names kTrickyNames = {"a-b",   "a-b.c",   "a.b",    "a/a", "a/b-c/d", "a/b.c/d",
                            "a/b/c", "a/b0/c",  "a/b_",   "a0",  "a_b/c/d", "aa/b",
                            "b",     "c/d/e/f", "c/d/e0", "c0"};

TEST_P(StoreContract, ListsWholeNamesInTheOrderOfTheirBytes) {
  Names shuffled = kTrickyNames;
  std::ranges::shuffle(shuffled, std::mt19937(3));
  for (const std::string& name : shuffled) put(name, name);
  ASSERT_TRUE(std::ranges::is_sorted(kTrickyNames));
  EXPECT_EQ(names({.prefix = ""}), kTrickyNames);
  EXPECT_EQ(names({.prefix = "a/"}),
            (Names{"a/a", "a/b-c/d", "a/b.c/d", "a/b/c", "a/b0/c", "a/b_"}));
  EXPECT_EQ(names({.prefix = "a/b/"}), Names{"a/b/c"});
  EXPECT_EQ(names({.prefix = "a-b/"}), Names{});
}

TEST_P(StoreContract, PagesOfAnySizeGiveTheSameNames) {
  for (const std::string& name : kTrickyNames) put(name, name);
  for (size_t limit = 1; limit <= kTrickyNames.size() + 1; ++limit) {
    SCOPED_TRACE(limit);
    EXPECT_EQ(names({.prefix = "", .limit = limit}), kTrickyNames);
    ListPage page = store().list({.prefix = "", .limit = limit});
    EXPECT_EQ(page.entries.size(), std::min(limit, kTrickyNames.size()));
    EXPECT_EQ(page.more, limit < kTrickyNames.size());
  }
}

TEST_P(StoreContract, ListsWhatComesAfterAnyNameWhetherItExistsOrNot) {
  for (const std::string& name : kTrickyNames) put(name, name);
  Names afters = kTrickyNames;
  for (const char* more : {"", "a", "a/", "a/b", "a/b/", "a/b/b", "a/b/d", "a/z", "a-", "a.", "b/",
                           "c/d/", "c/d/e/", "c/d/e/g", "zzz", "A", "-"})
    afters.push_back(more);
  for (const std::string& after : afters)
    for (const char* prefix : {"", "a/", "a/b/", "c/"}) {
      SCOPED_TRACE(fmt::format("after \"{}\" in \"{}\"", after, prefix));
      Names expected;
      for (const std::string& name : kTrickyNames)
        if (name.starts_with(prefix) && name > after) expected.push_back(name);
      EXPECT_EQ(names({.prefix = prefix, .after = after, .limit = 2}), expected);
    }
}

TEST_P(StoreContract, FoldersAreOneEntryEach) {
  for (const std::string& name : kTrickyNames) put(name, name);
  const Names top = {"a-b", "a-b.c", "a.b", "a/", "a0", "a_b/", "aa/", "b", "c/", "c0"};
  const Names in_a = {"a/a", "a/b-c/", "a/b.c/", "a/b/", "a/b0/", "a/b_"};
  for (size_t limit = 1; limit <= top.size() + 1; ++limit) {
    EXPECT_EQ(names({.prefix = "", .folders = true, .limit = limit}), top) << limit;
    EXPECT_EQ(names({.prefix = "a/", .folders = true, .limit = limit}), in_a) << limit;
  }
  EXPECT_EQ(names({.prefix = "c/", .folders = true}), Names{"c/d/"});
  EXPECT_EQ(names({.prefix = "", .after = "a/", .folders = true}),
            (Names{"a0", "a_b/", "aa/", "b", "c/", "c0"}));
  for (const ListEntry& entry : store().list({.prefix = "", .folders = true}).entries) {
    EXPECT_EQ(entry.is_folder(), entry.name.back() == '/');
    if (!entry.is_folder()) continue;
    EXPECT_EQ(entry.bytes, 0u);
    EXPECT_EQ(entry.modified, Time{});
  }
}

TEST_P(StoreContract, ListingsOfRandomNamesAreWhatASortedSetHolds) {
  uint64_t seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937_64 random(seed);
  auto pick = [&random](size_t below) { return static_cast<size_t>(random() % below); };
  std::set<std::string> model;
  for (int i = 0; i < 120; ++i) {
    std::string name;
    for (size_t parts = 1 + pick(4); parts > 0; --parts) {
      name += name.empty() ? "" : "/";
      name += "ab0_"[pick(4)];
      for (size_t length = pick(3); length > 0; --length) name += "-.0Aa_"[pick(6)];
    }
    auto clashes = [&](const std::string& other) {
      return other.starts_with(name + "/") || name.starts_with(other + "/");
    };
    if (std::ranges::any_of(model, clashes) || !model.insert(name).second) continue;
    put(name, "");
  }
  EXPECT_EQ(names({.prefix = "", .limit = 7}), Names(model.begin(), model.end()));
  for (const std::string& name : model) {
    std::string prefix =
        name.substr(0, name.rfind('/') == std::string::npos ? 0 : name.rfind('/') + 1);
    std::set<std::string> folders;
    for (const std::string& other : model)
      if (other.starts_with(prefix))
        folders.insert(
            other.substr(0, std::min(other.find('/', prefix.size()), other.size() - 1) + 1));
    EXPECT_EQ(names({.prefix = prefix, .folders = true, .limit = 3}),
              Names(folders.begin(), folders.end()))
        << prefix;
  }
}

// --- Removing -----------------------------------------------------------------------------------

TEST_P(StoreContract, ARemovedObjectIsGoneAndItsFolderIsNotListed) {
  put("a/b/c", "one");
  put("a/d", "two");
  EXPECT_TRUE(remover().remove("a/b/c"));
  EXPECT_FALSE(remover().remove("a/b/c"));
  EXPECT_FALSE(store().info("a/b/c"));
  EXPECT_EQ(names({.prefix = ""}), Names{"a/d"});
  EXPECT_EQ(names({.prefix = "a/", .folders = true}), Names{"a/d"});
  EXPECT_TRUE(remover().remove("a/d"));
  EXPECT_TRUE(store().list({.prefix = "", .folders = true}).entries.empty());
}

TEST_P(StoreContract, AListingThatAnotherThreadRemovesFromStaysInOrder) {
  for (int i = 0; i < 300; ++i) put(fmt::format("d/{:03}", i), "x");
  std::jthread removing([&] {
    for (int i = 1; i < 300; i += 2) remover().remove(fmt::format("d/{:03}", i));
  });
  for (int round = 0; round < 10; ++round) {
    Names listed = names({.prefix = "d/", .limit = 17});
    EXPECT_TRUE(std::ranges::is_sorted(listed));
    Names even;
    std::ranges::copy_if(listed, std::back_inserter(even),
                         [](const std::string& name) { return (name.back() - '0') % 2 == 0; });
    EXPECT_EQ(even.size(), 150u);  // what was never touched is always there
  }
}

}  // namespace
}  // namespace holdfast::store
