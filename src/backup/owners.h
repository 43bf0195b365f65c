// owners.h: who owns a file, by name and number, as the manifest keeps it.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "repo/manifest.h"

namespace holdfast::backup {

// Asks for the names of each pair once.
class OwnerIndex {
 public:
  explicit OwnerIndex(repo::ManifestWriter& manifest) : manifest_(manifest) {}
  uint32_t index(uint32_t uid, uint32_t gid);

 private:
  repo::ManifestWriter& manifest_;
  std::map<std::pair<uint32_t, uint32_t>, uint32_t> known_;
};

}  // namespace holdfast::backup
