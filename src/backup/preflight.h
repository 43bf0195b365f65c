// preflight.h: what must hold before a backup is begun, each refusal with what to do about it.
#pragma once

#include <string>

#include "cluster/connection.h"
#include "cluster/server_facts.h"
#include "pg/control_file.h"
#include "repo/repository.h"

namespace holdfast::backup {

// The server is one that can be backed up: a primary whose WAL is archived, or a standby, whose
// primary does that; what a standby's own settings say of archiving counts after its promotion
// only. Throws kServer, kUnsupported.
void check_server(const cluster::ServerFacts& facts);

// The cluster's lineage that this server belongs to. Throws kNotFound when the repository has none
// for the cluster, kWrongCluster when it has others only.
repo::Lineage lineage_of(const repo::Repository& repository, const std::string& cluster,
                         const cluster::ServerFacts& facts);

// The data directory as an absolute path: `configured`, or the server's own when that is empty.
// Throws kWrongCluster when the two differ, kNotFound when it is not on this host, kPermission when
// this process cannot read it.
std::string check_data_directory(const std::string& configured, const cluster::ServerFacts& facts);

// That the directory's pg_control is the server's. A copy of the cluster, or its standby, has the
// same system identifier; so once the backup has started (`start_lsn` is valid) pg_control must
// know of the checkpoint, or on a standby the restartpoint, that the server has just made for it.
// Throws kWrongCluster.
void check_control_file(const pg::ControlFile& control, const cluster::ServerFacts& facts,
                        const std::string& data_directory, pg::Lsn start_lsn = {});

// The same by all that pg_control says of the last checkpoint, held against what the server reads
// in its own: a sibling that was cut off may be further along, at the same path of another host.
// Behind the start of the backup and at its end. Throws kWrongCluster.
void require_same_control_file(cluster::Connection& connection, const std::string& data_directory);

// At most 1000 ASCII characters without line breaks. Throws kUsage.
void check_label(const std::string& label);

}  // namespace holdfast::backup
