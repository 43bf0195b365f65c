// file_faults.h: the program under test with files that fail, or held before it opens or removes
// one of them.
//
// By a library that is loaded into it (tests/preload/file_faults.cc), which HOLDFAST_FILE_FAULTS
// names: the program itself knows nothing of it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/process.h"
#include "support/recovery_scene.h"

namespace holdfast::test {

// "holdfast --config FILE WORDS", held from the moment in which it opens a file whose path ends in
// `held_at`, or before it removes the first with that in its path, until release().
class HeldCommand {
 public:
  enum class Before { kOpening, kRemoving };

  // Returns when the program is held. Throws when it ends before.
  HeldCommand(const RecoveryScene& scene, const std::vector<std::string>& words,
              const std::string& held_at)
      : HeldCommand(scene.directory(), scene.config_file(), words, held_at) {}
  // The same elsewhere; what is needed for it is put into `directory`.
  HeldCommand(const std::string& directory, const std::string& config_file,
              const std::vector<std::string>& words, const std::string& held_at,
              Before before = Before::kOpening);
  ~HeldCommand();
  HeldCommand(const HeldCommand&) = delete;
  HeldCommand& operator=(const HeldCommand&) = delete;

  Process& process() { return *process_; }
  // Lets it go on, and waits for its end.
  Captured release();
  Captured wait();

 private:
  std::string directory_;
  std::unique_ptr<Process> process_;
};

struct UnreadablePart {
  std::string path_end;
  uint64_t from = 0, to = 0;  // bytes of the file
};
// "holdfast --config FILE WORDS", to which a part of a file cannot be read.
Captured run_with_unreadable(const RecoveryScene& scene, const std::vector<std::string>& words,
                             const UnreadablePart& part);

// A repository that is slow, and of which calls fail at random, to one process and its children.
struct UnreliableTree {
  std::string path;
  uint64_t seed = 0;
  int slow_us = 0;      // each call waits up to so long
  int fail_one_in = 0;  // 0: none fails
};
// The environment of a program to which a tree is unreliable, and the host is called `host_name`
// unless that is empty.
std::vector<std::pair<std::string, std::string>> environment_of(const UnreliableTree& tree,
                                                                const std::string& host_name);

// The environment of a server whose clock is ahead.
std::vector<std::pair<std::string, std::string>> environment_ahead(std::chrono::seconds by);

}  // namespace holdfast::test
