#include "backup/import_entries.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/task_group.h"
#include "pg/backup_exclusions.h"
#include "repo/manifest_block.h"

namespace holdfast::backup {
namespace {

constexpr size_t kToldProblems = 3;

// Which pg_verifybackup passes over too: pg_basebackup -R changes them on the client.
constexpr std::array<std::string_view, 4> kNotCompared = {"postgresql.auto.conf", "recovery.signal",
                                                          "standby.signal", "backup_manifest"};
bool is_compared(std::string_view path) {
  return std::ranges::find(kNotCompared, path) == kNotCompared.end() &&
         !path.starts_with("pg_wal/");
}

// payload := flags u8  crc u32  tablespace u32 database u32 file u32 fork u8  manifest block
constexpr uint8_t kIsRelation = 1, kHasCrc = 2, kIsKept = 4;

Bytes encode_payload(const ImportedEntry& imported) {
  ByteWriter out;
  const pg::RelationFile relation = imported.relation.value_or(pg::RelationFile{});
  out.u8(static_cast<uint8_t>((imported.relation ? kIsRelation : 0) |
                              (imported.crc32c ? kHasCrc : 0) | (imported.is_kept ? kIsKept : 0)));
  out.u32(imported.crc32c.value_or(0)).u32(relation.locator.tablespace);
  out.u32(relation.locator.database).u32(relation.locator.file_number);
  out.u8(static_cast<uint8_t>(relation.fork)).varint(1);
  repo::encode_entry(out, imported.entry, "");
  return out.take();
}

ImportedEntry decode_payload(const Bytes& payload) {
  ByteReader in(payload, "imported entry");
  ImportedEntry imported;
  const uint8_t flags = in.u8();
  const uint32_t crc = in.u32();
  pg::RelationFile relation;
  relation.locator.tablespace = in.u32();
  relation.locator.database = in.u32();
  relation.locator.file_number = in.u32();
  relation.fork = static_cast<pg::Fork>(in.u8());
  if ((flags & kIsRelation) != 0) imported.relation = relation;
  if ((flags & kHasCrc) != 0) imported.crc32c = crc;
  imported.is_kept = (flags & kIsKept) != 0;
  const ByteView block = in.bytes(in.remaining());
  repo::ManifestBlockReader reader(Bytes(block.begin(), block.end()));
  std::optional<repo::ManifestEntry> entry = reader.next();
  HF_CHECK(entry.has_value());
  imported.entry = *std::move(entry);
  return imported;
}

[[noreturn]] void throw_bad_tree(const std::string& path, std::string_view what) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("\"{}\" {} in the tar", path, what),
               .detail = "No data directory can look like that, so there is no new backup.",
               .hint = "Make the tar anew from the base backup that it holds."});
}

}  // namespace

ImportEntries::ImportEntries(const std::string& directory)
    : sorter_(directory), expected_(directory) {}

void ImportEntries::add(const ImportedEntry& entry) {
  ImportedEntry added = entry;
  MutexLock lock(mutex_);
  auto [known, is_new] = owner_index_.emplace(entry.owner, static_cast<uint32_t>(owners_.size()));
  if (is_new) {
    if (owners_.size() == repo::kMaxOwners)
      throw Error({.code = ErrorCode::kUnsupported,
                   .message = "the tar names too many owners of files",
                   .detail = fmt::format("At most {} are possible.", repo::kMaxOwners)});
    owners_.push_back(entry.owner);
  }
  added.entry.owner = known->second;
  if (entry.relation && entry.relation->fork == pg::Fork::kInit)
    unlogged_.insert(entry.relation->locator);
  sorter_.add(added.entry.path, encode_payload(added));
}

void ImportEntries::add_faults(const std::string& path, std::vector<PageFault> faults,
                               uint64_t more) {
  if (faults.empty() && more == 0) return;
  MutexLock lock(mutex_);
  const size_t room = kMaxAllFaults - fault_count_;
  if (faults.size() > room) {
    more += faults.size() - room;
    faults.resize(room);
  }
  fault_count_ += faults.size();
  faults_[path] = {.faults = std::move(faults), .more = more};
}

