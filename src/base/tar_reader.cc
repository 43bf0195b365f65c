// Facts: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar, "Basic Tar
// Format"; tar.c (tarCreateHeader), PostgreSQL 13 to 18.
#include "base/tar_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "base/error.h"
#include "base/tar_header.h"

namespace holdfast {
namespace {

constexpr uint64_t kMaxExtensionBytes = uint64_t{1} << 20;
constexpr size_t kMaxTarPathBytes = 4096;
constexpr uint64_t kMaxMemberBytes = uint64_t{1} << 62;

std::string_view text_of(ByteView header, tar::Field field) {
  const std::string_view text = as_text(header.subspan(field.offset, field.bytes));
  return text.substr(0, text.find('\0'));
}

char type_of(ByteView header) { return static_cast<char>(header[tar::kType.offset]); }

// Octal digits between blanks and zeros, or GNU's base 256, whose first bit is set. Empty is 0.
// nullopt for anything else, and for what is negative or too large.
std::optional<uint64_t> number_of(ByteView header, tar::Field field) {
  const ByteView bytes = header.subspan(field.offset, field.bytes);
  if ((bytes[0] & std::byte{0x80}) != std::byte{0}) {
    uint64_t value = static_cast<uint64_t>(bytes[0] & std::byte{0x7F});
    for (const std::byte byte : bytes.subspan(1)) {
      if (value >> 55 != 0) return std::nullopt;
      value = value << 8 | static_cast<uint64_t>(byte);
    }
    return value;
  }
  std::string_view text = as_text(bytes);
  text = text.substr(0, text.find('\0'));
  const size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return 0;
  text = text.substr(first, text.find_last_not_of(' ') - first + 1);
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Old programs summed signed characters.
bool checksum_fits(ByteView header) {
  const std::optional<uint64_t> told = number_of(header, tar::kCheck);
  uint64_t sum = 0;
  int64_t signed_sum = 0;
  for (size_t i = 0; i < tar::kBlock; ++i) {
    const bool is_check = i >= tar::kCheck.offset && i < tar::kCheck.offset + tar::kCheck.bytes;
    const auto byte = is_check ? uint8_t{' '} : static_cast<uint8_t>(header[i]);
    sum += byte;
    signed_sum += static_cast<int8_t>(byte);
  }
  return told && (*told == sum || static_cast<int64_t>(*told) == signed_sum);
}

bool is_zero(ByteView bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

// "1700000000.25": seconds with or without a fraction.
std::optional<Time> time_of(std::string_view text) {
  const size_t dot = text.find('.');
  const std::string_view whole = text.substr(0, dot);
  int64_t seconds = 0;
  auto [end, error] = std::from_chars(whole.data(), whole.data() + whole.size(), seconds);
  constexpr int64_t kFarthest = int64_t{1} << 40;
  if (error != std::errc() || end != whole.data() + whole.size() || seconds > kFarthest ||
      seconds < -kFarthest)
    return std::nullopt;
  Microseconds fraction{0};
  if (dot != std::string_view::npos) {
    std::string digits(text.substr(dot + 1, 6));
    if (text.find_first_not_of("0123456789", dot + 1) != std::string_view::npos)
      return std::nullopt;
    digits.resize(6, '0');
    for (const char digit : digits) fraction = fraction * 10 + Microseconds(digit - '0');
  }
  return Time(std::chrono::seconds(seconds) + fraction);
}

// What the header says, or one of those that extend it.
struct Extended {
  std::optional<std::string> path, target, user, group;
  std::optional<uint64_t> bytes, uid, gid;
  std::optional<Time> modified;
};

}  // namespace

struct TarReader::Extension : Extended {
  // "<length> <key>=<value>\n", as often as there is one. Returns what is wrong; empty: nothing.
  std::string read_pax(std::string_view text);
  std::string take(std::string_view key, std::string_view value);
};

std::string TarReader::Extension::read_pax(std::string_view text) {
  while (!text.empty()) {
    size_t length = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    const auto digits = static_cast<size_t>(end - text.data());
    if (error != std::errc() || digits >= text.size() || text[digits] != ' ' ||
        length > text.size() || length < digits + 3 || text[length - 1] != '\n')
      return "A pax header has a record that cannot be read.";
    const std::string_view record = text.substr(digits + 1, length - digits - 2);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) return "A pax header has a record without a value.";
    if (std::string problem = take(record.substr(0, equals), record.substr(equals + 1));
        !problem.empty())
      return problem;
    text.remove_prefix(length);
  }
  return {};
}

std::string TarReader::Extension::take(std::string_view key, std::string_view value) {
  const auto number = [&](std::optional<uint64_t>& into) -> std::string {
    uint64_t read = 0;
    auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), read);
    if (error != std::errc() || end != value.data() + value.size())
      return fmt::format("A pax header says that {} is \"{}\".", key, value.substr(0, 100));
    into = read;
    return {};
  };
  if (key == "path") path = value;
  if (key == "linkpath") target = value;
  if (key == "uname") user = value;
  if (key == "gname") group = value;
  if (key == "size") return number(bytes);
  if (key == "uid") return number(uid);
  if (key == "gid") return number(gid);
  if (key == "mtime") {
    modified = time_of(value);
    if (!modified)
      return fmt::format("A pax header says that mtime is \"{}\".", value.substr(0, 100));
  }
  return {};
}

