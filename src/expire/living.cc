#include "expire/living.h"

#include <algorithm>
#include <optional>
#include <span>
#include <type_traits>

#include <fmt/format.h>

#include "base/error.h"
#include "repo/verified_objects.h"

namespace holdfast::expire {
namespace {

using repo::ObjectKind;

constexpr uint64_t kEverySegment = 0;

}  // namespace

std::vector<repo::Backup> kept_backups(std::vector<repo::Backup> committed) { return committed; }

Living::Living(const repo::Repository& repository, const repo::Lineage& lineage, Time now,
               Microseconds grace, const std::set<std::string>& excluded)
    : repository_(repository),
      lineage_(lineage),
      archive_(repository, lineage),
      intents_(repo::read_valid_intents(repository, lineage.name, now, grace)) {
  UnknownUses unknown;
  read_commits(excluded, unknown);
  for (const repo::Backup& backup : backups_) {
    reached_ids_.insert(backup.id);
    add_packs_of(backup, unknown);
  }
  for (const repo::Intent& intent : intents_) {
    intent_ids_.insert(intent.id);
    if (!intent.backup.empty()) reached_ids_.insert(intent.backup);
    for (const std::string& id : intent.uses)
      if (reached_ids_.insert(id).second) add_packs_of(id, unknown);
    if (intent.objects_from && (!objects_from_ || *intent.objects_from < *objects_from_))
      objects_from_ = intent.objects_from;
  }
  throw_if_unknown(unknown);
  drop_repeated_packs();
  replaced_records_ = repo::replaced_records(repository_, lineage_.name);
  store::for_each_entry(
      repository_.store(), {.prefix = repo::lineage_folder(lineage_.name) + "redirects/"},
      [&](const store::ListEntry& entry) {
        const std::optional<repo::ObjectName> name =
            repo::parse_object_name(lineage_.name, archive_.segment_size(), entry.name);
        has_redirects_ = name && std::ranges::binary_search(packs_, name->id);
        return !has_redirects_;
      });
  std::set<pg::TimelineId> timelines = timelines_with_objects();
  for (const repo::Backup& backup : backups_) timelines.insert(backup.start_timeline);
  for (const pg::TimelineId timeline : timelines)
    first_segments_[timeline] = find_first_segment(timeline);
  for (const auto& [timeline, first] : first_segments_)
    if (first && *first != kEverySegment) find_snapshot_in_force(timeline);
  find_oldest_timeline();
}

// Those of whose WAL, further contents and marks among it, index or snapshots something is there. A
// history alone is decided by these.
std::set<pg::TimelineId> Living::timelines_with_objects() const {
  std::set<pg::TimelineId> found;
  for (const pg::WalFileName& file : archive_.amended_files())
    if (file.kind != pg::WalFileKind::kHistory) found.insert(file.segment.timeline);
  for (const char* below : {"wal/", "index/", "names/"}) {
    const std::string folder = repo::lineage_folder(lineage_.name) + below;
    store::for_each_entry(
        repository_.store(), {.prefix = folder, .folders = true},
        [&](const store::ListEntry& entry) {
          if (!entry.is_folder()) return true;
          // "00000001/" of whatever is named as a timeline is.
          const std::string digits = entry.name.substr(folder.size(), 8);
          const pg::WalFileName file =
              pg::parse_wal_file_name(digits + ".history", archive_.segment_size());
          if (file.kind == pg::WalFileKind::kHistory && entry.name == folder + digits + "/")
            found.insert(file.segment.timeline);
          return true;
        });
  }
  return found;
}

// All at once: what is named alone would be given up for another that stands in the way as well.
void Living::throw_if_unknown(const UnknownUses& unknown) const {
  if (unknown.empty()) return;
  std::vector<std::string> given_up, still_there, problems;
  for (const auto& [id, error] : unknown) {
    const bool is_deleted = repo::read_marks(repository_, lineage_.name, id).deleted.has_value();
    (is_deleted ? given_up : still_there).push_back(id);
    problems.push_back(
        fmt::format("{}{}{}", error.message(), error.detail().empty() ? "" : ". ", error.detail()));
  }
  std::string remedy;
  if (const auto refused = std::ranges::find_if(
          unknown,
          [](const auto& one) { return !one.second.is_damage() && !one.second.hint().empty(); });
      refused != unknown.end())
    remedy = refused->second.hint();
  else if (!still_there.empty())
    remedy = fmt::format(
        "Take the {} from a copy of the repository. Or take a new backup, and give {} up together: "
        "\"holdfast backup delete {}\"; when the grace period of that is over expire goes on.",
        unknown.size() == 1 ? "object" : "objects", still_there.size() == 1 ? "this one" : "these",
        fmt::join(still_there, " "));
  else
    remedy = fmt::format("Expire goes on when the grace period of {} deletion is over.",
                         given_up.size() == 1 ? "its" : "their");
  throw Error(
      {.code = unknown.front().second.code(),
       .message = unknown.size() == 1
                      ? fmt::format("cannot tell what backup \"{}\" uses", unknown.front().first)
                      : fmt::format("cannot tell what {} backups use", unknown.size()),
       .detail = fmt::format("{}", fmt::join(problems, " ")),
       .hint = "Nothing was removed. " + remedy});
}

void Living::read_commits(const std::set<std::string>& excluded, UnknownUses& unknown) {
  std::vector<repo::Backup> committed;
  for (const repo::CommitEntry& commit : repo::list_commits(repository_, lineage_.name)) {
    if (excluded.contains(commit.id)) continue;
    std::optional<repo::Backup> backup;
    if (const std::optional<Error> error = unreadable_of(
            [&] { backup = repo::read_commit(repository_, lineage_.name, commit.id); }))
      unknown.emplace_back(commit.id, *error);
    if (backup) committed.push_back(std::move(*backup));  // else removed at this moment
  }
  backups_ = kept_backups(std::move(committed));
}

// Backups share packs: what is held stays in proportion to those that there are.
void Living::drop_repeated_packs() {
  std::ranges::sort(packs_);
  const auto twice = std::ranges::unique(packs_);
  packs_.erase(twice.begin(), twice.end());
  distinct_packs_ = packs_.size();
}

void Living::add_packs_of(const repo::Backup& backup, UnknownUses& unknown) {
  std::vector<repo::PackRefs> uses;
  if (const std::optional<Error> error =
          unreadable_of([&] { uses = repo::read_uses(repository_, backup); })) {
    unknown.emplace_back(backup.id, *error);
    return;
  }
  add_packs(uses);
}

// Which an intent uses: it may have no commit any more, and then nothing but its list tells of it.
void Living::add_packs_of(const std::string& backup_id, UnknownUses& unknown) {
  std::optional<std::vector<repo::PackRefs>> refs;
  std::optional<repo::Backup> backup;
  std::optional<Error> error =
      unreadable_of([&] { refs = repo::read_refs(repository_, lineage_.name, backup_id); });
  if (refs) return add_packs(*refs);
  if (const std::optional<Error> no_commit =
          unreadable_of([&] { backup = repo::read_commit(repository_, lineage_.name, backup_id); }))
    error = no_commit;
  if (backup)
    add_packs_of(*backup, unknown);
  else if (error)
    unknown.emplace_back(backup_id, *error);
}

void Living::add_packs(const std::vector<repo::PackRefs>& uses) {
  const std::span<const Bytes16> known = std::span(packs_).first(distinct_packs_);
  std::vector<Bytes16> others;
  for (const repo::PackRefs& pack : uses)
    if (!std::ranges::binary_search(known, pack.pack)) others.push_back(pack.pack);
  packs_.insert(packs_.end(), others.begin(), others.end());
  if (packs_.size() >= 2 * distinct_packs_) drop_repeated_packs();
}

std::optional<pg::TimelineHistory> Living::history_of(pg::TimelineId timeline) const {
  std::optional<pg::TimelineHistory> history;
  if (timeline.value == 1) history.emplace(timeline);
  // What one that is damaged would say is not known: as where it is missing.
  error_of({ErrorCode::kCorrupt}, [&] {
    if (std::optional<Bytes> text = archive_.read_file(
            {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}}))
      history = pg::parse_timeline_history(timeline, as_text(*text));
  });
  return history;
}

