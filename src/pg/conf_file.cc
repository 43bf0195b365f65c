#include "pg/conf_file.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::pg {

namespace {

struct Markers {
  std::string_view begin, end;
};
constexpr Markers markers_of(ConfBlock block) {
  return block == ConfBlock::kRecovery
             ? Markers{.begin = "# holdfast: begin", .end = "# holdfast: end"}
             : Markers{.begin = "# holdfast copy: begin", .end = "# holdfast copy: end"};
}
constexpr std::string_view kCopyComment =
    "# This cluster is a copy that holdfast restored: these settings keep it apart from the "
    "cluster it was copied from. \"holdfast finish --production\" takes them out.\n";
constexpr std::string_view kCommentedOut = "# holdfast: ";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
// Bytes above 127 count as letters: names and words may be in any encoding.
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }
char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_name(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) { return to_lower(x) == to_lower(y); });
}

// The tokens of one line, front to back, by the server's own rules.
class Scanner {
 public:
  explicit Scanner(std::string_view line) : rest_(line) {}

  void skip_blank() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  bool at_end() {
    skip_blank();
    return rest_.empty() || rest_.front() == '#';
  }
  void take_equals() {
    skip_blank();
    if (rest_.starts_with('=')) rest_.remove_prefix(1);
    skip_blank();
  }
  // name or class.name; empty when none is here.
  std::string_view take_name() {
    size_t length = identifier_at(0);
    if (length > 0 && length < rest_.size() && rest_[length] == '.') {
      size_t second = identifier_at(length + 1);
      if (second > 0) length += 1 + second;
    }
    return take(length);
  }
  // The value, unquoted; nullopt when none is here.
  std::optional<std::string> take_value() {
    if (rest_.starts_with('\'')) return take_quoted();
    if (size_t length = number_length(); length > 0) return std::string(take(length));
    if (rest_.empty() || !is_letter(rest_.front())) return std::nullopt;
    size_t length = 1;
    while (length < rest_.size() &&
           (is_letter(rest_[length]) || is_digit(rest_[length]) ||
            std::string_view("-._:/").find(rest_[length]) != std::string_view::npos)) {
      ++length;
    }
    return std::string(take(length));
  }

