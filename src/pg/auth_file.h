// auth_file.h: which other files a pg_hba.conf or pg_ident.conf names, and with what in their place
// it would name others.
//
//   local all @admins trust          the names stand in a file: relative to this file's directory
//   include_dir "more"               a line of its own, from 16 on; also include, include_if_exists
//
// Facts: hba.c (next_token, next_field_expand, tokenize_auth_file), PostgreSQL 13 to 18. A word
// that begins with a quote is no reference: "@admins" in quotes is a role of that name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::pg {

enum class AuthReferenceKind : uint8_t { kList, kInclude, kIncludeIfExists, kIncludeDirectory };

struct AuthReference {
  AuthReferenceKind kind = AuthReferenceKind::kList;
  std::string path;  // as it stands there, without @ and quotes
  // The bytes that name it, with @ and quotes.
  size_t offset = 0;
  size_t size = 0;

  bool operator==(const AuthReference&) const = default;
};

// In the order of the text. `is_list`: what an @ names, in which no line is an include.
std::vector<AuthReference> auth_references(std::string_view text, bool is_list = false);

// What stands in the place of that reference to name `path`.
std::string auth_reference_text(AuthReferenceKind kind, std::string_view path);

}  // namespace holdfast::pg
