#include "pg/relation_file.h"

#include <array>
#include <charconv>

#include <fmt/core.h>

namespace holdfast::pg {

namespace {

constexpr std::array<std::string_view, 4> kForkNames = {"main", "fsm", "vm", "init"};

// A decimal number without leading zeros, as printf("%u") writes it.
std::optional<uint32_t> parse_number(std::string_view digits) {
  if (digits.empty() || (digits.front() == '0' && digits.size() > 1)) return std::nullopt;
  uint32_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<uint32_t> parse_oid(std::string_view digits) {
  std::optional<uint32_t> value = parse_number(digits);
  return value && *value != 0 ? value : std::nullopt;
}

// Takes the part of `path` before the next slash off its front; the whole rest when there is none.
std::string_view take_component(std::string_view& path) {
  size_t slash = path.find('/');
  std::string_view component = path.substr(0, slash);
  path = slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
  return component;
}

}  // namespace

std::string_view to_string(Fork fork) { return kForkNames.at(static_cast<size_t>(fork)); }

std::optional<RelationFile> parse_relation_file_name(std::string_view name) {
  RelationFile file;
  if (name.starts_with('t')) {
    size_t underscore = name.find('_');
    if (underscore == std::string_view::npos) return std::nullopt;
    file.temporary_of = parse_number(name.substr(1, underscore - 1));
    if (!file.temporary_of) return std::nullopt;
    name.remove_prefix(underscore + 1);
  }
  if (size_t dot = name.find('.'); dot != std::string_view::npos) {
    std::optional<uint32_t> segment = parse_oid(name.substr(dot + 1));
    if (!segment) return std::nullopt;
    file.segment = *segment;
    name = name.substr(0, dot);
  }
  if (size_t underscore = name.find('_'); underscore != std::string_view::npos) {
    std::string_view suffix = name.substr(underscore + 1);
    if (suffix == to_string(Fork::kFsm)) {
      file.fork = Fork::kFsm;
    } else if (suffix == to_string(Fork::kVm)) {
      file.fork = Fork::kVm;
    } else if (suffix == to_string(Fork::kInit)) {
      file.fork = Fork::kInit;
    } else {
      return std::nullopt;
    }
    name = name.substr(0, underscore);
  }
  std::optional<uint32_t> number = parse_oid(name);
  if (!number) return std::nullopt;
  file.locator.file_number = *number;
  return file;
}

std::optional<RelationFile> parse_relation_path(std::string_view path,
                                                std::string_view version_directory) {
  std::optional<uint32_t> tablespace;
  std::optional<uint32_t> database;
  std::string_view top = take_component(path);
  if (top == "global") {
    tablespace = kGlobalTablespace;
    database = 0;
  } else if (top == "base") {
    tablespace = kDefaultTablespace;
    database = parse_oid(take_component(path));
  } else if (top == "pg_tblspc") {
    tablespace = parse_oid(take_component(path));
    // The built-in tablespaces lie elsewhere.
    if (tablespace == kDefaultTablespace || tablespace == kGlobalTablespace) return std::nullopt;
    if (take_component(path) != version_directory) return std::nullopt;
    database = parse_oid(take_component(path));
  }
  if (!tablespace || !database) return std::nullopt;
  std::optional<RelationFile> file = parse_relation_file_name(path);
  if (!file) return std::nullopt;
  file->locator.tablespace = *tablespace;
  file->locator.database = *database;
  return file;
}

std::string relation_path(const RelationFile& file, std::string_view version_directory) {
  std::string path;
  if (file.locator.tablespace == kGlobalTablespace) {
    path = "global/";
  } else if (file.locator.tablespace == kDefaultTablespace) {
    path = fmt::format("base/{}/", file.locator.database);
  } else {
    path = fmt::format("pg_tblspc/{}/{}/{}/", file.locator.tablespace, version_directory,
                       file.locator.database);
  }
  if (file.temporary_of) path += fmt::format("t{}_", *file.temporary_of);
  path += fmt::format("{}", file.locator.file_number);
  if (file.fork != Fork::kMain) path += fmt::format("_{}", to_string(file.fork));
  if (file.segment != 0) path += fmt::format(".{}", file.segment);
  return path;
}

}  // namespace holdfast::pg
