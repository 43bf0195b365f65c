// Facts: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block".
#include "base/tar_writer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"
#include "base/tar_header.h"

namespace holdfast {
namespace {

constexpr size_t kEndBlocks = 2;

using Header = std::array<char, tar::kBlock>;

void put_text(Header& header, tar::Field field, std::string_view text) {
  std::ranges::copy(text.substr(0, field.bytes),
                    header.begin() + static_cast<ptrdiff_t>(field.offset));
}
// Octal digits with leading zeros and a zero byte behind; false when it does not fit.
bool put_number(Header& header, tar::Field field, uint64_t number) {
  const std::string digits = fmt::format("{:0{}o}", number, field.bytes - 1);
  if (digits.size() >= field.bytes) return false;
  put_text(header, field, digits);
  return true;
}

// Where to cut a long path in prefix and name.
std::optional<size_t> cut_of(std::string_view path) {
  if (path.size() <= tar::kName.bytes) return 0;
  for (size_t cut = path.find('/'); cut != std::string_view::npos; cut = path.find('/', cut + 1))
    if (cut > 0 && cut <= tar::kPrefix.bytes && path.size() - cut - 1 <= tar::kName.bytes &&
        path.size() > cut + 1)
      return cut;
  return std::nullopt;
}

// "<length> <key>=<value>\n", where the length counts itself.
std::string pax_record(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (fmt::formatted_size("{}", length) + rest != length)
    length = fmt::formatted_size("{}", length) + rest;
  return fmt::format("{} {}={}\n", length, key, value);
}

void seal(Header& header) {
  std::fill_n(header.begin() + static_cast<ptrdiff_t>(tar::kCheck.offset), tar::kCheck.bytes, ' ');
  uint32_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put_text(header, tar::kCheck, fmt::format("{:06o}", sum));
  header[tar::kCheck.offset + 6] = '\0';
}

Header plain_header(char type) {
  Header header{};
  put_text(header, tar::kMagic, "ustar");
  put_text(header, tar::kVersion, "00");
  header[tar::kType.offset] = type;
  return header;
}

char type_of(TarEntry::Type type) {
  switch (type) {
    case TarEntry::Type::kFile:
      return '0';
    case TarEntry::Type::kSymlink:
      return '2';
    case TarEntry::Type::kDirectory:
      return '5';
    case TarEntry::Type::kHardLink:
    case TarEntry::Type::kSpecial:
      break;
  }
  HF_CHECK(false);
}

}  // namespace

void TarWriter::put(ByteView bytes) {
  out_(bytes);
  bytes_ += bytes.size();
}

void TarWriter::put_padding() {
  static constexpr std::array<std::byte, tar::kBlock> kZeros{};
  if (const size_t over = bytes_ % tar::kBlock; over > 0)
    put(ByteView(kZeros).first(tar::kBlock - over));
}

void TarWriter::end_member() {
  HF_CHECK(left_ == 0);
  put_padding();
}

void TarWriter::begin(const TarEntry& entry) {
  end_member();
  const std::string path = entry.type == TarEntry::Type::kDirectory ? entry.path + "/" : entry.path;
  Header header = plain_header(type_of(entry.type));
  std::string pax;
  if (const std::optional<size_t> cut = cut_of(path)) {
    put_text(header, tar::kName, std::string_view(path).substr(*cut == 0 ? 0 : *cut + 1));
    put_text(header, tar::kPrefix, std::string_view(path).substr(0, *cut));
  } else {
    put_text(header, tar::kName, path);
    pax += pax_record("path", path);
  }
  put_text(header, tar::kLink, entry.target);
  if (entry.target.size() > tar::kLink.bytes) pax += pax_record("linkpath", entry.target);
  put_number(header, tar::kMode, entry.mode);
  const auto number = [&](tar::Field field, std::string_view key, uint64_t value) {
    if (put_number(header, field, value)) return;
    put_number(header, field, 0);
    pax += pax_record(key, fmt::format("{}", value));
  };
  const uint64_t bytes = entry.type == TarEntry::Type::kFile ? entry.bytes : 0;
  number(tar::kUid, "uid", entry.uid);
  number(tar::kGid, "gid", entry.gid);
  number(tar::kSize, "size", bytes);
  const auto since = std::chrono::floor<std::chrono::seconds>(entry.modified.time_since_epoch());
  number(tar::kTime, "mtime", static_cast<uint64_t>(std::max<int64_t>(since.count(), 0)));
  put_text(header, tar::kUser, entry.user.substr(0, tar::kUser.bytes - 1));
  put_text(header, tar::kGroup, entry.group.substr(0, tar::kGroup.bytes - 1));
  if (!pax.empty()) {
    Header extended = plain_header('x');
    put_text(extended, tar::kName, "PaxHeaders/member");
    put_number(extended, tar::kMode, 0600);
    put_number(extended, tar::kUid, 0);
    put_number(extended, tar::kGid, 0);
    put_number(extended, tar::kSize, pax.size());
    put_number(extended, tar::kTime, 0);
    seal(extended);
    put(as_bytes(std::string_view(extended.data(), extended.size())));
    put(as_bytes(pax));
    put_padding();
  }
  seal(header);
  put(as_bytes(std::string_view(header.data(), header.size())));
  left_ = bytes;
}

void TarWriter::write(ByteView piece) {
  HF_CHECK(piece.size() <= left_);
  put(piece);
  left_ -= piece.size();
}

void TarWriter::add(TarEntry entry, ByteView content) {
  entry.bytes = content.size();
  begin(entry);
  write(content);
}

void TarWriter::finish() {
  end_member();
  put(Bytes(kEndBlocks * tar::kBlock));
}

}  // namespace holdfast
