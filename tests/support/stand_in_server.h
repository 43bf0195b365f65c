// stand_in_server.h: what looks like a server on a data directory, for who asks whether one lives
// there: a process called "postgres" that works in it, and its postmaster.pid.
#pragma once

#include <fcntl.h>
#include <optional>
#include <signal.h>
#include <string>

#include <fmt/core.h>

#include "base/file.h"
#include "base/process.h"

namespace holdfast::test {

class StandInServer {
 public:
  explicit StandInServer(const std::string& data_directory)
      : pid_file_(join_path(data_directory, "postmaster.pid")) {
    const std::string program = join_path(program_.path(), "postgres");
    {
      const Fd fd = open_file(program, O_WRONLY | O_CREAT | O_TRUNC, 0700);
      write_all(fd, read_file("/bin/sleep"), program);
    }
    process_.emplace(SpawnOptions{.arguments = {program, "3600"}, .directory = data_directory});
    const std::string text = fmt::format("{}\n{}\n1764000000\n", process_->pid(), data_directory);
    write_all(open_file(pid_file_, O_WRONLY | O_CREAT | O_TRUNC), as_bytes(text), pid_file_);
  }
  ~StandInServer() { stop(); }
  StandInServer(const StandInServer&) = delete;
  StandInServer& operator=(const StandInServer&) = delete;

  // In the order in which a server does.
  void stop() {
    remove_file_if_exists(pid_file_);
    crash();
  }
  // postmaster.pid stays.
  void crash() {
    if (!process_) return;
    process_->signal(SIGKILL);
    process_->wait();
    process_.reset();
  }

 private:
  TemporaryDirectory program_{"holdfast-stand-in"};
  std::string pid_file_;
  std::optional<Process> process_;
};

}  // namespace holdfast::test
