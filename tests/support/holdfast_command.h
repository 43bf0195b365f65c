// holdfast_command.h: the program under test, run as its users and PostgreSQL run it.
#pragma once

#include <string>
#include <vector>

#include "base/process.h"

namespace holdfast::test {

// The program that HOLDFAST_PROGRAM names. Throws when it is not set.
std::string holdfast_program();

// Takes every setting of Holdfast's and libpq's out of this process's environment, so that neither
// a command nor a server started here (with its archive_command) sees one of whoever runs the
// tests.
void forget_outer_settings();

// Runs the program to its end, in `directory` when it is not empty.
Captured holdfast(const std::vector<std::string>& words, const std::string& directory = {});

// "exited with status 1" and what was printed, for the message of a failed expectation.
std::string describe(const Captured& ran);

// Runs a command, whose output goes to a file, and which must succeed. Returns the largest resident
// set of any of its processes in KiB: of itself and of those of its children that it waited for.
long peak_kib(const SpawnOptions& options);

}  // namespace holdfast::test
