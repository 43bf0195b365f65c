#include "recovery/target.h"

#include <fmt/core.h>

#include "base/error.h"

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
