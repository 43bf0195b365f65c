#include "store/memory_store.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/mutex.h"
#include "store/names.h"

namespace holdfast::store {
namespace {

struct Object {
  std::shared_ptr<const Bytes> bytes;  // shared with readers, who copy outside the lock
  Time modified;
};
using Objects = std::map<std::string, Object, std::less<>>;

// Throws when an object stands where a folder of `name` would, or the other way round.
void check_place(const Objects& objects, const std::string& name) {
  for (size_t slash = name.find('/'); slash != std::string::npos; slash = name.find('/', slash + 1))
    if (std::string folder = name.substr(0, slash); objects.contains(folder))
      throw_name_conflict(name, folder);
  Objects::const_iterator below = objects.lower_bound(name + "/");
  if (below != objects.end() && below->first.starts_with(name + "/"))
    throw_name_conflict(name, name + "/");
}

}  // namespace

struct MemoryStore::State {
  explicit State(const Clock& c) : clock(c) {}

  bool put(const std::string& name, Bytes bytes) {
    auto shared = std::make_shared<const Bytes>(std::move(bytes));
    MutexLock lock(mutex);
    if (objects.contains(name)) return false;
    check_place(objects, name);
    objects.emplace(name, Object{.bytes = std::move(shared), .modified = clock.now()});
    return true;
  }
  std::optional<Object> find(const std::string& name) {
    check_name(name);
    MutexLock lock(mutex);
    Objects::const_iterator found = objects.find(name);
    if (found == objects.end()) return std::nullopt;
    return found->second;
  }

  ListPage list(const ListRequest& request) {
    ListPage page;
    MutexLock lock(mutex);
    Objects::const_iterator at = request.after < request.prefix
                                     ? objects.lower_bound(request.prefix)
                                     : objects.upper_bound(request.after);
    while (at != objects.end() && at->first.starts_with(request.prefix)) {
      ListEntry entry{.name = at->first,
                      .bytes = at->second.bytes->size(),
                      .modified = at->second.modified,
                      .changed = at->second.modified};
      if (size_t slash = at->first.find('/', request.prefix.size());
          request.folders && slash != std::string::npos) {
        // One entry for the folder, then on behind it: "0" comes right after "/".
        entry = {.name = at->first.substr(0, slash + 1), .bytes = 0, .modified = Time{}};
        at = objects.lower_bound(at->first.substr(0, slash) + "0");
        if (entry.name <= request.after) continue;
      } else {
        ++at;
      }
      if (page.entries.size() == request.limit) {
        page.more = true;
        break;
      }
      page.entries.push_back(std::move(entry));
    }
    return page;
  }

  bool remove(const std::string& name) {
    MutexLock lock(mutex);
    return objects.erase(name) > 0;
  }
  void replace(const std::string& name, Bytes bytes) {
    auto shared = std::make_shared<const Bytes>(std::move(bytes));
    MutexLock lock(mutex);
    objects[name].bytes = std::move(shared);
  }

  const Clock& clock;
  Mutex mutex;
  Objects objects HF_GUARDED_BY(mutex);
};

namespace {

class MemoryUpload : public Upload {
 public:
  using Put = std::function<bool(Bytes)>;
  MemoryUpload(std::string name, Put put) : name_(std::move(name)), put_(std::move(put)) {}
  void append(ByteView bytes) override { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void commit() override {
    if (!put_(std::move(bytes_))) throw_name_taken(name_);
  }

 private:
  std::string name_;
  Put put_;
  Bytes bytes_;
};

}  // namespace

MemoryStore::MemoryStore(const Clock& clock) : state_(std::make_unique<State>(clock)) {}
MemoryStore::~MemoryStore() = default;

std::unique_ptr<Upload> MemoryStore::upload(const std::string& name) {
  check_name(name);
  State& state = *state_;
  return std::make_unique<MemoryUpload>(
      name, [&state, name](Bytes bytes) { return state.put(name, std::move(bytes)); });
}

bool MemoryStore::create(const std::string& name, ByteView bytes) {
  check_name(name);
  return state_->put(name, Bytes(bytes.begin(), bytes.end()));
}

std::optional<Bytes> MemoryStore::read(const std::string& name, uint64_t offset, uint64_t length) {
  std::optional<Object> object = state_->find(name);
  if (!object) return std::nullopt;
  ByteView all = *object->bytes;
  ByteView rest = all.subspan(std::min<uint64_t>(offset, all.size()));
  ByteView range = rest.first(std::min<uint64_t>(length, rest.size()));
  return Bytes(range.begin(), range.end());
}

std::optional<size_t> MemoryStore::read_into(const std::string& name, uint64_t offset,
                                             std::span<std::byte> into) {
  std::optional<Bytes> bytes = read(name, offset, into.size());
  if (!bytes) return std::nullopt;
  std::ranges::copy(*bytes, into.begin());
  return bytes->size();
}

std::optional<ObjectInfo> MemoryStore::info(const std::string& name) {
  std::optional<Object> object = state_->find(name);
  if (!object) return std::nullopt;
  return ObjectInfo{
      .bytes = object->bytes->size(), .modified = object->modified, .changed = object->modified};
}

ListPage MemoryStore::list(const ListRequest& request) {
  check_list_request(request);
  return state_->list(request);
}

void MemoryStore::make_durable(const std::string& name) {
  if (!state_->find(name)) throw_no_object(name);
}

Time MemoryStore::now() { return state_->clock.now(); }

bool MemoryStore::remove(const std::string& name) {
  check_name(name);
  return state_->remove(name);
}

void MemoryStore::edit(const std::string& name, const std::function<void(Bytes&)>& change) {
  std::optional<Object> object = state_->find(name);
  if (!object) throw_no_object(name);
  Bytes bytes = *object->bytes;
  change(bytes);
  state_->replace(name, std::move(bytes));
}

}  // namespace holdfast::store
