#include "restore/seclusion.h"

#include <algorithm>
#include <array>
#include <dirent.h>
#include <filesystem>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "cluster/data_directory.h"
#include "restore/tablespaces.h"

namespace holdfast::restore {
namespace {

// With every symbolic link resolved, as far as it is there.
std::string real_path(const std::string& path) {
  std::error_code unresolvable;
  const std::filesystem::path real =
      std::filesystem::weakly_canonical(absolute_path(path), unresolvable);
  return unresolvable ? absolute_path(path) : real.string();
}

bool is_within(const std::string& path, const std::string& directory) {
  return path == directory || directory == "/" || path.starts_with(directory + "/");
}

// What the copy needs lies there, or it is the copy's own.
bool must_be_seen(const SandboxOptions& options, const std::string& directory,
                  const std::string& path) {
  const std::string real = real_path(path);
  if (is_within(real, real_path(directory)) || is_within(real_path(directory), real)) return true;
  return std::ranges::any_of(options.keep_visible, [&](const std::string& needed) {
    return !needed.empty() && is_within(real_path(needed), real);
  });
}

void add_cover(cluster::Sandbox& sandbox, cluster::Sandbox::Cover cover) {
  cover.path = real_path(cover.path);
  const bool known = std::ranges::any_of(sandbox.covers, [&](const cluster::Sandbox::Cover& other) {
    return other.path == cover.path;
  });
  if (!known) sandbox.covers.push_back(std::move(cover));
}

}  // namespace

std::vector<NewTablespace> new_tablespaces(const recovery::Plan& plan, const std::string& directory,
                                           const std::string& tablespaces_directory) {
  std::vector<NewTablespace> created;
  for (const repo::WalTablespace& tablespace : plan.tablespaces_created) {
    if (tablespace.path.empty() || tablespace.path.starts_with(directory + "/") ||
        tablespace.lsn < plan.backup.start_lsn)
      continue;
    const bool known = std::ranges::any_of(
        created, [&](const NewTablespace& other) { return other.path == tablespace.path; });
    if (!known)
      created.push_back(
          {.oid = tablespace.oid,
           .path = tablespace.path,
           .lsn = tablespace.lsn,
           .place = join_path(tablespaces_directory, std::to_string(tablespace.oid))});
  }
  return created;
}

std::vector<std::string> production_places(const repo::Backup& backup) {
  std::vector<std::string> places = {backup.data_directory};
  for (const repo::Tablespace& tablespace : backup.tablespaces) places.push_back(tablespace.path);
  std::erase(places, "");
  return places;
}

Seclusion seclude(const SandboxOptions& options, std::vector<std::string> production,
                  const std::string& directory, std::span<const NewTablespace> created) {
  Seclusion seclusion;
  if (options.program.empty()) return seclusion;
  cluster::Sandbox sandbox{.program = options.program, .private_network = options.private_network};
  for (const NewTablespace& tablespace : created) {
    if (lstat_if_exists(tablespace.path) && must_be_seen(options, directory, tablespace.path)) {
      seclusion.why_not = fmt::format("\"{}\" holds what the copy needs", tablespace.path);
      return seclusion;
    }
    add_cover(sandbox, {.path = tablespace.path, .by = tablespace.place});
  }
  production.push_back(options.production_data_directory);
  for (const std::string& place : production)
    if (!place.empty() && is_directory(place) && !must_be_seen(options, directory, place))
      add_cover(sandbox, {.path = place});

  if (std::optional<std::string> why = cluster::why_no_sandbox(sandbox))
    seclusion.why_not = std::move(*why);
  else
    seclusion.sandbox = std::move(sandbox);
  return seclusion;
}

void cover_sockets(cluster::Sandbox& sandbox, const SandboxOptions& options,
                   const std::string& directory, std::span<const std::string> directories) {
  for (const std::string& place : directories) {
    if (!place.starts_with('/') || !is_directory(place)) continue;
    if (!must_be_seen(options, directory, place)) {
      add_cover(sandbox, {.path = place});
      continue;
    }
    for (const DirectoryEntry& entry : list_directory(place))
      if (entry.type == DT_SOCK && entry.name.starts_with(".s.PGSQL."))
        add_cover(sandbox, {.path = join_path(place, entry.name), .by = "/dev/null"});
  }
}

int settle_tablespaces(const std::string& directory, std::span<const NewTablespace> created) {
  int settled = 0;
  if (created.empty() || !is_directory(join_path(directory, "pg_tblspc"))) return settled;
  for (const cluster::TablespaceLink& link : cluster::read_tablespace_links(directory)) {
    auto found = std::ranges::find(created, link.target, &NewTablespace::path);
    if (found == created.end()) continue;
    set_tablespace_link(directory, link.oid, tablespace_link_text(directory, found->place));
    ++settled;
  }
  return settled;
}

std::vector<PreloadCaution> preload_cautions(std::string_view shared_preload_libraries) {
  // Libraries whose workers do something without being asked by a session.
  struct Known {
    std::string_view library, does, setting, value;
  };
  constexpr std::array kKnown = {
      Known{"pg_cron", "runs its jobs", "cron.launch_active_jobs", "off"},
      Known{"pg_partman_bgw", "makes and drops partitions", "pg_partman_bgw.dbname", ""},
      Known{"timescaledb", "runs its jobs", "", ""},
      Known{"pglogical", "subscribes to other servers", "", ""},
      Known{"bdr", "replicates with other servers", "", ""},
      Known{"citus", "connects to other nodes", "", ""},
      Known{"repmgr", "watches and promotes other servers", "", ""},
      Known{"pg_squeeze", "rewrites tables", "squeeze.worker_autostart", ""},
      Known{"pg_net", "sends requests over the network", "", ""},
  };
  std::vector<PreloadCaution> cautions;
  std::string word;
  auto take = [&] {
    std::string name = base_name(word);
    if (name.ends_with(".so")) name.resize(name.size() - 3);
    const auto* known = std::ranges::find(kKnown, name, &Known::library);
    if (known != kKnown.end()) {
      std::string kept =
          known->setting.empty()
              ? std::string("Nothing but the sandbox keeps it from that.")
              : fmt::format("It is kept from that by {} = '{}'.", known->setting, known->value);
      cautions.push_back(
          {.warning = fmt::format("shared_preload_libraries loads {}, which {} on its own. {}",
                                  name, known->does, kept),
           .setting = std::string(known->setting),
           .value = std::string(known->value)});
    }
    word.clear();
  };
  for (char c : shared_preload_libraries) {
    if (c == ',')
      take();
    else if (c != ' ' && c != '"' && c != '\t')
      word += c;
  }
  take();
  return cautions;
}

}  // namespace holdfast::restore
