// lineage.h: the verification of one lineage. For the sources of verify alone.
#pragma once

#include <string>

#include "verify/verify.h"

namespace holdfast::verify {

// `not_kept`: why the repository cannot be written to; set when that is found, and then nothing
// more is tried.
LineageResult verify_lineage(const VerifyOptions& options, const repo::Repository& repository,
                             const repo::Lineage& lineage, std::string& not_kept,
                             Reporter& reporter, std::stop_token stop);

}  // namespace holdfast::verify
