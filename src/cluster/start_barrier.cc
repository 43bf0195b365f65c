#include "cluster/start_barrier.h"

#include <optional>
#include <sys/stat.h>

#include "base/error.h"
#include "base/file.h"
#include "pg/control_file.h"

namespace holdfast::cluster {
namespace {

std::string usual_path(const std::string& data_directory) {
  return join_path(data_directory, pg::kControlFilePath);
}

std::string barred_path(const std::string& data_directory) {
  return join_path(data_directory, kBarredControlFile);
}

}  // namespace

std::string control_file_path(const std::string& data_directory) {
  std::string barred = barred_path(data_directory);
  if (!lstat_if_exists(usual_path(data_directory)) && lstat_if_exists(barred)) return barred;
  return usual_path(data_directory);
}

bool take_barrier_away(const std::string& data_directory) {
  const std::string usual = usual_path(data_directory);
  const std::string barred = barred_path(data_directory);
  if (!lstat_if_exists(barred) || lstat_if_exists(usual)) return false;
  rename_path(barred, usual);
  fsync_parent(usual);
  return true;
}

void bar_start(const std::string& data_directory) {
  const std::string usual = usual_path(data_directory);
  const std::optional<struct stat> global = lstat_if_exists(parent_path(usual));
  // What a link leads to may be another cluster's.
  if (!global || !S_ISDIR(global->st_mode) || !lstat_if_exists(usual)) return;
  rename_path(usual, barred_path(data_directory));
  fsync_parent(usual);
}

StartBarrier::StartBarrier(std::string data_directory)
    : data_directory_(std::move(data_directory)) {
  bar_start(data_directory_);
}

// What cannot be put back is put back by the next command that works there.
StartBarrier::~StartBarrier() {
  error_of(even_interrupted, [&] { take_barrier_away(data_directory_); });
}

void remove_control_file(const std::string& data_directory) {
  const std::string usual = usual_path(data_directory);
  const bool was_there = remove_file_if_exists(usual);
  if (remove_file_if_exists(barred_path(data_directory)) || was_there) fsync_parent(usual);
}

}  // namespace holdfast::cluster
