// Facts: basebackup.c (perform_base_backup, sendDir, sendTablespace), pg_basebackup.c, PostgreSQL
// 13 to 18.
#include "backup/tar_feed.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/task_group.h"
#include "pg/backup_exclusions.h"
#include "pg/control_file.h"

namespace holdfast::backup {
namespace {

constexpr std::array<std::string_view, 3> kSpecial = {"backup_label", "tablespace_map",
                                                      pg::kControlFilePath};
constexpr uint64_t kMaxSpecialBytes = uint64_t{16} << 20;
constexpr std::string_view kManifest = "backup_manifest";
constexpr std::string_view kWal = "pg_wal/";
constexpr std::string_view kTablespaces = "pg_tblspc/";

bool is_special(const std::string& path) {
  return std::ranges::find(kSpecial, path) != kSpecial.end();
}

std::optional<uint32_t> tablespace_link_of(const TarEntry& entry) {
  if (entry.type != TarEntry::Type::kSymlink || !entry.path.starts_with(kTablespaces))
    return std::nullopt;
  uint32_t oid = 0;
  const char* last = entry.path.data() + entry.path.size();
  auto [end, error] = std::from_chars(entry.path.data() + kTablespaces.size(), last, oid);
  if (error != std::errc() || end != last) return std::nullopt;
  return oid;
}

KeptMember keep(const TarEntry& entry, TarReader& tar) {
  if (entry.type != TarEntry::Type::kFile || entry.bytes > kMaxSpecialBytes)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("\"{}\" of \"{}\" is no such file", entry.path, tar.name()),
                 .detail = entry.type != TarEntry::Type::kFile
                               ? std::string("It is no file at all.")
                               : fmt::format("It has {} bytes.", entry.bytes),
                 .hint = "Make the tar anew from the base backup that it holds."});
  KeptMember kept{.entry = entry, .content = Bytes(entry.bytes)};
  tar.read(kept.content);
  return kept;
}

[[noreturn]] void throw_foreign(const TarEntry& entry, const std::string& tar) {
  const std::string_view kind = entry.type == TarEntry::Type::kSymlink    ? "a symbolic link"
                                : entry.type == TarEntry::Type::kHardLink ? "a hard link"
                                                                          : "a special file";
  throw Error(
      {.code = ErrorCode::kUnsupported,
       .message = fmt::format("\"{}\" of \"{}\" is {}", entry.path, tar, kind),
       .detail = entry.target.empty()
                     ? std::string("A base backup holds files, directories and links of "
                                   "tablespaces alone.")
                     : fmt::format("It points to \"{}\"; a base backup holds files, directories "
                                   "and links of tablespaces alone.",
                                   entry.target.substr(0, 200)),
       .hint = "Make the tar anew without it (tar --exclude), or with what it points to in its "
               "place (tar --dereference, --hard-dereference)."});
}

pg::PathType path_type(TarEntry::Type type) {
  switch (type) {
    case TarEntry::Type::kFile:
    case TarEntry::Type::kHardLink:
      return pg::PathType::kFile;
    case TarEntry::Type::kDirectory:
      return pg::PathType::kDirectory;
    case TarEntry::Type::kSymlink:
      return pg::PathType::kSymbolicLink;
    case TarEntry::Type::kSpecial:
      break;
  }
  return pg::PathType::kSpecial;
}

// Names as they stand; numbers where there are none.
repo::Owner owner_of(const TarEntry& entry) {
  return {.user = entry.user.empty() ? std::to_string(entry.uid) : entry.user,
          .group = entry.group.empty() ? std::to_string(entry.gid) : entry.group,
          .uid = entry.uid,
          .gid = entry.gid};
}

}  // namespace

std::optional<size_t> RegionBytes::read(const CopyItem&, uint64_t offset,
                                        std::span<std::byte> into) {
  HF_CHECK(offset >= start_);
  const uint64_t from = std::min<uint64_t>(offset - start_, bytes_.size());
  const ByteView rest = bytes_.subspan(static_cast<size_t>(from));
  const size_t count = std::min(into.size(), rest.size());
  std::ranges::copy(rest.first(count), into.begin());
  return count;
}

