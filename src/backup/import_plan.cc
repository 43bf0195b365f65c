#include "backup/import_plan.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::backup {
namespace {

const KeptMember* find(const ImportParts& parts, std::string_view path) {
  const auto found = parts.files.find(std::string(path));
  return found == parts.files.end() ? nullptr : &found->second;
}

[[noreturn]] void throw_contradiction(std::string message, std::string detail) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = std::move(message),
               .detail = std::move(detail),
               .hint = "The files were put together from different base backups."});
}

void require_lineage(const pg::ControlFile& control, const repo::Lineage& lineage) {
  const std::string what = fmt::format("lineage {} of cluster \"{}\"",
                                       repo::to_string(lineage.name), lineage.name.shown());
  if (control.system_identifier != lineage.system_identifier)
    throw Error({.code = ErrorCode::kWrongCluster,
                 .message = fmt::format("the base backup is of another cluster than {}", what),
                 .detail = fmt::format("Its system identifier is {} (PostgreSQL {}), that of the "
                                       "lineage is {} (PostgreSQL {}).",
                                       control.system_identifier, control.major,
                                       lineage.system_identifier, lineage.name.major),
                 .hint = "Name the cluster that it is of with --cluster. Of a server after "
                         "pg_upgrade or a new initdb: \"holdfast init --new-lineage\" makes its "
                         "lineage."});
  if (control.major != lineage.name.major ||
      control.wal_segment_size.bytes() != lineage.wal_segment_bytes ||
      control.block_bytes != lineage.block_bytes ||
      control.blocks_per_relation_segment != lineage.blocks_per_segment)
    throw Error(
        {.code = ErrorCode::kWrongCluster,
         .message = fmt::format("the base backup does not fit {}", what),
         .detail = fmt::format("PostgreSQL {} and {}, WAL segments of {} and {} bytes, "
                               "blocks of {} and {} bytes.",
                               control.major, lineage.name.major, control.wal_segment_size.bytes(),
                               lineage.wal_segment_bytes, control.block_bytes, lineage.block_bytes),
         .hint = "pg_upgrade and pg_resetwal make another cluster of it: run \"holdfast "
                 "init --new-lineage\" on the server that it is now."});
}

std::vector<pg::TablespaceMapEntry> tablespaces_of(const ImportParts& parts, int major) {
  std::vector<pg::TablespaceMapEntry> entries;
  if (const KeptMember* map = find(parts, "tablespace_map"))
    entries = pg::parse_tablespace_map(as_text(map->content), major);
  for (const auto& [oid, path] : parts.links) {
    const auto known = std::ranges::find(entries, oid, &pg::TablespaceMapEntry::oid);
    if (known == entries.end())
      entries.push_back({.oid = oid, .path = path});
    else if (known->path != path)
      throw_contradiction(fmt::format("two places are told of tablespace {}", oid),
                          fmt::format("tablespace_map says \"{}\", the link in the tar \"{}\".",
                                      known->path, path));
  }
  std::ranges::sort(entries);
  return entries;
}

void compare_with_manifest(const pg::BackupManifest& manifest, const ImportPlan& plan) {
  if (manifest.system_identifier && *manifest.system_identifier != plan.control.system_identifier)
    throw_contradiction("backup_manifest is of another cluster than the tar",
                        fmt::format("Their system identifiers are {} and {}.",
                                    *manifest.system_identifier, plan.control.system_identifier));
  if (manifest.wal_ranges.empty()) return;
  // The newest timeline's range stands first; the backup began where the oldest begins.
  const auto begins =
      std::ranges::min_element(manifest.wal_ranges, {}, &pg::BackupManifestWalRange::start_lsn);
  if (begins->start_lsn != plan.label.start_lsn)
    throw_contradiction("backup_manifest is of another base backup than the tar",
                        fmt::format("They begin at {} and {}.", pg::to_string(begins->start_lsn),
                                    pg::to_string(plan.label.start_lsn)));
  if (manifest.wal_ranges.size() > 1 || begins->timeline != plan.label.start_timeline)
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = "the base backup ended on another timeline than it began on",
                 .detail = fmt::format("It began on timeline {}; its standby followed the primary "
                                       "to another.",
                                       pg::to_string(plan.label.start_timeline)),
                 .hint = "Take the base backup again."});
}

}  // namespace

