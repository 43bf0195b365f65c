// lineage_commands.h: "cluster list", "cluster remove", "cluster rename", "lineage list", "lineage
// remove".
#pragma once

#include "cli/call.h"

namespace holdfast::cli {

int run_cluster_list(const Call& call);
int run_cluster_remove(const Call& call);
int run_cluster_rename(const Call& call);
int run_lineage_list(const Call& call);
int run_lineage_remove(const Call& call);

}  // namespace holdfast::cli
