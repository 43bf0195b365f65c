// configured_directory.h: whether the configured data directory is the server's.
#pragma once

#include <string>

#include "cluster/server_facts.h"

namespace holdfast::setup {

// Nothing to compare when `configured` is empty. By device and inode where both can be seen from
// here, else by name; and by the system identifier in its pg_control, where that can be read: every
// host has the same paths. Throws kWrongCluster.
void check_configured_directory(const std::string& configured, const cluster::ServerFacts& facts);

}  // namespace holdfast::setup