ImportPlan plan_import(const ImportParts& parts, const repo::Lineage& lineage,
                       const std::optional<pg::BackupManifest>& manifest) {
  const KeptMember* label = find(parts, "backup_label");
  const KeptMember* control = find(parts, pg::kControlFilePath);
  if (label == nullptr || control == nullptr)
    throw Error({.code = ErrorCode::kUsage,
                 .message = "the tar holds no base backup",
                 .detail = fmt::format("It has no \"{}\".",
                                       label == nullptr ? "backup_label" : pg::kControlFilePath),
                 .hint = label == nullptr
                             ? "Name the base.tar of pg_basebackup -Ft. In a copy made by hand the "
                               "text that pg_backup_stop() returned must be a file backup_label."
                             : "A base.tar ends with it; this one was put together otherwise."});
  ImportPlan plan;
  plan.control = pg::parse_control_file(control->content);
  require_lineage(plan.control, lineage);
  plan.label = pg::parse_backup_label(as_text(label->content), plan.control.wal_segment_size);
  if (plan.label.incremental_from_lsn)
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = "the base backup is incremental",
                 .detail = fmt::format("It holds what has changed since {}, and no server starts "
                                       "from it.",
                                       pg::to_string(*plan.label.incremental_from_lsn)),
                 .hint = "Make it whole first, with pg_combinebackup and the backups before it."});
  plan.tablespaces = tablespaces_of(parts, lineage.name.major);
  if (!plan.tablespaces.empty())
    plan.tablespace_map = pg::format_tablespace_map(plan.tablespaces, lineage.name.major);
  plan.from_standby = plan.label.from == "standby";
  if (manifest) {
    compare_with_manifest(*manifest, plan);
    if (!manifest->wal_ranges.empty()) plan.stop_lsn = manifest->wal_ranges.front().end_lsn;
  }
  if (plan.from_standby) {
    if (plan.control.minimum_recovery_timeline != plan.label.start_timeline)
      throw Error(
          {.code = ErrorCode::kUnsupported,
           .message = "the base backup ended on another timeline than it began on",
           .detail = fmt::format("It began on timeline {}, and its pg_control is of timeline {}.",
                                 pg::to_string(plan.label.start_timeline),
                                 pg::to_string(plan.control.minimum_recovery_timeline)),
           .hint = "Take the base backup again."});
    // A standby writes no record at the end of a backup.
    if (!plan.stop_lsn) plan.stop_lsn = plan.control.minimum_recovery_lsn;
  }
  if (plan.stop_lsn && *plan.stop_lsn < plan.label.start_lsn)
    throw_contradiction(
        "the base backup ends before it begins",
        fmt::format("It begins at {} and ends at {}.", pg::to_string(plan.label.start_lsn),
                    pg::to_string(*plan.stop_lsn)));
  return plan;
}

void check_tablespace_tars(const std::vector<pg::TablespaceMapEntry>& tablespaces,
                           const ImportFiles& files) {
  const auto has_tar = [&](uint32_t oid) {
    return std::ranges::any_of(files.tars, [&](const ImportTar& tar) {
      return tar.role == ImportTar::Role::kTablespace && tar.oid == oid;
    });
  };
  for (const pg::TablespaceMapEntry& tablespace : tablespaces)
    if (!has_tar(tablespace.oid))
      throw Error({.code = ErrorCode::kUsage,
                   .message = fmt::format("the tar of tablespace {} is missing", tablespace.oid),
                   .detail = fmt::format("It was at \"{}\"; the base backup has {} in all.",
                                         tablespace.path, tablespaces.size()),
                   .hint = fmt::format("Name the directory in which {}.tar lies beside base.tar: "
                                       "--tar DIR.",
                                       tablespace.oid)});
  for (const ImportTar& tar : files.tars)
    if (tar.role == ImportTar::Role::kTablespace &&
        std::ranges::find(tablespaces, tar.oid, &pg::TablespaceMapEntry::oid) == tablespaces.end())
      throw Error(
          {.code = ErrorCode::kUsage,
           .message = fmt::format("\"{}\" is of no tablespace of the base backup", tar.path),
           .detail = fmt::format("Its tablespace_map does not name {}.", tar.oid),
           .hint = "Take it away, or name the directory that belongs to this base.tar."});
}

}  // namespace holdfast::backup
