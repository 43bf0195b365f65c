// The steps in the order of verify.h's list. A lineage's result is whole or there is none: what a
// store that does not answer throws passes through.
#include "verify/lineage.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/core.h>

#include "base/task_group.h"
#include "pg/timeline_history.h"
#include "recovery/windows.h"
#include "repo/backup_order.h"
#include "repo/layout.h"
#include "repo/object_check.h"
#include "repo/pack.h"
#include "repo/refs.h"
#include "repo/repair.h"
#include "repo/wal_archive.h"
#include "verify/damage.h"
#include "verify/files.h"
#include "verify/inventory.h"
#include "verify/job.h"
#include "verify/packs.h"
#include "verify/pairs.h"
#include "verify/rolling.h"
#include "verify/wal.h"

namespace holdfast::verify {
namespace {

// So many records are merged into one.
constexpr size_t kRecordsKept = 8;

std::string sentence(const Error& error) {
  return error.detail().empty() ? error.message() : error.detail();
}

// One backup on its way to a verdict.
struct Candidate {
  std::string id;
  std::optional<repo::Backup> backup;  // nullopt: the commit object cannot be read
  bool has_refs = false;               // its list of references can be read
  std::string lesser;                  // what does not keep it from being restored
  std::string reason;                  // what does
  bool needs_newer = false;            // of this program: no damage that a mark should tell of
  bool is_unsound = false;             // restored whole today, but it cannot count as a good backup
  bool is_forced = false;  // it was found damaged before: nothing of it counts as known good
};

// Which packs a backup needs; nullopt: it cannot be told.
using References = std::optional<std::vector<repo::PackRefs>>;

class LineageVerifier {
 public:
  LineageVerifier(const VerifyOptions& options, const repo::Repository& repository,
                  const repo::Lineage& lineage, std::string& not_kept, Reporter& reporter,
                  std::stop_token stop)
      : options_(options),
        repository_(repository),
        lineage_(lineage),
        name_(lineage.name),
        archive_(repository, lineage),
        not_kept_(not_kept),
        good_(lineage.name),
        job_{.jobs = std::max(options.jobs, 1),
             .repository = repository,
             .lineage = lineage,
             .reporter = reporter,
             .stop = std::move(stop),
             .findings = findings_,
             .good = good_,
             .rate = rate_} {
    result_.lineage = lineage;
  }

  LineageResult run() {
    began_ = now_if_writable();
    if (began_) good_.set_time(repo::LastRead::of(*began_));
    list();
    put_missing_copies();
    choose_what_is_due();
    read_commits();
    read_refs();
    check_packs();
    check_manifests();
    check_wal();
    check_others();
    look_at_windows();
    tell_leftovers();
    give_verdicts();
    keep_record();
    keep_marks();
    result_.finding_count = findings_.count();
    result_.findings = findings_.take();
    return std::move(result_);
  }

 private:
  // --- steps
  void list();
  void put_missing_copies();
  void choose_what_is_due();
  void read_commits();
  void check_commit_objects(Candidate& candidate, const std::optional<Error>& unreadable);
  void read_refs();
  void check_packs();
  void check_manifests();
  void check_manifest(Candidate& candidate, BackupObjects& objects, Footers& footers,
                      const References& refs);
  void find_damaged_footers(Candidate& candidate, const References& refs);
  void check_manifest_objects(Candidate& candidate, BackupObjects& objects);
  void check_wal();
  void check_others();
  void check_other(const ListedObject& object);
  void check_unfinished_segments();
  void look_at_windows();
  void tell_leftovers();
  void give_verdicts();
  void keep_record();
  void keep_marks();
  void put_second(const std::string& id, const repo::Mark& alone);

