#include "view/claims.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "view/table.h"

namespace holdfast::view {
namespace {

constexpr size_t kShortId = 8;

std::string short_id(const expire::Claim& claim) {
  return to_hex(claim.id().view()).substr(0, kShortId);
}

// "restore of 20261122T082239Z-1f2e3d, /srv/recovery"
std::string work(const expire::Claim& claim) {
  if (!claim.damage.empty()) return "cannot be read";
  const repo::Intent& intent = claim.intent;
  std::string text = intent.what;
  if (!intent.backup.empty()) text += " " + intent.backup;
  if (!intent.uses.empty()) text += fmt::format(" of {}", fmt::join(intent.uses, ", "));
  if (!intent.detail.empty()) text += ", " + intent.detail;
  return text;
}

std::string_view state(const expire::Claim& claim) {
  return claim.intent.place && claim.state == ProcessState::kDead ? "its directory is gone"
                                                                  : to_string(claim.state);
}

Json text_or_null_json(const std::string& text) { return text.empty() ? Json() : Json(text); }

Json claim_json(const expire::Claim& claim) {
  const repo::Intent& intent = claim.intent;
  Json uses = Json::array();
  for (const std::string& id : intent.uses) uses.push(id);
  return Json::object()
      .set("id", to_hex(claim.id().view()))
      .set("cluster", claim.lineage.shown())
      .set("lineage", repo::to_string(claim.lineage))
      .set("what", text_or_null_json(intent.what))
      .set("backup", text_or_null_json(intent.backup))
      .set("uses", std::move(uses))
      .set("timeline", intent.timeline ? Json(intent.timeline->value) : Json())
      .set("wal_from", intent.wal_from ? Json(pg::to_string(*intent.wal_from)) : Json())
      .set("detail", text_or_null_json(intent.detail))
      .set("host", text_or_null_json(intent.host))
      .set("pid", intent.pid)
      .set("started", to_rfc3339(intent.started))
      .set("valid_until", to_rfc3339(intent.valid_until))
      .set("state", to_string(claim.state))
      .set("damage", text_or_null_json(claim.damage));
}

}  // namespace

std::string text(const std::vector<expire::Claim>& claims) {
  if (claims.empty()) return "Nobody is at work: there is no claim.\n";
  std::string out;
  bool any_unknown = false;
  for (const expire::Claim& claim : claims) {
    any_unknown = any_unknown || claim.state == ProcessState::kUnknown;
    out += fields({{"claim", fmt::format("{}, {}", short_id(claim), work(claim))},
                   {"by", claim.intent.host.empty()
                              ? "unknown"
                              : fmt::format("process {} on {}, {}", claim.intent.pid,
                                            claim.intent.host, state(claim))},
                   {"since", to_local(claim.intent.started)}}) +
           "\n";
  }
  out += any_unknown
             ? "One that is dead or gone protects nothing. One of which that is unknown stands "
               "until it runs out; if you know that its work is over: \"holdfast claims "
               "--end CLAIM\".\n"
             : "One that is dead or gone protects nothing; the others end with their work.\n";
  return out;
}

Json json(const std::vector<expire::Claim>& claims) {
  Json list = Json::array();
  for (const expire::Claim& claim : claims) list.push(claim_json(claim));
  return Json::object().set("schema", "holdfast.claims.v1").set("claims", std::move(list));
}

std::string text(const expire::Claim& ended) {
  return fmt::format("Claim {} ({}) has ended: it protects nothing any more.\n", short_id(ended),
                     work(ended));
}

Json json(const expire::Claim& ended) {
  return Json::object().set("schema", "holdfast.claim_ended.v1").set("ended", claim_json(ended));
}

}  // namespace holdfast::view
