#include "support/file_faults.h"

#include <atomic>
#include <cstdlib>

#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "support/holdfast_command.h"

namespace holdfast::test {
namespace {

std::string preloaded_library() {
  const char* library = std::getenv("HOLDFAST_FILE_FAULTS");
  if (library == nullptr || *library == '\0')
    throw Error({.code = ErrorCode::kUsage,
                 .message = "HOLDFAST_FILE_FAULTS is not set",
                 .hint = "Run the integration tests with tools/run_integration."});
  return library;
}

SpawnOptions command(const std::string& config_file, const std::vector<std::string>& words) {
  forget_outer_settings();
  SpawnOptions options{.arguments = {holdfast_program(), "--config", config_file},
                       .environment = {{"LD_PRELOAD", preloaded_library()}}};
  options.arguments.insert(options.arguments.end(), words.begin(), words.end());
  return options;
}

}  // namespace

HeldCommand::HeldCommand(const std::string& directory, const std::string& config_file,
                         const std::vector<std::string>& words, const std::string& held_at,
                         Before before) {
  static std::atomic<int> count = 0;
  directory_ = join_path(directory, fmt::format("held.{}", ++count));
  make_directory(directory_);
  SpawnOptions options = command(config_file, words);
  options.environment.insert(
      options.environment.end(),
      {{before == Before::kOpening ? "HF_PAUSE_AT" : "HF_PAUSE_AT_REMOVAL", held_at},
       {"HF_PAUSE_DIRECTORY", directory_}});
  options.output = join_path(directory_, "out");
  options.error = join_path(directory_, "err");
  process_ = std::make_unique<Process>(options);
  const bool is_held = comes_true([&] {
    return process_->poll() || lstat_if_exists(join_path(directory_, "reached")).has_value();
  });
  if (!is_held || process_->poll())
    throw Error({.code = ErrorCode::kInternal,
                 .message = fmt::format("the program did not come to \"{}\"", held_at),
                 .detail = read_text_file(options.error)});
}

HeldCommand::~HeldCommand() = default;

Captured HeldCommand::release() {
  write_file_durably(join_path(directory_, "go"), {});
  return wait();
}

Captured HeldCommand::wait() {
  Captured captured;
  captured.status = process_->wait();
  captured.out = read_text_file(join_path(directory_, "out"));
  captured.err = read_text_file(join_path(directory_, "err"));
  return captured;
}

Captured run_with_unreadable(const RecoveryScene& scene, const std::vector<std::string>& words,
                             const UnreadablePart& part) {
  SpawnOptions options = command(scene.config_file(), words);
  options.environment.insert(options.environment.end(),
                             {{"HF_EIO_AT", part.path_end},
                              {"HF_EIO_FROM", fmt::format("{}", part.from)},
                              {"HF_EIO_TO", fmt::format("{}", part.to)}});
  return run(options);
}

std::vector<std::pair<std::string, std::string>> environment_of(const UnreliableTree& tree,
                                                                const std::string& host_name) {
  return {{"LD_PRELOAD", preloaded_library()},
          {"HF_HOST_NAME", host_name},
          {"HF_TREE", tree.path},
          {"HF_TREE_SEED", fmt::format("{}", tree.seed)},
          {"HF_TREE_SLOW_US", fmt::format("{}", tree.slow_us)},
          {"HF_TREE_FAIL_ONE_IN", fmt::format("{}", tree.fail_one_in)}};
}

std::vector<std::pair<std::string, std::string>> environment_ahead(std::chrono::seconds by) {
  return {{"LD_PRELOAD", preloaded_library()}, {"HF_CLOCK_AHEAD_S", fmt::format("{}", by.count())}};
}

}  // namespace holdfast::test