 private:
  std::string_view take(size_t length) {
    std::string_view token = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return token;
  }
  size_t identifier_at(size_t start) const {
    size_t end = start;
    if (end >= rest_.size() || !is_letter(rest_[end])) return 0;
    while (end < rest_.size() && (is_letter(rest_[end]) || is_digit(rest_[end]))) ++end;
    return end - start;
  }
  // An integer with its unit (16MB, 0x1F) or a real number (0.9, 1e3); the longest that fits, 0
  // when none does.
  size_t number_length() const {
    size_t start = !rest_.empty() && (rest_.front() == '-' || rest_.front() == '+') ? 1 : 0;
    auto digits_at = [&](size_t from, auto accepts) {
      size_t end = from;
      while (end < rest_.size() && accepts(rest_[end])) ++end;
      return end - from;
    };
    auto is_hex = [](char c) { return is_digit(c) || (to_lower(c) >= 'a' && to_lower(c) <= 'f'); };
    auto is_unit = [](char c) {
      return is_letter(c) && c != '_' && static_cast<unsigned char>(c) < 0x80;
    };
    size_t longest = 0;
    // Decimal integer, with units.
    size_t decimal = digits_at(start, is_digit);
    if (decimal > 0) longest = start + decimal + digits_at(start + decimal, is_unit);
    // Hexadecimal integer, with units.
    if (rest_.substr(std::min(start, rest_.size())).starts_with("0x")) {
      size_t hex = digits_at(start + 2, is_hex);
      if (hex > 0)
        longest = std::max(longest, start + 2 + hex + digits_at(start + 2 + hex, is_unit));
    }
    // Real number: digits, point, digits, exponent.
    size_t end = start + decimal;
    if (end < rest_.size() && rest_[end] == '.') {
      ++end;
      end += digits_at(end, is_digit);
      longest = std::max(longest, end);
    }
    if (end > start && end < rest_.size() && to_lower(rest_[end]) == 'e') {
      size_t exponent = end + 1;
      if (exponent < rest_.size() && (rest_[exponent] == '-' || rest_[exponent] == '+')) ++exponent;
      size_t digits = digits_at(exponent, is_digit);
      if (digits > 0) longest = std::max(longest, exponent + digits);
    }
    return longest;
  }
  std::optional<std::string> take_quoted() {
    std::string value;
    size_t i = 1;
    for (;;) {
      if (i >= rest_.size()) return std::nullopt;  // the quote is not closed on this line
      char c = rest_[i++];
      if (c == '\'') {
        if (i < rest_.size() && rest_[i] == '\'') {
          value.push_back('\'');
          ++i;
          continue;
        }
        break;
      }
      if (c != '\\') {
        value.push_back(c);
        continue;
      }
      if (i >= rest_.size()) return std::nullopt;
      value.push_back(take_escape(i));
    }
    rest_.remove_prefix(i);
    return value;
  }
  // The character that the escape means whose letter stands at `i`; moves `i` behind it.
  char take_escape(size_t& i) const {
    char c = rest_[i++];
    switch (c) {
      case 'b':
        return '\b';
      case 'f':
        return '\f';
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      default:
        break;
    }
    if (c < '0' || c > '7') return c;
    unsigned value = static_cast<unsigned>(c - '0');
    for (int digits = 1; digits < 3 && i < rest_.size() && rest_[i] >= '0' && rest_[i] <= '7';
         ++digits) {
      value = value * 8 + static_cast<unsigned>(rest_[i++] - '0');
    }
    return static_cast<char>(value & 0xFF);
  }

  std::string_view rest_;
};

ConfLineKind kind_of(std::string_view name) {
  if (same_name(name, "include")) return ConfLineKind::kInclude;
  if (same_name(name, "include_if_exists")) return ConfLineKind::kIncludeIfExists;
  if (same_name(name, "include_dir")) return ConfLineKind::kIncludeDirectory;
  return ConfLineKind::kSetting;
}

// `text` is one line with its line end.
ConfLine parse_line(std::string_view text) {
  ConfLine line{.kind = ConfLineKind::kBlank, .text = std::string(text), .name = {}, .value = {}};
  if (text.ends_with('\n')) text.remove_suffix(1);
  Scanner scanner(text);
  if (scanner.at_end()) return line;
  line.kind = ConfLineKind::kInvalid;
  std::string_view name = scanner.take_name();
  if (name.empty()) return line;
  scanner.take_equals();
  std::optional<std::string> value = scanner.take_value();
  if (!value || !scanner.at_end()) return line;
  line.kind = kind_of(name);
  line.name = name;
  line.value = std::move(*value);
  return line;
}

bool is_marker(const ConfLine& line, std::string_view marker) {
  std::string_view text = line.text;
  while (!text.empty() && (text.back() == '\n' || is_blank(text.back()))) text.remove_suffix(1);
  return line.kind == ConfLineKind::kBlank && text == marker;
}

}  // namespace

std::string quote_conf_value(std::string_view value) {
  std::string quoted = "'";
  for (char c : value) {
    switch (c) {
      case '\0':
        throw Error({.code = ErrorCode::kInvalidText,
                     .message = "a PostgreSQL setting cannot hold a NUL byte",
                     .detail = fmt::format("The value starts with \"{}\".",
                                           value.substr(0, value.find('\0')).substr(0, 100)),
                     .hint = ""});
      case '\'':
      case '\\':
        quoted.push_back(c);
        quoted.push_back(c);
        break;
      case '\n':
        quoted += "\\n";
        break;
      case '\r':
        quoted += "\\r";
        break;
      default:
        quoted.push_back(c);
    }
  }
  quoted.push_back('\'');
  return quoted;
}

