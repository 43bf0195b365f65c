// The settings of a recovery, in an order that every server takes.
//
// The server assigns settings in the order of the file and refuses one kind of target while another
// is set, also when the second is the empty text (guc.c, assign_recovery_target_*, PostgreSQL 13 to
// 18). So the kinds that are not used come first, empty, and the one that is used comes behind
// them.
#include <fmt/core.h>

#include "base/error.h"
#include "pg/transaction_id.h"
#include "recovery/plan.h"

namespace holdfast::recovery {
namespace {

using Setting = std::pair<std::string, std::string>;

Setting target_setting(const Target& target) {
  switch (target.kind) {
    case TargetKind::kTime:
      return {"recovery_target_time", to_postgres(target.time)};
    case TargetKind::kLsn:
      return {"recovery_target_lsn", pg::to_string(target.lsn)};
    case TargetKind::kXid:
      return {"recovery_target_xid", std::to_string(pg::short_transaction_id(target.xid))};
    case TargetKind::kName:
      return {"recovery_target_name", target.name};
    case TargetKind::kImmediate:
      return {"recovery_target", "immediate"};
    case TargetKind::kLatest:
      return {};
  }
  HF_CHECK(false);
}

}  // namespace

std::string target_segment(const Plan& plan) {
  if (plan.target.kind == TargetKind::kLatest) return {};
  const pg::WalSegmentSize size(plan.backup.wal_segment_bytes);
  if (plan.tail) return pg::segment_file_name(plan.tail->segment, size);
  if (plan.ranges.empty()) return {};
  const WalRange& last = plan.ranges.back();
  return pg::segment_file_name({.timeline = last.timeline, .segment_number = last.last}, size);
}

std::string restore_command_until(const std::string& restore_command, const std::string& segment) {
  return segment.empty() ? restore_command : restore_command + " --until " + segment;
}

std::vector<Setting> recovery_settings(const Plan& plan, const std::string& restore_command,
                                       TargetAction action) {
  HF_CHECK(!restore_command.empty());
  Target target = plan.target;
  if (target.kind == TargetKind::kLatest && action != TargetAction::kPromote && plan.last_record) {
    target.kind = TargetKind::kLsn;
    target.lsn = *plan.last_record;
  }
  const Setting used = target_setting(target);
  std::vector<Setting> settings{{"restore_command", restore_command}};
  for (const char* name : {"recovery_target", "recovery_target_time", "recovery_target_xid",
                           "recovery_target_lsn", "recovery_target_name"}) {
    if (name != used.first) settings.emplace_back(name, "");
  }
  if (!used.first.empty()) settings.push_back(used);
  settings.emplace_back("recovery_target_inclusive", target.exclusive ? "off" : "on");
  settings.emplace_back("recovery_target_timeline", pg::to_string(plan.timeline));
  settings.emplace_back("recovery_target_action", to_string(action));
  return settings;
}

}  // namespace holdfast::recovery
