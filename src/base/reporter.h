// reporter.h: what a verb tells while it works. A verb prints nothing; cli draws a bar, lines or
// JSON lines from these calls.
//
// All calls are safe from any thread and cheap (amount is an addition).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast {

class Reporter {
 public:
  virtual ~Reporter() = default;
  // A new phase begins; `total_bytes` 0 when unknown. Ends the phase before.
  virtual void phase(std::string_view name, uint64_t total_bytes) = 0;
  // `bytes` more of the phase are done.
  virtual void amount(uint64_t bytes) = 0;
  // How far the phase is, in its own words: "segment 3 of 7, 0/5000000". Part of its progress line.
  virtual void position(std::string_view) {}
  // Something worth a line: "backup start at 0/4000060".
  virtual void note(std::string_view text) = 0;
  // Something the operator should know, although the command goes on.
  virtual void warning(std::string_view text) = 0;
};

// Says nothing.
Reporter& silent_reporter();

}  // namespace holdfast
