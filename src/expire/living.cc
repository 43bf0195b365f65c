#include "expire/living.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"
#include "repo/refs.h"

namespace holdfast::expire {
namespace {

using repo::LineageObject;

// Between the moment at which an owner asked the store's clock and the time that the store gives
// to what is written next lie a tick of a file system's clock and the rounding of its times.
constexpr Microseconds kClockTicks = std::chrono::seconds(5);
constexpr uint64_t kEverySegment = 0;

[[noreturn]] void throw_unknown_use(const std::string& backup_id, std::string detail) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("cannot tell what backup \"{}\" uses", backup_id),
               .detail = std::move(detail),
               .hint = fmt::format("Nothing was removed. Take the object from a copy of the "
                                   "repository, or give the backup up with \"holdfast backup "
                                   "delete {}\".",
                                   backup_id)});
}

// What `read` returns; damage is told as a reason why nothing can be removed. Beyond the four
// places of `catch`: whoever reads it must learn which backup stands in the way.
template <typename Read>
auto read_of_backup(const std::string& backup_id, Read read) {
  try {
    return read();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCorrupt) throw;
    throw_unknown_use(backup_id, fmt::format("{}. {}", error.message(), error.detail()));
  }
}

}  // namespace

std::vector<repo::Backup> kept_backups(std::vector<repo::Backup> committed) { return committed; }

Living::Living(const repo::Repository& repository, const repo::Lineage& lineage, Time now,
               Microseconds grace, const std::set<std::string>& excluded)
    : repository_(repository),
      lineage_(lineage),
      archive_(repository, lineage),
      intents_(repo::read_valid_intents(repository, lineage.name, now, grace)) {
  read_commits(excluded);
  for (const repo::Backup& backup : backups_) {
    reached_ids_.insert(backup.id);
    add_packs_of(backup.id);
  }
  for (const repo::Intent& intent : intents_) {
    intent_ids_.insert(intent.id);
    if (!intent.backup.empty()) reached_ids_.insert(intent.backup);
    for (const std::string& id : intent.uses)
      if (reached_ids_.insert(id).second) add_packs_of(id);
    if (intent.objects_from && (!objects_from_ || *intent.objects_from < *objects_from_))
      objects_from_ = intent.objects_from;
  }
  std::ranges::sort(packs_);
  const auto twice = std::ranges::unique(packs_);
  packs_.erase(twice.begin(), twice.end());
  has_redirects_ =
      !repository.store()
           .list({.prefix = repo::lineage_folder(lineage.name) + "redirects/", .limit = 1})
           .entries.empty();
  for (const pg::TimelineId timeline : archive_.timelines())
    first_segments_[timeline] = find_first_segment(timeline);
}

void Living::read_commits(const std::set<std::string>& excluded) {
  std::vector<repo::Backup> committed;
  for (const std::string& id : repo::list_backup_ids(repository_, lineage_.name)) {
    if (excluded.contains(id)) continue;
    std::optional<repo::Backup> backup =
        read_of_backup(id, [&] { return repo::read_backup(repository_, lineage_.name, id); });
    if (backup) committed.push_back(std::move(*backup));  // else deleted at this moment
  }
  backups_ = kept_backups(std::move(committed));
}

void Living::add_packs_of(const std::string& backup_id) {
  const std::optional<std::vector<repo::PackRefs>> refs = read_of_backup(
      backup_id, [&] { return repo::read_refs(repository_, lineage_.name, backup_id); });
  if (refs) {
    for (const repo::PackRefs& pack : *refs) packs_.push_back(pack.pack);
    return;
  }
  // Of a backup that was deleted and is still used nothing else is left to protect.
  if (!repository_.store().info(repo::backup_name(lineage_.name, backup_id))) return;
  throw_unknown_use(backup_id, fmt::format("The object \"{}\" is missing.",
                                           repo::refs_name(lineage_.name, backup_id)));
}

