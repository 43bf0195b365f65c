// fault_store.h: a Store whose nth call fails, and which can lose the answer of a call that was
// carried out.
//
// Every call on the store counts (from 1), and so does every append() and commit() of an upload,
// and every remove() where a remover is given. url() does not.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "base/error.h"
#include "store/remover.h"
#include "store/store.h"

namespace holdfast::test {

struct Fault {
  uint64_t first = 1;  // the first call that fails
  uint64_t count = 1;  // how many calls fail, one after the other
  // True: create(), commit(), append() and remove() do their work below before they throw, as when
  // the answer is lost on its way. Other calls have no effect that could stay.
  bool lost_answer = false;
  ErrorCode code = ErrorCode::kStoreUnavailable;
  static constexpr uint64_t kAllFurther = std::numeric_limits<uint64_t>::max();
};

// Safe from any thread. `below` must outlive it, and it its uploads.
class FaultStore : public store::Store, public store::Remover {
 public:
  FaultStore(store::Store& below, Fault fault, store::Remover* remover = nullptr)
      : below_(below), fault_(fault), remover_(remover) {}
  // The nth call fails, the others pass through.
  FaultStore(store::Store& below, uint64_t nth) : FaultStore(below, Fault{.first = nth}) {}

  std::unique_ptr<store::Upload> upload(const std::string& name) override;
  bool create(const std::string& name, ByteView bytes) override;
  std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) override;
  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override;
  std::optional<store::ObjectInfo> info(const std::string& name) override;
  store::ListPage list(const store::ListRequest& request) override;
  void make_durable(const std::string& name) override;
  Time now() override;
  std::string url() const override { return below_.url(); }
  bool remove(const std::string& name) override;

  uint64_t calls() const { return calls_; }
  bool fired() const { return fired_; }

 private:
  class FaultUpload;
  // Counts a call; true when it is to fail.
  bool is_faulty();
  [[noreturn]] void fail(std::string_view call, std::string_view name) const;
  // One call: `work` below, or the fault before it, or (with lost_answer, where the work has an
  // effect) behind it.
  template <typename Work>
  auto pass(std::string_view call, std::string_view name, Work work);
  template <typename Work>
  auto pass_effect(std::string_view call, std::string_view name, Work work);

  store::Store& below_;
  const Fault fault_;
  store::Remover* const remover_;
  std::atomic<uint64_t> calls_{0};
  std::atomic<bool> fired_{false};
};

}  // namespace holdfast::test
