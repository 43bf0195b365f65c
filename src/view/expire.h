// expire.h: what deletion says: backup delete, backup pin, expire; and the keys of a repository.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "expire/delete.h"
#include "expire/expire.h"
#include "repo/key_objects.h"

namespace holdfast::view {

// What is asked before, without the question itself.
std::string question(const expire::Deletion& deletion);
// What a deletion takes off; `done`: it has.
std::string text(const expire::Deletion& deletion, bool done);
Json json(const expire::Deletion& deletion, bool done);

std::string text(const expire::ExpireResult& result);
Json json(const expire::ExpireResult& result);

// `opened`: the ids of those that the configured key opens.
std::string text(const std::vector<repo::KeyObject>& keys, const std::vector<Bytes16>& opened);
Json json(const std::vector<repo::KeyObject>& keys, const std::vector<Bytes16>& opened);

}  // namespace holdfast::view
