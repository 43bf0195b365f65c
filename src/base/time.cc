#include "base/time.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <time.h>
#include <vector>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast {
namespace {

using std::chrono::floor;
using Seconds = std::chrono::seconds;

constexpr int64_t kSecondsPerDay = 86400;
constexpr int64_t kMicrosPerSecond = 1000000;
// 2000-01-01 00:00:00 UTC (datatype/timestamp.h, PostgreSQL 17: POSTGRES_EPOCH_JDATE).
constexpr Time kPostgresEpoch{Seconds{946684800}};

// --- Civil dates, of the proleptic Gregorian calendar --------------------------------------------
//
// std::chrono's calendar holds years to 32767 only, and a damaged timestamp may say anything.

struct Civil {
  int64_t year = 1970;
  int month = 1;
  int day = 1;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int64_t microsecond = 0;
};

// Years are taken from March on, so that the leap day is a year's last: days of the months before
// are (153 * month + 2) / 5, and an era of 400 years has 146097 days.
int64_t days_from_civil(int64_t year, int month, int day) {
  const int64_t y = month <= 2 ? year - 1 : year;
  const int64_t era = (y >= 0 ? y : y - 399) / 400;
  const int64_t year_of_era = y - era * 400;
  const int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146097 + day_of_era - 719468;
}

// The same moment's date and time of day, `offset` seconds east of UTC.
Civil to_civil(Time time, int64_t offset = 0) {
  const int64_t whole = floor<Seconds>(time.time_since_epoch()).count();
  const int64_t microsecond = time.time_since_epoch().count() % kMicrosPerSecond;
  const int64_t local = whole + offset;
  int64_t days = local / kSecondsPerDay;
  if (local % kSecondsPerDay < 0) --days;
  const int64_t in_day = local - days * kSecondsPerDay;

  const int64_t shifted = days + 719468;
  const int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const int64_t day_of_era = shifted - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  const int64_t month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  return {.year = year_of_era + era * 400 + (month <= 2 ? 1 : 0),
          .month = static_cast<int>(month),
          .day = static_cast<int>(day_of_year - (153 * month_from_march + 2) / 5 + 1),
          .hour = static_cast<int>(in_day / 3600),
          .minute = static_cast<int>(in_day / 60 % 60),
          .second = static_cast<int>(in_day % 60),
          .microsecond = microsecond < 0 ? microsecond + kMicrosPerSecond : microsecond};
}

// Seconds since 1970 of the civil time, as if it were UTC.
int64_t seconds_of(const Civil& civil) {
  return days_from_civil(civil.year, civil.month, civil.day) * kSecondsPerDay + civil.hour * 3600 +
         civil.minute * 60 + civil.second;
}

int days_in_month(int64_t year, int month) {
  constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return month == 2 && leap ? 29 : kDays[static_cast<size_t>(month - 1)];
}

Time make_time(int64_t seconds, int64_t microsecond) {
  return Time{Seconds{seconds} + Microseconds{microsecond}};
}

// --- Reading -------------------------------------------------------------------------------------

// Takes text from the front; each function answers whether it did, and takes nothing when it did
// not.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool at_end() const { return rest_.empty(); }
  bool at_digit() const { return !rest_.empty() && is_digit(rest_.front()); }
  bool at_letter() const { return !rest_.empty() && is_letter(rest_.front()); }

  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool take_any(std::string_view characters) {
    if (rest_.empty() || characters.find(rest_.front()) == std::string_view::npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  void skip_blanks() {
    while (take_any(" \t")) continue;
  }
  // Exactly `count` digits whose number lies in [lowest, highest].
  std::optional<int> number(size_t count, int lowest, int highest) {
    if (rest_.size() < count || !std::ranges::all_of(rest_.substr(0, count), is_digit))
      return std::nullopt;
    int value = 0;
    for (char c : rest_.substr(0, count)) value = value * 10 + (c - '0');
    if (value < lowest || value > highest) return std::nullopt;
    rest_.remove_prefix(count);
    return value;
  }
  std::string_view digits() { return take_while(is_digit); }
  std::string_view letters() { return take_while(is_letter); }

 private:
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  template <typename Predicate>
  std::string_view take_while(Predicate is_wanted) {
    const auto end = std::ranges::find_if_not(rest_, is_wanted);
    const std::string_view taken = rest_.substr(0, static_cast<size_t>(end - rest_.begin()));
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::string_view rest_;
};

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

// "2026-11-22", of the years 1 to 9999.
bool scan_date(Scanner& scan, Civil& into) {
  const std::optional<int> year = scan.number(4, 1, 9999);
  if (!year || !scan.take('-')) return false;
  const std::optional<int> month = scan.number(2, 1, 12);
  if (!month || !scan.take('-')) return false;
  const std::optional<int> day = scan.number(2, 1, days_in_month(*year, *month));
  if (!day) return false;
  into.year = *year;
  into.month = *month;
  into.day = *day;
  return true;
}

// "08:22[:39[.544793]]". Of a fraction six digits count; the rest is cut off, which is never later
// than what was written.
bool scan_time_of_day(Scanner& scan, Civil& into, bool seconds_needed) {
  const std::optional<int> hour = scan.number(2, 0, 23);
  if (!hour || !scan.take(':')) return false;
  const std::optional<int> minute = scan.number(2, 0, 59);
  if (!minute) return false;
  into.hour = *hour;
  into.minute = *minute;
  if (!scan.take(':')) return !seconds_needed;
  const std::optional<int> second = scan.number(2, 0, 59);
  if (!second) return false;
  into.second = *second;
  if (!scan.take('.')) return true;
  const std::string_view fraction = scan.digits();
  if (fraction.empty()) return false;
  for (size_t i = 0; i < 6; ++i)
    into.microsecond = into.microsecond * 10 + (i < fraction.size() ? fraction[i] - '0' : 0);
  return true;
}

// "+01:00"; with `short_forms` also "+01" and "+0100". Seconds east of UTC.
std::optional<int64_t> scan_offset(Scanner& scan, bool short_forms) {
  const bool west = scan.take('-');
  if (!west && !scan.take('+')) return std::nullopt;
  const std::optional<int> hours = scan.number(2, 0, 23);
  if (!hours) return std::nullopt;
  int minutes = 0;
  if (scan.take(':') || (short_forms && scan.at_digit())) {
    const std::optional<int> given = scan.number(2, 0, 59);
    if (!given) return std::nullopt;
    minutes = *given;
  } else if (!short_forms) {
    return std::nullopt;
  }
  const int64_t seconds = *hours * 3600 + minutes * 60;
  return west ? -seconds : seconds;
}

// --- This process's zone
// --------------------------------------------------------------------------

struct LocalZone {
  int64_t offset = 0;  // seconds east of UTC
  std::string name;    // "CET", or "+05:30" for a zone that has no letters
};

std::string offset_text(int64_t offset) {
  const int64_t minutes = std::abs(offset) / 60;
  std::string text = fmt::format("{}{:02}", offset < 0 ? '-' : '+', minutes / 60);
  if (minutes % 60 != 0) text += fmt::format(":{:02}", minutes % 60);
  return text;
}

LocalZone local_zone(int64_t seconds) {
  const time_t when = seconds;
  struct tm parts{};
  // Years beyond an int: such a moment is shown in UTC.
  if (localtime_r(&when, &parts) == nullptr) return {.offset = 0, .name = "UTC"};
  const std::string_view name = parts.tm_zone != nullptr ? parts.tm_zone : "";
  Scanner scan(name);
  const bool has_letters = !scan.letters().empty() && scan.at_end();
  return {.offset = parts.tm_gmtoff,
          .name = has_letters ? std::string(name) : offset_text(parts.tm_gmtoff)};
}

struct LocalMoment {
  int64_t seconds;
  std::string zone;
};

// Every moment at which this zone's clocks show `civil`: none in the hour that is skipped when they
// go forward, two in the one that is repeated when they go back. The offsets tried are those in
// force around it; no zone is further than 26 hours from UTC, or changes twice so fast.
std::vector<LocalMoment> local_moments(const Civil& civil) {
  const int64_t shown = seconds_of(civil);
  std::vector<LocalMoment> moments;
  for (int64_t hours : {-26, -13, 0, 13, 26}) {
    const int64_t moment = shown - local_zone(shown + hours * 3600).offset;
    const LocalZone zone = local_zone(moment);
    if (moment + zone.offset != shown) continue;
    if (std::ranges::find(moments, moment, &LocalMoment::seconds) == moments.end())
      moments.push_back({.seconds = moment, .zone = zone.name});
  }
  std::ranges::sort(moments, {}, &LocalMoment::seconds);
  return moments;
}

// --- Errors
// ---------------------------------------------------------------------------------------

[[noreturn]] void throw_invalid_time(std::string_view text, std::string detail, std::string hint) {
  throw Error({.code = ErrorCode::kInvalidText,
               .message = fmt::format("invalid time \"{}\"", text),
               .detail = std::move(detail),
               .hint = std::move(hint)});
}

// The day or the time of day that no calendar has, of a text that has the shape of a time; else
// empty.
std::string what_cannot_be(std::string_view text) {
  constexpr std::array<std::string_view, 12> kMonths = {
      "January", "February", "March",     "April",   "May",      "June",
      "July",    "August",   "September", "October", "November", "December"};
  constexpr int kHighest = 99;  // of two digits
  Scanner scan(text);
  if (const std::optional<int> year = scan.number(4, 1, 9999); year && scan.take('-')) {
    const std::optional<int> month = scan.number(2, 0, kHighest);
    if (!month || !scan.take('-')) return {};
    const std::optional<int> day = scan.number(2, 0, kHighest);
    if (!day) return {};
    if (*month < 1 || *month > 12) return fmt::format("There is no month {:02}.", *month);
    if (const int days = days_in_month(*year, *month); *day < 1 || *day > days)
      return fmt::format("{} {} has {} days.", kMonths[static_cast<size_t>(*month - 1)], *year,
                         days);
    if (!scan.take_any("Tt ")) return {};
  } else {
    scan = Scanner(text);
    scan.letters();  // "yesterday"
    scan.skip_blanks();
  }
  for (const int highest : {23, 59, 59}) {
    const std::optional<int> part = scan.number(2, 0, kHighest);
    if (!part) return {};
    if (*part > highest)
      return "A time of day goes from 00:00:00 to 23:59:59; what follows is the next day's 00:00.";
    if (!scan.take(':')) return {};
  }
  return {};
}

[[noreturn]] void throw_malformed_time(std::string_view text) {
  std::string detail = what_cannot_be(text);
  if (detail.empty())
    detail = "A time is a date, or a date and a time of day with or without a zone.";
  throw_invalid_time(text, std::move(detail),
                     "Write it like 2026-11-22 08:22:39+00, 2026-11-22T08:22:39.5Z, \"2026-11-22 "
                     "08:22 Europe/Berlin\" or 2026-11-22, or in words: now, \"10 minutes ago\", "
                     "\"today 08:22\", \"yesterday 14:00\".");
}

[[noreturn]] void throw_invalid_duration(std::string_view text, std::string detail) {
  throw Error({.code = ErrorCode::kInvalidText,
               .message = fmt::format("invalid duration \"{}\"", text),
               .detail = std::move(detail),
               .hint =
                   "Write a number and a unit (ms, s, min, h, days, weeks), for example 90s, 5m, "
                   "24h, 14 days or \"1 h 30 min\"."});
}

// A time without offset, read in this zone. `zone`: its name, when one was given.
Time resolve_local(std::string_view text, const Civil& civil, std::string_view zone) {
  const std::vector<LocalMoment> moments = local_moments(civil);
  if (moments.empty()) {
    const LocalZone after = local_zone(seconds_of(civil) + kSecondsPerDay);
    throw_invalid_time(
        text,
        "This time of day does not exist in the local time zone: the clocks were put "
        "forward over it.",
        fmt::format("Write the time with its zone, for example {:04}-{:02}-{:02} "
                    "{:02}:{:02}:{:02}{}.",
                    civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second,
                    offset_text(after.offset)));
  }
  if (!zone.empty()) {
    for (const LocalMoment& moment : moments)
      if (moment.zone == zone) return make_time(moment.seconds, civil.microsecond);
    throw_invalid_time(
        text,
        fmt::format("Time zone \"{}\" is not the one in force here at that time, which is {}.",
                    zone, moments[0].zone),
        "Write the zone as an offset from UTC, for example +00 or +01:00.");
  }
  if (moments.size() > 1) {
    const auto zoned = [&](const LocalMoment& moment) {
      return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}{}", civil.year, civil.month,
                         civil.day, civil.hour, civil.minute, civil.second,
                         offset_text(seconds_of(civil) - moment.seconds));
    };
    throw_invalid_time(
        text,
        "This time of day occurs twice in the local time zone: the clocks were put back over it.",
        fmt::format("Write the time with its zone: {} is the earlier, {} the later.",
                    zoned(moments.front()), zoned(moments.back())));
  }
  return make_time(moments[0].seconds, civil.microsecond);
}

// --- Quantities with units
// ------------------------------------------------------------------------

__extension__ using Wide = unsigned __int128;

struct Unit {
  std::string_view name;
  uint64_t size;
};

// "1.5" as a numerator over a power of ten.
struct Decimal {
  uint64_t digits = 0;
  uint64_t scale = 1;
};

// At most 6 digits after the point.
std::optional<Decimal> scan_decimal(Scanner& scan) {
  const std::string_view whole = scan.digits();
  std::string_view fraction;
  if (scan.take('.')) {
    fraction = scan.digits();
    if (fraction.empty()) return std::nullopt;
  }
  if (whole.empty() || whole.size() > 20 || fraction.size() > 6) return std::nullopt;
  Wide digits = 0;
  Decimal value;
  for (char c : whole) digits = digits * 10 + static_cast<unsigned>(c - '0');
  for (char c : fraction) {
    digits = digits * 10 + static_cast<unsigned>(c - '0');
    value.scale *= 10;
  }
  if (digits > std::numeric_limits<uint64_t>::max()) return std::nullopt;
  value.digits = static_cast<uint64_t>(digits);
  return value;
}

// nullopt beyond `highest`. What is less than one is cut off.
std::optional<uint64_t> multiply(const Decimal& value, uint64_t unit, uint64_t highest) {
  const Wide product = Wide{value.digits} * unit / value.scale;
  if (product > highest) return std::nullopt;
  return static_cast<uint64_t>(product);
}

template <size_t N>
const Unit* find_unit(const std::array<Unit, N>& units, std::string_view name) {
  const auto found = std::ranges::find(units, name, &Unit::name);
  return found == units.end() ? nullptr : &*found;
}

constexpr uint64_t kMinute = 60 * uint64_t{kMicrosPerSecond};
constexpr uint64_t kHour = 60 * kMinute;
constexpr uint64_t kDay = 24 * kHour;
// In microseconds.
constexpr std::array kDurationUnits = {
    Unit{"us", 1},
    Unit{"ms", 1000},
    Unit{"s", kMicrosPerSecond},
    Unit{"sec", kMicrosPerSecond},
    Unit{"second", kMicrosPerSecond},
    Unit{"seconds", kMicrosPerSecond},
    Unit{"m", kMinute},
    Unit{"min", kMinute},
    Unit{"minute", kMinute},
    Unit{"minutes", kMinute},
    Unit{"h", kHour},
    Unit{"hour", kHour},
    Unit{"hours", kHour},
    Unit{"d", kDay},
    Unit{"day", kDay},
    Unit{"days", kDay},
    Unit{"w", 7 * kDay},
    Unit{"week", 7 * kDay},
    Unit{"weeks", 7 * kDay},
};

constexpr uint64_t kKi = 1024;
constexpr std::array kByteUnits = {
    Unit{"", 1},
    Unit{"b", 1},
    Unit{"bytes", 1},
    Unit{"k", kKi},
    Unit{"kb", kKi},
    Unit{"kib", kKi},
    Unit{"m", kKi* kKi},
    Unit{"mb", kKi* kKi},
    Unit{"mib", kKi* kKi},
    Unit{"g", kKi* kKi* kKi},
    Unit{"gb", kKi* kKi* kKi},
    Unit{"gib", kKi* kKi* kKi},
    Unit{"t", kKi* kKi* kKi* kKi},
    Unit{"tb", kKi* kKi* kKi* kKi},
    Unit{"tib", kKi* kKi* kKi* kKi},
    Unit{"p", kKi* kKi* kKi* kKi* kKi},
    Unit{"pb", kKi* kKi* kKi* kKi* kKi},
    Unit{"pib", kKi* kKi* kKi* kKi* kKi},
};

class SystemClock : public Clock {
 public:
  Time now() const override { return floor<Microseconds>(std::chrono::system_clock::now()); }
  std::chrono::steady_clock::time_point steady() const override {
    return std::chrono::steady_clock::now();
  }
};

std::string date_and_time(const Civil& civil, char between) {
  return fmt::format("{:04}-{:02}-{:02}{}{:02}:{:02}:{:02}", civil.year, civil.month, civil.day,
                     between, civil.hour, civil.minute, civil.second);
}

}  // namespace

