// compressed_section.h: a compressed section of a binary object (format.h), taken apart.
//
// For who expands sections into memory of its own; all others call ObjectReader::expand().
#pragma once

#include <string>

#include "base/bytes.h"
#include "codec/compression.h"

namespace holdfast::repo {

struct CompressedSection {
  size_t raw_bytes = 0;
  codec::Compression algorithm = codec::Compression::kNone;
  ByteView frame;  // within the section's plain bytes
};
// Throws kCorrupt, naming the object, also when the section claims to hold more than `limit` bytes.
CompressedSection parse_compressed_section(ByteView plain, size_t limit, const std::string& object);

}  // namespace holdfast::repo
