// newer_major.h: what a server of a major behind the last known one may write: 20 with a layout of
// pg_control that nobody knows and a WAL magic of its own.
#pragma once

#include "base/bytes.h"
#include "pg/control_file.h"
#include "pg/crc32c.h"
#include "pg/version.h"
#include "pg/wal_page.h"
#include "support/golden.h"

namespace holdfast::test {

inline constexpr int kNewerMajor = pg::kLastMajor + 1;
inline constexpr uint32_t kNewerCatalogVersion = 202710061;
inline constexpr uint16_t kNewerWalMagic = 0xD130;
// Three fields more than 19 has stand before its CRC.
inline constexpr size_t kNewerCrcOffset = 320;

inline Bytes newer_control_file(uint64_t system_identifier) {
  Bytes bytes = golden("pg-19/pg_control");
  store_le(bytes.data(), system_identifier);
  store_le<uint32_t>(bytes.data() + 8, kNewerMajor * 100 + 1);
  store_le(bytes.data() + 12, kNewerCatalogVersion);
  store_le(bytes.data() + kNewerCrcOffset, pg::crc32c(ByteView(bytes).first(kNewerCrcOffset)));
  return bytes;
}

inline Bytes newer_wal(Bytes segment) {
  for (size_t at = 0; at < segment.size(); at += pg::kWalBlockBytes)
    if (load_le<uint16_t>(segment.data() + at) != 0) store_le(segment.data() + at, kNewerWalMagic);
  return segment;
}

}  // namespace holdfast::test
