#include "recovery/removals.h"

#include <algorithm>

#include <fmt/core.h>

namespace holdfast::recovery {
namespace {

using What = pg::Removal::What;

// Records that start before it are replayed.
pg::Lsn replayed_before(const Survey& survey, const Reach& reach, const Target& target) {
  if (!reach.found) return reach.end_lsn;
  if (target.exclusive || target.kind == TargetKind::kTime || target.kind == TargetKind::kImmediate)
    return reach.stop_lsn;
  const bool matters = std::ranges::any_of(reach.removals, [&](const repo::WalRemoval& removal) {
    return removal.lsn > reach.stop_lsn;
  });
  if (!matters) return reach.stop_lsn + 1;
  return survey.first_record_from(reach.stop_lsn).value_or(reach.stop_lsn) + 1;
}

std::string name_of(const HalfRemoval& half) {
  if (half.is_tablespace) return fmt::format("tablespace {}", half.oid);
  return half.name.empty() ? fmt::format("database {}", half.oid)
                           : fmt::format("database \"{}\"", half.name);
}

}  // namespace

std::vector<HalfRemoval> find_half_removals(const Survey& survey, const Reach& reach,
                                            const Target& target, pg::WalSegmentSize size) {
  std::vector<HalfRemoval> open;
  if (reach.removals.empty()) return open;
  const pg::Lsn stop = replayed_before(survey, reach, target);
  const auto has_ended = [&](const repo::WalRemoval& removal) {
    if (removal.xid == 0) return false;
    const bool is_known =
        removal.ended && pg::segment_of(removal.lsn, size) < pg::segment_of(stop, size);
    return is_known || survey.has_end(removal.xid, removal.lsn, stop);
  };
  for (const repo::WalRemoval& removal : reach.removals) {
    if (removal.lsn >= stop) continue;
    const bool is_tablespace = removal.what == What::kTablespace;
    auto half = std::ranges::find_if(open, [&](const HalfRemoval& one) {
      return one.is_tablespace == is_tablespace && one.oid == removal.oid;
    });
    if (has_ended(removal)) {
      if (half != open.end()) open.erase(half);
      continue;
    }
    if (half == open.end())
      half = open.insert(half, {.is_tablespace = is_tablespace, .oid = removal.oid});
    if (removal.what == What::kMark) half->name = removal.name;
    std::optional<pg::Lsn>& from = removal.what == What::kMark ? half->marked : half->gone;
    if (!from) from = removal.lsn;
  }
  for (HalfRemoval& half : open) {
    half.is_marked_before_commits = half.marked && survey.has_commit(*half.marked, stop);
    half.is_gone_before_commits = half.gone && survey.has_commit(*half.gone, stop);
  }
  return open;
}

std::optional<pg::Lsn> place_before(const HalfRemoval& half) {
  if (half.marked && !half.is_marked_before_commits) return half.marked;
  if (half.gone && !half.is_gone_before_commits) return half.gone;
  return std::nullopt;
}

std::string stops_before(const HalfRemoval& half, pg::Lsn place) {
  return fmt::format(
      "{} is taken away from {} on, before the transaction ends that does it: recovery stops "
      "before that place, and no transaction up to the target committed behind it",
      name_of(half), to_string(place));
}

std::string warning_of(const HalfRemoval& half, const std::string& before,
                       const std::string& here) {
  std::string words;
  if (half.gone) {
    words = fmt::format(
        "{} is left without its files, which are taken away at {}: the transaction that does it "
        "has not ended where recovery stops",
        name_of(half), to_string(*half.gone));
  } else {
    words = fmt::format(
        "DROP DATABASE marks {} at {} and has not ended where recovery stops: its files are there, "
        "and nobody can connect to it until a superuser undoes the mark (UPDATE pg_database SET "
        "datconnlimit = -1 WHERE oid = {})",
        name_of(half), to_string(*half.marked), half.oid);
  }
  if (before.empty()) return words + ". No backup leads to the place before that";
  const bool are_lost = half.marked ? half.is_marked_before_commits : half.is_gone_before_commits;
  return fmt::format("{}. As it was before{}: {}. As it is here: {}", words,
                     are_lost ? ", and without what committed since" : "", before, here);
}

}  // namespace holdfast::recovery
