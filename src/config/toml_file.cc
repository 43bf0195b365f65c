// toml_file.cc: the one place that includes the TOML library.
#include "config/toml_file.h"

#include <fmt/format.h>

#include "base/error.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace holdfast::config {
namespace {

[[noreturn]] void refuse(const std::string& file, const toml::source_region& where,
                         std::string detail) {
  throw Error(
      {.code = ErrorCode::kConfiguration,
       .message = fmt::format("configuration file \"{}\" cannot be used: line {}, column {}", file,
                              where.begin.line, where.begin.column),
       .detail = std::move(detail),
       .hint = "It is TOML: sections such as [repo] and [cluster.main], and below them lines such "
               "as url = \"/var/lib/holdfast\". \"holdfast help\" names the settings."});
}

TomlValue value_of(const toml::node& node, std::string_view key, const std::string& file) {
  TomlValue value{
      .text = {}, .line = node.source().begin.line, .column = node.source().begin.column};
  if (const toml::value<std::string>* text = node.as_string())
    value.text = text->get();
  else if (const toml::value<int64_t>* number = node.as_integer())
    value.text = fmt::format("{}", number->get());
  else if (const toml::value<bool>* truth = node.as_boolean())
    value.text = truth->get() ? "true" : "false";
  else
    refuse(file, node.source(),
           fmt::format("\"{}\" must be a text, a whole number or true or false.", key));
  return value;
}

}  // namespace

TomlFile parse_toml(std::string_view text, const std::string& file) {
  toml::parse_result parsed = toml::parse(text);
  if (!parsed)
    refuse(file, parsed.error().source(), fmt::format("{}.", parsed.error().description()));

  TomlFile result;
  for (const auto& [key, node] : parsed.table()) {
    const std::string section(key.str());
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      result.values.emplace(section, value_of(node, section, file));
      continue;
    }
    for (const auto& [inner, value] : *table) {
      const std::string name = fmt::format("{}.{}", section, inner.str());
      const toml::table* cluster = value.as_table();
      if (section != "cluster") {
        result.values.emplace(name, value_of(value, name, file));
      } else if (cluster == nullptr) {
        refuse(file, value.source(),
               fmt::format("\"{}\" must stand in a section of its cluster, such as [cluster.main].",
                           name));
      } else {
        auto& keys = result.clusters[std::string(inner.str())];
        for (const auto& [setting, leaf] : *cluster)
          keys.emplace(std::string(setting.str()),
                       value_of(leaf, fmt::format("{}.{}", name, setting.str()), file));
      }
    }
  }
  return result;
}

}  // namespace holdfast::config
