#include "archive/wal_set_aside.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"
#include "base/task_group.h"
#include "cluster/connection.h"
#include "cluster/written_wal.h"
#include "repo/backup.h"
#include "repo/marks.h"
#include "repo/wal_tip.h"

namespace holdfast::archive {
namespace {

constexpr std::string_view kPartialMark = ".partial.";

// One file of one lineage, and which of its contents are there.
struct Found {
  repo::WalArchive archive;
  pg::WalFileName file;
  std::optional<Bytes16> partial;
  std::vector<repo::WalArchive::Content> contents;
  const Bytes16* digest() const { return partial ? &*partial : nullptr; }
};

class SetAside {
 public:
  SetAside(const SetAsideOptions& options, const repo::Repository& repository, std::stop_token stop)
      : options_(options), repository_(repository), stop_(std::move(stop)) {}

  SetAsideResult run() {
    const Found found = find();
    SetAsideResult result{
        .file = options_.file, .lineage = found.archive.lineage().name, .off = options_.off};
    if (!options_.off) require_not_the_servers(found);
    if (options_.onward) {
      require_segment(found);
      find_run(found);
      options_.off ? serve_onward(found, result) : take_onward(found, result);
    }
    // The one that is served goes out of service; the one that went last comes back.
    const repo::WalArchive::Content* chosen = nullptr;
    for (const repo::WalArchive::Content& content : found.contents)
      if (content.aside.has_value() == options_.off && is_of_run(content)) chosen = &content;
    result.was_so = chosen == nullptr;
    if (chosen != nullptr) {
      result.changed = describe(found, *chosen);
      mark(found, *chosen, result.changed->is_damaged);
    }
    found.archive.look_again();
    for (const repo::WalArchive::Content& content :
         found.archive.contents(found.file, found.digest()))
      if (!content.aside) result.served = describe(found, content);
    if (!result.served) tell_what_follows(found, result);
    return result;
  }

 private:
  // Typed for a copy's timeline on a bad day it would take production's WAL.
  void require_not_the_servers(const Found& named) const {
    const bool is_history = named.file.kind == pg::WalFileKind::kHistory;
    if (options_.conninfo.empty() || (!is_history && !options_.onward)) return;
    const repo::WalArchive& archive = named.archive;
    const pg::TimelineId timeline = named.file.segment.timeline;
    std::optional<cluster::Production> server;
    error_of([&] {
      cluster::Connection connection = cluster::Connection::connect(
          {.conninfo = options_.conninfo, .application_name = "holdfast wal set-aside"}, stop_);
      const pg::WalTip tip = repo::read_wal_tip(archive, timeline);
      server = cluster::ask_production(connection, archive.lineage().system_identifier).production;
      // What is damaged it can archive anew.
      if (!server || server->timeline != timeline ||
          (is_history && damage_of([&] { archive.read_file(named.file); })) ||
          cluster::why_not_the_archives(*server, tip, archive.segment_size(),
                                        cluster::wal_files_of_server(connection)))
        server.reset();
    });
    const pg::Lsn from =
        is_history ? pg::Lsn{}
                   : pg::start_lsn(named.file.segment.segment_number, archive.segment_size());
    if (!server || server->flushed <= from) return;
    throw Error(
        {.code = ErrorCode::kConflict,
         .message = fmt::format("\"{}\" is of the server that conninfo leads to", options_.file),
         .detail = fmt::format("That server is on timeline {}, has written up to {}, and has "
                               "the archive's last WAL in its own: what it committed could "
                               "not be recovered any more. Nothing was changed.",
                               to_string(timeline), to_string(server->flushed)),
         .hint = "If that server is the copy, stop it first, or name the cluster's own with "
                 "--conninfo."});
  }

