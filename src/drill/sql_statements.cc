#include "drill/sql_statements.h"

#include <algorithm>
#include <optional>

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::drill {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'; }
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

class Splitter {
 public:
  explicit Splitter(std::string_view text) : text_(text) {}

  std::vector<SqlStatement> run() {
    while (at_ < text_.size()) step();
    end_statement();
    return std::move(statements_);
  }

 private:
  bool looks_at(std::string_view word) const { return text_.substr(at_).starts_with(word); }
  [[noreturn]] void fail(std::string_view problem, size_t at) const {
    const auto line =
        1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    throw Error({.code = ErrorCode::kInvalidText,
                 .message = fmt::format("the file of SQL has {} in line {}", problem, line),
                 .hint = "Statements end with a semicolon; \\connect NAME is the one command that "
                         "is not SQL."});
  }
  void begin_statement() {
    if (!begin_) begin_ = at_;
  }
  void end_statement() {
    if (!begin_) return;
    std::string_view text = text_.substr(*begin_, end_ - *begin_);
    const auto line =
        1 + std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(*begin_), '\n');
    statements_.push_back(
        {.text = std::string(text), .database = database_, .line = static_cast<size_t>(line)});
    begin_.reset();
    parentheses_ = 0;
  }
  // The bytes up to `at` belong to the statement.
  void advance(size_t at) {
    at_ = at;
    end_ = at;
  }

  void step() {
    const char c = text_[at_];
    if (is_blank(c)) {
      ++at_;
    } else if (looks_at("--")) {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (looks_at("/*")) {
      skip_comment();
    } else if (c == ';' && parentheses_ == 0) {
      end_statement();
      ++at_;
    } else if (c == '\\' && !begin_) {
      take_command();
    } else {
      begin_statement();
      take_token(c);
    }
  }

  void take_token(char c) {
    if (c == '\'' || c == '"') {
      const bool escapes = c == '\'' && at_ > 0 &&
                           (text_[at_ - 1] == 'E' || text_[at_ - 1] == 'e') &&
                           (at_ < 2 || !is_word(text_[at_ - 2]));
      take_quoted(c, escapes);
    } else if (c == '$' && (at_ == 0 || !is_word(text_[at_ - 1])) && take_dollar_quoted()) {
      return;
    } else {
      if (c == '(') ++parentheses_;
      if (c == ')' && parentheses_ > 0) --parentheses_;
      advance(at_ + 1);
    }
  }

  void skip_comment() {  // they nest
    const size_t from = at_;
    int depth = 0;
    do {
      if (at_ >= text_.size()) fail("a comment without an end", from);
      if (looks_at("/*")) {
        ++depth;
        at_ += 2;
      } else if (looks_at("*/")) {
        --depth;
        at_ += 2;
      } else {
        ++at_;
      }
    } while (depth > 0);
  }

  void take_quoted(char quote, bool escapes) {
    const size_t from = at_;
    for (size_t at = from + 1; at < text_.size(); ++at) {
      if (escapes && text_[at] == '\\')
        ++at;
      else if (text_[at] == quote)
        return advance(at + 1);  // a doubled quote begins the next one
    }
    fail("a quote without an end", from);
  }

  bool take_dollar_quoted() {
    size_t tag_end = at_ + 1;
    while (tag_end < text_.size() && is_word(text_[tag_end])) ++tag_end;
    if (tag_end >= text_.size() || text_[tag_end] != '$') return false;
    if (text_[at_ + 1] >= '0' && text_[at_ + 1] <= '9') return false;  // a parameter
    const std::string_view tag = text_.substr(at_, tag_end + 1 - at_);
    const size_t end = text_.find(tag, tag_end + 1);
    if (end == std::string_view::npos) fail("a quote without an end", at_);
    advance(end + tag.size());
    return true;
  }

  void take_command() {
    const size_t line_end = std::min(text_.find('\n', at_), text_.size());
    std::string_view line = text_.substr(at_, line_end - at_);
    const size_t gap = line.find_first_of(" \t");
    const std::string_view command = line.substr(0, gap);
    std::string_view name = gap == std::string_view::npos ? std::string_view() : line.substr(gap);
    while (!name.empty() && is_blank(name.front())) name.remove_prefix(1);
    while (!name.empty() && (is_blank(name.back()) || name.back() == ';')) name.remove_suffix(1);
    if ((command != "\\c" && command != "\\connect") || name.empty())
      fail(fmt::format("the unknown command \"{}\"", line), at_);
    if (name.size() > 1 && name.front() == '"' && name.back() == '"')
      name = name.substr(1, name.size() - 2);
    database_ = std::string(name);
    at_ = line_end;
  }

  std::string_view text_;
  size_t at_ = 0;
  std::optional<size_t> begin_;
  size_t end_ = 0;
  int parentheses_ = 0;
  std::string database_;
  std::vector<SqlStatement> statements_;
};

}  // namespace

std::vector<SqlStatement> split_sql(std::string_view text) { return Splitter(text).run(); }

}  // namespace holdfast::drill
