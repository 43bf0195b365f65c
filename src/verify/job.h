// job.h: what the steps of a verification share. For the sources of verify alone.
#pragma once

#include <algorithm>
#include <atomic>
#include <functional>
#include <stop_token>
#include <string>

#include "base/mutex.h"
#include "base/rate_limit.h"
#include "base/reporter.h"
#include "base/task_group.h"
#include "repo/repository.h"
#include "repo/verified_objects.h"
#include "verify/damage.h"

namespace holdfast::verify {

// What was read whole and found good. Safe from any thread.
class GoodObjects {
 public:
  explicit GoodObjects(repo::LineageName lineage) : lineage_(std::move(lineage)) {}
  // When the run began. Before any add().
  void set_time(repo::LastRead began) { began_ = began; }
  void add(const std::string& name, uint64_t bytes) {
    MutexLock lock(mutex_);
    objects_.add(lineage_, name, bytes, began_);
  }
  // Once, when all are in.
  repo::VerifiedObjects take() {
    MutexLock lock(mutex_);
    objects_.sort();
    return std::move(objects_);
  }

 private:
  const repo::LineageName lineage_;
  repo::LastRead began_;
  Mutex mutex_;
  repo::VerifiedObjects objects_ HF_GUARDED_BY(mutex_);
};

struct Job {
  int jobs = 1;
  const repo::Repository& repository;
  const repo::Lineage& lineage;
  Reporter& reporter;
  std::stop_token stop;
  Findings& findings;
  GoodObjects& good;
  RateLimit& rate;  // of what is read
};

// Work(index) for each of `count` items, `jobs` at a time; `make_worker` makes what a thread keeps
// for itself: a function of the index.
template <typename MakeWorker>
void for_each_in_parallel(const Job& job, size_t count, const MakeWorker& make_worker) {
  std::atomic<size_t> next{0};
  TaskGroup workers(job.stop);
  for (size_t at = 0; at < std::min<size_t>(static_cast<size_t>(job.jobs), count); ++at)
    workers.start([&](const std::stop_token& stop) {
      auto work = make_worker();
      for (size_t index = next++; index < count; index = next++) {
        throw_if_stopped(stop);
        work(index);
      }
    });
  workers.wait();
}

}  // namespace holdfast::verify
