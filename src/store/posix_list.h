// posix_list.h: directories listed as an object store lists names. For the sources of store alone.
#pragma once

#include "store/posix_root.h"
#include "store/store.h"

namespace holdfast::store {

// One page. It, and its position, hold the names of the directories on the way down to where it
// reads, and of no others. `root` outlives a position.
ListPage list_objects(const PosixRoot& root, const ListRequest& request);

}  // namespace holdfast::store
