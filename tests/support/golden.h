// golden.h: files of tests/golden, which are read and never rewritten.
#pragma once

#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/file.h"

namespace holdfast::test {

inline Bytes golden(std::string_view name) {
  return read_file(join_path(join_path(HOLDFAST_TESTS_DIR, "golden"), name));
}

}  // namespace holdfast::test
