#include "store/store.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "store/names.h"

namespace holdfast::store {

bool is_component(std::string_view text) {
  auto is_legal = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= kMaxComponentBytes && text.front() != '.' &&
         std::ranges::all_of(text, is_legal);
}

bool is_name(std::string_view text) {
  if (text.size() > kMaxNameBytes) return false;
  for (;;) {
    size_t slash = text.find('/');
    if (!is_component(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
}

void check_name(std::string_view name) {
  if (is_name(name)) return;
  throw Error({.code = ErrorCode::kInternal,
               .message = fmt::format("invalid object name \"{}\"", name),
               .detail = fmt::format(
                   "A name has at most {} bytes: components of letters, digits, \".\", \"_\" and "
                   "\"-\", each at most {} bytes and not beginning with \".\", joined by \"/\".",
                   kMaxNameBytes, kMaxComponentBytes)});
}

void check_list_request(const ListRequest& request) {
  HF_CHECK(request.limit > 0);
  if (request.prefix.empty()) return;
  if (request.prefix.back() != '/')
    throw Error({.code = ErrorCode::kInternal,
                 .message = fmt::format("invalid folder name \"{}\"", request.prefix),
                 .detail = "A folder's name ends in \"/\"."});
  check_name(std::string_view(request.prefix).substr(0, request.prefix.size() - 1));
}

void throw_name_conflict(std::string_view name, std::string_view other) {
  throw Error({.code = ErrorCode::kInternal,
               .message = fmt::format("object name \"{}\" is in the way of \"{}\"", other, name),
               .detail = "A name is an object's or a folder's, never both."});
}

void throw_name_taken(std::string_view name) {
  throw Error(
      {.code = ErrorCode::kAlreadyExists,
       .message = fmt::format("object \"{}\" already exists", name),
       .detail =
           "Objects are written once and never replaced; what stands there was left as it is."});
}

void throw_no_object(std::string_view name) {
  throw Error(
      {.code = ErrorCode::kNotFound, .message = fmt::format("object \"{}\" does not exist", name)});
}

std::optional<Bytes> read_whole(Store& store, const std::string& name, uint64_t limit) {
  HF_CHECK(limit < std::numeric_limits<uint64_t>::max());
  std::optional<Bytes> bytes = store.read(name, 0, limit + 1);  // the byte too many tells
  if (bytes && bytes->size() > limit)
    throw Error({.code = ErrorCode::kCorrupt,
                 .message = fmt::format("object \"{}\" is too large", name),
                 .detail = fmt::format(
                     "It has more than {} bytes, which no object of its kind has.", limit)});
  return bytes;
}

}  // namespace holdfast::store
