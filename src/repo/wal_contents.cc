#include "repo/wal_contents.h"

#include <charconv>

#include <fmt/core.h>

#include "base/error.h"
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
  mark.is_set_aside = word == kSetAsideWord;
  mark.at = time_member(body, "at");
  mark.by = body.at("by").as_string();
  mark.detail = body.at("detail").as_string();
  if (!body.at("number").is_null()) mark.number = number_member<uint64_t>(body, "number");
  if (!body.at("sha256").is_null()) mark.sha256 = hex_member<32>(body, "sha256");
  return mark;
}

std::optional<uint64_t> number_of(std::string_view text) {
  uint64_t number = 0;
  const std::from_chars_result read =
      std::from_chars(text.data(), text.data() + text.size(), number);
  if (read.ec != std::errc{} || std::to_string(number) != text || number == 0) return std::nullopt;
  return number;
}

// Sorts the objects of a folder by the file that they stand beside.
std::map<std::string, WalAmendments> read_below(const Repository& repository,
                                                const LineageName& lineage,
                                                const std::string& folder,
                                                pg::WalSegmentSize size) {
  std::map<std::string, WalAmendments> found;
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    if (!parse_object_name(lineage, size, entry.name)) return true;
    const size_t slash = entry.name.rfind('/');
    const std::string_view last = std::string_view(entry.name).substr(slash + 1);
    const size_t before = entry.name.rfind('/', slash - 1);
    const std::string file = entry.name.substr(before + 1, slash - before - 1);
    if (const std::optional<uint64_t> number = number_of(last)) {
      found[file].further[*number] = entry.bytes;
      return true;
    }
    // One mark that cannot be read must not keep WAL from being archived or served.
    std::optional<WalMark> mark;
    if (const std::optional<Error> error = damage_of([&] {
          if (const std::optional<Json> body = repository.read_document(kDocument, entry.name))
            mark = mark_from(*body, entry.name, file);
        }))
      found[file].unreadable.push_back(entry.name);
    if (mark) found[file].marks.push_back(*std::move(mark));
    return true;
  });
  return found;
}

}  // namespace

WalAmendments read_amendments(const Repository& repository, const LineageName& lineage,
                              const pg::WalFileName& file, pg::WalSegmentSize size) {
  std::map<std::string, WalAmendments> found =
      read_below(repository, lineage, amended_folder(lineage, file, size), size);
  return found.empty() ? WalAmendments() : std::move(found.begin()->second);
}

std::map<std::string, WalAmendments> read_amendments(const Repository& repository,
                                                     const LineageName& lineage,
                                                     pg::TimelineId timeline,
                                                     pg::WalSegmentSize size) {
  return read_below(repository, lineage, amended_folder(lineage, timeline), size);
}

const WalMark* set_aside(const WalAmendments& amendments, std::optional<uint64_t> number,
                         const std::function<bool(const Bytes32& sha256)>& may_be) {
  const WalMark* newest = nullptr;
  for (const WalMark& mark : amendments.marks) {
    if (mark.number != number || (mark.sha256 && !may_be(*mark.sha256))) continue;
    if (newest == nullptr || mark.at > newest->at || (mark.at == newest->at && mark.is_set_aside))
      newest = &mark;
  }
  return newest != nullptr && newest->is_set_aside ? newest : nullptr;
}

WalMark put_wal_mark(const Repository& repository, const LineageName& lineage,
                     const pg::WalFileName& file, pg::WalSegmentSize size, WalMark mark) {
  mark.file = pg::to_string(file, size);
  mark.at = repository.store().now();
  mark.by = host_name();
  Json body = Json::object();
  body.set("file", mark.file)
      .set("number", mark.number ? Json(*mark.number) : Json())
      .set("sha256", mark.sha256 ? Json(to_hex(mark.sha256->view())) : Json())
      .set("what", mark.is_set_aside ? kSetAsideWord : kServedWord)
      .set("at", to_json(mark.at))
      .set("by", mark.by)
      .set("detail", mark.detail);
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
