// claims.h: who holds deletion off: the intents of a cluster, as people see them.
//
// A claim is one piece of work with all the notes that it has put and renewed. It ends with its
// work; one whose process is proven to have ended, or whose directory to be gone, protects nothing;
// every other one stands until it runs out, or somebody who knows better ends it here.
#pragma once

#include <string>
#include <vector>

#include "repo/intent.h"

namespace holdfast::expire {

struct Claim {
  repo::LineageName lineage;
  std::vector<Bytes16> ids = {};  // of its notes, the newest first; it is named by any of them
  repo::Intent intent = {};       // what the notes say together; until the last of them runs out
  ProcessState state = ProcessState::kUnknown;
  std::string damage = {};  // what is wrong with it; then `intent` has the times alone
  const Bytes16& id() const { return ids.front(); }
};

// Notes of one piece of work say the same of who does it.
bool is_of_same_work(const repo::Intent& a, const repo::Intent& b);

// Oldest first. Those that have ended or run out are none. Throws kNotFound (no such cluster).
std::vector<Claim> list_claims(const std::string& cluster, const repo::Repository& repository);

// Ends the one of which `id` is a note's id, or the beginning of one. Throws kNotFound, kUsage (the
// beginning of several), and kBusy when its process is alive on this host.
Claim end_claim(const std::string& cluster, const std::string& id,
                const repo::Repository& repository);

}  // namespace holdfast::expire
