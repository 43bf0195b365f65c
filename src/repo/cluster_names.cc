#include "repo/cluster_names.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "repo/layout.h"
#include "store/store.h"

namespace holdfast::repo {
namespace {

struct NameObject {
  std::string folder;
  uint64_t number = 0;
};

std::vector<uint64_t> name_numbers(const Repository& repository, const std::string& name) {
  constexpr std::string_view kEnd = ".json";
  const std::string folder = cluster_names_folder(name);
  std::vector<uint64_t> numbers;
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    std::string_view text = entry.name;
    text.remove_prefix(folder.size());
    uint64_t number = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (problem == std::errc() && std::string_view(end, text.data() + text.size()) == kEnd)
      numbers.push_back(number);
    return true;
  });
  std::ranges::sort(numbers, std::greater<>());
  return numbers;
}

NameObject read_name(const Repository& repository, const std::string& name, uint64_t number) {
  const std::string object = cluster_name_object(name, number);
  const std::optional<Json> body = repository.read_document("cluster-name", object);
  if (!body) throw_damaged(object, "It was listed a moment ago.");
  NameObject read{.folder = body->at("folder").as_string(), .number = number};
  if (!is_cluster_name(read.folder)) throw_damaged(object, "It leads to no cluster's name.");
  return read;
}

// The newest that can be read; nullopt when there is none.
std::optional<NameObject> newest_name(const Repository& repository, const std::string& name) {
  std::optional<Error> problem;
  for (const uint64_t number : name_numbers(repository, name)) {
    std::optional<NameObject> found;
    problem = unreadable_of([&] { found = read_name(repository, name, number); });
    if (found) return found;
  }
  if (problem) throw Error(*problem);
  return std::nullopt;
}

bool has_lineages(const Repository& repository, const std::string& folder) {
  return std::ranges::any_of(repository.folders_of_cluster(folder), [&](const std::string& below) {
    return parse_lineage_name(folder, below).has_value();
  });
}

}  // namespace

std::string folder_of_cluster(const Repository& repository, const std::string& name) {
  if (has_lineages(repository, name)) return name;
  const std::optional<NameObject> found = newest_name(repository, name);
  return found ? found->folder : name;
}

std::vector<ClusterNames> list_cluster_names(const Repository& repository) {
  std::vector<ClusterNames> clusters;
  std::multimap<std::string, std::pair<uint64_t, std::string>> later;
  for (const std::string& name : repository.cluster_folders()) {
    const bool is_cluster = has_lineages(repository, name);
    std::optional<NameObject> newest;
    unreadable_of([&] { newest = newest_name(repository, name); });
    if (newest && (newest->folder == name || !is_cluster))
      later.emplace(newest->folder, std::pair(newest->number, name));
    if (!newest || newest->folder == name || is_cluster) clusters.push_back({.folder = name});
  }
  for (ClusterNames& cluster : clusters) {
    std::set<std::pair<uint64_t, std::string>, std::greater<>> newest_first;
    const auto [first, last] = later.equal_range(cluster.folder);
    for (auto each = first; each != last; ++each) newest_first.insert(each->second);
    if (!newest_first.empty()) cluster.number = newest_first.begin()->first;
    for (const auto& [number, name] : newest_first) cluster.names.push_back(name);
    if (std::ranges::find(cluster.names, cluster.folder) == cluster.names.end())
      cluster.names.push_back(cluster.folder);
  }
  std::ranges::sort(clusters, {}, [](const ClusterNames& one) { return one.names.front(); });
  return clusters;
}

bool put_cluster_name(const Repository& repository, const std::string& folder,
                      const std::string& name, uint64_t number) {
  return repository.create_document(
      "cluster-name", cluster_name_object(name, number),
      Json::object().set("folder", folder).set("made", to_rfc3339(repository.store().now())));
}

}  // namespace holdfast::repo