ImportParts look_into(const ImportTar& base, const std::stop_token& stop) {
  ImportParts parts;
  // What comes through a pipe can be read once only.
  const std::optional<struct stat> status = stat_if_exists(base.path);
  if (!status || !S_ISREG(status->st_mode)) return parts;
  ImportStream stream(base, stop);
  if (!stream.can_be_skipped()) return parts;
  while (std::optional<TarEntry> entry = stream.tar().next()) {
    throw_if_stopped(stop);
    if (is_special(entry->path)) parts.files.emplace(entry->path, keep(*entry, stream.tar()));
    if (std::optional<uint32_t> oid = tablespace_link_of(*entry)) parts.links[*oid] = entry->target;
  }
  return parts;
}

TarFeed::TarFeed(Options options, ImportEntries& entries, std::stop_token stop)
    : options_(std::move(options)), entries_(entries), stop_(std::move(stop)) {}
TarFeed::~TarFeed() = default;

// To the next member that has content to store. False: there is none.
bool TarFeed::advance() {
  while (current_ == nullptr) {
    throw_if_stopped(stop_);
    if (!stream_) {
      if (tar_index_ == options_.tars.size()) return false;
      stream_ = std::make_unique<ImportStream>(options_.tars[tar_index_], stop_);
    }
    if (std::optional<TarEntry> entry = stream_->tar().next()) {
      Context reading("reading \"{}\" of \"{}\"", entry->path, stream_->tar().name());
      take(*entry);
      continue;
    }
    stream_.reset();
    if (options_.tars[tar_index_].role == ImportTar::Role::kBase && options_.on_base_read)
      options_.on_base_read(parts_);
    ++tar_index_;
  }
  return true;
}

void TarFeed::take(const TarEntry& entry) {
  switch (options_.tars[tar_index_].role) {
    case ImportTar::Role::kBase:
      return take_base(entry);
    case ImportTar::Role::kTablespace:
      return take_tablespace(entry);
    case ImportTar::Role::kWal:
      if (entry.type == TarEntry::Type::kFile) options_.on_wal(entry, entry.path, stream_->tar());
      return;
  }
}

// backup_label, tablespace_map, pg_control, backup_manifest.
bool TarFeed::take_special(const TarEntry& entry) {
  if (entry.path == kManifest && entry.type == TarEntry::Type::kFile) {
    options_.on_manifest(stream_->tar());
    return true;
  }
  if (!is_special(entry.path)) return false;
  auto [kept, is_first] = parts_.files.emplace(entry.path, keep(entry, stream_->tar()));
  if (!is_first)
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("\"{}\" stands twice in \"{}\"", entry.path, stream_->tar().name()),
         .detail = "Nothing tells which of the two belongs to the backup.",
         .hint = "Make the tar anew from the base backup that it holds."});
  // In the manifest it stands with the last files; here it is only compared.
  pg::Crc32c crc;
  crc.update(kept->second.content);
  ImportedEntry compared{.owner = owner_of(entry), .crc32c = crc.value(), .is_kept = false};
  compared.entry.path = entry.path;
  compared.entry.size = entry.bytes;
  entries_.add(compared);
  return true;
}

void TarFeed::take_base(const TarEntry& entry) {
  if (entry.path.empty()) {
    parts_.root = entry;
    return;
  }
  if (take_special(entry)) return;
  if (entry.path.starts_with(kWal)) {
    const std::string name = entry.path.substr(kWal.size());
    if (entry.type == TarEntry::Type::kFile && name.find('/') == std::string::npos)
      options_.on_wal(entry, name, stream_->tar());
    return;
  }
  if (std::optional<uint32_t> oid = tablespace_link_of(entry)) {
    parts_.links[*oid] = entry.target;
    return;
  }
  const pg::BackupTreatment treatment = pg::backup_treatment(entry.path, path_type(entry.type));
  if (treatment == pg::BackupTreatment::kSkip) return;
  const bool is_directory_to_be = treatment == pg::BackupTreatment::kDirectoryOnly;
  if (entry.type != TarEntry::Type::kFile && entry.type != TarEntry::Type::kDirectory &&
      !is_directory_to_be)
    throw_foreign(entry, stream_->tar().name());
  if (std::ranges::find(kConfigurationFiles, entry.path) != kConfigurationFiles.end())
    parts_.configuration.insert(entry.path);
  TarEntry kept = entry;
  if (is_directory_to_be) kept.type = TarEntry::Type::kDirectory;
  take_data(kept, entry.path, true);
}

