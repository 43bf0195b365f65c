// wal get never lies: 0 with the file in place, 1 only as proof of absence, 200 for all else.
#include <algorithm>
#include <filesystem>
#include <optional>
#include <sys/stat.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "cluster/server_process.h"
#include "support/holdfast_command.h"
#include "support/recovery_scene.h"
#include "support/stand_in_server.h"

namespace holdfast::test {
namespace {

// Where a server has its restore_command put what it asks for.
constexpr const char* kDestination = "pg_wal/RECOVERYXLOG";

// A stopped server that has archived some segments, and still has them.
class WalGet : public testing::Test {
 protected:
  explicit WalGet(Sealing sealing = Sealing::kNone)
      : scene_({.sealing = sealing, .wal_segment_mib = 1, .config = {"wal_keep_size = 128MB"}}) {
    scene_.server().sql("CREATE TABLE filler (text text)");
    for (int i = 0; i < 6; ++i) {
      scene_.server().sql(
          fmt::format("INSERT INTO filler SELECT md5(g::text) FROM generate_series(1, 50) g", i));
      scene_.archive_current_segment();
    }
    repository_id_ = scene_.must({"info"}).at("repository_id").as_string();
    scene_.server().stop();
    scene_.crash();
    segments_ = scene_.archived_segments();
  }

  std::string data() { return scene_.server().data_directory(); }
  std::string destination() { return join_path(data(), kDestination); }
  // Asks as the server does, in its data directory; what was there before is gone.
  Captured get(const std::string& file, std::vector<std::string> words = {}) {
    return get_for(data(), file, std::move(words));
  }
  Captured get_for(const std::string& directory, const std::string& file,
                   std::vector<std::string> words = {}) {
    remove_file_if_exists(join_path(directory, kDestination));
    std::vector<std::string> all = {"wal", "get", file, kDestination, "--timeout", "1s"};
    if (std::ranges::find(words, "--read-ahead") == words.end())
      all.insert(all.end(), {"--read-ahead", "0"});
    all.insert(all.end(), words.begin(), words.end());
    return scene_.run(all, directory);
  }
  void expect_unknown(const Captured& ran, const std::string& directory) {
    EXPECT_EQ(ran.status.code, 200) << describe(ran);
    EXPECT_FALSE(ran.status.signalled);
    EXPECT_FALSE(lstat_if_exists(join_path(directory, kDestination)));
    EXPECT_NE(ran.err.find("ERROR:  "), std::string::npos) << ran.err;
  }
  void expect_unknown(const Captured& ran) { expect_unknown(ran, data()); }
  void expect_absent(const Captured& ran) {
    EXPECT_EQ(ran.status.code, 1) << describe(ran);
    EXPECT_FALSE(lstat_if_exists(destination()));
  }
  void expect_placed(const Captured& ran, const std::string& segment) {
    ASSERT_EQ(ran.status.code, 0) << describe(ran);
    EXPECT_EQ(read_file(destination()), read_file(join_path(data(), "pg_wal/" + segment)));
  }
  // The segment behind the last one that is archived.
  std::string next_segment() {
    pg::SegmentName name = pg::parse_wal_file_name(segments_.back(), scene_.segment_size()).segment;
    ++name.segment_number;
    return pg::segment_file_name(name, scene_.segment_size());
  }
  // Reading ahead is for servers alone.
  void let_a_server_live() { living_.emplace(data()); }
  void end_the_reader() {
    end_processes_below(data());
    living_->stop();
    let_a_server_live();
  }
  std::string object(const std::string& segment) { return scene_.wal_object(segment).value(); }

