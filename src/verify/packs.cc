#include "verify/packs.h"

#include <fmt/core.h>

#include "base/mutex.h"
#include "repo/layout.h"
#include "repo/pack.h"

namespace holdfast::verify {
namespace {

constexpr size_t kToldExtents = 3;

std::string summary(const repo::PackCheck& check) {
  std::string text;
  if (!check.bad.empty())
    text = fmt::format("{} of its {} extents do not hold.", check.bad.size(), check.extents);
  for (size_t i = 0; i < std::min(check.bad.size(), kToldExtents); ++i)
    text += " " + check.bad[i].problem;
  if (check.stray_bytes > 0)
    text += fmt::format("{}{} bytes in it belong to no extent.", text.empty() ? "" : " ",
                        check.stray_bytes);
  return text;
}

class PackChecker {
 public:
  explicit PackChecker(const Job& job) : job_(job) {}

  DamagedPacks run(const std::vector<const ListedPack*>& packs) {
    uint64_t total = 0;
    for (const ListedPack* pack : packs) total += pack->bytes;
    job_.reporter.phase("verifying packs", total);
    for_each_in_parallel(job_, packs.size(), [&] {
      auto extents = std::make_shared<repo::ExtentReader>(job_.repository, job_.lineage.name);
      return [this, extents, &packs](size_t index) { check(*extents, *packs[index]); };
    });
    MutexLock lock(mutex_);
    return std::move(damaged_);
  }

 private:
  void check(repo::ExtentReader& extents, const ListedPack& pack) {
    const std::string name = repo::pack_name(job_.lineage.name, pack.id);
    repo::PackCheck found;
    const std::optional<Error> error = unreadable_of([&] {
      found = extents.check_pack(pack.id, [&](uint64_t bytes) {
        job_.rate.take(bytes, job_.stop);
        job_.reporter.amount(bytes);
      });
    });
    if (!error && found.good()) return job_.good.add(name, pack.bytes);
    // What expires while we look is no damage.
    if (!pack.is_needed && !job_.repository.store().info(name)) return;
    if (error)
      job_.findings.add(name, *error);
    else
      job_.findings.add({.object = name,
                         .problem = "damaged",
                         .detail = summary(found),
                         .backups = {},
                         .files = {}});
    PackDamage damage{.has_no_footer = error.has_value(),
                      .is_unreadable = error && !error->is_damage(),
                      .ordinals = {}};
    for (const repo::PackCheck::BadExtent& bad : found.bad) damage.ordinals.insert(bad.ordinal);
    MutexLock lock(mutex_);
    damaged_.emplace(pack.id, std::move(damage));
  }

  const Job& job_;
  Mutex mutex_;
  DamagedPacks damaged_ HF_GUARDED_BY(mutex_);
};

}  // namespace

DamagedPacks check_packs(const Job& job, const std::vector<const ListedPack*>& packs) {
  return PackChecker(job).run(packs);
}

}  // namespace holdfast::verify
