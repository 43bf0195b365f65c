#include "drill/left_aside.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <optional>
#include <string_view>
#include <sys/stat.h>
#include <utility>

#include <fmt/core.h>

#include "base/file.h"
#include "pg/backup_exclusions.h"
#include "pg/conf_file.h"

namespace holdfast::drill {
namespace {

constexpr size_t kComparedAtOnce = size_t{64} << 10;

// Of an unlogged relation a database's directory has an init fork, and the main one beside it.
bool has_unlogged_rows(const std::string& databases) {
  constexpr std::string_view kInitFork = "_init";
  for (const DirectoryEntry& database : list_directory(databases)) {
    const std::string directory = join_path(databases, database.name);
    if (!is_directory(directory)) continue;
    for (const DirectoryEntry& entry : list_directory(directory)) {
      if (!entry.name.ends_with(kInitFork)) continue;
      const std::string main =
          join_path(directory, entry.name.substr(0, entry.name.size() - kInitFork.size()));
      const std::optional<struct stat> of_init = stat_if_exists(join_path(directory, entry.name));
      const std::optional<struct stat> of_main = stat_if_exists(main);
      if (of_init && of_main && of_main->st_size > of_init->st_size) return true;
    }
  }
  return false;
}

// What counts of it: the recovery has written and taken away its own settings since.
std::vector<std::pair<std::string, std::string>> settings_in(const std::string& file) {
  std::vector<std::pair<std::string, std::string>> settings;
  const pg::ConfFile conf(read_text_file(file));
  for (const pg::ConfLine& line : conf.lines())
    if (!line.name.empty()) settings.emplace_back(line.name, line.value);
  return settings;
}

bool has_the_same_bytes(const std::string& a, const std::string& b) {
  std::ifstream first(a, std::ios::binary), second(b, std::ios::binary);
  std::array<char, kComparedAtOnce> left{}, right{};
  while (first && second) {
    first.read(left.data(), left.size());
    second.read(right.data(), right.size());
    if (first.gcount() != second.gcount() ||
        !std::equal(left.begin(), left.begin() + first.gcount(), right.begin()))
      return false;
  }
  return first.eof() && second.eof();
}

bool says_the_same(const std::string& name, const std::string& a, const std::string& b) {
  if (name == "postgresql.conf" || name == "postgresql.auto.conf")
    return settings_in(a) == settings_in(b);
  return has_the_same_bytes(a, b);
}

class Comparison {
 public:
  Comparison(const std::string& aside, const std::string& came_back)
      : aside_(aside), came_back_(came_back) {}

  // `path`: within both.
  void look_at(const std::string& path) {
    const std::string here = join_path(aside_, path), there = join_path(came_back_, path);
    const std::optional<struct stat> old = lstat_if_exists(here), now = lstat_if_exists(there);
    if (!old) return;
    if (!now)
      found.push_back(fmt::format("\"{}\"", path));
    else if (S_ISDIR(old->st_mode) && S_ISDIR(now->st_mode))
      for (const DirectoryEntry& entry : list_directory(here)) look_at(join_path(path, entry.name));
    else if (S_ISREG(old->st_mode) && !(S_ISREG(now->st_mode) && says_the_same(path, here, there)))
      found.push_back(fmt::format("\"{}\" as it was", path));
  }

  std::vector<std::string> found;

 private:
  const std::string& aside_;
  const std::string& came_back_;
};

bool is_configuration(std::string_view name) {
  return pg::top_name(name) != pg::TopName::kStranger && name.ends_with(".conf");
}

}  // namespace

std::vector<std::string> left_aside(const std::string& aside,
                                    const std::vector<std::string>& tablespaces,
                                    const std::string& came_back) {
  Comparison comparison(aside, came_back);
  if (has_unlogged_rows(join_path(aside, "base")) ||
      std::ranges::any_of(tablespaces, has_unlogged_rows))
    comparison.found.emplace_back("the rows of its unlogged tables");
  for (const DirectoryEntry& entry : list_directory(aside)) {
    const bool is_log = entry.name == "log" || entry.name == "pg_log";
    const bool is_strangers = pg::top_name(entry.name) == pg::TopName::kStranger && !is_log;
    if (is_strangers || is_configuration(entry.name) || entry.name.starts_with(pg::kSalvagePrefix))
      comparison.look_at(entry.name);
  }
  return std::move(comparison.found);
}

}  // namespace holdfast::drill