const Clock& system_clock() {
  static const SystemClock clock;
  return clock;
}

std::string to_rfc3339(Time time) {
  const Civil civil = to_civil(time);
  return fmt::format("{}.{:06}Z", date_and_time(civil, 'T'), civil.microsecond);
}

std::optional<Time> parse_rfc3339(std::string_view text) {
  Scanner scan(text);
  Civil civil;
  if (!scan_date(scan, civil) || !scan.take_any("Tt") || !scan_time_of_day(scan, civil, true))
    return std::nullopt;
  int64_t offset = 0;
  if (!scan.take_any("Zz")) {
    const std::optional<int64_t> given = scan_offset(scan, false);
    if (!given) return std::nullopt;
    offset = *given;
  }
  if (!scan.at_end()) return std::nullopt;
  return make_time(seconds_of(civil) - offset, civil.microsecond);
}

std::string to_postgres(Time time) {
  const Civil civil = to_civil(time);
  return fmt::format("{}.{:06}+00", date_and_time(civil, ' '), civil.microsecond);
}

std::string to_local(Time time) {
  const LocalZone zone = local_zone(floor<Seconds>(time.time_since_epoch()).count());
  const Civil civil = to_civil(time, zone.offset);
  return fmt::format("{}.{:06} {}", date_and_time(civil, ' '), civil.microsecond, zone.name);
}