ConfFile::ConfFile(std::string_view text) {
  while (!text.empty()) {
    size_t newline = text.find('\n');
    size_t length = newline == std::string_view::npos ? text.size() : newline + 1;
    lines_.push_back(parse_line(text.substr(0, length)));
    text.remove_prefix(length);
  }
}

std::optional<std::string> ConfFile::value(std::string_view name) const {
  for (auto line = lines_.rbegin(); line != lines_.rend(); ++line) {
    if (line->kind == ConfLineKind::kSetting && same_name(line->name, name)) return line->value;
  }
  return std::nullopt;
}

size_t ConfFile::remove_names(std::span<const std::string_view> names) {
  return std::erase_if(lines_, [&](const ConfLine& line) {
    return line.kind == ConfLineKind::kSetting &&
           std::ranges::any_of(names,
                               [&](std::string_view name) { return same_name(line.name, name); });
  });
}

size_t ConfFile::remove_settings(std::span<const ConfSetting> settings) {
  return std::erase_if(lines_, [&](const ConfLine& line) {
    return line.kind == ConfLineKind::kSetting &&
           std::ranges::any_of(settings, [&](const ConfSetting& setting) {
             return same_name(line.name, setting.name) && line.value == setting.value;
           });
  });
}

std::vector<ConfSetting> ConfFile::comment_out(std::span<const std::string_view> names) {
  std::vector<ConfSetting> settings;
  for (ConfLine& line : lines_) {
    if (line.kind != ConfLineKind::kSetting ||
        std::ranges::none_of(names,
                             [&](std::string_view name) { return same_name(line.name, name); }))
      continue;
    settings.push_back({.name = line.name, .value = line.value});
    line = {.kind = ConfLineKind::kBlank,
            .text = std::string(kCommentedOut) + line.text,
            .name = {},
            .value = {}};
  }
  return settings;
}

void ConfFile::set_block(std::span<const ConfSetting> settings, ConfBlock block) {
  remove_block(block);
  if (!lines_.empty() && !lines_.back().text.ends_with('\n')) lines_.back().text.push_back('\n');
  lines_.push_back(parse_line(fmt::format("{}\n", markers_of(block).begin)));
  if (block == ConfBlock::kCopy) lines_.push_back(parse_line(kCopyComment));
  for (const ConfSetting& setting : settings) {
    lines_.push_back(
        parse_line(fmt::format("{} = {}\n", setting.name, quote_conf_value(setting.value))));
    HF_CHECK(lines_.back().kind == ConfLineKind::kSetting && lines_.back().value == setting.value);
  }
  lines_.push_back(parse_line(fmt::format("{}\n", markers_of(block).end)));
}

std::optional<std::vector<ConfSetting>> ConfFile::remove_block(ConfBlock block) {
  const Markers markers = markers_of(block);
  // The last begin, and the end that follows it: an earlier marker that lost its other half is not
  // ours to widen the block to.
  auto is_begin = [&](const ConfLine& line) { return is_marker(line, markers.begin); };
  auto is_end = [&](const ConfLine& line) { return is_marker(line, markers.end); };
  auto last_begin = std::find_if(lines_.rbegin(), lines_.rend(), is_begin);
  if (last_begin == lines_.rend()) return std::nullopt;
  auto begin = last_begin.base() - 1;
  auto end = std::find_if(begin, lines_.end(), is_end);
  if (end == lines_.end()) return std::nullopt;
  std::vector<ConfSetting> settings;
  for (auto line = begin; line != end; ++line) {
    if (line->kind == ConfLineKind::kSetting)
      settings.push_back({.name = line->name, .value = line->value});
  }
  lines_.erase(begin, end + 1);
  return settings;
}

std::string ConfFile::to_text() const {
  std::string text;
  for (const ConfLine& line : lines_) text += line.text;
  return text;
}

}  // namespace holdfast::pg
