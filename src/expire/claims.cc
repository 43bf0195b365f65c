#include "expire/claims.h"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "base/error.h"

namespace holdfast::expire {
namespace {

// Later notes of a piece of work say more than the first ones, and each is renewed alone.
void join(Claim& claim, const repo::Intent& note) {
  repo::Intent& all = claim.intent;
  const bool is_newest = note.valid_until >= all.valid_until;
  claim.ids.insert(is_newest ? claim.ids.begin() : claim.ids.end(), note.id);
  for (const std::string& id : note.uses)
    if (std::ranges::find(all.uses, id) == all.uses.end()) all.uses.push_back(id);
  if (!all.wal_from) std::tie(all.timeline, all.wal_from) = std::tie(note.timeline, note.wal_from);
  all.valid_until = std::max(all.valid_until, note.valid_until);
}

void list_lineage(const repo::Repository& repository, const repo::LineageName& lineage,
                  std::vector<Claim>& claims) {
  const repo::Intents found =
      repo::read_intents(repository, lineage, repository.store().now(), Microseconds{0});
  const size_t first = claims.size();
  for (const repo::Intent& note : found.standing) {
    const auto same =
        std::find_if(claims.begin() + static_cast<ptrdiff_t>(first), claims.end(),
                     [&](const Claim& claim) { return is_of_same_work(claim.intent, note); });
    if (same != claims.end())
      join(*same, note);
    else
      claims.push_back({.lineage = lineage,
                        .ids = {note.id},
                        .intent = note,
                        .state = repo::state_of_owner(repository, note)});
  }
  for (const repo::DamagedIntent& damaged : found.damaged) {
    repo::Intent intent;
    intent.started = damaged.put;
    intent.valid_until = damaged.until;
    claims.push_back({.lineage = lineage,
                      .ids = {damaged.id},
                      .intent = intent,
                      .damage = damaged.error.message()});
  }
}

}  // namespace

bool is_of_same_work(const repo::Intent& a, const repo::Intent& b) {
  return std::tie(a.what, a.host, a.pid, a.process, a.started, a.detail) ==
         std::tie(b.what, b.host, b.pid, b.process, b.started, b.detail);
}

std::vector<Claim> list_claims(const std::string& cluster, const repo::Repository& repository) {
  std::vector<Claim> claims;
  for (const repo::Lineage& lineage : repository.require_lineages(cluster))
    list_lineage(repository, lineage.name, claims);
  std::ranges::sort(claims, {}, [](const Claim& claim) {
    return std::pair(claim.intent.started, claim.intent.id);
  });
  return claims;
}

Claim end_claim(const std::string& cluster, const std::string& id,
                const repo::Repository& repository) {
  std::vector<Claim> claims = list_claims(cluster, repository);
  std::erase_if(claims, [&](const Claim& claim) {
    return id.empty() || std::ranges::none_of(claim.ids, [&](const Bytes16& note) {
             return to_hex(note.view()).starts_with(id);
           });
  });
  if (claims.empty())
    throw Error({.code = ErrorCode::kNotFound,
                 .message = fmt::format("there is no claim \"{}\"", id),
                 .detail = "It may have ended.",
                 .hint = "\"holdfast claims\" shows those that there are."});
  if (claims.size() > 1)
    throw Error({.code = ErrorCode::kUsage,
                 .message = fmt::format("\"{}\" is the beginning of {} claims", id, claims.size()),
                 .hint = "Give more of the id."});
  Claim& claim = claims.front();
  if (claim.state == ProcessState::kAlive)
    throw Error({.code = ErrorCode::kBusy,
                 .message = fmt::format("the work that made claim \"{}\" goes on", id),
                 .detail = fmt::format("It is a {}, {}.", claim.intent.what,
                                       repo::owner_text(claim.intent)),
                 .hint = fmt::format("Wait for its end, or stop it (kill {}): its claim ends with "
                                     "it.",
                                     claim.intent.pid)});
  for (const Bytes16& note : claim.ids) {
    repo::put_intent_end(repository, claim.lineage, note, repository.store().now());
    if (!repo::has_intent_ended(repository, claim.lineage, note))
      throw Error({.code = ErrorCode::kIo,
                   .message = fmt::format("claim \"{}\" has not ended", id),
                   .detail = fmt::format("What was put at \"{}\" cannot be read.",
                                         repo::intent_end_name(claim.lineage, note)),
                   .hint = "See what the storage of the repository has to say."});
  }
  return std::move(claim);
}

}  // namespace holdfast::expire
