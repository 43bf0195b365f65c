#include "repo/intent.h"

#include <algorithm>
#include <thread>
#include <utility>

#include <fmt/core.h>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/process.h"
#include "base/task_group.h"
#include "codec/digest.h"
#include "repo/fields.h"
#include "repo/layout.h"

namespace holdfast::repo {
namespace {

constexpr std::string_view kEnded = ".ended.";
constexpr size_t kFurtherEndDigits = 8;
constexpr std::chrono::minutes kLookEvery{1};

constexpr std::string_view kMachineDigest = "holdfast machine 1";

// An end says nothing but that it is there.
bool is_readable(const Repository& repository, const std::string& name) {
  bool is_there = false;
  unreadable_of([&] { is_there = repository.read_document("intent", name).has_value(); });
  return is_there;
}

// `ends` are those that stand of this intent, the last of them under the one name that every owner
// looks at; without that one it goes on.
bool says_end(const Repository& repository, const LineageName& lineage, const Bytes16& intent_id,
              const std::vector<std::string>& ends) {
  return !ends.empty() && ends.back() == intent_end_name(lineage, intent_id) &&
         std::ranges::any_of(ends,
                             [&](const std::string& end) { return is_readable(repository, end); });
}

Json text_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

[[noreturn]] void throw_name_drawn_twice(const std::string& name) {
  throw Error(
      {.code = ErrorCode::kAlreadyExists,
       .message = fmt::format("object \"{}\" already exists", name),
       .detail =
           "Its name was drawn at random: the random source of this system cannot be trusted."});
}

Json process_to_json(const ProcessIdentity& process) {
  return Json::object()
      .set("machine", process.machine)
      .set("boot", process.boot)
      .set("namespaces", process.namespaces)
      .set("pid", process.pid)
      .set("start", std::to_string(process.start));
}

ProcessIdentity process_from_json(const Json& body) {
  return {.machine = body.at("machine").as_string(),
          .boot = body.at("boot").as_string(),
          .namespaces = body.at("namespaces").as_string(),
          .pid = body.at("pid").as_i64(),
          .start = text_number_member(body, "start")};
}

Json place_to_json(const DirectoryPlace& place) {
  return Json::object()
      .set("machine", place.machine)
      .set("device", std::to_string(place.device))
      .set("inode", std::to_string(place.inode));
}

DirectoryPlace place_from_json(const Json& body) {
  return {.machine = body.at("machine").as_string(),
          .device = text_number_member(body, "device"),
          .inode = text_number_member(body, "inode")};
}

// Not the id itself, which is the machine's secret.
std::string machine_digest(const Repository& repository, const std::string& machine_id) {
  const Bytes16 repository_id = repository.id();
  codec::Sha256 digest;
  digest.update(as_bytes(kMachineDigest));
  digest.update(repository_id.view());
  digest.update(as_bytes(machine_id));
  return to_hex(digest.finish().view().first(16));
}

// Thrown away. What may not be looked at here is not known to be.
bool is_directory_gone(const Repository& repository, const Intent& intent) {
  bool is_gone = false;
  error_of([&] {
    is_gone = intent.place && place_of(repository, intent.detail) == intent.place &&
              !lstat_if_exists(intent.detail);
  });
  return is_gone;
}

}  // namespace

std::optional<ProcessIdentity> intent_owner(const Repository& repository) {
  std::optional<ProcessIdentity> process = this_process();
  if (process) process->machine = machine_digest(repository, process->machine);
  return process;
}

std::optional<DirectoryPlace> place_of(const Repository& repository, const std::string& directory) {
  const std::optional<ProcessIdentity> here = intent_owner(repository);
  const std::optional<struct stat> parent = stat_if_exists(parent_path(directory));
  if (!here || !parent) return std::nullopt;
  return DirectoryPlace{
      .machine = here->machine, .device = parent->st_dev, .inode = parent->st_ino};
}

ProcessState state_of_owner(const Repository& repository, const Intent& intent) {
  if (intent.host != host_name()) return ProcessState::kUnknown;
  if (!intent.process)
    return is_directory_gone(repository, intent) ? ProcessState::kDead : ProcessState::kUnknown;
  const std::optional<ProcessIdentity> here = intent_owner(repository);
  if (!here) return ProcessState::kUnknown;
  return state_of(*intent.process, *here);
}

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
      .set("detail", text_or_null(intent.detail))
      .set("host", intent.host)
      .set("pid", intent.pid)
      .set("process", intent.process ? process_to_json(*intent.process) : Json())
      .set("place", intent.place ? place_to_json(*intent.place) : Json())
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
  if (const Json* detail = body.find("detail"); detail != nullptr && !detail->is_null())
    intent.detail = detail->as_string();
  if (const Json* process = body.find("process"); process != nullptr && !process->is_null())
    intent.process = process_from_json(*process);
  if (const Json* place = body.find("place"); place != nullptr && !place->is_null())
    intent.place = place_from_json(*place);
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

void put_intent_end(const Repository& repository, const LineageName& lineage,
                    const Bytes16& intent_id, Time now) {
  const Json body = Json::object().set("what", "ended").set("at", to_json(now));
  if (repository.create_document("intent", intent_end_name(lineage, intent_id), body)) return;
  if (has_intent_ended(repository, lineage, intent_id)) return;
  const std::string name =
      fmt::format("{}{}.json", further_intent_ends(lineage, intent_id),
                  to_hex(repository.random().bytes16().view()).substr(0, kFurtherEndDigits));
  if (!repository.create_document("intent", name, body)) throw_name_drawn_twice(name);
}

bool has_intent_ended(const Repository& repository, const LineageName& lineage,
                      const Bytes16& intent_id) {
  const std::string of_this = further_intent_ends(lineage, intent_id);
  std::vector<std::string> ends;
  store::for_each_entry(repository.store(), {.prefix = intents_folder(lineage), .after = of_this},
                        [&](const store::ListEntry& entry) {
                          const bool is_end = entry.name.starts_with(of_this);
                          if (is_end) ends.push_back(entry.name);
                          return is_end;
                        });
  return says_end(repository, lineage, intent_id, ends);
}

// Whether an intent protects is asked of its own document first, and only of one that would. Ends
// are those that were listed before it, by their names; one that comes to be meanwhile is not
// missed for long, and an intent that has ended by then had its commit put before.
Intents read_intents(const Repository& repository, const LineageName& lineage, Time now,
                     Microseconds grace) {
  const std::string folder = intents_folder(lineage);
  Intents found;
  std::vector<std::string> ends;  // of the intent that is listed next
  store::for_each_entry(repository.store(), {.prefix = folder}, [&](const store::ListEntry& entry) {
    std::string_view name = std::string_view(entry.name).substr(folder.size());
    if (!name.ends_with(kJsonSuffix)) return true;
    if (name.find(kEnded) != std::string_view::npos) {
      ends.push_back(entry.name);
      return true;
    }
    name.remove_suffix(kJsonSuffix.size());
    const std::optional<Bytes16> id = parse_hex_array<16>(name);
    if (!id) return true;
    const std::string of_this = further_intent_ends(lineage, *id);
    std::erase_if(ends, [&](const std::string& end) { return !end.starts_with(of_this); });
    const auto has_ended = [&] { return says_end(repository, lineage, *id, ends); };
    // A damaged note that has run out, or that somebody has ended, stands in nobody's way.
    const std::optional<Error> damage = unreadable_of([&] {
      const std::optional<Json> body = repository.read_document("intent", entry.name);
      if (!body) return;  // removed at this moment: it had run out
      Intent intent = intent_from_json(*body);
      const Microseconds longer = intent.what == kExpireIntent ? Microseconds{0} : grace;
      if (now > intent.valid_until + longer || has_ended()) return;
      intent.id = *id;
      found.standing.push_back(std::move(intent));
    });
    if (damage && now <= entry.modified + kLongestIntentLife + grace && !has_ended())
      found.damaged.push_back({.id = *id,
                               .error = *damage,
                               .put = entry.modified,
                               .until = entry.modified + kLongestIntentLife + grace});
    return true;
  });
  return found;
}

std::vector<Intent> read_valid_intents(const Repository& repository, const LineageName& lineage,
                                       Time now, Microseconds grace) {
  Intents found = read_intents(repository, lineage, now, grace);
  for (const DamagedIntent& damaged : found.damaged)
    throw Error(
        {.code = damaged.error.code(),
         .message =
             fmt::format("{} intent \"{}\"", damaged.error.is_damage() ? "damaged" : "unreadable",
                         intent_name(lineage, damaged.id)),
         .detail = fmt::format("{}. What it protects cannot be told, so nothing can be removed "
                               "before {}.",
                               damaged.error.message(), to_rfc3339(damaged.until)),
         .hint = damaged.error.is_damage() || damaged.error.hint().empty()
                     ? fmt::format("Take the object from a copy of the repository, or wait. If "
                                   "nobody is at work: \"holdfast claims --end {}\".",
                                   to_hex(damaged.id.view()))
                     : damaged.error.hint()});
  std::erase_if(found.standing, [&](const Intent& intent) {
    return state_of_owner(repository, intent) == ProcessState::kDead;
  });
  return std::move(found.standing);
}

std::vector<RunningExpiry> running_expiries(const Repository& repository,
                                            const LineageName& lineage) {
  const Time now = repository.store().now();
  const Intents intents = read_intents(repository, lineage, now, Microseconds{0});
  std::vector<RunningExpiry> running;
  for (const Intent& intent : intents.standing)
    if (intent.what == kExpireIntent && state_of_owner(repository, intent) != ProcessState::kDead)
      running.push_back({.id = intent.id, .by = owner_text(intent)});
  for (const DamagedIntent& damaged : intents.damaged)
    if (now <= damaged.put + kExpireIntentLife)
      running.push_back({.id = damaged.id,
                         .by = fmt::format("unknown: the intent \"{}\" is damaged",
                                           intent_name(lineage, damaged.id))});
  return running;
}

std::string owner_text(const Intent& intent) {
  return fmt::format("process {} on host \"{}\", since {}", intent.pid, intent.host,
                     to_local(intent.started));
}

// --- HeldIntent ---------------------------------------------------------------------------------

struct HeldIntent::State {
  State(const Repository& r, const LineageName& l, Intent i, Microseconds lives)
      : repository(r), lineage(l), life(lives), intent(std::move(i)) {}