  // From the end: what is left is without a hole at every moment. Of the named segment its older
  // contents and its unfinished copies go here, the one that is served as ever.
  void take_onward(const Found& named, SetAsideResult& result) const {
    std::vector<repo::WalArchive::Entry> behind;
    named.archive.for_each_entry(named.file.segment.timeline, named.file.segment.segment_number,
                                 [&](const repo::WalArchive::Entry& entry) {
                                   behind.push_back(entry);
                                   return true;
                                 });
    for (auto entry = behind.rbegin(); entry != behind.rend(); ++entry) {
      throw_if_stopped(stop_);
      const bool is_named = entry->file.kind == pg::WalFileKind::kSegment &&
                            entry->file.segment == named.file.segment;
      Found found{
          .archive = named.archive, .file = entry->file, .partial = entry->partial, .contents = {}};
      found.contents = found.archive.contents(found.file, found.digest());
      for (const repo::WalArchive::Content& content : found.contents) {
        if (content.aside || (is_named && &content == &found.contents.back())) continue;
        // By its metadata: what is rotten of a line that is no more need not come back either.
        mark(found, content, false);
      }
      if (is_named) continue;
      result.onward.push_back(full_name(found));
    }
    std::ranges::reverse(result.onward);
  }

  void require_segment(const Found& named) const {
    if (named.file.kind == pg::WalFileKind::kSegment) return;
    throw Error({.code = ErrorCode::kInvalidText,
                 .message = fmt::format("\"{}\" is not the name of a segment", options_.file),
                 .detail = "Onward is along the segments of a timeline.",
                 .hint = "Name the first segment that is wrong."});
  }

  // Each run from that file on has its own id: a second one must not be undone with the first. One
  // that was interrupted, before the named file went, is gone on with. `off`: the newest of which
  // anything is still set aside.
  void find_run(const Found& named) {
    const repo::WalArchive::SetAside* newest = nullptr;
    const std::vector<repo::WalArchive::SetAside> all = named.archive.all_set_aside();
    for (const repo::WalArchive::SetAside& one : all)
      if (one.content.aside->detail == reason() &&
          (newest == nullptr || one.content.aside->at > newest->content.aside->at))
        newest = &one;
    const auto is_whole = [&](const std::string& run) {
      return std::ranges::any_of(all, [&](const repo::WalArchive::SetAside& one) {
        return one.content.aside->run == run && is_named(one, named);
      });
    };
    if (newest != nullptr && (options_.off || !is_whole(newest->content.aside->run)))
      run_ = newest->content.aside->run;
    else
      run_ = options_.off ? std::string() : to_hex(repository_.random().bytes16().view());
  }
  static bool is_named(const repo::WalArchive::SetAside& one, const Found& named) {
    return one.file.kind == pg::WalFileKind::kSegment && one.file.segment == named.file.segment;
  }
  bool is_of_run(const repo::WalArchive::Content& content) const {
    return !options_.onward || !options_.off ||
           (content.aside && content.aside->detail == reason() && content.aside->run == run_);
  }

  // The contrary of take_onward: what one run took comes back.
  void serve_onward(const Found& named, SetAsideResult& result) const {
    for (const repo::WalArchive::SetAside& one : named.archive.all_set_aside()) {
      throw_if_stopped(stop_);
      if (!is_of_run(one.content)) continue;
      const bool is_named_one = is_named(one, named);
      if (is_named_one && one.content.number == last_of_run(named)) continue;
      const Found found{
          .archive = named.archive, .file = one.file, .partial = one.partial, .contents = {}};
      mark(found, one.content, false);
      if (!is_named_one) result.onward.push_back(full_name(found));
    }
  }
  std::optional<uint64_t> last_of_run(const Found& named) const {
    std::optional<uint64_t> last;
    for (const repo::WalArchive::Content& content : named.contents)
      if (is_of_run(content)) last = content.number;
    return last;
  }

  // What all marks of one run onward say.
  std::string reason() const {
    return options_.onward ? fmt::format("holdfast wal set-aside {} --onward", options_.file)
                           : "holdfast wal set-aside";
  }

  static std::string full_name(const Found& found) {
    std::string name = pg::to_string(found.file, found.archive.segment_size());
    if (found.partial) name += "." + to_hex(found.partial->view());
    return name;
  }

