#include "repo/configuration.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/error.h"

namespace holdfast::repo {
namespace {

Json path_list(const std::vector<std::string>& list) {
  Json array = Json::array();
  for (const std::string& text : list) array.push(text);
  return array;
}

bool is_setting_name(std::string_view name) {
  auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && is_letter(name[0]) && std::ranges::all_of(name, [&](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '.' || c == '$';
  });
}

bool is_link(const Configuration::Link& link) {
  return is_normal_path(link.path, false) && !link.target.empty() &&
         link.target.find('\0') == std::string::npos && is_normal_path(link.leads_to, true);
}

// What one item says; nullopt when it is not of its shape, or of a type of its own.
template <typename Item, typename Read>
std::optional<Item> read_item(const Json& json, Read read) {
  std::optional<Item> item;
  if (error_of({ErrorCode::kCorrupt}, [&] { item = read(json); })) return std::nullopt;
  return item;
}

template <typename Item, typename Read, typename IsRight>
void read_items(const Json& json, std::string_view key, Read read, IsRight is_right,
                std::vector<Item>& items, std::vector<std::string>& passed_over) {
  for (const Json& member : json.at(key).items()) {
    std::optional<Item> item = read_item<Item>(member, read);
    if (item && is_right(*item))
      items.push_back(*std::move(item));
    else
      passed_over.push_back(fmt::format("{}: {}", key, member.dump(0)));
  }
}

Configuration read_configuration(const Json& json) {
  Configuration configuration{.config_file = json.at("config_file").as_string(),
                              .hba_file = json.at("hba_file").as_string(),
                              .ident_file = json.at("ident_file").as_string(),
                              .archives = json.at("archives").as_bool()};
  const auto text = [](const Json& item) { return item.as_string(); };
  std::vector<std::string>& passed_over = configuration.passed_over;
  read_items(
      json, "files", text, [](const std::string& path) { return is_normal_path(path, false); },
      configuration.files, passed_over);
  read_items(
      json, "directories", text, [](const std::string& path) { return is_normal_path(path, true); },
      configuration.directories, passed_over);
  read_items(
      json, "links",
      [](const Json& link) {
        return Configuration::Link{.path = link.at("path").as_string(),
                                   .target = link.at("target").as_string(),
                                   .leads_to = link.at("leads_to").as_string()};
      },
      is_link, configuration.links, passed_over);
  read_items(
      json, "command_line",
      [](const Json& setting) {
        return std::pair(setting.at("name").as_string(), setting.at("value").as_string());
      },
      [](const auto& setting) {
        return is_setting_name(setting.first) && setting.second.find('\0') == std::string::npos;
      },
      configuration.command_line, passed_over);
  const Json& server = json.at("server");
  configuration.of_standby = server.at("role").as_string() == "standby";
  configuration.host = server.at("host").as_string();
  configuration.data_directory = server.at("data_directory").as_string();
  return configuration;
}

}  // namespace

bool is_utf8(std::string_view text) {
  const auto byte_at = [&](size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  for (size_t at = 0; at < text.size();) {
    const unsigned first = byte_at(at), second = byte_at(at + 1);
    size_t more = 0;
    if (first >= 0x80) {
      more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
      // Neither longer than need be, nor a surrogate, nor behind U+10FFFF.
      const bool is_out = first < 0xC2 || first > 0xF4 || (first == 0xE0 && second < 0xA0) ||
                          (first == 0xED && second > 0x9F) || (first == 0xF0 && second < 0x90) ||
                          (first == 0xF4 && second > 0x8F);
      if (is_out) return false;
      for (size_t i = 1; i <= more; ++i)
        if ((byte_at(at + i) & 0xC0) != 0x80) return false;
    }
    at += more + 1;
  }
  return true;
}

bool is_normal_path(std::string_view path, bool is_absolute) {
  if (path.starts_with('/') != is_absolute || path.find('\0') != std::string_view::npos)
    return false;
  if (is_absolute) path.remove_prefix(1);
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return true;
}

Json to_json(const Configuration& configuration) {
  Json links = Json::array();
  for (const Configuration::Link& link : configuration.links)
    links.push(Json::object()
                   .set("path", link.path)
                   .set("target", link.target)
                   .set("leads_to", link.leads_to));
  Json command_line = Json::array();
  for (const auto& [name, value] : configuration.command_line)
    command_line.push(Json::object().set("name", name).set("value", value));
  return Json::object()
      .set("config_file", configuration.config_file)
      .set("hba_file", configuration.hba_file)
      .set("ident_file", configuration.ident_file)
      .set("files", path_list(configuration.files))
      .set("directories", path_list(configuration.directories))
      .set("links", std::move(links))
      .set("command_line", std::move(command_line))
      .set("archives", configuration.archives)
      .set("server", Json::object()
                         .set("role", configuration.of_standby ? "standby" : "primary")
                         .set("host", configuration.host)
                         .set("data_directory", configuration.data_directory));
}

std::optional<Configuration> configuration_from_json(const Json& json) {
  std::optional<Configuration> configuration = read_item<Configuration>(json, read_configuration);
  if (!configuration) return std::nullopt;
  for (const std::string& path : {configuration->config_file, configuration->hba_file,
                                  configuration->ident_file, configuration->data_directory})
    if (!is_normal_path(path, true)) return std::nullopt;
  return configuration;
}

Configuration writable(Configuration configuration) {
  std::vector<std::string>& left_out = configuration.passed_over;
  const auto drop = [&](auto& items, auto is_wrong, auto name) {
    std::erase_if(items, [&](const auto& item) {
      const bool goes = is_wrong(item);
      if (goes) left_out.push_back(name(item));
      return goes;
    });
  };
  const auto not_text = [](const std::string& path) { return !is_utf8(path); };
  const auto itself = [](const std::string& path) { return path; };
  drop(configuration.files, not_text, itself);
  drop(configuration.directories, not_text, itself);
  const auto path_of = [](const Configuration::Link& link) { return link.path; };
  drop(
      configuration.links,
      [](const Configuration::Link& link) {
        return !is_utf8(link.path) || !is_utf8(link.target) || !is_utf8(link.leads_to);
      },
      path_of);
  drop(
      configuration.command_line,
      [](const auto& setting) {
        return !is_utf8(setting.second) || !is_setting_name(setting.first);
      },
      [](const auto& setting) { return setting.first; });
  // Halves, so that what is far too long is not written out once for each.
  while (to_json(configuration).dump().size() > kMaxConfigurationBytes &&
         !(configuration.links.empty() && configuration.files.empty())) {
    const auto cut = [&](auto& items, auto name) {
      for (size_t count = (items.size() + 1) / 2; count > 0; --count) {
        left_out.push_back(name(items.back()));
        items.pop_back();
      }
    };
    if (!configuration.links.empty())
      cut(configuration.links, path_of);
    else
      cut(configuration.files, itself);
  }
  return configuration;
}

}  // namespace holdfast::repo
