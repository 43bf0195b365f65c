#include "backup/copy_window.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace holdfast::backup {

bool CopyWindow::is_full() const {
  MutexLock lock(mutex_);
  return items_.size() >= capacity_;
}

bool CopyWindow::is_empty() const {
  MutexLock lock(mutex_);
  return items_.empty();
}

void CopyWindow::push(std::unique_ptr<CopyItem> item) {
  if (item->entry.type != repo::EntryType::kFile) item->state = CopyItem::State::kDone;
  {
    MutexLock lock(mutex_);
    HF_CHECK(!closed_ && items_.size() < capacity_);
    items_.push_back(std::move(item));
  }
  work_.notify_one();
}

void CopyWindow::close() {
  {
    MutexLock lock(mutex_);
    closed_ = true;
  }
  work_.notify_all();
}

std::unique_ptr<CopyItem> CopyWindow::pop_front_if_done() {
  MutexLock lock(mutex_);
  if (items_.empty() || items_.front()->state != CopyItem::State::kDone) return nullptr;
  std::unique_ptr<CopyItem> item = std::move(items_.front());
  items_.pop_front();
  if (cursor_ > 0) --cursor_;
  return item;
}

void CopyWindow::wait_for_front(const std::stop_token& stop, std::chrono::milliseconds at_most) {
  MutexLock lock(mutex_);
  front_.wait_for(mutex_, stop, at_most, [this]() HF_REQUIRES(mutex_) {
    return items_.empty() || items_.front()->state == CopyItem::State::kDone;
  });
}

std::optional<CopyWindow::Work> CopyWindow::next(const std::stop_token& stop) {
  MutexLock lock(mutex_);
  std::optional<Work> work;
  // Ends with nothing when all is handed out, also while another worker still copies. While one is
  // being opened it may turn out to be large, and there is a part in it for everybody.
  work_.wait(mutex_, stop, [this, &work]() HF_REQUIRES(mutex_) {
    work = take_work();
    return work.has_value() || (closed_ && cursor_ == items_.size());
  });
  return work;
}

// Looks past files that are being opened, of which there is at most one for each worker.
std::optional<CopyWindow::Work> CopyWindow::take_work() {
  auto is_spent = [](const CopyItem& item) {
    return item.state == CopyItem::State::kDone ||
           (item.state == CopyItem::State::kCopying && item.next_region == item.regions);
  };
  while (cursor_ < items_.size() && is_spent(*items_[cursor_])) ++cursor_;
  for (size_t at = cursor_; at < items_.size(); ++at) {
    CopyItem& item = *items_[at];
    if (item.state == CopyItem::State::kWaiting) {
      item.state = CopyItem::State::kOpening;
      return Work{.item = &item, .to_open = true};
    }
    if (item.state == CopyItem::State::kCopying && item.next_region < item.regions)
      return Work{.item = &item, .region = item.next_region++};
  }
  return std::nullopt;
}

std::optional<CopyWindow::Work> CopyWindow::opened(CopyItem& item) {
  std::optional<Work> first;
  uint64_t regions = repo::leaf_count_of(item.bytes);
  {
    MutexLock lock(mutex_);
    item.state = CopyItem::State::kCopying;
    item.regions = regions;
    if (regions > 0) first = Work{.item = &item, .region = item.next_region++};
  }
  // Also when there is no second region: a waiting worker may have been kept by this file alone.
  work_.notify_all();
  return first;
}

bool CopyWindow::region_done(CopyItem& item, const RegionResult& result) {
  MutexLock lock(mutex_);
  item.end = std::max(item.end, result.end);
  size_t kept = std::min(result.faults.size(), kMaxFaults - item.faults.size());
  item.faults.insert(item.faults.end(), result.faults.begin(),
                     result.faults.begin() + static_cast<ptrdiff_t>(kept));
  item.more_faults += result.faults.size() - kept;
  return ++item.regions_done == item.regions;
}

void CopyWindow::finish(CopyItem& item) {
  {
    MutexLock lock(mutex_);
    item.state = CopyItem::State::kDone;
  }
  work_.notify_all();
  front_.notify_one();
}

}  // namespace holdfast::backup