TarReader::TarReader(ReadBytes read, std::string name, std::function<void(uint64_t)> skip)
    : read_(std::move(read)), skip_(std::move(skip)), name_(std::move(name)) {}

void TarReader::fail(std::string detail) const {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = fmt::format("\"{}\" is not a whole tar archive", name_),
               .detail = std::move(detail),
               .hint = "It was cut short or damaged on its way; take it from its source again."});
}

size_t TarReader::read(std::span<std::byte> into) {
  const auto wanted = static_cast<size_t>(std::min<uint64_t>(into.size(), left_));
  if (wanted == 0) return 0;
  const size_t got = read_(into.first(wanted));
  offset_ += got;
  left_ -= got;
  if (got < wanted)
    fail(fmt::format("It ends at byte {}, within a member, {} bytes before that one's end.",
                     offset_, left_));
  return got;
}

void TarReader::pass_over(uint64_t bytes) {
  if (skip_) {
    skip_(bytes);
    offset_ += bytes;
    return;
  }
  std::array<std::byte, size_t{64} << 10> buffer;
  while (bytes > 0) {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(bytes, buffer.size()));
    const size_t got = read_(std::span(buffer).first(wanted));
    offset_ += got;
    bytes -= got;
    if (got < wanted)
      fail(fmt::format("It ends at byte {}, within a member, {} bytes before that one's end.",
                       offset_, bytes));
  }
}

void TarReader::finish_member() {
  pass_over(left_ + padding_);
  left_ = padding_ = 0;
}

// False: the end.
bool TarReader::read_header(std::span<std::byte> block) {
  const uint64_t at = offset_;
  const size_t got = read_(block);
  offset_ += got;
  if (got < tar::kBlock)
    fail(got == 0 && at == 0 ? "It is empty."
                             : fmt::format("It ends at byte {}, without the two blocks of zeros "
                                           "that stand behind the last member.",
                                           offset_));
  if (is_zero(block)) {
    const size_t second = read_(block);
    offset_ += second;
    if (second < tar::kBlock || !is_zero(block))
      fail(fmt::format("One block of zeros stands at byte {} where there should be two.", at));
    return false;
  }
  if (!checksum_fits(block))
    fail(at == 0 ? std::string("It does not begin with a tar header.")
                 : fmt::format("The checksum of the header at byte {} does not fit.", at));
  return true;
}

void TarReader::expect_only_zeros() {
  std::array<std::byte, size_t{64} << 10> buffer;
  for (;;) {
    const size_t got = read_(buffer);
    if (!is_zero(ByteView(buffer).first(got)))
      fail(fmt::format("Something stands behind its end, at byte {} or later.", offset_));
    offset_ += got;
    if (got < buffer.size()) return;
  }
}

std::string TarReader::read_extension(uint64_t bytes, std::string_view what) {
  if (bytes > kMaxExtensionBytes)
    fail(fmt::format("The {} at byte {} has {} bytes; at most {} are possible.", what, offset_,
                     bytes, kMaxExtensionBytes));
  std::string text(static_cast<size_t>(bytes), '\0');
  left_ = bytes;
  padding_ = (tar::kBlock - bytes % tar::kBlock) % tar::kBlock;
  read(std::as_writable_bytes(std::span(text)));
  finish_member();
  return text;
}

