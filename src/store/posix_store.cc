#include "store/posix_store.h"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "store/carried_clock.h"
#include "store/names.h"
#include "store/posix_list.h"
#include "store/posix_root.h"
#include "store/posix_upload.h"

namespace holdfast::store {
namespace {

class NamedUpload : public Upload {
 public:
  NamedUpload(PosixRoot& root, std::string name) : name_(std::move(name)), file_(root) {}
  void append(ByteView bytes) override { file_.append(bytes); }
  void commit() override {
    if (!file_.link_as(name_)) throw_name_taken(name_);
  }

 private:
  std::string name_;
  PosixUpload file_;
};

class PosixStore : public Store {
 public:
  explicit PosixStore(const std::string& path) : root_(path) {}

  std::unique_ptr<Upload> upload(const std::string& name) override {
    check_name(name);
    return std::make_unique<NamedUpload>(root_, name);
  }

  bool create(const std::string& name, ByteView bytes) override {
    check_name(name);
    const AsOwner as_owner(root_.ownership());
    if (!root_.stat_object(name)) {  // else nothing need be written to know
      PosixUpload file(root_);
      file.append(bytes);
      if (file.link_as(name)) return true;
    }
    make_durable(name);
    return false;
  }

  std::optional<Bytes> read(const std::string& name, uint64_t offset, uint64_t length) override {
    check_name(name);
    const AsOwner as_owner(root_.ownership());
    std::optional<PosixRoot::OpenObject> object = root_.open_object(name);
    if (!object) return std::nullopt;
    uint64_t size = static_cast<uint64_t>(object->status.st_size);
    Bytes bytes(offset < size ? std::min(length, size - offset) : 0);
    bytes.resize(read_range(*object, name, offset, bytes));
    return bytes;
  }

  std::optional<size_t> read_into(const std::string& name, uint64_t offset,
                                  std::span<std::byte> into) override {
    check_name(name);
    const AsOwner as_owner(root_.ownership());
    std::optional<PosixRoot::OpenObject> object = root_.open_object(name);
    if (!object) return std::nullopt;
    if (offset >= static_cast<uint64_t>(object->status.st_size)) return 0;
    return read_range(*object, name, offset, into);
  }

  std::optional<ObjectInfo> info(const std::string& name) override {
    check_name(name);
    const AsOwner as_owner(root_.ownership());
    std::optional<struct stat> status = root_.stat_object(name);
    if (!status) return std::nullopt;
    return ObjectInfo{.bytes = static_cast<uint64_t>(status->st_size),
                      .modified = modified_time(*status),
                      .changed = changed_time(*status)};
  }

  ListPage list(const ListRequest& request) override {
    check_list_request(request);
    const AsOwner as_owner(root_.ownership());
    return list_objects(root_, request);
  }

  void make_durable(const std::string& name) override {
    check_name(name);
    const AsOwner as_owner(root_.ownership());
    std::optional<PosixRoot::OpenObject> object = root_.open_object(name);
    if (!object) throw_no_object(name);
    std::string path = root_.path_of(name);
    if (fsync(object->fd.get()) != 0) root_.fail("fsync", path, errno);
    root_.sync_name(name);
  }

  void require_writable() override {
    const AsOwner as_owner(root_.ownership());
    const std::string path = root_.path_of(kUploadFolder);
    if (faccessat(AT_FDCWD, path.c_str(), W_OK | X_OK, AT_EACCESS) != 0 && errno != ENOENT)
      root_.fail("write into", path, errno);
  }
  // The file system's, read off a file just made (its server sets the time, and sets it on objects
  // too), which has it without a byte: a full file system tells it too. Behind by a tick of it at
  // most, about 10 ms.
  Time now() override {
    return clock_.now([&] { return modified_time(PosixUpload(root_).status()); });
  }
  std::string url() const override { return root_.path(); }

 private:
  size_t read_range(const PosixRoot::OpenObject& object, const std::string& name, uint64_t offset,
                    std::span<std::byte> into) const {
    std::string path = root_.path_of(name);
    size_t done = 0;
    while (done < into.size()) {
      ssize_t count = pread(object.fd.get(), into.data() + done, into.size() - done,
                            narrow<off_t>(offset + done));
      if (count == 0) break;
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) root_.fail("read", path, errno);
      done += static_cast<size_t>(count);
    }
    return done;
  }

  PosixRoot root_;
  CarriedClock clock_;
};

class PosixRemover : public Remover {
 public:
  explicit PosixRemover(const std::string& path) : root_(path) {}

  bool remove(const std::string& name) override {
    check_name(name);
    const AsOwner as_owner(root_.ownership());
    std::string path = root_.path_of(name);
    if (unlink(path.c_str()) == 0) {
      root_.sync_removal(name);
      root_.remove_if_empty(folder_of(name));
      return true;
    }
    int error_number = errno;
    if (error_number != EISDIR && !root_.is_absence(error_number, name))
      root_.fail("remove", path, error_number);
    // Whoever removed it may have been killed before that was durable.
    root_.sync_removal(name);
    return false;
  }

 private:
  PosixRoot root_;
};

}  // namespace

std::unique_ptr<Store> open_posix_store(const std::string& path) {
  return std::make_unique<PosixStore>(path);
}

std::unique_ptr<Remover> open_posix_remover(const std::string& path) {
  return std::make_unique<PosixRemover>(path);
}

namespace {

// False: it is there.
bool make_root(const std::string& path, const std::optional<OwnerIds>& owner) {
  if (mkdir(path.c_str(), kFolderMode) != 0) return false;
  const Fd made = open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (owner && fchown(made.get(), owner->user, owner->group) != 0)
    throw_errno("change the owner of", path);
  if (fchmod(made.get(), kFolderMode) != 0) throw_errno("set the mode of", path);
  fsync_parent(path);
  return true;
}

}  // namespace

void create_posix_root(const std::string& path, const std::optional<OwnerIds>& owner) {
  bool is_there = make_root(path, geteuid() == 0 ? owner : std::nullopt);
  if (!is_there && errno == EACCES) {
    // Where root is nobody, whom the directory above belongs to makes it.
    const Ownership above(parent_path(path));
    const AsOwner as_owner(above);
    is_there = make_root(path, std::nullopt);
  }
  if (!is_there && errno != EEXIST) throw_errno("create directory", path);
  if (!is_directory(path))
    throw Error({.code = ErrorCode::kAlreadyExists,
                 .message = fmt::format("\"{}\" is not a directory", path),
                 .detail = "A repository is a directory.",
                 .hint = "Name another path, or move what stands there out of the way."});
  PosixRoot root(path);
  const AsOwner as_owner(root.ownership());
  root.make_folder(kUploadFolder);
  root.sync_folder("");
}

int sweep_posix_uploads(const std::string& path) {
  PosixRoot root(path);
  const int swept = sweep_uploads_of(root);
  remove_empty_folders(root);
  return swept;
}

}  // namespace holdfast::store