  // --- parts
  // What kept us from seeing whether there is such an object; nullptr: nothing did.
  const Error* hidden_by(const std::string& name) const;
  [[noreturn]] void throw_missing(const std::string& name) const;
  // Those of a backup whose list could be read before.
  References read_refs_again(Candidate& candidate);
  void tell_bad_refs(Candidate& candidate, const Error& error);
  bool touch_damage(const References& refs) const;
  // The store's clock may have to write to tell the time.
  std::optional<Time> now_if_writable();
  // Carries out what changes the repository; false when the store does not let us.
  template <typename Work>
  bool keep(Work&& work);
  bool is_scoped() const { return !options_.backups.empty(); }
  bool must_read(const auto& listed) const {
    return options_.deep || !listed.is_known_good || listed.is_due;
  }
  // What was not read, because it is known.
  void count_unchanged(const auto& listed) {
    ++result_.objects_unchanged;
    result_.bytes_unchanged += listed.bytes;
    result_.oldest = std::min(result_.oldest.value_or(listed.read), listed.read);
  }
  void count_read(uint64_t bytes) {
    ++result_.others_read;
    result_.bytes_read += bytes;
  }
  bool needs_segment(const Candidate& candidate, uint64_t number) const;
  std::pair<pg::WalFileName, Bytes16> partial_of(const ListedObject& object) const;
  static void spoil(Candidate& candidate, const std::string& reason) {
    if (candidate.reason.empty()) candidate.reason = reason;
  }
  static void lessen(Candidate& candidate, const std::string& reason) {
    if (candidate.lesser.empty()) candidate.lesser = reason;
  }

  const VerifyOptions& options_;
  const repo::Repository& repository_;
  const repo::Lineage& lineage_;
  const repo::LineageName name_;
  const repo::WalArchive archive_;
  std::string& not_kept_;
  Findings findings_;
  GoodObjects good_;
  RateLimit rate_{options_.bytes_per_second};
  const Job job_;

