// archiver_trial.h: the server's archive_command tried by hand, as the archiver would run it.
//
// With the server's user, its working directory and the environment that its postmaster was started
// with: only so are a configuration file, a key or a repository that this user cannot read found
// out. Tried is only a command that is Holdfast's own (is_our_archive_command): its "wal push" may
// be repeated any number of times, another tool's command perhaps not.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/process.h"

namespace holdfast::setup {

struct ArchiverPlace {
  std::string archive_command;
  std::string data_directory;
  std::optional<std::string> user;  // the server's; nullopt when it is not known
  // Of the postmaster; empty when it is not to be seen.
  std::vector<std::string> environment = {};
};

struct TrialAnswer {
  ExitStatus status = {};
  bool timed_out = false;
  std::optional<Json> document = {};  // what it printed, where that is one
  std::string words = {};             // what it wrote to stderr

  // /bin/sh could not find the program, or not run it.
  bool has_no_program() const {
    return !status.signalled && (status.code == kNotFound || status.code == kNotExecutable);
  }
  // The program's own error, or one made of its words. REQUIRES: it failed.
  Error::Parts error() const;

  static constexpr int kNotExecutable = 126, kNotFound = 127;
};

// The two shell commands that are tried; nullopt when the text has no "wal push". What a user wrote
// behind "wal push %p" is left out.
std::optional<std::string> info_command(std::string_view archive_command);
std::optional<std::string> push_command(std::string_view archive_command, std::string_view file);

// "holdfast ... info --json" in the place of "holdfast ... wal push": which repository and cluster
// the archiver's program sees. Changes nothing. Both throw kPermission when this process may not
// act as the server's user, and kInterrupted.
TrialAnswer try_info(const ArchiverPlace& place, const std::stop_token& stop);
// "holdfast ... wal push pg_wal/FILE --json".
TrialAnswer try_push(const ArchiverPlace& place, std::string_view file,
                     const std::stop_token& stop);

}  // namespace holdfast::setup
