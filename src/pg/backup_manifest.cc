// A reader of JSON that never holds more than one member of a list: values are read where the
// format expects them, and members that it does not know are passed over.
#include "pg/backup_manifest.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "codec/digest.h"

namespace holdfast::pg {
namespace {

constexpr size_t kPieceBytes = size_t{64} << 10;
constexpr size_t kMaxTextBytes = 16384;  // a path of 4096 bytes, each of them escaped, and more
constexpr int kMaxDepth = 16;            // of members that are passed over
constexpr size_t kMaxWalRanges = 1024;
constexpr int kLastVersion = 2;

struct Algorithm {
  std::string_view name;
  ManifestChecksum algorithm;
  size_t bytes;
};
constexpr Algorithm kAlgorithms[] = {
    {"NONE", ManifestChecksum::kNone, 0},      {"CRC32C", ManifestChecksum::kCrc32c, 4},
    {"SHA224", ManifestChecksum::kSha224, 28}, {"SHA256", ManifestChecksum::kSha256, 32},
    {"SHA384", ManifestChecksum::kSha384, 48}, {"SHA512", ManifestChecksum::kSha512, 64}};

[[noreturn]] void fail(std::string detail) {
  throw Error({.code = ErrorCode::kCorrupt,
               .message = "invalid backup manifest",
               .detail = std::move(detail),
               .hint = "The file must be kept exactly as the server wrote it."});
}

class Reader {
 public:
  Reader(const std::function<size_t(std::span<std::byte>)>& read,
         const std::function<void(BackupManifestFile)>& on_file)
      : read_(read), on_file_(on_file), piece_(kPieceBytes) {}

  BackupManifest run();

 private:
  // --- characters; -1 is the end
  int peek();
  int take();
  int next_visible();
  void expect(char wanted);
  void end_line();

  // --- values
  template <typename OnMember>
  void read_object(const OnMember& on_member);
  template <typename OnItem>
  void read_list(const OnItem& on_item);
  std::string read_text();
  void append_escaped(std::string& text);
  uint32_t read_hex4();
  uint64_t read_number();
  Lsn read_lsn();
  Bytes read_hex();
  void pass_over(int depth);

  void read_file();
  void read_wal_range();
  void read_checksum();