void TarFeed::take_tablespace(const TarEntry& entry) {
  if (entry.path.empty()) return;
  // Another major's, or somebody else's.
  if (entry.path.substr(0, entry.path.find('/')) != options_.version_directory) return;
  const std::string path =
      fmt::format("{}{}/{}", kTablespaces, options_.tars[tar_index_].oid, entry.path);
  if (pg::backup_treatment(path, path_type(entry.type)) == pg::BackupTreatment::kSkip) return;
  if (entry.type != TarEntry::Type::kFile && entry.type != TarEntry::Type::kDirectory)
    throw_foreign(entry, stream_->tar().name());
  take_data(entry, path, true);
}

void TarFeed::take_data(const TarEntry& entry, const std::string& path, bool is_kept) {
  const bool is_file = entry.type == TarEntry::Type::kFile;
  if (entry.bytes > repo::kMaxFileBytes)
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = fmt::format("\"{}\" is too large for the repository", path),
                 .detail = fmt::format("It has {} bytes; at most {} are possible.", entry.bytes,
                                       repo::kMaxFileBytes)});
  if (!repo::is_manifest_path(repo::ManifestRoot::kData, path))
    throw Error({.code = ErrorCode::kUnsupported,
                 .message = fmt::format("the path \"{}…\" is too long", path.substr(0, 100)),
                 .detail = fmt::format("It has {} bytes.", path.size())});
  auto member = std::make_unique<Member>();
  member->entry.path = path;
  member->entry.type = is_file ? repo::EntryType::kFile : repo::EntryType::kDirectory;
  member->entry.mode = entry.mode;
  member->entry.modified = entry.modified;
  member->owner = owner_of(entry);
  member->bytes = entry.bytes;
  if (is_file) member->relation = pg::parse_relation_path(path, options_.version_directory);
  if (entry.bytes == 0) {
    ImportedEntry imported{.entry = member->entry,
                           .owner = member->owner,
                           .relation = member->relation,
                           .is_kept = is_kept};
    if (is_file) imported.crc32c = pg::Crc32c().value();
    return entries_.add(imported);
  }
  member->regions = repo::leaf_count_of(entry.bytes);
  current_ = member.get();
  MutexLock lock(members_mutex_);
  members_.push_back(std::move(member));
}

std::optional<TarFeed::Work> TarFeed::next(std::span<std::byte> buffer) {
  HF_CHECK(buffer.size() == repo::kLeafBytes);
  MutexLock lock(stream_mutex_);
  // Where one has failed nobody else goes on: the stream stands anywhere.
  if (std::exchange(is_broken_, true)) return std::nullopt;
  if (!advance()) {
    is_broken_ = false;
    return std::nullopt;
  }
  Member& member = *current_;
  Context reading("reading \"{}\" of \"{}\"", member.entry.path, stream_->tar().name());
  Work work{.member = &member, .region = member.next_region++};
  work.bytes = stream_->tar().read(buffer);
  member.crc.update(ByteView(buffer).first(work.bytes));
  if (member.next_region == member.regions) current_ = nullptr;
  is_broken_ = false;
  return work;
}

std::unique_ptr<TarFeed::Member> TarFeed::region_done(Member& member, const RegionResult& result) {
  MutexLock lock(members_mutex_);
  member.end = std::max(member.end, result.end);
  const size_t kept = std::min(result.faults.size(), kMaxFaults - member.faults.size());
  member.faults.insert(member.faults.end(), result.faults.begin(),
                       result.faults.begin() + static_cast<ptrdiff_t>(kept));
  member.more_faults += result.faults.size() - kept;
  if (++member.regions_done < member.regions) return nullptr;
  const auto found = std::ranges::find(members_, &member, &std::unique_ptr<Member>::get);
  std::unique_ptr<Member> whole = std::move(*found);
  members_.erase(found);
  return whole;
}

ImportParts TarFeed::take_parts() {
  MutexLock lock(stream_mutex_);
  return std::move(parts_);
}

}  // namespace holdfast::backup
