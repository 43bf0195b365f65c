#include "view/export.h"

#include <fmt/format.h>

#include "view/table.h"

namespace holdfast::view {

std::string text(const restore::ExportResult& result) {
  std::vector<std::pair<std::string, std::string>> lines = {{"backup", result.backup.id}};
  for (const restore::ExportResult::File& file : result.files)
    lines.emplace_back("tar", fmt::format("{}, {}", file.path.empty() ? "stdout" : file.path,
                                          to_human_bytes(file.bytes)));
  for (const repo::Tablespace& tablespace : result.backup.tablespaces)
    if (!tablespace.path.empty())
      lines.emplace_back("tablespace",
                         fmt::format("{} belongs to \"{}\"", tablespace.oid, tablespace.path));
  lines.emplace_back("WAL", result.wal.empty() ? "not included"
                            : result.wal.size() == 1
                                ? result.wal.front()
                                : fmt::format("{} to {}", result.wal.front(), result.wal.back()));
  for (const std::string& file : result.outside) lines.emplace_back("not included", file);
  return fields(lines) +
         fmt::format(
             "Unpack it into an empty directory of mode 0700 and start PostgreSQL {} on "
             "it{}.\n",
             result.backup.major,
             result.wal.empty() ? ", with a restore_command that gives it WAL" : "");
}

Json json(const restore::ExportResult& result) {
  Json files = Json::array();
  for (const restore::ExportResult::File& file : result.files)
    files.push(Json::object()
                   .set("path", file.path.empty() ? Json() : Json(file.path))
                   .set("bytes", file.bytes));
  Json tablespaces = Json::array();
  for (const repo::Tablespace& tablespace : result.backup.tablespaces)
    tablespaces.push(Json::object().set("oid", tablespace.oid).set("path", tablespace.path));
  Json wal = Json::array();
  for (const std::string& segment : result.wal) wal.push(segment);
  Json outside = Json::array();
  for (const std::string& file : result.outside) outside.push(file);
  return Json::object()
      .set("schema", "holdfast.backup_export.v1")
      .set("backup", result.backup.id)
      .set("members", result.members)
      .set("files", std::move(files))
      .set("tablespaces", std::move(tablespaces))
      .set("wal", std::move(wal))
      .set("not_included", std::move(outside));
}

}  // namespace holdfast::view
