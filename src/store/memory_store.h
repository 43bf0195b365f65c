// memory_store.h: a Store in memory: the contract's second engine, and what tests of higher rooms
// run on.
#pragma once

#include <functional>
#include <memory>

#include "store/remover.h"
#include "store/store.h"

namespace holdfast::store {

class MemoryStore : public Store, public Remover {
 public:
  // `clock` tells when objects were made; it must outlive the store.
  explicit MemoryStore(const Clock& clock = system_clock());
  ~MemoryStore() override;
  std::unique_ptr<Upload> upload(const std::string& name) override;
  bool create(const std::string& name, ByteView bytes) override;
  std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) override;
  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override;
  std::optional<ObjectInfo> info(const std::string& name) override;
  ListPage list(const ListRequest& request) override;
  void make_durable(const std::string& name) override;
  Time now() override;
  std::string url() const override { return "memory:"; }
  bool remove(const std::string& name) override;

  // For tests of damage: changes the bytes of an object in place. Throws kNotFound when there is
  // none.
  void edit(const std::string& name, const std::function<void(Bytes&)>& change);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace holdfast::store
