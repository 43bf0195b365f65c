// sandbox.h: a server in namespaces of its own, from where production cannot be reached.
//
// In the sandbox places of the host are covered: what is seen there is another directory, or
// nothing. Mounts are private to it, so the host sees no difference; the network is its own, with a
// loopback alone. Processes, shared memory and the users' numbers stay the host's: the server is
// found, signalled and locked as any other, and its sockets in the file system are reached by their
// path from outside.
//
// Entered by this program itself, started anew with kSandboxWord as its first word: it makes the
// namespaces, covers, and becomes the command, so the process id stays. Root makes them directly;
// everybody else in a user namespace in which he is himself, where the system permits that.
//
// Facts: unshare(2), mount_namespaces(7), user_namespaces(7), Linux 4.18 and later.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::cluster {

struct Sandbox {
  // What is seen at `path` is `by`, or an empty directory that cannot be written to. A path below
  // another that is covered is made there; else nothing is made: an empty one need not be there,
  // and one that shows `by` must be.
  struct Cover {
    std::string path;
    std::string by = {};
    bool operator==(const Cover&) const = default;
  };
  std::string program;  // this program
  std::vector<Cover> covers = {};
  bool private_network = true;
};

inline constexpr std::string_view kSandboxWord = "run-in-sandbox";

// The command line that runs `command` in the sandbox.
std::vector<std::string> in_sandbox(const Sandbox& sandbox, std::span<const std::string> command);

// Tries it with a command that does nothing: nullopt when it can be done, else why not, as a
// sentence. What covers are made of need not be there yet, nor what is to be covered.
std::optional<std::string> why_no_sandbox(const Sandbox& sandbox);

// `words` as in_sandbox() made them, without the program and kSandboxWord. Becomes the command.
// REQUIRES: this process has one thread. Throws kPermission and kIo; kUsage for other words.
[[noreturn]] void enter_sandbox(std::span<const std::string> words);

}  // namespace holdfast::cluster
