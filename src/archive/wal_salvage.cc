#include "archive/wal_salvage.h"

#include <algorithm>
#include <fcntl.h>
#include <utility>

#include <fmt/core.h>

#include "archive/intake.h"
#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "pg/wal_page.h"

namespace holdfast::archive {
namespace {

// History files first, oldest first: segments need them. Then segments, each before what else bears
// its name.
bool comes_before(const pg::WalFileName& a, const pg::WalFileName& b) {
  auto rank = [](const pg::WalFileName& file) {
    return std::tuple(file.kind != pg::WalFileKind::kHistory, file.segment, file.kind, file.offset);
  };
  return rank(a) < rank(b);
}

// What a file's refusal is, and what is a failure of the whole: a store or disk that does not work
// refuses everything.
bool is_refusal(ErrorCode code) {
  return code == ErrorCode::kConflict || code == ErrorCode::kCorrupt ||
         code == ErrorCode::kWrongCluster || code == ErrorCode::kNotFound ||
         code == ErrorCode::kUnsupported || code == ErrorCode::kInvalidText;
}

class Salvager {
 public:
  Salvager(const SalvageOptions& options, Intake& intake, SalvageResult& result)
      : options_(options), intake_(intake), result_(result) {}

  void take(const std::string& name, const pg::WalFileName& file) {
    // Beyond the four places of `catch`: one file that is refused does not keep the others from
    // being saved.
    try {
      if (file.kind == pg::WalFileKind::kSegment)
        take_segment(name, file);
      else
        push(intake_.read(name));
    } catch (const Error& error) {
      if (!is_refusal(error.code())) throw;
      result_.refused.push_back({.file = name,
                                 .reason = error.detail().empty()
                                               ? error.message()
                                               : error.message() + ": " + error.detail()});
    }
  }

 private:
  void take_segment(const std::string& name, const pg::WalFileName& file) {
    const std::string path = join_path(intake_.source().wal_directory, name);
    Bytes first_page(pg::kWalBlockBytes);
    Fd fd = open_file(path, O_RDONLY);
    first_page.resize(pread_some(fd, first_page, 0, path));
    if (!pg::holds_segment(first_page, file.segment, intake_.archive().segment_size())) {
      ++result_.unused;
      return;
    }
    OfferedFile offered = intake_.read(name);
    const pg::Lsn end = pg::end_lsn(file.segment.segment_number, intake_.archive().segment_size());
    // Ascending names end with the newest timeline.
    if (offered.segment.last_record_end.is_valid())
      result_.readable_end = offered.segment.last_record_end;
    if (offered.segment.readable_end == end)
      push(offered);
    else if (!is_same_as_archived(offered))
      push(intake_.read_as_partial(name));
  }

  // A segment that the server offered and that cannot be read to its end may be there in full.
  bool is_same_as_archived(const OfferedFile& offered) {
    std::optional<repo::WalSegmentInfo> there = intake_.archive().segment_info(offered.file);
    if (!there || there->sha256 != offered.sha256) return false;
    ++result_.already_archived;
    return true;
  }

  void push(const OfferedFile& offered) {
    if (intake_.accept(offered, options_.compression))
      result_.pushed.push_back(offered.name);
    else
      ++result_.already_archived;
  }

  const SalvageOptions& options_;
  Intake& intake_;
  SalvageResult& result_;
};

}  // namespace

SalvageResult salvage(const SalvageOptions& options, const repo::Repository& repository,
                      Reporter& reporter, std::stop_token stop, const Clock& clock) {
  Context salvaging("salvaging WAL from \"{}\"", options.wal_directory);

  // Whose WAL it is.
  WalSource source = wal_source_of(join_path(options.wal_directory, "unused"),
                                   options.data_directory, options.host);
  const repo::Lineage lineage = find_lineage(repository, options.cluster, identify(source));
  repo::WalArchive archive(repository, lineage);

  // What is there, in the order in which it can be archived.
  std::vector<std::pair<pg::WalFileName, std::string>> files;
  for (const DirectoryEntry& entry : list_directory(source.wal_directory)) {
    const pg::WalFileName file = pg::parse_wal_file_name(entry.name, archive.segment_size());
    if (file.kind != pg::WalFileKind::kOther) files.emplace_back(file, entry.name);
  }
  std::ranges::sort(files,
                    [](const auto& a, const auto& b) { return comes_before(a.first, b.first); });

  SalvageResult result;
  result.lineage = lineage.name;
  Intake intake(archive, std::move(source), reporter, clock);
  Salvager salvager(options, intake, result);
  for (const auto& [file, name] : files) {
    throw_if_stopped(stop);
    salvager.take(name, file);
  }
  return result;
}

}  // namespace holdfast::archive
