#include "view/lineages.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/time.h"
#include "view/table.h"

namespace holdfast::view {
namespace {

std::string time_or_none(const std::optional<Time>& time) { return time ? to_local(*time) : "-"; }

std::vector<std::string> row(const expire::LineageSummary& one) {
  return {repo::to_string(one.name),
          one.lineage ? std::to_string(one.lineage->system_identifier) : one.problem,
          one.lineage ? to_local(one.lineage->created) : "-",
          std::to_string(one.backups),
          one.last_backup.empty() ? "-" : one.last_backup,
          time_or_none(one.last_archived),
          std::to_string(one.claims)};
}

const std::vector<std::string> kColumns = {"lineage",     "system identifier", "made",  "backups",
                                           "last backup", "last archived",     "claims"};

Json time_json(const std::optional<Time>& time) { return time ? Json(to_rfc3339(*time)) : Json(); }

Json lineages_json(const expire::ClusterSummary& cluster) {
  Json list = Json::array();
  for (const expire::LineageSummary& one : cluster.lineages)
    list.push(Json::object()
                  .set("lineage", repo::to_string(one.name))
                  .set("system_identifier",
                       one.lineage ? Json(std::to_string(one.lineage->system_identifier)) : Json())
                  .set("created", one.lineage ? Json(to_rfc3339(one.lineage->created)) : Json())
                  .set("problem", one.problem)
                  .set("backups", one.backups)
                  .set("deleted_backups", one.deleted)
                  .set("last_backup", one.last_backup.empty() ? Json() : Json(one.last_backup))
                  .set("last_archived", time_json(one.last_archived))
                  .set("claims", one.claims));
  return list;
}

Json texts_json(const std::vector<std::string>& texts) {
  Json list = Json::array();
  for (const std::string& text : texts) list.push(text);
  return list;
}

std::string name_of(const expire::Removal& removal) {
  return removal.whole_cluster ? fmt::format("cluster \"{}\"", removal.cluster.name)
                               : fmt::format("lineage {} of cluster \"{}\"",
                                             repo::to_string(removal.cluster.lineages.front().name),
                                             removal.cluster.name);
}

}  // namespace

std::string text(const std::vector<expire::ClusterSummary>& clusters) {
  if (clusters.empty()) return "The repository has no cluster. Next: run \"holdfast init\".\n";
  std::vector<std::vector<std::string>> rows;
  std::string earlier;
  for (const expire::ClusterSummary& cluster : clusters) {
    size_t backups = 0, claims = 0;
    std::string names;
    std::optional<Time> archived;
    for (const expire::LineageSummary& one : cluster.lineages) {
      backups += one.backups;
      claims += one.claims;
      names += fmt::format("{}{}", names.empty() ? "" : ", ", repo::to_string(one.name));
      if (one.last_archived) archived = std::max(archived.value_or(Time{}), *one.last_archived);
    }
    if (!cluster.earlier_names.empty())
      earlier += fmt::format("{} was called {}; whoever goes by that reaches it.\n", cluster.name,
                             fmt::join(cluster.earlier_names, ", "));
    rows.push_back({cluster.name, names.empty() ? "-" : names, std::to_string(backups),
                    time_or_none(archived), std::to_string(claims)});
  }
  return table({"cluster", "lineages", "backups", "last archived", "claims"}, rows) + earlier +
         "\"holdfast -c NAME lineage list\" shows the lineages of one.\n";
}

Json json(const std::vector<expire::ClusterSummary>& clusters) {
  Json list = Json::array();
  for (const expire::ClusterSummary& cluster : clusters)
    list.push(Json::object()
                  .set("cluster", cluster.name)
                  .set("earlier_names", texts_json(cluster.earlier_names))
                  .set("lineages", lineages_json(cluster))
                  .set("drills", cluster.drills));
  return Json::object().set("schema", "holdfast.clusters.v1").set("clusters", std::move(list));
}

std::string text(const expire::ClusterSummary& cluster) {
  if (cluster.lineages.empty())
    return fmt::format(
        "Cluster \"{}\" has no lineage. \"holdfast cluster remove {}\" removes the "
        "rest of it.\n",
        cluster.name, cluster.name);
  std::vector<std::vector<std::string>> rows;
  for (const expire::LineageSummary& one : cluster.lineages) rows.push_back(row(one));
  std::string out = table(kColumns, rows);
  for (const expire::LineageSummary& one : cluster.lineages)
    if (!one.lineage)
      out += fmt::format("Of lineage {} {}. \"holdfast lineage remove {}\" goes on with it.\n",
                         repo::to_string(one.name), one.problem, repo::to_string(one.name));
  return out;
}

Json json(const expire::ClusterSummary& cluster) {
  return Json::object()
      .set("schema", "holdfast.lineages.v1")
      .set("cluster", cluster.name)
      .set("lineages", lineages_json(cluster))
      .set("drills", cluster.drills);
}

std::string text(const expire::Removal& removal, bool done) {
  std::vector<std::vector<std::string>> rows;
  for (const expire::LineageSummary& one : removal.cluster.lineages) rows.push_back(row(one));
  std::string out = rows.empty() ? std::string() : table(kColumns, rows);
  if (removal.whole_cluster && removal.cluster.drills > 0)
    out += fmt::format("{} go too.\n", plural(removal.cluster.drills, "report of a drill"));
  return out + fmt::format("{} {}: {}, {}. It cannot be taken back.\n",
                           done ? "Removed" : "To be removed is", name_of(removal),
                           plural(removal.objects, "object"), to_human_bytes(removal.bytes));
}

Json json(const expire::Removal& removal, bool done) {
  return Json::object()
      .set("schema", "holdfast.removal.v1")
      .set("removed", done)
      .set("cluster", removal.cluster.name)
      .set("whole_cluster", removal.whole_cluster)
      .set("lineages", lineages_json(removal.cluster))
      .set("objects", removal.objects)
      .set("bytes", removal.bytes);
}

std::string text(const expire::Renaming& renaming) {
  if (!renaming.done) return fmt::format("It is called \"{}\" already.\n", renaming.to);
  return fmt::format(
      "Cluster \"{0}\" is called \"{1}\". Earlier names go on leading to it: a server that "
      "archives "
      "as \"{0}\" goes on.\nNext: on every host that names it, rename [cluster.{0}] to "
      "[cluster.{1}] "
      "in the configuration, then run: holdfast -c {1} init --configure-server\n",
      renaming.from, renaming.to);
}

Json json(const expire::Renaming& renaming) {
  return Json::object()
      .set("schema", "holdfast.renaming.v1")
      .set("cluster", renaming.to)
      .set("before", renaming.from)
      .set("first_name", renaming.folder)
      .set("renamed", renaming.done);
}

}  // namespace holdfast::view
