// names.h: what the engines share about names, and their errors. For the sources of store alone.
#pragma once

#include <string_view>

#include "store/store.h"

namespace holdfast::store {

inline constexpr size_t kMaxComponentBytes = 255;  // NAME_MAX
inline constexpr size_t kMaxNameBytes = 900;       // S3 takes 1024, its prefix included

bool is_component(std::string_view text);
bool is_name(std::string_view text);
// Throws kInternal unless the prefix is "" or a folder's legal name, and a page may hold something.
void check_list_request(const ListRequest& request);

// `other` stands, as an object or as a folder, and so `name` cannot.
[[noreturn]] void throw_name_conflict(std::string_view name, std::string_view other);
[[noreturn]] void throw_name_taken(std::string_view name);  // kAlreadyExists
[[noreturn]] void throw_no_object(std::string_view name);   // kNotFound

}  // namespace holdfast::store
