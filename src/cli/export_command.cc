#include "cli/export_command.h"

#include <cstdio>
#include <unistd.h>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "restore/export.h"
#include "view/export.h"

namespace holdfast::cli {

int run_backup_export(const Call& call) {
  const Arguments& arguments = call.arguments;
  const bool to_stdout = arguments.tar == "-";
  if (to_stdout && isatty(STDOUT_FILENO) == 1) {
    throw Error({.code = ErrorCode::kUsage,
                 .message = "a tar is not written to a terminal",
                 .detail = "",
                 .hint = "Lead stdout into a file or a program, or name a directory: --tar DIR."});
  }
  const OpenRepository opened(call);
  restore::ExportOptions options{.backup = arguments.words.front(),
                                 .directory = to_stdout ? "" : absolute_path(arguments.tar),
                                 .with_wal = arguments.wal != "off"};
  const Fd out(to_stdout ? dup(STDOUT_FILENO) : -1);
  if (to_stdout) options.out = [&](ByteView bytes) { write_all(out, bytes, "stdout"); };
  const restore::ExportResult result =
      restore::export_backup(options, opened.repository,
                             repo::choose_lineage(opened.repository, opened.cluster,
                                                  lineage_choice(call, arguments.words.front())),
                             call.clock, call.reporter, call.stop);
  const std::string text = arguments.json ? view::json(result).dump() + "\n"
                                          : unless_quiet(call, true, view::text(result));
  // Where the tar goes nothing else may.
  call.reporter.clear();
  std::fwrite(text.data(), 1, text.size(), to_stdout ? stderr : stdout);
  return 0;
}

}  // namespace holdfast::cli
