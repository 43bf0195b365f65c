// own_server.h: sessions on a server that Holdfast itself has started, or is to work on.
//
// A copy and the cluster that it is a copy of answer alike, so the one is easily taken for the
// other; and libpq, given a socket's directory, follows PGHOSTADDR or PGSERVICE all the same. So
// such a session comes about without libpq's environment, and whoever answers must prove to be the
// server of that very data directory before anything else is asked of it.
#pragma once

#include <stop_token>
#include <string>

#include "cluster/connection.h"

namespace holdfast::cluster {

// Where the server on `data_directory` listens, as its postmaster.pid says: "host='/tmp'
// port=5432". Throws kServer when nobody has written there that he listens.
std::string address_of(const std::string& data_directory);

// A superuser's session on the server that works on `data_directory`. Throws as
// Connection::connect, and as require_server_of.
Connection connect_to_server_of(const std::string& data_directory, ConnectionOptions options,
                                std::stop_token stop);

// Throws kWrongCluster unless the session is on the server of `data_directory`: it names that
// directory as its own, has the system identifier of its pg_control, and the session's process is
// a child of the process that postmaster.pid names. The role must be allowed to read
// data_directory (pg_monitor).
void require_server_of(const std::string& data_directory, Connection& connection);

}  // namespace holdfast::cluster
