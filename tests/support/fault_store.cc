#include "support/fault_store.h"

namespace holdfast::test {

bool FaultStore::is_faulty() {
  uint64_t call = ++calls_;
  if (call < fault_.first || call - fault_.first >= fault_.count) return false;
  fired_ = true;
  return true;
}

void FaultStore::fail(std::string_view call, std::string_view name) const {
  throw Error({.code = fault_.code,
               .message = fmt::format("could not {} \"{}\": the test says so", call, name)});
}

template <typename Work>
auto FaultStore::pass(std::string_view call, std::string_view name, Work work) {
  if (is_faulty()) fail(call, name);
  return work();
}

template <typename Work>
auto FaultStore::pass_effect(std::string_view call, std::string_view name, Work work) {
  bool faulty = is_faulty();
  if (faulty && fault_.lost_answer) work();
  if (faulty) fail(call, name);
  return work();
}

class FaultStore::FaultUpload : public store::Upload {
 public:
  FaultUpload(FaultStore& store, std::string name, std::unique_ptr<store::Upload> below)
      : store_(store), name_(std::move(name)), below_(std::move(below)) {}
  void append(ByteView bytes) override {
    store_.pass_effect("append to", name_, [&] { below_->append(bytes); });
  }
  void commit() override {
    store_.pass_effect("commit", name_, [&] { below_->commit(); });
  }

 private:
  FaultStore& store_;
  std::string name_;
  std::unique_ptr<store::Upload> below_;
};

std::unique_ptr<store::Upload> FaultStore::upload(const std::string& name) {
  return pass("upload", name,
              [&] { return std::make_unique<FaultUpload>(*this, name, below_.upload(name)); });
}
bool FaultStore::create(const std::string& name, ByteView bytes) {
  return pass_effect("create", name, [&] { return below_.create(name, bytes); });
}
std::optional<Bytes> FaultStore::read(const std::string& name, uint64_t offset, uint64_t length) {
  return pass("read", name, [&] { return below_.read(name, offset, length); });
}
std::optional<size_t> FaultStore::read_into(const std::string& name, uint64_t offset,
                                            std::span<std::byte> into) {
  return pass("read", name, [&] { return below_.read_into(name, offset, into); });
}
std::optional<store::ObjectInfo> FaultStore::info(const std::string& name) {
  return pass("look at", name, [&] { return below_.info(name); });
}
store::ListPage FaultStore::list(const store::ListRequest& request) {
  return pass("list", request.prefix, [&] { return below_.list(request); });
}
void FaultStore::make_durable(const std::string& name) {
  pass("make durable", name, [&] { below_.make_durable(name); });
}
bool FaultStore::remove(const std::string& name) {
  HF_CHECK(remover_ != nullptr);
  return pass_effect("remove", name, [&] { return remover_->remove(name); });
}
Time FaultStore::now() {
  return pass("read the clock of", below_.url(), [&] { return below_.now(); });
}

}  // namespace holdfast::test
