#include "verify/pairs.h"

#include <optional>

#include <fmt/core.h>

#include "repo/object_check.h"

namespace holdfast::verify {
namespace {

// What stands at one of the places.
struct Half {
  std::string name;
  bool is_missing = false;
  std::optional<Error> error = {};
};

Half look(const repo::Repository& repository, const std::string& name) {
  Half half{.name = name};
  half.error = unreadable_of([&] {
    half.is_missing = !repository.store().info(name);
    repo::check_object(repository, *repo::kind_of_object(name), name);
  });
  return half;
}

void tell(const Half& half, const Half& other, Findings& findings) {
  Finding finding = finding_of(half.name, half.error.value());
  if (half.is_missing) finding.problem = "missing";
  if (half.error->is_damage() && !other.error)
    finding.detail +=
        fmt::format(" \"{}\" holds the same bytes: put them in its place.", other.name);
  findings.add(std::move(finding));
}

}  // namespace

bool check_pair(const repo::Repository& repository, const std::string& first_name,
                const std::string& copy_name, bool needs_copy, Findings& findings) {
  const Half first = look(repository, first_name);
  const Half copy = look(repository, copy_name);
  const bool tells_of_copy = copy.error && (needs_copy || !copy.is_missing);
  if (first.error) tell(first, copy, findings);
  if (tells_of_copy) tell(copy, first, findings);
  if (first.error || copy.error) return !first.error && !tells_of_copy;
  if (repo::object_sha256(repository, first_name) == repo::object_sha256(repository, copy_name))
    return true;
  findings.add(
      {.object = copy_name,
       .problem = "damaged",
       .detail = fmt::format("It and the first are not the same bytes. Those of \"{}\" are "
                             "used.",
                             first_name),
       .backups = {},
       .files = {}});
  return false;
}

}  // namespace holdfast::verify