  const std::function<size_t(std::span<std::byte>)>& read_;
  const std::function<void(BackupManifestFile)>& on_file_;
  Bytes piece_;
  size_t at_ = 0, end_ = 0;
  bool source_ended_ = false;
  uint64_t line_ = 1;
  codec::Sha2 digest_{256};   // of the whole lines so far
  std::string current_line_;  // taken already, and not in digest_
  bool digest_is_done_ = false;
  Bytes told_digest_, found_digest_;
  BackupManifest manifest_;
};

int Reader::peek() {
  if (at_ == end_) {
    if (source_ended_) return -1;
    end_ = read_(piece_);
    at_ = 0;
    source_ended_ = end_ < piece_.size();
    if (end_ == 0) return -1;
  }
  return static_cast<int>(piece_[at_]);
}

int Reader::take() {
  const int c = peek();
  if (c < 0) fail(fmt::format("It ends in line {}, before it is complete.", line_));
  ++at_;
  if (!digest_is_done_) {
    current_line_.push_back(static_cast<char>(c));
    if (c == '\n' || current_line_.size() >= kPieceBytes) end_line();
  }
  if (c == '\n') ++line_;
  return c;
}

void Reader::end_line() {
  // A line may be longer than what is kept; then the last line's beginning would be in the sum. The
  // last line has a key and a checksum, and is short.
  digest_.update(as_bytes(current_line_));
  current_line_.clear();
}

int Reader::next_visible() {
  for (;;) {
    const int c = peek();
    if (c != ' ' && c != '\t' && c != '\n' && c != '\r') return c;
    take();
  }
}

void Reader::expect(char wanted) {
  if (next_visible() != wanted)
    fail(fmt::format("There is no \"{}\" in line {} where one should be.", wanted, line_));
  take();
}

template <typename OnMember>
void Reader::read_object(const OnMember& on_member) {
  expect('{');
  if (next_visible() == '}') {
    take();
    return;
  }
  for (;;) {
    next_visible();
    const std::string key = read_text();
    expect(':');
    next_visible();
    on_member(key);
    if (next_visible() != ',') break;
    take();
  }
  expect('}');
}

template <typename OnItem>
void Reader::read_list(const OnItem& on_item) {
  expect('[');
  if (next_visible() == ']') {
    take();
    return;
  }
  for (;;) {
    next_visible();
    on_item();
    if (next_visible() != ',') break;
    take();
  }
  expect(']');
}

uint32_t Reader::read_hex4() {
  uint32_t value = 0;
  for (int digit = 0; digit < 4; ++digit) {
    const int c = take();
    uint32_t nibble = 0;
    if (c >= '0' && c <= '9')
      nibble = static_cast<uint32_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      nibble = static_cast<uint32_t>(c - 'a' + 10);
    else if (c >= 'A' && c <= 'F')
      nibble = static_cast<uint32_t>(c - 'A' + 10);
    else
      fail(fmt::format("Line {} holds an escaped character that cannot be read.", line_));
    value = value << 4 | nibble;
  }
  return value;
}

void append_utf8(std::string& text, uint32_t code) {
  const auto put = [&](uint32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
    return put(0x80 | (code & 0x3F));
  }
  if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    return put(0x80 | (code & 0x3F));
  }
  put(0xF0 | code >> 18);
  put(0x80 | (code >> 12 & 0x3F));
  put(0x80 | (code >> 6 & 0x3F));
  put(0x80 | (code & 0x3F));
}

void Reader::append_escaped(std::string& text) {
  const int c = take();
  constexpr std::string_view kLetters = "\"\\/bfnrt";
  constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
  if (const size_t which = kLetters.find(static_cast<char>(c)); which != std::string_view::npos) {
    text.push_back(kMeant[which]);
    return;
  }
  if (c != 'u') fail(fmt::format("Line {} holds an escaped character that is none.", line_));
  uint32_t code = read_hex4();
  if (code >= 0xD800 && code < 0xDC00) {
    if (take() != '\\' || take() != 'u')
      fail(fmt::format("Line {} holds half a character.", line_));
    const uint32_t low = read_hex4();
    if (low < 0xDC00 || low > 0xDFFF) fail(fmt::format("Line {} holds half a character.", line_));
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  } else if (code >= 0xDC00 && code <= 0xDFFF) {
    fail(fmt::format("Line {} holds half a character.", line_));
  }
  append_utf8(text, code);
}

std::string Reader::read_text() {
  expect('"');
  std::string text;
  for (;;) {
    const int c = take();
    if (c == '"') return text;
    if (c < 0x20) fail(fmt::format("A text in line {} does not end there.", line_));
    if (c == '\\')
      append_escaped(text);
    else
      text.push_back(static_cast<char>(c));
    if (text.size() > kMaxTextBytes) fail(fmt::format("A text in line {} is too long.", line_));
  }
}

uint64_t Reader::read_number() {
  std::string digits;
  for (int c = next_visible(); c >= '0' && c <= '9' && digits.size() < 24; c = peek())
    digits.push_back(static_cast<char>(take()));
  uint64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size())
    fail(fmt::format("Line {} holds no number of 64 bits where one should be.", line_));
  return value;
}

Lsn Reader::read_lsn() {
  const std::string text = read_text();
  uint32_t high = 0, low = 0;
  const char* last = text.data() + text.size();
  auto [slash, first_error] = std::from_chars(text.data(), last, high, 16);
  if (first_error == std::errc() && slash != last && *slash == '/') {
    auto [end, second_error] = std::from_chars(slash + 1, last, low, 16);
    if (second_error == std::errc() && end == last) return Lsn{uint64_t{high} << 32 | low};
  }
  fail(fmt::format("Line {} holds \"{}\" where an LSN should be.", line_, text.substr(0, 40)));
}

Bytes Reader::read_hex() {
  std::optional<Bytes> bytes = parse_hex(read_text());
  if (!bytes) fail(fmt::format("Line {} holds no hexadecimal digits where some should be.", line_));
  return *std::move(bytes);
}

void Reader::pass_over(int depth) {
  if (depth > kMaxDepth) fail(fmt::format("Line {} is nested too deeply.", line_));
  const int c = next_visible();
  if (c == '{') return read_object([&](const std::string&) { pass_over(depth + 1); });
  if (c == '[') return read_list([&] { pass_over(depth + 1); });
  if (c == '"') {
    read_text();
    return;
  }
  size_t length = 0;
  for (int next = c; (next >= '0' && next <= '9') || (next >= 'a' && next <= 'z') || next == '-' ||
                     next == '+' || next == '.' || next == 'E';
       next = peek()) {
    take();
    if (++length > kMaxTextBytes) break;
  }
  if (length == 0) fail(fmt::format("Line {} holds no value where one should be.", line_));
}

