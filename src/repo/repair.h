// repair.h: puts again what is missing of that which stands twice (repo/two_places.h).
//
// Who does is a claimant: an expiry that has found a backup deleted removes the copy of its commit,
// then the commit, and must not find either made anew behind that. Normative:
// docs/design/repository-format.md, "The two of a commit".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "repo/intent.h"
#include "repo/repository.h"

namespace holdfast::repo {

// Puts the one of the two that is missing, if the other can be read. `claim` uses the backup, and
// no expiry that began before it is at work. The name that was put.
std::optional<std::string> put_missing_commit(const Repository& repository,
                                              const LineageName& lineage, const std::string& id,
                                              HeldIntent& claim);

// The same of all backups but those that are deleted; nothing while an expiry is at work. The names
// that were put.
std::vector<std::string> repair_commits(const Repository& repository, const LineageName& lineage,
                                        const Clock& clock);

// The same of commits and of the histories of timelines.
std::vector<std::string> repair(const Repository& repository, const Lineage& lineage,
                                const Clock& clock);

}  // namespace holdfast::repo
