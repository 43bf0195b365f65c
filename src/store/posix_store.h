// posix_store.h: objects as files below one directory.
//
//   <root>/<name>          the object, mode 0640, directories 0750
//   <root>/.tmp/<random>   uploads under way; flocked by their writer, so what a killed writer left
//                          can be told and swept
//
// An upload is written to .tmp, fsynced, given its name by link(2) (which refuses a name that is
// taken), and the directory is fsynced; so are directories that had to be made, up to the root.
// Where link(2) or flock(2) is not to be had the engine cannot hold the contract and says so
// (kUnsupported). Root works in the directory as its owner (posix_owner.h).
//
// The store's clock is the file system's: on a network file system the server's, which also sets
// the files' times.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/users.h"
#include "store/remover.h"
#include "store/store.h"

namespace holdfast::store {

// Every call on a root that is not there, or is no directory, throws kStoreUnavailable: a
// repository on a file system that is not mounted is unreachable, not empty. Only create_posix_root
// (init) makes it.
std::unique_ptr<Store> open_posix_store(const std::string& path);
// Makes the root directory (parents must exist) and .tmp; fine when it exists. One that root makes
// is given to `owner`.
void create_posix_root(const std::string& path,
                       const std::optional<OwnerIds>& owner = std::nullopt);
std::unique_ptr<Remover> open_posix_remover(const std::string& path);
// Removes files in .tmp whose writer is gone, and folders that hold nothing; returns how many
// files.
int sweep_posix_uploads(const std::string& path);

}  // namespace holdfast::store
