// postmaster.pid may hold anything, after a crash or a full disk.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "cluster/running_server.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try {
    holdfast::cluster::PostmasterPid file =
        holdfast::cluster::parse_postmaster_pid({reinterpret_cast<const char*>(data), size});
    if (file.pid <= 0) __builtin_trap();
  } catch (const holdfast::Error&) {
  }
  return 0;
}
