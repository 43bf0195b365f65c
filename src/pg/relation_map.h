// relation_map.h: pg_filenode.map, which says under which file numbers the catalogs lie that are
// needed to read any other catalog: without it a database cannot be opened.
//
//   u32 magic 0x592717, i32 count, { u32 OID, u32 file number }*, CRC-32C of all before it
//
// Facts: relmapper.c: 62 slots and 512 bytes until 15, 64 slots and 524 bytes from 16 on. Until 15
// the server writes it in place: a read can meet a write.
#pragma once

#include <string_view>

#include "base/bytes.h"

namespace holdfast::pg {

inline constexpr std::string_view kRelationMapName = "pg_filenode.map";

// Whether these bytes are a whole map: size, magic, count and CRC are right.
bool is_whole_relation_map(ByteView bytes);

}  // namespace holdfast::pg
