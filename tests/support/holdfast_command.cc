#include "support/holdfast_command.h"

#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <sys/resource.h>
#include <sys/wait.h>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "config/settings.h"

extern char** environ;

namespace holdfast::test {

std::string holdfast_program() {
  const char* program = std::getenv("HOLDFAST_PROGRAM");
  if (program == nullptr || *program == '\0')
    throw Error({.code = ErrorCode::kUsage,
                 .message = "HOLDFAST_PROGRAM is not set",
                 .hint = "Run the integration tests with tools/run_integration."});
  return program;
}

void forget_outer_settings() {
  for (const config::Setting& setting : config::settings_table())
    if (!setting.environment.empty()) unsetenv(std::string(setting.environment).c_str());
  unsetenv("HOLDFAST_CONFIG");
  unsetenv("HOLDFAST_CLUSTER");
  std::vector<std::string> of_libpq;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    if (text.starts_with("PG")) of_libpq.emplace_back(text.substr(0, text.find('=')));
  }
  for (const std::string& name : of_libpq) unsetenv(name.c_str());
}

Captured holdfast(const std::vector<std::string>& words, const std::string& directory) {
  forget_outer_settings();
  SpawnOptions options{.arguments = {holdfast_program()}, .directory = directory};
  options.arguments.insert(options.arguments.end(), words.begin(), words.end());
  return run(options);
}

std::string describe(const Captured& ran) {
  return fmt::format("the program {}\nstdout:\n{}\nstderr:\n{}", to_string(ran.status), ran.out,
                     ran.err);
}

long peak_kib(const SpawnOptions& options) {
  Process process(options);
  int status = 0;
  struct rusage usage{};
  pid_t waited;
  do waited = wait4(process.pid(), &status, 0, &usage);
  while (waited < 0 && errno == EINTR);
  EXPECT_EQ(waited, process.pid());
  process.release();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << read_text_file(options.output);
  return usage.ru_maxrss;
}

}  // namespace holdfast::test
