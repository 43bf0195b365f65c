// A repository in which a bit is wrong: every header and footer byte, and 64 places more, of one
// object of every kind that the format has, sealed or not. Verify notices each; a restore is
// refused or brings back what was backed up, and what it refuses does not start. No server is
// needed; it stands among the tests of the optimised build because it makes tens of thousands of
// trials.
//
// HOLDFAST_SEED repeats a run.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <iostream>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "base/file.h"
#include "restore/restore.h"
#include "support/counting_store.h"
#include "support/recording_reporter.h"
#include "support/whole_repository.h"
#include "verify/verify.h"

namespace holdfast::verify {
namespace {

using repo::ObjectKind;
using test::SampleFile;
using test::Sealing;
using test::WholeRepository;

constexpr size_t kPlaces = 64;
constexpr size_t kUnreadPlaces = 8;
constexpr size_t kBlock = 8192;

uint64_t seed_of_run() {
  const char* given = std::getenv("HOLDFAST_SEED");
  const uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  std::cout << "HOLDFAST_SEED=" << seed << "\n";
  return seed;
}

// The bytes of an object's header and footer, by its shape.
std::vector<size_t> ends_of(const repo::KindOfObject& kind, ByteView bytes) {
  size_t front = 0, back = 0;
  switch (kind.shape) {
    case repo::ObjectShape::kOpenDocument:
    case repo::ObjectShape::kDocument:
      front = as_text(bytes).find('\n') + 1;
      back = 3;  // line feed, }, line feed
      break;
    case repo::ObjectShape::kSections:
      front = repo::kHeaderBytes + 8;    // and the head of the first section
      back = 8 + 4 + codec::kSealBytes;  // the end section
      break;
    case repo::ObjectShape::kExtents:
      front = repo::kHeaderBytes + 64;  // and the header of the first extent
      back = 32 + codec::kSealBytes;    // the trailer, and the check of the footer
      break;
  }
  std::vector<size_t> places;
  for (size_t at = 0; at < std::min(front, bytes.size()); ++at) places.push_back(at);
  for (size_t at = bytes.size() - std::min(back, bytes.size()); at < bytes.size(); ++at)
    places.push_back(at);
  return places;
}

class FlipTest : public testing::TestWithParam<Sealing> {
 protected:
  FlipTest() : random_(seed_of_run()), world_(GetParam()) {
    make_directories(root_, 0700);
    backup_ = world_.take_backup();
    world_.write_wal(4);
    world_.switch_segment();
    world_.archive_wal();
    world_.add_every_kind(backup_);
    EXPECT_FALSE(outcome().damaged) << outcome().words;
    world_.clock.advance(std::chrono::minutes(1));
    whole_ = test::object_names(world_.store);
    for (const std::string& name : whole_) contents_[name] = test::object_bytes(world_.store, name);
  }

  ~FlipTest() override {
    // A destructor does not throw; what is left goes with the disk.
    try {
      remove_tree(root_);
    } catch (const Error&) {
    }
  }

  struct Outcome {
    bool damaged = false;  // told, or refused with an error
    std::string words;
  };
  Outcome outcome() {
    try {
      const repo::Repository repository =
          repo::Repository::open(world_.store, world_.key, std::nullopt, world_.random);
      test::RecordingReporter reporter;
      const VerifyResult result = verify({.cluster = "main", .jobs = 1}, repository, reporter, {});
      std::string words;
      auto tell = [&](const Finding& finding) {
        words += finding.object + ": " + finding.detail + "\n";
      };
      std::ranges::for_each(result.common, tell);
      for (const LineageResult& lineage : result.lineages) {
        std::ranges::for_each(lineage.findings, tell);
        for (const Gap& gap : lineage.gaps)
          words += fmt::format("{} to {}: {}\n", gap.first_segment, gap.last_segment, gap.problem);
        for (const BackupVerdict& backup : lineage.backups)
          words += backup.id + ": " + backup.reason + "\n";
      }
      return {.damaged = result.damaged(), .words = words};
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::kCorrupt || error.code() == ErrorCode::kUnsupported ||
                  error.code() == ErrorCode::kWrongKey || error.code() == ErrorCode::kConfiguration)
          << error.message();
      return {.damaged = true, .words = error.message()};
    }
  }

