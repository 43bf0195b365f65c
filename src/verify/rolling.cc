#include "verify/rolling.h"

#include <algorithm>
#include <ranges>

namespace holdfast::verify {

uint64_t Rolling::due_bytes(Time now, Microseconds within) const {
  uint64_t all = fresh_;
  for (const auto& [read, bytes] : by_read_) all += bytes;
  const auto share_of = [&](repo::LastRead read) {
    const Microseconds age = read.is_known() ? now - read.time() : within;
    const double share = static_cast<double>(age.count()) / static_cast<double>(within.count());
    return std::clamp(share, 0.0, 1.0);
  };
  // Just before each age at which something was read: that has not been read within it.
  uint64_t due = 0, read_since = fresh_;
  for (auto group = by_read_.rbegin(); group != by_read_.rend(); ++group) {
    const auto wanted = static_cast<uint64_t>(static_cast<double>(all) * share_of(group->first));
    if (wanted > read_since) due = std::max(due, wanted - read_since);
    read_since += group->second;
  }
  return due;
}

void Rolling::decide(Time now, Microseconds within) {
  if (within <= Microseconds{0}) return;
  left_ = due_bytes(now, within);
  for (const auto& [read, bytes] : by_read_) {
    cut_ = read;
    if (bytes > left_) return;
    left_ -= bytes;
  }
  // Everything is due.
  cut_.seconds = UINT32_MAX;
}

bool Rolling::take(repo::LastRead read, uint64_t bytes) {
  if (read < cut_) return true;
  if (read != cut_ || bytes > left_) return false;
  left_ -= bytes;
  return true;
}

}  // namespace holdfast::verify
