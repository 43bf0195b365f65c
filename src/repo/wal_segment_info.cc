#include "repo/wal_segment_info.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "codec/digest.h"
#include "pg/version.h"
#include "repo/fields.h"

namespace holdfast::repo {
namespace {

// --- metadata as JSON (fields.h); what is not known is null

Json lsn_json(pg::Lsn lsn) { return lsn.is_valid() ? to_json(lsn) : Json(); }

pg::Lsn lsn_or_none(const Json& object, std::string_view key) {
  return object.at(key).is_null() ? pg::Lsn{} : lsn_member(object, key);
}

pg::TimelineId timeline_member(const Json& object, std::string_view key) {
  return {number_member<uint32_t>(object, key)};
}

Json commits_json(const WalCommits& commits) {
  Json json = Json::object();
  json.set("count", commits.count);
  if (commits.count == 0) return json;
  json.set("first_time", to_json(commits.first_time))
      .set("last_time", to_json(commits.last_time))
      .set("lowest_time", to_json(commits.lowest_time))
      .set("highest_time", to_json(commits.highest_time))
      .set("lowest_xid", commits.lowest_xid)
      .set("highest_xid", commits.highest_xid)
      .set("last_lsn", lsn_json(commits.last_lsn));
  return json;
}

WalCommits commits_from(const Json& json) {
  WalCommits commits;
  commits.count = json.at("count").as_u64();
  if (commits.count == 0) return commits;
  commits.first_time = time_member(json, "first_time");
  commits.last_time = time_member(json, "last_time");
  commits.lowest_time = time_member(json, "lowest_time");
  commits.highest_time = time_member(json, "highest_time");
  commits.lowest_xid = number_member<uint32_t>(json, "lowest_xid");
  commits.highest_xid = number_member<uint32_t>(json, "highest_xid");
  commits.last_lsn = lsn_or_none(json, "last_lsn");
  return commits;
}

Bytes shared_bytes_member(const Json& object, std::string_view key) {
  std::optional<Bytes> bytes = parse_hex(object.at(key).as_string());
  if (!bytes || bytes->size() > pg::kMaxSharedBytes)
    throw_member(key,
                 fmt::format("It is not at most {} bytes in hexadecimal.", pg::kMaxSharedBytes));
  return *std::move(bytes);
}

constexpr std::pair<pg::Removal::What, const char*> kRemovals[] = {
    {pg::Removal::What::kMark, "mark"},
    {pg::Removal::What::kDatabase, "database"},
    {pg::Removal::What::kTablespace, "tablespace"}};

const char* name_of(pg::Removal::What what) {
  for (const auto& [kind, name] : kRemovals)
    if (kind == what) return name;
  HF_CHECK(false);
}

Json removals_json(const std::vector<WalRemoval>& removals) {
  Json json = Json::array();
  for (const WalRemoval& removal : removals)
    json.push(Json::object()
                  .set("what", name_of(removal.what))
                  .set("oid", removal.oid)
                  .set("name", removal.name)
                  .set("xid", removal.xid)
                  .set("lsn", lsn_json(removal.lsn))
                  .set("ended", removal.ended));
  return json;
}

std::vector<WalRemoval> removals_from(const Json& json) {
  std::vector<WalRemoval> removals;
  for (const Json& one : json.items()) {
    const std::string& what = one.at("what").as_string();
    const auto* const known =
        std::ranges::find_if(kRemovals, [&](const auto& kind) { return what == kind.second; });
    if (known == std::end(kRemovals)) throw_member("what", fmt::format("It is \"{}\".", what));
    removals.push_back({.what = known->first,
                        .oid = number_member<uint32_t>(one, "oid"),
                        .name = one.at("name").as_string(),
                        .xid = number_member<uint32_t>(one, "xid"),
                        .lsn = lsn_or_none(one, "lsn"),
                        .ended = one.at("ended").as_bool()});
  }
  return removals;
}

// --- what the records of a segment say

void add(WalCommits& commits, const pg::TransactionEnd& end) {
  if (commits.count++ == 0) {
    commits.first_time = commits.lowest_time = commits.highest_time = end.time;
    commits.lowest_xid = commits.highest_xid = end.xid;
  }
  commits.last_time = end.time;
  commits.lowest_time = std::min(commits.lowest_time, end.time);
  commits.highest_time = std::max(commits.highest_time, end.time);
  commits.lowest_xid = std::min(commits.lowest_xid, end.xid);
  commits.highest_xid = std::max(commits.highest_xid, end.xid);
  commits.last_lsn = end.lsn;
}

void add(std::optional<ParameterFloors>& floors, const pg::ParameterChange& change) {
  if (!floors) floors.emplace();
  raise(*floors, floors_of(change));
}

void note_minimal(WalSegmentInfo& info, const pg::ParameterChange& change) {
  if (change.wal_level != pg::WalLevel::kMinimal) return;
  info.minimal_from =
      info.minimal_from.is_valid() ? std::min(info.minimal_from, change.lsn) : change.lsn;
}

void add(WalSegmentInfo& info, const pg::WalEvent& event) {
  if (const auto* end = std::get_if<pg::TransactionEnd>(&event)) add(info.commits, *end);
  if (const auto* change = std::get_if<pg::ParameterChange>(&event)) {
    add(info.parameter_floors, *change);
    note_minimal(info, *change);
  }
  if (const auto* point = std::get_if<pg::RestorePoint>(&event))
    info.restore_points.push_back({.name = point->name, .lsn = point->lsn, .time = point->time});
  if (const auto* create = std::get_if<pg::TablespaceCreate>(&event))
    info.creates_tablespaces.push_back(
        {.oid = create->oid, .path = create->path, .lsn = create->lsn});
}

}  // namespace

std::vector<WalRemoval> removals_of(std::span<const pg::WalEvent> events) {
  std::vector<WalRemoval> removals;
  for (const pg::WalEvent& event : events) {
    if (const auto* removal = std::get_if<pg::Removal>(&event))
      removals.push_back({.what = removal->what,
                          .oid = removal->oid,
                          .name = removal->name,
                          .xid = removal->xid,
                          .lsn = removal->lsn});
    if (const auto* end = std::get_if<pg::TransactionEnd>(&event))
      for (WalRemoval& removal : removals) removal.ended |= removal.xid == end->xid;
  }
  return removals;
}

Bytes32 wal_content_sha256(ByteView content) { return codec::sha256(content); }

Bytes16 partial_digest(const Bytes32& sha256) {
  Bytes16 digest;
  std::copy_n(sha256.bytes.begin(), digest.bytes.size(), digest.bytes.begin());
  return digest;
}

namespace {
void take_unread_for_whole(WalSegmentInfo& info) {
  if (is_unread(info)) info.readable_end = info.start_lsn + info.bytes;
}
}  // namespace

Json to_json(const WalSegmentInfo& info) {
  Json restore_points = Json::array();
  for (const WalRestorePoint& point : info.restore_points)
    restore_points.push(Json::object()
                            .set("name", point.name)
                            .set("lsn", lsn_json(point.lsn))
                            .set("time", to_json(point.time)));
  Json tablespaces = Json::array();
  for (const WalTablespace& tablespace : info.creates_tablespaces)
    tablespaces.push(Json::object()
                         .set("oid", tablespace.oid)
                         .set("path", tablespace.path)
                         .set("lsn", lsn_json(tablespace.lsn)));
  Json json = Json::object();
  json.set("segment", info.file_name)
      .set("timeline", info.timeline.value)
      .set("offset", 0)
      .set("bytes", info.bytes)
      .set("complete", info.complete)
      .set("sha256", to_hex(info.sha256.view()))
      .set("system_identifier", std::to_string(info.system_identifier))
      .set("wal_magic", uint32_t{info.wal_magic})
      .set("segment_bytes", info.segment_bytes)
      .set("host", info.host)
      .set("pgdata", info.pgdata)
      .set("pushed", to_json(info.pushed))
      .set("start_lsn", lsn_json(info.start_lsn))
      .set("first_record", lsn_json(info.first_record))
      .set("last_record", lsn_json(info.last_record))
      .set("last_record_end", lsn_json(info.last_record_end))
      .set("previous_record", lsn_json(info.previous_record))
      .set("carried_in", info.carried_in)
      .set("carried_out", info.carried_out)
      .set("carries_moment", info.carries_moment)
      .set("carried_in_bytes", to_hex(info.carried_in_bytes))
      .set("carried_out_bytes", to_hex(info.carried_out_bytes))
      .set("starts_with_overwrite", info.starts_with_overwrite)
      .set("ends_with_switch", info.ends_with_switch)
      // A program that knows its major must not take it for one without commits.
      .set("readable_end", lsn_json(is_unread(info) ? info.start_lsn : info.readable_end))
      .set("highest_page_timeline", info.highest_page_timeline.value)
      .set("commits", commits_json(info.commits))
      .set("restore_points", std::move(restore_points))
      .set("creates_tablespaces", std::move(tablespaces))
      .set("parameter_floors", info.parameter_floors ? to_json(*info.parameter_floors) : Json())
      .set("minimal_from", lsn_json(info.minimal_from))
      .set("removals", removals_json(info.removals));
  return json;
}

WalSegmentInfo wal_segment_info_from_json(const Json& json) {
  WalSegmentInfo info;
  info.file_name = json.at("segment").as_string();
  info.timeline = timeline_member(json, "timeline");
  info.bytes = json.at("bytes").as_u64();
  info.complete = json.at("complete").as_bool();
  info.sha256 = hex_member<32>(json, "sha256");
  info.system_identifier = text_number_member(json, "system_identifier");
  info.wal_magic = number_member<uint16_t>(json, "wal_magic");
  info.segment_bytes = number_member<uint32_t>(json, "segment_bytes");
  info.host = json.at("host").as_string();
  info.pgdata = json.at("pgdata").as_string();
  info.pushed = time_member(json, "pushed");
  info.start_lsn = lsn_or_none(json, "start_lsn");
  info.first_record = lsn_or_none(json, "first_record");
  info.last_record = lsn_or_none(json, "last_record");
  info.last_record_end = lsn_or_none(json, "last_record_end");
  info.previous_record = lsn_or_none(json, "previous_record");
  info.carried_in = number_member<uint32_t>(json, "carried_in");
  info.carried_out = number_member<uint32_t>(json, "carried_out");
  // Not known of what the first program archived.
  const Json* carries_moment = json.find("carries_moment");
  info.carries_moment =
      carries_moment != nullptr ? carries_moment->as_bool() : info.carried_out > 0;
  if (carries_moment != nullptr) {
    info.carried_in_bytes = shared_bytes_member(json, "carried_in_bytes");
    info.carried_out_bytes = shared_bytes_member(json, "carried_out_bytes");
  }
  info.starts_with_overwrite = json.at("starts_with_overwrite").as_bool();
  info.ends_with_switch = json.at("ends_with_switch").as_bool();
  info.readable_end = lsn_or_none(json, "readable_end");
  info.highest_page_timeline = timeline_member(json, "highest_page_timeline");
  info.commits = commits_from(json.at("commits"));
  for (const Json& point : json.at("restore_points").items())
    info.restore_points.push_back({.name = point.at("name").as_string(),
                                   .lsn = lsn_or_none(point, "lsn"),
                                   .time = time_member(point, "time")});
  for (const Json& tablespace : json.at("creates_tablespaces").items())
    info.creates_tablespaces.push_back({.oid = number_member<uint32_t>(tablespace, "oid"),
                                        .path = tablespace.at("path").as_string(),
                                        .lsn = lsn_or_none(tablespace, "lsn")});
  if (const Json& floors = json.at("parameter_floors"); !floors.is_null())
    info.parameter_floors = floors_from_json(floors);
  if (json.find("minimal_from") != nullptr)
    info.minimal_from = lsn_or_none(json, "minimal_from");
  else
    info.knows_minimal = !info.parameter_floors;  // no record of parameters, none that sets it
  const Json* removals = json.find("removals");
  info.knows_removals = removals != nullptr;
  if (info.knows_removals) info.removals = removals_from(*removals);
  take_unread_for_whole(info);
  return info;
}

bool is_unread(const WalSegmentInfo& info) { return pg::is_newer_wal_magic(info.wal_magic); }

bool reaches_its_end(const WalSegmentInfo& info) {
  return info.readable_end == info.start_lsn + info.segment_bytes;
}

bool is_foreign(const WalSegmentInfo& info, pg::Lsn began) {
  return began.is_valid() && info.start_lsn >= began && info.highest_page_timeline < info.timeline;
}

bool leads_into(const WalSegmentInfo& first, const WalSegmentInfo& second) {
  if (!joins(first, second)) return false;
  return reaches_its_end(first) ||
         (second.starts_with_overwrite && second.previous_record.is_valid() &&
          second.previous_record < first.readable_end);
}

bool joins(const WalSegmentInfo& first, const WalSegmentInfo& second) {
  // Where a crash lost the rest of a record, the server wrote on without it.
  if (second.starts_with_overwrite) return true;
  // Of one that cannot be read to its end the last record is not known, but it is behind those that
  // were read.
  if (!reaches_its_end(first))
    return !second.previous_record.is_valid() || second.previous_record >= first.readable_end;
  if (first.carried_out != second.carried_in) return false;
  return !first.last_record.is_valid() || !second.previous_record.is_valid() ||
         first.last_record == second.previous_record;
}

void count_earlier(WalSegmentInfo& info, const pg::WalEvent& moment) {
  WalSegmentInfo earlier;
  add(earlier, moment);
  earlier.removals = removals_of({&moment, 1});
  if (const WalCommits& one = earlier.commits; one.count > 0) {
    WalCommits& all = info.commits;
    if (all.count == 0) {
      all = one;
    } else {
      ++all.count;
      all.first_time = one.first_time;
      all.lowest_time = std::min(all.lowest_time, one.lowest_time);
      all.highest_time = std::max(all.highest_time, one.highest_time);
      all.lowest_xid = std::min(all.lowest_xid, one.lowest_xid);
      all.highest_xid = std::max(all.highest_xid, one.highest_xid);
    }
  }
  std::ranges::copy(info.restore_points, std::back_inserter(earlier.restore_points));
  info.restore_points = std::move(earlier.restore_points);
  std::ranges::copy(info.creates_tablespaces, std::back_inserter(earlier.creates_tablespaces));
  info.creates_tablespaces = std::move(earlier.creates_tablespaces);
  if (const auto* change = std::get_if<pg::ParameterChange>(&moment)) {
    add(info.parameter_floors, *change);
    note_minimal(info, *change);
  }
  std::ranges::move(info.removals, std::back_inserter(earlier.removals));
  info.removals = std::move(earlier.removals);
}

void learn_minimal(WalSegmentInfo& info, std::span<const pg::WalEvent> events) {
  for (const pg::WalEvent& event : events)
    if (const auto* change = std::get_if<pg::ParameterChange>(&event);
        change != nullptr && change->lsn >= info.start_lsn)
      note_minimal(info, *change);
  info.knows_minimal = true;
}

bool count_moment_between(const WalSegmentInfo& first, WalSegmentInfo& second, int major) {
  if (!first.carries_moment || second.carried_in == 0 || second.starts_with_overwrite) return true;
  if (first.carried_out_bytes.empty() || second.carried_in_bytes.size() != second.carried_in)
    return false;
  Bytes record = first.carried_out_bytes;
  record.insert(record.end(), second.carried_in_bytes.begin(), second.carried_in_bytes.end());
  if (std::optional<pg::WalEvent> moment = pg::decode_shared_record(
          record, first.last_record, second.start_lsn, second.carried_in, major))
    count_earlier(second, *moment);
  return true;
}

WalSegmentInfo describe_segment(const pg::WalSegmentScan& scan, const Bytes32& sha256,
                                uint64_t bytes, const pg::WalFileName& file,
                                const WalOrigin& origin) {
  WalSegmentInfo info;
  const pg::WalSegmentSummary& summary = scan.summary;
  info.sha256 = sha256;
  info.file_name = file.kind == pg::WalFileKind::kPartial
                       ? pg::partial_file_name(file.segment, summary.segment_size)
                       : pg::segment_file_name(file.segment, summary.segment_size);
  info.timeline = file.segment.timeline;
  info.bytes = bytes;
  info.complete = file.kind == pg::WalFileKind::kSegment;
  info.system_identifier = summary.system_identifier;
  info.wal_magic = summary.page_magic;
  info.segment_bytes = summary.segment_size.bytes();
  info.host = origin.host;
  info.pgdata = origin.pgdata;
  info.pushed = origin.pushed;
  info.start_lsn = pg::start_lsn(file.segment.segment_number, summary.segment_size);
  info.first_record = summary.first_record_lsn.value_or(pg::Lsn{});
  info.last_record = summary.last_record_lsn.value_or(pg::Lsn{});
  info.last_record_end = summary.last_complete_record_end_lsn.value_or(pg::Lsn{});
  info.previous_record = summary.first_record_previous_lsn.value_or(pg::Lsn{});
  info.carried_in = summary.remaining_length_at_start;
  info.carried_out = summary.remaining_length_at_end;
  if (info.carried_out > 0) {
    const ByteView front = summary.shared_with_next;
    // Of a record that fills whole segments, or whose header is cut, the kind is not known here.
    const bool known = front.size() >= pg::kWalRecordHeaderBytes;
    info.carries_moment = !known || pg::may_be_wal_event(pg::read_wal_record_header(front));
    if (info.carries_moment && !front.empty() &&
        load_le<uint32_t>(front.data()) == front.size() + info.carried_out)
      info.carried_out_bytes.assign(front.begin(), front.end());
  }
  info.carried_in_bytes = summary.shared_with_previous;
  info.starts_with_overwrite = summary.overwrites_record;
  info.ends_with_switch = summary.stop == pg::WalStop::kSwitch;
  info.readable_end =
      summary.stop == pg::WalStop::kSegmentEnd || summary.stop == pg::WalStop::kSwitch
          ? pg::end_lsn(file.segment.segment_number, summary.segment_size)
          : summary.stop_lsn;
  info.highest_page_timeline = summary.last_page_timeline;
  for (const pg::WalEvent& event : scan.events) add(info, event);
  info.removals = removals_of(scan.events);
  take_unread_for_whole(info);
  return info;
}

}  // namespace holdfast::repo