  // Restores what there is. True: it came to its end. What stands there is what was backed up, also
  // where it was refused; and then nothing starts on it.
  bool restores(store::Store* store = nullptr) {
    const std::string into = join_path(root_, "data");
    remove_tree(into);
    bool finished = false;
    try {
      const repo::Repository repository = repo::Repository::open(
          store != nullptr ? *store : world_.store, world_.key, std::nullopt, world_.random);
      test::RecordingReporter reporter;
      restore::RestoreOptions options;
      options.where = restore::Where::kInto;
      options.directory = into;
      options.restore_command = "holdfast wal get %f \"%p\"";
      options.jobs = 1;
      options.target.timeline = pg::TimelineId{1};
      restore::restore(options, repository, world_.clock, reporter, {});
      finished = true;
    } catch (const Error& error) {
      EXPECT_NE(error.code(), ErrorCode::kInternal) << error.message();
    }
    for (const SampleFile& file : files_) {
      const std::string laid = join_path(into, file.path);
      if (file.type != repo::EntryType::kFile || file.path.ends_with(".conf")) continue;
      if (!lstat_if_exists(laid)) {
        EXPECT_FALSE(finished) << file.path;
        continue;
      }
      const Bytes found = read_file(laid);
      EXPECT_TRUE(as_text(found) == as_text(file.content) ||
                  (!finished && is_part(found, file.content)))
          << file.path;
    }
    if (!finished) {
      EXPECT_FALSE(lstat_if_exists(join_path(into, "global/pg_control")));
    }
    return finished;
  }
  // What a refused restore leaves: bytes of the file, or none yet.
  static bool is_part(ByteView found, ByteView whole) {
    if (found.size() > whole.size()) return false;
    for (size_t start = 0; start < found.size(); start += kBlock) {
      const ByteView part = found.subspan(start, std::min(kBlock, found.size() - start));
      const ByteView same = whole.subspan(start, part.size());
      if (as_text(part) == as_text(same)) continue;
      for (size_t at = 0; at < part.size(); ++at)
        if (part[at] != same[at] && part[at] != std::byte{0}) return false;
    }
    return true;
  }

  // One object of each kind, the largest.
  std::vector<std::pair<const repo::KindOfObject*, std::string>> samples() {
    std::vector<std::pair<const repo::KindOfObject*, std::string>> all;
    for (const repo::KindOfObject& kind : repo::object_kinds()) {
      std::string largest;
      for (const std::string& name : whole_)
        if (repo::kind_of_object(name) == &kind &&
            (largest.empty() || contents_[name].size() > contents_[largest].size()))
          largest = name;
      const bool is_key = kind.kind == ObjectKind::kKey || kind.kind == ObjectKind::kKeyCopy;
      if (largest.empty() && is_key && GetParam() == Sealing::kNone) continue;
      if (largest.empty()) {
        ADD_FAILURE() << "no sample of a " << kind.noun
                      << ": add one to tests/support/whole_repository.h";
        continue;
      }
      all.emplace_back(&kind, largest);
    }
    return all;
  }
  std::vector<size_t> places_in(const repo::KindOfObject& kind, ByteView bytes) {
    std::vector<size_t> places = ends_of(kind, bytes);
    for (size_t i = 0; i < kPlaces; ++i) places.push_back(random_() % bytes.size());
    // The salt of a document that is not sealed is not used (repository-format.md, section 2.1),
    // and nothing tells what it was; of one that stands twice the other does.
    const std::string_view text = as_text(bytes);
    using enum ObjectKind;
    constexpr std::array kTwice = {kRepository, kRepositoryCopy, kKey,    kKeyCopy,
                                   kLineage,    kLineageCopy,    kBackup, kBackupCopy};
    const bool stands_twice = std::ranges::find(kTwice, kind.kind) != kTwice.end();
    if (text.find(R"("seal":"none")") != std::string_view::npos && !stands_twice) {
      const size_t salt = text.find(R"("salt":")") + 8;
      std::erase_if(places, [&](size_t at) { return at >= salt && at < salt + 64; });
    }
    return places;
  }

  // Puts other bytes in the place of an object, tries, and puts everything back as it was, what the
  // try has written taken away.
  template <typename Try>
  void with(const std::string& name, const Bytes& bytes, const Try& attempt) {
    world_.replace(name, bytes);
    attempt();
    put_back(name);
  }
  void put_back(const std::string& changed) {
    for (const std::string& name : test::object_names(world_.store))
      if (!contents_.contains(name)) world_.store.remove(name);
    world_.store.edit(changed, [&](Bytes& bytes) { bytes = contents_[changed]; });
  }
  static Bytes flipped(Bytes bytes, size_t place, int bit) {
    bytes[place] ^= static_cast<std::byte>(1 << bit);
    return bytes;
  }

