#include "base/process.h"

#include <cstdlib>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/error_of.h"

namespace holdfast {
namespace {

using test::error_of;

SpawnOptions shell(std::string script) { return {.arguments = {"sh", "-c", std::move(script)}}; }
// Ends only when it is killed.
SpawnOptions endless() { return {.arguments = {"sleep", "1000000"}}; }

TEST(ExitStatusText, ReadsAsTheServerSaysIt) {
  EXPECT_EQ(to_string(ExitStatus{.signalled = false, .code = 1}), "exited with status 1");
  EXPECT_EQ(to_string(ExitStatus{.signalled = true, .code = 9}),
            "was terminated by signal 9: Killed");
}

TEST(Run, ReturnsStatusAndBothOutputs) {
  const Captured captured = run(shell("echo out; echo err >&2; exit 3"));
  EXPECT_EQ(captured.status.code, 3);
  EXPECT_FALSE(captured.status.signalled);
  EXPECT_FALSE(captured.status.ok());
  EXPECT_EQ(captured.out, "out\n");
  EXPECT_EQ(captured.err, "err\n");
}

TEST(Run, DoesNotBlockOnMuchInputAndMuchOutputAtOnce) {
  const std::string input(3 << 20, 'x');
  const Captured captured = run(shell("cat; head -c 2000000 /dev/zero >&2"), input);
  EXPECT_TRUE(captured.status.ok());
  EXPECT_EQ(captured.out, input);
  EXPECT_EQ(captured.err.size(), 2'000'000u);
}

TEST(Run, InputThatNobodyReadsIsNoError) {
  EXPECT_TRUE(run({.arguments = {"true"}}, std::string(1 << 20, 'x')).status.ok());
  EXPECT_EQ(run({.arguments = {"cat"}}).out, "");  // without input: /dev/null
}

TEST(Run, StopsAProgramThatPrintsTooMuch) {
  const Error error = error_of([] { run(shell("echo $$ >&2; exec yes"), {}, 100'000); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.message(), "program \"sh\" printed too much");
  EXPECT_EQ(error.detail(), "At most 100000 bytes are taken. It was stopped.");
}

TEST(Run, DoesNotWaitForWhatTheProgramLeftRunning) {
  const Captured captured = run(shell("sleep 1000000 & echo $!"));
  EXPECT_TRUE(captured.status.ok());
  const pid_t left = std::stoi(captured.out);
  EXPECT_EQ(kill(left, SIGKILL), 0);  // it was still there
}

TEST(RunChecked, ReturnsStdoutOrAnErrorWithStderr) {
  EXPECT_EQ(run_checked(shell("echo yes")), "yes\n");
  const Error error = error_of([] { run_checked(shell("echo it broke >&2; exit 7")); });
  EXPECT_EQ(error.code(), ErrorCode::kIo);
  EXPECT_EQ(error.message(), "program \"sh\" exited with status 7");
  EXPECT_EQ(error.detail(), "it broke");
}

TEST(Spawn, SaysWhatIsMissing) {
  const Error program = error_of([] { run({.arguments = {"no-such-program-anywhere"}}); });
  EXPECT_EQ(program.code(), ErrorCode::kNotFound);
  EXPECT_EQ(program.message(),
            "could not start program \"no-such-program-anywhere\": No such file or directory");
  EXPECT_EQ(error_of([] { run({.arguments = {"true"}, .directory = "/no/such"}); }).message(),
            "could not open \"/no/such\": No such file or directory");
  EXPECT_EQ(error_of([] { run({.arguments = {"true"}, .input = "/no/such"}); }).message(),
            "could not open \"/no/such\": No such file or directory");
  EXPECT_EQ(error_of([] { run({.arguments = {"/etc/passwd"}}); }).code(), ErrorCode::kPermission);
}

TEST(Spawn, SetsEnvironmentAndDirectory) {
  setenv("HF_TEST_KEPT", "kept", 1);
  setenv("HF_TEST_REPLACED", "old", 1);
  SpawnOptions options = shell("echo $HF_TEST_KEPT $HF_TEST_REPLACED $HF_TEST_ADDED; pwd");
  options.environment = {{"HF_TEST_REPLACED", "new"}, {"HF_TEST_ADDED", "a=b"}};
  options.directory = "/proc";
  EXPECT_EQ(run(options).out, "kept new a=b\n/proc\n");
}

TEST(Spawn, GivesABareEnvironmentNothingThatIsNotNeeded) {
  setenv("HF_TEST_SECRET", "secret", 1);
  setenv("PGPASSWORD", "secret", 1);
  SpawnOptions options{.arguments = {"env"},
                       .environment = {{"HF_TEST_ADDED", "added"}, {"LC_ALL", "C"}},
                       .bare_environment = true};
  const std::string printed = run(options).out;
  unsetenv("PGPASSWORD");
  EXPECT_EQ(printed.find("secret"), std::string::npos) << printed;
  EXPECT_NE(printed.find(fmt::format("PATH={}\n", std::getenv("PATH"))), std::string::npos);
  EXPECT_NE(printed.find("HF_TEST_ADDED=added\n"), std::string::npos);
  EXPECT_NE(printed.find("LC_ALL=C\n"), std::string::npos);
}

TEST(Spawn, AppendsOutputToFilesAndReadsInputFromOne) {
  TemporaryDirectory directory;
  const std::string log = join_path(directory.path(), "log");
  const std::string input = join_path(directory.path(), "input");
  write_file_durably(input, as_bytes("given\n"));
  for (int round = 0; round < 2; ++round) {
    SpawnOptions options = shell("cat; echo err >&2");
    options.input = input;
    options.output = log;
    options.error = "&1";
    EXPECT_TRUE(Process(options).wait().ok());
  }
  EXPECT_EQ(read_text_file(log), "given\nerr\ngiven\nerr\n");

  const std::string errors = join_path(directory.path(), "errors");
  SpawnOptions options = shell("echo out; echo err >&2");
  options.error = errors;
  const Captured captured = run(options);
  EXPECT_EQ(captured.out, "out\n");
  EXPECT_EQ(captured.err, "");
  EXPECT_EQ(read_text_file(errors), "err\n");
}

TEST(Spawn, BothOutputsIntoOneStream) {
  SpawnOptions options = shell("echo one; echo two >&2; echo three");
  options.error = "&1";
  EXPECT_EQ(run(options).out, "one\ntwo\nthree\n");
}

TEST(Spawn, GivesTheChildNoDescriptorOfOurs) {
  const Fd ours = open_file("/dev/null", O_RDONLY);
  const std::string number = std::to_string(ours.get());
  EXPECT_EQ(run(shell("test -e /proc/self/fd/" + number + " && echo leaked")).out, "");
}

TEST(Spawn, TheChildBeginsWithNoSignalBlockedOrIgnored) {
  sigset_t blocked;
  sigset_t before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto pipe_before = signal(SIGPIPE, SIG_IGN);
  const std::string blocked_mask = run_checked(shell("sed -n 's/^SigBlk:.//p' /proc/self/status"));
  const std::string ignored_mask = run_checked(shell("sed -n 's/^SigIgn:.//p' /proc/self/status"));
  EXPECT_EQ(std::stoull(blocked_mask, nullptr, 16), 0u);
  // posix_spawn of glibc ignores the two signals that its threads use among themselves.
  constexpr unsigned long long kOfGlibc = 3ULL << 31;
  EXPECT_EQ(std::stoull(ignored_mask, nullptr, 16) & ~kOfGlibc, 0u);
  signal(SIGPIPE, pipe_before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(Spawn, MayHaveAGroupOrASessionOfItsOwn) {
  SpawnOptions options = endless();
  const Process same(options);
  EXPECT_EQ(getpgid(same.pid()), getpgrp());
  options.new_process_group = true;
  const Process group(options);
  EXPECT_EQ(getpgid(group.pid()), group.pid());
  EXPECT_EQ(getsid(group.pid()), getsid(0));
  options.new_session = true;
  const Process session(options);
  EXPECT_EQ(getpgid(session.pid()), session.pid());
  EXPECT_EQ(getsid(session.pid()), session.pid());
}

TEST(ProcessLife, WaitsWithATimeLimitAndAnswersAgain) {
  Process child(endless());
  EXPECT_EQ(child.poll(), std::nullopt);
  EXPECT_EQ(child.wait(std::chrono::milliseconds(0)), std::nullopt);
  EXPECT_EQ(child.wait(std::chrono::milliseconds(5)), std::nullopt);
  child.signal(SIGTERM);
  const std::optional<ExitStatus> status = child.wait(std::chrono::milliseconds::max());
  ASSERT_TRUE(status);
  EXPECT_TRUE(status->signalled);
  EXPECT_EQ(status->code, SIGTERM);
  EXPECT_EQ(child.wait().code, SIGTERM);
  EXPECT_EQ(child.poll()->code, SIGTERM);
  child.signal(SIGTERM);  // to a process that has ended: nothing
}

TEST(ProcessLife, TheDestructorKillsAndReaps) {
  pid_t pid;
  {
    Process first(endless());
    pid = first.pid();
    const Process moved(std::move(first));
    EXPECT_EQ(moved.pid(), pid);
    EXPECT_EQ(kill(pid, 0), 0);
  }
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ProcessLife, AReleasedChildLivesOn) {
  pid_t pid;
  {
    Process child(endless());
    pid = child.pid();
    child.release();
  }
  EXPECT_EQ(kill(pid, SIGKILL), 0);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
}

TEST(ShellQuote, GivesTheShellOneWordBack) {
  EXPECT_EQ(shell_quote("it's"), "'it'\\''s'");
  for (const char* word : {"", "a b", "it's", "$HOME `id` \\ \" * \n x", "''", "-n"})
    EXPECT_EQ(run(shell(std::string("printf %s ") + shell_quote(word))).out, word);
}

TEST(ShellWords, AreThoseThatTheShellGivesToOneProgram) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(shell_words("  '/opt/hold fast/holdfast'  --config=/a\\ b wal push \"%p\""),
            (Words{"/opt/hold fast/holdfast", "--config=/a b", "wal", "push", "%p"}));
  EXPECT_EQ(shell_words(""), Words{});
  EXPECT_EQ(shell_words("a ''"), (Words{"a", ""}));
  for (const char* word : {"", "a b", "it's", "50%", "''", "-n"})
    EXPECT_EQ(shell_words("x " + shell_quote(word)), (Words{"x", word})) << word;
}

TEST(ShellWords, AreNoneWhereTheShellDoesMore) {
  for (const char* more : {"a && b", "a; b", "a | b", "a > b", "a $HOME", "a \"$HOME\"", "`a`",
                           "A=b a", "a 'b", "a \"b", "a \\", "a *", "(a)", "a\nb", "a # b"})
    EXPECT_EQ(shell_words(more), std::nullopt) << more;
}

TEST(Host, ProgramAndNameAreKnown) {
  EXPECT_TRUE(base_name(program_path()).starts_with("test_base")) << program_path();
  EXPECT_FALSE(host_name().empty());
}

}  // namespace
}  // namespace holdfast
