#include "backup/page_check.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace holdfast::backup {
namespace {

constexpr int kRounds = 4;

bool is_good(pg::PageVerdict verdict) {
  return verdict == pg::PageVerdict::kValid || verdict == pg::PageVerdict::kNew;
}

std::span<std::byte, pg::kPageBytes> page_at(std::span<std::byte> pages, uint32_t index) {
  return pages.subspan(size_t{index} * pg::kPageBytes).first<pg::kPageBytes>();
}

}  // namespace

std::string_view to_string(FaultReason reason) {
  switch (reason) {
    case FaultReason::kChecksum:
      return "its checksum does not match";
    case FaultReason::kPageHeader:
      return "its page header is not valid";
    case FaultReason::kUnreadable:
      return "it cannot be read";
  }
  HF_CHECK(false);
}

PageChecker::PageChecker(pg::Lsn start_lsn, std::function<void()> pause, bool has_checksums)
    : start_lsn_(start_lsn), pause_(std::move(pause)), has_checksums_(has_checksums) {}

std::span<const PageFault> PageChecker::check(std::span<std::byte> pages, pg::BlockNumber first,
                                              const Reread& reread) {
  HF_CHECK(pages.size() % pg::kPageBytes == 0);
  faults_.clear();
  uint32_t count = narrow<uint32_t>(pages.size() / pg::kPageBytes);
  for (uint32_t index = 0; index < count; ++index) {
    pg::PageVerdict verdict = pg::verify_page(page_at(pages, index),
                                              pg::BlockNumber{first.value + index}, has_checksums_);
    if (is_good(verdict)) continue;
    faults_.push_back({.page = index,
                       .reason = verdict == pg::PageVerdict::kBadChecksum
                                     ? FaultReason::kChecksum
                                     : FaultReason::kPageHeader});
  }

  for (int round = 0; reread && round < kRounds && !faults_.empty(); ++round) {
    pause_();
    std::erase_if(faults_, [&](const PageFault& fault) {
      return settle(page_at(pages, fault.page), pg::BlockNumber{first.value + fault.page},
                    fault.page, reread);
    });
  }

  for (PageFault& fault : faults_) {
    pg::Lsn lsn = pg::read_page_header(page_at(pages, fault.page)).lsn;
    if (lsn >= start_lsn_) fault.harmless_from = lsn;
  }
  return faults_;
}

// True: nothing to complain of.
bool PageChecker::settle(std::span<std::byte, pg::kPageBytes> page, pg::BlockNumber block,
                         uint32_t index, const Reread& reread) {
  std::array<std::byte, pg::kPageBytes> again;
  if (!reread(index, again)) return true;  // truncated away; replay truncates too
  if (std::ranges::equal(page, again)) return is_good(pg::verify_page(page, block, has_checksums_));
  std::ranges::copy(again, page.begin());
  return true;
}

}  // namespace holdfast::backup