std::string to_compact_utc(Time time) {
  const Civil civil = to_civil(time);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", civil.year, civil.month, civil.day,
                     civil.hour, civil.minute, civil.second);
}

namespace {

// The rest of a time, behind its date or a word for it. `text`: all of it, for messages.
Time read_behind_date(std::string_view text, Scanner& scan, Civil& civil) {
  if (!scan_time_of_day(scan, civil, false)) throw_malformed_time(text);
  scan.take(' ');
  if (scan.at_end()) {
    if (text.back() == ' ') throw_malformed_time(text);
    return resolve_local(text, civil, {});
  }
  if (scan.at_letter()) {
    const std::string_view zone = scan.letters();
    if (!scan.at_end()) throw_malformed_time(text);
    const std::string name = lower(zone);
    if (name == "z" || name == "utc") return make_time(seconds_of(civil), civil.microsecond);
    // What to_local() prints is read back: the name of the local zone.
    return resolve_local(text, civil, zone);
  }
  const std::optional<int64_t> offset = scan_offset(scan, true);
  if (!offset || !scan.at_end()) throw_malformed_time(text);
  return make_time(seconds_of(civil) - *offset, civil.microsecond);
}

// This process's zone is another one as long as this lives. For one thread alone.
class InZone {
 public:
  explicit InZone(const std::string& name) {
    if (const char* before = getenv("TZ")) before_ = before;
    setenv("TZ", name.c_str(), 1);
    tzset();
  }
  ~InZone() {
    if (before_)
      setenv("TZ", before_->c_str(), 1);
    else
      unsetenv("TZ");
    tzset();
  }
  InZone(const InZone&) = delete;
  InZone& operator=(const InZone&) = delete;

