#include "pg/tablespace_map.h"

#include <algorithm>
#include <charconv>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::pg {

namespace {

constexpr int kFirstMajorThatEscapesBackslash = 14;

bool is_line_end(char c) { return c == '\n' || c == '\r'; }

TablespaceMapEntry parse_map_line(std::string_view line) {
  size_t blank = line.find(' ');
  TablespaceMapEntry entry;
  if (blank != std::string_view::npos) {
    auto [end, error] = std::from_chars(line.data(), line.data() + blank, entry.oid);
    std::string_view path = line.substr(blank + 1);
    if (error == std::errc() && end == line.data() + blank && entry.oid != 0 &&
        path.starts_with('/') && path.find('\0') == std::string_view::npos) {
      entry.path = path;
      return entry;
    }
  }
  throw Error(
      {.code = ErrorCode::kCorrupt,
       .message = "invalid tablespace map",
       .detail = fmt::format("The line \"{}\" is not a tablespace's OID and its absolute path.",
                             line.substr(0, 200)),
       .hint = "The file must be kept exactly as the server returned it."});
}

}  // namespace

std::vector<TablespaceMapEntry> parse_tablespace_map(std::string_view text, int major) {
  std::vector<TablespaceMapEntry> entries;
  std::string line;
  auto end_line = [&] {
    // A carriage return and a line feed make one line end.
    if (line.empty()) return;
    TablespaceMapEntry entry = parse_map_line(line);
    if (std::ranges::find(entries, entry.oid, &TablespaceMapEntry::oid) != entries.end()) {
      throw Error({.code = ErrorCode::kCorrupt,
                   .message = "invalid tablespace map",
                   .detail = fmt::format("The tablespace {} comes twice.", entry.oid),
                   .hint = "The file must be kept exactly as the server returned it."});
    }
    entries.push_back(std::move(entry));
    line.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    bool has_next = i + 1 < text.size();
    if (c == '\\' && has_next &&
        (major >= kFirstMajorThatEscapesBackslash || is_line_end(text[i + 1]))) {
      line.push_back(text[++i]);
    } else if (is_line_end(c)) {
      end_line();
    } else {
      line.push_back(c);
    }
  }
  end_line();
  return entries;
}

std::string format_tablespace_map(std::span<const TablespaceMapEntry> entries, int major) {
  std::string text;
  for (const TablespaceMapEntry& entry : entries) {
    text += fmt::format("{} ", entry.oid);
    for (size_t i = 0; i < entry.path.size(); ++i) {
      char c = entry.path[i];
      if (c == '\\' && major < kFirstMajorThatEscapesBackslash) {
        if (i + 1 == entry.path.size() || is_line_end(entry.path[i + 1])) {
          throw Error(
              {.code = ErrorCode::kUnsupported,
               .message = fmt::format("tablespace path \"{}\" cannot be written for PostgreSQL {}",
                                      entry.path, major),
               .detail = "This version cannot tell a backslash before a line break from an escaped "
                         "line break.",
               .hint = "Restore the tablespace to another path."});
        }
      } else if (c == '\\' || is_line_end(c)) {
        text.push_back('\\');
      }
      text.push_back(c);
    }
    text.push_back('\n');
  }
  return text;
}

}  // namespace holdfast::pg
