// aside.h: what a drill has moved aside of a cluster, and the note that says so.
//
// "DATA.holdfast-aside" stands beside the data directory DATA from before `drill --destroy` moves
// the cluster's files until it has brought the cluster back: who finds the place half laid after
// the drill was killed learns from it where the whole cluster lies.
//
//   two sentences and the commands that put it back, for people
//   from /srv/data                                of each directory: where it was,
//   to /srv/data.holdfast-aside-20261201T031500Z  and where it is
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace holdfast::restore {

// Behind it the time.
inline constexpr std::string_view kAsideSuffix = ".holdfast-aside-";

using Moves = std::vector<std::pair<std::string, std::string>>;

// The commands that put back what was moved aside, and put beside it what is in its place.
std::string how_to_put_back(const std::string& data_directory, const Moves& aside);

std::string aside_note_path(const std::string& data_directory);
// Durable when it returns.
void write_aside_note(const std::string& data_directory, const Moves& moves);
void remove_aside_note(const std::string& data_directory);

// Throws kConflict where a drill that has not brought the cluster back says that it lies aside, and
// it does: what was never archived is there and nowhere else.
void require_nothing_aside(const std::string& data_directory);

}  // namespace holdfast::restore