 private:
  std::optional<std::string> before_;
};

// "Europe/Berlin", which this host must know: the C library takes an unknown one for UTC.
void require_zone(std::string_view text, const std::string& name) {
  const bool is_name = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '+' || c == '-' || c == '/';
  });
  const char* directory = getenv("TZDIR");
  const std::string file =
      fmt::format("{}/{}", directory != nullptr ? directory : "/usr/share/zoneinfo", name);
  if (!is_name || name.starts_with('/') || !std::filesystem::is_regular_file(file))
    throw_invalid_time(text, fmt::format("This host knows no time zone \"{}\".", name),
                       "Write the zone as its place is written in /usr/share/zoneinfo, for example "
                       "Europe/Berlin, or as an offset from UTC, for example +00 or +01:00.");
}

// What parse_moment() reads, in this process's zone. `text`: all that was typed.
Time read_moment(std::string_view text, std::string_view words, Time now) {
  const std::string lowered = lower(words);
  if (lowered == "now") return now;
  constexpr std::string_view kAgo = " ago";
  if (lowered.ends_with(kAgo)) {
    const Microseconds ago =
        parse_duration(std::string_view(lowered).substr(0, lowered.size() - kAgo.size()));
    if (now < Time::min() + ago) throw_malformed_time(text);
    return now - ago;
  }
  Scanner scan(words);
  const std::string day = lower(scan.letters());
  const bool is_clock_alone = day.empty() && words.size() > 2 && words[2] == ':';
  if (day != "today" && day != "yesterday" && !is_clock_alone) {
    if (words.size() < text.size()) {  // a zone's name stood behind it
      Civil civil;
      if (!scan_date(scan, civil)) throw_malformed_time(text);
      if (scan.at_end()) return resolve_local(text, civil, {});
      if (!scan.take_any("Tt ") || !scan_time_of_day(scan, civil, false) || !scan.at_end())
        throw_malformed_time(text);
      return resolve_local(text, civil, {});
    }
    return parse_time(text);
  }
  // Noon is on the same date whatever the clocks do, so a day back from it is yesterday.
  const int64_t seconds = floor<Seconds>(now.time_since_epoch()).count();
  Civil civil = to_civil(now, local_zone(seconds).offset);
  civil.hour = 12;
  civil.minute = civil.second = 0;
  civil.microsecond = 0;
  if (day == "yesterday") civil = to_civil(make_time(seconds_of(civil) - kSecondsPerDay, 0));
  civil.hour = 0;
  if (scan.at_end()) return resolve_local(text, civil, {});
  if (!is_clock_alone && !scan.take(' ')) throw_malformed_time(text);
  return read_behind_date(text, scan, civil);
}

}  // namespace