  void tell_what_follows(const Found& found, SetAsideResult& result) const {
    const pg::WalSegmentSize size = found.archive.segment_size();
    const pg::TimelineId timeline = found.file.segment.timeline;
    const uint64_t number = found.file.segment.segment_number;
    if (found.file.kind == pg::WalFileKind::kSegment)
      for (const std::string& id : repo::list_backup_ids(repository_, result.lineage)) {
        const std::optional<repo::Backup> backup =
            repo::read_backup_if_possible(repository_, result.lineage, id, [](const Error&) {});
        if (backup && backup->stop_timeline == timeline &&
            (options_.onward || number >= pg::segment_of(backup->start_lsn, size)) &&
            number <= pg::last_segment_before_end(backup->stop_lsn, size))
          result.broken_backups.push_back(id);
      }
    // What lists backups is to know at once; verify looks again.
    if (!options_.off)
      for (const std::string& id : result.broken_backups)
        repo::put_mark(repository_, result.lineage, id, repo::MarkKind::kDamaged,
                       fmt::format("WAL file {}, which it needs, was set aside.", options_.file));
    const pg::WalFileName history{.kind = pg::WalFileKind::kHistory,
                                  .segment = {.timeline = timeline}};
    if (timeline.value == 1 || found.archive.file_info(history)) return;
    for (const pg::TimelineId there : found.archive.timelines())
      if (there == timeline) result.still_there = found.archive.first_file(timeline);
  }

  // In the lineage that is named, or in the only one that has it: names of WAL files are the same
  // in all of them.
  Found find() const {
    const std::vector<repo::Lineage> lineages = repository_.require_lineages(options_.cluster);
    std::optional<Found> only;
    for (auto lineage = lineages.rbegin(); lineage != lineages.rend(); ++lineage) {
      if (!options_.lineage.empty() && repo::to_string(lineage->name) != options_.lineage) continue;
      Found found{.archive = repo::WalArchive(repository_, *lineage),
                  .file = {},
                  .partial = {},
                  .contents = {}};
      read_name(found);
      if (found.file.kind == pg::WalFileKind::kPartial && !found.partial) choose_partial(found);
      if (found.file.kind == pg::WalFileKind::kPartial && !found.partial) continue;
      found.contents = found.archive.contents(found.file, found.digest());
      if (found.contents.empty()) continue;
      if (only) throw_several(only->archive.lineage(), *lineage);
      only = std::move(found);
    }
    if (only) return *std::move(only);
    throw Error(
        {.code = ErrorCode::kNotFound,
         .message = fmt::format("there is no WAL file \"{}\" in the archive", options_.file),
         .detail = fmt::format("Looked in cluster \"{}\" of {}.", options_.cluster,
                               repository_.store().url()),
         .hint = "\"holdfast wal list\" shows what there is."});
  }

  [[noreturn]] void throw_several(const repo::Lineage& one, const repo::Lineage& other) const {
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("several lineages of cluster \"{}\" have a WAL file \"{}\"",
                                        options_.cluster, options_.file),
                 .detail = fmt::format("Lineage {} is of system identifier {}, lineage {} of {}.",
                                       repo::to_string(one.name), one.system_identifier,
                                       repo::to_string(other.name), other.system_identifier),
                 .hint = fmt::format("Name the one whose server it is: holdfast wal set-aside {} "
                                     "--lineage {}, or --lineage {}.",
                                     options_.file, repo::to_string(one.name),
                                     repo::to_string(other.name))});
  }

