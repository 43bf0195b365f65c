// object_check.h: reads one object whole and checks all that it tells about itself. For verify.
#pragma once

#include <string>

#include "repo/layout_table.h"
#include "repo/repository.h"

namespace holdfast::repo {

// The check or seal of every part, its place, its kind, its name and its repository. Of packs
// ExtentReader::check_pack() asks more, of segments and small files WalArchive, of manifests
// ManifestReader. Throws kCorrupt, also when the object is absent, and kUnsupported for one of a
// later version. REQUIRES: `kind` is not a pack's.
void check_object(const Repository& repository, const KindOfObject& kind, const std::string& name);

// What an object of that name calls itself: a copy has the name of the first.
std::string own_name(const KindOfObject& kind, const std::string& name);

// The SHA-256 of an object's bytes, read in pieces of 1 MiB. Throws kCorrupt when it is absent.
Bytes32 object_sha256(const Repository& repository, const std::string& name);

}  // namespace holdfast::repo
