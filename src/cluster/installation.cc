#include "cluster/installation.h"

#include <charconv>
#include <cstdlib>
#include <unistd.h>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "base/process.h"

namespace holdfast::cluster {
namespace {

constexpr std::string_view kBanner = "postgres (PostgreSQL) ";

bool is_executable(const std::string& path) { return access(path.c_str(), X_OK) == 0; }

// The directories of PATH, in order.
std::vector<std::string> path_directories() {
  const char* path = std::getenv("PATH");
  std::vector<std::string> directories;
  std::string_view rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    size_t colon = rest.find(':');
    if (std::string_view directory = rest.substr(0, colon); directory.starts_with('/'))
      directories.emplace_back(directory);
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  return directories;
}

std::optional<std::string> find_in_path(const std::string& program) {
  for (const std::string& directory : path_directories())
    if (is_executable(join_path(directory, program))) return directory;
  return std::nullopt;
}

std::optional<std::string> bindir_of_pg_config() {
  std::optional<std::string> directory = find_in_path("pg_config");
  if (!directory) return std::nullopt;
  Captured answer = run(
      {.arguments = {join_path(*directory, "pg_config"), "--bindir"}, .bare_environment = true});
  if (!answer.status.ok()) return std::nullopt;
  while (!answer.out.empty() && answer.out.back() == '\n') answer.out.pop_back();
  return answer.out;
}

// nullopt when there is no postgres in the directory, or none that answers.
std::optional<Installation> ask(const std::string& bin_directory) {
  std::string program = join_path(bin_directory, "postgres");
  if (!is_executable(program)) return std::nullopt;
  Captured answer = run({.arguments = {program, "--version"}, .bare_environment = true});
  if (!answer.status.ok()) return std::nullopt;
  std::optional<std::string> version = parse_postgres_version(answer.out);
  if (!version) return std::nullopt;
  Installation installation{.bin_directory = bin_directory, .version = *version};
  std::from_chars(version->data(), version->data() + version->size(), installation.major);
  return installation;
}

Installation given_installation(int major, const std::string& bin_directory) {
  std::optional<Installation> found = ask(absolute_path(bin_directory));
  if (!found)
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("no PostgreSQL server program in \"{}\"", bin_directory),
                 .detail = fmt::format("\"{}\" is missing or does not answer to --version.",
                                       join_path(bin_directory, "postgres")),
                 .hint = fmt::format(
                     "Set bindir to the directory that holds postgres and initdb of PostgreSQL {}.",
                     major)});
  if (found->major != major)
    throw Error(
        {.code = ErrorCode::kUnsupported,
         .message = fmt::format("the programs in \"{}\" are those of PostgreSQL {}, not {}",
                                bin_directory, found->major, major),
         .detail = fmt::format("A data directory of PostgreSQL {} can be started by PostgreSQL {} "
                               "only; found is version {}.",
                               major, major, found->version),
         .hint = fmt::format("Install PostgreSQL {}, or set bindir to where it is.", major)});
  return *found;
}

}  // namespace

std::string Installation::program(std::string_view name) const {
  return join_path(bin_directory, name);
}

std::optional<std::string> parse_postgres_version(std::string_view output) {
  if (!output.starts_with(kBanner)) return std::nullopt;
  output.remove_prefix(kBanner.size());
  std::string_view version = output.substr(0, output.find_first_of(" \n"));
  int major = 0;
  auto [end, error] = std::from_chars(version.data(), version.data() + version.size(), major);
  if (error != std::errc() || major <= 0) return std::nullopt;
  return std::string(version);
}

Installation find_installation(int major, const std::optional<std::string>& bin_directory) {
  if (bin_directory) return given_installation(major, *bin_directory);

  std::vector<std::string> candidates = {fmt::format("/usr/lib/postgresql/{}/bin", major)};
  if (std::optional<std::string> directory = bindir_of_pg_config())
    candidates.push_back(*directory);
  if (std::optional<std::string> directory = find_in_path("postgres"))
    candidates.push_back(*directory);
  std::string seen;
  for (const std::string& candidate : candidates) {
    std::optional<Installation> found = ask(candidate);
    if (found && found->major == major) return *found;
    seen += fmt::format(
        "{}\"{}\" {}", seen.empty() ? "" : "; ", candidate,
        found ? fmt::format("holds version {}", found->version) : std::string("holds none"));
  }
  throw Error({.code = ErrorCode::kNotFound,
               .message = fmt::format("PostgreSQL {} is not installed on this host", major),
               .detail = fmt::format("Looked at: {}.", seen),
               .hint = fmt::format("Install PostgreSQL {0} (on Debian: apt-get install "
                                   "postgresql-{0}), or set bindir to the directory of its "
                                   "programs.",
                                   major)});
}

}  // namespace holdfast::cluster