Time parse_time(std::string_view text) {
  Scanner scan(text);
  Civil civil;
  if (!scan_date(scan, civil)) throw_malformed_time(text);
  if (scan.at_end()) return resolve_local(text, civil, {});
  if (!scan.take_any("Tt ")) throw_malformed_time(text);
  return read_behind_date(text, scan, civil);
}

Time parse_moment(std::string_view text, Time now) {
  const size_t blank = text.rfind(' ');
  const std::string_view last = blank == std::string_view::npos ? "" : text.substr(blank + 1);
  if (last.find('/') == std::string_view::npos) return read_moment(text, text, now);
  const std::string zone(last);
  require_zone(text, zone);
  const InZone there(zone);
  return read_moment(text, text.substr(0, blank), now);
}

Time from_postgres_microseconds(int64_t value) {
  // -infinity and infinity are the ends of the range, and stay there.
  const int64_t epoch = kPostgresEpoch.time_since_epoch().count();
  int64_t sum;
  if (__builtin_add_overflow(value, epoch, &sum)) return Time::max();
  return Time{Microseconds{sum}};
}

std::string to_human(Microseconds duration) {
  // The magnitude is taken without a sign, because the most negative number has no positive.
  const int64_t count = duration.count();
  const uint64_t micros =
      count < 0 ? 0 - static_cast<uint64_t>(count) : static_cast<uint64_t>(count);
  const char* sign = count < 0 ? "-" : "";
  // Two units at most; a second one of zero is left out.
  const auto two = [&](uint64_t big, const char* big_name, uint64_t small, const char* small_name) {
    std::string text = fmt::format("{}{} {}", sign, micros / big, big_name);
    if (const uint64_t rest = micros % big / small; rest != 0)
      text += fmt::format(" {} {}", rest, small_name);
    return text;
  };
  constexpr uint64_t kSecond = kMicrosPerSecond;
  if (micros == 0) return "0 ms";
  if (micros < 1000) return fmt::format("{}{} us", sign, micros);
  if (micros < kSecond) return fmt::format("{}{} ms", sign, micros / 1000);
  if (micros < 10 * kSecond && micros % kSecond >= kSecond / 10)
    return fmt::format("{}{}.{} s", sign, micros / kSecond, micros % kSecond / (kSecond / 10));
  if (micros < kMinute) return fmt::format("{}{} s", sign, micros / kSecond);
  if (micros < kHour) return two(kMinute, "min", kSecond, "s");
  if (micros < kDay) return two(kHour, "h", kMinute, "min");
  return two(kDay, "d", kHour, "h");
}