// Also those that are not served, for they may be again; none: nothing is known.
std::vector<pg::TimelineHistory> Living::every_history_of(pg::TimelineId timeline) const {
  std::vector<pg::TimelineHistory> histories;
  const std::optional<pg::TimelineHistory> served = history_of(timeline);
  if (!served) return histories;
  histories.push_back(*served);
  for (const repo::WalArchive::Content& content :
       archive_.contents({.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}}))
    damage_of([&] {
      if (const std::optional<Bytes> text = archive_.read_file_of(content.object))
        histories.push_back(pg::parse_timeline_history(timeline, as_text(*text)));
    });
  return histories;
}

std::optional<uint64_t> Living::find_first_segment(pg::TimelineId timeline) const {
  std::optional<uint64_t> first;
  bool is_told = false;  // there is a start to count from, on this timeline or another
  auto lives_from = [&](pg::Lsn lsn) {
    const uint64_t segment = pg::segment_of(lsn, archive_.segment_size());
    first = std::min(first.value_or(segment), segment);
  };
  const std::vector<pg::TimelineHistory> histories = every_history_of(timeline);
  if (histories.empty()) return kEverySegment;
  for (const repo::Backup& backup : backups_) {
    is_told = true;
    if (std::ranges::any_of(histories, [&](const pg::TimelineHistory& history) {
          return history.is_ancestor(backup.start_timeline, backup.start_lsn);
        }))
      lives_from(backup.start_lsn);
  }
  for (const repo::Intent& intent : intents_) {
    if (!intent.wal_from || !intent.timeline) continue;
    is_told = true;
    const std::optional<pg::TimelineHistory> theirs = history_of(*intent.timeline);
    if (!theirs || theirs->contains(timeline)) lives_from(*intent.wal_from);
  }
  return is_told ? first : std::optional(kEverySegment);
}

