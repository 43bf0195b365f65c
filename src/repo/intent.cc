#include "repo/intent.h"

#include <algorithm>
#include <thread>

#include <fmt/core.h>

#include "base/error.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/process.h"
#include "base/task_group.h"
#include "repo/fields.h"
#include "repo/layout.h"

namespace holdfast::repo {
namespace {

constexpr std::string_view kEndedSuffix = ".ended.json";
constexpr std::chrono::minutes kLookEvery{1};

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

[[noreturn]] void throw_name_drawn_twice(const std::string& name) {
  throw Error(
      {.code = ErrorCode::kAlreadyExists,
       .message = fmt::format("object \"{}\" already exists", name),
       .detail =
           "Its name was drawn at random: the random source of this system cannot be trusted."});
}

}  // namespace

Json to_json(const Intent& intent) {
  Json uses = Json::array();
  for (const std::string& id : intent.uses) uses.push(id);
  return Json::object()
      .set("what", intent.what)
      .set("backup", text_or_null(intent.backup))
      .set("uses", std::move(uses))
      .set("objects_from", intent.objects_from ? to_json(*intent.objects_from) : Json())
      .set("timeline", intent.timeline ? Json(intent.timeline->value) : Json())
      .set("wal_from", intent.wal_from ? to_json(*intent.wal_from) : Json())
      .set("host", intent.host)
      .set("pid", intent.pid)
      .set("started", to_json(intent.started))
      .set("valid_until", to_json(intent.valid_until));
}

Intent intent_from_json(const Json& body) {
  Intent intent;
  intent.what = body.at("what").as_string();
  if (const Json& backup = body.at("backup"); !backup.is_null()) intent.backup = backup.as_string();
  for (const Json& id : body.at("uses").items()) intent.uses.push_back(id.as_string());
  for (const std::string& id : intent.uses)
    if (!is_backup_id(id)) throw_member("uses", fmt::format("\"{}\" is no backup's id.", id));
  if (!intent.backup.empty() && !is_backup_id(intent.backup))
    throw_member("backup", fmt::format("\"{}\" is no backup's id.", intent.backup));
  if (!body.at("objects_from").is_null()) intent.objects_from = time_member(body, "objects_from");
  if (!body.at("timeline").is_null())
    intent.timeline = pg::TimelineId{number_member<uint32_t>(body, "timeline")};
  if (!body.at("wal_from").is_null()) intent.wal_from = lsn_member(body, "wal_from");
  if (intent.wal_from && !intent.timeline)
    throw_member("timeline", "It is absent, and \"wal_from\" is not.");
  intent.host = body.at("host").as_string();
  intent.pid = body.at("pid").as_i64();
  intent.started = time_member(body, "started");
  intent.valid_until = time_member(body, "valid_until");
  return intent;
}

Bytes16 put_intent(const Repository& repository, const LineageName& lineage, const Intent& intent) {
  const Bytes16 id = repository.random().bytes16();
  const std::string name = intent_name(lineage, id);
  if (!repository.create_document("intent", name, to_json(intent))) throw_name_drawn_twice(name);
  return id;
}

bool put_intent_end(const Repository& repository, const LineageName& lineage,
                    const Bytes16& intent_id, Time now) {
  return repository.create_document("intent", intent_end_name(lineage, intent_id),
                                    Json::object().set("what", "ended").set("at", to_json(now)));
}

// Whether an intent protects is asked of its own document first, and only of one that would: so an
// end that comes to be while we read is either seen, or comes after everything that we read later.
std::vector<Intent> read_valid_intents(const Repository& repository, const LineageName& lineage,
                                       Time now, Microseconds grace) {
  const std::string folder = intents_folder(lineage);
  std::vector<Intent> valid;
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    std::string_view name = std::string_view(entry.name).substr(folder.size());
    if (!name.ends_with(kJsonSuffix) || name.ends_with(kEndedSuffix)) return true;
    name.remove_suffix(kJsonSuffix.size());
    const std::optional<Bytes16> id = parse_hex_array<16>(name);
    if (!id) return true;
    // A damaged note that has run out stands in nobody's way.
    const std::optional<Error> damage =
        error_of({ErrorCode::kCorrupt, ErrorCode::kPermission, ErrorCode::kIo}, [&] {
          const std::optional<Json> body = repository.read_document("intent", entry.name);
          if (!body) return;  // removed at this moment: it had run out
          Intent intent = intent_from_json(*body);
          if (now > intent.valid_until + grace) return;
          if (repository.read_document("intent", intent_end_name(lineage, *id))) return;
          intent.id = *id;
          valid.push_back(std::move(intent));
        });
    if (damage && now <= entry.modified + kLongestIntentLife + grace)
      throw Error(
          {.code = damage->code(),
           .message = fmt::format("{} intent \"{}\"",
                                  damage->is_damage() ? "damaged" : "unreadable", entry.name),
           .detail = fmt::format("{}. What it protects cannot be told, so nothing "
                                 "can be removed before {}.",
                                 damage->message(),
                                 to_rfc3339(entry.modified + kLongestIntentLife + grace)),
           .hint = damage->hint().empty()
                       ? "Take the object from a copy of the repository, or wait."
                       : damage->hint()});
    return true;
  });
  return valid;
}