Microseconds parse_duration(std::string_view text) {
  constexpr auto kHighest = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  if (text == "0") return Microseconds{0};  // of any unit
  uint64_t total = 0;
  uint64_t previous_unit = std::numeric_limits<uint64_t>::max();
  Scanner scan(text);
  do {
    const std::optional<Decimal> value = scan_decimal(scan);
    scan.skip_blanks();
    const Unit* unit = find_unit(kDurationUnits, lower(scan.letters()));
    if (!value || unit == nullptr)
      throw_invalid_duration(text, "A duration is a number followed by a unit.");
    if (unit->size >= previous_unit)
      throw_invalid_duration(text, "The units of a duration go from the largest to the smallest.");
    previous_unit = unit->size;
    const std::optional<uint64_t> micros = multiply(*value, unit->size, kHighest - total);
    if (!micros) throw_invalid_duration(text, "It is longer than 292,000 years.");
    total += *micros;
    scan.skip_blanks();
  } while (!scan.at_end());
  return Microseconds{static_cast<int64_t>(total)};
}

std::string to_human_bytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kNames = {"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
  if (bytes < kKi) return fmt::format("{} B", bytes);
  for (size_t power = 1;; ++power) {
    const Wide unit = Wide{1} << (10 * power);
    // Rounded to what is shown before the unit is chosen, so that 1023.9 KiB is 1.0 MiB.
    const auto tenths = static_cast<uint64_t>((Wide{bytes} * 10 + unit / 2) / unit);
    if (tenths < 100) return fmt::format("{}.{} {}", tenths / 10, tenths % 10, kNames[power]);
    const auto whole = static_cast<uint64_t>((Wide{bytes} + unit / 2) / unit);
    if (whole < kKi || power + 1 == kNames.size())
      return fmt::format("{} {}", whole, kNames[power]);
  }
}

uint64_t parse_bytes(std::string_view text) {
  Scanner scan(text);
  const std::optional<Decimal> value = scan_decimal(scan);
  if (value) scan.skip_blanks();
  const Unit* unit = find_unit(kByteUnits, lower(scan.letters()));
  std::optional<uint64_t> bytes;
  if (value && unit != nullptr && scan.at_end())
    bytes = multiply(*value, unit->size, std::numeric_limits<uint64_t>::max());
  if (!bytes)
    throw Error({.code = ErrorCode::kInvalidText,
                 .message = fmt::format("invalid size \"{}\"", text),
                 .detail = "A size is a number, with a unit of bytes or without, below 16 EiB.",
                 .hint = "Write it like 64MiB, 10k or 1.5 GiB; units are powers of 1024."});
  return *bytes;
}

}  // namespace holdfast
