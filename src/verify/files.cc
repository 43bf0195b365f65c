#include "verify/files.h"

#include <algorithm>

#include <fmt/core.h>

#include "pg/control_file.h"
#include "repo/file_map.h"
#include "repo/format.h"
#include "repo/layout.h"

namespace holdfast::verify {

// --- Footers ------------------------------------------------------------------------------------

Footers::Footer Footers::of(const Bytes16& pack) {
  {
    MutexLock lock(mutex_);
    const auto found = std::ranges::find_if(kept_, [&](const auto& k) { return k.first == pack; });
    if (found != kept_.end()) {
      kept_.splice(kept_.begin(), kept_, found);
      return kept_.front().second;
    }
  }
  // Read without the lock: two may read the same one, which does no harm.
  auto footer = std::make_shared<const std::vector<repo::PackFooterEntry>>(
      repo::read_pack_footer(job_.repository, job_.lineage.name, pack));
  MutexLock lock(mutex_);
  kept_.emplace_front(pack, footer);
  if (kept_.size() > kKept) kept_.pop_back();
  return footer;
}

namespace {

constexpr uint64_t kMaxControlBytes = 8192;

[[noreturn]] void throw_wrong(std::string detail) {
  throw Error(
      {.code = ErrorCode::kCorrupt, .message = "damaged file map", .detail = std::move(detail)});
}

// One worker's view of one backup.
class FileChecker {
 public:
  FileChecker(const Job& job, Footers& footers, const repo::Backup& backup,
              const std::vector<repo::PackRefs>* refs, const DamagedPacks& damaged)
      : job_(job),
        footers_(footers),
        backup_(backup),
        refs_(refs),
        damaged_(damaged),
        extents_(job.repository, job.lineage.name),
        reader_(extents_, backup.block_bytes) {}

  // Throws kCorrupt.
  void check(const repo::ManifestEntry& entry) {
    file_bytes_ = entry.size;
    look_at(entry.location.ref.pack);
    if (entry.location.kind != repo::FileLocation::Kind::kNone) check_listed(entry.location.ref);
    reader_.open(entry.location, entry.size);
    for (uint64_t index = 0; index < reader_.leaf_count(); ++index) {
      const repo::MapLeaf& leaf = reader_.leaf(index);
      for (const repo::MapExtent& extent : leaf.extents) check_extent(leaf, extent);
    }
    if (entry.root == repo::ManifestRoot::kDataLast && entry.path == pg::kControlFilePath)
      check_control_file(entry.size);
  }
  // The pack that was looked at last.
  const Bytes16& last_pack() const { return pack_.id; }

 private:
  // What is known of a pack.
  struct Pack {
    Bytes16 id;
    const repo::PackRefs* refs = nullptr;  // nullptr: not listed
    const PackDamage* damage = nullptr;
    Footers::Footer footer;  // once it was asked for
  };
  // Extents of one pack follow on each other, a million in a row.
  void look_at(const Bytes16& id) {
    if (pack_.id == id) return;
    pack_ = {.id = id, .footer = {}};
    const auto damage = damaged_.find(id);
    if (damage != damaged_.end()) pack_.damage = &damage->second;
    if (refs_ == nullptr) return;
    const auto found = std::ranges::lower_bound(*refs_, id, {}, &repo::PackRefs::pack);
    if (found != refs_->end() && found->pack == id) pack_.refs = &*found;
  }

  // REFS may list more than is used, never less: what they do not list could be deleted.
  // REQUIRES: the pack is looked at.
  void check_listed(const repo::ExtentRef& ref) {
    if (refs_ == nullptr) return;
    const bool is_listed =
        pack_.refs != nullptr &&
        (pack_.refs->every ||
         std::ranges::any_of(pack_.refs->runs, [&](const repo::OrdinalRun& run) {
           return ref.ordinal >= run.first && ref.ordinal - run.first < run.count;
         }));
    if (is_listed) return;
    job_.findings.add({.object = repo::refs_name(job_.lineage.name, backup_.id),
                       .problem = "damaged",
                       .detail = fmt::format("It does not list extent {} of pack {}, which the "
                                             "backup uses.",
                                             ref.ordinal, to_hex(ref.pack.view())),
                       .backups = {},
                       .files = {}});
  }