  std::optional<Time> began_;
  std::optional<repo::VerifiedRecords> records_;
  Inventory inventory_;
  std::vector<Candidate> candidates_;  // oldest first
  DamagedPacks damaged_packs_;
  WalDamage damaged_wal_;
  LineageResult result_;
};

// --- what there is ------------------------------------------------------------------------------

std::optional<Time> LineageVerifier::now_if_writable() {
  std::optional<Time> now;
  keep([&] { now = repository_.store().now(); });
  return now;
}

template <typename Work>
bool LineageVerifier::keep(Work&& work) {
  if (!not_kept_.empty()) return false;
  // A repository that cannot be written to is verified all the same.
  const std::optional<Error> error = error_of(
      {ErrorCode::kPermission, ErrorCode::kNoSpace, ErrorCode::kIo}, std::forward<Work>(work));
  if (error) not_kept_ = error->message();
  return !error;
}

void LineageVerifier::list() {
  job_.reporter.phase("listing objects", 0);
  records_.emplace(repository_, name_, [&](const std::string& name, const Error& error) {
    findings_.add(name, error);
  });
  inventory_ = take_inventory(repository_, lineage_, *records_, job_.stop);
  for (const auto& [folder, error] : inventory_.unreadable_folders) findings_.add(folder, error);
}

// A copy may never have been put, by a backup that was killed right behind its commit; a first that
// is missing was lost.
void LineageVerifier::put_missing_copies() {
  std::vector<std::string> put;
  keep([&] { put = repo::repair(repository_, lineage_, system_clock()); });
  for (const std::string& object : put)
    if (repo::own_name(*repo::kind_of_object(object), object) == object)
      findings_.add({.object = object,
                     .problem = "missing",
                     .detail = "It was put again, with the bytes of its copy.",
                     .backups = {},
                     .files = {}});
    else
      job_.reporter.warning(fmt::format("\"{}\" was missing, and was put", object));
}

// Without a record of it the same part would be read each time.
void LineageVerifier::choose_what_is_due() {
  if (is_scoped() || options_.deep || !began_) return;
  Rolling rolling;
  inventory_.for_each([&](const auto& listed) {
    if (listed.is_known_good)
      rolling.add(listed.read, listed.bytes);
    else
      rolling.add_fresh(listed.bytes);
  });
  rolling.decide(*began_, options_.within);
  inventory_.for_each([&](auto& listed) {
    listed.is_due = listed.is_known_good && rolling.take(listed.read, listed.bytes);
    if (listed.is_due) result_.bytes_due += listed.bytes;
  });
}

const Error* LineageVerifier::hidden_by(const std::string& name) const {
  const auto found = std::ranges::find_if(
      inventory_.unreadable_folders,
      [&](const auto& unreadable) { return name.starts_with(unreadable.first); });
  return found == inventory_.unreadable_folders.end() ? nullptr : &found->second;
}

void LineageVerifier::throw_missing(const std::string& name) const {
  if (const Error* error = hidden_by(name)) throw Error(*error);
  repo::throw_damaged(name, "It is missing.");
}

void LineageVerifier::read_commits() {
  std::vector<std::string> chosen;
  for (const auto& [id, objects] : inventory_.backups)
    if (objects.has_commit) chosen.push_back(id);
  if (is_scoped()) {
    const std::vector<std::string> all = repo::backup_ids_in_order(repository_, name_);
    chosen.clear();
    for (const std::string& word : options_.backups) {
      for (const std::string& id : all)
        if ((word == "latest" && id == all.back()) || (word != "latest" && id.starts_with(word)))
          chosen.push_back(id);
    }
    std::ranges::sort(chosen);
    chosen.erase(std::ranges::unique(chosen).begin(), chosen.end());
  }
  for (const std::string& id : chosen) {
    throw_if_stopped(job_.stop);
    Candidate candidate;
    candidate.id = id;
    const std::string name = repo::backup_name(name_, id);
    std::optional<Error> unreadable;
    candidate.backup = repo::read_backup_if_possible(
        repository_, name_, id, [&](const Error& error) { unreadable = error; });
    if (!candidate.backup && !unreadable) continue;  // deleted at this moment
    check_commit_objects(candidate, unreadable);
    if (candidate.backup && candidate.backup->system_identifier != lineage_.system_identifier) {
      findings_.add(
          {.object = name,
           .problem = "damaged",
           .detail = fmt::format("It is of the system {}; the lineage is of {}.",
                                 candidate.backup->system_identifier, lineage_.system_identifier),
           .backups = {id},
           .files = {}});
      candidate.reason = "it is of another system";
    }
    ++result_.others_read;
    candidates_.push_back(std::move(candidate));
  }
}

// The first and its copy, and what keeps both from being used.
void LineageVerifier::check_commit_objects(Candidate& candidate,
                                           const std::optional<Error>& unreadable) {
  const std::string first = repo::backup_name(name_, candidate.id);
  const std::string copy = repo::backup_copy_name(name_, candidate.id);
  if (!check_pair(repository_, first, copy, false, findings_))
    lessen(candidate, "one of its two commit objects is missing or damaged");
  else if (!repository_.store().info(copy))
    job_.reporter.warning(fmt::format("\"{}\", the copy of a commit object, is missing", copy));
  if (!unreadable) return;
  if (!findings_.has(first) && !findings_.has(copy)) findings_.add(first, *unreadable);
  findings_.blame(first, candidate.id);
  findings_.blame(copy, candidate.id);
  spoil(candidate, "its commit object cannot be read: " + sentence(*unreadable));
  candidate.needs_newer = unreadable->code() == ErrorCode::kUnsupported;
}

// Small, and read every time: they tell which packs each backup needs. Many backups of many packs
// have long lists together, so none is kept. What an earlier run, or somebody else, has found
// damaged is read again whatever the records say.
void LineageVerifier::read_refs() {
  for (Candidate& candidate : candidates_) {
    if (!candidate.backup) continue;
    throw_if_stopped(job_.stop);
    const repo::BackupMarks& marks = candidate.backup->marks;
    candidate.is_forced = marks.damaged || marks.usable;
    const std::string name = repo::refs_name(name_, candidate.id);
    References refs;
    const std::optional<Error> error = unreadable_of([&] {
      const std::optional<ListedObject>& listed = inventory_.backups[candidate.id].refs;
      if (!listed) throw_missing(name);
      if (must_read(*listed)) {
        if (repo::object_sha256(repository_, name) != candidate.backup->refs_sha256)
          repo::throw_damaged(name, "It is not the one that the backup names.");
      }
      refs = repo::read_refs(repository_, name_, candidate.id);
      if (!refs) repo::throw_damaged(name, "It disappeared while it was read.");
      if (must_read(*listed)) good_.add(name, listed->bytes);
      count_read(listed->bytes);
    });
    if (error) {
      tell_bad_refs(candidate, *error);
      continue;
    }
    candidate.has_refs = true;
    for (const repo::PackRefs& used : refs.value()) {
      if (ListedPack* pack = inventory_.find_pack(used.pack)) {
        pack->is_needed = true;
        if (candidate.is_forced) pack->is_known_good = false;
        continue;
      }
      if (!damaged_packs_.emplace(used.pack, PackDamage{.is_missing = true, .ordinals = {}}).second)
        continue;
      const std::string pack = repo::pack_name(name_, used.pack);
      if (const Error* hidden = hidden_by(pack))
        findings_.add(pack, *hidden);
      else
        findings_.add({.object = pack,
                       .problem = "missing",
                       .detail = "A backup refers to it.",
                       .backups = {},
                       .files = {}});
    }
  }
}

void LineageVerifier::tell_bad_refs(Candidate& candidate, const Error& error) {
  findings_.add(repo::refs_name(name_, candidate.id), error);
  lessen(candidate,
         fmt::format("its list of references {}: what it uses is told by its manifest alone",
                     error.is_damage() ? "is missing or damaged" : "cannot be read"));
  candidate.is_unsound = candidate.is_unsound || error.is_damage();
  candidate.has_refs = false;
}

// --- packs, manifests ---------------------------------------------------------------------------

void LineageVerifier::check_packs() {
  // Without its references nobody knows what a backup needs.
  const bool reads_all = !is_scoped() || std::ranges::any_of(candidates_, [](const Candidate& c) {
    return c.backup && !c.has_refs;
  });
  std::vector<const ListedPack*> to_read;
  for (const ListedPack& pack : inventory_.packs) {
    if (!reads_all && !pack.is_needed) continue;
    if (!must_read(pack)) {
      count_unchanged(pack);
      continue;
    }
    to_read.push_back(&pack);
    ++result_.packs_read;
    result_.bytes_read += pack.bytes;
  }
  DamagedPacks found = verify::check_packs(job_, to_read);
  damaged_packs_.merge(found);
}

References LineageVerifier::read_refs_again(Candidate& candidate) {
  References refs;
  if (!candidate.has_refs) return refs;
  const std::string name = repo::refs_name(name_, candidate.id);
  const std::optional<Error> error = unreadable_of([&] {
    refs = repo::read_refs(repository_, name_, candidate.id);
    if (!refs) repo::throw_damaged(name, "It disappeared while it was read.");
  });
  if (error) tell_bad_refs(candidate, *error);
  return refs;
}

bool LineageVerifier::touch_damage(const References& refs) const {
  return !refs || std::ranges::any_of(*refs, [&](const repo::PackRefs& pack) {
    return damaged_packs_.contains(pack.pack);
  });
}

void LineageVerifier::check_manifests() {
  job_.reporter.phase("verifying manifests", 0);
  Footers footers(job_);
  for (Candidate& candidate : candidates_) {
    if (!candidate.backup) continue;
    throw_if_stopped(job_.stop);
    BackupObjects& objects = inventory_.backups[candidate.id];
    const bool is_known = objects.manifest && objects.copy && !must_read(*objects.manifest) &&
                          !must_read(*objects.copy) && !candidate.is_forced;
    if (!is_known || !candidate.has_refs || !damaged_packs_.empty()) {
      const References refs = read_refs_again(candidate);
      if (!is_known || touch_damage(refs)) {
        check_manifest(candidate, objects, footers, refs);
        continue;
      }
    }
    count_unchanged(*objects.manifest);
    count_unchanged(*objects.copy);
  }
}

void LineageVerifier::check_manifest(Candidate& candidate, BackupObjects& objects, Footers& footers,
                                     const References& refs) {
  find_damaged_footers(candidate, refs);
  check_manifest_objects(candidate, objects);
  if (!candidate.reason.empty()) return;
  const std::optional<std::string> problem =
      check_files(job_, footers, *candidate.backup, refs ? &*refs : nullptr, damaged_packs_);
  if (problem) {
    spoil(candidate, *problem);
  } else if (candidate.lesser.empty()) {
    good_.add(objects.manifest->name, objects.manifest->bytes);
    good_.add(objects.copy->name, objects.copy->bytes);
  }
}

// The extents behind a footer that is damaged are found by what refers to them, one by one; nothing
// can be shared or moved by it any more.
void LineageVerifier::find_damaged_footers(Candidate& candidate, const References& refs) {
  if (!refs) return;
  for (const repo::PackRefs& used : *refs) {
    const auto damage = damaged_packs_.find(used.pack);
    if (damage == damaged_packs_.end() || !damage->second.has_no_footer) continue;
    const std::string name = repo::pack_name(name_, used.pack);
    findings_.blame(name, candidate.id);
    if (damage->second.is_unreadable) continue;  // whoever reads its extents says so
    lessen(candidate, fmt::format("the footer of pack {} is damaged", to_hex(used.pack.view())));
    candidate.is_unsound = true;
  }
}

// The first and its copy, each against the digest in the commit object.
void LineageVerifier::check_manifest_objects(Candidate& candidate, BackupObjects& objects) {
  std::optional<Error> first_error;
  int good = 0;
  for (const bool copy : {false, true}) {
    const std::optional<ListedObject>& listed = copy ? objects.copy : objects.manifest;
    const std::string name = copy ? repo::manifest_copy_name(name_, candidate.id)
                                  : repo::manifest_name(name_, candidate.id);
    const std::optional<Error> error = unreadable_of([&] {
      if (!listed) throw_missing(name);
      repo::ManifestReader::check(repository_, name_, candidate.id,
                                  candidate.backup->manifest_sha256, copy);
    });
    if (listed) count_read(listed->bytes);
    if (!error) {
      ++good;
      continue;
    }
    findings_.add(name, *error);
    if (!first_error) first_error = error;
  }
  if (good == 1)
    lessen(candidate, "one of its two manifests is missing or damaged");
  else if (good == 0)
    spoil(candidate, "both its manifests are missing or damaged: " + sentence(*first_error));
  if (good == 0)
    for (const std::string& name :
         {repo::manifest_name(name_, candidate.id), repo::manifest_copy_name(name_, candidate.id)})
      findings_.blame(name, candidate.id);
}

// --- WAL, and all else --------------------------------------------------------------------------

bool LineageVerifier::needs_segment(const Candidate& candidate, uint64_t number) const {
  if (!candidate.backup) return false;
  const pg::WalSegmentSize size = archive_.segment_size();
  return number >= pg::segment_of(candidate.backup->start_lsn, size) &&
         number <= pg::last_segment_before_end(candidate.backup->stop_lsn, size);
}

void LineageVerifier::check_wal() {
  auto is_wanted = [&](pg::TimelineId, const ListedSegment& segment) {
    const auto needs = [&](const Candidate& c) { return needs_segment(c, segment.number); };
    if (is_scoped() && std::ranges::none_of(candidates_, needs)) return false;
    if (must_read(segment) || std::ranges::any_of(candidates_, [&](const Candidate& c) {
          return c.is_forced && needs(c);
        }))
      return true;
    count_unchanged(segment);
    return false;
  };
  damaged_wal_ = verify::check_wal(job_, archive_, inventory_, is_wanted, result_.segments_read,
                                   result_.bytes_read);
}

void LineageVerifier::check_others() {
  if (is_scoped()) return;
  job_.reporter.phase("verifying other objects", 0);
  for (const ListedObject& object : inventory_.others) {
    throw_if_stopped(job_.stop);
    if (!must_read(object)) {
      count_unchanged(object);
      continue;
    }
    count_read(object.bytes);
    const std::optional<Error> error = unreadable_of([&] { check_other(object); });
    // What expires while we look is no damage.
    if (error && repository_.store().info(object.name)) findings_.add(object.name, *error);
    if (!error && !findings_.has(object.name)) good_.add(object.name, object.bytes);
  }
  check_unfinished_segments();
}

// Each time, for what is beside one may be new.
void LineageVerifier::check_unfinished_segments() {
  std::map<pg::SegmentName, std::vector<Bytes16>> partials;
  for (const ListedObject& object : inventory_.others) {
    if (object.kind->kind != repo::ObjectKind::kWalPartial) continue;
    const auto& [file, digest] = partial_of(object);
    if (archive_.served_object(file, &digest)) partials[file.segment].push_back(digest);
  }
  for (const auto& [segment, digests] : partials)
    verify::check_unfinished(job_, archive_, segment, digests);
}

std::pair<pg::WalFileName, Bytes16> LineageVerifier::partial_of(const ListedObject& object) const {
  const std::string_view base = std::string_view(object.name).substr(object.name.rfind('/') + 1);
  const size_t dot = base.rfind('.');
  return {pg::parse_wal_file_name(base.substr(0, dot), archive_.segment_size()),
          parse_hex_array<16>(base.substr(dot + 1)).value()};
}

void LineageVerifier::check_other(const ListedObject& object) {
  const std::string_view base = std::string_view(object.name).substr(object.name.rfind('/') + 1);
  const pg::WalSegmentSize size = archive_.segment_size();
  auto require = [&](bool present) {
    if (!present) repo::throw_damaged(object.name, "It disappeared while it was read.");
  };
  // What is not served is asked for by nobody.
  auto check_small = [&](const pg::WalFileName& file, const std::string& name) {
    if (archive_.served_object(file) != name) return;
    if (const std::optional<std::string> copy = repo::copy_of_history(name))
      check_pair(repository_, name, *copy, false, findings_);
    const std::optional<Bytes> content = archive_.read_file_of(name);
    require(content.has_value());
    if (file.kind == pg::WalFileKind::kHistory)
      pg::parse_timeline_history(file.segment.timeline, as_text(*content));
  };
  switch (object.kind->kind) {
    case repo::ObjectKind::kTimelineHistory:
    case repo::ObjectKind::kBackupHistory:
      return check_small(pg::parse_wal_file_name(base, size), object.name);
    case repo::ObjectKind::kHistoryCopy:
      return check_small({.kind = pg::WalFileKind::kHistory,
                          .segment = repo::parse_object_name(name_, size, object.name)->segment},
                         repo::history_of_copy(object.name).value());
    case repo::ObjectKind::kFurtherSegment:
    case repo::ObjectKind::kFurtherFile: {
      const std::string_view folder =
          std::string_view(object.name).substr(0, object.name.size() - base.size() - 1);
      const pg::WalFileName file =
          pg::parse_wal_file_name(folder.substr(folder.rfind('/') + 1), size);
      if (file.kind != pg::WalFileKind::kSegment) return check_small(file, object.name);
      if (archive_.served_object(file) == object.name)
        repo::check_object(repository_, *object.kind, object.name);
      return;
    }
    case repo::ObjectKind::kWalPartial: {
      const auto& [file, digest] = partial_of(object);
      return require(!archive_.served_object(file, &digest) ||
                     archive_.read_segment(file, [](ByteView) {}, &digest).has_value());
    }
    default:  // what nothing is known about but its frame
      repo::check_object(repository_, *object.kind, object.name);
  }
}

void LineageVerifier::look_at_windows() {
  std::vector<repo::Backup> backups;
  std::set<std::string> restorable;
  for (const Candidate& candidate : candidates_) {
    if (!candidate.backup) continue;
    backups.push_back(*candidate.backup);
    if (candidate.reason.empty()) restorable.insert(candidate.id);
  }
  recovery::WalPicture picture =
      recovery::look_at_wal({.archive = archive_,
                             .backups = backups,
                             .restorable = restorable,
                             .damage = damaged_wal_,
                             .look_into = 0,  // WAL of wal_level minimal is read each time
                             .compare = repo::Compare::kContents,
                             .on_damage = [&](const std::string& object,
                                              const Error& error) { findings_.add(object, error); },
                             .stop = job_.stop});
  for (Candidate& candidate : candidates_)
    if (const auto found = picture.broken.find(candidate.id); found != picture.broken.end()) {
      if (!found->second.object.empty()) findings_.blame(found->second.object, candidate.id);
      spoil(candidate, found->second.reason);
    }
  if (is_scoped()) return;  // the WAL behind them was not read
  result_.windows = std::move(picture.windows);
  result_.gaps = std::move(picture.gaps);
}

void LineageVerifier::tell_leftovers() {
  if (is_scoped()) return;
  result_.leftovers = inventory_.unknown;
  result_.leftover_count = inventory_.unknown_count;
  result_.leftover_bytes = inventory_.unknown_bytes;
  auto leave = [&](uint64_t bytes) {
    ++result_.leftover_count;
    result_.leftover_bytes += bytes;
  };
  const bool knows_all =
      std::ranges::all_of(candidates_, [](const Candidate& c) { return c.has_refs; });
  for (const ListedPack& pack : inventory_.packs)
    if (knows_all && !pack.is_needed) leave(pack.bytes);
  for (const auto& [id, objects] : inventory_.backups) {
    if (objects.has_commit) continue;
    for (const std::optional<ListedObject>* object :
         {&objects.manifest, &objects.copy, &objects.refs})
      if (*object) leave((*object)->bytes);
  }
}

// --- what comes of it ---------------------------------------------------------------------------

void LineageVerifier::give_verdicts() {
  for (const Candidate& candidate : candidates_) {
    BackupVerdict verdict{.id = candidate.id, .reason = {}, .backup = candidate.backup};
    const repo::Backup* backup = candidate.backup ? &*candidate.backup : nullptr;
    if (!candidate.reason.empty()) {
      verdict.verdict =
          findings_.is_only_unreadable(candidate.id) ? Verdict::kUnreadable : Verdict::kDamaged;
      verdict.reason = candidate.reason;
    } else if (!candidate.lesser.empty()) {
      verdict.verdict = Verdict::kUsable;
      verdict.reason = candidate.lesser;
    } else if (backup != nullptr && backup->damaged && !backup->marks.damaged) {
      verdict.verdict = Verdict::kTakenDamaged;
      verdict.reason = fmt::format("{} pages of the cluster were damaged when it was taken",
                                   backup->damaged_blocks);
    }
    result_.backups.push_back(std::move(verdict));
  }
}

// Before the marks: a mark of damage must not stand beside a record that knows better.
void LineageVerifier::keep_record() {
  if (!began_) return;
  bool contradicts = false;  // a record counts something as good that is not
  for (const ListedPack& pack : inventory_.packs)
    contradicts = contradicts || (pack.is_known_good && damaged_packs_.contains(pack.id));
  auto is_bad = [&](const std::string& name) { return findings_.has(name); };
  auto name_of = [&](pg::TimelineId timeline, const ListedSegment& segment) {
    return archive_.object_name(
        {.kind = pg::WalFileKind::kSegment,
         .segment = {.timeline = timeline, .segment_number = segment.number}});
  };
  auto is_bad_segment = [&](pg::TimelineId timeline, const ListedSegment& segment) {
    const pg::SegmentName at{.timeline = timeline, .segment_number = segment.number};
    return damaged_wal_.bad.contains(at) || damaged_wal_.unjoined.contains(at) ||
           (findings_.count() > 0 && is_bad(name_of(timeline, segment)));
  };
  for (const auto& [timeline, segments] : inventory_.segments)
    for (const ListedSegment& segment : segments)
      contradicts = contradicts || (segment.is_known_good && is_bad_segment(timeline, segment));
  repo::VerifiedObjects good = good_.take();
  for (const ListedObject& object : inventory_.others)
    contradicts = contradicts || (object.is_known_good && is_bad(object.name));
  for (const auto& [id, objects] : inventory_.backups)
    for (const std::optional<ListedObject>* object :
         {&objects.manifest, &objects.copy, &objects.refs})
      contradicts = contradicts || (*object && (*object)->is_known_good && is_bad((*object)->name));

  const bool must_replace = contradicts || records_->has_damaged();
  const bool merges = must_replace || options_.deep || records_->ids().size() >= kRecordsKept;
  if (merges) {
    // What was known before and is not contradicted.
    auto carry = [&](bool is_known_good, const std::string& name, const auto& listed) {
      if (is_known_good && !is_bad(name)) good.add(name_, name, listed.bytes, listed.read);
    };
    for (const ListedPack& pack : inventory_.packs)
      carry(pack.is_known_good && !damaged_packs_.contains(pack.id),
            repo::pack_name(name_, pack.id), pack);
    for (const auto& [timeline, segments] : inventory_.segments)
      for (const ListedSegment& segment : segments)
        carry(segment.is_known_good && !is_bad_segment(timeline, segment),
              name_of(timeline, segment), segment);
    for (const ListedObject& object : inventory_.others)
      carry(object.is_known_good, object.name, object);
    for (const auto& [id, objects] : inventory_.backups)
      for (const std::optional<ListedObject>* object :
           {&objects.manifest, &objects.copy, &objects.refs})
        if (*object) carry((*object)->is_known_good, (*object)->name, **object);
    good.sort();
  }
  // That everything was looked at is to be known, also where nothing was new.
  if (good.size() == 0 && !must_replace && is_scoped()) return;
  keep([&] {
    repo::put_verified(repository_, name_,
                       {.began = *began_,
                        .everything = !is_scoped(),
                        .oldest = result_.oldest.value_or(repo::LastRead{})},
                       good, merges ? records_->replaceable() : std::vector<std::string>{});
  });
}

void LineageVerifier::put_second(const std::string& id, const repo::Mark& alone) {
  if (!repo::has_commit(repository_, name_, id)) return;  // it goes with its marks
  const bool is_put = keep([&] { repo::put_again(repository_, name_, id, alone); });
  job_.reporter.warning(
      fmt::format("of the two objects that say that backup {} {} one is gone or damaged{}", id,
                  alone.what == repo::MarkKind::kPinned ? "is pinned" : "was undeleted",
                  is_put ? "; it was put again" : ""));
}

void LineageVerifier::keep_marks() {
  for (const BackupVerdict& verdict : result_.backups) {
    const auto candidate = std::ranges::find(candidates_, verdict.id, &Candidate::id);
    const repo::BackupMarks marks =
        verdict.backup ? verdict.backup->marks : repo::read_marks(repository_, name_, verdict.id);
    for (const repo::Mark& alone : marks.alone) put_second(verdict.id, alone);
    std::optional<repo::MarkKind> mark;
    if (verdict.verdict == Verdict::kDamaged) {
      if (!marks.damaged && !candidate->needs_newer) mark = repo::MarkKind::kDamaged;
    } else if (verdict.verdict == Verdict::kUnreadable) {
      continue;  // what is in it is as it was known before
    } else if (candidate->is_unsound) {
      if (!marks.usable) mark = repo::MarkKind::kUsable;
    } else if (!marks.verified || options_.deep) {
      mark = repo::MarkKind::kVerified;
    }
    // One that is being deleted loses its objects: that is no damage.
    if (!mark || !repo::has_commit(repository_, name_, verdict.id)) continue;
    const std::string detail = verdict.reason.empty() ? "It was read whole." : verdict.reason + ".";
    if (!keep([&] { repo::put_mark(repository_, name_, verdict.id, *mark, detail); })) return;
  }
}

}  // namespace

LineageResult verify_lineage(const VerifyOptions& options, const repo::Repository& repository,
                             const repo::Lineage& lineage, std::string& not_kept,
                             Reporter& reporter, std::stop_token stop) {
  return LineageVerifier(options, repository, lineage, not_kept, reporter, std::move(stop)).run();
}

}  // namespace holdfast::verify
