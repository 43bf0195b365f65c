// verify on the repository of a real cluster: what is damaged, withheld or cut off is told with
// what it means, and what it says can be recovered can be.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <random>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "repo/layout_table.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"

namespace holdfast::test {
namespace {

namespace fs = std::filesystem;

class Verify : public testing::Test {
 protected:
  // A scene with a backup, WAL behind it, and another backup.
  static std::unique_ptr<RecoveryScene> make_scene(Sealing sealing) {
    auto scene = std::make_unique<RecoveryScene>(
        RecoveryScene::Options{.major = 17, .sealing = sealing, .wal_segment_mib = 1});
    scene->server().sql("CREATE TABLE public.t AS SELECT g FROM generate_series(1, 5000) g");
    return scene;
  }
  static std::string back_up(const RecoveryScene& scene) {
    return scene.must({"backup"}).at("backup").at("id").as_string();
  }
  struct Verified {
    int status = 0;
    Json result;
    const Json& lineage() const { return result.at("lineages").items().at(0); }
    std::string verdict(const std::string& id) const {
      for (const Json& backup : lineage().at("backups").items())
        if (backup.at("id").as_string() == id) return backup.at("verdict").as_string();
      return "none";
    }
  };
  static Verified verify(const RecoveryScene& scene, std::vector<std::string> words = {}) {
    words.insert(words.begin(), {"verify", "--json"});
    const Captured ran = scene.run(words);
    Verified verified{.status = ran.status.code, .result = {}};
    verified.result = Json::parse(ran.out, "output of verify");
    return verified;
  }
  // Paths of the repository's files by the kind of object that they are.
  static std::multimap<repo::ObjectKind, std::string> objects(const RecoveryScene& scene) {
    std::multimap<repo::ObjectKind, std::string> found;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(scene.repository()))
      if (entry.is_regular_file())
        if (const repo::KindOfObject* kind =
                repo::kind_of_object(fs::relative(entry.path(), scene.repository()).string()))
          found.emplace(kind->kind, entry.path().string());
    return found;
  }
  // What was modified just before a run will be read again by the next one: it could be changed in
  // the same tick.
  static void let_the_clock_tick(const RecoveryScene& scene) {
    auto newest = fs::file_time_type::min();
    for (const auto& [kind, path] : objects(scene))
      newest = std::max(newest, fs::last_write_time(path));
    EXPECT_TRUE(comes_true(
        [&] { return fs::file_time_type::clock::now() - newest > std::chrono::milliseconds(50); }));
  }
  static void write(const std::string& path, ByteView bytes) {
    remove_file_if_exists(path);
    write_file_durably(path, bytes);
  }
  static std::vector<std::string> ids(const Json& array) {
    std::vector<std::string> all;
    for (const Json& id : array.items()) all.push_back(id.as_string());
    return all;
  }
};

TEST_F(Verify, FlippedBitsAreNoticedByVerifyAndRefusedByRestore) {
  const uint64_t seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  std::mt19937_64 random(seed);
  for (const Sealing sealing : {Sealing::kNone, Sealing::kKeyFile}) {
    const std::unique_ptr<RecoveryScene> scene = make_scene(sealing);
    const std::string id = back_up(*scene);
    let_the_clock_tick(*scene);
    Verified good = verify(*scene);
    EXPECT_EQ(good.status, 0) << good.result.dump();
    EXPECT_EQ(good.verdict(id), "good");
    // What was read whole is not read again.
    good = verify(*scene);
    EXPECT_EQ(good.lineage().at("packs_read").as_u64(), 0u);
    EXPECT_GT(good.lineage().at("bytes_unchanged").as_u64(), 0u);
    good = verify(*scene, {"--deep"});
    EXPECT_GT(good.lineage().at("packs_read").as_u64(), 0u);
    EXPECT_EQ(good.lineage().at("bytes_unchanged").as_u64(), 0u);

    std::set<repo::ObjectKind> kinds;
    for (const auto& [kind, path] : objects(*scene)) kinds.insert(kind);
    EXPECT_TRUE(kinds.contains(repo::ObjectKind::kVerified));
    for (const repo::ObjectKind kind : kinds) {
      // The last by name: each run leaves a record, and the newest takes the others over.
      std::string path;
      for (const auto& [of, other] : objects(*scene))
        if (of == kind) path = std::max(path, other);
      SCOPED_TRACE(path);
      const Bytes whole = read_file(path);
      Bytes flipped = whole;
      // Behind the salt of a document, which counts for nothing where it is not sealed.
      flipped[flipped.size() - 1 - random() % (flipped.size() / 2)] ^= std::byte{1};
      write(path, flipped);
      const Captured ran = scene->run({"verify"});
      EXPECT_EQ(ran.status.code, 3) << describe(ran);
      if (kind == repo::ObjectKind::kPack || kind == repo::ObjectKind::kManifest) {
        const Captured restored =
            scene->run({"restore", "--into", scene->path("refused"), "--backup", id});
        if (!restored.status.ok()) {
          EXPECT_EQ(restored.status.code, 3) << describe(restored);
          EXPECT_FALSE(lstat_if_exists(scene->path("refused/global/pg_control")));
        }
        remove_tree(scene->path("refused"));
      }
      write(path, whole);
      const Captured after = scene->run({"verify"});
      EXPECT_EQ(after.status.code, 0) << describe(after);
    }
  }
}

// The record of what was read goes with it, and speaks of other files.
TEST_F(Verify, ReadsAllOfACopyOfTheRepositoryAndWhatWasPutBackFromOne) {
  const std::unique_ptr<RecoveryScene> scene = make_scene(Sealing::kNone);
  back_up(*scene);
  let_the_clock_tick(*scene);
  EXPECT_EQ(verify(*scene).status, 0);
  EXPECT_EQ(verify(*scene).lineage().at("packs_read").as_u64(), 0u);
  const std::string copy = scene->path("copy");
  run_checked({.arguments = {"cp", "-a", scene->repository(), copy}});
  const Verified of_copy = verify(*scene, {"--repo", copy});
  EXPECT_EQ(of_copy.status, 0) << of_copy.result.dump();
  EXPECT_GT(of_copy.lineage().at("packs_read").as_u64(), 0u);
  EXPECT_EQ(of_copy.lineage().at("bytes_unchanged").as_u64(), 0u);
  const auto all = objects(*scene);
  const std::string path = all.find(repo::ObjectKind::kPack)->second;
  remove_file_if_exists(path);
  run_checked({.arguments = {"cp", "-a", copy + path.substr(scene->repository().size()), path}});
  EXPECT_EQ(verify(*scene).lineage().at("packs_read").as_u64(), 1u);
}

TEST_F(Verify, ABackupThatWasFoundDamagedIsNotChosenUntilItIsFoundGood) {
  const std::unique_ptr<RecoveryScene> scene = make_scene(Sealing::kNone);
  const std::string first = back_up(*scene);
  std::set<std::string> of_first;
  for (const auto& [kind, path] : objects(*scene))
    if (kind == repo::ObjectKind::kPack) of_first.insert(path);
  const std::string second = back_up(*scene);
  std::string taken;  // the largest pack of the second
  for (const auto& [kind, path] : objects(*scene))
    if (kind == repo::ObjectKind::kPack && !of_first.contains(path) &&
        (taken.empty() || fs::file_size(path) > fs::file_size(taken)))
      taken = path;
  fs::rename(taken, scene->path("withheld"));
  const Verified verified = verify(*scene);
  EXPECT_EQ(verified.status, 3);
  EXPECT_EQ(verified.verdict(first), "good");
  EXPECT_EQ(verified.verdict(second), "damaged");
  const Json& finding = verified.lineage().at("findings").items().at(0);
  EXPECT_EQ(finding.at("problem").as_string(), "missing");
  EXPECT_EQ(ids(finding.at("backups")), std::vector<std::string>{second});

  const Captured listed = scene->run({"backup", "list"});
  EXPECT_NE(listed.out.find("damaged"), std::string::npos) << listed.out;
  const std::unique_ptr<RestoredServer> restored = scene->restore_into("copy", {});
  EXPECT_EQ(restored->result().at("plan").at("backup").as_string(), first);
  EXPECT_EQ(restored->value("SELECT count(*) FROM public.t"), "5000");

  fs::rename(scene->path("withheld"), taken);
  const Verified again = verify(*scene);
  EXPECT_EQ(again.status, 0) << again.result.dump();
  const Json list = scene->must({"backup", "list"});
  for (const Json& backup : list.at("backups").items())
    EXPECT_FALSE(backup.at("damaged").as_bool());
}

TEST_F(Verify, AGapIsNamedAndTheWindowsBesideItCanBeRecovered) {
  const std::unique_ptr<RecoveryScene> scene = make_scene(Sealing::kNone);
  const std::string first = back_up(*scene);
  scene->server().sql("CREATE TABLE public.before AS SELECT 1 AS a");
  scene->server().sql("SELECT pg_create_restore_point('before the gap')");
  // The server reads ahead of what it replays, and so comes to the gap before its target.
  scene->archive_current_segment();
  scene->server().sql("CREATE TABLE public.lost AS SELECT 1 AS a");
  const std::string missing = scene->archive_current_segment();
  scene->server().sql("CREATE TABLE public.behind AS SELECT 1 AS a");
  scene->archive_current_segment();
  fs::rename(*scene->wal_object(missing), scene->path("withheld"));
  const Verified open = verify(*scene);
  EXPECT_EQ(open.status, 4) << "what is committed now cannot be recovered";
  EXPECT_FALSE(open.result.at("damaged").as_bool());
  EXPECT_TRUE(open.result.at("misses_wal").as_bool());
  const std::string second = back_up(*scene);
  scene->server().sql("CREATE TABLE public.after AS SELECT 1 AS a");
  scene->archive_current_segment();

  const Verified verified = verify(*scene);
  EXPECT_EQ(verified.status, 0) << "a newer backup stands behind it";
  EXPECT_FALSE(verified.result.at("damaged").as_bool());
  EXPECT_FALSE(verified.result.at("misses_wal").as_bool());
  EXPECT_EQ(verified.verdict(first), "good");
  EXPECT_EQ(verified.verdict(second), "good");
  ASSERT_EQ(verified.lineage().at("gaps").items().size(), 1u) << verified.result.dump();
  const Json& gap = verified.lineage().at("gaps").items().at(0);
  EXPECT_EQ(gap.at("first_segment").as_string(), missing);
  EXPECT_EQ(gap.at("problem").as_string(), "missing");
  EXPECT_EQ(ids(gap.at("backups")), std::vector<std::string>{first});
  EXPECT_EQ(gap.at("newer_backup").as_string(), second);
  const Json::Array& windows = verified.lineage().at("recoverable").items();
  ASSERT_EQ(windows.size(), 2u);
  EXPECT_EQ(ids(windows[0].at("backups")), std::vector<std::string>{first});
  EXPECT_EQ(ids(windows[1].at("backups")), std::vector<std::string>{second});
  EXPECT_LE(pg::parse_lsn(windows[0].at("end_lsn").as_string()),
            pg::parse_lsn(gap.at("start_lsn").as_string()));

  // Both windows are real.
  const std::unique_ptr<RestoredServer> before =
      scene->restore_into("before", {"--to-name", "before the gap"});
  EXPECT_EQ(before->value("SELECT count(*) FROM pg_class WHERE relname IN ('before', 'lost')"),
            "1");
  const Captured refused =
      scene->run({"restore", "--into", scene->path("up to it"), "--backup", first});
  const std::string_view option = "--to-lsn ";
  const size_t hint = refused.err.find(option);
  ASSERT_NE(hint, std::string::npos) << refused.err;
  const std::string last = refused.err.substr(
      hint + option.size(),
      refused.err.find_first_of(" \n", hint + option.size()) - hint - option.size());
  const std::unique_ptr<RestoredServer> up_to_it =
      scene->restore_into("up to it", {"--backup", first, "--to-lsn", last});
  EXPECT_EQ(up_to_it->value("SELECT count(*) FROM pg_class WHERE relname IN ('before', 'lost')"),
            "1");
  const std::unique_ptr<RestoredServer> after = scene->restore_into("after", {});
  EXPECT_EQ(after->value("SELECT count(*) FROM pg_class WHERE relname IN ('lost', 'after')"), "2");
}

TEST_F(Verify, WhatCannotBeLookedAtIsAnErrorAndWhatCannotBeWrittenToIsVerified) {
  const std::unique_ptr<RecoveryScene> scene = make_scene(Sealing::kKeyFile);
  back_up(*scene);
  // No right to write: all is read, and no mark is kept.
  auto set_writable = [&](bool writable) {
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(scene->repository()))
      if (entry.is_directory())
        fs::permissions(entry.path(), fs::perms::owner_write,
                        writable ? fs::perm_options::add : fs::perm_options::remove);
    fs::permissions(scene->repository(), fs::perms::owner_write,
                    writable ? fs::perm_options::add : fs::perm_options::remove);
  };
  set_writable(false);
  const Captured read_only = scene->run({"verify"});
  set_writable(true);
  EXPECT_EQ(read_only.status.code, 0) << describe(read_only);
  EXPECT_NE(read_only.out.find("No mark and no record of this was kept"), std::string::npos)
      << read_only.out;

  // Another key.
  const Bytes key = read_file(scene->key_file());
  write(scene->key_file(), as_bytes(std::string(64, 'a') + "\n"));
  fs::permissions(scene->key_file(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(scene->run({"verify"}).status.code, 2);
  write(scene->key_file(), key);
  fs::permissions(scene->key_file(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(scene->run({"verify"}).status.code, 0);

  // An empty directory, as where a disk is not mounted.
  fs::rename(scene->repository(), scene->path("elsewhere"));
  make_directory(scene->repository());
  EXPECT_EQ(scene->run({"verify"}).status.code, 1);
}

}  // namespace
}  // namespace holdfast::test
