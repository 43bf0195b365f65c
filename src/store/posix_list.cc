// An object store sorts whole names bytewise; a directory's entries come in no order. A directory
// sorts as its name with "/" behind it: all names below it begin so, so they lie together, and
// "a-b" < "a.b" < "a/b" < "a0" comes out right although "a" < "a-b". A directory whose names all
// come before `after` is not opened.
//
// A folder of a hundred thousand objects has a hundred pages, and is read once: a page that is full
// hands on where it stands.

#include "store/posix_list.h"

#include <algorithm>
#include <cerrno>
#include <dirent.h>

#include "base/error.h"
#include "store/names.h"

namespace holdfast::store {
namespace {

struct CloseDirectory {
  void operator()(DIR* stream) const { closedir(stream); }
};

// The way down to where it reads: each directory is read once, when the listing comes to it.
class Lister : public ListPosition {
 public:
  Lister(const PosixRoot& root, const ListRequest& request)
      : root_(root), request_(request), after_(request.after) {
    request_.position.reset();
    enter(request_.prefix);
  }

  // Whether it can go on where that request begins.
  bool is_at(const PosixRoot& root, const ListRequest& request) const {
    return is_sound_ && &root == &root_ && request.prefix == request_.prefix &&
           request.folders == request_.folders && request.empty_folders == request_.empty_folders &&
           request.after == after_;
  }

  ListPage next(size_t limit) {
    is_sound_ = false;  // until the page is whole: a call that failed is made again from `after`
    ListPage page;
    while (!levels_.empty() && !page.more) {
      Level& level = levels_.back();
      if (level.next == level.names.size()) {
        levels_.pop_back();
        continue;
      }
      const std::string name = level.folder + level.names[level.next];
      if (request_.folders || name.back() != '/') {
        std::optional<ListEntry> entry = entry_of(name);
        page.more = entry && page.entries.size() == limit;
        if (page.more) break;  // the next page begins with it
        if (entry) page.entries.push_back(std::move(*entry));
      }
      ++level.next;
      if (!request_.folders && name.back() == '/' &&
          (name > request_.after || request_.after.starts_with(name)))
        enter(name);  // `level` is another one from here
    }
    if (page.more) after_ = page.entries.back().name;
    is_sound_ = true;
    return page;
  }

 private:
  struct Level {
    std::string folder;  // "" or ends in "/", as in the names that are listed
    std::vector<std::string> names;
    size_t next = 0;
  };

  void enter(const std::string& folder) {
    levels_.push_back({.folder = folder, .names = children(folder)});
  }

  // nullopt: it is not to be listed, or not there any more.
  std::optional<ListEntry> entry_of(const std::string& name) const {
    if (name <= request_.after) return std::nullopt;
    if (name.back() == '/') {
      if (!request_.empty_folders && !holds_object(name)) return std::nullopt;
      return ListEntry{.name = name, .bytes = 0, .modified = Time{}};
    }
    std::optional<struct stat> status = root_.stat_object(name);
    if (!status) return std::nullopt;
    return ListEntry{.name = name,
                     .bytes = static_cast<uint64_t>(status->st_size),
                     .modified = modified_time(*status),
                     .changed = changed_time(*status)};
  }

  // Or may hold one: what may not be looked into cannot be called empty, nor is it in the way of
  // whoever does not need it.
  bool holds_object(const std::string& folder) const {
    std::vector<std::string> deeper;
    bool found = false;
    const int failed = for_each_child(folder, [&](std::string name) {
      found = name.back() != '/';
      if (!found) deeper.push_back(folder + name);
      return !found;
    });
    if (failed == EACCES || failed == EPERM || failed == EIO) return true;
    if (failed != 0) fail_to_open(folder, failed);
    return found ||
           std::ranges::any_of(deeper, [&](const std::string& name) { return holds_object(name); });
  }

  // Sorted; directories end in "/".
  std::vector<std::string> children(const std::string& folder) const {
    std::vector<std::string> names;
    const int failed = for_each_child(folder, [&](std::string name) {
      names.push_back(std::move(name));
      return true;
    });
    if (failed != 0) fail_to_open(folder, failed);
    std::ranges::sort(names);
    return names;
  }

  static std::string_view without_slash(std::string_view folder) {
    return folder.substr(0, folder.empty() ? 0 : folder.size() - 1);
  }
  [[noreturn]] void fail_to_open(const std::string& folder, int error_number) const {
    root_.fail("open directory", root_.path_of(without_slash(folder)), error_number);
  }

  // Until `visit` returns false. What is no object's and no folder's name is left out: .tmp,
  // lost+found, a file "x~". A folder that is not there has no children. Returns errno when it
  // cannot be opened.
  template <typename Visit>
  int for_each_child(const std::string& folder, Visit visit) const {
    const std::string path = root_.path_of(without_slash(folder));
    const std::unique_ptr<DIR, CloseDirectory> stream(opendir(path.c_str()));
    if (!stream) {
      const int error_number = errno;
      return root_.is_absence(error_number, without_slash(folder)) ? 0 : error_number;
    }
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(stream.get());
      if (entry == nullptr) break;
      std::string name = entry->d_name;
      if (!is_component(name)) continue;
      const unsigned char type = type_of(*entry, folder + name);
      if (type == DT_DIR) name += '/';
      if ((type == DT_REG || type == DT_DIR) && !visit(std::move(name))) return 0;
    }
    if (errno != 0) root_.fail("read directory", path, errno);
    return 0;
  }

  // Symbolic links count as what they lead to: a directory may have been moved to another disk.
  unsigned char type_of(const dirent& entry, const std::string& name) const {
    if (entry.d_type != DT_UNKNOWN && entry.d_type != DT_LNK) return entry.d_type;
    struct stat status{};
    if (stat(root_.path_of(name).c_str(), &status) == 0)
      return static_cast<unsigned char>(IFTODT(status.st_mode));
    int error_number = errno;
    if (root_.is_absence(error_number, name)) return DT_UNKNOWN;
    root_.fail("stat", root_.path_of(name), error_number);
  }

  const PosixRoot& root_;
  ListRequest request_;
  std::string after_;  // what was listed
  std::vector<Level> levels_;
  bool is_sound_ = true;
};

}  // namespace

ListPage list_objects(const PosixRoot& root, const ListRequest& request) {
  std::shared_ptr<Lister> lister = std::dynamic_pointer_cast<Lister>(request.position);
  if (!lister || !lister->is_at(root, request)) lister = std::make_shared<Lister>(root, request);
  ListPage page = lister->next(request.limit);
  if (page.more) page.position = std::move(lister);
  return page;
}

}  // namespace holdfast::store