TarEntry TarReader::entry_of(ByteView header, const Extension& extension) {
  const uint64_t at = offset_ - tar::kBlock;
  const auto number = [&](tar::Field field, const std::optional<uint64_t>& extended, uint64_t limit,
                          std::string_view what) {
    const std::optional<uint64_t> value = extended ? extended : number_of(header, field);
    if (!value || *value > limit)
      fail(fmt::format("The header at byte {} holds no {} that is possible.", at, what));
    return *value;
  };
  TarEntry entry;
  std::string path(text_of(header, tar::kName));
  // GNU's own format keeps other things where the prefix is.
  const bool is_posix = as_text(header.subspan(tar::kMagic.offset, tar::kMagic.bytes)) ==
                        std::string_view("ustar\0", tar::kMagic.bytes);
  if (const std::string_view prefix = text_of(header, tar::kPrefix); is_posix && !prefix.empty())
    path = fmt::format("{}/{}", prefix, path);
  if (extension.path) path = *extension.path;

  const char type = type_of(header);
  switch (type) {
    case '0':
    case '\0':
    case '7':
      entry.type =
          type == '\0' && path.ends_with('/') ? TarEntry::Type::kDirectory : TarEntry::Type::kFile;
      break;
    case '1':
      entry.type = TarEntry::Type::kHardLink;
      break;
    case '2':
      entry.type = TarEntry::Type::kSymlink;
      break;
    case '5':
      entry.type = TarEntry::Type::kDirectory;
      break;
    case '3':
    case '4':
    case '6':
      entry.type = TarEntry::Type::kSpecial;
      break;
    default:
      throw Error({.code = ErrorCode::kUnsupported,
                   .message = fmt::format("\"{}\" has a member of an unknown kind", name_),
                   .detail = fmt::format("The header at byte {} is of type \"{}\"{}.", at, type,
                                         type == 'S' ? ", a sparse file" : ""),
                   .hint = "Make the archive anew, without --sparse."});
  }

  const std::string as_it_stands = path;
  while (path.starts_with("./")) {
    path.erase(0, 2);
    path.erase(0, path.find_first_not_of('/'));
  }
  while (path.ends_with('/') && path.size() > 1) path.pop_back();
  if (path == ".") path.clear();
  bool is_safe = path.size() <= kMaxTarPathBytes && path.find('\0') == std::string::npos &&
                 !as_it_stands.empty() &&
                 (!path.empty() || entry.type == TarEntry::Type::kDirectory);
  for (std::string_view rest = path; is_safe && !rest.empty();) {
    const size_t slash = rest.find('/');
    const std::string_view component = rest.substr(0, slash);
    is_safe = !component.empty() && component != "." && component != "..";
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  if (!is_safe)
    throw Error(
        {.code = ErrorCode::kCorrupt,
         .message = fmt::format("\"{}\" has a member that would lie outside", name_),
         .detail = fmt::format("It is called \"{}\"; names are relative, and none has \"..\".",
                               as_it_stands.substr(0, 200)),
         .hint = "Such an archive was not made from a data directory; do not unpack it."});
  entry.path = std::move(path);

  const uint64_t bytes = number(tar::kSize, extension.bytes, kMaxMemberBytes, "size");
  entry.bytes = entry.type == TarEntry::Type::kFile ? bytes : 0;
  if (entry.type != TarEntry::Type::kFile && entry.type != TarEntry::Type::kHardLink && bytes > 0 &&
      entry.type != TarEntry::Type::kDirectory)
    fail(fmt::format("The header at byte {} is no file's, but has {} bytes.", at, bytes));
  entry.mode = static_cast<uint32_t>(number(tar::kMode, {}, UINT32_MAX, "mode")) & 07777;
  entry.uid = static_cast<uint32_t>(number(tar::kUid, extension.uid, UINT32_MAX, "user id"));
  entry.gid = static_cast<uint32_t>(number(tar::kGid, extension.gid, UINT32_MAX, "group id"));
  entry.user = extension.user ? *extension.user : std::string(text_of(header, tar::kUser));
  entry.group = extension.group ? *extension.group : std::string(text_of(header, tar::kGroup));
  constexpr uint64_t kLatest = uint64_t{1} << 40;
  entry.modified =
      extension.modified
          ? *extension.modified
          : Time(std::chrono::seconds(number(tar::kTime, {}, kLatest, "time of modification")));
  entry.target = extension.target ? *extension.target : std::string(text_of(header, tar::kLink));
  return entry;
}

std::optional<TarEntry> TarReader::next() {
  if (ended_) return std::nullopt;
  finish_member();
  Extension extension;
  for (;;) {
    std::array<std::byte, tar::kBlock> header;
    if (!read_header(header)) {
      expect_only_zeros();
      ended_ = true;
      return std::nullopt;
    }
    const std::optional<uint64_t> bytes = number_of(header, tar::kSize);
    const char type = type_of(header);
    const bool extends = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (!extends) {
      TarEntry entry = entry_of(header, extension);
      left_ = entry.bytes;
      padding_ = (tar::kBlock - left_ % tar::kBlock) % tar::kBlock;
      return entry;
    }
    if (!bytes) fail(fmt::format("The header at byte {} has no size.", offset_ - tar::kBlock));
    std::string text = read_extension(*bytes, "header");
    if (type == 'x') {
      if (text.find("GNU.sparse.") != std::string::npos)
        throw Error({.code = ErrorCode::kUnsupported,
                     .message = fmt::format("\"{}\" has a sparse member", name_),
                     .detail = fmt::format("It stands at byte {}.", offset_),
                     .hint = "Make the archive anew, without --sparse."});
      if (std::string problem = extension.read_pax(text); !problem.empty())
        fail(std::move(problem));
    } else if (type == 'L') {
      extension.path = text.substr(0, text.find('\0'));
    } else if (type == 'K') {
      extension.target = text.substr(0, text.find('\0'));
    }
    // A global header ('g') says something of all members; PostgreSQL and GNU tar put nothing there
    // that would change what a member is.
  }
}

}  // namespace holdfast
