// golden.h: files of tests/golden, which are read and never rewritten. Integration tests find a
// copy of the sources in HOLDFAST_SOURCE_DIR, which their user can read.
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/file.h"

namespace holdfast::test {

inline Bytes golden(std::string_view name) {
  const char* sources = std::getenv("HOLDFAST_SOURCE_DIR");
  const std::string tests =
      sources != nullptr ? join_path(sources, "tests") : std::string(HOLDFAST_TESTS_DIR);
  return read_file(join_path(join_path(tests, "golden"), name));
}

}  // namespace holdfast::test
