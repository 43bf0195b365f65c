// progress.h: a Reporter that tells people, on stderr, what is being done: a bar on a terminal,
// plain lines elsewhere, or JSON lines.
#pragma once

#include <memory>

#include "base/reporter.h"
#include "base/time.h"
#include "cli/arguments.h"

namespace holdfast::cli {

std::unique_ptr<Reporter> make_reporter(const Arguments& arguments, const Clock& clock);

}  // namespace holdfast::cli
