// tar_header.h: where the fields of a tar header stand. For tar_reader.cc and tar_writer.cc alone.
//
// Facts: POSIX.1-2017, pax, "ustar Interchange Format".
#pragma once

#include <cstddef>

namespace holdfast::tar {

inline constexpr size_t kBlock = 512;

struct Field {
  size_t offset;
  size_t bytes;
};
inline constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12},
    kTime{136, 12}, kCheck{148, 8}, kType{156, 1}, kLink{157, 100}, kMagic{257, 6},
    kVersion{263, 2}, kUser{265, 32}, kGroup{297, 32}, kPrefix{345, 155};
static_assert(kPrefix.offset + kPrefix.bytes <= kBlock);

}  // namespace holdfast::tar