  // In memory where there is a file system: thousands of restores wait for their fsync elsewhere.
  static std::string find_root(const TemporaryDirectory& other) {
    const char* disk = std::getenv("HOLDFAST_SMALL_DISK");
    return disk != nullptr ? join_path(disk, "flip") : other.path();
  }

  const TemporaryDirectory directory_{"holdfast-flip"};
  const std::string root_ = find_root(directory_);
  std::mt19937_64 random_;
  WholeRepository world_;
  const std::vector<SampleFile> files_ = WholeRepository::files(1);  // what take_backup() backs up
  std::string backup_;
  std::vector<std::string> whole_;
  std::map<std::string, Bytes> contents_;
};
INSTANTIATE_TEST_SUITE_P(Kinds, FlipTest, testing::Values(Sealing::kNone, Sealing::kKeyFile),
                         [](const auto& p) {
                           return p.param == Sealing::kNone ? "Plain" : "Sealed";
                         });

TEST_P(FlipTest, EveryFlippedBitIsNoticedByVerify) {
  for (const auto& [kind, name] : samples())
    for (size_t place : places_in(*kind, contents_[name])) {
      const int bit = static_cast<int>(random_() % 8);
      with(name, flipped(contents_[name], place, bit), [&, &object = name] {
        EXPECT_TRUE(outcome().damaged) << object << ", byte " << place << " of "
                                       << contents_[object].size() << ", bit " << bit;
      });
    }
  EXPECT_FALSE(outcome().damaged);
}

TEST_P(FlipTest, NoFlippedBitIsRestored) {
  test::CountingStore counting(world_.store);
  EXPECT_TRUE(restores(&counting));
  std::set<std::string> read_kinds;
  for (const auto& [kind, name] : samples()) {
    std::vector<size_t> places = places_in(*kind, contents_[name]);
    // What a restore does not even open cannot change it: a few trials show that.
    if (counting.bytes_of(name) == 0) {
      std::ranges::shuffle(places, random_);
      places.resize(std::min<size_t>(places.size(), kUnreadPlaces));
    } else {
      read_kinds.insert(std::string(kind->noun));
    }
    for (size_t place : places) {
      const int bit = static_cast<int>(random_() % 8);
      // Of what stands twice the other is read, and else there is no need of it.
      const bool is_twice = kind->kind == ObjectKind::kBackup;
      with(name, flipped(contents_[name], place, bit), [&, &object = name] {
        const bool restored = restores();
        EXPECT_TRUE(restored || !is_twice) << object << ", byte " << place << ", bit " << bit;
      });
    }
  }
  // Else the trials above are of nothing.
  for (const char* noun : {"repository document", "lineage document", "commit object", "manifest",
                           "pack", "mark", "WAL segment", "timeline history file"})
    EXPECT_TRUE(read_kinds.contains(noun)) << noun;
}

// All extents of the pack with the files are needed; the footer is not.
TEST_P(FlipTest, AFlippedBitInAnExtentThatIsNeededRefusesTheRestore) {
  std::string pack;
  for (const auto& [kind, name] : samples())
    if (kind->kind == ObjectKind::kPack) pack = name;
  const std::vector<repo::PackFooterEntry> footer = repo::read_pack_footer(
      world_.repository, world_.lineage.name, *parse_hex_array<16>(pack.substr(pack.size() - 32)));
  const size_t end = footer.back().offset + 64 + footer.back().unit_bytes + codec::kSealBytes;
  for (size_t i = 0; i < kPlaces / 2; ++i) {
    const size_t place = repo::kHeaderBytes + random_() % (end - repo::kHeaderBytes);
    with(pack, flipped(contents_[pack], place, 3),
         [&] { EXPECT_FALSE(restores()) << "byte " << place; });
  }
}

TEST_P(FlipTest, WhatIsCutShortOrLongerIsNoticed) {
  for (const auto& [kind, name] : samples()) {
    const Bytes& whole = contents_[name];
    const std::vector<size_t> lengths = {0, whole.size() - 1, whole.size() + 1,
                                         random_() % whole.size()};
    for (size_t length : lengths) {
      Bytes other = whole;
      other.resize(length);
      with(name, other, [&, &object = name] {
        EXPECT_TRUE(outcome().damaged) << object << " of " << length << " bytes";
        if (length != 0 && length < contents_[object].size() - 1) restores();
      });
    }
  }
}

// Another object, whole and sealed in itself, under the name of one: of another name, of the same
// kind.
TEST_P(FlipTest, AnObjectUnderAnothersNameIsNoticed) {
  const auto all = samples();
  for (const auto& [kind, name] : all)
    for (int i = 0; i < 4; ++i) {
      const std::string& other = all[random_() % all.size()].second;
      if (name == other || contents_[name] == contents_[other]) continue;
      with(name, contents_[other], [&, &object = name, &with_bytes = other] {
        EXPECT_TRUE(outcome().damaged) << object << " holds " << with_bytes;
      });
    }
  // Two of one kind.
  std::map<const repo::KindOfObject*, std::string> first;
  for (const std::string& name : whole_) {
    const repo::KindOfObject* kind = repo::kind_of_object(name);
    const auto [there, is_new] = first.emplace(kind, name);
    if (is_new) continue;
    with(name, contents_[there->second], [&, &object = name] {
      EXPECT_TRUE(outcome().damaged) << object;
      restores();
    });
  }
}

// Two extents of a pack in each other's place, as long as each other; and the whole pack of an
// older time under the name of the newer.
TEST_P(FlipTest, SwappedExtentsAreRefused) {
  std::string pack;
  for (const auto& [kind, name] : samples())
    if (kind->kind == ObjectKind::kPack) pack = name;
  const std::vector<repo::PackFooterEntry> footer = repo::read_pack_footer(
      world_.repository, world_.lineage.name, *parse_hex_array<16>(pack.substr(pack.size() - 32)));
  size_t swapped = 0;
  for (size_t a = 0; a < footer.size(); ++a)
    for (size_t b = a + 1; b < footer.size(); ++b) {
      const size_t shorter = std::min(footer[a].unit_bytes, footer[b].unit_bytes);
      const size_t longer = std::max(footer[a].unit_bytes, footer[b].unit_bytes);
      if (longer - shorter > longer / 2) continue;
      Bytes bytes = contents_[pack];
      const size_t count = 64 + shorter + codec::kSealBytes;
      std::swap_ranges(bytes.begin() + static_cast<ptrdiff_t>(footer[a].offset),
                       bytes.begin() + static_cast<ptrdiff_t>(footer[a].offset + count),
                       bytes.begin() + static_cast<ptrdiff_t>(footer[b].offset));
      ++swapped;
      with(pack, bytes, [&] {
        EXPECT_TRUE(outcome().damaged);
        EXPECT_FALSE(restores());
      });
    }
  EXPECT_GT(swapped, 0u);
}

// An older object of the same name, which an honest history does not have, is as good as its place
// in the chain of digests: a manifest is bound to its commit object, references are too.
TEST_P(FlipTest, AnOlderCopyUnderTheSameNameIsRefusedWhereACommitNamesIt) {
  for (const auto& [kind, name] : samples()) {
    if (kind->kind != ObjectKind::kManifest && kind->kind != ObjectKind::kManifestCopy &&
        kind->kind != ObjectKind::kRefs)
      continue;
    // The same repository, the same name, sealed by the same key: other bytes.
    codec::Compressor compressor({});
    store::MemoryStore aside;
    const std::string self = kind->kind == ObjectKind::kManifestCopy
                                 ? repo::manifest_name(world_.lineage.name, backup_)
                                 : name;
    repo::ObjectWriter writer(aside, world_.repository.keyring(), kind->code, self, world_.random);
    if (kind->kind == ObjectKind::kRefs)
      writer.section(1, ByteWriter().text(self).view());
    else
      writer.compressed_section(
          1, ByteWriter().text(self).text("15-1").u32(8192).u64(0).u64(0).varint(0).view(),
          compressor);
    writer.commit();
    with(name, test::object_bytes(aside, self), [&, &object = name] {
      // What verify then says of it keeps nobody from restoring it.
      EXPECT_TRUE(outcome().damaged) << object;
      EXPECT_TRUE(restores()) << object << ": there is another, or it is not read";
    });
  }
}

}  // namespace
}  // namespace holdfast::verify
