// page_image.h: the page that a WAL record holds as a whole, and a row of it.
//
//   image := the page without its hole, which is of zeros; compressed or not
//
// What is read is not trusted. Facts: xlogrecord.h, xlogreader.c (RestoreBlockImage),
// pg_lzcompress.c (pglz_decompress), bufpage.h, htup_details.h, PostgreSQL 13 to 19.
#pragma once

#include <optional>

#include "base/bytes.h"
#include "pg/wal_record.h"

namespace holdfast::pg {

// Info of an image. 15 gave "apply" the bit that was "compressed" and moved that on, to one bit for
// each method.
inline constexpr uint8_t kImageHasHole = 0x01;
inline constexpr uint8_t kImageCompressedUntil14 = 0x02;
inline constexpr uint8_t kImagePglz = 0x04;
inline constexpr uint8_t kImageLz4 = 0x08;
inline constexpr uint8_t kImageZstd = 0x10;
inline constexpr uint8_t kImageCompressedFrom15 = kImagePglz | kImageLz4 | kImageZstd;

// The whole page; nullopt: it is damaged, or there is none. Never throws.
std::optional<Bytes> expand_page_image(const WalBlock& block, ByteView image, int major);

// What PostgreSQL compresses by itself. nullopt where it does not make `raw_bytes`.
std::optional<Bytes> expand_pglz(ByteView compressed, size_t raw_bytes);

// The row at that place (from 1 on) without its header. Empty: there is none.
ByteView row_of_page(ByteView page, uint16_t line);

}  // namespace holdfast::pg
