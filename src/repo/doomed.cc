#include "repo/doomed.h"

#include <algorithm>
#include <map>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "repo/fields.h"
#include "repo/layout.h"

namespace holdfast::repo {
namespace {

constexpr std::string_view kDoneSuffix = ".done.json";

}  // namespace

Bytes16 put_doomed_list(const Repository& repository, const LineageName& lineage,
                        const std::vector<std::string>& objects, Time now) {
  HF_CHECK(objects.size() <= kDoomedPerList);
  Json names = Json::array();
  for (const std::string& object : objects) names.push(object);
  const Bytes16 id = repository.random().bytes16();
  const std::string name = doomed_name(lineage, id);
  const bool made = repository.create_document("doomed", name,
                                               Json::object()
                                                   .set("made", to_json(now))
                                                   .set("state", "doomed")
                                                   .set("objects", std::move(names)));
  if (!made)
    throw Error(
        {.code = ErrorCode::kAlreadyExists,
         .message = fmt::format("object \"{}\" already exists", name),
         .detail =
             "Its name was drawn at random: the random source of this system cannot be trusted."});
  return id;
}

bool put_doomed_end(const Repository& repository, const LineageName& lineage, const Bytes16& id,
                    const DoomedOutcome& outcome, Time now) {
  return repository.create_document("doomed", doomed_end_name(lineage, id),
                                    Json::object()
                                        .set("made", to_json(now))
                                        .set("state", "done")
                                        .set("removed", outcome.removed)
                                        .set("spared", outcome.spared));
}

std::vector<DoomedList> list_doomed(const Repository& repository, const LineageName& lineage) {
  const std::string folder = doomed_folder(lineage);
  std::map<Bytes16, DoomedList> lists;
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    std::string_view name = std::string_view(entry.name).substr(folder.size());
    const bool is_end = name.ends_with(kDoneSuffix);
    if (!name.ends_with(kJsonSuffix)) return true;
    name.remove_suffix(is_end ? kDoneSuffix.size() : kJsonSuffix.size());
    const std::optional<Bytes16> id = parse_hex_array<16>(name);
    if (!id) return true;
    DoomedList& list = lists[*id];
    list.id = *id;
    if (is_end)
      list.done = entry.modified;
    else
      list.put = entry.modified;
    return true;
  });
  std::vector<DoomedList> all;
  for (const auto& [id, list] : lists) all.push_back(list);
  std::ranges::sort(all, {}, [](const DoomedList& list) { return std::pair(list.put, list.id); });
  return all;
}

std::optional<std::vector<std::string>> read_doomed_list(const Repository& repository,
                                                         const LineageName& lineage,
                                                         const Bytes16& id) {
  const std::optional<Json> body = repository.read_document("doomed", doomed_name(lineage, id));
  if (!body) return std::nullopt;
  std::vector<std::string> objects;
  for (const Json& object : body->at("objects").items()) objects.push_back(object.as_string());
  return objects;
}

DoomedNames read_doomed_if_whole(const Repository& repository, const LineageName& lineage,
                                 const Bytes16& id) {
  DoomedNames read;
  read.damage = error_of({ErrorCode::kCorrupt, ErrorCode::kUnsupported, ErrorCode::kIo},
                         [&] { read.names = read_doomed_list(repository, lineage, id); });
  return read;
}

namespace {

// The first that `is_meant` in a list that is not done, in words. One that is gone at this moment
// was carried out, and what it held is missing.
std::optional<std::string> find_listed(const Repository& repository, const LineageName& lineage,
                                       const std::function<bool(const std::string&)>& is_meant) {
  std::optional<std::string> damaged;
  for (const DoomedList& list : list_doomed(repository, lineage)) {
    if (list.done) continue;
    const DoomedNames read = read_doomed_if_whole(repository, lineage, list.id);
    if (read.damage)
      damaged = fmt::format("The list \"{}\" of what will be removed is damaged, and may name it.",
                            doomed_name(lineage, list.id));
    if (!read.names) continue;
    const auto found = std::ranges::find_if(*read.names, is_meant);
    if (found != read.names->end())
      return fmt::format("The object \"{}\" is in a list of what will be removed.", *found);
  }
  if (damaged && !running_expiries(repository, lineage).empty()) return damaged;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> find_doomed(const Repository& repository, const LineageName& lineage,
                                       const std::set<std::string>& names) {
  return find_listed(repository, lineage,
                     [&](const std::string& object) { return names.contains(object); });
}

DoomedObjects doomed_objects(const Repository& repository, const LineageName& lineage,
                             const std::function<bool(const std::string&)>& is_meant) {
  DoomedObjects found;
  found.is_everything = find_listed(repository, lineage, [&](const std::string& object) {
                          if (is_meant(object)) found.names.insert(object);
                          return false;
                        }).has_value();
  return found;
}

std::optional<Going> find_going(const Repository& repository, const LineageName& lineage,
                                const std::function<bool(const std::string&)>& is_needed) {
  // Lists first, for there is seldom one: what stands in none now, behind the caller's intent,
  // comes into none that a run carries out without having read that intent.
  std::optional<std::string> what = find_listed(repository, lineage, is_needed);
  if (!what) return std::nullopt;
  const std::vector<RunningExpiry> running = running_expiries(repository, lineage);
  if (running.empty()) return std::nullopt;
  return Going{.what = *std::move(what), .by = running.front().by};
}

}  // namespace holdfast::repo