void ImportEntries::add_expected(const pg::BackupManifestFile& file) {
  ByteWriter out;
  out.u64(file.bytes).u8(static_cast<uint8_t>(file.algorithm)).bytes(file.checksum);
  expected_.add(file.path, out.view());
}

// The walk over both sorted lists.
class ImportEntries::Merge {
 public:
  Merge(ImportEntries& all, const MergeOptions& options, repo::ManifestWriter& manifest,
        Reporter& reporter)
      : all_(all), options_(options), manifest_(manifest), reporter_(reporter) {}

  DataCopyResult run(const std::stop_token& stop) {
    MutexLock lock(all_.mutex_);
    expected_ = all_.expected_.next();
    while (std::optional<PathSorter::Record> record = all_.sorter_.next()) {
      throw_if_stopped(stop);
      ImportedEntry imported = decode_payload(record->payload);
      if (options_.has_manifest) compare(imported);
      if (imported.is_kept) keep(imported);
    }
    while (expected_) pass_expected();
    if (problem_count_ > 0) throw_problems();
    return std::move(result_);
  }

 private:
  void compare(const ImportedEntry& imported);
  void pass_expected();
  void keep(ImportedEntry& imported) HF_REQUIRES(all_.mutex_);
  void open_directories(const std::string& path);
  void judge_faults(repo::ManifestEntry& entry) HF_REQUIRES(all_.mutex_);
  bool is_harmless(const PageFault& fault) const {
    return fault.harmless_from.is_valid() && fault.harmless_from >= options_.start_lsn &&
           fault.harmless_from <= options_.stop_lsn;
  }
  void complain(std::string problem) {
    if (++problem_count_ <= kToldProblems)
      problems_ += fmt::format("{}{}", problems_.empty() ? "" : " ", problem);
  }
  [[noreturn]] void throw_problems() const;

  ImportEntries& all_;
  const MergeOptions& options_;
  repo::ManifestWriter& manifest_;
  Reporter& reporter_;
  DataCopyResult result_;
  std::optional<PathSorter::Record> expected_;
  std::string last_expected_;
  std::string problems_;
  uint64_t problem_count_ = 0;
  std::string last_path_;
  bool last_is_directory_ = false;
  std::vector<std::string> open_;  // directories around the last entry, outermost first
};

// The next file of backup_manifest is in no tar.
void ImportEntries::Merge::pass_expected() {
  const std::string path = std::exchange(expected_, all_.expected_.next())->path;
  if (path == last_expected_) complain(fmt::format("\"{}\" stands twice in it.", path));
  last_expected_ = path;
  // What is not kept is not looked for.
  if (is_compared(path) &&
      pg::backup_treatment(path, pg::PathType::kFile) == pg::BackupTreatment::kKeep)
    complain(fmt::format("\"{}\" is missing.", path));
}

void ImportEntries::Merge::compare(const ImportedEntry& imported) {
  const repo::ManifestEntry& entry = imported.entry;
  if (entry.type != repo::EntryType::kFile || !is_compared(entry.path)) return;
  while (expected_ && repo::compare_paths(expected_->path, entry.path) < 0) pass_expected();
  if (!expected_ || expected_->path != entry.path)
    return complain(fmt::format("\"{}\" does not stand in it.", entry.path));
  ByteReader in(expected_->payload, "expected file");
  const uint64_t bytes = in.u64();
  const auto algorithm = static_cast<pg::ManifestChecksum>(in.u8());
  const ByteView checksum = in.bytes(in.remaining());
  const auto wrong_checksum = [&] {
    complain(fmt::format("\"{}\" has another {} checksum.", entry.path, to_string(algorithm)));
  };
  if (bytes != entry.size) {
    complain(fmt::format("\"{}\" has {} bytes, not {}.", entry.path, entry.size, bytes));
  } else if (algorithm == pg::ManifestChecksum::kCrc32c) {
    const Bytes found = ByteWriter().u32(imported.crc32c.value_or(0)).take();
    if (!std::ranges::equal(found, checksum)) wrong_checksum();
  } else if (algorithm != pg::ManifestChecksum::kNone) {
    if (!std::ranges::equal(options_.digest(entry, algorithm), checksum)) wrong_checksum();
  }
  last_expected_ = expected_->path;
  expected_ = all_.expected_.next();
  if (expected_ && expected_->path == last_expected_) pass_expected();
}

