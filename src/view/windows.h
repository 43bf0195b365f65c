// windows.h: what can be recovered, and the holes in the way, for all commands that tell it.
#pragma once

#include <string>

#include "base/json.h"
#include "recovery/windows.h"

namespace holdfast::view {

// "2 WAL segments are missing: 0000...4 to 0000...5, timeline 1, 0/4000000 to 0/6000000"
std::string line(const recovery::Gap& gap);
// A clause with the command that ends it; empty: there is none but a new backup.
std::string way_out_of(const recovery::Gap& gap);
Json json(const recovery::Window& window);
Json json(const recovery::Gap& gap);

}  // namespace holdfast::view
