// wal_set_aside.h: `wal set-aside FILE`: takes an archived WAL file that is wrong out of service.
//
// A segment of another server, a file of a timeline without its history, a history that nobody
// understands: what is archived is never replaced and never removed, and would stand in the way of
// recoveries, or of the right one, for ever. So a mark says that this very content is not served
// any more. To every reader it is not there, and the next server that offers the file has it
// archived beside. Another mark serves it again.
//
// A server that was rolled back writes all anew from some segment on: `onward` takes the line that
// is no more out of service in one step.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/time.h"
#include "repo/repository.h"
#include "repo/wal_archive.h"

namespace holdfast::archive {

struct SetAsideOptions {
  // As a server names it: a segment, a .partial, a .backup or a .history; behind ".partial" may
  // stand the digest that tells it from others, as `wal list --json` shows it.
  std::string file;
  std::string cluster;
  std::string lineage = {};  // "15-1"; needed where several have a file of that name
  bool off = false;          // serve it again
  // Of a segment: every content of it, and of all that is archived behind it on its timeline, from
  // the last file to the first. Interrupted, it is run again. With `off`: all that the newest such
  // run took out of service, and of which anything still is, comes back.
  bool onward = false;
  // The cluster's server: what that has written, and still has, is not set aside onward, nor is the
  // history of the timeline that it is on. Empty, or not to be reached: nobody is asked.
  std::string conninfo = {};
};

struct SetAsideResult {
  std::string file;
  repo::LineageName lineage;
  bool off = false;
  bool was_so = false;  // nothing was to be done
  struct Content {
    uint64_t number = 0;
    bool is_damaged = false;  // of one, nothing else is known
    std::string host = {};
    Time pushed = {};
  };
  std::optional<Content> changed = {};  // what was set aside, or is served again
  // Backups that need it for their own WAL, now that nothing of it is served.
  std::vector<std::string> broken_backups = {};
  // Of a timeline whose history is not there: a file that still says that its number is taken.
  std::optional<std::string> still_there = {};
  std::optional<Content> served = {};  // from now on; nullopt: nothing is
  // The files behind it that went, or came back, too, as they are archived.
  std::vector<std::string> onward = {};
};

// Throws kUsage (several lineages have such a file, and none is named), kInvalidText (no name of a
// WAL file; onward: of a segment), kNotFound (nothing is archived under it), kConflict (there are
// several such .partial) and kInterrupted.
SetAsideResult set_aside(const SetAsideOptions& options, const repo::Repository& repository,
                         std::stop_token stop);

}  // namespace holdfast::archive
