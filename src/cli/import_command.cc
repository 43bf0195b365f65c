#include "cli/import_command.h"

#include <unistd.h>

#include "archive/wal_take.h"
#include "backup/import.h"
#include "base/error.h"
#include "base/file.h"
#include "view/import.h"

namespace holdfast::cli {

int run_backup_import(const Call& call) {
  const Arguments& arguments = call.arguments;
  const bool from_stdin = arguments.tar == "-";
  if (from_stdin && isatty(STDIN_FILENO) == 1) {
    throw Error({.code = ErrorCode::kUsage,
                 .message = "a tar is not read from a terminal",
                 .detail = "",
                 .hint = "Lead a file or a program into stdin, or name a directory: --tar DIR."});
  }
  const OpenRepository opened(call);
  opened.lineages();  // a name that the repository does not know is refused by that
  const auto archive_wal = [&](const std::string& directory, pg::Lsn from) {
    return archive::take_wal({.directory = directory,
                              .cluster = call.settings.cluster(),
                              .from = from,
                              .compression = call.settings.compression()},
                             opened.repository, call.reporter, call.stop, call.clock)
        .archived;
  };
  const backup::ImportResult result =
      backup::import_backup({.cluster = call.settings.cluster(),
                             .tar = from_stdin ? "" : absolute_path(arguments.tar),
                             .pgdata = call.settings.text("cluster.pgdata"),
                             .jobs = call.settings.integer("jobs"),
                             .compression = call.settings.compression(),
                             .tool_version = HOLDFAST_VERSION,
                             .archive_wal = archive_wal},
                            opened.repository, call.reporter, call.stop, call.clock);
  print(call, view::json(result), unless_quiet(call, !result.backup.damaged, view::text(result)));
  return result.backup.damaged ? exit_status(ErrorCode::kCorrupt) : 0;
}

}  // namespace holdfast::cli
