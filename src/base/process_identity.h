// process_identity.h: which process of which machine, told so that another one can say later
// whether it has ended.
//
// A process id alone says nothing: it is used again, other hosts have the same, and in a container
// it is another. So beside it stand the machine, its boot, the namespaces in which the id and the
// clock are counted, and when the process was started. Whoever cannot prove that a process has
// ended says that it does not know.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <sys/types.h>

namespace holdfast {

struct ProcessIdentity {
  std::string machine;     // /etc/machine-id
  std::string boot;        // /proc/sys/kernel/random/boot_id
  std::string namespaces;  // "pid:[4026531836] time:[4026531834]"
  int64_t pid = 0;
  uint64_t start = 0;  // ticks since the boot: field 22 of /proc/<pid>/stat
  bool operator==(const ProcessIdentity&) const = default;
};

// Of this process, and of another one that this one sees. nullopt: it cannot be told here, or there
// is no such process.
std::optional<ProcessIdentity> this_process();
std::optional<ProcessIdentity> identify_process(pid_t pid);

enum class ProcessState : uint8_t { kAlive, kDead, kUnknown };
std::string_view to_string(ProcessState state);  // "alive"

// What `here`, which is the caller, can say of a process: of its own machine, boot and namespaces
// one is dead whose id nobody has, or somebody else by now. Of any other it knows nothing: another
// boot proves nothing, for machines are copied with their ids.
ProcessState state_of(const ProcessIdentity& process, const ProcessIdentity& here);

}  // namespace holdfast
