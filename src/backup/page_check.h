// page_check.h: whether pages read under a running server are whole.
//
// A read can meet a write: it then sees parts of two states of a page. That is harmless for a page
// that changes after the backup's start, for replay begins with a full image of it. So a page that
// does not verify is read again a few times, and it is accepted when
//
//   - it verifies now, or has changed between two reads (it is being written), or
//   - its LSN lies within [backup start, current insert position]: it was changed since the backup
//   began.
//
// Where the cluster has no data checksums a page's header is judged alone, by the rule by which the
// server refuses a page.
//
// The upper bound of the last rule matters: damage can carry any LSN. The worker that reads knows
// the start alone, so it hands such a page over as a fault with `harmless_from` set, for the one
// who holds the session to judge.
//
// Facts: basebackup.c (sendFile), bufpage.c, PostgreSQL 13 to 18.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "pg/lsn.h"
#include "pg/page.h"

namespace holdfast::backup {

// Stands in the manifest (repo::DamagedBlock::reason).
enum class FaultReason : uint8_t { kChecksum = 1, kPageHeader = 2, kUnreadable = 3 };
// "its checksum does not match"
std::string_view to_string(FaultReason reason);

// Damaged pages of one file that are warned of; as many as by the server's own base backup.
inline constexpr size_t kWarningsPerFile = 5;

struct PageFault {
  uint32_t page = 0;  // from the first page of the span that was checked; who collects faults makes
                      // it the file's
  FaultReason reason = FaultReason::kChecksum;
  // Set when the page's own LSN is not before the backup's start: no damage if the server has
  // written that far.
  pg::Lsn harmless_from = {};
};

class PageChecker {
 public:
  // Reads the page again that is number `page` of the span; false when the file ends before it now.
  using Reread = std::function<bool(uint32_t page, std::span<std::byte, pg::kPageBytes> into)>;

  // `pause` is called between two rounds of reading again.
  PageChecker(pg::Lsn start_lsn, std::function<void()> pause, bool has_checksums = true);

  // Verifies whole adjacent pages, of which the first has number `first` in its fork. A page that
  // another read shows differently is replaced in `pages` by what was read last. What remains
  // faulty is returned, in order; valid until the next call. Rounds of reading are made for all
  // failing pages together, so that a file full of damage costs no more pauses than one page.
  // Without `reread` there are none: another read would show the same.
  std::span<const PageFault> check(std::span<std::byte> pages, pg::BlockNumber first,
                                   const Reread& reread);

 private:
  bool settle(std::span<std::byte, pg::kPageBytes> page, pg::BlockNumber block, uint32_t index,
              const Reread& reread);

  pg::Lsn start_lsn_;
  std::function<void()> pause_;
  bool has_checksums_;
  std::vector<PageFault> faults_;
};

}  // namespace holdfast::backup
