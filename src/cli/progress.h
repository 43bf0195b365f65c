// progress.h: a Reporter that tells people, on stderr, what is being done: a bar on a terminal,
// plain lines elsewhere, or JSON lines.
//
// The bar is one line that never wraps: it is drawn when a phase begins, five times a second while
// it goes on, and again behind each note, so that the phase can be seen also when nothing moves.
#pragma once

#include <memory>
#include <optional>

#include "base/reporter.h"
#include "base/time.h"
#include "cli/arguments.h"

namespace holdfast::cli {

class ProgressReporter : public Reporter {
 public:
  // Takes the bar off the terminal: something else is printed there, or asked. The phase is over.
  virtual void clear() = 0;
};

// What a bar shows.
struct BarLine {
  std::string name;
  std::string position = {};  // parts, joined by ", "
  uint64_t done = 0;          // bytes
  uint64_t total = 0;         // 0: unknown
  double rate = 0;            // bytes a second
};
// "copying [####------]  40%, 12 s left, 1.2 GiB of 3.0 GiB, 150 MiB/s": as much of it as fits, the
// most useful first.
std::string to_string(const BarLine& line, size_t columns);

std::unique_ptr<ProgressReporter> make_reporter(const Arguments& arguments, const Clock& clock);

}  // namespace holdfast::cli
