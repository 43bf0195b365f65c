// wal.h: the WAL archive as text and JSON.
#pragma once

#include <string>

#include "archive/wal_list.h"
#include "archive/wal_salvage.h"
#include "archive/wal_set_aside.h"
#include "base/json.h"

namespace holdfast::view {

std::string text(const archive::WalListing& listing);
Json json(const archive::WalListing& listing);

std::string text(const archive::SetAsideResult& result);
Json json(const archive::SetAsideResult& result);

std::string text(const archive::SalvageResult& result);
Json json(const archive::SalvageResult& result);

}  // namespace holdfast::view
