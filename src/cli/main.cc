// main.cc: from the command line to the exit status. Every Error ends here and becomes words.
//
// The server that runs "wal push" and "wal get" reads their exit status as an answer, so whatever
// goes wrong there, also a wrong option, has the status that the server understands rightly:
//   wal push   1 for every failure: above 125 the server restarts its archiver and hides the
//   failure wal get    200 for every failure: up to 125 it would mean that the file does not exist,
//   and the server would end recovery early
// So has "check --nagios", whose statuses are those of monitoring plugins: 3 for what tells
// nothing.
#include <csignal>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"
#include "base/signals.h"
#include "cli/arguments.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cluster/sandbox.h"
#include "config/settings.h"
#include "view/check.h"
#include "view/view.h"

extern char** environ;

namespace holdfast::cli {
namespace {

constexpr int kWalGetFailed = 200;

enum class Caller : uint8_t { kPerson, kArchiveCommand, kRestoreCommand, kMonitoring };

bool has_word(int argc, const char* const* argv, std::string_view word) {
  for (int i = 1; i < argc; ++i)
    if (word == argv[i]) return true;
  return false;
}

// Told from the words alone, before anything is parsed: a line that does not parse must have the
// right status too.
Caller caller_of(int argc, const char* const* argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string_view(argv[i]) != "wal") continue;
    if (std::string_view(argv[i + 1]) == "push") return Caller::kArchiveCommand;
    if (std::string_view(argv[i + 1]) == "get") return Caller::kRestoreCommand;
  }
  return has_word(argc, argv, "--nagios") ? Caller::kMonitoring : Caller::kPerson;
}

int status_for(Caller caller, int status) {
  if (status == 0 || caller == Caller::kPerson) return status;
  if (caller == Caller::kMonitoring) return view::kNagiosUnknown;
  return caller == Caller::kArchiveCommand ? 1 : kWalGetFailed;
}

void print(std::FILE* to, const std::string& text) { std::fwrite(text.data(), 1, text.size(), to); }

int report(Caller caller, const Error& error, const Arguments& arguments, bool as_json) {
  const int status = status_for(caller, exit_status(error.code()));
  const std::string words = arguments.commands.complete(view::text(error));
  print(stderr, wants_colour(arguments.colour, STDERR_FILENO) ? coloured(words) : words);
  if (caller == Caller::kMonitoring)
    print(stdout, view::nagios_unknown(error.message()));
  else if (as_json)
    print(
        stdout,
        arguments.commands.complete_sentences(view::json(error)).set("exit_status", status).dump() +
            "\n");
  return status;
}

// The way of a server into its sandbox. Before any thread, and in the words of a server's log,
// which is where they go.
int run_sandbox(int argc, const char* const* argv) {
  try {
    cluster::enter_sandbox(std::vector<std::string>(argv + 2, argv + argc));
  } catch (const Error& error) {
    print(stderr, fmt::format("FATAL:  {}\n", error.message()));
    return exit_status(error.code());
  }
}

int run(int argc, const char* const* argv) {
  if (argc > 1 && argv[1] == cluster::kSandboxWord) return run_sandbox(argc, argv);
  const Caller caller = caller_of(argc, argv);
  const bool as_json = has_word(argc, argv, "--json");
  Arguments arguments;
  try {
    arguments = parse_arguments(argc, argv, system_clock());
    if (arguments.command.empty()) {
      print(stdout, arguments.output);
      return 0;
    }
    for (char** variable = environ; *variable != nullptr; ++variable) {
      const std::string_view text = *variable;
      const size_t equals = text.find('=');
      if (text.starts_with("HOLDFAST_") && equals != std::string_view::npos)
        arguments.sources.environment.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
    // What is wrong with the settings is told by whoever needs them.
    if (caller == Caller::kPerson || caller == Caller::kMonitoring)
      error_of([&] {
        arguments.commands.set_data_directory(
            config::Settings::load(arguments.sources).text("cluster.pgdata"));
      });
    set_log_level(arguments.verbose ? LogLevel::kDebug : LogLevel::kInfo);

    const SignalStop signals;
    int status = 0;
    try {
      const std::unique_ptr<ProgressReporter> reporter = make_reporter(arguments, system_clock());
      status = run_command(arguments, system_clock(), *reporter, signals.token());
    } catch (const Error& error) {  // with the signal's number at hand
      status = report(caller, error, arguments, as_json);
      // A server that is shutting down ends its restore_command with SIGTERM, and takes death by
      // that signal as "go quietly".
      if (caller == Caller::kRestoreCommand && signals.signal_number() == SIGTERM) {
        std::signal(SIGTERM, SIG_DFL);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
        raise(SIGTERM);
      }
      return status;
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      throw_errno("write to", "standard output");
    return status;
  } catch (const Error& error) {
    return report(caller, error, arguments, as_json);
  } catch (const std::exception&
               error) {  // memory, or a defect of ours: still a word and the right status
    print(stderr, fmt::format("ERROR:  internal error: {}\n", error.what()));
    return status_for(caller, 1);
  }
}

}  // namespace
}  // namespace holdfast::cli

int main(int argc, char** argv) { return holdfast::cli::run(argc, argv); }
