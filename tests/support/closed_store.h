// closed_store.h: a Store of which some objects and folders may not be read, as where another user
// owns them.
#pragma once

#include <algorithm>
#include <set>
#include <string>

#include "support/fault_store.h"

namespace holdfast::test {

class ClosedStore : public FaultStore {
 public:
  explicit ClosedStore(store::Store& below)
      : FaultStore(below, Fault{.first = Fault::kAllFurther}) {}

  // An object's name, or a folder's, which ends in "/".
  void close(const std::string& name) { closed_.insert(name); }

  std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) override {
    check(name);
    return FaultStore::read(name, offset, length);
  }
  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override {
    check(name);
    return FaultStore::read_into(name, offset, into);
  }
  std::optional<store::ObjectInfo> info(const std::string& name) override {
    for (const std::string& closed : closed_)
      if (closed.ends_with('/')) check_in(name, closed);
    return FaultStore::info(name);
  }
  // What lies in a closed folder is not listed, and the folder itself cannot be.
  store::ListPage list(const store::ListRequest& request) override {
    store::ListPage page = FaultStore::list(request);
    for (const std::string& closed : closed_) {
      if (!closed.ends_with('/')) continue;
      check_in(request.prefix, closed);
      for (const store::ListEntry& entry : page.entries)
        if (!request.folders || entry.name != closed) check_in(entry.name, closed);
    }
    return page;
  }

 private:
  void check(const std::string& name) const {
    for (const std::string& closed : closed_) check_in(name, closed);
  }
  static void check_in(const std::string& name, const std::string& closed) {
    if (name == closed || (closed.ends_with('/') && name.starts_with(closed)))
      throw Error({.code = ErrorCode::kPermission,
                   .message = "could not open \"" + closed + "\": Permission denied",
                   .detail = "It belongs to root.",
                   .hint = "Give it back."});
  }

  std::set<std::string> closed_;
};

}  // namespace holdfast::test
