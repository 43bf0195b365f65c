#include "store/retry_store.h"

#include <algorithm>
#include <random>
#include <type_traits>

#include "base/error.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/task_group.h"

namespace holdfast::store {
namespace {

using std::chrono::milliseconds;
using SteadyTime = std::chrono::steady_clock::time_point;

// Pauses double from the first to the longest; each is shortened by up to half, so that many
// clients of a store that comes back do not all return at the same moment.
constexpr milliseconds kFirstPause{50};
constexpr milliseconds kLongestPause{10'000};

class RetryStore : public Store {
 public:
  RetryStore(Store& below, milliseconds timeout, std::stop_token stop)
      : below_(below), timeout_(timeout), stop_(std::move(stop)), jitter_(seed()) {}

  // Opening sends nothing of the object, so it can be tried again; the upload itself cannot.
  std::unique_ptr<Upload> upload(const std::string& name) override {
    return attempt([&] { return below_.upload(name); });
  }
  bool create(const std::string& name, ByteView bytes) override {
    int attempts = 0;
    return attempt([&] {
      ++attempts;
      if (below_.create(name, bytes)) return true;
      return attempts > 1 && holds(name, bytes);
    });
  }
  std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) override {
    return attempt([&] { return below_.read(name, offset, length); });
  }
  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override {
    return attempt([&] { return below_.read_into(name, offset, into); });
  }
  std::optional<ObjectInfo> info(const std::string& name) override {
    return attempt([&] { return below_.info(name); });
  }
  ListPage list(const ListRequest& request) override {
    return attempt([&] { return below_.list(request); });
  }
  void make_durable(const std::string& name) override {
    attempt([&] { below_.make_durable(name); });
  }
  void require_writable() override { below_.require_writable(); }
  Time now() override {
    return attempt([&] { return below_.now(); });
  }
  std::string url() const override { return below_.url(); }

 private:
  static uint_fast32_t seed() {
    std::array<std::byte, 4> bytes;
    system_random().fill(bytes);
    return load_le<uint32_t>(bytes.data());
  }

  template <typename Call>
  std::invoke_result_t<Call> attempt(Call call) {
    SteadyTime end = std::chrono::steady_clock::now() + timeout_;
    for (milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
      try {
        return call();
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kStoreUnavailable) throw;
        if (std::chrono::steady_clock::now() >= end) throw;
      }
      milliseconds left = std::chrono::ceil<milliseconds>(end - std::chrono::steady_clock::now());
      wait_for(stop_, std::min(shortened(pause), std::max(left, milliseconds{0})));
      throw_if_stopped(stop_);
    }
  }

  milliseconds shortened(milliseconds pause) {
    MutexLock lock(mutex_);
    return pause - milliseconds(static_cast<int64_t>(jitter_() %
                                                     static_cast<uint64_t>(pause.count() / 2 + 1)));
  }

  bool holds(const std::string& name, ByteView bytes) {
    std::optional<Bytes> there = below_.read(name, 0, bytes.size() + 1);
    return there && std::ranges::equal(*there, bytes);
  }

  Store& below_;
  const milliseconds timeout_;
  const std::stop_token stop_;
  Mutex mutex_;
  std::minstd_rand jitter_ HF_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<Store> retrying(Store& below, milliseconds timeout, std::stop_token stop) {
  return std::make_unique<RetryStore>(below, timeout, std::move(stop));
}

}  // namespace holdfast::store
