// pairs.h: two objects that hold the same bytes, so that one that is lost or damaged costs nothing.
#pragma once

#include <string>

#include "repo/repository.h"
#include "verify/damage.h"

namespace holdfast::verify {

// Tells which of the two is damaged or missing, with the other where that mends it, or that they
// differ; a copy that is missing only with `needs_copy`. False: something was told.
bool check_pair(const repo::Repository& repository, const std::string& first,
                const std::string& copy, bool needs_copy, Findings& findings);

}  // namespace holdfast::verify
