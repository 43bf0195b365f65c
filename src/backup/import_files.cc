#include "backup/import_files.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/task_group.h"

namespace holdfast::backup {
namespace {

constexpr const char* kManifest = "backup_manifest";
constexpr int kPollMilliseconds = 200;

// "base" of "base.tar" and "base.tar.gz"; nullopt for what is no tar.
std::optional<std::string> stem_of(const std::string& name) {
  const size_t dot = name.find(".tar");
  if (dot == std::string::npos || dot == 0) return std::nullopt;
  const std::string_view behind = std::string_view(name).substr(dot + 4);
  if (!behind.empty() && (behind[0] != '.' || behind.find('.', 1) != std::string_view::npos))
    return std::nullopt;
  return name.substr(0, dot);
}

std::optional<ImportTar> tar_of(const std::string& directory, const std::string& name) {
  const std::optional<std::string> stem = stem_of(name);
  if (!stem) return std::nullopt;
  ImportTar tar{.path = join_path(directory, name)};
  if (*stem == "base") return tar;
  if (*stem == "pg_wal") {
    tar.role = ImportTar::Role::kWal;
    return tar;
  }
  tar.role = ImportTar::Role::kTablespace;
  auto [end, error] = std::from_chars(stem->data(), stem->data() + stem->size(), tar.oid);
  if (error != std::errc() || end != stem->data() + stem->size()) return std::nullopt;
  return tar;
}

[[noreturn]] void throw_not_a_backup(const std::string& path, std::string detail) {
  const bool is_plain = is_directory(path) && lstat_if_exists(join_path(path, "PG_VERSION"));
  throw Error(
      {.code = ErrorCode::kUsage,
       .message = fmt::format("\"{}\" is no base backup in tar format", path),
       .detail = is_plain ? "It is one in plain format, or a data directory." : std::move(detail),
       .hint = is_plain ? fmt::format("Hand it over as a tar: tar -cf - -C {} . | holdfast backup "
                                      "import --tar -; or take it with pg_basebackup -Ft.",
                                      path)
                        : "Name the directory that pg_basebackup -Ft or \"holdfast backup export\" "
                          "filled, its base.tar, or - for stdin."});
}

}  // namespace

ImportFiles find_import_files(const std::string& path) {
  ImportFiles files;
  files.place = path.empty() ? "stdin" : path;
  const auto add_size = [&](const std::string& of) {
    if (std::optional<struct stat> status = stat_if_exists(of))
      files.bytes += static_cast<uint64_t>(status->st_size);
  };
  if (path.empty()) {
    files.tars.push_back({});
    return files;
  }
  if (!stat_if_exists(path))
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("there is no file or directory \"{}\"", path),
                 .hint = "Name the directory that pg_basebackup -Ft or \"holdfast backup export\" "
                         "filled, its base.tar, or - for stdin."});
  if (!is_directory(path)) {
    files.tars.push_back({.path = path});
    add_size(path);
    return files;
  }
  for (const DirectoryEntry& entry : list_directory(path)) {
    if (entry.name == kManifest) files.manifest = join_path(path, kManifest);
    std::optional<ImportTar> tar = tar_of(path, entry.name);
    if (!tar) continue;
    add_size(tar->path);
    files.tars.push_back(*std::move(tar));
  }
  const auto order = [](const ImportTar& tar) { return std::pair(tar.role, tar.oid); };
  std::ranges::sort(files.tars, {}, order);
  if (const auto twice = std::ranges::adjacent_find(files.tars, {}, order);
      twice != files.tars.end())
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("\"{}\" holds one tar twice", path),
                 .detail = fmt::format("There are \"{}\" and \"{}\".", base_name(twice->path),
                                       base_name((twice + 1)->path)),
                 .hint = "Take away the one that is not to be imported."});
  if (files.tars.empty() || files.tars.front().role != ImportTar::Role::kBase)
    throw_not_a_backup(path, "It has no base.tar, nor one that is compressed (base.tar.gz).");
  return files;
}

ImportStream::ImportStream(const ImportTar& tar, std::stop_token stop)
    : name_(tar.path.empty() ? "stdin" : tar.path), stop_(std::move(stop)) {
  fd_ = tar.path.empty() ? Fd(dup(STDIN_FILENO)) : open_file(tar.path, O_RDONLY);
  if (!fd_.is_open()) throw_errno("read", name_);
  struct stat status{};
  if (fstat(fd_.get(), &status) != 0) throw_errno("stat", name_);
  const bool is_file = S_ISREG(status.st_mode) && !tar.path.empty();
  if (is_file) posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  std::array<std::byte, 512> front{};
  if (is_file) {
    // A file that is no archive is a wrong argument rather than damage.
    const size_t got = pread_some(fd_, front, 0, name_);
    constexpr size_t kMagicAt = 257;
    const std::string_view text = as_text(ByteView(front).first(got));
    const bool is_plain_tar = got == front.size() && text.substr(kMagicAt, 5) == "ustar";
    can_be_skipped_ = is_plain_tar;
  }
  decompressor_ = std::make_unique<codec::StreamDecompressor>(
      [this](std::span<std::byte> into) { return read(into); }, name_);
  std::function<void(uint64_t)> skip;
  const auto length = static_cast<uint64_t>(status.st_size);
  if (can_be_skipped_) {
    // The decompressor has looked at the first bytes: begin again, and pass it by.
    if (lseek(fd_.get(), 0, SEEK_SET) < 0) throw_errno("seek in", name_);
    skip = [this, length](uint64_t bytes) {
      const off_t at = lseek(fd_.get(), 0, SEEK_CUR);
      if (at < 0) throw_errno("seek in", name_);
      const uint64_t left = length - std::min(length, static_cast<uint64_t>(at));
      if (bytes > left)
        throw Error({.code = ErrorCode::kCorrupt,
                     .message = fmt::format("\"{}\" is not a whole tar archive", name_),
                     .detail = fmt::format("It ends at byte {}, within a member, {} bytes before "
                                           "that one's end.",
                                           length, bytes - left),
                     .hint = "It was cut short or damaged on its way; take it from its source "
                             "again."});
      if (lseek(fd_.get(), static_cast<off_t>(bytes), SEEK_CUR) < 0) throw_errno("seek in", name_);
    };
  }
  reader_ = std::make_unique<TarReader>(
      [this](std::span<std::byte> into) {
        return can_be_skipped_ ? read(into) : decompressor_->read(into);
      },
      name_, std::move(skip));
}

size_t ImportStream::read(std::span<std::byte> into) {
  size_t done = 0;
  while (done < into.size()) {
    throw_if_stopped(stop_);
    pollfd waiting{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    const int ready = poll(&waiting, 1, kPollMilliseconds);
    if (ready < 0 && errno != EINTR) throw_errno("read", name_);
    if (ready <= 0) continue;
    const ssize_t got = ::read(fd_.get(), into.data() + done, into.size() - done);
    if (got < 0 && errno != EINTR) throw_errno("read", name_);
    if (got == 0) break;
    if (got > 0) done += static_cast<size_t>(got);
  }
  return done;
}

}  // namespace holdfast::backup
