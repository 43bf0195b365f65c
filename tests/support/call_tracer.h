// call_tracer.h: runs a program under ptrace(2), lists the calls by which it changes what a file
// system keeps, and can kill it at one of them.
//
// The calls are those that strace shows for
//   -f -e trace=fsync,fdatasync,syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,
//      ftruncate,mkdir,mkdirat,openat
// of which openat counts with O_CREAT alone. They are counted over all threads and children of the
// program in the order in which they are begun, which strace's own injection, counting for each
// thread, does not do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/process.h"

namespace holdfast::test {

struct TracedRun {
  ExitStatus status;
  // The name of each call, up to the one at which the program was killed.
  std::vector<std::string> calls;
  std::string output;  // stdout and stderr

  bool killed() const { return status.signalled && status.code == 9; }
};

// Runs to the end of the program itself; what it left running is killed. With `kill_at`, the
// program and all it has started are killed (SIGKILL) as they begin call number `kill_at`, counted
// from 1.
TracedRun trace(const std::vector<std::string>& arguments, const std::string& directory = {},
                std::optional<uint64_t> kill_at = std::nullopt);

}  // namespace holdfast::test