// --- HeldIntent ---------------------------------------------------------------------------------

struct HeldIntent::State {
  State(const Repository& r, const LineageName& l, Intent i, Microseconds lives)
      : repository(r), lineage(l), life(lives), intent(std::move(i)) {}

  void put() HF_REQUIRES(mutex) {
    intent.valid_until = repository.store().now() + life;
    ids.push_back(put_intent(repository, lineage, intent));
  }
  void renew_when_due() HF_REQUIRES(mutex) {
    if (ended) return;
    const Time now = repository.store().now();
    if (now > intent.valid_until)
      throw Error(
          {.code = ErrorCode::kConflict,
           .message = fmt::format("this {} has lost the protection of its objects", intent.what),
           .detail = fmt::format("Its intent ended at {}, before it could be renewed; "
                                 "expiry may have removed what it needs.",
                                 to_rfc3339(intent.valid_until)),
           .hint = "Run the command again."});
    if (now + life / 2 > intent.valid_until) put();
  }

  const Repository& repository;
  const LineageName lineage;
  const Microseconds life;
  Mutex mutex;
  Intent intent HF_GUARDED_BY(mutex);
  std::vector<Bytes16> ids HF_GUARDED_BY(mutex);
  bool ended HF_GUARDED_BY(mutex) = false;
  std::jthread keeper;  // last: stopped and joined before the rest goes
};

HeldIntent::HeldIntent(const Repository& repository, const LineageName& lineage, Intent intent,
                       const Clock& clock, Microseconds life) {
  HF_CHECK(life <= kLongestIntentLife);
  intent.host = host_name();
  intent.pid = process_id();
  intent.started = clock.now();
  state_ = std::make_unique<State>(repository, lineage, std::move(intent), life);
  {
    MutexLock lock(state_->mutex);
    state_->put();
  }
  state_->keeper = std::jthread([state = state_.get()](const std::stop_token& stop) {
    while (wait_for(stop, kLookEvery)) {
      // This thread has nobody to tell. It tries again, and whoever relies on the intent is told by
      // check().
      const std::optional<Error> error = error_of(even_interrupted, [&] {
        MutexLock lock(state->mutex);
        state->renew_when_due();
      });
      if (error) log_debug("could not renew an intent: {}", error->message());
    }
  });
}

HeldIntent::~HeldIntent() = default;

void HeldIntent::use(const std::string& backup_id) {
  MutexLock lock(state_->mutex);
  state_->intent.uses.push_back(backup_id);
  state_->put();
}

void HeldIntent::check() {
  MutexLock lock(state_->mutex);
  state_->renew_when_due();
}

void HeldIntent::end() {
  state_->keeper.request_stop();
  // The work is done and must not be called a failure, or interrupted, because its note stays a
  // while.
  const std::optional<Error> error = error_of(even_interrupted, [&] {
    MutexLock lock(state_->mutex);
    state_->ended = true;
    const Time now = state_->repository.store().now();
    for (const Bytes16& id : state_->ids)
      put_intent_end(state_->repository, state_->lineage, id, now);
  });
  if (error) log_debug("could not end an intent: {}", error->message());
}

}  // namespace holdfast::repo