  void put() HF_REQUIRES(mutex) {
    intent.valid_until = repository.store().now() + life;
    ids.push_back(put_intent(repository, lineage, intent));
  }
  [[noreturn]] void throw_lost(std::string detail, std::string hint) HF_REQUIRES(mutex) {
    throw Error(
        {.code = ErrorCode::kConflict,
         .message = fmt::format("this {} has lost the protection of its objects", intent.what),
         .detail = std::move(detail),
         .hint = std::move(hint)});
  }
  void renew_when_due() HF_REQUIRES(mutex) {
    if (ended) return;
    const Time now = repository.store().now();
    if (now > intent.valid_until)
      throw_lost(fmt::format("Its intent ended at {}, before it could be renewed; "
                             "expiry may have removed what it needs.",
                             to_rfc3339(intent.valid_until)),
                 "Run the command again.");
    if (now + life / 2 > intent.valid_until) put();
  }
  void end_all() HF_REQUIRES(mutex) {
    if (std::exchange(ended, true)) return;
    const Time now = repository.store().now();
    for (const Bytes16& id : ids) put_intent_end(repository, lineage, id, now);
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
  intent.process = intent_owner(repository);
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

HeldIntent::~HeldIntent() { end(); }

void HeldIntent::use(const std::string& backup_id) {
  MutexLock lock(state_->mutex);
  state_->intent.uses.push_back(backup_id);
  state_->put();
}

void HeldIntent::use_wal(pg::TimelineId timeline, pg::Lsn from) {
  MutexLock lock(state_->mutex);
  state_->intent.timeline = timeline;
  state_->intent.wal_from = from;
  state_->put();
}

// What the newest note says is what is held: the older ones say less.
void HeldIntent::check() {
  State& state = *state_;
  MutexLock lock(state.mutex);
  state.renew_when_due();
  if (state.ended) return;
  const std::string end = intent_end_name(state.lineage, state.ids.back());
  if (state.repository.store().info(end))
    state.throw_lost(
        "Somebody has ended its claim; expiry may have removed what it needs.",
        "Run the command again. A claim whose work goes on is not to be ended (holdfast claims).");
}

std::vector<Bytes16> HeldIntent::ids() const {
  MutexLock lock(state_->mutex);
  return state_->ids;
}

std::vector<Bytes16> HeldIntent::hand_over() {
  state_->keeper.request_stop();
  MutexLock lock(state_->mutex);
  state_->ended = true;
  return state_->ids;
}

void HeldIntent::end() {
  state_->keeper.request_stop();
  // The work is done and must not be called a failure, or interrupted, because its note stays a
  // while.
  const std::optional<Error> error = error_of(even_interrupted, [&] {
    MutexLock lock(state_->mutex);
    state_->end_all();
  });
  if (error) log_debug("could not end an intent: {}", error->message());
}

}  // namespace holdfast::repo
