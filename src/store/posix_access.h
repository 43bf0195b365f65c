// posix_access.h: what of a repository its owner cannot use. For the sources of store alone.
#pragma once

#include <string>

#include "store/open_store.h"

namespace holdfast::store {

AccessReport look_at_posix_access(const std::string& root, std::chrono::milliseconds patience);

}  // namespace holdfast::store
