// store.h: objects by name, written once, whole, and never replaced.
//
// A name is a relative path of components [A-Za-z0-9._-]+ joined by "/"; no component begins with
// "." ; a component has at most 255 bytes and a name at most 900. An object exists with all its
// bytes or not at all; a name that was used is never used again for other bytes. No object's name
// is a folder of another's: where "a/b" stands, putting "a" throws kInternal, and the other way
// round.
//
//   absent is an answer (nullopt, an empty page); unreachable is an Error (kStoreUnavailable,
//   kPermission, kNoSpace, kIo). The two are never mixed: an engine that is not sure throws.
//
// Every engine passes tests/contract/store_contract_test.cc. All calls are safe from any thread; an
// Upload is used by one thread at a time. Nothing here removes: see remover.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace holdfast::store {

// A streamed object. Nothing is to be seen under its name before commit() has returned; after
// commit() it is durable (a power loss does not take it away, nor the directories it stands in).
// The destructor without commit() aborts: nothing remains. Must not outlive its Store.
class Upload {
 public:
  virtual ~Upload() = default;
  virtual void append(ByteView bytes) = 0;
  // Throws kAlreadyExists when the name is taken: what stands there stays. After any throw the
  // upload can only be destroyed.
  virtual void commit() = 0;
};

// Between the moment at which somebody asked a store's clock and the time that the store gives to
// what is written next lie a tick of a file system's clock and the rounding of its times.
inline constexpr Microseconds kClockTicks = std::chrono::seconds(5);

struct ObjectInfo {
  uint64_t bytes = 0;
  Time modified;  // by the store's clock
  // The same of when it came to stand here, or anything of it was changed last: a copy that keeps
  // `modified` has another one. An engine without such a time gives `modified`.
  Time changed;
};

struct ListEntry {
  // Whole; ends in "/" for a folder, when folders were asked for. A folder holds an object at
  // least, or cannot be looked into.
  std::string name;
  uint64_t bytes = 0;  // 0 for a folder
  Time modified;       // epoch for a folder
  Time changed = {};   // as of ObjectInfo
  bool is_folder() const { return !name.empty() && name.back() == '/'; }
};
// Where an engine stood at the end of a page. Whoever hands it back with the next request spares
// the engine the way there; the answer is the same without it.
struct ListPosition {
  virtual ~ListPosition() = default;
};
struct ListRequest {
  std::string prefix;      // "" or a folder ending in "/"
  std::string after = {};  // names greater than this one only (bytewise); whole names, as returned
  // True: only what stands directly below prefix; deeper ones are shown as one folder entry each.
  bool folders = false;
  size_t limit = 1000;
  // With `folders`: those that hold nothing may be listed too. No folder need be looked into then,
  // which may not be permitted, and takes time.
  bool empty_folders = false;
  std::shared_ptr<ListPosition> position = {};
};
struct ListPage {
  std::vector<ListEntry> entries;  // sorted bytewise by name
  bool more = false;               // ask again with after = entries.back().name, and the position
  std::shared_ptr<ListPosition> position = {};
};

class Store {
 public:
  virtual ~Store() = default;

  virtual std::unique_ptr<Upload> upload(const std::string& name) = 0;

  // Puts a small object if the name is free. True: this call made it. False: the name is taken, by
  // any bytes; what stands there was made durable before the answer. Of several callers at once
  // exactly one gets true.
  virtual bool create(const std::string& name, ByteView bytes) = 0;

  // [offset, offset + length) of an object, less where it ends before; nullopt when there is none.
  virtual std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) = 0;
  // The same into the caller's buffer; the bytes read; nullopt when there is none.
  virtual std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                          std::span<std::byte> into) = 0;

  virtual std::optional<ObjectInfo> info(const std::string& name) = 0;
  virtual ListPage list(const ListRequest& request) = 0;

  // Makes sure that an existing object would survive a power loss (it may have been made by a
  // process that was killed before it had synced). Throws kNotFound when there is none.
  virtual void make_durable(const std::string& name) = 0;

  // For who must know it and may not write: throws kPermission where it is plain that nothing can
  // be put.
  virtual void require_writable() {}

  virtual Time now() = 0;               // the store's clock
  virtual std::string url() const = 0;  // for messages: "/var/lib/holdfast"
};

// A whole object of at most `limit` bytes; nullopt when there is none; throws kCorrupt when it is
// larger.
std::optional<Bytes> read_whole(Store& store, const std::string& name, uint64_t limit);
// All entries of a listing, page after page, to `visit`, which returns false to end early. For
// folders whose size is bounded only.
template <typename Visit>
void for_each_entry(Store& store, ListRequest request, Visit visit) {
  for (;;) {
    ListPage page = store.list(request);
    for (const ListEntry& entry : page.entries)
      if (!visit(entry)) return;
    if (!page.more) return;
    request.after = page.entries.back().name;
    request.position = std::move(page.position);
  }
}

// Throws kInternal unless `name` is a legal object name.
void check_name(std::string_view name);

}  // namespace holdfast::store
