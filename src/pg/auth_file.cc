#include "pg/auth_file.h"

#include <optional>

namespace holdfast::pg {
namespace {

bool separates_words(char c) { return c == ' ' || c == '\t' || c == '\r'; }

struct Token {
  std::string text = {};  // without quotes
  size_t offset = 0;
  size_t size = 0;
  bool begins_quoted = false;
  bool begins_line = false;
};

// Words, by the server's rules: ended by blanks and commas; a quote keeps those, a doubled one is
// itself; # begins a comment; a backslash at the end of a line joins the next to it.
class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) {}
  std::optional<Token> next();

 private:
  char at(size_t place) const { return place < text_.size() ? text_[place] : '\n'; }

  std::string_view text_;
  size_t place_ = 0;
  bool at_line_start_ = true;
};

std::optional<Token> Tokens::next() {
  for (; place_ < text_.size(); ++place_) {
    const char c = text_[place_];
    if (c == '#') {
      while (at(place_) != '\n') ++place_;
    } else if (c == '\\' && at(place_ + 1) == '\n') {
      ++place_;
      continue;
    } else if (!separates_words(c) && c != ',' && c != '\n') {
      break;
    }
    if (at(place_) == '\n') at_line_start_ = true;
  }
  if (place_ >= text_.size()) return std::nullopt;

  Token token{
      .offset = place_, .begins_quoted = text_[place_] == '"', .begins_line = at_line_start_};
  at_line_start_ = false;
  bool is_quoted = false;
  for (; at(place_) != '\n'; ++place_) {
    const char c = text_[place_];
    if (c == '"') {
      if (is_quoted && at(place_ + 1) == '"') {
        token.text.push_back('"');
        ++place_;
      } else {
        is_quoted = !is_quoted;
      }
      continue;
    }
    if (!is_quoted && (separates_words(c) || c == ',' || c == '#')) break;
    if (c == '\\' && at(place_ + 1) == '\n') break;
    token.text.push_back(c);
  }
  token.size = place_ - token.offset;
  return token;
}

std::optional<AuthReferenceKind> include_kind(const Token& token) {
  if (!token.begins_line || token.begins_quoted) return std::nullopt;
  if (token.text == "include") return AuthReferenceKind::kInclude;
  if (token.text == "include_if_exists") return AuthReferenceKind::kIncludeIfExists;
  if (token.text == "include_dir") return AuthReferenceKind::kIncludeDirectory;
  return std::nullopt;
}

}  // namespace

std::vector<AuthReference> auth_references(std::string_view text, bool is_list) {
  std::vector<AuthReference> references;
  Tokens tokens(text);
  bool is_named_next = false;  // by an include, whose kind is this
  AuthReferenceKind kind{};
  while (std::optional<Token> token = tokens.next()) {
    if (is_named_next && !token->begins_line)
      references.push_back(
          {.kind = kind, .path = token->text, .offset = token->offset, .size = token->size});
    else if (!token->begins_quoted && token->text.size() > 1 && token->text[0] == '@')
      references.push_back({.kind = AuthReferenceKind::kList,
                            .path = token->text.substr(1),
                            .offset = token->offset,
                            .size = token->size});
    const std::optional<AuthReferenceKind> include = is_list ? std::nullopt : include_kind(*token);
    is_named_next = include.has_value();
    kind = include.value_or(AuthReferenceKind::kInclude);
  }
  return references;
}

std::string auth_reference_text(AuthReferenceKind kind, std::string_view path) {
  std::string text = kind == AuthReferenceKind::kList ? "@\"" : "\"";
  for (char c : path) {
    if (c == '"') text.push_back('"');
    text.push_back(c);
  }
  return text + '"';
}

}  // namespace holdfast::pg