  RecoveryScene scene_;
  std::optional<StandInServer> living_;
  std::vector<std::string> segments_;
  std::string repository_id_;
};
class SealedWalGet : public WalGet {
 protected:
  SealedWalGet() : WalGet(Sealing::kKeyFile) {}
};

TEST_F(WalGet, PlacesWhatIsArchivedByteForByteAndProvesWhatIsNot) {
  for (const std::string& segment : segments_) {
    SCOPED_TRACE(segment);
    expect_placed(get(segment), segment);
  }
  expect_absent(get(next_segment()));
  expect_absent(get("00000002.history"));
  expect_absent(get("00000001.history"));
  expect_absent(get(segments_.front() + ".00000028.backup"));
}

TEST_F(WalGet, AnswersWhatItCannotKnowWith200AndPlacesNothing) {
  const std::string asked = segments_[2];
  const std::string away = scene_.path("repo.away");
  auto put_back = [&] {
    remove_tree(scene_.repository());
    rename_path(away, scene_.repository());
  };
  const PostgresServer other({.wal_segment_mib = 1, .start = false});

  {
    SCOPED_TRACE("an empty directory where the repository was");
    rename_path(scene_.repository(), away);
    make_directory(scene_.repository());
    expect_unknown(get(asked));
    expect_unknown(get(next_segment()));
    expect_unknown(get("00000002.history"));
    put_back();
  }
  {
    SCOPED_TRACE("no directory where the repository was");
    rename_path(scene_.repository(), away);
    expect_unknown(get(asked));
    expect_unknown(get(next_segment()));
    put_back();
  }
  {
    SCOPED_TRACE("a repository that may not be entered");
    ASSERT_EQ(chmod(scene_.repository().c_str(), 0), 0);
    expect_unknown(get(asked));
    expect_unknown(get(next_segment()));
    ASSERT_EQ(chmod(scene_.repository().c_str(), 0700), 0);
  }
  {
    SCOPED_TRACE("a segment that may not be read");
    ASSERT_EQ(chmod(object(asked).c_str(), 0), 0);
    expect_unknown(get(asked));
    ASSERT_EQ(chmod(object(asked).c_str(), 0600), 0);
  }
  {
    SCOPED_TRACE("a directory of the archive that may not be listed");
    const std::string folder = parent_path(object(asked));
    ASSERT_EQ(chmod(folder.c_str(), 0), 0);
    expect_unknown(get(asked));
    expect_unknown(get(next_segment()));
    ASSERT_EQ(chmod(folder.c_str(), 0700), 0);
  }
  {
    SCOPED_TRACE("another repository under the same path");
    expect_unknown(get(next_segment(), {"--repo-id", std::string(32, 'a')}));
    expect_unknown(get(asked, {"--repo-id", std::string(32, 'a')}));
  }
  {
    SCOPED_TRACE("the server of another cluster asks");
    expect_unknown(get_for(other.data_directory(), asked), other.data_directory());
    expect_unknown(get_for(other.data_directory(), next_segment()), other.data_directory());
    expect_unknown(get_for(other.data_directory(), "00000002.history"), other.data_directory());
  }
  {
    SCOPED_TRACE("a cluster that the repository does not have");
    expect_unknown(get(asked, {"--cluster", "somebody-elses"}));
    expect_unknown(get(next_segment(), {"--cluster", "somebody-elses"}));
  }
  {
    SCOPED_TRACE("not in a data directory");
    make_directory(scene_.path("elsewhere"));
    make_directory(scene_.path("elsewhere/pg_wal"));
    expect_unknown(get_for(scene_.path("elsewhere"), asked), scene_.path("elsewhere"));
  }
  {
    SCOPED_TRACE("wrong usage");
    const std::vector<std::vector<std::string>> lines = {
        {"--no-such-option"},
        {"a third word"},
        {"--timeout", "soon"},
        {"--read-ahead", "many"},
        {"--config", scene_.path("no-such-file.toml")},
        {"--repo", ""},
        {"--repo-id", "no hexadecimal number"},
        {"--cluster", "../.."},
    };
    for (const std::vector<std::string>& words : lines) {
      SCOPED_TRACE(words.front());
      expect_unknown(get(asked, words));
    }
    expect_unknown(scene_.run({"wal", "get"}, data()));
    expect_unknown(scene_.run({"wal", "get", asked}, data()));
    expect_unknown(get("no-such-kind-of-file"));
    expect_unknown(get("../" + asked));
    write_file_durably(scene_.path("broken.toml"), as_bytes("[repo\nurl = "));
    expect_unknown(holdfast(
        {"--config", scene_.path("broken.toml"), "wal", "get", asked, kDestination}, data()));
  }
  {
    SCOPED_TRACE("a destination that cannot be written");
    const Captured ran = scene_.run({"wal", "get", asked, "no-such-directory/file"}, data());
    EXPECT_EQ(ran.status.code, 200) << describe(ran);
  }
  // All of it was put back.
  expect_placed(get(asked), asked);
}

TEST_F(WalGet, TakesAHoleWithALaterSegmentForAHole) {
  const std::string object_of_hole = object(segments_[2]);
  rename_path(object_of_hole, scene_.path("hole"));
  expect_unknown(get(segments_[2]));
  expect_placed(get(segments_[3]), segments_[3]);

  // Two in a row.
  rename_path(object(segments_[3]), scene_.path("hole2"));
  expect_unknown(get(segments_[2]));
  expect_unknown(get(segments_[3]));
  // With everything behind it gone too, absence is all that can be seen.
  for (size_t i = 4; i < segments_.size(); ++i) remove_file(object(segments_[i]));
  expect_absent(get(segments_[2]));
}

TEST_F(WalGet, RefusesADamagedObjectHoweverItIsDamaged) {
  const std::string asked = segments_[2];
  const std::string place = object(asked);
  ASSERT_EQ(chmod(place.c_str(), 0600), 0);
  const Bytes whole = read_file(place);
  ASSERT_GT(whole.size(), 600U);
  struct Damage {
    std::string name;
    Bytes bytes;
  };
  std::vector<Damage> damages;
  damages.push_back({"empty", {}});
  for (size_t length : {size_t{1}, size_t{40}, whole.size() / 2, whole.size() - 1})
    damages.push_back({fmt::format("cut to {} bytes", length),
                       Bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(length))});
  damages.push_back({"longer by one byte", whole});
  damages.back().bytes.push_back(std::byte{0});
  for (size_t at : {size_t{0}, size_t{9}, size_t{33}, size_t{100}, whole.size() / 2,
                    whole.size() * 3 / 4, whole.size() - 20, whole.size() - 1}) {
    damages.push_back({fmt::format("a changed bit in byte {} of {}", at, whole.size()), whole});
    damages.back().bytes[at] ^= std::byte{0x10};
  }
  damages.push_back({"zeros", Bytes(whole.size())});
  damages.push_back({"the neighbour's content", read_file(object(segments_[3]))});
  for (const Damage& damage : damages) {
    SCOPED_TRACE(damage.name);
    write_file_durably(place, damage.bytes);
    expect_unknown(get(asked));
  }
  write_file_durably(place, whole);
  expect_placed(get(asked), asked);
}

TEST_F(SealedWalGet, RefusesEveryKeyButTheRightOne) {
  expect_placed(get(segments_[1]), segments_[1]);
  const Bytes right = read_file(scene_.key_file());
  const std::string key = scene_.path("another.key");

  write_file_durably(key, as_bytes("no key at all\n"));
  expect_unknown(get(segments_[1], {"--key-file", key}));
  expect_unknown(get(segments_[1], {"--key-file", scene_.path("no-such.key")}));
  expect_unknown(get(segments_[1], {"--passphrase-file", key}));
  expect_unknown(get(next_segment(), {"--passphrase-file", key}));

  // A whole key, of another repository.
  RecoveryScene other({.sealing = Sealing::kKeyFile, .archive = false});
  expect_unknown(get(segments_[1], {"--key-file", other.key_file()}));
  expect_unknown(get(next_segment(), {"--key-file", other.key_file()}));

  // None.
  const Captured none =
      holdfast({"--repo", scene_.repository(), "wal", "get", segments_[1], kDestination}, data());
  remove_file_if_exists(destination());
  EXPECT_EQ(none.status.code, 200) << describe(none);
  expect_placed(get(segments_[1]), segments_[1]);
}

TEST_F(WalGet, TellsAStandbyThatAnOutageOrAHoleIsNotThereYetAndNothingElse) {
  write_file_durably(join_path(data(), "standby.signal"), {});
  expect_placed(get(segments_[2]), segments_[2]);
  expect_absent(get(next_segment()));
  {
    SCOPED_TRACE("an outage");
    rename_path(scene_.repository(), scene_.path("repo.away"));
    expect_absent(get(segments_[2]));
    rename_path(scene_.path("repo.away"), scene_.repository());
  }
  {
    SCOPED_TRACE("a hole");
    rename_path(object(segments_[2]), scene_.path("hole"));
    const Captured ran = get(segments_[2]);
    expect_absent(ran);
    EXPECT_NE(ran.err.find("WARNING"), std::string::npos) << ran.err;
  }
  {
    SCOPED_TRACE("damage");
    const std::string place = object(segments_[3]);
    Bytes bytes = read_file(place);
    bytes[bytes.size() / 2] ^= std::byte{1};
    ASSERT_EQ(chmod(place.c_str(), 0600), 0);
    write_file_durably(place, bytes);
    expect_unknown(get(segments_[3]));
  }
  {
    SCOPED_TRACE("a wrong option");
    expect_unknown(get(segments_[1], {"--no-such-option"}));
  }
}

TEST_F(WalGet, ServesTheNextSegmentsFromWhatItReadAhead) {
  let_a_server_live();
  const std::vector<std::string> words = {"--read-ahead", "4", "--repo-id", repository_id_};
  const std::string spool = join_path(data(), "pg_wal/holdfast_spool");
  expect_placed(get(segments_[0], words), segments_[0]);
  ASSERT_TRUE(
      comes_true([&] { return lstat_if_exists(join_path(spool, segments_[2])).has_value(); }));

  // Without a repository, so what is served can only be what was read ahead.
  rename_path(scene_.repository(), scene_.path("repo.away"));
  expect_placed(get(segments_[1], words), segments_[1]);
  expect_placed(get(segments_[2], words), segments_[2]);
  rename_path(scene_.path("repo.away"), scene_.repository());
}

TEST_F(WalGet, NeverServesAnythingElseThatLiesInTheSpool) {
  let_a_server_live();
  const std::vector<std::string> words = {"--read-ahead", "4", "--repo-id", repository_id_};
  const std::string spool = join_path(data(), "pg_wal/holdfast_spool");
  expect_placed(get(segments_[0], words), segments_[0]);
  ASSERT_TRUE(
      comes_true([&] { return lstat_if_exists(join_path(spool, segments_[1])).has_value(); }));
  const Bytes spooled = read_file(join_path(spool, segments_[1]));
  end_the_reader();  // so that what is put here stays
  remove_tree(spool);
  make_directory(spool);

  struct Stale {
    const char* name;
    std::string file;
    Bytes bytes;
  };
  Bytes changed = spooled;
  changed[5000] ^= std::byte{1};
  const std::string on_timeline_2 = "00000002" + segments_[1].substr(8);
  const Stale all[] = {
      {"another segment's content", segments_[3], spooled},
      {"a changed byte", segments_[1], changed},
      {"cut short", segments_[1], Bytes(spooled.begin(), spooled.begin() + 4096)},
      {"empty", segments_[1], {}},
  };
  for (const Stale& stale : all) {
    SCOPED_TRACE(stale.name);
    write_file_durably(join_path(spool, stale.file), stale.bytes);
    expect_placed(get(stale.file, words), stale.file);
    end_the_reader();
    remove_tree(spool);
    make_directory(spool);
  }
  // The same place on another timeline is another file.
  write_file_durably(join_path(spool, segments_[1]), spooled);
  write_file_durably(join_path(spool, on_timeline_2), spooled);
  expect_absent(get(on_timeline_2, words));
  // Another repository's spool is not this one's.
  end_the_reader();
  remove_tree(spool);
  make_directory(spool);
  write_file_durably(join_path(spool, segments_[1]), spooled);
  expect_unknown(get(segments_[1], {"--read-ahead", "4", "--repo-id", std::string(32, 'b')}));
}

TEST_F(WalGet, NeverRemembersAMiss) {
  let_a_server_live();
  const std::vector<std::string> words = {"--read-ahead", "4", "--repo-id", repository_id_};
  expect_placed(get(segments_.back(), words),
                segments_.back());  // somebody reads ahead from here on
  const std::string next = next_segment();
  expect_absent(get(next, words));
  expect_absent(get(next, words));

  living_.reset();
  scene_.server().start();
  EXPECT_EQ(scene_.archive_current_segment(), next);
  scene_.server().stop();
  expect_placed(get(next, words), next);
}

// restore_command is called by others too: pg_rewind, from any directory, with an absolute path, on
// a stopped server. It lists the data directory and removes from it, so nothing else may work
// there.
TEST(WalGetForPgRewind, FindsTheDataDirectoryAndLeavesItAlone) {
  RecoveryScene scene({.wal_segment_mib = 1});
  const std::string old_data = scene.server().data_directory();
  scene.server().sql("CREATE TABLE public.kept AS SELECT 1 AS g");
  scene.must({"backup"});
  scene.archive_current_segment();
  const std::unique_ptr<RestoredServer> promoted = scene.restore_into("new", {"--archive", "on"});
  promoted->connect().query("INSERT INTO public.kept VALUES (2)");
  run_checked(cluster::as_user(
      {.arguments = {join_path(scene.server().installation().bin_directory, "pg_ctl"), "-D",
                     promoted->directory(), "-m", "fast", "-w", "stop"},
       .output = "/dev/null"},
      server_user()));
  // The old one goes on by itself, and what it wrote first is left in the archive alone.
  for (int i = 0; i < 8; ++i) {
    scene.server().sql("INSERT INTO kept VALUES (3)");
    scene.archive_current_segment();
  }
  const std::vector<std::string> archived = scene.archived_segments();
  scene.server().stop();
  for (size_t i = 0; i + 1 < archived.size(); ++i)
    remove_file_if_exists(join_path(old_data, "pg_wal/" + archived[i]));
  const std::string conf = join_path(old_data, "postgresql.auto.conf");
  write_file_durably(
      conf, as_bytes(read_text_file(conf) +
                     fmt::format("restore_command = '{} --config {} wal get %f \"%p\" --read-ahead "
                                 "8 --spool {}'\n",
                                 holdfast_program(), scene.config_file(), scene.path("spool"))));
  give_to_server_user(old_data);
  const Captured rewound = run(cluster::as_user(
      {.arguments = {join_path(scene.server().installation().bin_directory, "pg_rewind"),
                     "--restore-target-wal", "--target-pgdata", old_data, "--source-pgdata",
                     promoted->directory()},
       .directory = "/"},
      server_user()));
  EXPECT_EQ(rewound.status.code, 0) << describe(rewound);
  EXPECT_NE(rewound.err.find("rewinding from last common checkpoint"), std::string::npos)
      << rewound.err;
  EXPECT_FALSE(lstat_if_exists(scene.path("spool"))) << "nothing is read ahead for it";
}

}  // namespace
}  // namespace holdfast::test
