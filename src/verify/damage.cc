#include "verify/damage.h"

#include <algorithm>

namespace holdfast::verify {
namespace {

constexpr size_t kMaxDetailBytes = 2000;

// The system's word, who owns what is in the way, and the command that puts it right.
std::string what_keeps_us_out(const Error& error) {
  std::string text = error.message() + ".";
  for (const std::string& more : {error.detail(), error.hint()})
    if (!more.empty()) text += " " + more;
  return text;
}

void push_new(std::vector<std::string>& into, const std::string& value) {
  if (std::ranges::find(into, value) == into.end()) into.push_back(value);
}

}  // namespace

Finding finding_of(const std::string& object, const Error& error) {
  return {.object = object,
          .problem = error.code() == ErrorCode::kUnsupported ? error.message()
                     : error.is_damage()                     ? "damaged"
                                                             : std::string(kUnreadableObject),
          .detail = error.is_damage() && !error.detail().empty() ? error.detail()
                    : error.is_damage()                          ? error.message()
                                                                 : what_keeps_us_out(error),
          .backups = {},
          .files = {}};
}

void Findings::add(Finding finding) {
  MutexLock lock(mutex_);
  const auto found = by_object_.find(finding.object);
  if (found == by_object_.end()) {
    if (by_object_.size() >= kKeptFindings)
      ++dropped_;
    else
      by_object_.emplace(finding.object, std::move(finding));
    return;
  }
  Finding& there = found->second;
  if (there.problem == kUnreadableObject) there.problem = finding.problem;
  if (there.detail.size() < kMaxDetailBytes && there.detail != finding.detail)
    there.detail += (there.detail.empty() ? "" : " ") + finding.detail;
  for (const std::string& backup : finding.backups) push_new(there.backups, backup);
}

void Findings::blame(const std::string& object, const std::string& backup,
                     const std::string& file) {
  MutexLock lock(mutex_);
  const auto found = by_object_.find(object);
  if (found == by_object_.end()) return;  // beyond those that are kept
  push_new(found->second.backups, backup);
  if (!file.empty() && found->second.files.size() < kShownFiles)
    push_new(found->second.files, file);
}

bool Findings::has(const std::string& object) const {
  MutexLock lock(mutex_);
  return by_object_.contains(object);
}

bool Findings::is_only_unreadable(const std::string& backup) const {
  MutexLock lock(mutex_);
  bool any = false;
  for (const auto& [object, finding] : by_object_) {
    if (std::ranges::find(finding.backups, backup) == finding.backups.end()) continue;
    if (finding.problem != kUnreadableObject) return false;
    any = true;
  }
  return any;
}

uint64_t Findings::count() const {
  MutexLock lock(mutex_);
  return by_object_.size() + dropped_;
}

std::vector<Finding> Findings::take() {
  MutexLock lock(mutex_);
  std::vector<Finding> all;
  for (auto& [object, finding] : by_object_) {
    std::ranges::sort(finding.backups);
    all.push_back(std::move(finding));
  }
  by_object_.clear();
  return all;
}

}  // namespace holdfast::verify