void Reader::read_file() {
  BackupManifestFile file;
  bool has_path = false, has_size = false, has_checksum = false;
  const Algorithm* algorithm = nullptr;
  read_object([&](const std::string& key) {
    if (key == "Path") {
      file.path = read_text();
      has_path = true;
    } else if (key == "Encoded-Path") {
      file.path = as_text(read_hex());
      has_path = true;
    } else if (key == "Size") {
      file.bytes = read_number();
      has_size = true;
    } else if (key == "Checksum-Algorithm") {
      const std::string name = read_text();
      algorithm = std::ranges::find(kAlgorithms, name, &Algorithm::name);
      if (algorithm == std::end(kAlgorithms))
        fail(fmt::format("Line {} names a checksum \"{}\", which is not known.", line_,
                         name.substr(0, 40)));
    } else if (key == "Checksum") {
      file.checksum = read_hex();
      has_checksum = true;
    } else {
      pass_over(0);
    }
  });
  if (!has_path || !has_size || file.path.empty())
    fail(fmt::format("A file that ends in line {} has no path or no size.", line_));
  const size_t wanted = algorithm == nullptr ? 0 : algorithm->bytes;
  if (has_checksum != (wanted > 0) || file.checksum.size() != wanted)
    fail(fmt::format("The checksum of a file in line {} does not have the length of its kind.",
                     line_));
  if (algorithm != nullptr) file.algorithm = algorithm->algorithm;
  ++manifest_.file_count;
  on_file_(std::move(file));
}

void Reader::read_wal_range() {
  BackupManifestWalRange range;
  read_object([&](const std::string& key) {
    if (key == "Timeline") {
      const uint64_t timeline = read_number();
      if (timeline == 0 || timeline > UINT32_MAX)
        fail(fmt::format("Line {} holds no timeline where one should be.", line_));
      range.timeline.value = static_cast<uint32_t>(timeline);
    } else if (key == "Start-LSN") {
      range.start_lsn = read_lsn();
    } else if (key == "End-LSN") {
      range.end_lsn = read_lsn();
    } else {
      pass_over(0);
    }
  });
  if (!range.timeline.is_valid() || !range.start_lsn.is_valid() || range.end_lsn < range.start_lsn)
    fail(fmt::format("The range of WAL that ends in line {} is none.", line_));
  if (manifest_.wal_ranges.size() == kMaxWalRanges) fail("It has too many ranges of WAL.");
  manifest_.wal_ranges.push_back(range);
}

// Its key was taken; the sum is over the lines before it.
void Reader::read_checksum() {
  if (digest_is_done_) fail("Its own checksum comes twice.");
  digest_is_done_ = true;
  found_digest_ = digest_.finish();
  told_digest_ = read_hex();
}

BackupManifest Reader::run() {
  bool has_files = false;
  read_object([&](const std::string& key) {
    if (digest_is_done_) fail("Something stands behind its own checksum.");
    if (key == "PostgreSQL-Backup-Manifest-Version") {
      const uint64_t version = read_number();
      if (version == 0 || version > kLastVersion)
        throw Error({.code = ErrorCode::kUnsupported,
                     .message = fmt::format("backup manifest of version {}", version),
                     .detail = fmt::format("Versions 1 to {} are known.", kLastVersion),
                     .hint = "Use a newer Holdfast."});
      manifest_.version = static_cast<int>(version);
    } else if (key == "System-Identifier") {
      manifest_.system_identifier = read_number();
    } else if (key == "Files") {
      if (has_files) fail("Its list of files comes twice.");
      has_files = true;
      read_list([&] { read_file(); });
    } else if (key == "WAL-Ranges") {
      read_list([&] { read_wal_range(); });
    } else if (key == "Manifest-Checksum") {
      read_checksum();
    } else {
      pass_over(0);
    }
  });
  if (next_visible() >= 0) fail("Something stands behind its end.");
  if (manifest_.version == 0 || !has_files || !digest_is_done_)
    fail("It has no version, no list of files or no checksum of its own.");
  if (told_digest_ != found_digest_)
    fail(fmt::format("Its own checksum says {}, but its lines come to {}.", to_hex(told_digest_),
                     to_hex(found_digest_)));
  return std::move(manifest_);
}

}  // namespace

std::string_view to_string(ManifestChecksum algorithm) {
  return std::ranges::find(kAlgorithms, algorithm, &Algorithm::algorithm)->name;
}

BackupManifest read_backup_manifest(const std::function<size_t(std::span<std::byte> into)>& read,
                                    const std::function<void(BackupManifestFile file)>& on_file) {
  return Reader(read, on_file).run();
}

}  // namespace holdfast::pg
