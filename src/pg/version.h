// version.h: the PostgreSQL majors that Holdfast knows, the numbers by which each is recognised,
// and what is done for the majors that are not known.
//
// Of a newer major nothing is read that is known to change: its WAL is archived and its files are
// backed up as they are, unread, and both are given back. What must read them says so and refuses
// (require_known_major). A major before the first is refused altogether.
//
// None of these numbers changes within a released major. 13 to 16 share one pg_control version: a
// major is recognised by its catalog version or its WAL page magic, never by the pg_control version
// alone.
//
// Facts: catversion.h, xlog_internal.h (XLOG_PAGE_MAGIC), pg_control.h (PG_CONTROL_VERSION),
// relpath.h, PostgreSQL 13 to 19.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace holdfast::pg {

struct Version {
  int major = 0;
  uint16_t wal_magic = 0;
  uint32_t control_version = 0;
  uint32_t catalog_version = 0;
};

inline constexpr int kFirstMajor = 13;
inline constexpr int kLastMajor = 19;

// Every known major, ascending.
std::span<const Version> known_versions();
// Throws kUnsupported for a major that is not known.
const Version& version_of(int major);

constexpr bool is_newer_major(int major) { return major > kLastMajor; }
// Of WAL pages that a major behind the last one wrote: the number grows with each. Those of betas
// lie between two.
bool is_newer_wal_magic(uint16_t magic);
// What a command says that can work on a newer major: "PostgreSQL 20 is newer than ...".
std::string newer_major_notice(int major);
// Throws kUnsupported for a newer one. `why`: a sentence, what would have to be read.
void require_known_major(int major, std::string_view why);

std::optional<int> major_by_catalog_version(uint32_t catalog_version);
std::optional<int> major_by_wal_magic(uint16_t magic);

// The directory that a server uses in every tablespace: "PG_15_202209061". Without the catalog
// version throws kUnsupported for a major that is not known.
std::string tablespace_version_directory(int major, uint32_t catalog_version);
std::string tablespace_version_directory(int major);

// The content of a PG_VERSION file ("17\n") -> 17. Throws kCorrupt for anything else; the major
// need not be a known one.
int parse_version_file(std::string_view text);

}  // namespace holdfast::pg