std::optional<pg::TimelineHistory> Living::history_of(pg::TimelineId timeline) const {
  if (std::optional<Bytes> text = archive_.read_file(
          {.kind = pg::WalFileKind::kHistory, .segment = {.timeline = timeline}}))
    return pg::parse_timeline_history(timeline, as_text(*text));
  if (timeline.value == 1) return pg::TimelineHistory(timeline);
  return std::nullopt;
}

std::optional<uint64_t> Living::find_first_segment(pg::TimelineId timeline) const {
  std::optional<uint64_t> first;
  bool is_told = false;  // there is a start to count from, on this timeline or another
  auto lives_from = [&](pg::Lsn lsn) {
    const uint64_t segment = pg::segment_of(lsn, archive_.segment_size());
    first = std::min(first.value_or(segment), segment);
  };
  const std::optional<pg::TimelineHistory> history = history_of(timeline);
  if (!history) return kEverySegment;
  for (const repo::Backup& backup : backups_) {
    is_told = true;
    if (history->is_ancestor(backup.start_timeline, backup.start_lsn)) lives_from(backup.start_lsn);
  }
  for (const repo::Intent& intent : intents_) {
    if (!intent.wal_from || !intent.timeline) continue;
    is_told = true;
    const std::optional<pg::TimelineHistory> theirs = history_of(*intent.timeline);
    if (!theirs || theirs->contains(timeline)) lives_from(*intent.wal_from);
  }
  return is_told ? first : std::optional(kEverySegment);
}

bool Living::is_living(const repo::ObjectName& name, Time modified) const {
  if (!is_candidate_kind(name.kind)) return true;
  if (objects_from_ && modified + kClockTicks >= *objects_from_) return true;
  switch (name.kind) {
    case LineageObject::kManifest:
    case LineageObject::kManifestCopy:
    case LineageObject::kRefs:
    case LineageObject::kMark:
      return reached_ids_.contains(name.backup_id);
    case LineageObject::kPack:
      return has_redirects_ || std::ranges::binary_search(packs_, name.id);
    case LineageObject::kIntent:
    case LineageObject::kIntentEnd:
      return intent_ids_.contains(name.id);
    default: {  // WAL
      // A timeline that was not there when the others were looked at is new.
      const auto first = first_segments_.find(name.segment.timeline);
      if (first == first_segments_.end()) return true;
      return first->second && name.segment.segment_number >= *first->second;
    }
  }
}

bool is_candidate_kind(LineageObject kind) {
  switch (kind) {
    case LineageObject::kManifest:
    case LineageObject::kManifestCopy:
    case LineageObject::kRefs:
    case LineageObject::kMark:
    case LineageObject::kPack:
    case LineageObject::kWalSegment:
    case LineageObject::kWalPartial:
    case LineageObject::kWalPiece:
    case LineageObject::kWalBackupHistory:
    case LineageObject::kIntent:
    case LineageObject::kIntentEnd:
      return true;
    default:
      return false;
  }
}

void for_each_candidate(
    const repo::Repository& repository, const repo::Lineage& lineage, const Living& living,
    const std::function<void(const store::ListEntry&, const repo::ObjectName&)>& visit) {
  const pg::WalSegmentSize size(lineage.wal_segment_bytes);
  auto list = [&](const std::string& prefix, uint64_t end_segment) {
    store::for_each_entry(
        repository.store(), {.prefix = prefix}, [&](const store::ListEntry& entry) {
          const repo::ObjectName name = repo::parse_object_name(lineage.name, size, entry.name);
          if (name.segment.segment_number >= end_segment) return false;
          if (is_candidate_kind(name.kind)) visit(entry, name);
          return true;
        });
  };
  for (const char* folder :
       {"intents/", "manifests/", "manifests.copy/", "marks/", "packs/", "refs/"})
    list(repo::lineage_folder(lineage.name) + folder, UINT64_MAX);
  for (const auto& [timeline, first] : living.first_segments())
    if (first != kEverySegment)
      list(repo::wal_timeline_folder(lineage.name, timeline), first.value_or(UINT64_MAX));
}

}  // namespace holdfast::expire
