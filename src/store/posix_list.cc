// An object store sorts whole names bytewise; a directory's entries come in no order. A directory
// sorts as its name with "/" behind it: all names below it begin so, so they lie together, and
// "a-b" < "a.b" < "a/b" < "a0" comes out right although "a" < "a-b". A directory whose names all
// come before `after` is not opened.

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

class Lister {
 public:
  Lister(const PosixRoot& root, const ListRequest& request) : root_(root), request_(request) {}

  ListPage run() {
    walk(request_.prefix);
    return std::move(page_);
  }

 private:
  // `folder` is "" or ends in "/", as in the names that are listed.
  void walk(const std::string& folder) {
    for (const std::string& child : children(folder)) {
      if (page_.more) return;
      std::string name = folder + child;
      if (name.back() != '/') {
        if (name > request_.after) add_object(name);
      } else if (request_.folders) {
        if (name > request_.after && holds_object(name))
          add({.name = name, .bytes = 0, .modified = Time{}});
      } else if (name > request_.after || request_.after.starts_with(name)) {
        walk(name);
      }
    }
  }

  void add_object(const std::string& name) {
    std::optional<struct stat> status = root_.stat_object(name);
    if (!status) return;  // removed since it was read
    add({.name = name,
         .bytes = static_cast<uint64_t>(status->st_size),
         .modified = modified_time(*status)});
  }

  void add(ListEntry entry) {
    if (page_.entries.size() < request_.limit)
      page_.entries.push_back(std::move(entry));
    else
      page_.more = true;
  }

  bool holds_object(const std::string& folder) const {
    std::vector<std::string> names = children(folder);
    return std::ranges::any_of(names, [](const std::string& name) { return name.back() != '/'; }) ||
           std::ranges::any_of(
               names, [&](const std::string& name) { return holds_object(folder + name); });
  }

  // Sorted; directories end in "/". What is no object's and no folder's name is left out: .tmp,
  // lost+found, a file "x~".
  std::vector<std::string> children(const std::string& folder) const {
    std::string_view folder_name =
        std::string_view(folder).substr(0, folder.empty() ? 0 : folder.size() - 1);
    std::string path = root_.path_of(folder_name);
    std::vector<std::string> names;
    std::unique_ptr<DIR, CloseDirectory> stream(opendir(path.c_str()));
    if (!stream) {
      int error_number = errno;
      if (root_.is_absence(error_number, folder_name)) return names;
      root_.fail("open directory", path, error_number);
    }
    for (;;) {
      errno = 0;
      const dirent* entry = readdir(stream.get());
      if (entry == nullptr) break;
      std::string name = entry->d_name;
      if (!is_component(name)) continue;
      switch (type_of(*entry, folder + name)) {
        case DT_REG:
          names.push_back(std::move(name));
          break;
        case DT_DIR:
          names.push_back(std::move(name) + "/");
          break;
        default:
          break;
      }
    }
    if (errno != 0) root_.fail("read directory", path, errno);
    std::ranges::sort(names);
    return names;
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
  const ListRequest& request_;
  ListPage page_;
};

}  // namespace

ListPage list_objects(const PosixRoot& root, const ListRequest& request) {
  return Lister(root, request).run();
}

}  // namespace holdfast::store