void ImportEntries::Merge::throw_problems() const {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = "the tar is not what its backup_manifest says",
               .detail = problem_count_ > kToldProblems
                             ? fmt::format("{} And {} more files.", problems_,
                                           problem_count_ - kToldProblems)
                             : problems_,
               .hint = "It was changed or damaged after it was taken, so there is no new backup. "
                       "Take it from its source again, or take a new one."});
}

// Every directory on the way to `path` stands in the manifest before it.
void ImportEntries::Merge::open_directories(const std::string& path) {
  while (!open_.empty() && !(path.size() > open_.back().size() && path.starts_with(open_.back()) &&
                             path[open_.back().size()] == '/'))
    open_.pop_back();
  const size_t from = open_.empty() ? 0 : open_.back().size() + 1;
  for (size_t slash = path.find('/', from); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    repo::ManifestEntry made;
    made.path = path.substr(0, slash);
    if (made.path == last_path_ && !last_is_directory_)
      throw_bad_tree(made.path, "is a file and a directory");
    made.type = repo::EntryType::kDirectory;
    made.mode = options_.directory_mode;
    made.owner = manifest_.owner(options_.directory_owner);
    manifest_.add(made);
    open_.push_back(made.path);
  }
}

void ImportEntries::Merge::keep(ImportedEntry& imported) {
  repo::ManifestEntry& entry = imported.entry;
  const bool is_file = entry.type == repo::EntryType::kFile;
  if (entry.path == last_path_) {
    if (entry.type == repo::EntryType::kDirectory && last_is_directory_) return;
    throw_bad_tree(entry.path, "stands twice");
  }
  if (imported.relation && imported.relation->fork != pg::Fork::kInit &&
      all_.unlogged_.contains(imported.relation->locator))
    return;
  open_directories(entry.path);
  last_path_ = entry.path;
  last_is_directory_ = !is_file;
  if (!is_file) open_.push_back(entry.path);
  entry.owner = manifest_.owner(all_.owners_.at(entry.owner));
  if (imported.relation && options_.pages_were_judged) {
    judge_faults(entry);
    entry.pages_verified = options_.has_checksums && !entry.has_damaged_blocks;
  } else if (is_file && !imported.relation) {
    judge_faults(entry);  // of a pg_filenode.map
  }
  if (is_file) {
    ++result_.files;
    result_.bytes += entry.size;
  }
  manifest_.add(entry);
}

void ImportEntries::Merge::judge_faults(repo::ManifestEntry& entry) {
  const auto found = all_.faults_.find(entry.path);
  if (found == all_.faults_.end()) return;
  uint64_t placed = 0;
  for (const PageFault& fault : found->second.faults) {
    if (is_harmless(fault)) continue;
    if (++placed <= kWarningsPerFile)
      reporter_.warning(fmt::format("block {} of \"{}\" is damaged: {}", fault.page, entry.path,
                                    to_string(fault.reason)));
    repo::DamagedBlock block{.root = entry.root,
                             .path = entry.path,
                             .block = fault.page,
                             .reason = static_cast<uint8_t>(fault.reason)};
    if (result_.damaged.size() < kReportedBlocks) result_.damaged.push_back(block);
    manifest_.add_damaged(std::move(block));
  }
  const uint64_t all = placed + found->second.more;
  if (all == 0) return;
  if (all > kWarningsPerFile)
    reporter_.warning(fmt::format("\"{}\" has {} damaged blocks in all", entry.path, all));
  entry.has_damaged_blocks = true;
  result_.damaged_blocks += all;
}

DataCopyResult ImportEntries::merge(const MergeOptions& options, repo::ManifestWriter& manifest,
                                    Reporter& reporter, const std::stop_token& stop) {
  return Merge(*this, options, manifest, reporter).run(stop);
}

}  // namespace holdfast::backup