// What holds at the start of the first living segment was written down before it, on that timeline
// or on the one that it came from.
void Living::find_snapshot_in_force(pg::TimelineId timeline) {
  const std::optional<pg::TimelineHistory> history = history_of(timeline);
  if (!history) return;
  pg::Lsn until = pg::start_lsn(*first_segments_.at(timeline), archive_.segment_size());
  const std::span<const pg::TimelineHistoryEntry> ancestors = history->ancestors();
  std::vector<pg::TimelineHistoryEntry> path(ancestors.begin(), ancestors.end());
  path.push_back({.timeline = timeline, .switch_lsn = until, .reason = ""});
  for (auto at = path.rbegin(); at != path.rend(); ++at) {
    until = std::min(until, at->switch_lsn);
    std::optional<pg::Lsn> newest;
    store::for_each_entry(
        repository_.store(),
        {.prefix = fmt::format("{}names/{:08X}/", repo::lineage_folder(lineage_.name),
                               at->timeline.value)},
        [&](const store::ListEntry& entry) {
          const std::optional<repo::ObjectName> name =
              repo::parse_object_name(lineage_.name, archive_.segment_size(), entry.name);
          if (!name) return true;
          if (name->lsn > until) return false;
          newest = name->lsn;
          return true;
        });
    if (!newest) continue;
    snapshots_in_force_[at->timeline].insert(*newest);
    return;
  }
}

// A history is asked for by whoever recovers on its timeline, and by every server that was on an
// older one and looks for a timeline that nobody has used. So one that is older than everything
// that lives, or is merely still there, is asked for by nobody. While anything is in doubt all
// live.
void Living::find_oldest_timeline() {
  std::optional<pg::TimelineId> oldest;
  auto lives = [&](pg::TimelineId timeline) {
    oldest = std::min(oldest.value_or(timeline), timeline);
  };
  for (const auto& [timeline, first] : first_segments_) lives(timeline);
  for (const repo::Backup& backup : backups_) lives(backup.start_timeline);
  for (const repo::Intent& intent : intents_)
    if (intent.what != repo::kExpireIntent) lives(intent.timeline.value_or(pg::TimelineId{0}));
  if (!backups_.empty()) oldest_timeline_ = *oldest;
}

bool Living::is_segment_living(pg::SegmentName segment) const {
  // A timeline that was not there when the others were looked at is new.
  const auto first = first_segments_.find(segment.timeline);
  if (first == first_segments_.end()) return true;
  return first->second && segment.segment_number >= *first->second;
}

bool Living::is_snapshot_living(pg::TimelineId timeline, pg::Lsn lsn) const {
  const auto in_force = snapshots_in_force_.find(timeline);
  if (in_force != snapshots_in_force_.end() && in_force->second.contains(lsn)) return true;
  return is_segment_living(
      {.timeline = timeline, .segment_number = pg::segment_of(lsn, archive_.segment_size())});
}

