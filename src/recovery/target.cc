#include "recovery/target.h"

#include <fmt/core.h>

#include "base/error.h"
#include "base/process.h"

namespace holdfast::recovery {

std::string to_string(const Target& target) {
  switch (target.kind) {
    case TargetKind::kLatest:
      return "the end of the archived WAL";
    case TargetKind::kTime:
      return fmt::format("the last commit {} {}", target.exclusive ? "before" : "at or before",
                         to_local(target.time));
    case TargetKind::kLsn:
      return fmt::format("{}WAL location {}", target.exclusive ? "just before " : "",
                         pg::to_string(target.lsn));
    case TargetKind::kXid:
      return fmt::format("{}the end of transaction {}", target.exclusive ? "just before " : "",
                         target.xid);
    case TargetKind::kName:
      return fmt::format("restore point \"{}\"", target.name);
    case TargetKind::kImmediate:
      return "the end of the backup";
  }
  HF_CHECK(false);
}

std::string to_options(const Target& target) {
  std::string options;
  switch (target.kind) {
    case TargetKind::kLatest:
      options = "--to-latest";
      break;
    case TargetKind::kTime:
      options = "--to " + shell_quote(to_postgres(target.time));
      break;
    case TargetKind::kLsn:
      options = "--to-lsn " + pg::to_string(target.lsn);
      break;
    case TargetKind::kXid:
      options = fmt::format("--to-xid {}", target.xid);
      break;
    case TargetKind::kName:
      options = "--to-name " + shell_quote(target.name);
      break;
    case TargetKind::kImmediate:
      options = "--to-immediate";
      break;
  }
  if (target.exclusive) options += " --exclusive";
  if (target.timeline) options += " --timeline " + pg::to_string(*target.timeline);
  if (!target.backup.empty()) options += " --backup " + shell_quote(target.backup);
  return options;
}

std::string command_for(const Target& target) { return target.command + " " + to_options(target); }

std::string to_string(TargetAction action) {
  switch (action) {
    case TargetAction::kPromote:
      return "promote";
    case TargetAction::kPause:
      return "pause";
    case TargetAction::kShutdown:
      return "shutdown";
  }
  HF_CHECK(false);
}

}  // namespace holdfast::recovery
