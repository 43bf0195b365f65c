#include "repo/cluster_names.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "repo/layout.h"
#include "repo/layout_table.h"
#include "repo/two_places.h"
#include "store/store.h"

namespace holdfast::repo {
namespace {

// The objects of one name by their number. Where only the copy was found the first stands here all
// the same; where only the first was, the copy is empty: its content tells where that would be.
using NameObjects = std::map<uint64_t, TwoPlaces>;

// Calls `visit(rest, name)` for what stands in a folder; `rest` is its name without the folder.
template <typename Visit>
void visit_folder(const Repository& repository, const std::string& folder, const Visit& visit) {
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    const KindOfObject* kind = kind_of_object(entry.name);
    if (kind != nullptr) visit(std::string_view(entry.name).substr(folder.size()), entry.name);
    return true;
  });
}

// REQUIRES: "<number>.json", as the table of kinds has it.
std::optional<uint64_t> parse_number(std::string_view text) {
  uint64_t number = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc() ? std::optional(number) : std::nullopt;
}

std::map<std::string, NameObjects> objects_of_names(const Repository& repository) {
  std::map<std::string, NameObjects> all;
  const auto add = [&](const std::string& name, std::string_view file) -> TwoPlaces& {
    const uint64_t number = parse_number(file).value_or(0);
    TwoPlaces& places = all[name][number];
    places.first = cluster_name_object(name, number);
    return places;
  };
  for (const std::string& folder : repository.cluster_folders()) {
    // Who reads the name is told why the folder cannot be looked into.
    if (unreadable_of([&] {
          visit_folder(repository, cluster_names_folder(folder),
                       [&](std::string_view rest, const std::string&) { add(folder, rest); });
        }))
      add(folder, "0.json");
    unreadable_of([&] {
      visit_folder(repository, cluster_name_copies_folder(folder),
                   [&](std::string_view rest, const std::string& place) {
                     const size_t slash = rest.find('/');
                     add(std::string(rest.substr(0, slash)), rest.substr(slash + 1)).copy = place;
                   });
    });
  }
  return all;
}

std::optional<std::string> read_name(const Repository& repository, const std::string& object,
                                     const std::string& place) {
  if (place.empty()) return std::nullopt;
  const std::optional<Json> body = repository.read_document("cluster-name", object, place);
  if (!body) return std::nullopt;
  std::string folder = body->at("folder").as_string();
  if (!is_cluster_name(folder)) throw_damaged(place, "It leads to no cluster's name.");
  return folder;
}

// Where the first that can be read leads; nullopt when there is none.
std::optional<std::string> leads_to(const Repository& repository, const NameObjects& objects) {
  std::optional<Error> problem;
  for (const auto& [number, places] : objects) {
    std::optional<std::string> folder;
    problem = unreadable_of([&] {
      folder = read_either(
          places,
          [&](const std::string& place) { return read_name(repository, places.first, place); },
          [&](bool is_damaged) { repository.tell_of_copy(places, is_damaged); });
    });
    if (folder) return folder;
  }
  if (problem) throw Error(*problem);
  return std::nullopt;
}

std::optional<std::string> leads_to(const Repository& repository, const std::string& name) {
  // The copies of all clusters are looked at where this alone does not tell.
  const std::string object = cluster_name_object(name, 0);
  std::optional<std::string> folder;
  unreadable_of([&] { folder = read_name(repository, object, object); });
  return folder ? folder : leads_to(repository, objects_of_names(repository)[name]);
}

bool has_lineages(const Repository& repository, const std::string& folder) {
  return std::ranges::any_of(repository.folders_of_cluster(folder), [&](const std::string& below) {
    return parse_lineage_name(folder, below).has_value();
  });
}

}  // namespace

std::string folder_of_cluster(const Repository& repository, const std::string& name) {
  if (has_lineages(repository, name)) return name;
  return leads_to(repository, name).value_or(name);
}

std::vector<ClusterNames> list_cluster_names(const Repository& repository) {
  std::map<std::string, NameObjects> objects = objects_of_names(repository);
  for (const std::string& folder : repository.cluster_folders()) objects[folder];
  std::vector<ClusterNames> clusters;
  std::map<std::string, std::set<std::pair<uint64_t, std::string>, std::greater<>>> newest_first;
  uint64_t highest = 0;
  for (const auto& [name, of_name] : objects) {
    const uint64_t number = of_name.empty() ? 0 : of_name.rbegin()->first;
    highest = std::max(highest, number);
    std::optional<std::string> folder = name;
    const std::optional<Error> unreadable =
        unreadable_of([&] { folder = leads_to(repository, of_name).value_or(name); });
    const bool is_cluster = has_lineages(repository, name);
    if (is_cluster || (!unreadable && folder == name)) clusters.push_back({.folder = name});
    if (!unreadable && (folder == name || !is_cluster)) newest_first[*folder].emplace(number, name);
  }
  for (ClusterNames& cluster : clusters) {
    cluster.number = highest;
    // A number of 0 takes a name, no more: a rename was interrupted behind it.
    std::vector<std::string> taken;
    for (const auto& [number, name] : newest_first[cluster.folder])
      if (name != cluster.folder || number > 0)
        (number > 0 ? cluster.names : taken).push_back(name);
    if (std::ranges::find(cluster.names, cluster.folder) == cluster.names.end())
      cluster.names.push_back(cluster.folder);
    cluster.names.insert(cluster.names.end(), taken.begin(), taken.end());
  }
  std::ranges::sort(clusters, {}, [](const ClusterNames& one) { return one.names.front(); });
  return clusters;
}

void take_new_cluster_name(const Repository& repository, const std::string& name) {
  if (!leads_to(repository, name) && !put_cluster_name(repository, name, name, 0))
    throw_name_taken(name);
}

void throw_name_taken(const std::string& name) {
  throw Error({.code = ErrorCode::kConflict,
               .message = fmt::format("somebody else took the name \"{}\" at this moment", name),
               .detail = "Nothing was made of it.",
               .hint = "\"holdfast cluster list\" shows whose it is; run this again if that is "
                       "the cluster that you mean."});
}

bool put_cluster_name(const Repository& repository, const std::string& folder,
                      const std::string& name, uint64_t number) {
  const std::string object = cluster_name_object(name, number);
  const Bytes text = encode_document(
      repository.keyring(), "cluster-name", object,
      Json::object().set("folder", folder).set("made", to_rfc3339(repository.store().now())),
      repository.random());
  if (!repository.store().create(object, text)) return false;
  repository.store().create(cluster_name_copy(folder, name, number), text);
  return true;
}

void complete_cluster_names(const Repository& repository, const std::string& folder) {
  for (const auto& [name, objects] : objects_of_names(repository)) {
    std::optional<std::string> leads;
    unreadable_of([&] { leads = leads_to(repository, objects); });
    if (leads != folder) continue;
    for (const auto& [number, places] : objects)
      put_missing(repository.store(),
                  {.first = places.first, .copy = cluster_name_copy(folder, name, number)},
                  [&](const Bytes& bytes) {
                    decode_document(repository.keyring(), "cluster-name", places.first, bytes);
                  });
  }
}

std::vector<NamePlaces> places_of_names(const Repository& repository) {
  std::vector<NamePlaces> all;
  for (const auto& [name, objects] : objects_of_names(repository)) {
    std::optional<std::string> folder;
    unreadable_of([&] { folder = leads_to(repository, objects); });
    for (const auto& [number, places] : objects)
      all.push_back({.first = places.first,
                     .copy = folder ? cluster_name_copy(*folder, name, number) : places.copy});
  }
  return all;
}

}  // namespace holdfast::repo
