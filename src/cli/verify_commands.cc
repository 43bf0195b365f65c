#include "cli/verify_commands.h"

#include "base/error.h"
#include "verify/verify.h"
#include "view/verify.h"

namespace holdfast::cli {

int run_verify(const Call& call) {
  const OpenRepository opened(call);
  const verify::VerifyResult result =
      verify::verify({.cluster = call.settings.cluster(),
                      .deep = call.arguments.deep,
                      .within = call.settings.duration("verify.within"),
                      .jobs = call.settings.integer("jobs"),
                      .bytes_per_second = call.settings.bytes("rate"),
                      .backups = call.arguments.words,
                      .lineage = lineage_choice(call)},
                     opened.repository, call.reporter, call.stop);
  const bool is_well = !result.damaged() && !result.misses_wal() && result.not_kept.empty();
  print(call, view::json(result), unless_quiet(call, is_well, view::text(result)));
  if (result.damaged()) return exit_status(ErrorCode::kCorrupt);
  return result.misses_wal() ? exit_status(ErrorCode::kTargetUnreachable) : 0;
}

restore::ReadBackup backup_reader(const Call& call, const OpenRepository& opened) {
  return [&call, &opened](const repo::Backup& backup) -> std::string {
    const verify::VerifyResult result =
        verify::verify({.cluster = call.settings.cluster(),
                        .jobs = call.settings.integer("jobs"),
                        .bytes_per_second = call.settings.bytes("rate"),
                        .backups = {backup.id}},
                       opened.repository, call.reporter, call.stop);
    for (const verify::LineageResult& lineage : result.lineages)
      for (const verify::BackupVerdict& verdict : lineage.backups)
        if (verdict.id == backup.id && verdict.verdict >= verify::Verdict::kDamaged)
          return verdict.reason;
    return "";
  };
}

}  // namespace holdfast::cli
