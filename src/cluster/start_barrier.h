// start_barrier.h: no server starts on a data directory for as long as the barrier stands.
//
// Meanwhile its pg_control is called global/pg_control.holdfast. A postmaster looks for pg_control
// before it does anything else (postmaster.c, checkControlFile, PostgreSQL 13 to 18), so whoever
// starts one, by hand or by Restart=on-failure, is told that there is no database system. A
// postmaster.pid of our own would not do: a server takes it for stale where the process is another
// user's, of another container, or was killed.
//
// It holds nothing but a name, so whatever ends this process leaves the cluster whole: the next
// command that works there, or a human with mv, puts the file back.
//
// REQUIRES of its user: a server was looked for before, because one that runs would end itself with
// its next checkpoint; and is looked for again behind it, because one may have started in between.
#pragma once

#include <string>
#include <utility>

namespace holdfast::cluster {

inline constexpr const char* kBarredControlFile = "global/pg_control.holdfast";

// pg_control, under whichever of the two names it has. The usual one where there is none.
std::string control_file_path(const std::string& data_directory);

// Puts back what a command that was killed has left; with both files there the usual one is the
// cluster's, and stays. False: nothing was to be put back.
bool take_barrier_away(const std::string& data_directory);

// Nothing is barred where there is no pg_control: no server starts there anyway. Nor where "global"
// is a link, which may lead into another cluster.
void bar_start(const std::string& data_directory);

// The barrier that its destructor takes away.
class StartBarrier {
 public:
  explicit StartBarrier(std::string data_directory);
  ~StartBarrier();
  StartBarrier(const StartBarrier&) = delete;
  StartBarrier& operator=(const StartBarrier&) = delete;

  // The data directory was renamed.
  void follow(std::string data_directory) { data_directory_ = std::move(data_directory); }

 private:
  std::string data_directory_;
};

// The directory is to be cleared: removes pg_control for good, under both names.
void remove_control_file(const std::string& data_directory);

}  // namespace holdfast::cluster
