#include "setup/archiver_trial.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/file.h"
#include "base/task_group.h"
#include "base/time.h"
#include "cluster/server_process.h"
#include "setup/push_status.h"

namespace holdfast::setup {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::seconds kPatience{60};
constexpr milliseconds kRound{100};
constexpr size_t kMaxOutputBytes = size_t{4} << 20;
constexpr size_t kMaxWordsBytes = 4000;
// Where nothing is known of the server's environment.
constexpr std::string_view kUsualPath =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// As the server replaces placeholders.
std::string without_placeholders(std::string_view text, std::string_view file) {
  std::string out;
  for (size_t at = 0; at < text.size(); ++at) {
    char next = text[at] == '%' && at + 1 < text.size() ? text[at + 1] : '\0';
    if (next == 'p')
      out += fmt::format("pg_wal/{}", file);
    else if (next == 'f')
      out += file;
    else if (next == '%')
      out += '%';
    else {
      out += text[at];
      continue;
    }
    ++at;
  }
  return out;
}

std::string text_of(const std::string& path) {
  std::string text = read_text_file(path, kMaxOutputBytes);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

TrialAnswer run_trial(const ArchiverPlace& place, const std::string& command,
                      const std::stop_token& stop) {
  TemporaryDirectory outputs;
  SpawnOptions options{.arguments = {"env", "-i"},
                       .directory = place.data_directory,
                       .output = join_path(outputs.path(), "out"),
                       .error = join_path(outputs.path(), "err")};
  if (place.environment.empty())
    options.arguments.emplace_back(kUsualPath);
  else
    options.arguments.insert(options.arguments.end(), place.environment.begin(),
                             place.environment.end());
  options.arguments.insert(options.arguments.end(), {"/bin/sh", "-c", command});

  // A repository on a file system that hangs must not hold this command for ever; ended with
  // SIGKILL, wal push leaves nothing but a file in .tmp.
  Process process(cluster::as_user(options, place.user));
  TrialAnswer answer;
  std::optional<ExitStatus> status;
  for (milliseconds waited{0}; !status && waited < kPatience; waited += kRound) {
    throw_if_stopped(stop);
    status = process.wait(kRound);
  }
  answer.timed_out = !status;
  if (status) answer.status = *status;

  answer.words = text_of(options.error);
  if (answer.words.size() > kMaxWordsBytes) answer.words.resize(kMaxWordsBytes);
  std::string printed = text_of(options.output);
  if (printed.starts_with('{')) answer.document = Json::parse(printed, "answer of archive_command");
  return answer;
}

TrialAnswer run_or_throw(const ArchiverPlace& place, const std::optional<std::string>& command,
                         const std::stop_token& stop) {
  HF_CHECK(command);
  return run_trial(place, "exec " + *command, stop);
}

}  // namespace

Error::Parts TrialAnswer::error() const {
  if (timed_out)
    return {
        .code = ErrorCode::kStoreUnavailable,
        .message = fmt::format("it does not answer within {}", to_human(kPatience)),
        .hint = "Check that the file system which holds the repository is mounted and answers."};
  auto member = [&](std::string_view name) -> std::string {
    const Json* found = document ? document->find(name) : nullptr;
    return found != nullptr ? found->as_string() : std::string();
  };
  if (std::string message = member("message"); !message.empty())
    return {.code = ErrorCode::kServer,
            .message = std::move(message),
            .detail = member("detail"),
            .hint = member("hint")};
  std::string line = words.substr(0, words.find('\n'));
  return {.code = ErrorCode::kServer,
          .message = line.empty() ? "it " + to_string(status) : line,
          .detail = line.size() < words.size() ? words.substr(line.size() + 1) : std::string()};
}

std::optional<std::string> info_command(std::string_view archive_command) {
  size_t push = archive_command.find(kPush);
  if (push == std::string_view::npos) return std::nullopt;
  return without_placeholders(archive_command.substr(0, push), "") + " info --json";
}

std::optional<std::string> push_command(std::string_view archive_command, std::string_view file) {
  size_t push = archive_command.find(kPush);
  if (push == std::string_view::npos) return std::nullopt;
  return fmt::format("{}{}pg_wal/{} --json",
                     without_placeholders(archive_command.substr(0, push), file), kPush, file);
}

TrialAnswer try_info(const ArchiverPlace& place, const std::stop_token& stop) {
  return run_or_throw(place, info_command(place.archive_command), stop);
}

TrialAnswer try_push(const ArchiverPlace& place, std::string_view file,
                     const std::stop_token& stop) {
  return run_or_throw(place, push_command(place.archive_command, file), stop);
}

}  // namespace holdfast::setup
