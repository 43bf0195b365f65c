#include "repo/marks.h"

#include <algorithm>
#include <array>
#include <initializer_list>

#include <fmt/core.h>

#include "base/error.h"
#include "base/process.h"
#include "repo/fields.h"

namespace holdfast::repo {
namespace {

constexpr std::array<std::string_view, 7> kWords = {"pinned",  "unpinned",  "damaged", "verified",
                                                    "deleted", "undeleted", "usable"};

// Those of one group contradict each other: the first of its pair.
MarkKind group_of(MarkKind what) {
  if (what == MarkKind::kUsable) return MarkKind::kDamaged;
  return static_cast<MarkKind>(static_cast<int>(what) / 2 * 2);
}

// nullopt for a fact that only a later version of this program knows.
std::optional<Mark> mark_from(const Json& body, const std::string& name,
                              const std::string& backup_id) {
  if (body.at("backup").as_string() != backup_id)
    throw_damaged(name,
                  fmt::format("It is about the backup \"{}\".", body.at("backup").as_string()));
  const auto word = std::ranges::find(kWords, std::string_view(body.at("what").as_string()));
  if (word == kWords.end()) return std::nullopt;
  return Mark{.what = static_cast<MarkKind>(word - kWords.begin()),
              .at = time_member(body, "at"),
              .by = body.at("by").as_string(),
              .detail = body.at("detail").as_string(),
              .put = {}};
}

// Whether the loss of such a mark could cost the backup.
bool protects(MarkKind what) { return what == MarkKind::kPinned || what == MarkKind::kUndeleted; }

// Takes the newest of its kind.
void take(std::optional<Mark>& newest, const Mark& mark) {
  if (!newest || newest->at <= mark.at) newest = mark;
}

// The time of the newest mark of that kind, or of one that says the contrary; of a deletion also of
// a pin, which ends it.
std::optional<Time> newest_of_group(const Repository& repository, const LineageName& lineage,
                                    const std::string& backup_id, MarkKind what) {
  std::optional<Time> newest;
  store::for_each_entry(
      repository.store(), {.prefix = marks_folder(lineage, backup_id)},
      [&](const store::ListEntry& entry) {
        // One that cannot be read orders nothing.
        error_of([&] {
          const std::optional<Json> body = repository.read_document("mark", entry.name);
          if (!body) return;
          const std::optional<Mark> mark = mark_from(*body, entry.name, backup_id);
          if (!mark) return;
          if (group_of(mark->what) == group_of(what) ||
              (what == MarkKind::kDeleted && mark->what == MarkKind::kPinned))
            newest = std::max(newest.value_or(mark->at), mark->at);
        });
        return true;
      });
  return newest;
}

// Of two at one moment the one that is named before the other.
void keep_newest(std::initializer_list<std::optional<Mark>*> marks) {
  std::optional<Mark>* newest = nullptr;
  for (std::optional<Mark>* mark : marks) {
    if (!*mark) continue;
    if (newest != nullptr) ((*mark)->at > (*newest)->at ? *newest : *mark).reset();
    if (newest == nullptr || !*newest) newest = mark;
  }
}

}  // namespace

std::string_view to_string(MarkKind kind) { return kWords[static_cast<size_t>(kind)]; }

Mark put_mark(const Repository& repository, const LineageName& lineage,
              const std::string& backup_id, MarkKind what, std::string detail) {
  Mark mark{.what = what,
            .at = repository.store().now(),
            .by = host_name(),
            .detail = std::move(detail),
            .put = {}};
  // Clocks have ticks, and go back.
  if (const std::optional<Time> newest = newest_of_group(repository, lineage, backup_id, what))
    mark.at = std::max(mark.at, *newest + Microseconds{1});
  put_again(repository, lineage, backup_id, mark);
  if (protects(what)) put_again(repository, lineage, backup_id, mark);
  return mark;
}

void put_again(const Repository& repository, const LineageName& lineage,
               const std::string& backup_id, const Mark& mark) {
  Json body = Json::object();
  body.set("backup", backup_id)
      .set("what", to_string(mark.what))
      .set("at", to_json(mark.at))
      .set("by", mark.by)
      .set("detail", mark.detail);
  const std::string name = mark_name(lineage, backup_id, repository.random().bytes16());
  if (!repository.create_document("mark", name, body))
    throw Error(
        {.code = ErrorCode::kAlreadyExists,
         .message = fmt::format("object \"{}\" already exists", name),
         .detail =
             "Its name was drawn at random: the random source of this system cannot be trusted."});
}

BackupMarks read_marks(const Repository& repository, const LineageName& lineage,
                       const std::string& backup_id) {
  BackupMarks marks;
  std::optional<Mark> unpinned, undeleted;
  std::vector<Mark> protecting;
  // One mark that cannot be read must not keep a backup from being used; it is told.
  const auto tell = [&](const std::string& name, const std::optional<Error>& error, Time put) {
    if (!error) return;
    marks.unreadable.push_back(name);
    marks.unreadable_put = std::max(marks.unreadable_put.value_or(put), put);
    if (!error->is_damage()) marks.refused = error;
  };
  const std::string folder = marks_folder(lineage, backup_id);
  tell(folder, unreadable_of([&] {
         store::for_each_entry(
             repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
               tell(entry.name, unreadable_of([&] {
                      const std::optional<Json> body = repository.read_document("mark", entry.name);
                      if (!body) return;
                      std::optional<Mark> mark = mark_from(*body, entry.name, backup_id);
                      if (!mark) return;
                      mark->put = entry.modified;
                      if (protects(mark->what)) protecting.push_back(*mark);
                      take(mark->what == MarkKind::kPinned      ? marks.pinned
                           : mark->what == MarkKind::kUnpinned  ? unpinned
                           : mark->what == MarkKind::kDamaged   ? marks.damaged
                           : mark->what == MarkKind::kUsable    ? marks.usable
                           : mark->what == MarkKind::kDeleted   ? marks.deleted
                           : mark->what == MarkKind::kUndeleted ? undeleted
                                                                : marks.verified,
                           *mark);
                    }),
                    entry.modified);
               return true;
             });
       }),
       Time::max());
  const std::optional<Mark> pin = marks.pinned;
  const bool is_pin_newer = pin && marks.deleted && pin->at >= marks.deleted->at;
  if (marks.pinned && unpinned && unpinned->at > marks.pinned->at) marks.pinned.reset();
  keep_newest({&marks.damaged, &marks.usable, &marks.verified});
  const bool is_undeleted = marks.deleted && undeleted && undeleted->at >= marks.deleted->at;
  if (marks.pinned || is_undeleted || is_pin_newer) marks.deleted.reset();
  // Nobody could take it back while a pin hid it.
  if (marks.deleted)
    marks.deleted_from =
        std::max({marks.deleted->at, marks.deleted->put, unpinned ? unpinned->at : Time::min()});
  for (const std::optional<Mark>& mark :
       {marks.pinned || is_pin_newer ? pin : std::nullopt, is_undeleted ? undeleted : std::nullopt})
    if (mark && std::ranges::count_if(protecting, [&](const Mark& other) {
                  return other.what == mark->what && other.at == mark->at;
                }) == 1)
      marks.alone.push_back(*mark);
  return marks;
}

std::map<std::string, BackupMarks> read_deletions(const Repository& repository,
                                                  const LineageName& lineage) {
  std::map<std::string, BackupMarks> deleted;
  const std::string folder = lineage_folder(lineage) + "marks/";
  // A mark that cannot be read counts for nothing: the backup is there.
  unreadable_of([&] {
    store::for_each_entry(repository.store(), {.prefix = folder, .folders = true},
                          [&](const store::ListEntry& entry) {
                            std::string id = entry.name.substr(folder.size());
                            if (id.ends_with('/')) id.pop_back();
                            if (!is_backup_id(id)) return true;
                            if (BackupMarks marks = read_marks(repository, lineage, id);
                                marks.deleted)
                              deleted.emplace(std::move(id), std::move(marks));
                            return true;
                          });
  });
  return deleted;
}

}  // namespace holdfast::repo