  // nullptr: the pack has no such extent. A pack that was not made by compaction counts its own
  // from 0.
  const repo::PackFooterEntry* find_in_footer(const repo::ExtentRef& ref) {
    if (!pack_.footer) pack_.footer = footers_.of(ref.pack);
    const std::vector<repo::PackFooterEntry>& entries = *pack_.footer;
    auto is_it = [&](const repo::PackFooterEntry& entry) {
      return entry.ordinal == ref.ordinal && entry.home == ref.pack;
    };
    if (ref.ordinal < entries.size() && is_it(entries[ref.ordinal])) return &entries[ref.ordinal];
    const auto found = std::ranges::find_if(entries, is_it);
    return found == entries.end() ? nullptr : &*found;
  }

  void check_extent(const repo::MapLeaf& leaf, const repo::MapExtent& extent) {
    const repo::ExtentRef& ref = extent.ref;
    look_at(ref.pack);
    check_listed(ref);
    if (pack_.damage != nullptr) {
      if (pack_.damage->is_missing)
        throw_wrong(fmt::format("Pack {} is missing.", to_hex(ref.pack.view())));
      if (pack_.damage->ordinals.contains(ref.ordinal))
        throw_wrong(
            fmt::format("Extent {} of pack {} is damaged.", ref.ordinal, to_hex(ref.pack.view())));
      if (pack_.damage->has_no_footer) {
        const uint64_t raw_bytes = extents_.read(ref, repo::ContentKind::kBlocks).raw.size();
        return check_runs(leaf, extent, raw_bytes);
      }
    }
    const repo::PackFooterEntry* entry = find_in_footer(ref);
    if (entry == nullptr || entry->offset != ref.offset || entry->unit_bytes != ref.unit_bytes ||
        entry->digest != ref.digest || entry->kind != repo::ContentKind::kBlocks)
      throw_wrong(fmt::format("It refers to extent {} at byte {} of pack {}, which is another one.",
                              ref.ordinal, ref.offset, to_hex(ref.pack.view())));
    check_runs(leaf, extent, entry->raw_bytes);
  }

  // As a restore asks before it lays them.
  void check_runs(const repo::MapLeaf& leaf, const repo::MapExtent& extent, uint64_t raw_bytes) {
    const uint64_t block_bytes = backup_.block_bytes;
    for (const repo::MapRun& run : extent.runs) {
      const uint64_t start = (leaf.base_block + run.block) * block_bytes;
      const uint64_t end = std::min(file_bytes_, start + run.count * block_bytes);
      const uint64_t slot_start = run.slot * block_bytes;
      const uint64_t slot_end = std::min(raw_bytes, slot_start + run.count * block_bytes);
      if (start + (uint64_t{run.count} - 1) * block_bytes >= file_bytes_ ||
          slot_start >= slot_end || slot_end - slot_start != end - start)
        throw_wrong(
            fmt::format("{} blocks from {} do not fit the file of {} bytes, or slot {} of "
                        "their extent of {} bytes.",
                        run.count, leaf.base_block + run.block, file_bytes_, run.slot, raw_bytes));
    }
  }

  // The server will not start on another cluster's.
  void check_control_file(uint64_t size) {
    Bytes content(std::min(size, kMaxControlBytes));
    reader_.read_range(0, content);
    if (!pg::crc_is_valid(content)) throw_wrong("Its CRC does not hold.");
    const uint64_t system = pg::parse_control_file(content).system_identifier;
    if (system != job_.lineage.system_identifier)
      throw_wrong(fmt::format("It is of the system {}; the lineage is of {}.", system,
                              job_.lineage.system_identifier));
  }

  const Job& job_;
  Footers& footers_;
  const repo::Backup& backup_;
  const std::vector<repo::PackRefs>* refs_;
  const DamagedPacks& damaged_;
  repo::ExtentReader extents_;
  repo::FileReader reader_;
  uint64_t file_bytes_ = 0;
  Pack pack_;  // that was looked at last
};

class BackupFiles {
 public:
  BackupFiles(const Job& job, Footers& footers, const repo::Backup& backup,
              const std::vector<repo::PackRefs>* refs, const DamagedPacks& damaged)
      : job_(job),
        footers_(footers),
        backup_(backup),
        refs_(refs),
        damaged_(damaged),
        manifest_name_(repo::manifest_name(job.lineage.name, backup.id)) {}

