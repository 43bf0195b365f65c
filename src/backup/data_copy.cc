#include "backup/data_copy.h"

#include <chrono>
#include <memory>
#include <utility>

#include <fmt/format.h>

#include "backup/copy_window.h"
#include "backup/owners.h"
#include "base/error.h"
#include "base/task_group.h"
#include "cluster/data_directory.h"
#include "pg/control_file.h"

namespace holdfast::backup {
namespace {

constexpr std::chrono::milliseconds kRound{1000};

void copy_regions(CopyWindow& window, RegionCopier& copier, const std::stop_token& stop) {
  while (std::optional<CopyWindow::Work> work = window.next(stop)) {
    CopyItem& item = *work->item;
    Context copying("copying file \"{}\"", item.entry.path);
    if (work->to_open) {
      bool is_there = copier.open(item);
      if (is_there) work = window.opened(item);
      if (!is_there || !work) {
        if (is_there) copier.complete(item);  // it is empty
        window.finish(item);
        continue;
      }
    }
    if (window.region_done(item, copier.copy(item, work->region))) {
      copier.complete(item);
      window.finish(item);
    }
  }
}

class DataCopy {
 public:
  DataCopy(const DataCopyOptions& options, repo::BackupWriter& writer, Reporter& reporter,
           std::stop_token stop)
      : options_(options),
        source_(options.source),
        files_(source_.data_directory, source_.block_bytes, options.bytes_per_second, stop),
        writer_(writer),
        reporter_(reporter),
        owners_(writer.manifest()),
        window_(options.window_entries),
        workers_(std::move(stop)) {}

  DataCopyResult run();

 private:
  void start_workers();
  void take(const cluster::DataEntry& found);
  void wait_until(bool (DataCopy::*is_reached)() const);
  bool has_room() const { return !window_.is_full(); }
  bool has_nothing_left() const { return window_.is_empty(); }
  void add_finished();
  void add(CopyItem& item);
  bool is_unlogged(const pg::RelationFile& file) const;
  void judge_faults(CopyItem& item);
  bool is_harmless(const PageFault& fault);