  void read_name(Found& found) const {
    std::string name = options_.file;
    if (const size_t mark = name.find(kPartialMark); mark != std::string::npos) {
      found.partial = parse_hex_array<16>(name.substr(mark + kPartialMark.size()));
      if (found.partial) name.resize(mark + kPartialMark.size() - 1);
    }
    found.file = pg::parse_wal_file_name(name, found.archive.segment_size());
    if (found.file.kind == pg::WalFileKind::kOther ||
        (found.partial && found.file.kind != pg::WalFileKind::kPartial))
      throw Error({.code = ErrorCode::kInvalidText,
                   .message = fmt::format("\"{}\" is not the name of a WAL file", options_.file),
                   .detail = fmt::format("Segments have {} bytes in this cluster.",
                                         found.archive.segment_size().bytes()),
                   .hint = "Name a segment, a .partial, a .backup or a .history file as \"holdfast "
                           "wal list\", \"holdfast verify\" and the server's log do."});
  }

  // The only one that is served, or, to be served again, the only one that is set aside.
  void choose_partial(Found& found) const {
    std::vector<Bytes16> digests = found.archive.partials(found.file.segment);
    if (options_.off) {
      digests.clear();
      for (const repo::WalMark& mark : found.archive.amendments(found.file).marks)
        if (std::optional<Bytes16> digest = parse_hex_array<16>(mark.content))
          digests.push_back(*digest);
      std::ranges::sort(digests);
      digests.erase(std::ranges::unique(digests).begin(), digests.end());
    }
    if (digests.size() > 1) {
      std::string names;
      for (const Bytes16& digest : digests)
        names +=
            fmt::format("{}{}.{}", names.empty() ? "" : ", ", options_.file, to_hex(digest.view()));
      throw Error({.code = ErrorCode::kConflict,
                   .message = fmt::format("there are {} files \"{}\" in the archive",
                                          digests.size(), options_.file),
                   .detail = fmt::format("They are: {}.", names),
                   .hint = "Name one of those."});
    }
    if (!digests.empty()) found.partial = digests.front();
  }

  // Reads it whole: one that is damaged can be filled again with what it held.
  static SetAsideResult::Content describe(const Found& found,
                                          const repo::WalArchive::Content& content) {
    SetAsideResult::Content described{.number = content.number};
    const bool has_pages = found.file.kind == pg::WalFileKind::kSegment ||
                           found.file.kind == pg::WalFileKind::kPartial;
    const std::optional<Error> damage = damage_of([&] {
      if (has_pages) {
        const std::optional<repo::WalSegmentInfo> info =
            found.archive.read_segment_of(content.object, [](ByteView) {});
        if (info) described = {content.number, false, info->host, info->pushed};
      } else if (found.archive.read_file_of(content.object)) {
        const std::optional<repo::WalFileInfo> info = found.archive.file_info_of(content.object);
        if (info) described = {content.number, false, info->host, info->pushed};
      }
    });
    described.is_damaged = damage.has_value();
    return described;
  }

  void mark(const Found& found, const repo::WalArchive::Content& content, bool is_damaged) const {
    repo::WalMark mark;
    mark.is_set_aside = !options_.off;
    mark.detail = reason();
    mark.run = run_;
    mark.content = found.partial ? to_hex(found.partial->view()) : std::to_string(content.number);
    if (options_.off && content.aside) {
      mark.sha256 = content.aside->sha256;
    } else if (!is_damaged) {
      damage_of([&] {
        const bool has_pages = found.file.kind == pg::WalFileKind::kSegment || found.partial;
        mark.sha256 = has_pages ? found.archive.segment_info_of(content.object).value().sha256
                                : found.archive.file_info_of(content.object).value().sha256;
      });
    }
    repo::put_wal_mark(repository_, found.archive.lineage().name, found.file,
                       found.archive.segment_size(), found.archive.amendments(found.file),
                       std::move(mark));
  }

  const SetAsideOptions& options_;
  const repo::Repository& repository_;
  const std::stop_token stop_;
  std::string run_ = {};  // onward
};

}  // namespace

SetAsideResult set_aside(const SetAsideOptions& options, const repo::Repository& repository,
                         std::stop_token stop) {
  Context setting("setting aside WAL file \"{}\"", options.file);
  throw_if_stopped(stop);
  return SetAside(options, repository, std::move(stop)).run();
}

}  // namespace holdfast::archive