  std::optional<std::string> run() {
    std::unique_ptr<repo::ManifestReader> manifest;
    if (const std::optional<Error> error = unreadable_of([&] {
          manifest = std::make_unique<repo::ManifestReader>(
              job_.repository, job_.lineage.name, backup_.id, backup_.manifest_sha256, nullptr);
        })) {
      note_manifest(*error);
      return take_reason();
    }
    if (manifest->summary().file_bytes != backup_.bytes ||
        manifest->summary().block_bytes != backup_.block_bytes)
      note("it and the commit object tell of different sizes", manifest_name_, {}, {});
    {
      TaskGroup workers(job_.stop);
      for (int at = 0; at < job_.jobs; ++at)
        workers.start([&](const std::stop_token& stop) { check_entries(*manifest, stop); });
      workers.wait();
    }
    return take_reason();
  }

 private:
  void check_entries(repo::ManifestReader& manifest, const std::stop_token& stop) {
    FileChecker checker(job_, footers_, backup_, refs_, damaged_);
    while (std::optional<repo::ManifestEntry> entry = next(manifest)) {
      throw_if_stopped(stop);
      if (entry->type != repo::EntryType::kFile) continue;
      const std::optional<Error> error = unreadable_of([&] { checker.check(*entry); });
      if (!error) continue;
      const Bytes16& pack = checker.last_pack();
      const bool is_of_pack = damaged_.contains(pack);
      const std::string object = is_of_pack || is_unread(*error)
                                     ? repo::pack_name(job_.lineage.name, pack)
                                     : manifest_name_;
      if (!is_of_pack && is_unread(*error)) job_.findings.add(object, *error);
      note(fmt::format("file \"{}\": {}", entry->path, words(*error)), object, entry->path,
           is_of_pack || is_unread(*error));
    }
  }

  // The workers take entries from one reader. Behind a block that cannot be read there are no more.
  std::optional<repo::ManifestEntry> next(repo::ManifestReader& manifest) {
    std::optional<repo::ManifestEntry> entry;
    std::optional<Error> error;
    {
      MutexLock lock(mutex_);
      if (ended_) return std::nullopt;
      error = unreadable_of([&] { entry = manifest.next(); });
      ended_ = !entry;
    }
    if (error) note_manifest(*error);
    return entry;
  }

  // What is not given to us may be whole: no mark of damage comes of it.
  static bool is_unread(const Error& error) { return !error.is_damage(); }
  static const std::string& words(const Error& error) {
    return error.detail().empty() || is_unread(error) ? error.message() : error.detail();
  }
  void note_manifest(const Error& error) {
    if (is_unread(error)) job_.findings.add(manifest_name_, error);
    note(fmt::format("its list of files cannot be read: {}", words(error)), manifest_name_, {},
         is_unread(error));
  }

  // `is_told`: the object has its finding already.
  void note(const std::string& reason, const std::string& object, const std::string& file,
            bool is_told) {
    if (!is_told)
      job_.findings.add({.object = object,
                         .problem = "damaged",
                         .detail = fmt::format("Of backup {}, {}", backup_.id, reason),
                         .backups = {},
                         .files = {}});
    job_.findings.blame(object, backup_.id, file);
    MutexLock lock(mutex_);
    if (!reason_) reason_ = reason;
  }
  std::optional<std::string> take_reason() {
    MutexLock lock(mutex_);
    return reason_;
  }

  const Job& job_;
  Footers& footers_;
  const repo::Backup& backup_;
  const std::vector<repo::PackRefs>* refs_;
  const DamagedPacks& damaged_;
  const std::string manifest_name_;
  Mutex mutex_;
  bool ended_ HF_GUARDED_BY(mutex_) = false;
  std::optional<std::string> reason_ HF_GUARDED_BY(mutex_);
};

}  // namespace

std::optional<std::string> check_files(const Job& job, Footers& footers, const repo::Backup& backup,
                                       const std::vector<repo::PackRefs>* refs,
                                       const DamagedPacks& damaged) {
  return BackupFiles(job, footers, backup, refs, damaged).run();
}

}  // namespace holdfast::verify
