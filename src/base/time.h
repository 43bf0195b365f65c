// time.h: moments and durations, the clock that is handed in, and their text.
//
// A Time counts microseconds since 1970-01-01 00:00:00 UTC: what PostgreSQL's timestamptz can hold
// and no more.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace holdfast {

using Microseconds = std::chrono::microseconds;
using Time = std::chrono::time_point<std::chrono::system_clock, Microseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;                                      // wall clock
  virtual std::chrono::steady_clock::time_point steady() const = 0;  // for durations
};
const Clock& system_clock();

// "2026-11-22T08:22:39.544793Z": for JSON and our formats; and back (any RFC 3339 time with "Z" or
// a numeric offset).
std::string to_rfc3339(Time time);
std::optional<Time> parse_rfc3339(std::string_view text);
// "2026-11-22 08:22:39.544793+00": as PostgreSQL's settings read it, whatever the server's zone is.
std::string to_postgres(Time time);
// "2026-11-22 09:22:39.544793 CET": for people, in this process's zone, which is always named.
// Whole: typed as a target it names the very moment.
std::string to_local(Time time);
// "20261122T082239Z": in backup ids.
std::string to_compact_utc(Time time);
// A written time: RFC 3339, or "2026-11-22 08:22:39[.5][ ][+00|+01:00|Z|UTC]", or without seconds,
// or a date alone (midnight). Without a zone it is read in this process's zone. Throws kInvalidText
// with a hint.
Time parse_time(std::string_view text);
// A time as a person types it: one of those, or with the name of a zone behind it
// ("Europe/Berlin"), "now", "10 minutes ago", "today", "yesterday", either with a time of day, or a
// time of day alone (today's). REQUIRES, for a zone's name: no other thread, because this process's
// zone is changed for as long as it is read.
Time parse_moment(std::string_view text, Time now);
// PostgreSQL's WAL and protocol timestamps: microseconds since 2000-01-01 00:00:00 UTC.
Time from_postgres_microseconds(int64_t value);

// "1 min 5 s", "740 ms", "2 h 3 min"; and "5m", "90s", "24h", "14 days" -> duration; throws
// kInvalidText.
std::string to_human(Microseconds duration);
Microseconds parse_duration(std::string_view text);
// "1.5 GiB", "312 kB" stays "305 KiB": powers of 1024, one decimal below 10; and "64MiB", "10k" ->
// bytes; throws kInvalidText.
std::string to_human_bytes(uint64_t bytes);
uint64_t parse_bytes(std::string_view text);

}  // namespace holdfast
