#include "base/time.h"

#include <cstdlib>
#include <time.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"
#include "support/fake_clock.h"

namespace holdfast {
namespace {

using test::error_of;

constexpr const char* kCentralEurope = "CET-1CEST,M3.5.0,M10.5.0/3";

// Puts this process into a time zone while it lives.
class ZoneScope {
 public:
  explicit ZoneScope(const char* zone) {
    const char* before = std::getenv("TZ");
    if (before != nullptr) before_ = before;
    setenv("TZ", zone, 1);
    tzset();
  }
  ~ZoneScope() {
    if (before_)
      setenv("TZ", before_->c_str(), 1);
    else
      unsetenv("TZ");
    tzset();
  }
  ZoneScope(const ZoneScope&) = delete;
  ZoneScope& operator=(const ZoneScope&) = delete;

 private:
  std::optional<std::string> before_;
};

Time at(int64_t microseconds) { return Time{Microseconds{microseconds}}; }

TEST(Rfc3339, ReadsBackEverythingItPrints) {
  const struct {
    int64_t microseconds;
    const char* text;
  } cases[] = {{0, "1970-01-01T00:00:00.000000Z"},
               {-1, "1969-12-31T23:59:59.999999Z"},
               {1795335759544793, "2026-11-22T08:22:39.544793Z"},
               {951782400000000, "2000-02-29T00:00:00.000000Z"},
               {4107542399999999, "2100-02-28T23:59:59.999999Z"},
               {4107542400000000, "2100-03-01T00:00:00.000000Z"},
               {-62135596800000000, "0001-01-01T00:00:00.000000Z"},
               {253402300799999999, "9999-12-31T23:59:59.999999Z"}};
  for (const auto& c : cases) {
    EXPECT_EQ(to_rfc3339(at(c.microseconds)), c.text);
    EXPECT_EQ(parse_rfc3339(c.text), at(c.microseconds)) << c.text;
  }
}

TEST(Rfc3339, ReadsEveryDayOfFourHundredYears) {
  Time day = parse_rfc3339("1999-12-31T12:00:00Z").value();
  std::string before;
  for (int i = 0; i < 146097; ++i, day += std::chrono::hours(24)) {
    const std::string text = to_rfc3339(day);
    ASSERT_EQ(parse_rfc3339(text), day) << text;
    ASSERT_LT(before, text);
    before = text;
  }
  EXPECT_EQ(before, "2399-12-30T12:00:00.000000Z");
}

TEST(Rfc3339, ReadsOffsetsAndFractionsOfAnyLength) {
  const struct {
    const char* text;
    const char* same;
  } cases[] = {{"2026-11-22T09:22:39.5+01:00", "2026-11-22T08:22:39.500000Z"},
               {"2026-11-21T22:52:39-09:30", "2026-11-22T08:22:39.000000Z"},
               {"2026-01-01t00:30:00+01:00", "2025-12-31T23:30:00.000000Z"},
               {"2026-11-22T08:22:39.1234569z", "2026-11-22T08:22:39.123456Z"},
               {"2026-11-22T08:22:39-00:00", "2026-11-22T08:22:39.000000Z"}};
  for (const auto& c : cases) EXPECT_EQ(to_rfc3339(parse_rfc3339(c.text).value()), c.same);
}

TEST(Rfc3339, RefusesWhatIsNoTime) {
  for (const char* text : {"",
                           "2026-11-22",
                           "2026-11-22T08:22Z",
                           "2026-11-22T08:22:39",
                           "2026-11-22 08:22:39Z",
                           "2026-02-29T00:00:00Z",
                           "2100-02-29T00:00:00Z",
                           "2026-00-01T00:00:00Z",
                           "2026-13-01T00:00:00Z",
                           "2026-04-31T00:00:00Z",
                           "2026-11-00T00:00:00Z",
                           "2026-11-22T24:00:00Z",
                           "2026-11-22T08:60:00Z",
                           "2026-11-22T08:22:60Z",
                           "2026-11-22T08:22:39.Z",
                           "2026-11-22T08:22:39+01",
                           "2026-11-22T08:22:39+0100",
                           "2026-11-22T08:22:39+24:00",
                           "2026-11-22T08:22:39+01:60",
                           "2026-11-22T08:22:39Z ",
                           " 2026-11-22T08:22:39Z",
                           "26-11-22T08:22:39Z",
                           "0000-01-01T00:00:00Z",
                           "+2026-11-22T08:22:39Z",
                           "2026-11-22T8:22:39Z"})
    EXPECT_EQ(parse_rfc3339(text), std::nullopt) << text;
}

TEST(Time, PrintsForPostgresAndForBackupIds) {
  const Time time = at(1795335759544793);
  EXPECT_EQ(to_postgres(time), "2026-11-22 08:22:39.544793+00");
  EXPECT_EQ(to_compact_utc(time), "20261122T082239Z");
  EXPECT_EQ(to_compact_utc(at(-1)), "19691231T235959Z");
}

TEST(Time, PrintsTheEndsOfItsRange) {
  EXPECT_EQ(to_rfc3339(Time::max()), "294247-01-10T04:00:54.775807Z");
  EXPECT_EQ(to_rfc3339(Time::min()), "-290308-12-21T19:59:05.224192Z");
}

TEST(Time, ForPeopleNamesItsZone) {
  const Time winter = at(1795335759544793);
  const Time summer = parse_rfc3339("2026-07-01T12:00:00Z").value();
  const struct {
    const char* zone;
    const char* winter;
    const char* summer;
  } cases[] = {
      {"UTC0", "2026-11-22 08:22:39.544793 UTC", "2026-07-01 12:00:00.000000 UTC"},
      {kCentralEurope, "2026-11-22 09:22:39.544793 CET", "2026-07-01 14:00:00.000000 CEST"},
      {"<+0530>-5:30", "2026-11-22 13:52:39.544793 +05:30", "2026-07-01 17:30:00.000000 +05:30"},
      {"<-03>3", "2026-11-22 05:22:39.544793 -03", "2026-07-01 09:00:00.000000 -03"},
  };
  for (const auto& c : cases) {
    ZoneScope zone(c.zone);
    EXPECT_EQ(to_local(winter), c.winter);
    EXPECT_EQ(to_local(summer), c.summer);
    // What is shown to people can be typed back.
    EXPECT_EQ(parse_time(c.summer), summer);
  }
}

TEST(ParseTime, ReadsWhatPeopleType) {
  ZoneScope zone(kCentralEurope);
  const struct {
    const char* text;
    const char* same;
  } cases[] = {
      {"2026-11-22T08:22:39.544793Z", "2026-11-22T08:22:39.544793Z"},
      {"2026-11-22 08:22:39+00", "2026-11-22T08:22:39.000000Z"},
      {"2026-11-22 08:22:39 +00", "2026-11-22T08:22:39.000000Z"},
      {"2026-11-22 08:22:39.5+01:00", "2026-11-22T07:22:39.500000Z"},
      {"2026-11-22 08:22:39-0330", "2026-11-22T11:52:39.000000Z"},
      {"2026-11-22 08:22 UTC", "2026-11-22T08:22:00.000000Z"},
      {"2026-11-22 08:22utc", "2026-11-22T08:22:00.000000Z"},
      {"2026-11-22 08:22Z", "2026-11-22T08:22:00.000000Z"},
      {"2026-11-22 08:22:39", "2026-11-22T07:22:39.000000Z"},
      {"2026-11-22 08:22:39.25", "2026-11-22T07:22:39.250000Z"},
      {"2026-11-22 08:22", "2026-11-22T07:22:00.000000Z"},
      {"2026-11-22", "2026-11-21T23:00:00.000000Z"},
      {"2026-07-01", "2026-06-30T22:00:00.000000Z"},
      {"2026-07-01 12:00 CEST", "2026-07-01T10:00:00.000000Z"},
      // The hours around both changes of the clocks.
      {"2026-03-29 01:59:59", "2026-03-29T00:59:59.000000Z"},
      {"2026-03-29 03:00", "2026-03-29T01:00:00.000000Z"},
      {"2026-10-25 01:59:59", "2026-10-24T23:59:59.000000Z"},
      {"2026-10-25 02:30 CEST", "2026-10-25T00:30:00.000000Z"},
      {"2026-10-25 02:30 CET", "2026-10-25T01:30:00.000000Z"},
      {"2026-10-25 03:00", "2026-10-25T02:00:00.000000Z"},
  };
  for (const auto& c : cases) EXPECT_EQ(to_rfc3339(parse_time(c.text)), c.same) << c.text;
}

TEST(ParseTime, RefusesWhatIsNoTimeWithAnExample) {
  for (const char* text :
       {"", "yesterday", "2026-11-22 ", "2026-11-22 08", "2026-11-22 08:22:39 ",
        "2026-11-22 08:22  UTC", "2026-11-22 08:22+", "2026-11-22 08:22+1", "2026-11-22 08:22+01:0",
        "2026-11-22 08:22 +01 x", "22.11.2026", "2026-11-22 08:22 U2"}) {
    const Error error = error_of([&] { parse_time(text); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidText) << text;
    EXPECT_EQ(error.message(), "invalid time \"" + std::string(text) + "\"");
    EXPECT_EQ(error.detail(),
              "A time is a date, or a date and a time of day with or without a zone.");
    EXPECT_EQ(error.hint(),
              "Write it like 2026-11-22 08:22:39+00, 2026-11-22T08:22:39.5Z, \"2026-11-22 08:22 "
              "Europe/Berlin\" or 2026-11-22, or in words: now, \"10 minutes ago\", \"today "
              "08:22\", \"yesterday 14:00\".");
  }
}

TEST(ParseTime, TellsADayOrHourThatNoCalendarHas) {
  constexpr const char* kHours =
      "A time of day goes from 00:00:00 to 23:59:59; what follows is the next day's 00:00.";
  const struct {
    const char* text;
    const char* detail;
  } cases[] = {{"2026-02-30", "February 2026 has 28 days."},
               {"2028-02-30 10:00", "February 2028 has 29 days."},
               {"2026-11-31", "November 2026 has 30 days."},
               {"2026-13-01", "There is no month 13."},
               {"2026-11-22 24:00", kHours},
               {"2026-11-22 08:60", kHours},
               {"2026-11-22 08:22:60", kHours}};
  for (const auto& c : cases)
    EXPECT_EQ(error_of([&] { parse_time(c.text); }).detail(), c.detail) << c.text;
  EXPECT_EQ(error_of([] { parse_moment("yesterday 25:00", Time{}); }).detail(), kHours);
}

TEST(ParseMoment, ReadsTimesInWords) {
  ZoneScope zone(kCentralEurope);
  const Time now = parse_rfc3339("2026-10-25T22:30:15.5Z").value();  // 23:30:15 CET, a long day
  const struct {
    const char* text;
    const char* same;
  } cases[] = {
      {"now", "2026-10-25T22:30:15.500000Z"},
      {"5 minutes ago", "2026-10-25T22:25:15.500000Z"},
      {"1 h 30 min ago", "2026-10-25T21:00:15.500000Z"},
      {"90s ago", "2026-10-25T22:28:45.500000Z"},
      {"today", "2026-10-24T22:00:00.000000Z"},
      {"today 14:00", "2026-10-25T13:00:00.000000Z"},
      {"Today 14:00 UTC", "2026-10-25T14:00:00.000000Z"},
      {"yesterday", "2026-10-23T22:00:00.000000Z"},
      {"yesterday 14:00", "2026-10-24T12:00:00.000000Z"},
      {"yesterday 14:00:01.25+02", "2026-10-24T12:00:01.250000Z"},
      {"09:07:58", "2026-10-25T08:07:58.000000Z"},
      {"09:07", "2026-10-25T08:07:00.000000Z"},
      // A zone by its place: there it is a day later already.
      {"today 06:00 Asia/Tokyo", "2026-10-25T21:00:00.000000Z"},
      {"2026-07-01 12:00 America/New_York", "2026-07-01T16:00:00.000000Z"},
      {"2026-07-01T12:00 Europe/Berlin", "2026-07-01T10:00:00.000000Z"},
      {"2026-07-01 Europe/Berlin", "2026-06-30T22:00:00.000000Z"},
      {"2026-10-25 02:30 CET", "2026-10-25T01:30:00.000000Z"},
  };
  for (const auto& c : cases) EXPECT_EQ(to_rfc3339(parse_moment(c.text, now)), c.same) << c.text;
  // This process's own zone is what it was.
  EXPECT_EQ(to_local(now), "2026-10-25 23:30:15.500000 CET");
}

TEST(ParseMoment, RefusesWhatItDoesNotUnderstand) {
  const Time now = parse_rfc3339("2026-10-25T22:30:15.5Z").value();
  for (const char* text : {"", "soon", "tomorrow", "yesterday at noon", "yesterday 14", "today ",
                           "ago", " ago", "x ago", "yesterday 14:00 +00 x", "12:00 ago",
                           "2026-07-01 12:00 CET Europe/Berlin", "400000 years ago"})
    EXPECT_EQ(error_of([&] { parse_moment(text, now); }).code(), ErrorCode::kInvalidText) << text;
  for (const char* zone : {"Europe/Berlni", "../etc/passwd", "/etc/passwd", "Europe/", "/"})
    EXPECT_EQ(
        error_of([&] { parse_moment(std::string("2026-07-01 12:00 ") + zone, now); }).detail(),
        "This host knows no time zone \"" + std::string(zone) + "\".");
  // An hour that occurs twice there.
  EXPECT_EQ(error_of([&] { parse_moment("2026-10-25 02:30 Europe/Berlin", now); }).hint(),
            "Write the time with its zone: 2026-10-25 02:30:00+02 is the earlier, 2026-10-25 "
            "02:30:00+01 the later.");
}

TEST(ParseTime, RefusesALocalTimeThatOccursTwice) {
  ZoneScope zone(kCentralEurope);
  for (const char* text : {"2026-10-25 02:00", "2026-10-25 02:30", "2026-10-25 02:59:59"})
    EXPECT_EQ(error_of([&] { parse_time(text); }).code(), ErrorCode::kInvalidText) << text;
  const Error error = error_of([] { parse_time("2026-10-25 02:30"); });
  EXPECT_EQ(error.message(), "invalid time \"2026-10-25 02:30\"");
  EXPECT_EQ(
      error.detail(),
      "This time of day occurs twice in the local time zone: the clocks were put back over it.");
  EXPECT_EQ(error.hint(),
            "Write the time with its zone: 2026-10-25 02:30:00+02 is the earlier, 2026-10-25 "
            "02:30:00+01 the later.");
}

TEST(ParseTime, RefusesALocalTimeThatDoesNotExist) {
  ZoneScope zone(kCentralEurope);
  for (const char* text : {"2026-03-29 02:00", "2026-03-29 02:59:59.9"})
    EXPECT_EQ(error_of([&] { parse_time(text); }).code(), ErrorCode::kInvalidText) << text;
  const Error error = error_of([] { parse_time("2026-03-29 02:30"); });
  EXPECT_EQ(error.detail(),
            "This time of day does not exist in the local time zone: the clocks were put forward "
            "over it.");
  EXPECT_EQ(error.hint(), "Write the time with its zone, for example 2026-03-29 02:30:00+02.");
}

TEST(ParseTime, RefusesAZoneThatIsNotInForceHere) {
  ZoneScope zone(kCentralEurope);
  for (const char* name : {"PST", "CEST", "cet"}) {
    const Error error = error_of([&] { parse_time(std::string("2026-11-22 08:22:39 ") + name); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidText);
    EXPECT_EQ(error.detail(), "Time zone \"" + std::string(name) +
                                  "\" is not the one in force here at that time, which is CET.");
    EXPECT_EQ(error.hint(), "Write the zone as an offset from UTC, for example +00 or +01:00.");
  }
}

TEST(PostgresTime, CountsFromTheYear2000) {
  EXPECT_EQ(to_rfc3339(from_postgres_microseconds(0)), "2000-01-01T00:00:00.000000Z");
  EXPECT_EQ(to_rfc3339(from_postgres_microseconds(848651 * int64_t{1000000000} + 1)),
            "2026-11-22T08:23:20.000001Z");
  EXPECT_EQ(from_postgres_microseconds(INT64_MAX), Time::max());
}

TEST(HumanDuration, UsesTwoUnitsAtMost) {
  const struct {
    int64_t microseconds;
    const char* text;
  } cases[] = {{0, "0 ms"},
               {350, "350 us"},
               {740'000, "740 ms"},
               {999'999, "999 ms"},
               {1'000'000, "1 s"},
               {4'250'000, "4.2 s"},
               {59'900'000, "59 s"},
               {60'000'000, "1 min"},
               {65'000'000, "1 min 5 s"},
               {7'380'000'000, "2 h 3 min"},
               {86'400'000'000, "1 d"},
               {1'213'200'000'000, "14 d 1 h"},
               {-65'000'000, "-1 min 5 s"}};
  for (const auto& c : cases) EXPECT_EQ(to_human(Microseconds{c.microseconds}), c.text);
}

TEST(ParseDuration, ReadsNumbersWithUnits) {
  const struct {
    const char* text;
    int64_t microseconds;
  } cases[] = {{"5m", 300'000'000},
               {"90s", 90'000'000},
               {"24h", 86'400'000'000},
               {"14 days", 1'209'600'000'000},
               {"1.5h", 5'400'000'000},
               {"1 h 30 min", 5'400'000'000},
               {"1h30m", 5'400'000'000},
               {"250ms", 250'000},
               {"2 Weeks", 1'209'600'000'000},
               {"0s", 0},
               {"106751991 d", 9223372022400000000}};
  for (const auto& c : cases)
    EXPECT_EQ(parse_duration(c.text), Microseconds{c.microseconds}) << c.text;
}

TEST(ParseDuration, RefusesTheRestWithAnExample) {
  const struct {
    const char* text;
    const char* detail;
  } cases[] = {
      {"", "A duration is a number followed by a unit."},
      {"5", "A duration is a number followed by a unit."},
      {"m", "A duration is a number followed by a unit."},
      {"-5m", "A duration is a number followed by a unit."},
      {" 5m", "A duration is a number followed by a unit."},
      {"5 fortnights", "A duration is a number followed by a unit."},
      {"1.h", "A duration is a number followed by a unit."},
      {"5m 3", "A duration is a number followed by a unit."},
      {"5m 1h", "The units of a duration go from the largest to the smallest."},
      {"5m 5m", "The units of a duration go from the largest to the smallest."},
      {"300000000 d", "It is longer than 292,000 years."},
      {"106751991 d 5 h", "It is longer than 292,000 years."},
      {"99999999999999999999999 s", "A duration is a number followed by a unit."},
  };
  for (const auto& c : cases) {
    const Error error = error_of([&] { parse_duration(c.text); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidText) << c.text;
    EXPECT_EQ(error.message(), "invalid duration \"" + std::string(c.text) + "\"");
    EXPECT_EQ(error.detail(), c.detail) << c.text;
    EXPECT_EQ(
        error.hint(),
        "Write a number and a unit (ms, s, min, h, days, weeks), for example 90s, 5m, 24h, 14 "
        "days or \"1 h 30 min\".");
  }
}

TEST(HumanBytes, UsesPowersOf1024) {
  const struct {
    uint64_t bytes;
    const char* text;
  } cases[] = {{0, "0 B"},
               {1023, "1023 B"},
               {1024, "1.0 KiB"},
               {1536, "1.5 KiB"},
               {10188, "9.9 KiB"},
               {10230, "10 KiB"},
               {312'000, "305 KiB"},
               {1048575, "1.0 MiB"},
               {uint64_t{1} << 30, "1.0 GiB"},
               {uint64_t{1610612736}, "1.5 GiB"},
               {uint64_t{20} << 40, "20 TiB"},
               {UINT64_MAX, "16 EiB"}};
  for (const auto& c : cases) EXPECT_EQ(to_human_bytes(c.bytes), c.text);
}

TEST(ParseBytes, ReadsNumbersWithOrWithoutUnits) {
  const struct {
    const char* text;
    uint64_t bytes;
  } cases[] = {{"0", 0},
               {"512", 512},
               {"512 B", 512},
               {"10k", 10240},
               {"64MiB", 67108864},
               {"64 MB", 67108864},
               {"1.5 GiB", 1610612736},
               {"2t", uint64_t{2} << 40},
               {"16383 PiB", uint64_t{16383} << 50},
               {"18446744073709551615", UINT64_MAX}};
  for (const auto& c : cases) EXPECT_EQ(parse_bytes(c.text), c.bytes) << c.text;
}

TEST(ParseBytes, RefusesTheRestWithAnExample) {
  for (const char* text : {"", "k", "-1", "1 x", "1k2", "1.", "0x10", "16384 PiB",
                           "18446744073709551616", "99999999999999999999999999", "1 k "}) {
    const Error error = error_of([&] { parse_bytes(text); });
    EXPECT_EQ(error.code(), ErrorCode::kInvalidText) << text;
    EXPECT_EQ(error.message(), "invalid size \"" + std::string(text) + "\"");
    EXPECT_EQ(error.detail(), "A size is a number, with a unit of bytes or without, below 16 EiB.");
    EXPECT_EQ(error.hint(), "Write it like 64MiB, 10k or 1.5 GiB; units are powers of 1024.");
  }
}

TEST(Clock, OfTheSystemGoesForwardAndTheFakeOneOnlyWhenTold) {
  EXPECT_GT(system_clock().now(), parse_rfc3339("2024-01-01T00:00:00Z").value());
  const auto before = system_clock().steady();
  EXPECT_LE(before, system_clock().steady());

  test::FakeClock clock(at(5));
  const auto steady = clock.steady();
  EXPECT_EQ(clock.now(), at(5));
  clock.advance(Microseconds{10});
  EXPECT_EQ(clock.now(), at(15));
  EXPECT_EQ(clock.steady() - steady, Microseconds{10});
}

}  // namespace
}  // namespace holdfast
