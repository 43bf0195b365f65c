// toml_file.h: a configuration file as keys and texts; the TOML library stands in toml_file.cc
// alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace holdfast::config {

struct TomlValue {
  std::string text;
  uint32_t line = 0, column = 0;
};
struct TomlFile {
  std::map<std::string, TomlValue> values;                           // "jobs", "repo.url"
  std::map<std::string, std::map<std::string, TomlValue>> clusters;  // by cluster, then "pgdata"
};

// Strings, whole numbers and booleans only. Throws kConfiguration naming `file`, line and column.
TomlFile parse_toml(std::string_view text, const std::string& file);

}  // namespace holdfast::config
