#include "repo/wal_contents.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "base/process.h"
#include "repo/fields.h"
#include "repo/layout_table.h"

namespace holdfast::repo {
namespace {

constexpr std::string_view kDocument = "set-aside";
constexpr std::string_view kSetAsideWord = "set aside";
constexpr std::string_view kServedWord = "served";

// nullopt for a fact that only a later version of this program knows.
std::optional<WalMark> mark_from(const Json& body, const std::string& name,
                                 const std::string& file) {
  if (body.at("file").as_string() != file)
    throw_damaged(name, fmt::format("It is about the file \"{}\".", body.at("file").as_string()));
  const std::string& word = body.at("what").as_string();
  if (word != kSetAsideWord && word != kServedWord) return std::nullopt;
  WalMark mark;
  mark.file = file;
  mark.content = body.at("content").as_string();
  if (!body.at("sha256").is_null()) mark.sha256 = hex_member<32>(body, "sha256");
  mark.is_set_aside = word == kSetAsideWord;
  mark.at = time_member(body, "at");
  mark.by = body.at("by").as_string();
  mark.detail = body.at("detail").as_string();
  if (const Json* run = body.find("run"); run != nullptr) mark.run = run->as_string();
  return mark;
}

std::optional<uint64_t> number_from(std::string_view text) {
  uint64_t number = 0;
  const std::from_chars_result read =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc{} || std::to_string(number) != text) return std::nullopt;
  return number;
}

}  // namespace

const std::map<std::string, AmendedFolder::Beside>& AmendedFolder::listed() {
  if (listed_) return *listed_;
  std::map<std::string, Beside> found;
  store::for_each_entry(
      repository_->store(), {.prefix = amended_root(lineage_)}, [&](const store::ListEntry& entry) {
        const std::optional<ObjectName> name = parse_object_name(lineage_, size_, entry.name);
        if (!name) return true;
        const size_t slash = entry.name.rfind('/');
        const std::string file = entry.name.substr(entry.name.rfind('/', slash - 1) + 1,
                                                   slash - entry.name.rfind('/', slash - 1) - 1);
        if (name->kind == ObjectKind::kSetAside)
          found[file].marks.push_back(entry.name);
        else if (const auto number = number_from(std::string_view(entry.name).substr(slash + 1));
                 number.value_or(0) > 0)
          found[file].further[*number] = entry.bytes;
        return true;
      });
  return listed_.emplace(std::move(found));
}

const AmendedFolder::Copies& AmendedFolder::copies() {
  if (copies_) return *copies_;
  Copies found;
  store::for_each_entry(
      repository_->store(), {.prefix = history_copies_folder(lineage_)},
      [&](const store::ListEntry& entry) {
        const std::optional<ObjectName> name = parse_object_name(lineage_, size_, entry.name);
        const std::optional<uint64_t> number =
            number_from(std::string_view(entry.name).substr(entry.name.rfind('/') + 1));
        if (name && number) found[name->segment.timeline][*number] = entry.bytes;
        return true;
      });
  return copies_.emplace(std::move(found));
}

std::vector<pg::TimelineId> AmendedFolder::copied_histories() {
  MutexLock lock(mutex_);
  std::vector<pg::TimelineId> timelines;
  for (const auto& [timeline, numbers] : copies()) timelines.push_back(timeline);
  return timelines;
}

std::vector<std::string> AmendedFolder::files() {
  MutexLock lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [file, beside] : listed()) names.push_back(file);
  return names;
}

void AmendedFolder::forget() {
  MutexLock lock(mutex_);
  listed_.reset();
  copies_.reset();
}

WalAmendments AmendedFolder::of(const pg::WalFileName& file) {
  WalAmendments amendments;
  std::vector<std::string> marks;
  const std::string name = pg::to_string(file, size_);
  {
    MutexLock lock(mutex_);
    const auto& all = listed();
    if (const auto found = all.find(name); found != all.end()) {
      amendments.further = found->second.further;
      marks = found->second.marks;
    }
    if (file.kind == pg::WalFileKind::kHistory)
      if (const auto found = copies().find(file.segment.timeline); found != copies().end())
        for (const auto& [number, bytes] : found->second)
          if (number > 0) amendments.further.emplace(number, bytes);
  }
  if (!amendments.further.empty()) amendments.next_number = amendments.further.rbegin()->first + 1;
  for (const std::string& object : marks) {
    // One mark that cannot be read must not keep WAL from being archived or served.
    std::optional<WalMark> mark;
    if (const std::optional<Error> error = damage_of([&] {
          if (const std::optional<Json> body = repository_->read_document(kDocument, object))
            mark = mark_from(*body, object, name);
        }))
      log_warning("a mark of WAL file \"{}\" is passed over: {}", name, error->message());
    if (!mark) continue;
    if (const std::optional<uint64_t> number = number_from(mark->content);
        number && file.kind != pg::WalFileKind::kPartial)
      amendments.next_number = std::max(amendments.next_number, *number + 1);
    amendments.marks.push_back(*std::move(mark));
  }
  return amendments;
}

const WalMark* set_aside(const WalAmendments& amendments, const std::string& content,
                         const std::function<std::optional<Bytes32>()>& sha256) {
  const WalMark* newest = nullptr;
  std::optional<std::optional<Bytes32>> read;  // asked for once
  for (const WalMark& mark : amendments.marks) {
    bool speaks_of_it = mark.content == content;
    if (mark.sha256) {
      if (!read) read = sha256();
      if (*read) speaks_of_it = *mark.sha256 == **read;
    }
    if (!speaks_of_it) continue;
    if (newest == nullptr || mark.at > newest->at || (mark.at == newest->at && mark.is_set_aside))
      newest = &mark;
  }
  return newest != nullptr && newest->is_set_aside ? newest : nullptr;
}

WalMark put_wal_mark(const Repository& repository, const LineageName& lineage,
                     const pg::WalFileName& file, pg::WalSegmentSize size,
                     const WalAmendments& amendments, WalMark mark) {
  mark.file = pg::to_string(file, size);
  mark.at = repository.store().now();
  for (const WalMark& older : amendments.marks)
    mark.at = std::max(mark.at, older.at + Microseconds(1));
  mark.by = host_name();
  Json body = Json::object();
  body.set("file", mark.file)
      .set("content", mark.content)
      .set("sha256", mark.sha256 ? Json(to_hex(mark.sha256->view())) : Json())
      .set("what", mark.is_set_aside ? kSetAsideWord : kServedWord)
      .set("at", to_json(mark.at))
      .set("by", mark.by)
      .set("detail", mark.detail);
  if (!mark.run.empty()) body.set("run", mark.run);
  const std::string name = amended_mark_name(lineage, file, size, repository.random().bytes16());
  if (!repository.create_document(kDocument, name, body))
    throw Error(
        {.code = ErrorCode::kAlreadyExists,
         .message = fmt::format("object \"{}\" already exists", name),
         .detail =
             "Its name was drawn at random: the random source of this system cannot be trusted."});
  return mark;
}

}  // namespace holdfast::repo
