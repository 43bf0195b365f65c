// posix_upload.h: one file in .tmp on its way to a name; and what is left there when its writer was
// killed. For the sources of store alone.
#pragma once

#include <string>

#include "base/bytes.h"
#include "base/direct_writer.h"
#include "base/file.h"
#include "store/posix_root.h"

namespace holdfast::store {

// A file that nobody else knows of until link_as(); locked as long as it is open. The destructor
// takes it away.
class PosixUpload {
 public:
  explicit PosixUpload(PosixRoot& root);
  ~PosixUpload();
  PosixUpload(const PosixUpload&) = delete;
  PosixUpload& operator=(const PosixUpload&) = delete;

  void append(ByteView bytes);
  // Makes its bytes durable under `name`. False: the name is taken, by an object that was not
  // touched.
  bool link_as(const std::string& name);
  struct stat status() const;

 private:
  bool open_new();
  bool has_own_name() const;
  PosixRoot& root_;
  std::string path_;
  Fd fd_;
  DirectWriter writer_;
  uint64_t size_ = 0;  // appended
};

// Removes the files in .tmp whose writers are gone; returns how many.
int sweep_uploads_of(PosixRoot& root);
// Removes folders that were left without anything in them: by writers that were killed, and by
// versions of this program that did not take them away with their last object.
void remove_empty_folders(PosixRoot& root);

}  // namespace holdfast::store
