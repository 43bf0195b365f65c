// left_aside.h: what a cluster that was moved aside has, and the one that came back has not.
//
// A backup has the cluster as it was then; what is no data is not brought up to date by WAL: the
// configuration, and what people keep among the cluster's files. What the server makes anew at each
// start, and its log ("log", "pg_log"), counts for nothing.
#pragma once

#include <string>
#include <vector>

namespace holdfast::drill {

// For a sentence: "the rows of its unlogged tables", "\"notes.txt\"", "\"pg_hba.conf\" as it was".
// `tablespaces`: the version directories that were moved aside.
std::vector<std::string> left_aside(const std::string& aside,
                                    const std::vector<std::string>& tablespaces,
                                    const std::string& came_back);

}  // namespace holdfast::drill
