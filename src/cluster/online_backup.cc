#include "cluster/online_backup.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace holdfast::cluster {
namespace {

constexpr size_t kMaxLabelBytes = 1024;  // MAXPGPATH, xlog.c
constexpr int kRenamedCallsMajor = 15;

void check_label(const std::string& label) {
  bool has_line_break = label.find_first_of("\r\n") != std::string::npos;
  if (label.size() <= kMaxLabelBytes && !has_line_break) return;
  throw Error({.code = ErrorCode::kUsage,
               .message = "the backup's label cannot be used",
               .detail = has_line_break ? std::string("It contains a line break.")
                                        : fmt::format("It has {} bytes; the server takes {}.",
                                                      label.size(), kMaxLabelBytes),
               .hint = "Choose a short label of one line."});
}

}  // namespace

OnlineBackup::OnlineBackup(Connection connection, const StartOptions& options)
    : connection_(std::move(connection)) {
  check_label(options.label);
  from_standby_ = connection_.query_value("SELECT pg_is_in_recovery()") == "t";
  // The third argument of 13 and 14 is "exclusive", and true unless said otherwise.
  const char* sql = connection_.server_major() >= kRenamedCallsMajor
                        ? "SELECT pg_backup_start($1, $2::boolean), pg_backend_pid()"
                        : "SELECT pg_start_backup($1, $2::boolean, false), pg_backend_pid()";
  const std::array<Value, 2> parameters = {options.label,
                                           options.fast_checkpoint ? "true" : "false"};
  Context starting("starting a backup on the server");
  Row row = connection_.query_row(sql, parameters);
  start_lsn_ = pg::parse_lsn(row.at(0).value_or(""));
  session_ = row.at(1).value_or("");
  require_same_session();
}

OnlineBackup::~OnlineBackup() = default;

void OnlineBackup::check_alive() {
  connection_.check_alive();
  require_same_session();
}

void OnlineBackup::require_same_session() {
  std::string now = connection_.query_value("SELECT pg_backend_pid()");
  if (now == session_) return;
  throw Error({.code = ErrorCode::kServer,
               .message = "the session that started the backup was replaced by another",
               .detail = fmt::format("Process {} of the server started it, process {} answers now, "
                                     "as behind a connection pooler in transaction mode.",
                                     session_, now),
               .hint = fmt::format("Let conninfo name the server itself, not a pooler. The pooler "
                                   "may keep the session in its backup: SELECT "
                                   "pg_terminate_backend({}) ends it.",
                                   session_)});
}

OnlineBackup::Stopped OnlineBackup::stop() {
  HF_CHECK(!stopped_);
  const char* sql = connection_.server_major() >= kRenamedCallsMajor
                        ? "SELECT lsn, labelfile, spcmapfile FROM pg_backup_stop(false)"
                        : "SELECT lsn, labelfile, spcmapfile FROM pg_stop_backup(false, false)";
  Context stopping("stopping the backup on the server");
  require_same_session();
  Row row = connection_.query_row(sql);
  stopped_ = true;
  Stopped result{.stop_lsn = pg::parse_lsn(row.at(0).value_or("")),
                 .backup_label = row.at(1).value_or(""),
                 .tablespace_map = row.at(2).value_or("")};
  if (result.backup_label.empty())
    throw Error({.code = ErrorCode::kServer,
                 .message = "the server gave no backup label",
                 .detail = "Without its label a backup would be recovered from the wrong place.",
                 .hint = "Take the backup again."});
  return result;
}

}  // namespace holdfast::cluster