  const DataCopyOptions& options_;
  const SourceFacts& source_;
  DirectorySource files_;
  repo::BackupWriter& writer_;
  Reporter& reporter_;
  OwnerIndex owners_;
  DataCopyResult result_;
  pg::Lsn known_lsn_;  // the server has written at least that far
  std::chrono::steady_clock::time_point checked_at_ = std::chrono::steady_clock::now();
  CopyWindow window_;
  TaskGroup workers_;  // the last member: joined before the others go
};

DataCopyResult DataCopy::run() {
  start_workers();
  cluster::walk_data_directory(
      source_.data_directory, reporter_, [this](const cluster::DataEntry& found) { take(found); },
      options_.take_link);
  window_.close();
  wait_until(&DataCopy::has_nothing_left);
  workers_.wait();
  return std::move(result_);
}

void DataCopy::start_workers() {
  for (int job = 0; job < options_.jobs; ++job)
    workers_.start([this](std::stop_token stop) {
      repo::ExtentWriter extents = writer_.make_worker();
      RegionCopier copier(source_, files_, extents, reporter_, stop);
      copy_regions(window_, copier, stop);
      if (!stop.stop_requested()) writer_.finish_worker(std::move(extents));
    });
}

void DataCopy::take(const cluster::DataEntry& found) {
  if (found.path == pg::kControlFilePath) return;
  auto item = std::make_unique<CopyItem>();
  item->entry.path = found.path;
  item->entry.mode = found.mode;
  item->entry.modified = found.modified_at;
  item->uid = found.owner;
  item->gid = found.group;
  switch (found.type) {
    case cluster::EntryType::kFile:
      item->entry.type = repo::EntryType::kFile;
      item->relation = pg::parse_relation_path(found.path, source_.version_directory);
      break;
    case cluster::EntryType::kDirectory:
      item->entry.type = repo::EntryType::kDirectory;
      break;
    case cluster::EntryType::kTablespaceLink:
      // A tablespace inside the data directory has no link, and is a directory like any other.
      item->entry.type =
          found.link_target.empty() ? repo::EntryType::kDirectory : repo::EntryType::kSymlink;
      item->entry.target = found.link_target;
      break;
  }
  wait_until(&DataCopy::has_room);
  window_.push(std::move(item));
}

// Adds what is finished to the manifest until there is room, or nothing left. Throws the first
// error of the workers when there was one.
void DataCopy::wait_until(bool (DataCopy::*is_reached)() const) {
  for (;;) {
    add_finished();
    if (workers_.stop_token().stop_requested()) {
      workers_.wait();  // throws: an error of a worker's or the parent's stop has stopped the group
      HF_CHECK(false);
    }
    if ((this->*is_reached)()) return;
    window_.wait_for_front(workers_.stop_token(), kRound);
    if (std::chrono::steady_clock::now() - checked_at_ < kRound) continue;
    options_.check_alive();
    checked_at_ = std::chrono::steady_clock::now();
  }
}

void DataCopy::add_finished() {
  while (std::unique_ptr<CopyItem> item = window_.pop_front_if_done()) add(*item);
}

void DataCopy::add(CopyItem& item) {
  if (item.vanished) {
    ++result_.vanished_files;
    return;
  }
  if (item.relation && is_unlogged(*item.relation)) return;
  item.entry.owner = owners_.index(item.uid, item.gid);
  judge_faults(item);
  if (item.relation && source_.has_checksums)
    item.entry.pages_verified = !item.entry.has_damaged_blocks;
  if (item.entry.type == repo::EntryType::kFile) {
    ++result_.files;
    result_.bytes += item.entry.size;
  }
  writer_.manifest().add(item.entry);
}

bool DataCopy::is_unlogged(const pg::RelationFile& file) const {
  if (file.fork == pg::Fork::kInit) return false;
  pg::RelationFile init{.locator = file.locator, .fork = pg::Fork::kInit};
  std::string path = pg::relation_path(init, source_.version_directory);
  return lstat_if_exists(join_path(source_.data_directory, path)).has_value();
}

void DataCopy::judge_faults(CopyItem& item) {
  uint64_t placed = 0;
  for (const PageFault& fault : item.faults) {
    if (is_harmless(fault)) continue;
    if (++placed <= kWarningsPerFile)
      reporter_.warning(fmt::format("block {} of \"{}\" is damaged: {}", fault.page,
                                    item.entry.path, to_string(fault.reason)));
    repo::DamagedBlock block{.root = item.entry.root,
                             .path = item.entry.path,
                             .block = fault.page,
                             .reason = static_cast<uint8_t>(fault.reason)};
    if (result_.damaged.size() < kReportedBlocks) result_.damaged.push_back(block);
    writer_.manifest().add_damaged(std::move(block));
  }
  uint64_t all = placed + item.more_faults;
  if (all == 0) return;
  if (all > kWarningsPerFile)
    reporter_.warning(fmt::format("\"{}\" has {} damaged blocks in all", item.entry.path, all));
  item.entry.has_damaged_blocks = true;
  result_.damaged_blocks += all;
}

bool DataCopy::is_harmless(const PageFault& fault) {
  if (!fault.harmless_from.is_valid()) return false;
  if (fault.harmless_from > known_lsn_) known_lsn_ = options_.current_lsn();
  return fault.harmless_from <= known_lsn_;
}

}  // namespace

uint64_t measure_data_directory(const std::string& data_directory) {
  return cluster::walk_data_directory(data_directory, silent_reporter(),
                                      [](const cluster::DataEntry&) {})
      .file_bytes;
}

DataCopyResult copy_data_directory(const DataCopyOptions& options, repo::BackupWriter& writer,
                                   Reporter& reporter, std::stop_token stop) {
  HF_CHECK(options.jobs > 0 && options.window_entries > 0);
  return DataCopy(options, writer, reporter, std::move(stop)).run();
}

}  // namespace holdfast::backup