bool Living::is_living(const repo::ObjectName& name, Time modified) const {
  if (!is_candidate_kind(name.kind)) return true;
  if (objects_from_ && modified + store::kClockTicks >= *objects_from_) return true;
  switch (name.kind) {
    case ObjectKind::kManifest:
    case ObjectKind::kManifestCopy:
    case ObjectKind::kRefs:
    case ObjectKind::kMark:
      return reached_ids_.contains(name.backup_id);
    case ObjectKind::kPack:
      return has_redirects_ || std::ranges::binary_search(packs_, name.id);
    case ObjectKind::kRedirect:
      return std::ranges::binary_search(packs_, name.id);
    case ObjectKind::kVerified:
      return !replaced_records_.contains(name.backup_id);
    case ObjectKind::kWalSegment:
    case ObjectKind::kWalPartial:
    case ObjectKind::kWalPiece:
    case ObjectKind::kBackupHistory:
    case ObjectKind::kFurtherSegment:
    case ObjectKind::kWalIndex:  // as its last segment
      return is_segment_living(name.segment);
    case ObjectKind::kCatalogNames:
      return is_snapshot_living(name.segment.timeline, name.lsn);
    case ObjectKind::kTimelineHistory:
    case ObjectKind::kHistoryCopy:
      return name.segment.timeline >= oldest_timeline_;
    // As the file beside which it stands.
    case ObjectKind::kFurtherFile:
    case ObjectKind::kSetAside:
      return name.segment.segment_number == 0 ? name.segment.timeline >= oldest_timeline_
                                              : is_segment_living(name.segment);
    case ObjectKind::kIntent:
    case ObjectKind::kIntentEnd:
    case ObjectKind::kFurtherIntentEnd:
      return intent_ids_.contains(name.id);
    // No candidates.
    case ObjectKind::kRepository:
    case ObjectKind::kRepositoryCopy:
    case ObjectKind::kKey:
    case ObjectKind::kKeyCopy:
    case ObjectKind::kLineage:
    case ObjectKind::kLineageCopy:
    case ObjectKind::kBackup:
    case ObjectKind::kBackupCopy:
    case ObjectKind::kDoomed:
    case ObjectKind::kDoomedEnd:
    case ObjectKind::kLease:
    case ObjectKind::kDrill:
    case ObjectKind::kClusterName:
    case ObjectKind::kClusterNameCopy:
      return true;
  }
  HF_CHECK(false);
}

bool is_candidate_kind(ObjectKind kind) {
  return repo::row_of(kind).removal == repo::Removal::kExpiry;
}

void for_each_candidate(
    const repo::Repository& repository, const repo::Lineage& lineage, const Living& living,
    const std::function<void(const store::ListEntry&, const repo::ObjectName&)>& visit) {
  const pg::WalSegmentSize size(lineage.wal_segment_bytes);
  auto list = [&](const std::string& folder, uint64_t end_segment, bool with_below = true,
                  const std::function<bool(const store::ListEntry&)>& may_go = {}) {
    store::for_each_entry(
        repository.store(),
        {.prefix = repo::lineage_folder(lineage.name) + folder, .folders = !with_below},
        [&](const store::ListEntry& entry) {
          const std::optional<repo::ObjectName> name =
              repo::parse_object_name(lineage.name, size, entry.name);
          if (!name) return true;
          if (name->segment.segment_number >= end_segment) return false;
          if (is_candidate_kind(name->kind) && (!may_go || may_go(entry))) visit(entry, *name);
          return true;
        });
  };
  // Of what stands under one file's name only the lowest number is a candidate, and a mark when
  // there is none: what is spared is never served in place of what was removed.
  const repo::WalArchive archive(repository, lineage);
  list("amended/", UINT64_MAX, true, [&](const store::ListEntry& entry) {
    const size_t slash = entry.name.rfind('/');
    const std::string folder = entry.name.substr(0, slash);
    const pg::WalFileName file =
        pg::parse_wal_file_name(folder.substr(folder.rfind('/') + 1), size);
    if (file.kind == pg::WalFileKind::kOther) return false;
    if (file.kind == pg::WalFileKind::kPartial) {
      bool is_there = false;
      archive.for_each_stored(file.segment.timeline, file.segment.segment_number,
                              [&](const repo::WalArchive::Entry& stored) {
                                if (stored.file.segment != file.segment) return false;
                                is_there = stored.partial.has_value();
                                return !is_there;
                              });
      return !is_there;
    }
    const std::vector<repo::WalArchive::Content> contents = archive.contents(file);
    return contents.empty() || contents.front().object == entry.name;
  });
  list("histories.copy/", UINT64_MAX, true, [&](const store::ListEntry& entry) {
    const std::optional<std::string> content = repo::history_of_copy(entry.name);
    const pg::WalFileName file{
        .kind = pg::WalFileKind::kHistory,
        .segment = {.timeline =
                        repo::parse_object_name(lineage.name, size, entry.name)->segment.timeline}};
    const std::vector<repo::WalArchive::Content> contents = archive.contents(file);
    return contents.empty() || contents.front().object == content;
  });
  for (const char* folder : {"index/", "intents/", "manifests/", "manifests.copy/", "marks/",
                             "names/", "packs/", "redirects/", "refs/", "verified/"})
    list(folder, UINT64_MAX);
  for (const auto& [timeline, first] : living.first_segments())
    if (first != kEverySegment)
      list(fmt::format("wal/{:08X}/", timeline.value), first.value_or(UINT64_MAX));
  list("wal/", UINT64_MAX, false);  // histories
}

}  // namespace holdfast::expire
