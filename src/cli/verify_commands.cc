#include "cli/verify_commands.h"

#include <cstdio>

#include "base/error.h"
#include "verify/verify.h"
#include "view/verify.h"

namespace holdfast::cli {

int run_verify(const Call& call) {
  const OpenRepository opened(call);
  const verify::VerifyResult result =
      verify::verify({.cluster = call.settings.cluster(),
                      .deep = call.arguments.deep,
                      .jobs = call.settings.integer("jobs"),
                      .bytes_per_second = call.settings.bytes("rate"),
                      .backups = call.arguments.words},
                     opened.repository, call.reporter, call.stop);
  const std::string text =
      call.arguments.json ? view::json(result).dump() + "\n" : view::text(result);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return result.damaged() ? exit_status(ErrorCode::kCorrupt) : 0;
}

}  // namespace holdfast::cli
