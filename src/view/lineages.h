// lineages.h: clusters and their lineages, and what removing one does, as text and as JSON.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "expire/lineages.h"

namespace holdfast::view {

std::string text(const std::vector<expire::ClusterSummary>& clusters);
Json json(const std::vector<expire::ClusterSummary>& clusters);
std::string text(const expire::ClusterSummary& cluster);
Json json(const expire::ClusterSummary& cluster);

// `done`: it was removed; else it would be.
std::string text(const expire::Removal& removal, bool done);
Json json(const expire::Removal& removal, bool done);
std::string text(const expire::Renaming& renaming);
Json json(const expire::Renaming& renaming);

}  // namespace holdfast::view
